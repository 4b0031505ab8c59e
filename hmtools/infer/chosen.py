"""Which of the boxes of a frame are predicted, as SMPLer-X's demo chooses them.

Doubles are left out by non-maximum suppression at an overlap of 0.5, then boxes that are narrower than 50 or
lower than 150 pixels; the others come largest first. The user's own boxes are taken as they are, doubles and
small ones too: whoever gives a box wants that person. Only limits that are asked for count for them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from hmtools.infer.media import Skips

__all__ = ["BELOW_MINIMUM", "MIN_SIZE", "NMS_IOU", "Limits", "chosen", "suppress"]

MIN_SIZE = (50.0, 150.0)
"""Width and height in pixels below which SMPLer-X's demo leaves people out."""
NMS_IOU = 0.5
"""Overlap above which the box with the lower score is a double."""
BELOW_MINIMUM = "box_below_min_size"
"""Why a box is left out that is smaller than was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What boxes must be.

    Attributes:
        min_size: width and height in pixels that they must have.
        confidence: that they must have, 0 to 1.
        doubles: whether two may be of one person.
    """

    min_size: tuple[float, float] = MIN_SIZE
    confidence: float = 0.0
    doubles: bool = False

    @classmethod
    def of(cls, *, trusted: bool, min_size: tuple[float, float] | None, confidence: float | None) -> Limits:
        """The limits of a run.

        Args:
            trusted: whether boxes are the user's own, which have no limits but those asked for.
            min_size: as asked for; None: :data:`MIN_SIZE`, of the user's own none.
            confidence: as asked for, which other detectors than the user have seen to already.
        """
        least = (0.0, 0.0) if trusted else MIN_SIZE
        return cls(
            min_size=least if min_size is None else min_size,
            confidence=confidence or 0.0 if trusted else 0.0,
            doubles=trusted,
        )


def chosen(
    boxes: Float[np.ndarray, "n 5"], limits: Limits, *, skips: Skips, where: str
) -> Int64[np.ndarray, " m"]:
    """The boxes that are people worth predicting, largest first.

    Args:
        boxes: x, y, w, h, confidence in pixels.
        limits: what they must be.
        skips: gets ``box_not_finite``, ``box_empty``, ``box_unsure`` (below the confidence) and
            :data:`BELOW_MINIMUM`; doubles are nobody left out.
        where: source and frame, for ``skips``.

    Returns:
        Their numbers.
    """
    finite = np.isfinite(boxes).all(axis=1)
    area = finite & (boxes[:, 2:4] > 0).all(axis=1)
    sure = area & (boxes[:, 4] >= limits.confidence)
    kept = np.flatnonzero(sure)
    if not limits.doubles:
        kept = kept[suppress(boxes[kept])]
    large = (boxes[kept, 2:4] >= limits.min_size).all(axis=1)
    for reason, count in (
        ("box_not_finite", int((~finite).sum())),
        ("box_empty", int((finite & ~area).sum())),
        ("box_unsure", int((area & ~sure).sum())),
    ):
        for _ in range(count):
            skips.add(reason, where)
    for box in boxes[kept[~large]]:
        skips.add(BELOW_MINIMUM, where, f"{box[2]:.0f} x {box[3]:.0f} pixels")
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
