"""Ways to make a finished split wrong."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hmtools.convert.validate import Validation
from hmtools.humandata.manifest import read_manifest
from hmtools.humandata.record import Record
from hmtools.humandata.schema import record_schema
from hmtools.humandata.table import to_batch
from hmtools.shards.index import part_tables, write_index
from hmtools.shards.rows import RowFile
from hmtools.shards.tar import iter_members
from hmtools.shards.writer import write_table

FIRST, SECOND = "mscoco-val2017-u00000-000", "mscoco-val2017-u00001-000"


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def reseal(folder: Path) -> None:
    """Bring sizes and checksums of the manifest up to date: what is wrong then was written so."""

    def change(values: dict[str, Any]) -> None:
        for entry in values["files"]:
            data = (folder / entry["name"]).read_bytes()
            entry["sha256"], entry["nbytes"] = hashlib.sha256(data).hexdigest(), len(data)

    edit_manifest(folder, change)


def edit_rows(
    folder: Path, part: str, change: Callable[[list[Record]], object], *, index: bool = True
) -> None:
    """Change rows of a part table; the index follows unless told otherwise, and all is sealed again."""
    path, spec = folder / f"{part}.arrow", read_manifest(folder).record_spec()
    table = RowFile(path)
    rows = [Record(**table.row(row)) for row in range(len(table))]
    change(rows)
    write_table(path, record_schema(spec), [to_batch(rows, spec)])
    if index:
        write_index(folder, part_tables(folder), record_schema(spec))
    reseal(folder)


def put(record: Record, **cells: Any) -> Record:
    for column, value in cells.items():
        setattr(record, column, value)
    return record


def spoil(path: Path, place: int, *, length: int = 1) -> None:
    data = bytearray(path.read_bytes())
    for at in range(place, place + length):
        data[at] ^= 0xFF
    path.write_bytes(data)


def member(folder: Path, part: str, ending: str) -> tuple[int, int]:
    """Place and length of the first member of a tar with that ending."""
    members = iter_members(folder / f"{part}.tar")
    return next((offset, len(data)) for name, offset, data in members if name.endswith(ending))


def kinds(found: Validation) -> set[str]:
    assert not found.ok
    assert all(problem.where and problem.detail for problem in found.problems)
    return {problem.kind for problem in found.problems}
