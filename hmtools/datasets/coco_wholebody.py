"""COCO-WholeBody's 133 joints and part boxes, as its annotations and those made after it hold them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from hmtools.datasets.coco_values import flag, joints, numbers

__all__ = ["part_boxes", "wholebody_joints"]

Points: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"

# field, joints; in the official order of the 133
_PARTS = (
    ("keypoints", 17),
    ("foot_kpts", 6),
    ("face_kpts", 68),
    ("lefthand_kpts", 21),
    ("righthand_kpts", 21),
)
# column stem, field stem
_BOXES = (("lhand", "lefthand"), ("rhand", "righthand"), ("face", "face"))


def wholebody_joints(annotation: Mapping[str, Any]) -> Points:
    """Body, feet, face, left and right hand of an annotation.

    Returns:
        (133, 3) x, y, visibility; pixels.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: for a field that is missing or is no such list.
    """
    triples: list[float] = []
    for field, count in _PARTS:
        triples += numbers(annotation[field], 3 * count)
    return joints(triples)


def part_boxes(annotation: Mapping[str, Any]) -> Iterator[tuple[str, bool, list[float] | None]]:
    """Yield for hands and face the column's stem, the annotation's flag, and the box.

    The box is ``[x, y, w, h]`` in pixels, None where it has no area: valid boxes without area occur.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: for a field that is missing or is no such value.
    """
    for column, field in _BOXES:
        box = numbers(annotation[f"{field}_box"], 4)
        yield column, flag(annotation, f"{field}_valid"), box if box[2] > 0 and box[3] > 0 else None
