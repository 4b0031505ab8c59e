"""Triangle meshes as plain arrays: topology, measures, mirror image. Faces are (F, 3) int64, outward."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from scipy import sparse

__all__ = [
    "Half",
    "adjacency",
    "boundary_vertices",
    "edges_of",
    "euler_characteristic",
    "face_normals",
    "mirror",
    "non_manifold_edges",
    "vertex_normals",
    "volume",
]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Half:
    """A half mesh: (V, 3) vertices in metres with x >= 0, seam at x = 0, and (F, 3) faces."""

    vertices: Array
    faces: Indices

    @property
    def seam(self) -> Bool[np.ndarray, " vertices"]:
        """(V,) whether a vertex lies on the plane of symmetry."""
        flags: NDArray[np.bool_] = self.vertices[:, 0] == 0
        return flags


def _half_edges(faces: Indices) -> Indices:
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def edges_of(
    faces: Int[np.ndarray, "faces 3"],
) -> tuple[Int[np.ndarray, "edges 2"], Int[np.ndarray, " edges"]]:
    """Undirected edges.

    Args:
        faces: (F, 3) vertex indices.

    Returns:
        (E, 2) edges, smaller index first, in rising order, and (E,) the number of faces at each.
    """
    directed = _half_edges(faces)
    one, two = directed[:, 0], directed[:, 1]
    base = int(directed.max()) + 1
    keys, counts = np.unique(np.minimum(one, two) * base + np.maximum(one, two), return_counts=True)
    return np.stack([keys // base, keys % base], axis=1), counts


def boundary_vertices(faces: Int[np.ndarray, "faces 3"], count: int) -> Bool[np.ndarray, " vertices"]:
    """Which of ``count`` vertices lie on an edge of a single face, (V,) bool."""
    edges, uses = edges_of(faces)
    found = np.zeros(count, dtype=bool)
    found[edges[uses == 1]] = True
    return found


def non_manifold_edges(faces: Int[np.ndarray, "faces 3"]) -> Int[np.ndarray, "bad 2"]:
    """Edges not shared by exactly two faces of equal orientation, (N, 2); none in a closed mesh."""
    directed = _half_edges(faces)
    base = int(directed.max()) + 1
    forward = directed[:, 0] * base + directed[:, 1]
    backward = directed[:, 1] * base + directed[:, 0]
    keys, counts = np.unique(forward, return_counts=True)
    bad = np.concatenate([keys[counts > 1], np.setdiff1d(forward, backward)])
    return np.stack([bad // base, bad % base], axis=1)


def euler_characteristic(faces: Int[np.ndarray, "faces 3"]) -> int:
    """V - E + F of the vertices that faces use: 2 for a sphere, 1 for a disc."""
    return len(np.unique(faces)) - len(edges_of(faces)[0]) + len(faces)


def face_normals(
    vertices: Float[np.ndarray, "vertices 3"], faces: Int[np.ndarray, "faces 3"]
) -> Float[np.ndarray, "faces 3"]:
    """Normals of length twice the area, (F, 3), for (V, 3) vertices in metres."""
    a, b, c = (vertices[faces[:, k]].T for k in range(3))
    (ux, uy, uz), (vx, vy, vz) = b - a, c - a
    return np.stack([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx], axis=1)


def vertex_normals(
    vertices: Float[np.ndarray, "vertices 3"], faces: Int[np.ndarray, "faces 3"]
) -> Float[np.ndarray, "vertices 3"]:
    """Unit normals, area-weighted, (V, 3)."""
    normals = np.zeros_like(vertices)
    flat = face_normals(vertices, faces)
    for corner in range(3):
        for axis in range(3):
            normals[:, axis] += np.bincount(faces[:, corner], flat[:, axis], len(vertices))
    unit: Array = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return unit


def volume(vertices: Float[np.ndarray, "vertices 3"], faces: Int[np.ndarray, "faces 3"]) -> float:
    """Enclosed volume of a closed, outward mesh, cubic metres."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return float((a * np.cross(b, c)).sum() / 6.0)


def adjacency(edges: Int[np.ndarray, "edges 2"], count: int) -> sparse.csr_matrix:
    """Symmetric (V, V) matrix with 1 where two vertices share one of the (E, 2) edges."""
    rows = np.concatenate([edges[:, 0], edges[:, 1]])
    columns = np.concatenate([edges[:, 1], edges[:, 0]])
    return sparse.csr_matrix((np.ones(len(rows), dtype=np.int32), (rows, columns)), shape=(count, count))


def mirror(
    vertices: Float[np.ndarray, "half 3"], faces: Int[np.ndarray, "half_faces 3"]
) -> tuple[Float[np.ndarray, "whole 3"], Int[np.ndarray, "whole_faces 3"], Int[np.ndarray, " whole"]]:
    """A half mesh with its mirror image in x; vertices with x = 0 are shared.

    Args:
        vertices: (V, 3) metres, x >= 0; those with x = 0 exactly are the seam.
        faces: (F, 3).

    Returns:
        Vertices (the given ones, then the new ones), faces (the same), and per vertex the index of its image.
    """
    seam = vertices[:, 0] == 0
    count = len(vertices)
    image = np.arange(count)
    image[~seam] = count + np.arange(int((~seam).sum()))
    both = np.concatenate([vertices, vertices[~seam] * [-1.0, 1.0, 1.0]])
    partner = np.concatenate([image, np.flatnonzero(~seam)])
    return both, np.concatenate([faces, image[faces][:, ::-1]]), partner
