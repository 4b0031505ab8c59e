"""Pickles as Python 2 and NumPy 1 left them: protocol 2, text in 8-bit strings, arrays under their old names.

Python 3 cannot write these: it makes every text unicode and names NumPy's modules as they are called today.
Readers of old releases meet exactly this: keys that need an encoding, array bytes inside such strings, and
``numpy.core.multiarray``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from hmtools.core.errors import UsageError

__all__ = ["python2_pickle"]

_PROTOCOL, _STOP = b"\x80\x02", b"."
_ATOMS = {None: b"N", True: b"\x88", False: b"\x89"}
_EMPTY_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"


def python2_pickle(value: Any) -> bytes:
    """Pickle plain data the way Python 2 did.

    Args:
        value: None, bool, int of 32 bits, float, latin-1 text, arrays (of numbers, or of objects that are
            such values themselves), and lists, tuples and mappings of these.

    Returns:
        The bytes of the file; the same value gives the same bytes.

    Raises:
        UsageError: for a value of another type, an int beyond 32 bits or text beyond latin-1.
    """
    return _PROTOCOL + _encoded(value) + _STOP


def _encoded(value: Any) -> bytes:
    if value is None or isinstance(value, bool):
        return _ATOMS[value]
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, tuple):
        return b"(" + _joined(value) + b"t"
    if isinstance(value, list):
        return b"](" + _joined(value) + b"e"
    if isinstance(value, Mapping):
        return b"}(" + b"".join(_encoded(key) + _encoded(item) for key, item in value.items()) + b"u"
    if isinstance(value, np.ndarray):
        return _array(value)
    raise UsageError(f"a {type(value).__name__} is no plain data that a pickle of Python 2 could hold here")


def _joined(values: list[Any] | tuple[Any, ...]) -> bytes:
    return b"".join(_encoded(value) for value in values)


def _integer(value: int) -> bytes:
    if not -(1 << 31) <= value < 1 << 31:
        raise UsageError(f"expected an int of 32 bits, found {value}")
    return b"K" + bytes([value]) if 0 <= value < 256 else b"J" + struct.pack("<i", value)


def _text(value: str) -> bytes:
    try:
        raw = value.encode("latin-1")
    except UnicodeEncodeError as error:
        raise UsageError(f"{value!r} does not fit the 8-bit strings of Python 2 ({error.reason})") from error
    return _raw(raw)


def _raw(data: bytes) -> bytes:
    short = len(data) < 256
    return (b"U" + bytes([len(data)]) if short else b"T" + struct.pack("<i", len(data))) + data


def _array(array: np.ndarray[Any, Any]) -> bytes:
    kind, order = array.dtype.str[1:], array.dtype.str[0]
    if array.dtype.hasobject:
        if array.dtype != np.dtype(object):
            raise UsageError(f"expected an array of numbers or of objects, found dtype {array.dtype}")
        kind, flags, data = "O8", 63, _encoded(array.ravel().tolist())
    else:
        flags, data = 0, _raw(array.tobytes())
    # Version 3 of a dtype's state: order, subarray, names, fields, size, alignment, flags.
    dtype = b"cnumpy\ndtype\n" + _encoded((kind, 0, 1)) + b"R"
    dtype += _encoded((3, order, None, None, None, -1, -1, flags)) + b"b"
    return _EMPTY_ARRAY + b"(K\x01" + _encoded(array.shape) + dtype + _ATOMS[False] + data + b"tb"
