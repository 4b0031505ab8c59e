"""Which pixels of an image a training sample keeps, and where they land.

An affine is a float64 (2, 3) matrix between pixel coordinates as :mod:`hmtools.geometry` states them, on both
sides: a window that starts at pixel ``x0`` and is resized by ``s`` maps ``x`` to ``(x - x0 + 0.5) s - 0.5``.
OpenCV's ``warpAffine`` takes the same matrices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

from hmtools.core.errors import GeometryError, UsageError, nearest
from hmtools.geometry.arrays import ArrayLike
from hmtools.geometry.box import grow_to_aspect, sanitize_xywh, scale_xywh

__all__ = [
    "CROP_FACTOR",
    "MAX_SIDE",
    "CropConvention",
    "Window",
    "apply_affine",
    "compose_affine",
    "crop_affine",
    "crop_window",
    "image_op_affine",
    "invert_affine",
    "network_box",
    "undo_image_op",
]

CropConvention = Literal["centres", "corners"]

NETWORK_ASPECT = 384 / 512  # width / height of SMPLer-X's input crop
CROP_FACTOR = 1.9
"""Side of the kept square over ``s``: SMPLer-X's augmentation reaches 1.5625 s, HMR2's 1.88 s."""
MAX_SIDE = 1024
"""Longest side, in pixels, of a stored crop; larger windows are reduced, smaller ones never enlarged."""


@dataclass(frozen=True, slots=True)
class Window:
    """An integer pixel window ``x0 <= x < x1, y0 <= y < y1`` of the upright image."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        """Columns in the window."""
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        """Rows in the window."""
        return self.y1 - self.y0

    def stored_size(self, max_side: int = MAX_SIDE) -> tuple[int, int]:
        """(width, height) in pixels after limiting the long side to ``max_side``."""
        scale = min(1.0, max_side / max(self.width, self.height))
        return max(1, round(self.width * scale)), max(1, round(self.height * scale))

    def affine(self, stored: tuple[int, int]) -> Float[np.ndarray, "2 3"]:
        """Upright pixel centres → pixel centres of the stored (width, height) crop, float64 (2, 3)."""
        sx, sy = stored[0] / self.width, stored[1] / self.height
        return np.array([[sx, 0, (0.5 - self.x0) * sx - 0.5], [0, sy, (0.5 - self.y0) * sy - 0.5]])


def crop_window(
    bbox_xywh: ArrayLike, width: int, height: int, *, box_ratio: float, factor: float = CROP_FACTOR
) -> Window | None:
    """The part of the image that training may look at for one person.

    A square of side ``factor * s`` about the box centre, where ``s`` is the long side of the box grown to
    3:4 and multiplied by ``box_ratio``, never below 1.0 times the raw long side; cut at the image border,
    outside of which every augmentation reads zeros anyway. SMPLer-X shifts boxes that leave the image back in
    before it grows them (:func:`~hmtools.geometry.box.sanitize_xywh`), HMR2 does not: the window covers both.

    Args:
        bbox_xywh: ``[x, y, w, h]`` in upright pixels.
        width: image width in pixels.
        height: image height in pixels.
        box_ratio: the set's padding (1.2; UBody 1.25; 1.0 where boxes carry it already).
        factor: side of the square over ``s``.

    Returns:
        The window, or None when it misses the image.
    """
    # Plain numbers: on arrays of four, the same arithmetic takes ten times as long.
    raw = np.asarray(bbox_xywh, np.float64)[:4].tolist()
    boxes = [raw]
    if (inside := sanitize_xywh(raw, width, height)) is not None:
        boxes.append(inside.tolist())
    squares = []
    for x, y, w, h in boxes:
        grown = max(h, w / NETWORK_ASPECT)  # the long side of grow_to_aspect
        half = factor * max(grown * box_ratio, *raw[2:]) / 2
        x, y = x + w / 2, y + h / 2
        squares.append((x - half, y - half, x + half, y + half))
    left, top, right, bottom = zip(*squares, strict=True)
    # Bilinear sampling at p reads the pixels floor(p) and floor(p) + 1: take both at either end.
    x0, y0 = max(0, math.floor(min(left))), max(0, math.floor(min(top)))
    x1, y1 = min(width, math.floor(max(right)) + 2), min(height, math.floor(max(bottom)) + 2)
    return Window(x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def network_box(
    bbox_xywh: ArrayLike, width: int, height: int, ratio: float, aspect: float = NETWORK_ASPECT
) -> Float[np.ndarray, "xywh=4"] | None:
    """The box that a network's crop shows: fitted into the image, grown to its aspect, padded (SMPLer-X).

    Args:
        bbox_xywh: x, y, w, h (and what may follow), upright original pixels.
        width: columns of the image.
        height: rows of the image.
        ratio: padding, a factor of width and height.
        aspect: width over height of the crop.

    Returns:
        x, y, w, h in pixels, float64, which may reach beyond the image; None when nothing of the box is left
        inside the image, and no crop can be made.
    """
    inside = sanitize_xywh(np.asarray(bbox_xywh, np.float64)[:4], width, height)
    return None if inside is None else scale_xywh(grow_to_aspect(inside, aspect), ratio)


def crop_affine(
    centre: ArrayLike,
    size: ArrayLike,
    output: tuple[int, int],
    rotation: float = 0.0,
    *,
    flip: bool = False,
    convention: CropConvention = "centres",
) -> Float[np.ndarray, "2 3"]:
    """Image pixels to pixels of a network's crop.

    The two conventions differ by half a pixel of the crop, everywhere. ``centres`` puts the centre of the box
    at the centre of the crop's pixels, ``(output - 1) / 2``, and so the edges of the box on the edges of the
    crop. ``corners`` is what SMPLer-X and HMR2 do: they put it at ``output / 2``, a rule for coordinates that
    count from the corner of a pixel, and hand that to a warp that counts from its centre. Official weights
    were trained that way and want it.

    Args:
        centre: x, y of the box's centre, pixels of the image.
        size: width and height of the box, pixels of the image (augmentation's scale included).
        output: width and height of the crop, pixels.
        rotation: degrees by which the box is turned in the image, clockwise as seen; the content of the crop
            turns the other way.
        flip: mirror the content of the crop. The published pipelines mirror the image first, and the box with
            it; the result is the same, with ``rotation`` turning the mirrored box.
        convention: see above.

    Returns:
        float64 (2, 3) affine.

    Raises:
        GeometryError: for a box or a crop without area.
        UsageError: for an unknown convention.
    """
    shift = {"centres": 0.5, "corners": 0.0}.get(convention)
    if shift is None:
        hint = nearest(convention, ("centres", "corners"))
        raise UsageError(f"unknown crop convention {convention!r}{hint}; there are centres and corners")
    extent, target = np.asarray(size, np.float64), np.asarray(output, np.float64)
    if not ((extent > 0).all() and (target > 0).all()):
        raise GeometryError(f"expected a box and a crop with area, got {extent.tolist()} and {output}")
    angle = math.radians(rotation)
    back = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    linear = (target / extent)[:, None] * back * ([-1.0, 1.0] if flip else 1.0)
    offset = target / 2 - shift - linear @ np.asarray(centre, np.float64)
    return np.concatenate([linear, offset[:, None]], axis=1)


def apply_affine(affine: ArrayLike, points: ArrayLike) -> Float[np.ndarray, "*batch 2"]:
    """Map points (..., 2) in pixels through a (2, 3) affine; float64."""
    matrix = np.asarray(affine, np.float64)
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def invert_affine(affine: ArrayLike) -> Float[np.ndarray, "2 3"]:
    """Inverse of a (2, 3) affine, float64 (2, 3).

    Raises:
        numpy.linalg.LinAlgError: if the affine is singular.
    """
    matrix = np.asarray(affine, np.float64)
    inverse = np.linalg.inv(matrix[:, :2])
    return np.concatenate([inverse, -inverse @ matrix[:, 2:]], axis=1)


def compose_affine(outer: ArrayLike, inner: ArrayLike) -> Float[np.ndarray, "2 3"]:
    """The (2, 3) affine that applies ``inner`` first, then ``outer``; float64."""
    a, b = np.asarray(outer, np.float64), np.asarray(inner, np.float64)
    return np.concatenate([a[:, :2] @ b[:, :2], a[:, :2] @ b[:, 2:] + a[:, 2:]], axis=1)


def image_op_affine(image_op: str, width: int, height: int) -> Float[np.ndarray, "2 3"]:
    """Upright pixel centres → pixel centres of the image as its file stores it, float64 (2, 3).

    Args:
        image_op: what makes the file's image upright: ``none``, ``rot90cw``, ``rot90ccw`` or ``hflip``.
        width: width of the **upright** image in pixels.
        height: height of the upright image in pixels.
    """
    w, h = width - 1.0, height - 1.0
    return np.array(
        {
            "none": [[1, 0, 0], [0, 1, 0]],
            "hflip": [[-1, 0, w], [0, 1, 0]],
            # upright = file turned clockwise: upright (x, y) shows file pixel (y, W - 1 - x)
            "rot90cw": [[0, 1, 0], [-1, 0, w]],
            "rot90ccw": [[0, -1, h], [1, 0, 0]],
        }[image_op],
        np.float64,
    )


def undo_image_op(image: npt.NDArray[np.uint8], image_op: str) -> npt.NDArray[np.uint8]:
    """Turn an image (H, W, 3) as its file stores it upright, as its labels were made (contiguous copy)."""
    if image_op == "hflip":
        image = image[:, ::-1]
    elif image_op != "none":
        image = np.rot90(image, {"rot90cw": -1, "rot90ccw": 1}[image_op])
    return np.ascontiguousarray(image)
