"""Measures of the stand-in person: proportions after a named table, skeleton, landmarks, thickness of bones.

Everything is written in the **floor frame**: metres, y up, facing +z, its left side at +x, soles at y = 0,
the plane of symmetry at x = 0. :func:`origin_shift` moves it into the frame of a model file, whose pelvis is
where the real files have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from hmtools.bodies.model import Family
from hmtools.humandata.conventions import CONVENTIONS

__all__ = [
    "ARM_FACTOR",
    "EYEBALL_RADIUS",
    "PELVIS",
    "PROPORTIONS",
    "PROPORTIONS_SOURCE",
    "STATURE",
    "bone_radii",
    "hop_distance",
    "joint_names",
    "landmarks",
    "origin_shift",
    "rest_skeleton",
]

STATURE = 1.70
"""Metres from sole to crown."""

PROPORTIONS_SOURCE = (
    "R. Drillis, R. Contini, Body Segment Parameters, 1966, as printed in D. A. Winter, "
    "Biomechanics and Motor Control of Human Movement"
)
PROPORTIONS: Mapping[str, float] = MappingProxyType(
    {
        "ankle_height": 0.039,
        "knee_height": 0.285,
        "hip_height": 0.530,
        "shoulder_height": 0.818,
        "chin_height": 0.870,
        "eye_height": 0.936,
        "upper_arm": 0.186,
        "forearm": 0.146,
        "hand": 0.108,
        "shoulder_half_breadth": 0.129,
        "hip_half_breadth": 0.0955,
        "foot_length": 0.152,
        "foot_breadth": 0.055,
    }
)
"""Fractions of stature of :data:`PROPORTIONS_SOURCE`. Breadths are those of the flesh, heights of joints."""

# The table's arms, taken literally, span 1.07 statures; real spans are 1.00 to 1.04; 3 % less is in reach.
ARM_FACTOR = 0.97
"""Factor on the table's arm and hand lengths."""

EYEBALL_RADIUS = 0.0122
"""Metres."""

PELVIS: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {"smplx": (0.003, -0.350, 0.012), "smplh": (-0.002, -0.230, 0.030), "smpl": (-0.002, -0.230, 0.030)}
)
"""Rest pelvis in the frame of the model files, metres, about where the real files have it."""

_PELVIS_FLOOR = (0.0, 0.985, 0.0)


def _scaled(name: str, factor: float = 1.0) -> float:
    return PROPORTIONS[name] * STATURE * factor


_SHOULDER_X = _scaled("shoulder_half_breadth") - 0.053  # 53 mm of deltoid lie outside the joint
_ELBOW_X = _SHOULDER_X + _scaled("upper_arm", ARM_FACTOR)
_WRIST_X = _ELBOW_X + _scaled("forearm", ARM_FACTOR)
_SHOULDER_Y = _scaled("shoulder_height")
_ARM_Z = -0.018

# Left-hand joints and finger tips, metres from the wrist: x along the arm, y up, z to the thumb's side.
_FINGERS: Mapping[str, tuple[tuple[float, float, float], ...]] = MappingProxyType(
    {
        "index": ((0.086, 0.001, 0.026), (0.1247, -0.002, 0.0315),
                  (0.1476, -0.006, 0.0345), (0.168, -0.0105, 0.037)),
        "middle": ((0.088, 0.003, 0.0045), (0.1303, 0.0, 0.006),
                   (0.156, -0.004, 0.007), (0.178, -0.009, 0.0075)),
        "pinky": ((0.0755, -0.003, -0.035), (0.1056, -0.006, -0.0425),
                  (0.1231, -0.009, -0.047), (0.1395, -0.0125, -0.051)),
        "ring": ((0.0835, 0.001, -0.0155), (0.1235, -0.002, -0.0205),
                 (0.148, -0.006, -0.0235), (0.169, -0.0105, -0.0262)),
        "thumb": ((0.024, -0.012, 0.02), (0.056, -0.022, 0.0475),
                  (0.0815, -0.0285, 0.064), (0.1045, -0.034, 0.077)),
    }
)  # fmt: skip

# Joints of the left side and of the middle; the right side is the mirror image.
_LEFT_BODY: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {
        "pelvis": _PELVIS_FLOOR,
        "left_hip": (0.080, _scaled("hip_height"), 0.002),
        "left_knee": (0.098, _scaled("knee_height"), 0.004),
        "left_ankle": (0.108, _scaled("ankle_height"), -0.030),
        "left_foot": (0.120, 0.022, 0.088),
        "spine_1": (0.0, 1.085, -0.012),
        "spine_2": (0.0, 1.200, -0.018),
        "spine_3": (0.0, 1.262, -0.018),
        "neck": (0.0, 1.438, -0.030),
        "head": (0.0, 1.532, -0.008),
        "left_collar": (0.062, 1.366, -0.020),
        "left_shoulder": (_SHOULDER_X, _SHOULDER_Y, _ARM_Z),
        "left_elbow": (_ELBOW_X, _SHOULDER_Y, _ARM_Z - 0.004),
        "left_wrist": (_WRIST_X, _SHOULDER_Y, _ARM_Z),
        "left_hand": (_WRIST_X + 0.086, _SHOULDER_Y - 0.001, _ARM_Z + 0.004),
        "jaw": (0.0, 1.545, 0.012),
        "left_eyeball": (0.0315, _scaled("eye_height"), 0.0725),
    }
)

