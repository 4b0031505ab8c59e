"""Converts one unit the way a worker does, and reads back what it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hmtools.convert.unit import ConvertTask, convert_unit
from hmtools.datasets.base import Dataset
from hmtools.datasets.mscoco import MsCoco
from hmtools.engine.job import Result
from hmtools.shards.rows import RowFile
from tests.datasets.coco_tree import image_row, person, write_tree

__all__ = ["GOOD", "affine_of", "go", "one_image", "stored", "two_images"]

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
