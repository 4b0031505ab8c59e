"""Skinning: which joint's flesh a vertex is, and weights that fade from one joint to the next.

Each vertex first belongs to one joint, by where it lies in the T-pose. That sharp division is then diffused
along the surface, over a distance that goes with the thickness of the limb, so that a knee bends over
centimetres and a finger over millimetres, and nothing leaks through the air from thigh to thigh.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from hmtools.bodies.model import Family
from hmtools.bodies.standin.anatomy import (
    bone_radii,
    hop_distance,
    joint_names,
    landmarks,
    origin_shift,
    rest_skeleton,
)
from hmtools.bodies.standin.body_shape import floor_joints
from hmtools.bodies.standin.face_shape import MOUTH_HEIGHT

__all__ = ["MAX_HOPS", "MAX_JOINTS", "bone_of", "cotangent_laplacian", "for_family", "skinning_weights"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

MAX_HOPS = 2
"""Bones between the joint whose flesh a vertex is and any joint that moves it."""
MAX_JOINTS = 4
"""Joints that move one vertex."""

_FADE = 0.55  # distance over which weights fade, as a share of the half thickness of the limb
_LEAST = 0.004  # weights below this are dropped

# Metres, where the thickness misleads: hips and trunk would lose volume, lips stick together, fingers crease.
_FADES: tuple[tuple[tuple[int, ...], float], ...] = (
    ((0, 3, 6, 9), 0.048),
    ((1, 2), 0.026),
    ((12,), 0.025),
    ((15,), 0.011),
    ((22,), 0.009),
    (tuple(range(25, 55)), 0.0075),
)

# Indices of SMPL-X's joints, left side.
_HIP, _KNEE, _ANKLE, _FOOT, _COLLAR, _SHOULDER, _ELBOW, _WRIST = 1, 4, 7, 10, 13, 16, 18, 20
_PELVIS, _SPINE_1, _SPINE_2, _SPINE_3, _NECK, _HEAD, _JAW = 0, 3, 6, 9, 12, 15, 22
_MIRROR = {
    index: joint_names("smplx").index(name.replace("left_", "right_"))
    for index, name in enumerate(joint_names("smplx"))
    if name.startswith("left_")
}


def _segment_distance(points: Array, start: Array, end: Array) -> Array:
    axis = end - start
    share = np.clip((points - start) @ axis / float(axis @ axis), 0.0, 1.0)
    distance: Array = np.linalg.norm(points - start - share[:, None] * axis, axis=1)
    return distance


def _hand_bones(points: Array, joints: Array) -> Indices:
    """Wrist or finger joint of (N, 3) points of the left hand: the nearest bone, measured in its radius."""
    names, radii = joint_names("smplx"), bone_radii("smplx")
    shift = origin_shift("smplx")
    score, owner = [], []
    for first in range(25, 40, 3):
        finger = names[first].split("_")[1]
        tip = landmarks("smplx")[f"left_{finger}"] - shift
        line = [*joints[first : first + 3], tip]
        palm_end = line[0] if finger != "thumb" else joints[_WRIST] + 0.6 * (line[0] - joints[_WRIST])
        score.append(_segment_distance(points, joints[_WRIST], palm_end) / (1.35 * radii[first]))
        owner.append(_WRIST)
        for k in range(3):
            score.append(_segment_distance(points, line[k], line[k + 1]) / radii[first + k])
            owner.append(first + k)
    nearest = np.round(np.stack(score), 7).argmin(0)
    bones: Indices = np.array(owner)[nearest]
    return bones


def _leg_bones(points: Array, joints: Array) -> Indices:
    y, z = points[:, 1], points[:, 2]
    foot = z > joints[_FOOT, 2] - 0.25 * (y - joints[_FOOT, 1])
    ankle = y < joints[_ANKLE, 1] + 0.012
    shank = y < joints[_KNEE, 1]
    return np.select([ankle & foot, ankle, shank], [_FOOT, _ANKLE, _KNEE], _HIP)


def _trunk_bones(points: Array, joints: Array) -> Indices:
    x, y = points[:, 0], points[:, 1]
    collar = (y > 1.325 + 0.25 * np.maximum(0.10 - x, 0)) & (x > 0.052) & (y < 1.52)
    middle = [(joints[a, 1] + joints[b, 1]) / 2 for a, b in ((_PELVIS, _SPINE_1), (_SPINE_1, _SPINE_2))]
    high = [y < middle[0], y < middle[1], y < (joints[_SPINE_2, 1] + joints[_SPINE_3, 1]) / 2]
    spine = np.select(high, [_PELVIS, _SPINE_1, _SPINE_2], _SPINE_3)
    return np.where(collar, _COLLAR, spine)


def _head_bones(points: Array, joints: Array) -> Indices:
    y, z = points[:, 1], points[:, 2]
    hinge = joints[_JAW]
    # From the hinge to the corner of the mouth, and then level between the lips.
    line = hinge[1] + (MOUTH_HEIGHT - hinge[1]) * np.clip((z - hinge[2]) / (0.074 - hinge[2]), -1.0, 1.0)
    jaw = (y < line) & (z > hinge[2] - 0.004) & ((z > 0.036) | (y > 1.500))
    # The neck ends at the skull's rim: higher behind than in front.
    neck = y < joints[_HEAD, 1] - 0.012 - 0.75 * np.clip(z, -0.06, 0.05)
    return np.select([jaw, neck], [_JAW, _NECK], _HEAD)


def bone_of(points: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, " n"]:
    """Joint of SMPL-X whose flesh a point of the surface is.

    Args:
        points: (N, 3) metres, floor frame, T-pose; points with x < 0 are those of the right side.

    Returns:
        (N,) joint indices, never an eye's.
    """
    left = points * [1.0, 1.0, 1.0]
    left[:, 0] = np.abs(left[:, 0])
    joints = floor_joints()
    x, y, z = left.T
    # The crease of the groin rises from the crotch to the hip.
    leg = y < 0.800 + 0.85 * np.clip(x, 0.0, 0.16) - 0.25 * np.clip(-z - 0.03, 0.0, 0.1)
    leg &= x > 0  # what lies in the plane of symmetry belongs to neither side
    head = (y > joints[_NECK, 1] + 0.012 + 0.25 * np.clip(z, -0.08, 0.08)) & (x < 0.11)
    arm = x > joints[_SHOULDER, 0]
    far = x > joints[_WRIST, 0]
    arm_bone = np.where(x > joints[_ELBOW, 0], _ELBOW, _SHOULDER)
    bones = np.select(
        [far, arm & (y > 1.2), leg, head],
        [_hand_bones(left, joints), arm_bone, _leg_bones(left, joints), _head_bones(left, joints)],
        _trunk_bones(left, joints),
    )
    table = np.arange(55)
    table[list(_MIRROR)] = list(_MIRROR.values())
    mirrored: Indices = np.where(points[:, 0] < 0, table[bones], bones)
    return mirrored


def cotangent_laplacian(
    vertices: Float[np.ndarray, "vertices 3"],
    faces: Int[np.ndarray, "faces 3"],
    conductance: Float[np.ndarray, " vertices"],
) -> tuple[sparse.csc_matrix | sparse.csc_array, Float[np.ndarray, " vertices"]]:
    """Stiffness matrix and vertex areas of a triangle mesh.

    Args:
        vertices: (V, 3) metres.
        faces: (F, 3).
        conductance: (V,) square metres: how far things spread, squared.

    Returns:
        (V, V) positive semi-definite matrix, and (V,) square metres.
    """
    count = len(vertices)
    rows, columns, values = [], [], []
    area = np.zeros(count)
    for k in range(3):
        i, j, apex = (faces[:, (k + s) % 3] for s in range(3))
        u, v = vertices[i] - vertices[apex], vertices[j] - vertices[apex]
        twice = np.linalg.norm(np.cross(u, v), axis=1)
        weight = np.clip((u * v).sum(1) / np.maximum(2 * twice, 1e-14), 0.05, 20.0)
        rows.append(i)
        columns.append(j)
        values.append(weight * (conductance[i] + conductance[j]) / 2)
        area += np.bincount(apex, twice / 6, count)
    half = sparse.coo_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(count, count)
    ).tocsr()
    both = half + half.T
    diagonal = sparse.diags_array(np.asarray(both.sum(1)).ravel())
    return (diagonal - both).tocsc(), area


def skinning_weights(
    vertices: Float[np.ndarray, "vertices 3"],
    faces: Int[np.ndarray, "faces 3"],
    bone: Int[np.ndarray, " vertices"],
) -> Float[np.ndarray, "vertices 55"]:
    """Smooth weights of a closed surface in the T-pose.

    Args:
        vertices: (V, 3) metres.
        faces: (F, 3).
        bone: (V,) SMPL-X joint whose flesh each vertex is.

    Returns:
        (V, 55) weights: at most :data:`MAX_JOINTS` in a row, none more than :data:`MAX_HOPS` from its
        own joint, rows sum to 1.
    """
    fade = _FADE * bone_radii("smplx")
    for joints, distance in _FADES:
        fade[list(joints)] = distance
    stiffness, area = cotangent_laplacian(vertices, faces, fade[bone] ** 2)
    used = np.unique(bone)
    sharp = (bone[:, None] == used[None]) * area[:, None]
    solver = splu((sparse.diags_array(area) + stiffness).tocsc())
    weights = np.zeros((len(vertices), 55))
    weights[:, used] = solver.solve(sharp)
    hops = hop_distance(rest_skeleton("smplx")[1])
    weights[(hops[bone] > MAX_HOPS) | (weights < _LEAST)] = 0.0
    weights = np.round(weights, 9)
    # Whatever is not above the first one too many goes: of a left and a right equal both, or neither.
    weights[weights <= np.sort(weights, axis=1)[:, [-MAX_JOINTS - 1]]] = 0.0
    normalised: Array = weights / weights.sum(1, keepdims=True)
    return normalised


def for_family(
    weights: Float[np.ndarray, "vertices 55"], bone: Int[np.ndarray, " vertices"], family: Family
) -> tuple[Float[np.ndarray, "vertices joints"], Int[np.ndarray, " vertices"]]:
    """Weights and bones of SMPL-X's joints, carried over to the joints of a family.

    SMPL and SMPL-H have no jaw and no eyes: the head takes these. SMPL's two hand joints take all fingers.

    Args:
        weights: (V, 55).
        bone: (V,).
        family: which joints the result is for.

    Returns:
        (V, J) weights and (V,) bones.
    """
    if family == "smplx":
        return weights, bone
    fingers = {"smplh": [*range(22, 52)], "smpl": [22] * 15 + [23] * 15}[family]
    table = np.array([*range(22), 15, 15, 15, *fingers])
    merged = np.zeros((len(weights), len(joint_names(family))))
    np.add.at(merged.T, table, weights.T)
    return merged, table[bone]
