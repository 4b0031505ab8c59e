"""From a dense half mesh to an exact number of vertices by edge collapses.

Vertex counts are of the **whole** body: a vertex of the half mesh counts twice unless it lies on the seam
(x = 0), where both halves share it. Many edges are collapsed at a time, no two of which have a triangle in
common; the order is that of edge length relative to the size wanted there, so the result is fine where the
size is small. Nothing here is random and ties are broken by index.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from hmtools.bodies.standin.mesh import Half, adjacency, edges_of, face_normals, vertex_normals
from hmtools.bodies.standin.remesh import flip_edges, independent, relax
from hmtools.core.errors import HmtoolsError

__all__ = ["simplify", "whole_count"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]
_MAX_VALENCE = 9
_ROUNDS = 400
_PASSES = 6  # attempts per round to replace collapses that would turn a triangle over
_FEW = 0.05
_SHORTEST = 0.3  # share of the edges that may be collapsed in one round
_TIDY_UNTIL = 60  # vertices over the count at which evening out stops
_TIDY_AFTER = 0.80  # share of vertices left since triangles were last evened out


def whole_count(half: Half, chosen: Bool[np.ndarray, " vertices"] | None = None) -> int:
    """Vertices of the mirrored mesh, or of its part ``chosen`` ((V,) bool)."""
    weight = np.where(half.seam, 1, 2)
    return int(weight.sum() if chosen is None else weight[chosen].sum())


def _hash_rank(cost: Array) -> Indices:
    """A strict order of edges by cost in coarse classes, scattered inside a class.

    A cost that varies smoothly has few local minima; scattering inside a class gives many edges that can be
    collapsed at the same time.
    """
    level = np.floor(np.log2(np.maximum(cost, 1e-9)) * 3).astype(np.int64)
    scatter = (np.arange(len(cost), dtype=np.int64) * 2654435761) % 4294967296
    rank = np.empty(len(cost), dtype=np.int64)
    rank[np.argsort((level - level.min()) * 4294967296 + scatter, kind="stable")] = np.arange(len(cost))
    return rank


def _collapsible(half: Half, edges: Indices, uses: Indices) -> Flags:
    """Edges whose collapse keeps a manifold with well-shaped fans, by the link condition."""
    count = len(half.vertices)
    matrix = adjacency(edges, count)
    first, second = edges[:, 0], edges[:, 1]
    both = matrix[first].multiply(matrix[second]).tocsr()
    shared = np.diff(both.indptr)
    valence = np.diff(matrix.indptr)
    seam = half.seam
    fine = (shared == uses) & ~(seam[first] & seam[second] & (uses == 2))
    fine &= valence[first] + valence[second] - 2 - uses <= _MAX_VALENCE
    # The vertices opposite the edge lose one neighbour each.
    poor = valence <= np.where(seam, 3, 4)
    keys = first * count + second
    for k in range(3):
        corner = poor[half.faces[:, k]]
        a, b = half.faces[corner, (k + 1) % 3], half.faces[corner, (k + 2) % 3]
        fine[np.searchsorted(keys, np.minimum(a, b) * count + np.maximum(a, b))] = False
    collapsible: Flags = fine
    return collapsible


def _whole(faces: Indices) -> Flags:
    """Faces with three different corners."""
    a, b, c = faces.T
    whole: Flags = (a != b) & (b != c) & (c != a)
    return whole


def _merged(half: Half, pairs: Indices) -> tuple[Array, Indices]:
    """Vertices after each pair moved to one place, and (V,) the vertex each becomes: the pair's first."""
    first, second = pairs[:, 0], pairs[:, 1]
    # Rounded, as every step from here on: the last bits differ between processors, decisions must not.
    middle = np.round((half.vertices[first] + half.vertices[second]) / 2, 9)
    anchored = half.seam[first] & ~half.seam[second]
    middle[anchored] = half.vertices[first[anchored]]
    vertices = half.vertices.copy()
    vertices[first] = middle
    vertices[second] = middle
    target = np.arange(len(vertices))
    target[second] = first
    return vertices, target


def _facing(vertices: Array, faces: Indices, smooth: Array) -> Array:
    """Cosine between each triangle and the smooth normals of its corners, (F,)."""
    normal = face_normals(vertices, faces)
    wanted = smooth[faces[:, 0]] + smooth[faces[:, 1]] + smooth[faces[:, 2]]
    along = np.einsum("ij,ij->i", normal, wanted)
    size = np.einsum("ij,ij->i", normal, normal) * np.einsum("ij,ij->i", wanted, wanted)
    facing: Array = along / np.sqrt(np.maximum(size, 1e-36))
    return facing


