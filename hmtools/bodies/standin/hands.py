"""Hand poses of the stand-in: the mean pose (a relaxed curl) and an orthonormal basis with meaning.

The order inside a hand is that of the model files: index, middle, pinky, ring, thumb, three joints each. The
right hand is the left one mirrored at x = 0: of each axis-angle, y and z change sign.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from hmtools.bodies.standin.anatomy import joint_names
from hmtools.bodies.standin.person import Person

__all__ = ["COMPONENTS", "FINGERS", "hand_components", "hand_mean"]

FINGERS: tuple[str, ...] = ("index", "middle", "pinky", "ring", "thumb")

COMPONENTS: tuple[str, ...] = (
    *("curl of the four fingers", "spread", "curl of the thumb"),
    *(f"curl of the {finger}" for finger in FINGERS[:4]),
    *("thumb away from the fingers", "curl of the outer joints"),
)
"""What the first rows of the basis do; the others complete it."""

# Radians at the three joints of each finger of a relaxed hand.
_RELAXED: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {
        "index": (0.20, 0.40, 0.22),
        "middle": (0.28, 0.46, 0.25),
        "pinky": (0.38, 0.46, 0.26),
        "ring": (0.34, 0.48, 0.26),
        "thumb": (0.10, 0.16, 0.20),
    }
)
_PALM = np.array([0.0, -1.0, 0.0])  # of the T-pose
_ACROSS = np.array([0.0, -0.6, -0.8])  # the thumb bends to the palm and to the little finger


def _towards(bone: NDArray[np.float64], goal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit axis that turns a bone towards a goal."""
    axis = np.cross(bone, goal)
    return np.asarray(axis / np.linalg.norm(axis))


def _curl_axes(person: Person) -> NDArray[np.float64]:
    """(5, 3, 3): per joint of the left hand the axis that closes the fist; also for the end joints."""
    names = joint_names(person.family)
    axes = np.empty((5, 3, 3))
    for f, finger in enumerate(FINGERS):
        joints = [person.joints[names.index(f"left_{finger}_{k}")] for k in (1, 2, 3)]
        ends = [*joints[1:], person.landmarks[f"left_{finger}"]]
        for k in range(3):
            axes[f, k] = _towards(ends[k] - joints[k], _ACROSS if finger == "thumb" else _PALM)
    return axes


def _mirrored(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(rows * np.tile([1.0, -1.0, -1.0], 15))


def hand_mean(person: Person) -> Float[np.ndarray, "2 45"]:
    """Relaxed pose of both hands.

    Args:
        person: smplh or smplx.

    Returns:
        (2, 45) left, right; axis-angle, radians.
    """
    angles = np.array([_RELAXED[finger] for finger in FINGERS])
    left = (_curl_axes(person) * angles[:, :, None]).reshape(45)
    return np.stack([left, _mirrored(left)])


def hand_components(person: Person) -> Float[np.ndarray, "2 45 45"]:
    """Orthonormal basis of the poses of both hands; the first rows are :data:`COMPONENTS`.

    Args:
        person: smplh or smplx.

    Returns:
        (2, 45, 45) left, right; one component a row.
    """
    curl = _curl_axes(person)
    first = np.zeros((len(COMPONENTS), 5, 3, 3))
    first[0, :4] = curl[:4] * np.array([1.0, 1.0, 0.7])[:, None]
    first[1, :4, 0, 1] = np.array([-1.0, -0.3, 1.0, 0.4])  # about y: the index to the thumb, the pinky away
    first[2, 4] = curl[4]
    for finger in range(4):
        first[3 + finger, finger] = curl[finger]
    first[7, 4, 0] = np.cross(curl[4, 0], person.landmarks["left_thumb"] - _thumb_root(person))
    first[8, :4, 0] = curl[:4, 0]
    first[8, :4, 1:] = -0.5 * curl[:4, 1:]
    basis = _orthonormal(np.concatenate([first.reshape(-1, 45), np.eye(45)]))
    return np.stack([basis, _mirrored(basis)])


def _thumb_root(person: Person) -> NDArray[np.float64]:
    return np.asarray(person.joints[joint_names(person.family).index("left_thumb_1")])


def _orthonormal(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gram-Schmidt, row by row; rows that add nothing new are left out."""
    basis: list[NDArray[np.float64]] = []
    for row in rows:
        rest = row / np.linalg.norm(row)
        for _ in range(2):  # the second pass removes what rounding left of the first
            for known in basis:
                rest = rest - (rest @ known) * known
        if np.linalg.norm(rest) > 1e-3:
            basis.append(rest / np.linalg.norm(rest))
    return np.stack(basis)
