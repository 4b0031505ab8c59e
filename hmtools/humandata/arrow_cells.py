"""Arrow columns as numpy arrays, whole columns at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from hmtools.core.errors import SchemaError

__all__ = ["column_values"]


def column_values(column: pa.Array, where: str) -> np.ndarray | None:
    """Values of a column; None where every cell is null.

    Args:
        column: texts, numbers, or (nested) lists of numbers that have one shape throughout.
        where: named by errors.

    Returns:
        Object array of texts with None where null; float32 (n, ...) with NaN where null; int64 with -1 where
        null; bool, where null cells are false.

    Raises:
        SchemaError: for lists of different lengths, a null inside a list, or another type.
    """
    if column.null_count == len(column):
        return None
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return np.array(column.to_pylist(), object)
    if pa.types.is_boolean(kind):
        return np.asarray(column.fill_null(False))
    if pa.types.is_integer(kind):
        return np.asarray(column.fill_null(-1).cast(pa.int64()))
    if pa.types.is_floating(kind):
        return _float32(column)
    return _arrays(column, where)


def _arrays(column: pa.Array, where: str) -> np.ndarray:
    """Lists of lists of numbers, of one shape.

    Arrow's own ``drop_null`` is not used: of nested fixed-size lists that are part of a longer column it
    gives numbers from elsewhere (seen with pyarrow 26).
    """
    there = ~np.asarray(column.is_null())
    places = np.flatnonzero(there)  # of the cells in the array of a level
    shape: list[int] = []
    inner = column
    while _is_list(inner.type):
        size, starts = _starts(inner, places, where)
        places = (starts[:, None] + np.arange(size)).reshape(-1)
        shape.append(size)
        inner = inner.values
        if inner.null_count and np.asarray(inner.is_null())[places].any():
            raise SchemaError(f"{where}: nulls inside of arrays; a cell is null as a whole")
    if not (pa.types.is_floating(inner.type) or pa.types.is_integer(inner.type)) or not shape:
        raise SchemaError(f"{where}: expected text, numbers or arrays of numbers, found {column.type}")
    values = np.full((len(column), *shape), np.nan, np.float32)
    values[there] = _float32(inner)[places].reshape(-1, *shape)
    return values


def _starts(column: Any, places: np.ndarray, where: str) -> tuple[int, np.ndarray]:
    """Length of the lists at some places, and where in ``column.values`` each begins."""
    if pa.types.is_fixed_size_list(column.type):
        size = int(column.type.list_size)
        return size, (places + column.offset) * size
    ends = np.asarray(column.offsets, np.int64)
    lengths = np.unique(ends[places + 1] - ends[places]).tolist()
    if len(lengths) > 1:
        raise SchemaError(f"{where}: arrays of different lengths, {lengths[0]} to {lengths[-1]}")
    return int(lengths[0]) if lengths else 0, ends[places]


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _float32(column: pa.Array) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(column.to_numpy(zero_copy_only=False), np.float32)
