"""PLY files of any layout, written from the format's description and not from its reader."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

__all__ = ["FORMATS", "Element", "ply_bytes"]

FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_CODES = {
    **{"char": "b", "int8": "b", "uchar": "B", "uint8": "B", "short": "h", "int16": "h", "ushort": "H"},
    **{"uint16": "H", "int": "i", "int32": "i", "uint": "I", "uint32": "I", "float": "f", "float32": "f"},
    **{"double": "d", "float64": "d"},
}

Element = tuple[str, Sequence[str], Sequence[Sequence[Any]]]
"""Name, properties as their header lines say (``float x``, ``list uchar int vertex_indices``), rows."""


def ply_bytes(elements: Sequence[Element], kind: str = "ascii", newline: str = "\n") -> bytes:
    """The file; a cell of a list property is a sequence."""
    head = ["ply", f"format {kind} 1.0", "comment made by hand"]
    body = b""
    for name, properties, rows in elements:
        head += [f"element {name} {len(rows)}", *(f"property {line}" for line in properties)]
        body += b"".join(_row(properties, row, kind, newline) for row in rows)
    return newline.join([*head, "end_header", ""]).encode() + body


def _row(properties: Sequence[str], row: Sequence[Any], kind: str, newline: str) -> bytes:
    words: list[str] = []
    data = b""
    for line, cell in zip(properties, row, strict=True):
        *types, _ = line.split()
        values = list(cell) if types[0] == "list" else [cell]
        counted = [len(values), *values] if types[0] == "list" else values
        codes = [types[1], *[types[2]] * len(values)] if types[0] == "list" else types
        words += [repr(value) for value in counted]
        if kind != "ascii":
            packed = zip(codes, counted, strict=True)
            data += b"".join(struct.pack(FORMATS[kind] + _CODES[code], value) for code, value in packed)
    return data if kind != "ascii" else (" ".join(words) + newline).encode()
