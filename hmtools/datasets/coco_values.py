"""Values of COCO's JSON rows, checked as they are read: what a damaged file may say never gets further."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

__all__ = ["flag", "joints", "numbers", "points", "text", "visibility", "whole"]

Points: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"

_INT32 = 2**31


def text(row: Mapping[str, Any], name: str) -> str:
    """A name: text, or an integer as text.

    Raises:
        KeyError: if it is missing.
        TypeError, ValueError: if it is neither, or what no file name and no column can hold.
    """
    value = row[name]
    if not isinstance(value, int | str):
        raise TypeError(f"{name}: expected text or an integer, found {value!r:.40}")
    found = str(value)
    found.encode()  # JSON can escape what no file name and no column can hold
    return found


def whole(row: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """A whole number of 32 bits; the default where the field is missing.

    Raises:
        KeyError: if it is missing and there is no default.
        TypeError, ValueError, OverflowError: if it is none.
    """
    value = row[name] if default is None else row.get(name, default)
    if not isinstance(value, int | float) or value != int(value) or abs(value) >= _INT32:
        raise TypeError(f"{name}: expected a whole number, found {value!r:.40}")
    return int(value)


def flag(row: Mapping[str, Any], name: str) -> bool:
    """A truth value of an annotation: true or false, or 1 or 0.

    Raises:
        KeyError: if it is missing.
        TypeError: for anything else; text such as "false" would count as true.
    """
    value = row[name]
    if not isinstance(value, int) or value not in (0, 1):
        raise TypeError(f"{name}: expected true or false, found {value!r:.40}")
    return bool(value)


def numbers(values: Sequence[Any], count: int) -> list[float]:
    """``values`` as floats.

    Raises:
        TypeError: if they are no list of numbers; text is none, whatever it says.
        ValueError: unless there are exactly ``count``.
        OverflowError: for an integer that no float holds.
    """
    if not isinstance(values, list) or not set(map(type, values)) <= {int, float}:
        raise TypeError(f"expected {count} numbers, found {values!r:.80}")
    if len(values) != count:
        raise ValueError(f"expected {count} numbers, found {len(values)}")
    return list(map(float, values))


def points(values: Sequence[Any], count: int) -> Points:
    """``count`` flat x, y, v triples as :func:`joints`.

    Raises:
        TypeError, ValueError, OverflowError: as :func:`numbers` and :func:`joints`.
    """
    return joints(numbers(values, 3 * count))


def joints(triples: Sequence[float]) -> Points:
    """Flat x, y, v triples as float32 (K, 3), confidence 1 where v > 0; pixels.

    An unlabelled joint has no place: whatever its x and y say becomes 0 with confidence 0.

    Raises:
        ValueError: for a v that is no number.
    """
    with np.errstate(over="ignore"):  # beyond float32: infinite, which is rejected as such
        found = np.array(triples, np.float32).reshape(-1, 3)
    if np.isnan(found[:, 2]).any():
        raise ValueError("v of a joint is NaN")
    found[:, 2] = found[:, 2] > 0
    return np.where(found[:, 2:] > 0, found, np.float32(0))


def visibility(values: Sequence[Any]) -> str:
    """The v of each x, y, v triple as one digit each: 0 not labelled, 1 hidden, 2 visible.

    Where v is a score, it counts as labelled above 0, as in :func:`points`.
    """
    return "".join(str(min(9, max(0, math.ceil(v)))) for v in values[2::3])
