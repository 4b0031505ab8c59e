"""The contact sheet of a converted split: evenly spaced people, drawn from what the shards hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hmtools.core.errors import HmtoolsError
from hmtools.shards.mesh_view import with_mesh
from hmtools.shards.reader import Sample, Shards
from hmtools.viz.page import Tile, about_person, contact_sheet

__all__ = ["write_sheet"]

_BOXES = (
    ("body", "bbox_xywh"),
    ("left hand", "lhand_bbox_xywh"),
    ("right hand", "rhand_bbox_xywh"),
    ("face", "face_bbox_xywh"),
)


def write_sheet(shards: Shards, out: Path, *, people: int, whole: bool = False, meshes: bool = True) -> Path:
    """Write a self-contained HTML page that shows ``people`` records of ``shards``.

    Args:
        shards: a split or a selection of one.
        out: the HTML file, written atomically.
        people: how many, evenly spaced over the rows.
        whole: show whole frames instead of the surroundings of each person.
        meshes: draw bodies where the body model that the manifest names is at hand.
    """
    manifest = shards.manifest
    name = f"{manifest.dataset}/{manifest.split}"
    last, shown = len(shards) - 1, min(people, len(shards))
    rows = [round(i * last / max(shown - 1, 1)) for i in range(shown)]
    facts = {
        "dataset": manifest.dataset,
        "split": manifest.split,
        "records": str(len(shards)),
        "images": manifest.images,
        "keypoints": manifest.spec["keypoints2d"] or "none",
        "body model": manifest.body_words(),
        "rejected": str(sum(manifest.rejected.values())),
        "licence": manifest.card["licence"],
        "citation": manifest.card["citation"],
    }
    return contact_sheet(_tiles(shards, rows, whole, meshes), title=name, facts=facts, out=out)


def _tiles(shards: Shards, rows: list[int], whole: bool, meshes: bool) -> Iterator[Tile]:
    for row in rows:
        try:
            sample = shards[row]
            note = "" if sample.image is not None else _reason(sample.record)
        except HmtoolsError as error:  # a page that shows what is broken beats no page
            sample, note = Sample(shards.row(row), None, np.eye(2, 3)), str(error)
        tile = _tile(sample, shards.manifest.spec["keypoints2d"], note)
        shown = tile if whole or tile.image is None else about_person(tile)
        yield with_mesh(shown, shards, row) if meshes else shown


def _tile(sample: Sample, convention: str | None, note: str) -> Tile:
    record = sample.record
    return Tile(
        key=record["key"],
        image=sample.image,
        affine=sample.affine,
        boxes={name: record[column] for name, column in _BOXES if record[column] is not None},
        keypoints=record["keypoints2d_original"],
        convention=convention,
        caption={
            "image": record["image_path"],
            "size": f"{record['width']}x{record['height']}",
            "id": record["source_id"] or "",
        },
        note=note,
    )


def _reason(record: dict[str, Any]) -> str:
    return str(json.loads(record["meta"] or "{}").get("image_rejected", "converted without images"))
