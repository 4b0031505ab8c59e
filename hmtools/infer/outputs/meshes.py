"""Triangle meshes as files: binary PLY, OBJ and binary glTF, written by hand: they are a header and arrays.

PLY and OBJ are in the camera frame of all numbers of hmtools (metres, x right, y down, z forward). glTF says
that y is up, so there the same body is turned by half a turn about x: (x, -y, -z), seen from +z.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int

from hmtools.infer.outputs.glb import GlbFile
from hmtools.viz.mesh import vertex_normals

__all__ = ["MESH_FORMATS", "MeshFormat", "glb_mesh", "obj_mesh", "ply_mesh"]


class MeshFormat(Protocol):
    """Makes the bytes of a file of vertices (V, 3), metres, camera frame, and faces (F, 3)."""

    def __call__(self, vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> bytes:
        """The file."""


def ply_mesh(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> bytes:
    """Binary little-endian PLY with float32 vertices."""
    header = (
        *(
            "ply",
            "format binary_little_endian 1.0",
            "comment metres, camera frame: x right, y down, z forward",
        ),
        *(f"element vertex {len(vertices)}", "property float x", "property float y", "property float z"),
        *(f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", ""),
    )
    rows = np.empty(len(faces), np.dtype([("count", "u1"), ("corners", "<i4", 3)]))
    rows["count"], rows["corners"] = 3, faces
    return "\n".join(header).encode() + vertices.astype("<f4").tobytes() + rows.tobytes()


def obj_mesh(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> bytes:
    """Wavefront OBJ; positions to a thousandth of a millimetre."""
    lines = ["# metres, camera frame: x right, y down, z forward"]
    lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices.tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in (np.asarray(faces) + 1).tolist()]
    return ("\n".join(lines) + "\n").encode()


def glb_mesh(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> bytes:
    """Binary glTF 2.0 with smooth normals, y up."""
    file = GlbFile()
    up = np.array([1.0, -1.0, -1.0])
    mesh = file.mesh(vertices * up, vertex_normals(vertices, faces) * up, faces)
    return file.content([{"mesh": mesh, "name": "body"}], [0])


MESH_FORMATS: Mapping[str, MeshFormat] = {"ply": ply_mesh, "obj": obj_mesh, "glb": glb_mesh}
"""Suffix -> what makes such a file."""
