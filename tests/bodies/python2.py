"""Pickles as Python 2 with chumpy and an old SciPy wrote them, made opcode by opcode without any of these."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Old", "python2_pickle"]


@dataclass(frozen=True)
class Old:
    """An instance of an old class: ``chumpy.ch.Ch``, ``scipy.sparse.csc.csc_matrix``, ..."""

    module: str
    name: str
    state: Mapping[str, Any]


def python2_pickle(value: Any, *, by_reconstructor: bool = False) -> bytes:
    """Protocol 2; instances by NEWOBJ, or by ``copy_reg._reconstructor`` as protocols 0 and 1 do."""
    return b"\x80\x02" + _encoded(value, by_reconstructor) + b"."


def _encoded(value: Any, old: bool) -> bytes:
    if value is None:
        return b"N"
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, str):
        raw = value.encode("latin-1")
        return b"T" + struct.pack("<i", len(raw)) + raw
    if isinstance(value, tuple):
        return b"(" + b"".join(_encoded(item, old) for item in value) + b"t"
    if isinstance(value, Mapping):
        pairs = (_encoded(key, old) + _encoded(item, old) for key, item in value.items())
        return b"}(" + b"".join(pairs) + b"u"
    if isinstance(value, Old):
        cls = f"c{value.module}\n{value.name}\n".encode()
        made = b"ccopy_reg\n_reconstructor\n(" + cls + b"c__builtin__\nobject\nNtR" if old else cls + b")\x81"
        return made + _encoded(value.state, old) + b"b"
    array = np.ascontiguousarray(value)
    kind, order = array.dtype.str[1:], array.dtype.str[0]
    dtype = b"cnumpy\ndtype\n" + _encoded((kind, 0, 1), old) + b"R"
    dtype += _encoded((3, order, None, None, None, -1, -1, 0), old) + b"b"
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + _encoded((0,), old) + b"U\x01btR"
    raw = array.tobytes()
    data = b"T" + struct.pack("<i", len(raw)) + raw
    shape = _encoded(array.shape, old)
    return empty + b"(K\x01" + shape + dtype + b"\x89" + data + b"tb"
