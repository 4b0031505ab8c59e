"""Boxes in pixels, counted as :mod:`hmtools.geometry` states.

``xywh`` is ``[x, y, w, h]`` with ``x, y`` the top-left corner, ``xyxy`` the top-left and the bottom-right
corner, ``cxcys`` a square by its centre and side. A trailing confidence is never passed to these functions.
All of them return float64.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from hmtools.core.errors import UsageError
from hmtools.geometry.arrays import ArrayLike, refuse

__all__ = [
    "WHAM_UNIT",
    "bbox_from_keypoints",
    "clip_xywh",
    "cxcys_to_xyxy",
    "grow_to_aspect",
    "iou_matrix",
    "iou_xywh",
    "overlaps_image",
    "pad_xywh",
    "sanitize_xywh",
    "scale_xywh",
    "xywh_to_xyxy",
    "xyxy_to_cxcys",
    "xyxy_to_xywh",
]

WHAM_UNIT = 200.0
"""Pixels per unit of the ``s`` of ``cx, cy, s`` in WHAM's and SPIN's files (HMR2's ``scale`` likewise)."""


def xywh_to_xyxy(box: ArrayLike) -> Float[np.ndarray, "*batch 4"]:
    """``[x, y, w, h]`` to ``[x1, y1, x2, y2]``, shape (..., 4), pixels, float64."""
    x, y, w, h = np.moveaxis(np.asarray(box, np.float64), -1, 0)
    return np.stack([x, y, x + w, y + h], axis=-1)


def xyxy_to_xywh(box: ArrayLike) -> Float[np.ndarray, "*batch 4"]:
    """``[x1, y1, x2, y2]`` to ``[x, y, w, h]``, shape (..., 4), pixels, float64."""
    x1, y1, x2, y2 = np.moveaxis(np.asarray(box, np.float64), -1, 0)
    return np.stack([x1, y1, x2 - x1, y2 - y1], axis=-1)


def sanitize_xywh(box: ArrayLike, width: int, height: int) -> Float[np.ndarray, "xywh=4"] | None:
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


def grow_to_aspect(box: ArrayLike, aspect: float) -> Float[np.ndarray, "*batch 4"]:
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


def scale_xywh(box: ArrayLike, factor: float) -> Float[np.ndarray, "*batch 4"]:
    """Multiply width and height by ``factor`` about the centre; (..., 4) pixels, float64."""
    x, y, w, h = np.moveaxis(np.asarray(box, np.float64), -1, 0)
    return np.stack([x - w * (factor - 1) / 2, y - h * (factor - 1) / 2, w * factor, h * factor], axis=-1)


def overlaps_image(box: ArrayLike, width: int, height: int) -> bool:
    """Whether an ``[x, y, w, h]`` box shares any area with an image of that size (pixels)."""
    x, y, w, h = np.asarray(box, np.float64).tolist()
    return bool(x + w > -0.5 and y + h > -0.5 and x < width - 0.5 and y < height - 0.5)


def xyxy_to_cxcys(box: ArrayLike, *, unit: float = 1.0) -> Float[np.ndarray, "*batch 3"]:
    """The smallest square about a box, by centre and side.

    Args:
        box: (..., 4) ``[x1, y1, x2, y2]``, pixels.
        unit: pixels per unit of ``s``: 1, or :data:`WHAM_UNIT`.

    Returns:
        (..., 3) ``[cx, cy, s]``; cx and cy in pixels.
    """
    x1, y1, x2, y2 = np.moveaxis(np.asarray(box, np.float64), -1, 0)
    return np.stack([(x1 + x2) / 2, (y1 + y2) / 2, np.maximum(x2 - x1, y2 - y1) / unit], axis=-1)


def cxcys_to_xyxy(box: ArrayLike, *, unit: float = 1.0) -> Float[np.ndarray, "*batch 4"]:
    """The corners ``[x1, y1, x2, y2]`` of a square ``[cx, cy, s]``; (..., 3) to (..., 4), pixels.

    Args:
        box: (..., 3) centre in pixels, side in units.
        unit: pixels per unit of ``s``: 1, or :data:`WHAM_UNIT`.
    """
    cx, cy, s = np.moveaxis(np.asarray(box, np.float64), -1, 0)
    half = s * unit / 2
    return np.stack([cx - half, cy - half, cx + half, cy + half], axis=-1)


def pad_xywh(box: ArrayLike, margin: ArrayLike) -> Float[np.ndarray, "*batch 4"]:
    """Move every side outward by a margin in pixels; :func:`scale_xywh` pads in proportion instead.

    Args:
        box: (..., 4) ``[x, y, w, h]``, pixels.
        margin: one number, ``[x, y]``, or ``[left, top, right, bottom]``; negative moves inward.

    Returns:
        (..., 4) ``[x, y, w, h]``, pixels.

    Raises:
        GeometryError: if less than nothing is left of a box.
        UsageError: if ``margin`` is neither 1, 2 nor 4 numbers.
    """
    given = np.atleast_1d(np.asarray(margin, np.float64))
    if given.shape not in ((1,), (2,), (4,)):
        raise UsageError(f"margin: expected 1, 2 or 4 numbers, got an array of shape {given.shape}")
    left, top, right, bottom = np.tile(given, 4 // len(given))
    x, y, w, h = np.moveaxis(np.asarray(box, np.float64), -1, 0)
    found = np.stack([x - left, y - top, w + left + right, h + top + bottom], axis=-1)
    refuse(
        np.atleast_1d((found[..., 2:] < 0).any(axis=-1)),
        f"boxes are smaller than what a margin of {given.tolist()} takes away",
    )
    return found


def clip_xywh(box: ArrayLike, width: int, height: int) -> Float[np.ndarray, "*batch 4"]:
    """The part of a box that lies in the image, which spans -0.5 to W - 0.5.

    Args:
        box: (..., 4) ``[x, y, w, h]``, pixels.
        width: image width in pixels.
        height: image height in pixels.

    Returns:
        (..., 4) ``[x, y, w, h]``, pixels.

    Raises:
        GeometryError: for a box of which no area is left (:func:`overlaps_image` tells beforehand).
    """
    x1, y1, x2, y2 = np.moveaxis(xywh_to_xyxy(box), -1, 0)
    x1, x2 = np.maximum(x1, -0.5), np.minimum(x2, width - 0.5)
    y1, y2 = np.maximum(y1, -0.5), np.minimum(y2, height - 0.5)
    empty = ~((x2 > x1) & (y2 > y1))
    refuse(np.atleast_1d(empty), f"boxes share no area with the {width} x {height} image")
    return np.stack([x1, y1, x2 - x1, y2 - y1], axis=-1)


def bbox_from_keypoints(
    keypoints: ArrayLike, threshold: float = 0.0, padding: float = 1.0
) -> Float[np.ndarray, "*batch 5"]:
    """Boxes about the visible keypoints of people.

    Args:
        keypoints: (..., J, 3) x, y in pixels and confidence.
        threshold: keypoints count if their confidence is **greater** and their coordinates are finite.
        padding: both sides are multiplied by it about the centre.

    Returns:
        (..., 5) ``[x, y, w, h, 1]``; NaN where the keypoints span no area (none counts, or only one, or all
        lie in a row or column): they do not say how large the person is.
    """
    points = np.asarray(keypoints, np.float64)
    counts = (points[..., 2] > threshold) & np.isfinite(points[..., :2]).all(axis=-1)
    low = np.where(counts[..., None], points[..., :2], np.inf).min(axis=-2, initial=np.inf)
    high = np.where(counts[..., None], points[..., :2], -np.inf).max(axis=-2, initial=-np.inf)
    spans = (high > low).all(axis=-1, keepdims=True)
    low, high = np.where(spans, low, np.nan), np.where(spans, high, np.nan)
    box = scale_xywh(np.concatenate([low, high - low], axis=-1), padding)
    return np.concatenate([box, np.where(spans, 1.0, np.nan)], axis=-1)


def iou_xywh(one: ArrayLike, other: ArrayLike) -> Float[np.ndarray, "*batch"]:
    """Intersection over union, in [0, 1], of boxes ``[x, y, w, h]`` (..., 4); leading axes broadcast.

    Raises:
        GeometryError: where both boxes have no area, or a side is negative or NaN.
    """
    a, b = np.broadcast_arrays(np.asarray(one, np.float64), np.asarray(other, np.float64))
    wrong = ~((a[..., 2:] >= 0) & (b[..., 2:] >= 0)).all(axis=-1)
    refuse(np.atleast_1d(wrong), "pairs of boxes have a negative or missing side")
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    common = np.maximum(high - low, 0).prod(axis=-1)
    union = a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - common
    refuse(np.atleast_1d(~(union > 0)), "pairs of boxes have no area")
    return np.asarray(np.clip(common / union, 0, 1))


def iou_matrix(rows: ArrayLike, columns: ArrayLike) -> Float[np.ndarray, "n m"]:
    """:func:`iou_xywh` of each of ``rows`` (n, 4) with each of ``columns`` (m, 4)."""
    return iou_xywh(np.asarray(rows, np.float64)[:, None], np.asarray(columns, np.float64)[None])
