"""A finished split of any length, without images: 256 converted records, repeated and renumbered."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from _coco import SPLIT, make_coco

from hmtools.convert.run import convert
from hmtools.core.atomic import AtomicFile
from hmtools.humandata.manifest import read_manifest, spec_json, write_manifest
from hmtools.humandata.record import Record, columns
from hmtools.humandata.schema import (
    BATCH_ROWS,
    TRACKS_SCHEMA,
    RecordSpec,
    cell_shape,
    index_schema,
    record_schema,
)
from hmtools.humandata.table import normalise, to_batch
from hmtools.shards.index import INDEX, TRACKS
from hmtools.shards.rows import RowFile
from hmtools.shards.writer import write_table

__all__ = ["converted_split", "make_split"]

_INVALID = 0.05  # of the truth values: none is the same for all


def converted_split(folder: Path, images: int, people: int = 2) -> Path:
    """Generate COCO images below ``folder`` and convert them as its training split."""
    make_coco(folder / "raw", images, people)
    (done,) = convert(
        "mscoco", root=folder / "raw", out=folder / "shards", splits=[SPLIT], workers=0, progress=False
    )
    assert done.outcome.ok
    return done.plan.task.out


def make_split(template: Path, folder: Path, rows: int, bodies: tuple[str, ...] = ()) -> None:
    """Write index, tracks and manifest of ``rows`` records.

    Args:
        template: a converted split of :data:`BATCH_ROWS` records or more.
        folder: is made.
        rows: how many records.
        bodies: body models whose columns, and all others of the schema, are filled with random numbers.
    """
    manifest = read_manifest(template)
    spec = RecordSpec(manifest.dataset, manifest.split, manifest.spec["keypoints2d"], bodies=bodies)
    batch = to_batch(_records(template, spec), spec)
    folder.mkdir(parents=True, exist_ok=True)
    whole = index_schema(record_schema(spec))
    with AtomicFile(folder / INDEX) as file, pa.ipc.new_file(file, whole) as writer:
        for start in range(0, rows, BATCH_ROWS):
            writer.write_batch(_renumbered(batch, start, whole).slice(0, rows - start))
    write_table(folder / TRACKS, TRACKS_SCHEMA, [])
    manifest.spec, manifest.files = spec_json(spec), []
    manifest.counts = {"records": rows}
    write_manifest(folder, manifest)


def _records(template: Path, spec: RecordSpec) -> list[Record]:
    rows = RowFile(template / INDEX)
    known = {item.name for item in fields(Record)}
    rng = np.random.default_rng(0)
    records = []
    for number in range(BATCH_ROWS):
        record = Record(**{name: value for name, value in rows.row(number).items() if name in known})
        if spec.bodies:
            _fill(record, spec, rng)
        records.append(normalise(record, spec))
    return records


def _fill(record: Record, spec: RecordSpec, rng: np.random.Generator) -> None:
    """Something in every column that is still null, differing from record to record where it would."""
    for column in columns():
        if spec.absent(column.name) or getattr(record, column.name) is not None:
            continue
        shape = cell_shape(column, spec)
        if shape is not None:
            cell: Any = rng.random(tuple(8 if size < 0 else size for size in shape))
            cell = cell > 0.5 if column.cell.startswith("bool") else cell
        else:
            kind = column.cell.partition(":")
            chance = float(rng.random())
            cell = {
                "enum": kind[2].split("|")[0],
                "str": f"name {chance:.3f}",
                "bool": chance > _INVALID,
                "f32": chance,
            }.get(kind[0], int(1000 * chance))
        setattr(record, column.name, cell)


def _renumbered(batch: pa.RecordBatch, start: int, schema: pa.Schema) -> pa.RecordBatch:
    """The batch as rows ``start ...`` of the split: what is unique in a real one is unique here."""
    numbers = range(start, start + len(batch))
    unique = {
        "key": pa.array([f"mscoco/{SPLIT}/{SPLIT}/{n // 2:06d}_{n % 2}" for n in numbers]),
        "frame": pa.array([n // 2 for n in numbers], pa.int32()),
        "source_frame": pa.array([f"{n // 2:012d}" for n in numbers]),
        "source_id": pa.array([str(200_000 + n) for n in numbers]),
        "source_index": pa.array(numbers, pa.int64()),
        "image_path": pa.array([f"images/{SPLIT}/{n // 2:012d}.jpg" for n in numbers]),
        "offset": pa.array([90_000 * n for n in numbers], pa.int64()),
        "part_row": pa.array([n % 10_000 for n in numbers], pa.int32()),
    }
    columns = [unique[name] if name in unique else batch.column(name) for name in schema.names]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
