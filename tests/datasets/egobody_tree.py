"""Small trees in EgoBody's official layout, written from the release's description and not from its reader.

The cameras are such that results can be worked out by hand: the HoloLens stands at (1, 2, 3) of its world
with no rotation, so it looks along -z; the Kinect's frame is the HoloLens world turned by half a turn about x
and moved by 5 along z.
"""

from __future__ import annotations

import csv
import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hmtools.datasets.base import Rejected
from hmtools.datasets.egobody_egocentric import EgoBodyEgocentric
from hmtools.humandata.record import Record
from tests.datasets.coco_tree import write_picture

__all__ = [
    "COLUMNS",
    "DATE",
    "FRAMES",
    "HOLO_TO_KINECT",
    "OTHER",
    "REC",
    "SIZE",
    "fit",
    "fit_path",
    "info",
    "kept",
    "keypoints",
    "left_out",
    "pv2world",
    "read",
    "stamp",
    "write_detections",
    "write_lists",
    "write_recording",
    "write_tree",
]

REC = "recording_20210907_S02_S01_01"
OTHER = "recording_20210910_S05_S06_02"
DATE = "2021-09-07-155421"
SIZE = (96, 80)
FRAMES = (98, 100, 101, 103)
"""Of the recording: the first is before its range, which is 100 to 110."""
HOLO_TO_KINECT = [[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 5], [0, 0, 0, 1]]
COLUMNS = (
    "recording_name",
    "scene_name",
    "body_idx_0",
    "body_idx_1",
    "body_idx_fpv",
    "start_frame",
    "end_frame",
)


def stamp(frame: int) -> int:
    """A timestamp of 18 digits."""
    return 132754968000000000 + 333333 * frame


def pv2world(frame: int = 0) -> np.ndarray:
    """The HoloLens moves by 1 cm a frame along x, from (1, 2, 3)."""
    matrix = np.eye(4)
    matrix[:3, 3] = 1 + 0.01 * frame, 2, 3
    return matrix


def keypoints(frame: int) -> np.ndarray:
    """(25, 3): x, y, confidence; joint 7 was not found but has a place."""
    points = np.column_stack([np.arange(25.0) + frame % 50, np.arange(25.0) + 20, np.linspace(0.3, 0.9, 25)])
    points[7, 2] = 0
    return points


def fit(frame: int, gender: Any = "female", **changes: Any) -> dict[str, Any]:
    """What a pickle holds; each part has numbers of its own."""
    sizes = {
        "transl": 3, "global_orient": 3, "betas": 10, "body_pose": 63, "left_hand_pose": 12,
        "right_hand_pose": 12, "jaw_pose": 3, "leye_pose": 3, "reye_pose": 3, "expression": 10,
        "pose_embedding": 32, "camera_rotation": 9, "camera_translation": 3,
    }  # fmt: skip
    rng = np.random.default_rng(frame)
    parts: dict[str, Any] = {
        name: rng.uniform(-0.3, 0.3, (1, size)).astype(np.float32) for name, size in sizes.items()
    }
    return {**parts, "gender": gender, **changes}


def fit_path(root: Path, frame: int, *, recording: str = REC, index: int = 1, split: str = "train") -> Path:
    return root / f"smplx_interactee_{split}/{recording}/body_idx_{index}/results/frame_{frame:05d}/000.pkl"


def write_lists(root: Path, splits: Mapping[str, Sequence[str]], rows: Sequence[Sequence[Any]]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    names = ("train", "val", "test")
    count = max((len(of) for of in splits.values()), default=0)
    ragged = [[(*splits.get(name, ()), *[""] * count)[row] for name in names] for row in range(count)]
    for file, table in (("data_splits.csv", [names, *ragged]), ("data_info_release.csv", [COLUMNS, *rows])):
        with (root / file).open("w", newline="") as out:
            csv.writer(out).writerows(table)


def info(
    recording: str = REC, *, interactee: str = "1 female", start: int = 100, end: int = 110
) -> list[Any]:
    return [recording, "seminar_g110", "0 male", "1 female", interactee, start, end]


def write_recording(
    root: Path, recording: str = REC, frames: Sequence[int] = FRAMES, *, index: int = 1, split: str = "train"
) -> None:
    calibration = root / f"calibrations/{recording}/cal_trans/holo_to_kinect12.json"
    calibration.parent.mkdir(parents=True)
    calibration.write_text(json.dumps({"trans": HOLO_TO_KINECT}))
    folder = root / f"egocentric_color/{recording}/{DATE}"
    (folder / "PV").mkdir(parents=True)
    lines = [f"{SIZE[0] / 2}, {SIZE[1] / 2}, {SIZE[0]}, {SIZE[1]}"]
    names = []
    for frame in frames:
        names.append(f"egocentric_color/{recording}/{DATE}/PV/{stamp(frame)}_frame_{frame:05d}.jpg")
        write_picture(root / names[-1])
        pose = ",".join(f"{value:.9f}" for value in pv2world(frame - frames[0]).ravel())
        lines.append(f"{stamp(frame)},{100 + frame - frames[0]},{99 + frame - frames[0]},{pose}")
        path = fit_path(root, frame, recording=recording, index=index, split=split)
        path.parent.mkdir(parents=True)
        path.write_bytes(pickle.dumps(fit(frame)))
    (folder / f"{DATE}_pv.txt").write_text("\n".join(lines) + "\n")
    write_detections(folder, names[::-1], np.stack([keypoints(frame) for frame in frames[::-1]]))


def write_detections(folder: Path, names: Sequence[str], points: Any, **more: Any) -> None:
    count = len(names)
    np.savez(
        folder / "keypoints.npz",
        **{
            "imgname": np.array(names), "center": np.zeros((count, 2)), "scale": np.ones(count),
            "keypoints": points, "gender": np.array(["female"] * count), **more,
        },
    )  # fmt: skip


def write_tree(root: Path) -> Path:
    """A root with one recording of ``train``; :data:`FRAMES` of it were detected."""
    write_lists(root, {"train": [REC], "val": [OTHER]}, [info(), info(OTHER)])
    write_recording(root)
    return root


def read(root: Path, split: str = "train") -> list[Record | Rejected]:
    dataset = EgoBodyEgocentric()
    return [found for unit in dataset.plan(root, split) for found in dataset.read(root, unit)]


def kept(found: Sequence[Record | Rejected]) -> list[Record]:
    return [record for record in found if isinstance(record, Record)]


def left_out(found: Sequence[Record | Rejected]) -> list[tuple[str, bool]]:
    return [(row.reason, row.by_rule) for row in found if isinstance(row, Rejected)]
