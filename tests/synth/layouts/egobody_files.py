"""How tests read EgoBody's files: with as little code as each needs, and none of the library's readers."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hmtools.synth import ImageTruth, PersonTruth, make_miniature, read_truth

__all__ = [
    "FRAMES",
    "SIZE",
    "body",
    "detections",
    "folder_of",
    "images",
    "info",
    "kept",
    "make",
    "picture",
    "pixels",
    "poses",
    "table",
    "timestamp",
    "to_holo",
    "tree",
]

FRAMES, SIZE = 14, (160, 120)
"""Pictures of the split, and their size: enough for every oddity."""


def make(root: Path, **changes: Any) -> None:
    """The training split of the miniature, or what is asked for."""
    usual = {"frames": FRAMES, "people": 1, "seed": 3, "size": SIZE, "splits": ("train",)}
    make_miniature("egobody_egocentric", root, **{**usual, **changes})


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def info(root: Path, recording: str) -> dict[str, str]:
    (row,) = [row for row in table(root / "data_info_release.csv") if row["recording_name"] == recording]
    return row


def folder_of(root: Path, recording: str) -> Path:
    (found,) = (root / "egocentric_color" / recording).iterdir()
    return found


def poses(root: Path, recording: str) -> tuple[list[float], dict[int, list[float]]]:
    """Header, and the 18 numbers after each timestamp, in the order of the file."""
    folder = folder_of(root, recording)
    head, *lines = (folder / f"{folder.name}_pv.txt").read_text().splitlines()
    rows = [line.split(",") for line in lines]
    assert {len(row) for row in rows} == {19}
    return [float(x) for x in head.split(",")], {int(row[0]): [float(x) for x in row[1:]] for row in rows}


def to_holo(root: Path, recording: str) -> tuple[Path, Any]:
    """Path and numbers of the calibration from the HoloLens' world to the master Kinect."""
    (path,) = (root / "calibrations" / recording).rglob("holo_to_kinect12.json")
    (name,) = (content := json.loads(path.read_text()))
    assert name == "trans"
    return path, np.array(content["trans"])


def body(root: Path, person: PersonTruth, who: str = "interactee") -> Path:
    recording, frame = person.columns["sequence"], person.columns["frame"]
    folder: Path = root / f"smplx_{who}_train" / recording
    (path,) = folder.glob(f"body_idx_?/results/frame_{frame:05d}/000.pkl")
    return path


def kept(root: Path) -> list[PersonTruth]:
    return [person for person in read_truth(root).people if person.rejected is None]


def timestamp(person: PersonTruth | ImageTruth) -> int:
    return int(Path(person.file).name.partition("_")[0])


def detections(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for recording in sorted({person.columns["sequence"] for person in read_truth(root).people}):
        with np.load(folder_of(root, recording) / "keypoints.npz") as file:
            yield recording, dict(file)


def pixels(points: Any, person: PersonTruth) -> Any:
    points = np.asarray(points, float)
    return points[:, :2] / points[:, 2:] * person.columns["focal_length"] + person.columns["principal_point"]


def picture(path: Path) -> Any:
    return cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)


def tree(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def images(root: Path, split: str = "train") -> list[ImageTruth]:
    """Pictures of a split, in the order of the release."""
    return [image for image in read_truth(root).images if image.split == split]
