"""The cached stand-in, read back for tests: model files, persons, and a plain skinning to pose them with."""

from __future__ import annotations

import functools
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from hmtools.bodies.model import Family, Gender
from hmtools.bodies.standin.anatomy import joint_names
from hmtools.bodies.standin.cache import standin_dir
from hmtools.bodies.standin.person import Person
from hmtools.humandata.conventions import SMPL_VERTEX_IDS, SMPLX_VERTEX_IDS

Array = NDArray[np.float64]
SUFFIX: dict[Family, str] = {"smpl": "pkl", "smplh": "pkl", "smplx": "npz"}


@functools.cache
def model(family: Family, gender: Gender = "neutral") -> dict[str, Any]:
    """Entries of a model file as they are in it."""
    path = standin_dir() / family / f"{family.upper()}_{gender.upper()}.{SUFFIX[family]}"
    if path.suffix == ".npz":
        with np.load(path) as file:
            return dict(file)
    content: dict[str, Any] = pickle.loads(path.read_bytes())
    return content


def regressor(family: Family, gender: Gender = "neutral") -> Array:
    """(J, V) joint regressor, dense."""
    matrix = model(family, gender)["J_regressor"]
    return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix)


def vertex_ids(family: Family) -> dict[str, int]:
    """Vertices that the smplx package picks as surface joints."""
    return dict(SMPLX_VERTEX_IDS if family == "smplx" else SMPL_VERTEX_IDS)


@functools.cache
def person(family: Family, gender: Gender = "neutral") -> Person:
    """The person that a model file was made of, up to the rounding to float32."""
    entries = model(family, gender)
    vertices = entries["v_template"].astype(np.float64)
    parents = entries["kintree_table"][0].astype(np.int64)
    parents[0] = -1
    weights = entries["weights"].astype(np.float64)
    return Person(
        family=family,
        vertices=vertices,
        faces=entries["f"].astype(np.int64),
        joints=regressor(family, gender) @ vertices,
        parents=parents,
        weights=weights / weights.sum(axis=1, keepdims=True),
        bone=weights.argmax(axis=1).astype(np.int64),
        landmarks={name: vertices[k] for name, k in vertex_ids(family).items()},
    )


def pose(family: Family, turns: dict[str, tuple[float, float, float]]) -> Array:
    """(J, 3) axis-angle, radians, from joint names."""
    result = np.zeros((len(joint_names(family)), 3))
    for name, turn in turns.items():
        result[joint_names(family).index(name)] = turn
    return result


def posed(who: Person, turns: Array, posedirs: Array | None = None) -> Array:
    """(V, 3) vertices by linear blend skinning, with pose correctives if given."""
    rotations = Rotation.from_rotvec(turns).as_matrix()
    vertices = who.vertices
    if posedirs is not None:
        vertices = vertices + posedirs @ (rotations[1:] - np.eye(3)).ravel()
    frames = np.zeros((len(turns), 3, 4))
    for joint, parent in enumerate(who.parents):
        local = np.concatenate([rotations[joint], who.joints[joint][:, None]], axis=1)
        if parent >= 0:
            local[:, 3] -= who.joints[parent]
            turn = frames[parent, :, :3]
            local = np.concatenate([turn @ local[:, :3], turn @ local[:, 3:] + frames[parent, :, 3:]], axis=1)
        frames[joint] = local
    frames[:, :, 3] -= np.einsum("jab,jb->ja", frames[:, :, :3], who.joints)
    blend = np.einsum("vj,jab->vab", who.weights, frames)
    return np.asarray(np.einsum("vab,vb->va", blend[:, :, :3], vertices) + blend[:, :, 3])


def flipped(before: Array, after: Array, faces: NDArray[np.int64]) -> int:
    """Faces whose normal turned by more than a right angle."""

    def normals(points: Array) -> Array:
        a, b, c = (points[faces[:, k]] for k in range(3))
        return np.asarray(np.cross(b - a, c - a))

    return int(np.count_nonzero(np.sum(normals(before) * normals(after), axis=1) <= 0))