def _turned(half: Half, smooth: Array, pairs: Indices, limit: float) -> Flags:
    """Which merges make a triangle face away from the surface, or nearly, (N,)."""
    vertices, target = _merged(half, pairs)
    touched = np.zeros(len(vertices), dtype=bool)
    touched[pairs] = True
    moved = target[half.faces]
    a, b, c = half.faces.T
    faces = half.faces[(touched[a] | touched[b] | touched[c]) & _whole(moved)]
    after = _facing(vertices, faces, smooth)
    bad = (after < limit) & (after <= _facing(half.vertices, faces, smooth))
    found = np.zeros(len(vertices), dtype=bool)
    found[faces[bad]] = True
    return found[pairs[:, 0]] | found[pairs[:, 1]]


def _within_budget(chosen: Indices, cost: Array, worth: Indices, owner: Indices, budget: Indices) -> Indices:
    """The cheapest of the chosen edges, region by region, that are worth no more than the region's budget."""
    order = chosen[np.argsort(cost[chosen], kind="stable")]
    parts = [(order[owner[order] == k], left) for k, left in enumerate(budget)]
    return np.sort(np.concatenate([part[np.cumsum(worth[part]) <= left] for part, left in parts]))


def _choose(half: Half, cost: Array, allowed: Flags, edges: Indices, limit: float) -> Indices:
    """Allowed edges that can be collapsed at the same time, cheap ones first."""
    usable = allowed.copy()
    rank = _hash_rank(cost)
    smooth = vertex_normals(half.vertices, half.faces)
    for _ in range(_PASSES):
        now = np.flatnonzero(usable)
        chosen = now[independent(edges[now], half.faces, rank[now], len(half.vertices))]
        bad = _turned(half, smooth, edges[chosen], limit)
        # An edge that may not be collapsed must not stand in its neighbours' way.
        usable[chosen[bad]] = False
        chosen = chosen[~bad]
        if not bad.any() or bad.mean() < _FEW:
            break
    kept: Indices = chosen
    return kept


def simplify(half: Half, size: Callable[[Array], Array], region: Callable[[Array], Indices],
             counts: tuple[int, ...], flatness: float = 0.3) -> Half:  # fmt: skip
    """Collapse edges until every region has exactly its number of vertices.

    Args:
        half: dense half mesh with a single boundary, the seam.
        size: wanted edge length in metres at (N, 3) points; only ratios matter.
        region: number of the region, from 0, that (N, 3) points lie in.
        counts: vertices of the whole body in each region.
        flatness: cosine below which a triangle may not turn in one collapse; loosened if nothing is left.

    Raises:
        HmtoolsError: no collapse is left before the counts are reached.
    """
    excess = np.array(counts)
    label = region(half.vertices)
    tidy = len(half.vertices)
    for _ in range(_ROUNDS):
        excess = np.array([whole_count(half, label == k) - want for k, want in enumerate(counts)])
        if not excess.any() or flatness < -0.5:
            break
        if len(label) < _TIDY_AFTER * tidy and excess.max() > _TIDY_UNTIL:
            half = relax(flip_edges(half, rounds=3), size)
            tidy = len(label)
        smaller, label = _simplify_round(half, size(half.vertices), label, excess, flatness)
        if len(smaller.vertices) == len(half.vertices):
            flatness -= 0.1
        half = smaller
    if excess.any():
        raise HmtoolsError(
            f"the stand-in mesh cannot be simplified to {counts} vertices; still to go: {excess}"
        )
    return half


def _simplify_round(half: Half, wanted: Array, label: Indices, excess: Indices, flatness: float
                    ) -> tuple[Half, Indices]:  # fmt: skip
    """One set of collapses, worth at most the excess of each region in vertices of the body.

    ``wanted`` and ``label`` are size and region of each vertex; the labels of those left come back too.
    """
    edges, uses = edges_of(half.faces)
    fine = _collapsible(half, edges, uses)
    # The first of a pair stays. On the seam it must be the vertex that the other half shares.
    swap = half.seam[edges[:, 1]] & ~half.seam[edges[:, 0]]
    edges[swap] = edges[swap][:, ::-1]
    first, second = edges[:, 0], edges[:, 1]
    span = half.vertices[first] - half.vertices[second]
    length = np.sqrt(np.einsum("ij,ij->i", span, span))
    cost = np.round(2 * length / (wanted[first] + wanted[second]), 7)
    worth = np.where(half.seam[second], 1, 2)
    fine &= excess[label[second]] >= worth
    if not fine.any():
        return half, label
    # A local minimum may be long already: where the mesh is coarse, the others have to catch up first.
    for k in range(len(excess)):
        mine = fine & (label[second] == k)
        if mine.any():
            fine &= ~mine | (cost <= np.quantile(cost[mine], _SHORTEST))
    chosen = _choose(half, cost, fine, edges, flatness)
    chosen = _within_budget(chosen, cost, worth, label[second], excess)
    vertices, target = _merged(half, edges[chosen])
    faces = target[half.faces]
    keep = target == np.arange(len(target))
    return Half(vertices[keep], (np.cumsum(keep) - 1)[faces[_whole(faces)]]), label[keep]
