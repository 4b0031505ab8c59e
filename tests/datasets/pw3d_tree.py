"""Copies of 3DPW, written from its card and not from its reader.

People are clouds of 24 joints about a place in the camera frame (:func:`cam_joints`); the files hold them in
the world. Pictures are small, cameras scaled to them.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from hmtools.convert.run import convert
from hmtools.datasets.base import Rejected
from hmtools.datasets.pw3d import Pw3d
from hmtools.humandata.record import Record
from tests.datasets.coco_tree import picture, write_picture

__all__ = [
    "FOCAL",
    "SIZE",
    "annotation",
    "cam_joints",
    "camera",
    "fit",
    "image_row",
    "kept",
    "left_out",
    "points",
    "pose",
    "read",
    "recording",
    "run",
    "write_fits",
    "write_images",
    "write_labels",
    "write_recording",
    "write_tree",
]

SIZE = (54, 96)  # portrait
FOCAL = (98.0, 99.0)


def camera(frame: int) -> np.ndarray:
    """World to camera (4, 4) of a frame: the world is y-up, the camera walks and turns."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", [180, 5 + 3 * frame, 4], degrees=True).as_matrix()
    matrix[:3, 3] = [0.1, 0.9, 3.0 + 0.01 * frame]
    return matrix


def intrinsics(size: tuple[int, int] = SIZE) -> np.ndarray:
    """(3, 3) of a sequence."""
    return np.array([[FOCAL[0], 0, size[0] / 2 - 0.25], [0, FOCAL[1], size[1] / 2 + 0.25], [0, 0, 1]])


def cam_joints(frame: int, person: int) -> np.ndarray:
    """(24, 3) metres, camera frame; joint 15 on top, 7 and 8 at the bottom."""
    rng = np.random.default_rng(100 * frame + person)
    found = rng.uniform([-0.3, -0.7, 3.0], [0.3, 0.7, 3.4], (24, 3))
    found[:, 0] += 0.4 * person - 0.2
    found[[15, 7, 8], 1] = [-0.8, 0.8, 0.8]
    return np.asarray(found)


def points(frame: int, person: int) -> np.ndarray:
    """(18, 3) x, y, confidence; every fifth was not found."""
    row = np.arange(18)
    found = np.stack([5 + row + frame, 20 + 2 * row + person, 0.1 + row / 30], axis=1)
    return np.where(row[:, None] % 5 == 2, 0.0, found)


def pose(frame: int, person: int) -> np.ndarray:
    """(72,) radians, the root in the world."""
    return np.random.default_rng(7000 + 100 * frame + person).uniform(-0.8, 0.8, 72)


def recording(name: str, frames: int = 3, people: int = 2, *, size: tuple[int, int] = SIZE) -> dict[str, Any]:
    """What ``<name>.pkl`` holds."""
    matrices = np.stack([camera(i) for i in range(frames)])
    world = [
        np.stack([(cam_joints(i, p) - m[:3, 3]) @ m[:3, :3] for i, m in enumerate(matrices)])
        for p in range(people)
    ]
    return {
        "sequence": name,
        "genders": ["m", "f", "f"][:people],
        "betas": [np.linspace(-1, 1, 10) + p for p in range(people)],
        "betas_clothed": [np.zeros(10)] * people,
        "v_template_clothed": [np.zeros((5, 3))] * people,
        "texture_maps": [np.zeros((2, 2, 3))] * people,
        "poses": [np.stack([pose(i, p) for i in range(frames)]) for p in range(people)],
        "trans": [np.stack([[0.1 * i, 1.0, p] for i in range(frames)]) for p in range(people)],
        "poses_60Hz": [np.full((2 * frames, 72), 9.0)] * people,
        "trans_60Hz": [np.full((2 * frames, 3), 9.0)] * people,
        "img_frame_ids": 2 * np.arange(frames) + 1,
        "jointPositions": [joints.reshape(frames, 72) for joints in world],
        "poses2d": [np.stack([points(i, p).T for i in range(frames)]) for p in range(people)],
        "cam_poses": matrices,
        "cam_intrinsics": intrinsics(size),
        "campose_valid": [np.ones(frames, np.int64) for _ in range(people)],
    }


def write_recording(
    root: Path, data: Mapping[str, Any], split: str = "test", name: str | None = None
) -> Path:
    """``sequenceFiles/<split>/<name>.pkl``."""
    path = root / "sequenceFiles" / split / f"{name or data['sequence']}.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(data, protocol=2))
    return path


