"""A small AGORA in the official tree, written from its facts and not from its reader; pixels are black."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.datasets.agora import Agora
from hmtools.datasets.base import Rejected
from hmtools.humandata.record import Record
from tests.datasets.coco_tree import write_picture

__all__ = [
    "HDRI",
    "PLACED",
    "fit",
    "joints2d",
    "joints3d",
    "kept",
    "left_out",
    "person",
    "read",
    "row",
    "write_fit",
    "write_frame",
    "write_image",
    "write_json",
    "write_tree",
]

HDRI, PLACED = "ag_trainset_bfh_hdri_50mm_5_10_00001.png", "ag_trainset_bfh_archviz_5_10_00002.png"


def joints2d(number: int, count: int = 127) -> np.ndarray:
    """(J, 2) pixels at 3840 x 2160: person ``number``, in the image."""
    index = np.arange(count)
    return np.stack([900.0 + 300 * number + 3 * index, 600.0 + 2 * index + (index % 7)], axis=1)


def joints3d(number: int, count: int = 127) -> np.ndarray:
    """(J, 3) metres, camera frame."""
    index = np.arange(count)
    return np.stack([0.01 * index, -0.3 + 0.002 * index, 4.0 + number + 0 * index], axis=1)


def fit(number: int, *, kid: bool = False, smpl: bool = False, **cells: Any) -> dict[str, Any]:
    """A fit as pickled, with leading dimensions of 1."""
    rng = np.random.default_rng(number)
    sizes = {"global_orient": 3, "body_pose": 69 if smpl else 63}
    if not smpl:
        sizes |= {"left_hand_pose": 45, "right_hand_pose": 45, "jaw_pose": 3, "leye_pose": 3, "reye_pose": 3}
        sizes |= {"expression": 10}
    sizes |= {"betas": 11 if kid else 10, "transl": 3}
    found = {name: rng.normal(0, 0.3, (1, size)).astype(np.float32) for name, size in sizes.items()}
    if smpl:
        found["root_pose"], found["translation"] = found.pop("global_orient"), found.pop("transl")
    return found | cells


def person(number: int, **cells: Any) -> dict[str, Any]:
    """One entry of the lists of a row."""
    return {
        "X": 500.0 + number,
        "Y": 10.0 * number,
        "Z": 5.0,
        "Yaw": 30.0 + number,
        "gender": "male",
        "kid": False,
        "age": "adult",
        "ethnicity": "white",
        "occlusion": 12.5,
        "isValid": True,
        "gt_path_smplx": f"smplx_gt/set_bfh/scan_{number}.obj",
        "gt_path_smpl": f"smpl_gt/set_bfh/scan_{number}.obj",
        "gt_joints_2d": joints2d(number),
        "gt_joints_3d": joints3d(number),
        "gt_verts": np.full((10475, 3), number, np.float32),
    } | cells


def row(image: str, people: Sequence[Mapping[str, Any]], **cells: Any) -> dict[str, Any]:
    """One row of a dataframe."""
    names = person(0)
    lists = {name: [one[name] for one in people] for name in names}
    return {"imgPath": image, "camX": 120.0, "camY": -40.0, "camZ": 60.0, "camYaw": 15.0, **lists} | cells


def write_frame(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """A dataframe."""
    pandas = pytest.importorskip("pandas")
    path.parent.mkdir(parents=True, exist_ok=True)
    pandas.DataFrame(list(rows)).to_pickle(path)
    return path


def write_image(root: Path, folder: str, image: str, *, large: bool = False) -> Path:
    """A black picture of either size."""
    name = image if large else image.replace(".png", "_1280x720.png")
    path = root / ("3840x2160" if large else "1280x720") / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, np.zeros((2160, 3840, 3) if large else (720, 1280, 3), np.uint8))
    return path


def write_fit(root: Path, number: int, *, folder: str = "smplx_gt", **cells: Any) -> Path:
    """The pickle of a fit."""
    path = root / folder / "set_bfh" / f"scan_{number}.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(fit(number, **cells), protocol=4))
    return path


def write_tree(root: Path) -> Path:
    """train_0: two images of three people (a girl, one of them invalid); validation: two dataframes; test."""
    girl = person(1, gender="female", kid=True, age="child")
    rows = [
        row(HDRI, [person(0), girl]),
        row(PLACED, [person(2, isValid=False, occlusion=95.0), person(3, gender="female")]),
    ]
    write_frame(root / "train_SMPLX/SMPLX/train_0_withjv.pkl", rows)
    for number, name in enumerate(["val_cam00_a.png", "val_ag2_b.png"]):
        write_frame(root / f"validation_SMPLX/SMPLX/validation_{number}_withjv.pkl", [row(name, [person(0)])])
        write_image(root, "validation", name)
    for number in (0, 1, 2, 3):
        write_fit(root, number, kid=number == 1)
    for image in (HDRI, PLACED):
        write_image(root, "train_0", image)
    write_image(root, "test", "ag_testset_hdri_1.png")
    boxes = {"ag_testset_hdri_1.png": [{"bbox": [300, 600, 90, 120]}, {"bbox": [3, 6, 9, 12]}]}
    (root / "AGORA_test_bbox.json").write_text(json.dumps(boxes))
    return root


def write_json(root: Path, split: str = "validation", **cells: Any) -> Path:
    """The same two validation images in the form of OSX, without dataframes."""
    shutil.rmtree(root / "validation_SMPLX")
    images, annotations = [], []
    for number, name in enumerate(["val_cam00_a.png", "val_ag2_b.png"]):
        own = person(0)
        annotation = {"id": 500 + number, "image_id": 40 + number, "bbox": [900.0, 600.0, 100.0, 200.0]}
        for field in ("joints_2d", "joints_3d", "verts"):
            path = root / f"gt_{field}/smplx/{500 + number}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(own[f"gt_{field}"].tolist()))
            annotation[f"smplx_{field}_path"] = path.relative_to(root).as_posix()
        annotation |= {key: own[key] for key in ("gender", "kid", "occlusion", "age", "ethnicity")}
        annotation |= {"is_valid": True, "smplx_param_path": "smplx_gt/set_bfh/scan_0.pkl"}
        annotations.append(annotation | cells)
        small = name.replace(".png", "_1280x720.png")
        images.append(
            {
                "id": 40 + number,
                "file_name_3840x2160": f"3840x2160/validation/{name}",
                "file_name_1280x720": f"1280x720/validation/{small}",
            }
        )
    path = root / f"AGORA_{split}.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


def read(root: Path, split: str = "train", **options: str) -> list[Record | Rejected]:
    """Everything that a split yields; units go through a pickle, as to a worker."""
    dataset = Agora(options)
    units = pickle.loads(pickle.dumps(dataset.plan(root, split)))
    return [found for unit in units for found in dataset.read(root, unit)]


def kept(found: Sequence[Record | Rejected]) -> list[Record]:
    return [record for record in found if isinstance(record, Record)]


def left_out(found: Sequence[Record | Rejected]) -> list[tuple[str, str]]:
    return [(row.reason, row.detail) for row in found if isinstance(row, Rejected)]
