"""Body-model files with official names, keys, shapes and counts; their numbers mean nothing."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from hmtools.bodies.catalogue import CATALOGUE, Asset
from hmtools.bodies.model import JOINTS, VERTICES, Family
from hmtools.bodies.model_checks import FACES

__all__ = ["array_content", "model_content", "official_path", "save", "write_asset"]


def model_content(family: Family, *, betas: int = 10, hands: bool = True) -> dict[str, Any]:
    """The content of a model file: each vertex on one joint, joints in a chain, no pose correctives."""
    rng = np.random.default_rng([len(family), betas])
    vertices, joints = VERTICES[family], JOINTS[family]
    owner = np.arange(vertices) % joints
    weights = np.zeros((vertices, joints), np.float32)
    weights[np.arange(vertices), owner] = 1
    regressor = np.zeros((joints, vertices))
    for joint in range(joints):
        regressor[joint, np.flatnonzero(owner == joint)[:8]] = 1 / 8
    parents = np.arange(joints, dtype=np.uint32) - np.uint32(1)  # the root's becomes 4294967295
    start = np.arange(FACES[family]) % (vertices - 2)
    content: dict[str, Any] = {
        "v_template": rng.uniform(-0.9, 0.9, (vertices, 3)).astype(np.float32),
        "shapedirs": rng.normal(0, 0.01, (vertices, 3, betas)).astype(np.float32),
        "posedirs": np.zeros((vertices, 3, 9 * (joints - 1)), np.float32),
        "J_regressor": regressor,
        "weights": weights,
        "kintree_table": np.stack([parents, np.arange(joints, dtype=np.uint32)]),
        "f": np.stack([start, start + 1, start + 2], axis=1).astype(np.uint32),
    }
    if family != "smpl" and hands:
        for side in "lr":
            content[f"hands_mean{side}"] = rng.normal(0, 0.1, 45)
            content[f"hands_components{side}"] = rng.normal(0, 1, (45, 45))
    if family == "smplx":
        content |= {
            "lmk_faces_idx": rng.integers(0, FACES["smplx"], 51),
            "lmk_bary_coords": np.full((51, 3), 1 / 3),
            "dynamic_lmk_faces_idx": rng.integers(0, FACES["smplx"], (79, 17)),
            "dynamic_lmk_bary_coords": np.full((79, 17, 3), 1 / 3),
        }
    return content


def array_content(row: Asset) -> Any:
    """What the file of a row that is no model holds, as its authors store it."""
    rng = np.random.default_rng(1)
    assert row.shape is not None
    if row.kind == "template":
        return rng.uniform(-0.5, 0.5, row.shape)
    if row.kind == "ids":
        if row.entries:
            return {name: rng.permutation(VERTICES[row.family])[: row.shape[1]] for name in row.entries}
        return rng.permutation(VERTICES[row.family])[: row.shape[0]]
    if row.kind == "parameters":
        sizes = {"pose": 144, "shape": 10, "cam": 3}
        return {name: np.full(size, 0.5, np.float32) for name, size in sizes.items()}
    if row.kind == "regressor":
        return np.full(row.shape, 1 / row.shape[1], np.float32)
    target, source = row.shape
    picked = rng.integers(0, source, target)
    along_normals = sparse.csr_matrix((target, source))
    by_vertices = sparse.csr_matrix((np.ones(target), (np.arange(target), picked)), shape=(target, source))
    return {"mtx": sparse.hstack([by_vertices, along_normals]).tocsc()}


def official_path(row: Asset) -> str:
    """A path as downloads have it, below a root."""
    name = row.names[0] if row.kind == "model" else row.names[-1]
    return ("models_lockedhead/" if row.locked_head else "") + f"{row.family}/{name}"


def save(path: Path, content: Any) -> Path:
    """Write ``content`` in the form of the path's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, content)
    elif path.suffix == ".npz":
        np.savez(path, **content)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    return path


def write_asset(root: Path, key: str) -> Path:
    """Write an intact file for a row of the catalogue."""
    row = CATALOGUE[key]
    content = (
        model_content(row.family, betas=20 if row.family == "smplx" else 10)
        if row.kind == "model"
        else array_content(row)
    )
    return save(root / official_path(row), content)
