"""Pickles that a Python with NumPy 1 can read, whatever NumPy writes them.

NumPy 2 names its own modules in pickles (``numpy._core``), which NumPy 1 does not have. So the few names
that an array needs are written here, in the form that both versions read: pickle protocol 3,
``numpy.core.multiarray _reconstruct``, ``numpy ndarray`` and ``numpy dtype``.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["dumps"]

_RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
_NDARRAY = b"cnumpy\nndarray\n"
_DTYPE = b"cnumpy\ndtype\n"


def dumps(value: Mapping[str, Any]) -> bytes:
    """Pickle a dict of texts, numbers, truth values, arrays of numbers, and such dicts.

    Raises:
        TypeError: for anything else.
    """
    return pickle.PROTO + b"\x03" + _any(value) + pickle.STOP


def _any(value: Any) -> bytes:
    if isinstance(value, Mapping):
        items = b"".join(_text(key) + _any(item) for key, item in value.items())
        return pickle.EMPTY_DICT + pickle.MARK + items + pickle.SETITEMS
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
        return _array(value)
    if isinstance(value, bool):
        return pickle.NEWTRUE if value else pickle.NEWFALSE
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return pickle.BINFLOAT + struct.pack(">d", value)
    return _text(value)


def _text(value: Any) -> bytes:
    if not isinstance(value, str):
        raise TypeError(
            f"only texts, numbers and arrays of numbers are written, found {type(value).__name__}"
        )
    data = value.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(data)) + data


def _integer(value: int) -> bytes:
    if not -(2**31) <= value < 2**31:
        raise TypeError(f"only 32-bit integers are written, found {value}")
    return pickle.BININT + struct.pack("<i", value)


def _bytes(data: bytes) -> bytes:
    return pickle.BINBYTES + struct.pack("<I", len(data)) + data


def _tuple(*items: bytes) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE


def _array(array: np.ndarray) -> bytes:
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    kind = f"{little.dtype.kind}{little.dtype.itemsize}"
    none, minus = pickle.NONE, _integer(-1)
    order = _text("|" if little.dtype.itemsize == 1 else "<")
    dtype = _DTYPE + _tuple(_text(kind), pickle.NEWFALSE, pickle.NEWTRUE) + pickle.REDUCE
    state = _tuple(_integer(3), order, none, none, none, minus, minus, _integer(0))
    dtype += state + pickle.BUILD
    made = _RECONSTRUCT + _tuple(_NDARRAY, _tuple(_integer(0)), _bytes(b"b")) + pickle.REDUCE
    shape = _tuple(*(_integer(size) for size in little.shape))
    content = _tuple(_integer(1), shape, dtype, pickle.NEWFALSE, _bytes(little.tobytes()))
    return made + content + pickle.BUILD
