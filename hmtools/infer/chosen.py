"""Which of the boxes of a frame are predicted, as SMPLer-X's demo chooses them.

Doubles are left out by non-maximum suppression at an overlap of 0.5, then boxes that are narrower than 50 or
lower than 150 pixels; the others come largest first. The user's own boxes are taken as they are.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int64

from hmtools.infer.media import Skips

__all__ = ["MIN_SIZE", "NMS_IOU", "chosen", "suppress"]

MIN_SIZE = (50.0, 150.0)
"""Width and height in pixels below which SMPLer-X's demo leaves people out."""
NMS_IOU = 0.5
"""Overlap above which the box with the lower score is a double."""


def chosen(
    boxes: Float[np.ndarray, "n 5"], min_size: tuple[float, float], *, trusted: bool, skips: Skips, where: str
) -> Int64[np.ndarray, " m"]:
    """The boxes that are people worth predicting, largest first.

    Args:
        boxes: x, y, w, h, confidence in pixels.
        min_size: width and height that boxes must have.
        trusted: whether they are the user's own, which have neither doubles nor a smallest size.
        skips: gets ``box_not_finite``, ``box_empty`` and ``box_too_small``; doubles are nobody left out.
        where: source and frame, for ``skips``.

    Returns:
        Their numbers.
    """
    finite = np.isfinite(boxes).all(axis=1)
    area = finite & (boxes[:, 2:4] > 0).all(axis=1)
    kept = np.flatnonzero(area)
    if not trusted:
        kept = kept[suppress(boxes[kept])]
    large = np.ones(len(kept), bool) if trusted else (boxes[kept, 2:4] >= min_size).all(axis=1)
    for reason, count in (
        ("box_not_finite", int((~finite).sum())),
        ("box_empty", int((finite & ~area).sum())),
    ):
        for _ in range(count):
            skips.add(reason, where)
    for box in boxes[kept[~large]]:
        skips.add("box_too_small", where, f"{box[2]:.0f} x {box[3]:.0f} pixels")
    kept = kept[large]
    order = np.argsort(-boxes[kept, 2] * boxes[kept, 3], kind="stable")
    return np.asarray(kept[order], np.int64)


def suppress(boxes: Float[np.ndarray, "n 5"], overlap: float = NMS_IOU) -> Int64[np.ndarray, " m"]:
    """Non-maximum suppression as SMPLer-X's demo has it: sides count one pixel more than they are long.

    Args:
        boxes: x, y, w, h, confidence in pixels.
        overlap: intersection over union above which the lower score goes.

    Returns:
        Numbers of the boxes that stay, by falling score.
    """
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:4]
    areas = (boxes[:, 2:4] + 1).prod(axis=1)
    left = np.argsort(-boxes[:, 4], kind="stable")
    kept = []
    while len(left):
        best, others = left[0], left[1:]
        kept.append(int(best))
        sides = np.minimum(high[best], high[others]) - np.maximum(low[best], low[others]) + 1
        common = np.maximum(sides, 0).prod(axis=1)
        left = others[common / (areas[best] + areas[others] - common) <= overlap]
    return np.array(kept, np.int64)
