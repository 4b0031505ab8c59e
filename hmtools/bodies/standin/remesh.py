"""Better triangles at an unchanged number of vertices: edge flips and even spacing along the surface."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from hmtools.bodies.standin.mesh import Half, adjacency, edges_of, vertex_normals

__all__ = ["flip_edges", "independent", "relax"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]
_MAX_VALENCE = 9


def independent(
    edges: Int[np.ndarray, "edges 2"],
    faces: Int[np.ndarray, "faces 3"],
    rank: Int[np.ndarray, " edges"],
    count: int,
) -> Int[np.ndarray, " n"]:
    """Edges of which no two touch a common triangle: those that are first in their surroundings.

    Args:
        edges: (E, 2) vertex indices.
        faces: (F, 3) triangles of the mesh.
        rank: (E,) distinct, first come first.
        count: number of vertices.

    Returns:
        (N,) indices into ``edges``.
    """
    last = np.iinfo(np.int64).max
    first = np.full(count, last)
    np.minimum.at(first, edges[:, 0], rank)
    np.minimum.at(first, edges[:, 1], rank)
    a, b, c = (first[faces[:, k]] for k in range(3))
    around = np.minimum(np.minimum(a, b), c)
    lowest = np.full(count, last)
    for corner in range(3):
        np.minimum.at(lowest, faces[:, corner], around)
    return np.flatnonzero((lowest[edges[:, 0]] == rank) & (lowest[edges[:, 1]] == rank))


def _opposite(faces: Indices, edges: Indices, count: int) -> Indices:
    """(E, 2) the third vertices of the two faces at each edge, first the one whose face runs along it."""
    keys = edges[:, 0] * count + edges[:, 1]
    found = np.full((len(edges), 2), -1)
    for k in range(3):
        a, b, c = faces[:, k], faces[:, (k + 1) % 3], faces[:, (k + 2) % 3]
        forward = a < b
        where = np.searchsorted(keys, np.where(forward, a * count + b, b * count + a))
        found[where, np.where(forward, 0, 1)] = c
    return found


def _angle(apex: Array, first: Array, second: Array) -> Array:
    a, b = first - apex, second - apex
    cosine = (a * b).sum(1) / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-15)
    angle: Array = np.arccos(np.clip(cosine, -1, 1))
    return angle


def _flip_candidates(half: Half, edges: Indices, far: Indices) -> tuple[Flags, Array]:
    """Inner edges that fail Delaunay's test and may be flipped, and by how much (radians) they fail."""
    v = half.vertices
    inner = (far >= 0).all(1)
    a, b, c, d = (v[index] for index in (edges[:, 0], edges[:, 1], far[:, 0], far[:, 1]))
    excess = np.round(_angle(c, a, b) + _angle(d, a, b) - np.pi, 7)
    old_1, old_2 = np.cross(b - a, c - a), np.cross(a - b, d - b)
    new_1, new_2 = np.cross(d - c, b - c), np.cross(c - d, a - d)
    mean = old_1 + old_2
    size = np.linalg.norm(mean, axis=1)
    convex = ((new_1 * mean).sum(1) > 0.1 * size * np.linalg.norm(new_1, axis=1)) & (
        (new_2 * mean).sum(1) > 0.1 * size * np.linalg.norm(new_2, axis=1)
    )
    bend = (old_1 * old_2).sum(1) / np.maximum(
        np.linalg.norm(old_1, axis=1) * np.linalg.norm(old_2, axis=1), 1e-18
    )
    matrix = adjacency(edges, len(v))
    valence = np.diff(matrix.indptr) + half.seam
    taken = np.zeros(len(edges), dtype=bool)
    taken[inner] = np.asarray(matrix[far[inner, 0], far[inner, 1]]).ravel() > 0
    rich = (valence[edges] > 4).all(1) & (valence[far] < _MAX_VALENCE).all(1)
    return inner & ~taken & rich & convex & (excess > 0.02) & (bend > 0.5), excess


def flip_edges(half: Half, rounds: int = 12) -> Half:
    """Flip edges towards a Delaunay triangulation where the surface is nearly flat; counts stay the same."""
    count = len(half.vertices)
    for _ in range(rounds):
        edges, _ = edges_of(half.faces)
        far = _opposite(half.faces, edges, count)
        wanted, excess = _flip_candidates(half, edges, far)
        usable = np.flatnonzero(wanted)
        if not len(usable):
            break
        rank = np.empty(len(usable), dtype=np.int64)
        rank[np.argsort(-excess[usable], kind="stable")] = np.arange(len(usable))
        chosen = usable[independent(edges[usable], half.faces, rank, count)]
        half = Half(half.vertices, _flipped(half.faces, edges[chosen], far[chosen], count))
    return half


def _flipped(faces: Indices, edges: Indices, far: Indices, count: int) -> Indices:
    marks = edges[:, 0] * count + edges[:, 1]
    gone = np.zeros(len(faces), dtype=bool)
    for k in range(3):
        one, two = faces[:, k], faces[:, (k + 1) % 3]
        gone |= np.isin(np.minimum(one, two) * count + np.maximum(one, two), marks)
    a, b, c, d = edges[:, 0], edges[:, 1], far[:, 0], far[:, 1]
    fresh = np.concatenate([np.stack([c, d, b], 1), np.stack([d, c, a], 1)])
    return np.concatenate([faces[~gone], fresh])


def relax(half: Half, size: Callable[[Array], Array], strength: float = 0.5) -> Half:
    """Move vertices along the surface towards the middle of their neighbours, finer neighbours weighing more.

    Seam vertices move along the seam only. The caller projects the result back onto the surface.
    """
    v = half.vertices
    edges, uses = edges_of(half.faces)
    seam = half.seam
    matrix = adjacency(edges, len(v)).astype(np.float64)
    along = adjacency(edges[uses == 1], len(v)).astype(np.float64)
    matrix = (matrix - matrix.multiply(seam[:, None].astype(float)) + along).tocsr()
    weighted = matrix.multiply(1.0 / size(v)[None, :] ** 2).tocsr()
    middle = weighted @ v / np.asarray(weighted.sum(1))
    normals = vertex_normals(v, half.faces)
    normals[seam, 0] = 0
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    move = middle - v
    move -= normals * (move * normals).sum(1, keepdims=True)
    move[seam, 0] = 0
    moved = v + strength * move
    moved[~seam, 0] = np.maximum(moved[~seam, 0], 1e-4)
    return Half(np.round(moved, 9), half.faces)
