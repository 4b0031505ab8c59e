"""PLY meshes, read strictly: every vertex in the order of the file, or an error that says what is damaged.

Mesh libraries merge equal vertices and drop unused ones on loading, which breaks every mesh whose vertices
have a number (SMPL-X). Nothing is repaired here: a file that ends early, goes on after its last row or names
a vertex that it does not have is refused.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from hmtools.core.errors import CountedError

__all__ = ["MAX_BYTES", "MAX_ROWS", "PlyError", "PlyMesh", "parse_ply", "read_ply"]

MAX_BYTES = 64_000_000
"""Largest file that is read; the mesh of a body has half a megabyte (binary) or one (text)."""
MAX_ROWS = 5_000_000
"""Most vertices, faces or rows of any other kind."""

_MAX_HEADER = 1 << 16
_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_STRUCT = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I"}  # of the counts of lists
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_INDICES = ("vertex_indices", "vertex_index")
_NUMERIC = b"0123456789+-.eE \t\r\n"


class PlyError(CountedError):
    """A PLY file that cannot be used; ``reason`` is the word it is counted under.

    Reasons: ``mesh_empty``, ``mesh_truncated``, ``mesh_unreadable``, ``mesh_too_large``.
    """


@dataclass(frozen=True, slots=True, eq=False)
class PlyMesh:
    """What a file holds.

    Attributes:
        vertices: (V, 3) float64 in the file's order, unit and frame; both float types are held exactly.
        faces: (F, 3) vertex indices; None when the file has no faces, or others than triangles.
    """

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"] | None


@dataclass(frozen=True, slots=True)
class _Property:
    """A number, or a list of them when ``count`` is the type of its length."""

    name: str
    kind: str
    count: str = ""


@dataclass(frozen=True, slots=True)
class _Element:
    name: str
    rows: int
    properties: list[_Property]

    @property
    def lists(self) -> bool:
        return any(p.count for p in self.properties)


def read_ply(path: Path) -> PlyMesh:
    """Read one mesh.

    Raises:
        OSError: if the file cannot be opened.
        PlyError: if it is damaged, too large or no PLY file, with its name and what is wrong.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    try:
        return parse_ply(data)
    except PlyError as error:
        raise PlyError(error.reason, f"{path.name}: {error.detail}") from error


def parse_ply(data: bytes) -> PlyMesh:
    """The mesh in the bytes of a PLY file.

    Raises:
        PlyError: as :func:`read_ply`.
    """
    if not data:
        raise PlyError("mesh_empty", "the file has no bytes")
    if len(data) > MAX_BYTES:
        raise PlyError("mesh_too_large", f"more than {MAX_BYTES} bytes")
    order, elements, start = _header(data)
    columns = _text(elements, data[start:]) if not order else _binary(elements, data, start, order)
    vertex = next((element for element in elements if element.name == "vertex"), None)
    kinds = {p.name: p.kind for p in vertex.properties} if vertex is not None else {}
    if vertex is None or vertex.lists or not all(kinds.get(axis, "")[:1] == "f" for axis in "xyz"):
        raise _unreadable("expected an element vertex with float properties x, y, z and without lists")
    if not vertex.rows:
        raise PlyError("mesh_empty", "the header says 0 vertices")
    points = np.stack([columns["vertex"][axis] for axis in "xyz"], axis=1).astype(np.float64)
    return PlyMesh(points, _faces(elements, columns, len(points)))


def _faces(elements: list[_Element], columns: dict[str, Any], count: int) -> Any:
    face = next((element for element in elements if element.name == "face"), None)
    if face is None:
        return None
    indices = next((p for p in face.properties if p.name in _INDICES), None)
    if indices is None or not indices.count or indices.kind[0] == "f":
        raise _unreadable("faces have no list of vertex indices")
    found = columns["face"].get(indices.name)
    if found is None or found.shape[1:] != (3,):
        return None
    if len(found) and (found.min() < 0 or found.max() >= count):
        raise _unreadable(f"a face names a vertex outside 0 to {count - 1}")
    return found.astype(np.int64)


def _unreadable(detail: str) -> PlyError:
    return PlyError("mesh_unreadable", detail)


def _header(data: bytes) -> tuple[str, list[_Element], int]:
    """Byte order ('' for text), elements, and where the rows begin."""
    if not re.match(rb"ply\r?\n", data):
        raise _unreadable("does not begin with the line `ply`")
    end = re.search(rb"\nend_header[ \t]*\r?\n", data[:_MAX_HEADER])
    if end is None:
        raise PlyError("mesh_truncated", f"no end_header in the first {min(len(data), _MAX_HEADER)} bytes")
    order, elements = None, list[_Element]()
    for line in data[: end.start()].decode("latin-1").split("\n")[1:]:
        match line.split():
            case ["comment" | "obj_info", *_]:
                continue
            case ["format", kind, "1.0"] if kind in _ORDERS and order is None:
                order = _ORDERS[kind]
            case ["element", name, rows] if order is not None and name not in {e.name for e in elements}:
                elements.append(_Element(name, _rows(rows), []))
            case ["property", *words] if elements:
                _add_property(elements[-1], words)
            case _:
                raise _unreadable(f"header line {line.strip()[:60]!r} makes no sense there")
    if order is None:
        raise _unreadable("the header names no format")
    for element in elements:
        if not element.properties:
            raise _unreadable(f"element {element.name} has no properties")
    return order, elements, end.end()


