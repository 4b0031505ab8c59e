"""Records to Arrow batches and back: columns are filled as numpy arrays, never cell by cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hmtools.core.errors import SchemaError
from hmtools.humandata.record import Column, Record, columns
from hmtools.humandata.schema import RecordSpec, cell_shape, record_schema

__all__ = ["fixed_size_lists", "normalise", "to_batch", "vocabulary"]

_NUMPY: dict[str, type[np.generic]] = {
    "i32": np.int32,
    "i64": np.int64,
    "f32": np.float32,
    "bool": np.bool_,
}
_PYTHON: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool, np.bool_),
    "i32": (int, np.integer),
    "i64": (int, np.integer),
    "f32": (float, int, np.floating, np.integer),
}


def vocabulary(column: Column, spec: RecordSpec) -> tuple[str, ...]:
    """The values that a dictionary-encoded column may hold."""
    if column.name == "dataset":
        return (spec.dataset,)
    if column.name == "split":
        return (spec.split,)
    return tuple(column.cell.removeprefix("enum:").split("|"))


@lru_cache(maxsize=64)
def _normalisers(spec: RecordSpec) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
    return tuple((column.name, _normaliser(column, spec)) for column in columns())


def _normaliser(column: Column, spec: RecordSpec) -> Callable[[Any], Any]:
    name, shape = column.name, cell_shape(column, spec)
    if spec.absent(name):

        def absent(value: Any) -> Any:
            raise SchemaError(f"{spec.dataset} yields {name}, which its RecordSpec says it does not have")

        return absent
    if shape is not None:
        dtype = _NUMPY[column.cell.partition("[")[0]]

        def array(value: Any) -> Any:
            found = np.asarray(value, dtype)
            if found.shape != shape and not (shape == (-1,) and found.ndim == 1):
                raise SchemaError(f"{name}: expected shape {shape}, found {found.shape}")
            return found

        return array
    if column.cell.startswith("enum:") or name in ("dataset", "split"):
        allowed = vocabulary(column, spec)

        def enumeration(value: Any) -> Any:
            if value not in allowed:
                raise SchemaError(f"{name}: expected one of {', '.join(allowed)}, found {value!r}")
            return value

        return enumeration
    return _scalar_normaliser(name, column.cell)


def _scalar_normaliser(name: str, cell: str) -> Callable[[Any], Any]:
    kinds, dtype = _PYTHON[cell], _NUMPY.get(cell)

    def scalar(value: Any) -> Any:
        if not isinstance(value, kinds) or (isinstance(value, bool) and cell != "bool"):
            raise SchemaError(f"{name}: expected {cell}, found {type(value).__name__} {value!r:.80}")
        if dtype is None:
            text = str(value)
            text.encode()  # refuses what UTF-8 cannot hold
            return text
        plain = value.item() if isinstance(value, np.generic) else value
        return dtype(plain).item()  # refuses a Python integer that does not fit; one of numpy would wrap

    return scalar


def normalise(record: Record, spec: RecordSpec) -> Record:
    """Bring every cell of ``record`` to its schema type, in place.

    Arrays become float32 (or bool) of the declared shape, scalars plain Python values; nothing is rounded but
    float64 → float32, where what is too large becomes infinite (a defect, see ``humandata.checks``).

    Raises:
        SchemaError: naming the column, the expected type or shape and what was found.
    """
    with np.errstate(over="ignore"):
        for name, convert in _normalisers(spec):
            value = getattr(record, name)
            if value is not None:
                try:
                    setattr(record, name, convert(value))
                except (TypeError, ValueError, OverflowError) as error:
                    raise SchemaError(f"{name}: cannot store {value!r:.80}: {error}") from error
    return record


def to_batch(records: Sequence[Record], spec: RecordSpec) -> pa.RecordBatch:
    """Arrow batch of normalised records, in order; cells under a null are zero bytes (deterministic)."""
    schema = record_schema(spec)
    arrays = [
        _column_array(
            column, spec, schema.field(column.name).type, [getattr(r, column.name) for r in records]
        )
        for column in columns()
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _column_array(column: Column, spec: RecordSpec, kind: pa.DataType, cells: list[Any]) -> pa.Array:
    if pa.types.is_null(kind):
        return pa.nulls(len(cells))
    if pa.types.is_dictionary(kind):
        words = vocabulary(column, spec)
        codes = pa.array([None if cell is None else words.index(cell) for cell in cells], pa.int8())
        return pa.DictionaryArray.from_arrays(codes, pa.array(words, pa.string()))
    shape = cell_shape(column, spec)
    if shape is None or shape == (-1,):
        return pa.array(cells, kind)
    return _fixed_array(cells, shape, _NUMPY[column.cell.partition("[")[0]])


def _fixed_array(cells: list[Any], shape: tuple[int, ...], dtype: type[np.generic]) -> pa.Array:
    values = np.zeros((len(cells), *shape), dtype)
    missing = np.zeros(len(cells), bool)
    for row, cell in enumerate(cells):
        if cell is None:
            missing[row] = True
        else:
            values[row] = cell
    return fixed_size_lists(values, missing if missing.any() else None)


def fixed_size_lists(values: npt.NDArray[Any], missing: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Nested fixed-size-list array of an (N, …) array; ``missing`` (N,) marks null rows."""
    array = pa.array(values.reshape(-1))
    for axis in range(values.ndim - 1, 0, -1):
        mask = pa.array(missing) if axis == 1 and missing is not None else None
        array = pa.FixedSizeListArray.from_arrays(array, values.shape[axis], mask=mask)
    return array
