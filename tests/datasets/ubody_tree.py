"""A small UBody in the official tree, written from its facts and not from its reader."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hmtools.datasets.base import Rejected
from hmtools.datasets.ubody import UBody
from hmtools.humandata.record import Record
from hmtools.synth.video_file import write_video
from tests.datasets.coco_tree import HEIGHT, WIDTH, Row, picture, write_labels, write_picture
from tests.datasets.coco_tree import image_row as coco_image
from tests.datasets.coco_tree import person as coco_person
from tests.datasets.fit_json import entry, write_fits

__all__ = [
    "FOREIGN",
    "image_row",
    "kept",
    "left_out",
    "person",
    "read",
    "write_list",
    "write_scene",
    "write_tree",
    "write_ubody_video",
]

FOREIGN = ("license", "coco_url", "date_captured", "flickr_url")
"""Fields of MS COCO's images that UBody lacks."""


def image_row(number: int, name: str, **cells: Any) -> Row:
    """A row of ``images``."""
    row = coco_image(number, name, **cells)
    assert isinstance(row, dict)
    return {key: value for key, value in row.items() if key not in FOREIGN}


def person(number: int, image: int, **cells: Any) -> Row:
    """A row of ``annotations``; a cell given as None is left out."""
    return coco_person(number, image, **{"valid_label": 2, "segmentation": None, "foot_valid": None} | cells)


def write_list(root: Path, kind: str, names: Sequence[str] | np.ndarray) -> Path:
    """Write the list of test videos of ``intra`` or ``inter``."""
    path = root / f"splits/{kind}_scene_test_list.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.array(names) if isinstance(names, list) else names)
    return path


def write_scene(
    root: Path,
    scene: str,
    images: Sequence[Row],
    people: Sequence[Row],
    *,
    without: Collection[int] = (),
    fits: Mapping[Any, Any] | None = None,
    pictures: bool = False,
) -> None:
    """Write the annotations of a scene, a fit for everybody but ``without``, and images (or their names)."""
    folder = root / "annotations" / scene
    write_labels(folder / "keypoint_annotation.json", images, people)
    numbers = [row["id"] for row in people if isinstance(row, dict)]
    found = {number: entry(number) for number in numbers if number not in without}
    write_fits(folder / "smplx_annotation.json", found | dict(fits or {}))
    for row in images:
        if isinstance(row, dict):
            path = root / "images" / scene / row["file_name"].lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            if pictures:
                write_picture(path, picture())
            else:
                path.touch()  # an empty folder would count as missing


def write_tree(root: Path, *, test: Sequence[str] = ("B",), pictures: bool = True) -> Path:
    """Two videos, ``A_Trim1`` of three frames and ``B`` of two, B for testing; one person a frame."""
    names = [*(f"/A_Trim1/{frame:06d}.png" for frame in (1, 2, 3)), "B/000001.png", "B/000007.png"]
    images = [image_row(10 * number, name) for number, name in enumerate(names, 1)]
    people = [person(100 + number, 10 * number) for number in range(1, 6)]
    write_scene(root, "Movie", images, people, pictures=pictures)
    for kind in ("intra", "inter"):
        write_list(root, kind, list(test))
    return root


def write_ubody_video(path: Path, count: int, rate: float = 30) -> Path:
    """A video in the size of :func:`picture`, every frame of another colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = (np.full((HEIGHT, WIDTH, 3), 8 * (index % 32), np.uint8) for index in range(count))
    write_video(path, images, rate)
    return path


def read(root: Path, split: str = "intra_train", **options: str) -> list[Record | Rejected]:
    """Every row of a split as the dataset reads it."""
    dataset = UBody(options)
    return [found for unit in dataset.plan(root, split) for found in dataset.read(root, unit)]


def kept(found: Sequence[Record | Rejected]) -> list[Record]:
    """Those that are stored."""
    return [record for record in found if isinstance(record, Record)]


def left_out(found: Sequence[Record | Rejected]) -> list[tuple[str, str, bool]]:
    """Reason, last word of the source, whether by rule, of the others."""
    return [(r.reason, r.source.split()[-1], r.by_rule) for r in found if isinstance(r, Rejected)]
