"""Regressors of the stand-in: few vertices around a point, weighted so that they give it back.

Weights are non-negative and sum to 1. The vertices surround the point; the weights are chosen so that the
point is met exactly, that it moves as the skeleton does under every shape direction, and that no vertex
counts more than it must.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import scipy.optimize
from jaxtyping import Float
from numpy.typing import NDArray

from hmtools.bodies.standin.anatomy import joint_names
from hmtools.bodies.standin.person import Person
from hmtools.bodies.standin.shapes import DIRECTIONS, displace
from hmtools.bodies.standin.transfer import closest_on_surface
from hmtools.humandata.conventions import CONVENTIONS

__all__ = ["FEET", "WHAM", "joint_regressor", "point_regressor", "targets"]

WHAM: tuple[str, ...] = (
    *CONVENTIONS["coco_wholebody_133"].names[:17],
    *CONVENTIONS["lsp_14"].names,
)
"""The 31 rows of WHAM's regressor: COCO's 17 (with the skeleton's hips), then LSP's 14."""

FEET: tuple[str, ...] = ("left_heel", "left_bigtoe", "right_heel", "right_bigtoe")
"""The 4 rows of WHAM's feet regressor."""

_RAYS = 80
_FEWEST = 6  # vertices around a joint
_OWN_FLESH = (0.9, 0.75, 0.6, 0.45)  # least share of joint and parent in the skinning of a vertex
_EXACT, _FOLLOW, _EVEN = 1e3, 3e1, 1e-1  # weights of the least-squares rows, per metre, metre and unit
_SMALL = 2e-3  # weights below are dropped, then the rest is solved again

Array = NDArray[np.float64]


def _sphere(count: int) -> Array:
    """(count, 3) unit vectors spread evenly, mirror images of each other in x."""
    k = np.arange(count // 2) + 0.5
    y = 1.0 - 2.0 * k / (count // 2)
    angle = np.pi * (np.sqrt(5.0) * k % 1.0) - np.pi / 2  # half circle x >= 0
    ring = np.sqrt(1.0 - y * y)
    half = np.stack([ring * np.cos(angle), y, ring * np.sin(angle)], axis=1)
    return np.concatenate([half, half * [-1.0, 1.0, 1.0]])


def _surround(vertices: Array, point: Array, allowed: NDArray[np.int64]) -> NDArray[np.int64]:
    """Vertices near a point in all directions: the nearest one in each of a fan of cones."""
    if not len(allowed):
        return allowed
    offset = vertices[allowed] - point
    distance = np.maximum(np.linalg.norm(offset, axis=1), 1e-9)
    cosine = (offset / distance[:, None]) @ _sphere(_RAYS).T
    cost = np.where(cosine > 0.9, distance[:, None], np.inf)
    best = np.argmin(cost, axis=0)
    reach = cost[best, np.arange(_RAYS)]
    usable = np.isfinite(reach)
    if not usable.any():
        return allowed[:0]
    near = usable & (reach < 2.5 * np.median(reach[usable]))
    return np.unique(allowed[best[near]])


def _weights(points: Array, target: Array, follow: Array, wanted: Array) -> Array:
    """Non-negative weights (N,): points (N, 3) -> target, and follow (N, M) -> wanted (M,) if possible."""
    count = len(points)
    rows = np.concatenate(
        [
            _EXACT * (points - target).T,
            _EXACT * np.ones((1, count)),
            _FOLLOW * follow.T,
            _EVEN * np.eye(count),
        ]
    )
    goal = np.concatenate([np.zeros(3), [_EXACT], _FOLLOW * wanted, np.full(count, _EVEN / count)])
    found = scipy.optimize.nnls(rows, goal)[0]
    return np.asarray(found / found.sum(), dtype=np.float64)


def _solve(
    person: Person, target: Array, allowed: NDArray[np.int64], moves: tuple[Array, Array]
) -> tuple[NDArray[np.int64], Array]:
    """Vertices and weights that give a point; moves are (V, M) and (M,) shifts under the shape directions."""
    ids = _surround(person.vertices, target, allowed)
    weights = _weights(person.vertices[ids], target, moves[0][ids], moves[1])
    keep = weights > _SMALL
    ids = ids[keep]
    return ids, _weights(person.vertices[ids], target, moves[0][ids], moves[1])


def _shape_moves(person: Person) -> tuple[Array, Array]:
    """(V, 3, K) and (J, 3, K) shifts of surface and skeleton under the named directions."""
    both = [displace(person, direction) for direction in DIRECTIONS]
    return np.stack([b[0] for b in both], axis=2), np.stack([b[1] for b in both], axis=2)


def _flesh(person: Person, joint: int, usable: Array) -> Iterator[NDArray[np.int64]]:
    """Vertices that may speak for a joint, the strictest choice first: its own flesh and its parent's."""
    if joint_names(person.family)[joint].endswith("eyeball"):
        yield np.flatnonzero(person.weights[:, joint] > 0.999)
    parent = max(int(person.parents[joint]), 0)
    near = (person.weights[:, joint] + person.weights[:, parent]) * usable
    for least in _OWN_FLESH:
        yield np.flatnonzero(near > least)


def joint_regressor(
    person: Person, still: Float[np.ndarray, " vertices"] | None = None
) -> Float[np.ndarray, "joints vertices"]:
    """Regressor of the skeleton.

    Args:
        person: the rest-pose person.
        still: how far each vertex is free of facial movement (1) or part of it (0); those below 1 are not
            used, for a smile must not move a joint. None: no vertex moves.

    Returns:
        (J, V) non-negative, rows sum to 1, about 30 entries a row; result @ vertices = joints.
    """
    vertex_moves, joint_moves = _shape_moves(person)
    usable = np.ones(len(person.vertices)) if still is None else (still >= 1.0).astype(np.float64)
    result = np.zeros((len(person.joints), len(person.vertices)))
    flat = vertex_moves.reshape(len(person.vertices), -1)
    for joint, target in enumerate(person.joints):
        wanted = joint_moves[joint].ravel()
        best, lowest = None, np.inf
        for allowed in _flesh(person, joint, usable):
            if len(_surround(person.vertices, target, allowed)) < _FEWEST:
                continue
            ids, weights = _solve(person, target, allowed, (flat, wanted))
            miss = float(np.linalg.norm(weights @ person.vertices[ids] - target))
            cost = _EXACT * miss + float(np.abs(weights @ flat[ids] - wanted).max())
            if cost < lowest:
                best, lowest = (ids, weights), cost
        if best is None:
            raise RuntimeError(f"no vertices surround joint {joint} of {person.family}: a bug of hmtools")
        result[joint, best[0]] = best[1]
    return result


def _between(first: str, second: str, share: float = 0.5) -> Callable[[Mapping[str, Array]], Array]:
    return lambda at: np.asarray((1.0 - share) * at[first] + share * at[second])


# Points that annotators and motion capture name but the skeleton lacks; metres, left side, y up.
_EXTRA: tuple[tuple[str, Callable[[Mapping[str, Array]], Array]], ...] = (
    ("left_hip_extra", lambda at: at["left_hip"] + [0.020, 0.020, 0.0]),
    ("right_hip_extra", lambda at: at["right_hip"] + [-0.020, 0.020, 0.0]),
    ("pelvis_extra", _between("left_hip_extra", "right_hip_extra")),
    ("shoulder_middle", _between("left_shoulder", "right_shoulder")),
    ("thorax_extra", _between("shoulder_middle", "spine_3", 0.15)),
    ("neck_extra", _between("shoulder_middle", "neck", 0.6)),
    ("spine_extra", _between("spine_1", "spine_2")),
    ("jaw_extra", _between("head", "nose", 0.35)),
    ("head_extra", _between("head", "headtop", 0.55)),
)


def targets(person: Person) -> dict[str, Float[np.ndarray, 3]]:
    """Every named point that a regressor of the stand-in may give, in HumanData's vocabulary.

    The skeleton's joints; the surface joints; headtop (the crown); and the ``*_extra`` points, whose places
    inside the body are decided here, for their real definitions exist only as the published matrices.

    Returns:
        Name -> (3,) metres in the person's frame.
    """
    at: dict[str, Array] = dict(zip(joint_names(person.family), person.joints, strict=True))
    at |= {name: np.asarray(place) for name, place in person.landmarks.items()}
    crown = person.vertices[np.argmax(person.vertices[:, 1])]
    at["headtop"] = np.array([0.0, crown[1] - 0.004, crown[2]])
    for name, place in _EXTRA:
        at[name] = place(at)
    return at


def point_regressor(person: Person, names: Sequence[str]) -> Float[np.ndarray, "points vertices"]:
    """Regressor of named points.

    Args:
        person: the rest-pose person.
        names: keys of :func:`targets`.

    Returns:
        (len(names), V) non-negative, rows sum to 1. Points of the surface are given by the three corners of a
        face.
    """
    at = targets(person)
    body = np.arange(len(person.vertices))
    result = np.zeros((len(names), len(person.vertices)))
    nothing = (np.zeros((len(person.vertices), 0)), np.zeros(0))
    for row, name in enumerate(names):
        if name in person.landmarks:
            face, corners, _ = closest_on_surface(at[name][None], person.vertices, person.faces)
            result[row, person.faces[face[0]]] = corners[0]
        else:
            ids, weights = _solve(person, at[name], body, nothing)
            result[row, ids] = weights
    return result
