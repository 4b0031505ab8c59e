"""Copies of EHF in both trees, written from its card and not from its reader.

Every frame has a mesh whose place in the camera frame is known (:func:`cam_mesh`); the files hold it in the
scanner's frame. Pictures are small and the camera file scaled to them.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.convert.run import convert
from hmtools.datasets.base import Rejected
from hmtools.datasets.ehf import Ehf
from hmtools.humandata.record import Record
from tests.datasets.coco_tree import picture, write_picture
from tests.datasets.ply_bytes import ply_bytes

__all__ = [
    "CAMERA",
    "FOCAL",
    "JOINTS",
    "PRINCIPAL",
    "SIZE",
    "VERTICES",
    "annotation",
    "cam_mesh",
    "copies",
    "data",
    "flat",
    "image_row",
    "joints",
    "kept",
    "left_out",
    "read",
    "rotation",
    "run",
    "write_frame",
    "write_labels",
    "write_tree",
]

VERTICES = 10475
SIZE = (160, 120)
FOCAL, PRINCIPAL = 149.8224, (79.0263706, 57.890334)  # a tenth of the published camera
ROTATION = np.array([-2.98747896, 0.01172457, -0.05704687])
TRANSLATION = np.array([-0.03609917, 0.43416458, 2.37101226])
CAMERA = f"""rotation (axis-angle): {" ".join(map(str, ROTATION))}
translation: {" ".join(map(str, TRANSLATION))}
focal length: {FOCAL}
principal point: {PRINCIPAL[0]} {PRINCIPAL[1]}
"""
JOINTS = {
    "pose_keypoints_2d": range(25),
    "hand_left_keypoints_2d": range(25, 46),
    "hand_right_keypoints_2d": range(46, 67),
    "face_keypoints_2d": range(67, 137),
}
"""Field of an OpenPose person -> its joints in the order of the 137."""


def rotation() -> np.ndarray:
    """World to camera (3, 3), by Rodrigues' formula."""
    angle = np.linalg.norm(ROTATION)
    x, y, z = ROTATION / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def cam_mesh(number: int) -> np.ndarray:
    """(10475, 3) float64 metres in the camera frame: a person-sized cloud in the middle of the view."""
    rng = np.random.default_rng(number)
    shift = 0.01 * number
    return rng.uniform([-0.4 + shift, -0.8, 2.2], [0.5 + shift, 0.7, 2.7], (VERTICES, 3))


def joints(number: int) -> np.ndarray:
    """(137, 3) x, y, confidence; every seventh joint was not found."""
    row = np.arange(137)
    found = np.stack([30 + 0.5 * row + number, 20 + 0.25 * row, 0.2 + row / 200], axis=1)
    return np.where(row[:, None] % 7 == 3, 0.0, found)


def write_frame(
    folder: Path,
    number: int,
    *,
    name: str | None = None,
    images: Sequence[str] = ("png", "jpg"),
    kind: str = "binary_little_endian",
    points: np.ndarray | None = None,
    openpose: bool = True,
) -> None:
    """The files of one frame."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = name or f"{number:02d}"
    world = ((cam_mesh(number) if points is None else points) - TRANSLATION) @ rotation()
    rows = [tuple(row) for row in world.tolist()]
    faces = [((0, 1, 2),), ((2, 3, 0),)]
    elements = [
        ("vertex", ["float x", "float y", "float z"], rows),
        ("face", ["list uchar int vertex_indices"], faces),
    ]
    (folder / f"{stem}_align.ply").write_bytes(ply_bytes(elements, kind))
    for ending in images:
        write_picture(folder / f"{stem}_img.{ending}", picture(*SIZE))
    if openpose:
        person = {field: joints(number)[list(rows)].ravel().tolist() for field, rows in JOINTS.items()}
        text = json.dumps({"version": 1.1, "people": [{**person, "pose_keypoints_3d": []}]})
        (folder / f"{stem}_2Djnt.json").write_text(text)


def image_row(number: int, **cells: Any) -> dict[str, Any]:
    """A row of ``images``."""
    row = {"id": 700 + number, "file_name": f"{number:02d}_img.jpg", "width": SIZE[0], "height": SIZE[1]}
    return row | cells


def annotation(number: int, **cells: Any) -> dict[str, Any]:
    """A row of ``annotations``."""
    boxes = {
        "body_bbox": [20.5 + number, 10.0, 90.0, 100.0],
        "lefthand_bbox": [22.0, 12.0, 9.0, 8.0],
        "righthand_bbox": [52.0, 32.0, 7.0, 6.0],
        "face_bbox": [62.0, 12.0, 15.0, 16.0],
    }
    return {"id": 9000 - number, "image_id": 700 + number, **boxes} | cells


def write_labels(folder: Path, images: Sequence[Any], annotations: Sequence[Any]) -> Path:
    """``EHF.json``."""
    path = folder / "EHF.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


def write_tree(
    root: Path,
    frames: Sequence[int] = (1, 2, 100),
    *,
    data: bool = False,
    camera: str | None = CAMERA,
    **options: Any,
) -> Path:
    """A copy of EHF; with ``data`` in the tree of OSX, whose json lists the frames backwards."""
    folder = root / "data" if data else root
    for number in frames:
        write_frame(folder, number, **options)
    if camera is not None:
        (folder / "EHF_camera.txt").write_text(camera)
    if data:
        rows = list(frames)[::-1]
        write_labels(folder, [image_row(n) for n in frames], [annotation(n) for n in rows])
    return root


@pytest.fixture(scope="session")
def copies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both trees of frames 1, 2 and 100; nobody writes to them."""
    base = tmp_path_factory.mktemp("ehf")
    return {name: write_tree(base / name, data=name == "data") for name in ("flat", "data")}


@pytest.fixture
def flat(copies: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(copies["flat"], tmp_path / "EHF"))


@pytest.fixture
def data(copies: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(copies["data"], tmp_path / "EHF"))


def read(root: Path, **options: str) -> list[Record | Rejected]:
    dataset = Ehf(options)
    units = pickle.loads(pickle.dumps(dataset.plan(root, "test")))
    return [found for unit in units for found in dataset.read(root, unit)]


def kept(found: Sequence[Record | Rejected]) -> dict[str, Record]:
    return {record.source_frame or "": record for record in found if isinstance(record, Record)}


def left_out(found: Sequence[Record | Rejected]) -> list[tuple[str, str]]:
    rows = [row for row in found if isinstance(row, Rejected)]
    assert not any(row.by_rule for row in rows)
    assert all(row.detail for row in rows)
    return [(row.reason, row.source) for row in rows]


def run(root: Path, out: Path, **options: Any) -> Path:
    """Convert inline, without body models."""
    (report,) = convert("ehf", root=root, out=out, workers=0, progress=False, **options)
    assert report.outcome.ok, report.outcome.failed
    return Path(report.plan.task.out)