def write_images(root: Path, name: str, frames: int = 3, *, size: tuple[int, int] = SIZE) -> Path:
    """``imageFiles/<name>``."""
    folder = root / "imageFiles" / name
    folder.mkdir(parents=True, exist_ok=True)
    for frame in range(frames):
        write_picture(folder / f"image_{frame:05d}.jpg", picture(*size))
    return folder


def write_tree(
    root: Path,
    changes: Mapping[str, Any] | None = None,
    *,
    frames: int = 3,
    people: int = 2,
    split: str = "test",
) -> Path:
    """One sequence ``walk_00`` with its images; ``changes`` replace fields of its file."""
    write_recording(root, recording("walk_00", frames, people) | dict(changes or {}), split)
    write_images(root, "walk_00", frames)
    return root


def annotation(frame: int, person: int, **cells: Any) -> dict[str, Any]:
    """A row of ``annotations`` for a person of ``walk_00``; its root is in the camera frame."""
    own = pose(frame, person)
    own[:3] = (Rotation.from_matrix(camera(frame)[:3, :3]) * Rotation.from_rotvec(own[:3])).as_rotvec()
    body = {"pose": own.tolist(), "shape": [0.0] * 10, "trans": [0.0, 0.0, 3.0], "gender": "male"}
    row = {
        "id": 500 + 10 * frame + person,
        "image_id": 40 + frame,
        "bbox": [5.5 + person, 10.0, 30.0, 60.0 + frame],
        "smpl_param": body,
        "openpose_result": points(frame, person).tolist(),
        "fitted_3d_pose": [],
    }
    return row | cells


def image_row(frame: int, **cells: Any) -> dict[str, Any]:
    """A row of ``images``."""
    row = {
        "id": 40 + frame,
        "file_name": f"image_{frame:05d}.jpg",
        "sequence": "walk_00",
        "width": SIZE[0],
        "height": SIZE[1],
        "cam_param": {"focal": list(FOCAL), "princpt": [26.75, 48.25]},
    }
    return row | cells


def write_labels(
    root: Path, annotations: Sequence[Any], images: Sequence[Any] | None = None, split: str = "test"
) -> Path:
    """``3DPW_<split>.json``."""
    path = root / f"3DPW_{split}.json"
    listed = [image_row(frame) for frame in range(3)] if images is None else list(images)
    path.write_text(json.dumps({"images": listed, "annotations": list(annotations)}))
    return path


def fit(frame: int, person: int) -> dict[str, Any]:
    """An entry of NeuralAnnot's file: the body alone, no camera."""
    rng = np.random.default_rng(90 + 10 * frame + person)
    sizes = {"root_pose": 3, "body_pose": 63, "shape": 10, "trans": 3}
    return {name: rng.uniform(-0.5, 0.5, size).tolist() for name, size in sizes.items()}


def write_fits(root: Path, fits: Mapping[str, Any], split: str = "test") -> Path:
    """``3DPW_<split>_SMPLX_NeuralAnnot.json``."""
    path = root / f"3DPW_{split}_SMPLX_NeuralAnnot.json"
    path.write_text(json.dumps(fits))
    return path


def read(root: Path, split: str = "test", **options: str) -> list[Record | Rejected]:
    """What the dataset says about every person of a split; units and the set travel as pickles."""
    dataset = Pw3d(options)
    dataset.require(root, [split])
    units = pickle.loads(pickle.dumps(dataset.plan(root, split)))
    worker = pickle.loads(pickle.dumps(dataset))
    return [found for unit in units for found in worker.read(root, unit)]


def kept(found: Sequence[Record | Rejected]) -> dict[tuple[int, int], Record]:
    """(frame, person) -> record."""
    return {(r.frame or 0, r.person or 0): r for r in found if isinstance(r, Record)}


def left_out(found: Sequence[Record | Rejected]) -> list[tuple[str, str, bool]]:
    """Reason, source and whether by rule."""
    return [(r.reason, r.source, r.by_rule) for r in found if isinstance(r, Rejected)]


def run(root: Path, out: Path, *splits: str, **options: str) -> Path:
    """Convert splits; the folder of the first."""
    reports = convert(
        "pw3d", root=root, out=out, splits=splits or ("test",), options=options, workers=0, progress=False
    )
    assert all(report.outcome.ok for report in reports), [report.outcome.failed for report in reports]
    return reports[0].plan.task.out
