"""Images through affines: the one place where pixels are resampled for a network."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Float32, UInt8

from hmtools.core.image import opencv
from hmtools.geometry.crop import invert_affine

__all__ = ["warp"]


def warp(
    image: UInt8[np.ndarray, "h w 3"], affine: Float[np.ndarray, "2 3"], size: tuple[int, int]
) -> Float32[np.ndarray, "rows columns 3"]:
    """Warp an image bilinearly, zeros outside of it; not rounded to whole grey levels.

    Args:
        image: uint8.
        affine: pixel centres of the image to those of the result.
        size: width and height of the result.

    Returns:
        0 to 255.
    """
    piece, moved = _looked_at(image, affine, size)
    if not piece.size:
        return np.zeros((size[1], size[0], 3), np.float32)
    cv2 = opencv()
    # Whole grey levels would come back from whole ones: floating-point pixels in, as SMPLer-X has them.
    found: npt.NDArray[np.float32] = cv2.warpAffine(piece.astype(np.float32), moved, size)
    return found


def _looked_at(
    image: UInt8[np.ndarray, "h w 3"], affine: Float[np.ndarray, "2 3"], size: tuple[int, int]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """The part of an image that a warp reads, and the warp of that part: the rest need not be converted."""
    back = invert_affine(affine)
    corners = np.array([[-1, -1], [size[0], -1], [-1, size[1]], [size[0], size[1]]], np.float64)
    places = corners @ back[:, :2].T + back[:, 2]
    height, width = image.shape[:2]
    left, top = np.clip(np.floor(places.min(0)) - 1, 0, (width, height)).astype(int).tolist()
    right, bottom = np.clip(np.ceil(places.max(0)) + 2, 0, (width, height)).astype(int).tolist()
    moved = affine.copy()
    moved[:, 2] += affine[:, :2] @ (left, top)
    return image[top:bottom, left:right], moved
