"""Boxes in pixels.

Convention, stated once: coordinates are those of the upright original image, origin at its top-left pixel,
**pixel centres at integers** (pixel column 0 spans -0.5 … 0.5). ``xywh`` is ``[x, y, w, h]`` with ``x, y``
the top-left corner; a trailing confidence is never passed to these functions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["grow_to_aspect", "overlaps_image", "sanitize_xywh", "scale_xywh", "xywh_to_xyxy", "xyxy_to_xywh"]

Array = npt.NDArray[np.floating[Any]]


def xywh_to_xyxy(box: npt.ArrayLike) -> Array:
    """``[x, y, w, h]`` to ``[x1, y1, x2, y2]``, shape (..., 4), pixels, float64."""
    x, y, w, h = np.moveaxis(np.asarray(box, np.float64), -1, 0)
    return np.stack([x, y, x + w, y + h], axis=-1)


def xyxy_to_xywh(box: npt.ArrayLike) -> Array:
    """``[x1, y1, x2, y2]`` to ``[x, y, w, h]``, shape (..., 4), pixels, float64."""
    x1, y1, x2, y2 = np.moveaxis(np.asarray(box, np.float64), -1, 0)
    return np.stack([x1, y1, x2 - x1, y2 - y1], axis=-1)


def sanitize_xywh(box: npt.ArrayLike, width: int, height: int) -> Array | None:
    """Fit one box into an image by the rule SMPLer-X trains with, or return None when nothing is left.

    ``x1 = max(0, x)``, ``x2 = min(W - 1, x1 + max(0, w - 1))`` and likewise for y: the box loses a pixel of
    size, and one that starts left of the image is shifted in, not cut. Kept only if ``w * h > 0``, ``x2 >
    x1`` and ``y2 > y1``.

    Args:
        box: ``[x, y, w, h]``, pixels.
        width: image width in pixels.
        height: image height in pixels.

    Returns:
        float64 (4,) ``[x, y, w, h]``, or None.
    """
    x, y, w, h = np.asarray(box, np.float64).tolist()
    x1, y1 = max(0.0, x), max(0.0, y)
    x2, y2 = min(width - 1.0, x1 + max(0.0, w - 1)), min(height - 1.0, y1 + max(0.0, h - 1))
    if w * h <= 0 or x2 <= x1 or y2 <= y1:
        return None
    return np.array([x1, y1, x2 - x1, y2 - y1])


def grow_to_aspect(box: npt.ArrayLike, aspect: float) -> Array:
    """Enlarge the shorter side about the centre until ``w / h == aspect``.

    Args:
        box: (..., 4) ``[x, y, w, h]``, pixels.
        aspect: width over height, > 0 (SMPLer-X: 384 / 512).

    Returns:
        float64 (..., 4); it contains the input box and has the same centre.
    """
    x, y, w, h = np.moveaxis(np.asarray(box, np.float64), -1, 0)
    new_w, new_h = np.maximum(w, h * aspect), np.maximum(h, w / aspect)
    return np.stack([x - (new_w - w) / 2, y - (new_h - h) / 2, new_w, new_h], axis=-1)


def scale_xywh(box: npt.ArrayLike, factor: float) -> Array:
    """Multiply width and height by ``factor`` about the centre; (..., 4) pixels, float64."""
    x, y, w, h = np.moveaxis(np.asarray(box, np.float64), -1, 0)
    return np.stack([x - w * (factor - 1) / 2, y - h * (factor - 1) / 2, w * factor, h * factor], axis=-1)


def overlaps_image(box: npt.ArrayLike, width: int, height: int) -> bool:
    """Whether an ``[x, y, w, h]`` box shares any area with an image of that size (pixels)."""
    x, y, w, h = np.asarray(box, np.float64).tolist()
    return bool(x + w > -0.5 and y + h > -0.5 and x < width - 0.5 and y < height - 0.5)
