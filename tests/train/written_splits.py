"""Finished splits written by hand: any records, any images, no converter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from hmtools.humandata.keys import key_encode
from hmtools.humandata.manifest import Manifest, spec_json, write_manifest
from hmtools.humandata.record import Record
from hmtools.humandata.schema import RecordSpec, record_schema
from hmtools.humandata.table import normalise
from hmtools.shards.index import INDEX, part_tables, write_index
from hmtools.shards.writer import PartWriter

WIDTH, HEIGHT = 160, 120


def png(image: npt.NDArray[Any]) -> bytes:
    """An RGB image as PNG."""
    return cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1].tobytes()


def coded(blue: int = 0, width: int = WIDTH, height: int = HEIGHT) -> npt.NDArray[np.uint8]:
    """An image whose red is x, whose green is y."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.full_like(x, blue % 256)], axis=-1).astype(np.uint8)


def write_split(
    folder: Path,
    spec: RecordSpec,
    people: Sequence[Record],
    encoded: Sequence[bytes | None],
    **manifest: Any,
) -> Path:
    """Write a split with one tar; a person whose image is None has none. ``manifest``: its other fields."""
    folder.mkdir(parents=True)
    policy = manifest.get("images", "full")
    with PartWriter(folder, spec, "u00000", full=policy == "full", images=True) as writer:
        for number, (person, image) in enumerate(zip(people, encoded, strict=True)):
            record = replace(
                person,
                key=key_encode(spec.dataset, spec.split, "all", number, 0),
                dataset=spec.dataset,
                split=spec.split,
                sequence="all",
                frame=number,
                person=0,
                source_index=number if person.source_index is None else person.source_index,
                image_op=person.image_op or "none",
            )
            writer.add([normalise(record, spec)], image, "png" if image is not None else "")
    facts = write_index(folder, part_tables(folder), record_schema(spec))
    files = [asdict(file) for file in writer.files]
    files.append(
        {
            "name": INDEX,
            "sha256": facts.index_sha256,
            "nbytes": (folder / INDEX).stat().st_size,
            "rows": facts.rows,
        }
    )
    values = {
        **{"dataset": spec.dataset, "split": spec.split, "role": "train", "card": {}, "every": 1},
        **{"spec": spec_json(spec), "converter": {}, "options": {}, "images": "full"},
        **{"world": {"scope": "none", "up": None, "metric": False}, "counts": {"records": facts.rows}},
        **{"rejected": {}, "rejected_examples": [], "filtered": {}, "health": {}, "files": files},
        **{"created": "2026-01-01T00:00:00+00:00", "command": ""},
    }
    write_manifest(folder, Manifest(**{**values, **manifest}))
    return folder


def boxed(box: Sequence[float] = (40, 20, 60, 80, 1), **columns: Any) -> Record:
    """A person of whom there is a box, in an image of the usual size."""
    return Record(bbox_xywh=box, width=WIDTH, height=HEIGHT, **columns)


def write_boxes(folder: Path, dataset: str, count: int, **manifest: Any) -> Path:
    """A split of ``count`` people with nothing but boxes, all on the same image."""
    image = png(coded())
    return write_split(
        folder, RecordSpec(dataset, folder.name), [boxed()] * count, [image] * count, **manifest
    )
