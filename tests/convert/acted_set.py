"""A dataset that exists for tests only: pictures of people whose SMPL-X parameters are known, and no box."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hmtools.core.settings import Settings, load_settings
from hmtools.datasets.base import Dataset, Source
from hmtools.engine.job import Unit
from hmtools.humandata.record import Record
from hmtools.humandata.schema import RecordSpec
from tests.bodies.bodies import random_body
from tests.datasets.coco_tree import picture, write_picture

SIZE = (200, 160)


class Acted(Dataset):
    """Units of one picture with two people each."""

    name, title, homepage = "acted", "Acted", "https://example.org"
    licence, commercial_use, citation = "none", True, "nobody"
    layout = "labels.json"
    splits: ClassVar[dict[str, str]] = {"train": "train", "test": "test"}
    body = "smplx"

    def sources(self, split: str) -> Sequence[Source]:
        """One file of labels."""
        return [Source(("labels.json",), "https://example.org")]

    def spec(self, root: Path, split: str) -> RecordSpec:
        """SMPL-X and nothing else."""
        return RecordSpec(self.name, split, bodies=("smplx",))

    def plan(self, root: Path, split: str) -> list[Unit]:
        """One unit for each picture."""
        rows = json.loads((root / "labels.json").read_text())
        return [Unit(index=i, name=row["image"], payload=row, expected=2) for i, row in enumerate(rows)]

    def read(self, root: Path, unit: Unit) -> Iterator[Record]:
        """Two people: of the gender the labels say, and neutral."""
        for person, gender in enumerate((unit.payload["gender"], "neutral")):
            yield Record(
                sequence="s", frame=unit.index, person=person, image_path=unit.payload["image"],
                image_op="none", width=SIZE[0], height=SIZE[1], gender=gender, focal_length=(200, 200),
                principal_point=(100, 80), camera_model="pinhole", **body(10 * unit.index + person),
            )  # fmt: skip


def body(seed: int) -> dict[str, Any]:
    """Columns of a random body five metres away."""
    values = {f"smplx_{k}": v[0].numpy() for k, v in random_body("smplx", 1, seed).given().items()}
    return values | {"smplx_transl": np.array([0.1 * seed / 10, 0.0, 5.0])}


def write_tree(root: Path, genders: Sequence[str] = ("male", "neutral", "female")) -> Path:
    """The download: one picture for each gender."""
    root.mkdir(parents=True)
    rows = [{"image": f"{i}.png", "gender": gender} for i, gender in enumerate(genders)]
    for row in rows:
        write_picture(root / row["image"], picture(*SIZE))
    (root / "labels.json").write_text(json.dumps(rows))
    return root


def settings(body_models: Path) -> Settings:
    """Settings that look for body models there and nowhere else."""
    return load_settings({"body_models": body_models})
