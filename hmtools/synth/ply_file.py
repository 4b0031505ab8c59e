"""PLY meshes as scanners and registration tools write them: vertices x, y, z in float32, then triangles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from hmtools.core.atomic import write_bytes
from hmtools.core.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PLY_FORMATS", "PlyFormat", "write_ply"]

PlyFormat = Literal["ascii", "binary_little_endian", "binary_big_endian"]
PLY_FORMATS: tuple[PlyFormat, ...] = get_args(PlyFormat)
"""Encodings of the body of a PLY file, by the word in its header."""

_BYTE_ORDER: Mapping[str, str] = {"binary_little_endian": "<", "binary_big_endian": ">"}


def write_ply(
    path: Path,
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    form: PlyFormat = "binary_little_endian",
) -> None:
    """Write a triangle mesh; a reader gets the same float32 numbers from every format.

    Args:
        path: file to write.
        vertices: (V, 3) in any unit and frame; stored as float32, in this order.
        faces: (F, 3) vertex indices.
        form: encoding of the body.

    Raises:
        UsageError: for an unknown format, or faces of vertices that do not exist.
    """
    if form not in PLY_FORMATS:
        raise UsageError(f"PLY format: expected one of {', '.join(PLY_FORMATS)}, found {form!r}")
    if len(faces) and not 0 <= faces.min() <= faces.max() < len(vertices):
        raise UsageError(
            f"{path.name}: expected faces of {len(vertices)} vertices, found indices {faces.min()} to "
            f"{faces.max()}"
        )
    points = np.asarray(vertices, np.float32)
    header = (
        *("ply", f"format {form} 1.0", "comment synthetic"),
        *(f"element vertex {len(points)}", "property float x", "property float y", "property float z"),
        *(f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header"),
    )
    body = _ascii(points, faces) if form == "ascii" else _binary(points, faces, _BYTE_ORDER[form])
    write_bytes(path, ("\n".join(header) + "\n").encode() + body)


def _ascii(points: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> bytes:
    # Nine digits tell any two float32 numbers apart.
    rows = [f"{x:.9g} {y:.9g} {z:.9g}" for x, y, z in points.tolist()]
    rows += [f"3 {a} {b} {c}" for a, b, c in faces.tolist()]
    return ("\n".join(rows) + "\n").encode()


def _binary(points: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], order: str) -> bytes:
    table = np.empty(len(faces), np.dtype([("count", "u1"), ("corners", f"{order}i4", 3)]))
    table["count"], table["corners"] = 3, faces
    return points.astype(f"{order}f4").tobytes() + table.tobytes()
