"""Converts one unit the way a worker does, and reads back what it wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hmtools.convert.unit import ConvertTask, convert_unit
from hmtools.datasets.base import Dataset, Rejected, Source
from hmtools.datasets.mscoco import MsCoco
from hmtools.engine.job import Result, Unit
from hmtools.humandata.record import Record
from hmtools.humandata.schema import RecordSpec
from hmtools.shards.rows import RowFile
from tests.datasets.coco_tree import image_row, person, write_tree

__all__ = ["GOOD", "Clip", "affine_of", "go", "one_image", "stored", "two_images"]

GOOD = 2
"""Image that every tree of :func:`two_images` stores, whatever happens to image 1."""


def go(
    root: Path, out: Path, *, dataset: Dataset | None = None, **options: Any
) -> tuple[list[Result], list[Any]]:
    """Convert every unit of a val2017; its results, and the rows of its parts."""
    chosen = dataset or MsCoco()
    out.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {"images": "full"} | options
    task = ConvertTask(dataset=chosen, root=root, split="val2017", out=out, **settings)
    results = [convert_unit(task, unit) for unit in chosen.plan(root, "val2017")]
    tables = [RowFile(out / f.name) for r in results for f in r.files if f.name.endswith(".arrow")]
    return results, [table.row(index) for table in tables for index in range(len(table))]


def stored(out: Path, row: dict[str, Any]) -> bytes:
    """The encoded image of a row, cut out of its tar."""
    with Path(out, row["shard"]).open("rb") as file:
        file.seek(row["offset"])
        return file.read(int(row["nbytes"]))


def two_images(root: Path, first: Any = None, **cells: Any) -> Path:
    """Image 1 with two people (their cells changed by ``cells``) and image 2, which is fine."""
    images = [image_row(1) if first is None else first, image_row(GOOD)]
    people = [person(10, 1, **cells), person(11, 1, **cells), person(20, GOOD)]
    return write_tree(root, images, people)


def one_image(tmp_path: Path, image: Any, **cells: Any) -> Path:
    """One image with one person."""
    return write_tree(tmp_path / "coco", [image], [person(10, image["id"], **cells)])


def affine_of(row: dict[str, Any]) -> Any:
    """Upright pixels → stored pixels of a row, float64 (2, 3)."""
    return np.eye(2, 3) if row["image_affine"] is None else row["image_affine"].astype(float)


class Clip(Dataset):
    """Two people followed over five frames, one image file a frame, in two units."""

    name = "clip"
    title = homepage = licence = citation = layout = "-"
    commercial_use = True
    splits: ClassVar[dict[str, str]] = {"val2017": "val"}
    video = True
    units: ClassVar[tuple[range, ...]] = (range(3), range(3, 5))

    def sources(self, split: str) -> Sequence[Source]:
        return []

    def spec(self, root: Path, split: str) -> RecordSpec:
        return RecordSpec(self.stored_as, split)

    def plan(self, root: Path, split: str) -> list[Unit]:
        return [
            Unit(index=i, name=f"walk {i}", payload=frames, images=len(frames), sequences=("walk",))
            for i, frames in enumerate(self.units)
        ]

    def read(self, root: Path, unit: Unit) -> Iterator[Record | Rejected]:
        for frame in unit.payload:
            for index in range(2):
                yield Record(
                    sequence="walk",
                    frame=frame,
                    fps=29.97,
                    person=index,
                    track_id=f"person {index}",
                    source_index=2 * frame + index,
                    image_path=f"walk/{frame}.jpg",
                    image_op="none",
                    width=96,
                    height=80,
                    bbox_xywh=[10 + 5 * index, 8, 30, 50, 1],
                    meta='{"note":"x"}' if index else None,
                )
