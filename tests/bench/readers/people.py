"""Predictions of a few people in every form."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from hmtools.bench.joining import ShardRows

__all__ = ["body", "result", "rows", "submitted"]


def rows(*images: tuple[str, int], moving: bool = False, size: tuple[int, int] = (1280, 720)) -> ShardRows:
    """Rows of images with so many people each; keys are ``<image>/<person>``."""
    people = [(path, person) for path, count in images for person in range(count)]
    return ShardRows(
        key=[f"{path}/{person}" for path, person in people],
        image_path=[path for path, _ in people],
        person=[person for _, person in people],
        source_index=list(range(100, 100 + len(people))),
        sequence=[path.split("/")[-2] if "/" in path else "test" for path, _ in people],
        moving=[moving] * len(people),
        size={path: size for path, _ in people},
    )


def body(seed: int) -> dict[str, np.ndarray]:
    """Parameters as SMPLer-X shapes them."""
    rng = np.random.default_rng(seed)
    shapes = {
        **{"global_orient": (1, 3), "body_pose": (21, 3), "jaw_pose": (1, 3), "transl": (1, 3)},
        **{"left_hand_pose": (15, 3), "right_hand_pose": (15, 3), "betas": (1, 10), "expression": (1, 10)},
        **{"leye_pose": (1, 3), "reye_pose": (1, 3)},
    }
    return {name: rng.normal(size=shape).astype(np.float32) * 0.3 for name, shape in shapes.items()}


def result(folder: Path, name: str, seed: int, image: str | None = None, **changes: Any) -> None:
    """One person of SMPLer-X's demo; the box of its crop is 100, 50, 150, 200."""
    for sub in ("smplx", "meta"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    np.savez(folder / "smplx" / f"{name}.npz", **(body(seed) | changes))
    if image is not None:
        meta = {
            "focal": [5000 / 192 * 150, 5000 / 256 * 200],
            "princpt": [96 / 192 * 150 + 100, 128 / 256 * 200 + 50],
            "img_path": image,
        }
        (folder / "meta" / f"{name}.json").write_text(json.dumps(meta))


def submitted(folder: Path, name: str, seed: int, *, mesh: int | None = None, **changes: Any) -> None:
    """One person of AGORA's format, with a mesh of so many vertices, or parameters."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    content: dict[str, Any] = {"joints": (rng.random((24, 2)) * (3840, 2160)).astype(np.float32)}
    if mesh is None:
        content["params"] = {key: value.reshape(1, -1) for key, value in body(seed).items()}
    else:
        content["verts"] = rng.random((mesh, 3)).astype(np.float32)
        content["allSmplJoints3d"] = rng.random((127, 3))
    (folder / f"{name}.pkl").write_bytes(pickle.dumps(content | changes))
