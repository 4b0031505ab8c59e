"""People as 2D keypoint figures: plausible, seeded, and nothing but points.

A figure faces the camera: the person's left side has the larger x. Everything is in pixels of the upright
image, pixel centres at integers. The points of a figure come in the order of the 133 COCO-WholeBody
keypoints: body 17, feet 6, face 68, left hand 21, right hand 21.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points = NDArray[np.float64]

__all__ = ["BODY", "FACE", "FEET", "LEFT_HAND", "RIGHT_HAND", "Figure", "make_figure", "outline", "paint"]

BODY, FEET, FACE = slice(0, 17), slice(17, 23), slice(23, 91)
LEFT_HAND, RIGHT_HAND = slice(91, 112), slice(112, 133)

# Lengths as parts of the stature; the origin is the top of the head, y points down.
_HEAD_CENTRE, _HEAD_HALF = np.array([0.0, 0.085]), np.array([0.052, 0.075])
_SHOULDER, _HIP = (
    np.array([0.115, 0.205]),
    np.array([0.062, 0.5]),
)  # of the left side; the right one mirrors x
_UPPER_ARM, _FOREARM, _HAND = 0.165, 0.15, 0.105
_THIGH, _SHIN = 0.23, 0.225
_FINGERS = (  # knuckle along and across the hand (thumb side positive), spread angle, length; in hand lengths
    (0.18, 0.20, 0.90, 0.45),
    (0.50, 0.16, 0.15, 0.46),
    (0.52, 0.04, 0.03, 0.50),
    (0.50, -0.08, -0.10, 0.46),
    (0.46, -0.19, -0.25, 0.36),
)
_JOINTS_OF_A_FINGER = np.array([0.0, 0.45, 0.75, 1.0])
_LIMBS = ((5, 7, 9), (6, 8, 10), (11, 13, 15), (12, 14, 16), (15, 17), (16, 20), (15, 19), (16, 22))
_TORSO = (5, 6, 12, 11)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One person.

    Attributes:
        points: (133, 2) float64, x and y in upright image pixels, body, feet, face, left and right hand.
        stature: head to ankle in pixels.
    """

    points: Points
    stature: float


def make_figure(
    rng: np.random.Generator, width: int, height: int, *, slot: int = 0, slots: int = 1, overhang: float = 0.0
) -> Figure:
    """Pose one person and place it in an image.

    Args:
        rng: source of pose, size and place.
        width: image width in pixels.
        height: image height in pixels.
        slot: which of ``slots`` equal columns of the image the person stands in.
        slots: number of people who share the image; more than three get smaller.
        overhang: part of the person's width that lies beyond the left image edge, 0 to 1; at 0 the whole
            figure is inside the image.

    Returns:
        The figure; the same state of ``rng`` gives the same figure.
    """
    points = _pose(rng)
    turn = rng.uniform(-0.25, 0.25)
    points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.array([width, height], dtype=np.float64)
    wanted = rng.uniform(0.5, 0.88) * height * min(1.0, (3 / slots) ** 0.5)
    stature = min(wanted, *(0.9 * room / (high - low)))
    low, high = low * stature, high * stature
    column = (slot + 0.5 + rng.uniform(-0.2, 0.2)) / slots * width
    centre = np.array([column, rng.uniform(0.4, 0.65) * height])
    margin = 0.04 * room
    corner = np.clip(centre - (low + high) / 2, margin - low, room - 1 - margin - high)
    if overhang:
        corner[0] = -low[0] - overhang * (high[0] - low[0])
    return Figure(points=points * stature + corner, stature=float(stature))


def outline(figure: Figure) -> Points:
    """Convex outline of a figure with flesh around its points.

    Returns:
        (M, 2) float64 polygon in upright image pixels, which may leave the image.
    """
    import cv2

    angles = np.arange(8) * np.pi / 4
    around = 0.03 * figure.stature * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    cloud = (figure.points[:, None] + around).reshape(-1, 2).astype(np.float32)
    hull: Points = cv2.convexHull(cloud)[:, 0].astype(np.float64)
    return hull