def _rows(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise _unreadable(f"{text[:20]!r} is no number of rows")
    if int(text) > MAX_ROWS:
        raise PlyError("mesh_too_large", f"{text} rows, at most {MAX_ROWS} are read")
    return int(text)


def _add_property(element: _Element, words: list[str]) -> None:
    match words:
        case ["list", count, kind, name] if count in _TYPES and kind in _TYPES and _TYPES[count] in _STRUCT:
            found = _Property(name, _TYPES[kind], _TYPES[count])
        case [kind, name] if kind in _TYPES:
            found = _Property(name, _TYPES[kind])
        case _:
            raise _unreadable(f"property {' '.join(words)[:60]!r} of {element.name} is of no known type")
    if any(p.name == found.name for p in element.properties):
        raise _unreadable(f"property {found.name} of {element.name} occurs twice")
    element.properties.append(found)


def _truncated(element: _Element, found: int) -> PlyError:
    return PlyError("mesh_truncated", f"the header says {element.rows} rows of {element.name}, found {found}")


def _binary(elements: list[_Element], data: bytes, start: int, order: str) -> dict[str, dict[str, Any]]:
    columns = {}
    for element in elements:
        columns[element.name], start = _binary_rows(element, data, start, order)
    if start != len(data):
        raise _unreadable(f"{len(data) - start} bytes follow the last row")
    return columns


def _binary_rows(element: _Element, data: bytes, start: int, order: str) -> tuple[dict[str, Any], int]:
    """Columns of an element and where the next begins; lists of differing lengths are left out."""
    if not element.rows:
        return {p.name: np.zeros((0, 3) if p.count else 0, p.kind) for p in element.properties}, start
    lengths, _ = _one_row(element, data, start, order, 0)
    # As if the lists of every row had the lengths of the first: true of triangles.
    cells: list[tuple[Any, ...]] = []
    for number, (prop, length) in enumerate(zip(element.properties, lengths, strict=True)):
        if prop.count:
            cells.append((f"n{number}", order + prop.count))
        cells.append((f"v{number}", order + prop.kind, *([(length,)] if prop.count else [])))
    dtype = np.dtype(cells)
    end = start + element.rows * dtype.itemsize
    if end <= len(data):
        rows = np.frombuffer(data, dtype, element.rows, start)
        listed = [(i, n) for i, n in enumerate(lengths) if element.properties[i].count]
        if all((rows[f"n{i}"] == n).all() for i, n in listed):
            return {p.name: rows[f"v{i}"] for i, p in enumerate(element.properties)}, end
    if not element.lists:
        raise _truncated(element, (len(data) - start) // dtype.itemsize)
    for row in range(element.rows):
        _, start = _one_row(element, data, start, order, row)
    return {}, start


def _one_row(element: _Element, data: bytes, start: int, order: str, row: int) -> tuple[list[int], int]:
    """Length of each property in one row (1 for a number), and where the next row begins."""
    lengths = []
    for prop in element.properties:
        length = 1
        if prop.count:
            code = order + _STRUCT[prop.count]
            if start + struct.calcsize(code) > len(data):
                raise _truncated(element, row)
            (length,) = struct.unpack_from(code, data, start)
            start += struct.calcsize(code)
            if length < 0:
                raise _unreadable(f"row {row} of {element.name} has a list of {length}")
        start += length * int(prop.kind[1])
        lengths.append(length)
    if start > len(data):
        raise _truncated(element, row)
    return lengths, start


def _text(elements: list[_Element], body: bytes) -> dict[str, dict[str, Any]]:
    if strange := body.translate(None, _NUMERIC):
        raise _unreadable(f"{strange[:20]!r} among the numbers")
    lines = body.rstrip().split(b"\n") if body.strip() else []
    columns, at = {}, 0
    for element in elements:
        rows = [line.split() for line in lines[at : at + element.rows]]
        if len(rows) < element.rows:
            raise _truncated(element, len(rows))
        try:
            columns[element.name] = _text_columns(element, rows)
        except (ValueError, OverflowError) as error:
            raise _unreadable(f"{element.name}: {error}") from error
        at += element.rows
    if at != len(lines):
        raise _unreadable(f"{len(lines) - at} lines follow the last row")
    return columns


def _text_columns(element: _Element, rows: list[list[bytes]]) -> dict[str, Any]:
    cells: list[list[Any]] = [[] for _ in element.properties]
    for number, row in enumerate(rows):
        at = 0
        for prop, column in zip(element.properties, cells, strict=True):
            length = 1
            if prop.count:
                length = int(row[at]) if at < len(row) else -1
                at += 1
            if length < 0 or at + length > len(row):
                raise ValueError(f"row {number} is too short or has a negative list")
            values = row[at : at + length]
            at += length
            numbers = [float(v) for v in values] if prop.kind[0] == "f" else [int(v) for v in values]
            column.append(numbers if prop.count else numbers[0])
        if at != len(row):
            raise ValueError(f"row {number} has {len(row) - at} numbers too many")
    kinds = [np.float64 if p.kind[0] == "f" else np.int64 for p in element.properties]
    return {
        prop.name: np.array(column, kind) if column else np.zeros((0, 3) if prop.count else 0)
        for prop, column, kind in zip(element.properties, cells, kinds, strict=True)
        if not prop.count or len({len(cell) for cell in column}) <= 1
    }
