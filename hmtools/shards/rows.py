"""Random access to the rows of an Arrow file, at microseconds a row and about a kilobyte a batch.

The file is memory-mapped. Of each record batch (≤ 256 rows) only the *places* of its buffers are kept, a
tuple of integers; a cell is then an index into a view of the whole map. No pyarrow scalar is made for a row,
and no row is kept. Cells are read-only views on the file.

What costs most in a long file is memory that no cache holds: one access for each cell, two for a string. So
columns with one value throughout a batch (dataset, split, shard, most sequences) are read once per batch.
"""

from __future__ import annotations

import mmap
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from hmtools.core.errors import SchemaError
from hmtools.shards.batch_lengths import batch_lengths

__all__ = ["RowFile"]

Row: TypeAlias = dict[str, Any]
Places: TypeAlias = tuple[int, ...]
Getter = Callable[[Places, int], Any]

_NULL, _SAME, _FULL, _MIXED = "no value", "one value", "no nulls", "some nulls"  # of a column in a batch
_PLACES = 3  # per column: validity bitmap, first buffer, second buffer (bytes of a string column)
_EIGHT = tuple(bytes(byte >> bit & 1 for bit in range(8)) for byte in range(256))


@dataclass(slots=True)
class _Program:
    """How to read a row: its columns by kind, each with the position of its (first) place.

    One loop per kind reads a cell in half the time that a function call per column takes.
    """

    wanted: list[int] = field(default_factory=list)
    numbers: list[tuple[str, int, memoryview]] = field(default_factory=list)
    arrays: list[tuple[str, int, np.ndarray[Any, Any], int]] = field(default_factory=list)
    strings: list[tuple[str, int]] = field(default_factory=list)
    words: list[tuple[str, int, list[str]]] = field(default_factory=list)
    flags: list[tuple[str, int]] = field(default_factory=list)
    others: list[tuple[str, Getter]] = field(default_factory=list)
    nullable: list[tuple[str, int]] = field(default_factory=list)

    def want(self, *places: int) -> int:
        """Keep these of all the places of a batch; returns the position of the first."""
        self.wanted += places
        return len(self.wanted) - len(places)