def paint(plane: NDArray[np.uint8], figures: Iterable[Figure], level: int) -> None:
    """Draw figures into one image channel, in place.

    Args:
        plane: (H, W) uint8, C-contiguous.
        figures: the people, back to front.
        level: the value that their pixels get.
    """
    import cv2

    for figure in figures:
        pixels = np.rint(figure.points).astype(np.int32)
        thick = max(1, round(0.05 * figure.stature))
        cv2.fillPoly(plane, [pixels[list(_TORSO)]], level)
        ears = figure.points[3:5]
        radius = round(float(np.hypot(*(ears[0] - ears[1]))) / 2)
        cv2.circle(plane, np.rint(ears.mean(axis=0)).astype(int).tolist(), radius, level, -1)
        cv2.fillConvexPoly(plane, cv2.convexHull(pixels[FACE]), level)
        for limb in _LIMBS:
            cv2.polylines(plane, [pixels[list(limb)]], isClosed=False, color=level, thickness=thick)
        for hand in (pixels[LEFT_HAND], pixels[RIGHT_HAND]):
            fingers = [hand[[0, *range(first, first + 4)]] for first in range(1, 21, 4)]
            cv2.polylines(plane, fingers, isClosed=False, color=level, thickness=max(1, thick // 4))


def _pose(rng: np.random.Generator) -> Points:
    """(133, 2) figure of stature 1 in a random pose."""
    body, feet = np.zeros((17, 2)), np.zeros((6, 2))
    hands = []
    for side, left in ((1.0, True), (-1.0, False)):
        mirror = np.array([side, 1.0])
        raised = rng.uniform(0.1, 2.2)
        shoulder = _SHOULDER * mirror
        elbow = shoulder + _UPPER_ARM * _towards(raised, side)
        bent = raised + rng.uniform(-0.2, 1.1)
        wrist = elbow + _FOREARM * _towards(bent, side)
        hands.append(_hand(wrist, bent + rng.uniform(-0.3, 0.3), side))
        apart = rng.uniform(0.0, 0.45)
        hip = _HIP * mirror
        knee = hip + _THIGH * _towards(apart, side)
        ankle = knee + _SHIN * _towards(apart - rng.uniform(0.0, 0.4), side)
        body[5 if left else 6 :: 2][:6] = shoulder, elbow, wrist, hip, knee, ankle
        toes = np.array([[0.045, 0.055], [0.065, 0.045], [-0.005, 0.03]])
        feet[0 if left else 3 :][:3] = ankle + toes * mirror
    face = _HEAD_CENTRE + _FACE * _HEAD_HALF
    ears = _HEAD_CENTRE + np.array([[1.05, -0.15], [-1.05, -0.15]]) * _HEAD_HALF
    body[:5] = face[30], face[42:48].mean(axis=0), face[36:42].mean(axis=0), *ears
    return np.concatenate([body, feet, face, *hands])


def _towards(angle: float, side: float) -> Points:
    """Unit vector that hangs down at angle 0 and points away from the body at pi / 2."""
    return np.array([side * np.sin(angle), np.cos(angle)])


def _hand(wrist: Points, angle: float, side: float) -> Points:
    """(21, 2) wrist, then thumb, index, middle, ring and little finger with four points each."""
    along = _towards(angle, side)
    across = side * np.array([-along[1], along[0]])  # the thumb points to the midline when the arm hangs
    points = [wrist[None]]
    for forward, sideways, spread, length in _FINGERS:
        knuckle = wrist + _HAND * (forward * along + sideways * across)
        direction = np.cos(spread) * along + np.sin(spread) * across
        points.append(knuckle + _HAND * length * _JOINTS_OF_A_FINGER[:, None] * direction)
    return np.concatenate(points)


def _face() -> Points:
    """(68, 2) face points in head half-axes: contour 17, brows 10, nose 9, eyes 12, mouth 20."""
    chin = np.linspace(0, np.pi, 17)
    brow = np.linspace(0.2, 0.78, 5)
    arch = -0.42 - 0.12 * np.sin((brow - 0.2) / 0.58 * np.pi)
    nostrils = np.linspace(-0.22, 0.22, 5)
    eye = np.array([[-0.17, 0], [-0.06, -0.06], [0.06, -0.06], [0.17, 0], [0.06, 0.06], [-0.06, 0.06]])
    outer, inner = np.arange(12) * np.pi / 6, np.arange(8) * np.pi / 4
    return np.concatenate(
        [
            np.stack([-np.cos(chin), 0.95 * np.sin(chin)], axis=1),
            np.stack([-brow[::-1], arch[::-1]], axis=1),
            np.stack([brow, arch], axis=1),
            np.stack([np.zeros(4), np.linspace(-0.25, 0.2, 4)], axis=1),
            np.stack([nostrils, 0.34 - 0.3 * np.abs(nostrils)], axis=1),
            eye + np.array([-0.43, -0.22]),
            eye + np.array([0.43, -0.22]),
            np.stack([-0.36 * np.cos(outer), 0.6 - 0.14 * np.sin(outer)], axis=1),
            np.stack([-0.26 * np.cos(inner), 0.6 - 0.06 * np.sin(inner)], axis=1),
        ]
    )


_FACE = _face()
