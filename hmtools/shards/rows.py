"""Random access to the rows of an Arrow file, at microseconds a row and about a kilobyte a batch.

The file is memory-mapped. Of each record batch (≤ 256 rows) only the *places* of its buffers are kept, as one
array of integers; a cell is then an index into a view of the whole map. No pyarrow scalar is ever made, and
memory does not grow with the rows that were read. Cells are read-only views on the file.
"""

from __future__ import annotations

import mmap
from array import array
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from hmtools.core.errors import SchemaError

__all__ = ["RowFile"]

Places: TypeAlias = "array[int]"
Getter = Callable[["array[int]", int], Any]
Program = list[tuple[str, Getter]]

_NO_NULLS, _ALL_NULL, _SOME_NULL = "present", "null", "mixed"
_PLACES = 3  # per column: validity bitmap, first buffer, second buffer (bytes of a string column)


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
        except (OSError, ValueError, pa.ArrowInvalid) as error:
            raise SchemaError(
                f"{path}: not a complete Arrow file ({error}); copy or convert it again"
            ) from error
        self.schema: pa.Schema = self._reader.schema
        self._base = int(pa.py_buffer(self._map).address)
        # The footer's row counts are not exposed, so each batch is opened once (20 µs) and dropped.
        counts = [self._reader.get_batch(i).num_rows for i in range(self._reader.num_record_batches)]
        self._starts = [0, *accumulate(counts)]
        self._batches: list[tuple[Places, Program] | None] = [None] * len(counts)
        self._programs: dict[tuple[str, ...], Program] = {}
        self._empty = dict.fromkeys(self.schema.names)
        self._views = _Views(self._map)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def row(self, index: int) -> dict[str, Any]:
        """All columns of row ``index``, which must lie in ``0 … len - 1``.

        Arrays are read-only float32 or bool views of their schema shape, the rest Python scalars and strings;
        null is None.
        """
        batch = bisect_right(self._starts, index) - 1
        places, program = self._batches[batch] or self._find(batch)
        local = index - self._starts[batch]
        row = self._empty.copy()
        for name, get in program:
            row[name] = get(places, local)
        return row

    def table(self) -> pa.Table:
        """The whole file as a table, zero copy."""
        return self._reader.read_all()

    def _find(self, batch: int) -> tuple[Places, Program]:
        """Note where the buffers of one batch lie, in elements of their own size, and how to read them."""
        arrays = self._reader.get_batch(batch).columns
        places, nulls = array("q"), []
        for column in arrays:
            missing = column.null_count
            nulls.append(_SOME_NULL if 0 < missing < len(column) else _ALL_NULL if missing else _NO_NULLS)
            data = column.indices if pa.types.is_dictionary(column.type) else column
            buffers = data.buffers()
            first = buffers[-1] if pa.types.is_fixed_size_list(column.type) else (*buffers, None)[1]
            places.append(self._offset(buffers[0]))
            places.append(self._offset(first) // _first_size(column.type))
            places.append(self._offset(buffers[-1]) // _last_size(column.type))
        # A column's reader differs only by its nulls, so few batches need a program of their own.
        pattern = tuple(nulls)
        program = self._programs.get(pattern)
        if program is None:
            program = self._programs[pattern] = self._compile(arrays, pattern)
        found = self._batches[batch] = (places, program)
        return found

    def _offset(self, buffer: pa.Buffer | None) -> int:
        return int(buffer.address) - self._base if buffer is not None else 0

    def _compile(self, arrays: list[pa.Array], nulls: tuple[str, ...]) -> Program:
        program = []
        for number, (item, column, kind) in enumerate(zip(self.schema, arrays, nulls, strict=True)):
            if kind == _ALL_NULL:
                continue
            words = column.dictionary.to_pylist() if pa.types.is_dictionary(item.type) else []
            get = _present(item.type, number * _PLACES + 1, self._views, words)
            if kind == _SOME_NULL:
                get = _nullable(get, number * _PLACES, self._views.bytes)
            program.append((item.name, get))
        return program


class _Views:
    """The whole map seen as numbers of one kind each."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.bytes = memoryview(data)
        self._whole = np.frombuffer(data, np.uint8)

    def numbers(self, code: str) -> memoryview:
        size = memoryview(b"").cast(code).itemsize  # type: ignore[call-overload]
        return self.bytes[: len(self.bytes) // size * size].cast(code)  # type: ignore[call-overload, no-any-return]

    def array(self, dtype: Any) -> np.ndarray[Any, Any]:
        size = np.dtype(dtype).itemsize
        return self._whole[: len(self._whole) // size * size].view(dtype)


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


def _nullable(get: Getter, place: int, bits: memoryview) -> Getter:
    def nullable(places: Places, row: int) -> Any:
        return get(places, row) if bits[places[place] + (row >> 3)] >> (row & 7) & 1 else None

    return nullable


def _present(kind: pa.DataType, place: int, views: _Views, words: list[str]) -> Getter:
    if pa.types.is_dictionary(kind):
        codes = views.numbers("b")
        return lambda places, row: words[codes[places[place] + row]]
    if pa.types.is_string(kind):
        ends, data = views.numbers("i"), views.data

        def string(places: Places, row: int) -> str:
            at, base = places[place] + row, places[place + 1]
            return data[base + ends[at] : base + ends[at + 1]].decode()

        return string
    if pa.types.is_boolean(kind):
        bits = views.bytes
        return lambda places, row: bool(bits[places[place] + (row >> 3)] >> (row & 7) & 1)
    if pa.types.is_fixed_size_list(kind):
        return _fixed(kind, place, views)
    if pa.types.is_list(kind):
        ends, values = views.numbers("i"), views.array(kind.value_type.to_pandas_dtype())

        def variable(places: Places, row: int) -> Any:
            at, base = places[place] + row, places[place + 1]
            return values[base + ends[at] : base + ends[at + 1]]

        return variable
    numbers = views.numbers(np.dtype(kind.to_pandas_dtype()).char)
    return lambda places, row: numbers[places[place] + row]


def _fixed(kind: pa.DataType, place: int, views: _Views) -> Getter:
    shape = []
    while pa.types.is_fixed_size_list(kind):
        shape.append(kind.list_size)
        kind = kind.value_type
    length = prod(shape)
    if pa.types.is_boolean(kind):
        packed = views.array(np.uint8)

        def flags(places: Places, row: int) -> Any:
            first = row * length
            start, skip = places[place] + (first >> 3), first & 7
            bits = np.unpackbits(packed[start : start + length // 8 + 2], bitorder="little")
            return bits[skip : skip + length].astype(bool).reshape(shape)

        return flags
    values = views.array(kind.to_pandas_dtype())

    def vector(places: Places, row: int) -> Any:
        start = places[place] + row * length
        return values[start : start + length]

    if len(shape) == 1:
        return vector
    return lambda places, row: vector(places, row).reshape(shape)
