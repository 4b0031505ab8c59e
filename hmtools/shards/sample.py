"""What a tar sample holds: ``<name>.jpg|png``, ``<name>.npz`` (arrays), ``<name>.json`` (strings, scalars).

A sample is an image. With ``--images crop`` it holds one person: the archive has one entry per array column
and the JSON is one flat object; an absent entry is null. With ``full`` it holds all people of the frame:
arrays get a leading P axis and the JSON is ``{"people": [...]}``, one object per person. Where some people of
a frame have a cell and others have not, the gap is NaN in float arrays (False in boolean ones) and the
person's object lists the column under ``"absent"``. Variable-length cells are padded with NaN. Nothing is
lost: the Arrow row is rebuilt from a sample exactly, except where the image lies (``shard, offset, nbytes``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hmtools.core.errors import SchemaError
from hmtools.humandata.record import Record, columns
from hmtools.shards.npz import npz_arrays, npz_bytes

__all__ = ["LOCATION", "decode_sample", "encode_sample"]

Array = npt.NDArray[Any]

LOCATION = ("shard", "offset", "nbytes")
"""Columns that say where the image lies: facts about the tar, so not inside it."""

_ARRAYS = tuple(column.name for column in columns() if "[" in column.cell)
_VARIABLE = frozenset(column.name for column in columns() if column.cell.endswith("[*]"))
_SCALARS = tuple(
    column.name for column in columns() if "[" not in column.cell and column.name not in LOCATION
)


def encode_sample(people: Sequence[Record], *, full: bool) -> tuple[bytes, bytes]:
    """The npz and JSON members of one sample.

    Args:
        people: the normalised records of the image; exactly one unless ``full``.
        full: whether arrays carry a leading P axis.
    """
    if full:
        return _encode_frame(people)
    (person,) = people
    arrays = {name: value for name in _ARRAYS if (value := getattr(person, name)) is not None}
    return npz_bytes(arrays), _json(_scalars(person))


def _scalars(person: Record) -> dict[str, Any]:
    found = {name: getattr(person, name) for name in _SCALARS}
    return {name: _plain(value) for name, value in found.items() if value is not None}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _encode_frame(people: Sequence[Record]) -> tuple[bytes, bytes]:
    arrays: dict[str, Array] = {}
    rows = [_scalars(person) for person in people]
    for name in _ARRAYS:
        cells = [getattr(person, name) for person in people]
        if all(cell is None for cell in cells):
            continue
        arrays[name] = _stack(cells)
        for row, cell in zip(rows, cells, strict=True):
            if cell is None:
                row.setdefault("absent", []).append(name)
    return npz_bytes(arrays), _json({"people": rows})


def _stack(cells: Sequence[Array | None]) -> Array:
    """Stack cells along a new first axis; gaps and the tails of shorter rows are NaN (False for bool)."""
    present = [cell for cell in cells if cell is not None]
    shape = tuple(max(sizes) for sizes in zip(*(cell.shape for cell in present), strict=True))
    dtype = present[0].dtype
    stacked = np.full((len(cells), *shape), False if dtype.kind == "b" else np.nan, dtype)
    for row, cell in enumerate(cells):
        if cell is not None:
            stacked[row][tuple(slice(size) for size in cell.shape)] = cell
    return stacked


def decode_sample(npz: bytes, text: bytes, name: str) -> list[Record]:
    """The records of a sample, without ``shard``, ``offset`` and ``nbytes``.

    Args:
        npz: the ``.npz`` member.
        text: the ``.json`` member.
        name: of the sample, for errors.

    Raises:
        SchemaError: for members that :func:`encode_sample` cannot have written.
        UnsafeFileError: for pickled or oversized arrays.
    """
    arrays = npz_arrays(npz, f"{name}.npz")
    try:
        scalars = json.loads(text)
        if "people" not in scalars:
            numbers: dict[str, Any] = dict(arrays)
            return [Record(**scalars, **numbers)]
        rows = scalars["people"]
        if any(len(array) != len(rows) for array in arrays.values()):
            raise ValueError(f"the arrays are not of the {len(rows)} people of the JSON")
        return [_person(dict(row), arrays, index) for index, row in enumerate(rows)]
    except (TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
        raise SchemaError(f"sample {name}: not written by hmtools or damaged ({error})") from error


def _person(row: dict[str, Any], arrays: dict[str, Array], index: int) -> Record:
    absent = row.pop("absent", ())
    cells: dict[str, Any] = {name: array[index] for name, array in arrays.items() if name not in absent}
    for column in _VARIABLE & cells.keys():
        cells[column] = cells[column][~np.isnan(cells[column])]
    return Record(**row, **cells)
