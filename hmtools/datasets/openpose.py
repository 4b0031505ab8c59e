"""The JSON files that OpenPose writes, one per image: body, hands and face of each person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from hmtools.datasets.coco_values import numbers

__all__ = ["read_openpose"]

# field of people[0], joints; in the order of openpose_137
_JOINTS = (
    ("pose_keypoints_2d", 25),
    ("hand_left_keypoints_2d", 21),
    ("hand_right_keypoints_2d", 21),
    ("face_keypoints_2d", 70),
)


def read_openpose(path: Path) -> Any:
    """The joints of the first person, in the order ``openpose_137``.

    Returns:
        (137, 3) float32 x, y in pixels and confidence, 0 throughout where a joint was not found; None when
        there is no such file or nobody was found.

    Raises:
        KeyError, TypeError, ValueError, OverflowError, RecursionError: if the file is damaged.
    """
    try:
        people = json.loads(path.read_bytes())["people"]
    except FileNotFoundError:
        return None
    if not isinstance(people, list):
        raise TypeError(f"{path.name}: expected a list of people, found {people!r:.40}")
    if not people:
        return None
    triples = [value for field, count in _JOINTS for value in numbers(people[0][field], 3 * count)]
    with np.errstate(over="ignore"):  # beyond float32: infinite, which is rejected as such
        points = np.array(triples, np.float32).reshape(-1, 3)
    if not (points[:, 2] >= 0).all():
        raise ValueError(f"{path.name}: a confidence is negative or NaN")
    return np.where(points[:, 2:] > 0, points, np.float32(0))  # a joint that was not found has no place
