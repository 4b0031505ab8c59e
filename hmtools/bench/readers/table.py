"""Our own predictions: a parquet file, or a folder of them, with the meshes beside each.

Row groups are read when a row of them is asked for, and the last ones kept: predictions in the order of the
rows are read once, shuffled ones of a hundred thousand people too, unless they have joints. Meshes are
mapped, never read as a whole.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hmtools.bench.predicted_on import predicted_on
from hmtools.bench.readers.base import Agreed, Listed, ReadColumns, digest, family_of
from hmtools.core.atomic import file_sha256
from hmtools.core.errors import SchemaError
from hmtools.humandata.arrow_cells import column_values
from hmtools.humandata.prediction_meshes import prediction_mesh_path
from hmtools.humandata.predictions import (
    PREDICTED_FAMILIES,
    PREDICTION_COLUMNS,
    open_table,
    prediction_facts,
    prediction_files,
)
from hmtools.shards.rows import RowFile

__all__ = ["CACHE_BYTES", "TableReader"]

CACHE_BYTES = 128 << 20
"""Decoded row groups that are kept, at most; one of a hundred thousand rows without joints has 80 MB."""

_READ = tuple(
    column.name
    for column in PREDICTION_COLUMNS
    if column.name.partition("_")[0] in PREDICTED_FAMILIES
    or column.name in ("gender", "kid", "virtual_transl", "crop_affine", "joints2d", "joints3d")
)
_LATER = ("kid",)  # files of before they were there are whole without
_ROOTS = tuple(f"{family}_global_orient" for family in PREDICTED_FAMILIES)
_ROWS_AT_ONCE = 8192


class TableReader:
    """Predictions in the schema of :mod:`hmtools.humandata.predictions`, of any writer.

    Args:
        path: a file, or a folder of files.

    Raises:
        LayoutError: if there is none, or one is no parquet file.
        SchemaError: if the files are of different models or bodies, or lack ``key`` and ``image_path``.
    """

    relative_hands = False
    joints2d_size: tuple[int, int] | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = prediction_files(path)
        self.facts: Mapping[str, Any] = {**prediction_facts(path), "predicted_on": predicted_on(path)}
        self._tables = [open_table(file) for file in self.files]
        groups = [
            (table, group, table.metadata.row_group(group).num_rows)
            for table in self._tables
            for group in range(table.metadata.num_row_groups)
        ]
        self._groups = [(table, group) for table, group, _ in groups]
        self._starts = list(accumulate((rows for *_, rows in groups), initial=0))
        self._cache: OrderedDict[int, ReadColumns] = OrderedDict()
        self._bytes = 0
        agreed = Agreed()
        for file, table in zip(self.files, self._tables, strict=True):
            there = sorted(name for name in _read_of(table) if name not in _LATER)
            agreed.check("the list of columns", ", ".join(there), file.name)
        self._meshes = _Meshes(self.files, [table.metadata.num_rows for table in self._tables])
        self.listed = self._list()

    def _list(self) -> Listed:
        where: list[str] = []
        keys: list[str | None] = []
        images: list[str | None] = []
        bodies: list[NDArray[np.bool_]] = [np.zeros(0, bool)]
        for file, table in zip(self.files, self._tables, strict=True):
            names = _filled(table.schema_arrow)
            wanted = [name for name in ("key", "image_path", *_ROOTS) if name in names]
            if not {"key", "image_path"} & set(wanted):
                raise SchemaError(
                    f"{file}: has neither key nor image_path; predictions must say whose they are"
                )
            for batch in table.iter_batches(batch_size=_ROWS_AT_ONCE, columns=wanted):
                keys += _texts(batch, "key")
                # Names of images are kept only where they are needed.
                images += [
                    None if key else image
                    for key, image in zip(keys[len(images) :], _texts(batch, "image_path"), strict=True)
                ]
                roots = [~np.asarray(batch.column(name).is_null()) for name in _ROOTS if name in wanted]
                bodies.append(np.any(roots, axis=0) if roots else np.zeros(batch.num_rows, bool))
        there = np.concatenate(bodies)
        self._whole = False  # meshes for some bodies only are no use: the others have parameters
        if self._meshes.there is not None:
            self._whole = bool((self._meshes.there | ~there).all())
            there = there | self._meshes.there
        where = [
            key or image or f"row {row}" for row, (key, image) in enumerate(zip(keys, images, strict=True))
        ]
        return Listed(where=where, key=keys, image=images, empty=~there)

    def read(self, numbers: Sequence[int]) -> ReadColumns:
        """The numbers of some rows; see :class:`hmtools.bench.readers.base.Reader`."""
        by_group: dict[int, list[int]] = defaultdict(list)
        for place, number in enumerate(numbers):
            by_group[bisect_right(self._starts, number) - 1].append(place)
        found: ReadColumns = {}
        for group, places in by_group.items():
            local = np.array([numbers[place] - self._starts[group] for place in places])
            for name, values in self._decoded(group).items():
                own = values[local]
                if name not in found:
                    empty = None if own.dtype == object else np.nan
                    found[name] = np.full((len(numbers), *own.shape[1:]), empty, own.dtype)
                found[name][places] = own
        if self._whole:
            found["vertices"] = self._meshes.read(numbers)
        return found

    def _decoded(self, group: int) -> ReadColumns:
        if group in self._cache:
            self._cache.move_to_end(group)
            return self._cache[group]
        table, number = self._groups[group]
        names = _read_of(table)
        batch = table.read_row_group(number, columns=names, use_threads=False)
        found = {}
        for name in names:
            column = batch.column(name)
            values = column_values(pa.concat_arrays(column.chunks), f"{self.path}: {name}")
            if values is not None:
                found[name] = values
        size = sum(values.nbytes for values in found.values())
        while self._cache and self._bytes + size > CACHE_BYTES:
            dropped = self._cache.popitem(last=False)[1]
            self._bytes -= sum(values.nbytes for values in dropped.values())
        self._cache[group] = found
        self._bytes += size
        return found

    def sha256(self) -> str:
        """Of the file; of a folder, or with meshes: of names and contents."""
        files = [*self.files, *self._meshes.files]
        return file_sha256(files[0]) if len(files) == 1 else digest((file.name, file) for file in files)


def _read_of(table: pq.ParquetFile) -> list[str]:
    there = set(_filled(table.schema_arrow))
    return [name for name in _READ if name in there]


def _filled(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if not pa.types.is_null(field.type)]


def _texts(batch: pa.RecordBatch, name: str) -> list[str | None]:
    if name not in batch.schema.names:
        return [None] * batch.num_rows
    return [str(text) if text else None for text in batch.column(name).to_pylist()]


class _Meshes:
    """The meshes beside the tables, by row of all tables."""

    def __init__(self, tables: Sequence[Path], rows: Sequence[int]) -> None:
        self.files: list[Path] = []
        self.there: NDArray[np.bool_] | None = None
        self._at: list[tuple[int, NDArray[np.int64], RowFile]] = []
        agreed, start = Agreed(), 0
        total = sum(rows)
        for table, count in zip(tables, rows, strict=True):
            path = prediction_mesh_path(table)
            if path.is_file():
                self.files.append(path)
                own = self._open(path, count, agreed)
                self.there = np.zeros(total, bool) if self.there is None else self.there
                self.there[start + own[0]] = True
                self._at.append((start, *own))
            start += count

    def _open(self, path: Path, count: int, agreed: Agreed) -> tuple[NDArray[np.int64], RowFile]:
        file = RowFile(path)
        kind = file.schema.field("vertices").type if "vertices" in file.schema.names else None
        if kind is None or not pa.types.is_fixed_size_list(kind) or "row" not in file.schema.names:
            raise SchemaError(f"{path}: no meshes of predictions: expected columns row, key, vertices")
        agreed.check("the body", family_of(kind.list_size, str(path)), path.name)
        self.vertices = int(kind.list_size)
        rows = file.table().column("row").to_numpy()
        if len(rows) and (rows[0] < 0 or rows[-1] >= count or (np.diff(rows) <= 0).any()):
            raise SchemaError(f"{path}: its rows do not ascend within the {count} of the table beside it")
        return rows, file

    def read(self, numbers: Sequence[int]) -> NDArray[np.float32]:
        """(n, V, 3) meshes, NaN for a row without one."""
        found = np.full((len(numbers), self.vertices, 3), np.nan, np.float32)
        starts = [start for start, *_ in self._at]
        for place, number in enumerate(numbers):
            which = bisect_right(starts, number) - 1
            if which < 0:
                continue
            start, rows, file = self._at[which]
            at = int(np.searchsorted(rows, number - start))
            if at < len(rows) and rows[at] == number - start:
                found[place] = file.row(at)["vertices"]
        return found