class RowFile:
    """Rows of one uncompressed Arrow IPC file with scalar, string and (fixed-size) list columns.

    Args:
        path: the file.

    Raises:
        SchemaError: if it is not an Arrow file, or is truncated.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._reader = pa.ipc.open_file(pa.py_buffer(self._map))
            counts = batch_lengths(path)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise SchemaError(
                f"{path}: not a complete Arrow file ({error}); copy or convert it again"
            ) from error
        self.schema: pa.Schema = self._reader.schema
        self._base = int(pa.py_buffer(self._map).address)
        self._starts = [0, *accumulate(counts)]
        self._batches: list[tuple[Places, _Program, Row] | None] = [None] * len(counts)
        self._programs: dict[tuple[str, ...], _Program] = {}
        self._fixed: dict[tuple[Any, str], Row] = {}
        self._bytes = memoryview(self._map)
        self._ends = self._numbers("i")

    def __len__(self) -> int:
        return int(self._starts[-1])

    def row(self, index: int) -> Row:
        """All columns of row ``index``, which must lie in ``0 … len - 1``.

        Arrays are read-only float32 or bool views of their schema shape, the rest Python scalars and strings;
        null is None.
        """
        batch = bisect_right(self._starts, index) - 1
        places, program, fixed = self._batches[batch] or self._find(batch)
        local = index - self._starts[batch]
        byte, bit = local >> 3, 1 << (local & 7)
        data, bits, ends = self._map, self._bytes, self._ends
        row = fixed.copy()
        for name, at, numbers in program.numbers:
            row[name] = numbers[places[at] + local]
        for name, at, cells, size in program.arrays:
            row[name] = cells[places[at] + local * size]
        for name, at in program.strings:
            end, start = places[at] + local, places[at + 1]
            row[name] = data[start + ends[end] : start + ends[end + 1]].decode()
        for name, at, words in program.words:
            row[name] = words[bits[places[at] + local]]
        for name, at in program.flags:
            row[name] = bits[places[at] + byte] & bit != 0
        for name, get in program.others:
            row[name] = get(places, local)
        for name, at in program.nullable:
            if not bits[places[at] + byte] & bit:
                row[name] = None
        return row

    def table(self) -> pa.Table:
        """The whole file as a table, zero copy."""
        return self._reader.read_all()

    def _find(self, batch: int) -> tuple[Places, _Program, Row]:
        """Note how to read one batch, where its buffers lie, and the cells that all its rows have."""
        arrays = self._reader.get_batch(batch).columns
        kinds = tuple(_kind(column) for column in arrays)
        # Batches differ little in their kinds of columns and in what their rows share.
        program = self._programs.get(kinds)
        if program is None:
            program = self._programs[kinds] = self._compile(arrays, kinds)
        places = [place for column in arrays for place in self._places(column)]
        shared = [
            column[0].as_py() if kind == _SAME else None for column, kind in zip(arrays, kinds, strict=True)
        ]
        cells = dict(zip(self.schema.names, shared, strict=True))
        fixed = self._fixed.setdefault((kinds, repr(shared)), cells)  # -0.0 is 0.0, but not the same text
        found = self._batches[batch] = (tuple(places[i] for i in program.wanted), program, fixed)
        return found

    def _places(self, column: pa.Array) -> tuple[int, int, int]:
        """Where the buffers of a column lie, in elements of their own size."""
        kind = column.type
        buffers = (column.indices if pa.types.is_dictionary(kind) else column).buffers()
        first = buffers[-1] if pa.types.is_fixed_size_list(kind) else (*buffers, None)[1]
        return (
            self._offset(buffers[0]),
            self._offset(first) // _first_size(kind),
            self._offset(buffers[-1]) // _last_size(kind),
        )

    def _offset(self, buffer: pa.Buffer | None) -> int:
        if buffer is None or not buffer.size:
            return 0
        place = int(buffer.address) - self._base
        if not 0 <= place < len(self._map):
            raise SchemaError(
                f"{self.path}: a compressed Arrow file has no rows to look at; convert it again"
            )
        return place

    def _compile(self, arrays: list[pa.Array], kinds: tuple[str, ...]) -> _Program:
        """Sort the columns by how they are read; those that need no reading are left out."""
        program = _Program()
        for number, (name, column, kind) in enumerate(zip(self.schema.names, arrays, kinds, strict=True)):
            if kind in (_FULL, _MIXED):
                self._add(program, name, column, number * _PLACES + 1)
            if kind == _MIXED:
                program.nullable.append((name, program.want(number * _PLACES)))
        return program

    def _add(self, program: _Program, name: str, column: pa.Array, first: int) -> None:
        kind = column.type
        if pa.types.is_string(kind):
            program.strings.append((name, program.want(first, first + 1)))
        elif pa.types.is_list(kind):
            at = program.want(first, first + 1)
            program.others.append((name, self._variable(kind.value_type, at)))
        elif pa.types.is_dictionary(kind):
            program.words.append((name, program.want(first), column.dictionary.to_pylist()))
        elif pa.types.is_boolean(kind):
            program.flags.append((name, program.want(first)))
        elif not pa.types.is_fixed_size_list(kind):
            program.numbers.append((name, program.want(first), self._numbers(_numpy(kind).char)))
        else:
            shape = []
            while pa.types.is_fixed_size_list(kind):
                shape.append(kind.list_size)
                kind = kind.value_type
            at = program.want(first)
            if pa.types.is_boolean(kind):
                program.others.append((name, self._packed(tuple(shape), at)))
            else:
                program.arrays.append((name, at, self._cells(kind, tuple(shape)), prod(shape)))

    def _numbers(self, code: str) -> memoryview:
        """The whole map as Python numbers of one kind."""
        size = memoryview(b"").cast(code).itemsize  # type: ignore[call-overload]
        return self._bytes[: len(self._bytes) // size * size].cast(code)  # type: ignore[call-overload, no-any-return]

    def _cells(self, kind: pa.DataType, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        """The whole map as overlapping cells of one shape: cell i begins at element i."""
        element = _numpy(kind)
        count = len(self._map) // element.itemsize - prod(shape) + 1
        steps = [prod(shape[axis + 1 :]) * element.itemsize for axis in range(len(shape))]
        return np.ndarray((count, *shape), element, self._map, strides=(element.itemsize, *steps))

    def _variable(self, kind: pa.DataType, at: int) -> Getter:
        values, ends = self._cells(kind, ()), self._ends

        def variable(places: Places, row: int) -> Any:
            end, start = places[at] + row, places[at + 1]
            return values[start + ends[end] : start + ends[end + 1]]

        return variable

    def _packed(self, shape: tuple[int, ...], at: int) -> Getter:
        data, length = self._map, prod(shape)

        def packed(places: Places, row: int) -> Any:
            first = row * length
            start, skip = places[at] + (first >> 3), first & 7
            bits = b"".join([_EIGHT[byte] for byte in data[start : start + length // 8 + 2]])
            return np.ndarray(shape, np.bool_, bits, skip)

        return packed


def _numpy(kind: pa.DataType) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
    return dtype


def _kind(column: pa.Array) -> str:
    missing = column.null_count
    if missing:
        return _NULL if missing == len(column) else _MIXED
    if not len(column) or pa.types.is_nested(column.type) or column[0] != column[-1]:
        return _FULL
    return _SAME if len(column.unique()) == 1 else _FULL


def _first_size(kind: pa.DataType) -> int:
    """Bytes of an element of the buffer that a row number indexes."""
    if pa.types.is_string(kind) or pa.types.is_list(kind):
        return 4  # offsets
    if pa.types.is_dictionary(kind):
        return 1
    return _last_size(kind)


def _last_size(kind: pa.DataType) -> int:
    while pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind):
        kind = kind.value_type
    if pa.types.is_primitive(kind) and not pa.types.is_boolean(kind):
        return int(kind.bit_width) // 8
    return 1  # bytes of strings, bits of booleans, dictionary codes, nothing