# Points of the surface on the left side; the surface itself decides the last millimetres.
_LEFT_LANDMARKS: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {
        "nose": (0.0, 1.5505, 0.1165),
        "left_eye": (0.0315, _scaled("eye_height"), 0.0725 + EYEBALL_RADIUS),
        "left_ear": (0.082, 1.568, -0.012),
        "left_bigtoe": (0.098, 0.020, 0.180),
        "left_smalltoe": (0.157, 0.014, 0.133),
        "left_heel": (0.106, 0.022, -0.080),
    }
)
_TIP_REACH = 0.002  # the tip of a finger's table is the centre of its last ball, less its radius

_PARENTS_BODY = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)

_RADII: Mapping[str, float] = MappingProxyType(
    {
        **{"pelvis": 0.130, "hip": 0.080, "knee": 0.055, "ankle": 0.040, "foot": 0.028, "spine_1": 0.120},
        **{"spine_2": 0.125, "spine_3": 0.130, "neck": 0.056, "head": 0.085, "collar": 0.075},
        **{"shoulder": 0.050, "elbow": 0.038, "wrist": 0.026, "hand": 0.010, "jaw": 0.040},
        **{"eyeball": EYEBALL_RADIUS, "index_1": 0.0098, "index_2": 0.0086, "index_3": 0.0074},
        **{"middle_1": 0.0100, "middle_2": 0.0088, "middle_3": 0.0076, "ring_1": 0.0096, "ring_2": 0.0084},
        **{"ring_3": 0.0072, "pinky_1": 0.0085, "pinky_2": 0.0074, "pinky_3": 0.0064, "thumb_1": 0.0140},
        **{"thumb_2": 0.0112, "thumb_3": 0.0094},
    }
)


def joint_names(family: Family) -> tuple[str, ...]:
    """Names of a family's joints in order, in HumanData's vocabulary.

    Args:
        family: smpl (24), smplh (52) or smplx (55).

    Returns:
        The names; smplh has the 22 body joints and then the 15 + 15 of the hands.
    """
    if family == "smpl":
        return CONVENTIONS["smpl_24"].names
    full = CONVENTIONS["smplx_144"].names[:55]
    return full if family == "smplx" else (*full[:22], *full[25:])


def _finger_joint(side_name: str) -> tuple[float, float, float] | None:
    finger, _, number = side_name.removeprefix("left_").partition("_")
    if finger not in _FINGERS:
        return None
    dx, dy, dz = _FINGERS[finger][int(number) - 1 if number else 3]
    return (_WRIST_X + dx, _SHOULDER_Y + dy, _ARM_Z + dz)


def _place(name: str, table: Mapping[str, tuple[float, float, float]]) -> NDArray[np.float64]:
    left = name.replace("right_", "left_")
    found = _finger_joint(left) if left not in table else None
    point = np.array(table[left] if found is None else found, dtype=np.float64)
    if name.startswith("right_"):
        point[0] = -point[0]
    return point


def origin_shift(family: Family) -> Float[np.ndarray, "xyz=3"]:
    """Translation from the floor frame into the frame of a family's files.

    The plane of symmetry stays at x = 0: as in the real files, only the pelvis joint lies beside it.

    Returns:
        (3,) metres, to be added to points of the floor frame.
    """
    _, y, z = PELVIS[family]
    return np.array([0.0, y - _PELVIS_FLOOR[1], z - _PELVIS_FLOOR[2]])


def rest_skeleton(family: Family) -> tuple[Float[np.ndarray, "joints 3"], Int[np.ndarray, " joints"]]:
    """Rest joints of a family and their tree.

    Returns:
        (J, 3) metres in the frame of the family's files, and (J,) parents, -1 for the root.
    """
    names = joint_names(family)
    joints = np.stack([_place(name, _LEFT_BODY) for name in names]) + origin_shift(family)
    joints[0, 0] = PELVIS[family][0]
    parents = list(_PARENTS_BODY)
    if family == "smpl":
        return joints, np.array([*parents, 20, 21], dtype=np.int64)
    if family == "smplx":
        parents += [15, 15, 15]
    for wrist in (20, 21):
        for _ in range(5):
            parents += [wrist, len(parents), len(parents) + 1]
    return joints, np.array(parents, dtype=np.int64)


def landmarks(family: Family) -> dict[str, Float[np.ndarray, "xyz=3"]]:
    """Places of the 21 surface joints that the smplx package picks from the mesh.

    They are targets for the mesh: a person's own landmarks lie on its surface, a few millimetres from these.

    Returns:
        Keypoint name -> (3,) metres in the frame of the family's files.
    """
    names = CONVENTIONS["smplx_144"].names[55:76]
    return {name: _place(name, _LEFT_LANDMARKS) + origin_shift(family) for name in names}


def bone_radii(family: Family) -> Float[np.ndarray, " joints"]:
    """Typical half thickness of the flesh around each joint.

    Returns:
        (J,) metres.
    """
    plain = (name.removeprefix("left_").removeprefix("right_") for name in joint_names(family))
    return np.array([_RADII[name] for name in plain])


def hop_distance(parents: Int[np.ndarray, " joints"]) -> Int[np.ndarray, "joints joints"]:
    """Steps between any two joints of a kinematic tree.

    Args:
        parents: (J,) parent of each joint, -1 for the root, parents before children.

    Returns:
        (J, J) number of bones on the way from one joint to the other.
    """
    count = len(parents)
    hops = np.zeros((count, count), dtype=np.int64)
    for joint in range(1, count):
        hops[joint, :joint] = hops[parents[joint], :joint] + 1
        hops[:joint, joint] = hops[joint, :joint]
    return hops
