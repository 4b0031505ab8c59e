"""OpenPose's labels of one picture: 25 body, 21 + 21 hand and 70 face points, and the file that holds them.

Points are in upright image pixels, centres at integers, in the order body, left hand, right hand, face
(``openpose_137``). A point that was not found is 0, 0 with confidence 0, as OpenPose writes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from hmtools.humandata.keypoints import convention, mapping

__all__ = ["PARTS", "detect", "draw", "openpose_points", "people_json"]

PARTS: Mapping[str, slice] = {
    "pose": slice(0, 25),
    "hand_left": slice(25, 46),
    "hand_right": slice(46, 67),
    "face": slice(67, 137),
}
"""Part, as OpenPose's keys name it -> its points among the 137."""

_FACE_51, _PUPILS = 84, (135, 136)  # the landmarks without the contour; right pupil, left pupil
_LINES = ((0, 1, 8), (1, 2, 3, 4), (1, 5, 6, 7), (8, 9, 10, 11, 24), (8, 12, 13, 14, 21), (17, 15, 0, 16, 18))
_DECIMALS = 3  # of pixels in the file
_MISSED: Mapping[str, float] = {"pose": 0.03, "hand_left": 0.08, "hand_right": 0.08, "face": 0.02}
_DOUBT: Mapping[str, float] = {"pose": 0.25, "hand_left": 0.6, "hand_right": 0.6, "face": 0.2}


def openpose_points(joints: Float[np.ndarray, "144 c"]) -> Float[np.ndarray, "137 c"]:
    """Take the 137 points from SMPL-X's own joints (``smplx_144``), in any unit and frame.

    Neck and pelvis are SMPL-X's joints of that name and pupils its eyeballs: near to what a detector means.
    """
    points = np.full((137, joints.shape[1]), np.nan)
    by_name = mapping("smplx_144", "openpose_137", approximate=True)
    points[by_name.dst] = joints[by_name.src]
    names = convention("smplx_144").keys
    # The 51 landmarks by position: openpose_137 spells the eyebrows so that they join nothing.
    first = names.index("right_eyebrow_1")
    points[_FACE_51 : _FACE_51 + 51] = joints[first : first + 51]
    points[list(_PUPILS)] = joints[[names.index("right_eyeball"), names.index("left_eyeball")]]
    return points


def detect(
    rng: np.random.Generator, points: Float[np.ndarray, "137 2"], width: int, height: int, spread: float
) -> Float[np.ndarray, "137 3"]:
    """What a detector finds of exact points: a little off, more or less sure, and some not at all.

    Args:
        rng: source of errors and confidences.
        points: pixels; NaN for one that cannot be seen.
        width: image width in pixels.
        height: image height in pixels.
        spread: standard deviation of the error in pixels.

    Returns:
        x, y and confidence in (0, 1); zeros for what lies outside the image or was missed. At least one point
        of every part is missed. Rounded to what the file holds.
    """
    found = np.zeros((137, 3))
    found[:, :2] = np.round(points + rng.normal(0, spread, points.shape), _DECIMALS)
    for part, rows in PARTS.items():
        count = rows.stop - rows.start
        found[rows, 2] = np.round(0.95 - _DOUBT[part] * rng.uniform(0, 1, count), 6)
        missed = rng.uniform(0, 1, count) < _MISSED[part]
        missed[rng.integers(count)] = True
        found[rows][missed] = 0
    inside = (found[:, :2] > -0.5) & (found[:, :2] < np.array([width, height]) - 0.5)  # false for NaN
    found[~inside.all(axis=1)] = 0
    return found


def people_json(people: Sequence[Float[np.ndarray, "137 3"]]) -> dict[str, Any]:
    """The content of one ``*_keypoints.json`` of OpenPose (version 1.2), people in the order found."""
    return {"version": 1.2, "people": [_person(points) for points in people]}


def _person(points: Float[np.ndarray, "137 3"]) -> dict[str, Any]:
    flat = {f"{part}_keypoints_2d": points[rows].reshape(-1).tolist() for part, rows in PARTS.items()}
    return {"person_id": [-1], **flat, **{f"{part}_keypoints_3d": [] for part in PARTS}}


def draw(image: UInt8[np.ndarray, "h w 3"], people: Sequence[Float[np.ndarray, "137 3"]]) -> None:
    """Draw what was found into an RGB picture, in place: the body's lines and every point."""
    import cv2

    for points in people:
        places = np.rint(points[:, :2]).astype(int).tolist()
        for start, end in (pair for line in _LINES for pair in pairwise(line)):
            if points[start, 2] and points[end, 2]:
                cv2.line(image, places[start], places[end], (255, 255, 0))
        for place, sure in zip(places, points[:, 2], strict=True):
            if sure:
                cv2.circle(image, place, max(1, len(image) // 400), (255, 0, 0), -1)
