"""Closest points between two stand-in meshes, and the transfer matrices made of them."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import scipy.spatial
from jaxtyping import Float, Int
from numpy.typing import NDArray

from hmtools.bodies.standin.mesh import face_normals, vertex_normals
from hmtools.bodies.standin.person import Person

__all__ = ["closest_on_surface", "transfer_matrix"]

_NEAR_VERTICES = 8
_BLOCK = 2048
_TURNED_AWAY_M = 0.05  # a face that looks the other way belongs to the next finger, lip or leg


def _barycentric(
    points: NDArray[np.float64], corners: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Closest points of triangles: (N, 3) points, (N, 3, 3) corners -> (N, 3) weights, (N,) distances.

    The closest point is either inside the triangle's plane projection or on one of its edges; all four are
    tried and the nearest valid one is kept.
    """
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    best = np.full(len(points), np.inf)
    weights = np.zeros((len(points), 3))
    normal = np.cross(b - a, c - a)
    area2 = np.maximum(np.sum(normal**2, axis=1), 1e-30)
    inside = np.stack(
        [
            np.sum(np.cross(c - b, points - b) * normal, axis=1) / area2,
            np.sum(np.cross(a - c, points - c) * normal, axis=1) / area2,
            np.sum(np.cross(b - a, points - a) * normal, axis=1) / area2,
        ],
        axis=1,
    )
    candidates = [np.where(np.all(inside >= 0, axis=1)[:, None], inside, np.nan)]
    for first, second in ((0, 1), (1, 2), (2, 0)):
        edge = corners[:, second] - corners[:, first]
        along = np.sum((points - corners[:, first]) * edge, axis=1)
        t = np.clip(along / np.maximum(np.sum(edge**2, axis=1), 1e-30), 0.0, 1.0)
        row = np.zeros((len(points), 3))
        row[:, first], row[:, second] = 1.0 - t, t
        candidates.append(row)
    for row in candidates:
        distance = np.linalg.norm(np.einsum("nk,nkd->nd", row, corners) - points, axis=1)
        better = distance < best  # false for the NaN rows
        best[better], weights[better] = distance[better], row[better]
    return weights, best


def closest_on_surface(
    points: Float[np.ndarray, "points 3"],
    vertices: Float[np.ndarray, "vertices 3"],
    faces: Int[np.ndarray, "faces 3"],
    normals: Float[np.ndarray, "points 3"] | None = None,
) -> tuple[Int[np.ndarray, " points"], Float[np.ndarray, "points 3"], Float[np.ndarray, " points"]]:
    """Closest point of a mesh for each of some points, looked for on the faces around the nearest vertices.

    Args:
        points: where to look from, metres.
        vertices: of the mesh, metres; vertices of no face in ``faces`` are passed over.
        faces: of the mesh, or those of its faces that may be hit.
        normals: of the points, if faces that look the other way shall be hit only when nothing else is near.

    Returns:
        Row of ``faces``, barycentric coordinates in it, and distance in metres, for each point.
    """
    used = np.unique(faces)
    corner_order = np.argsort(faces.ravel(), kind="stable")
    start = np.searchsorted(faces.ravel()[corner_order], np.arange(len(vertices) + 1))
    most = int(np.diff(start).max())
    around = np.full((len(vertices), most), -1)
    for k in range(most):
        has = np.diff(start) > k
        around[has, k] = corner_order[start[:-1][has] + k] // 3
    count = min(_NEAR_VERTICES, len(used))
    near = used[scipy.spatial.cKDTree(vertices[used]).query(points, k=np.arange(1, count + 1))[1]]
    outward = None if normals is None else face_normals(vertices, faces)
    found, weights = np.zeros(len(points), dtype=np.int64), np.zeros((len(points), 3))
    distance = np.zeros(len(points))
    for begin in range(0, len(points), _BLOCK):
        block = slice(begin, min(begin + _BLOCK, len(points)))
        options = around[near[block]].reshape(block.stop - begin, -1)
        rows, columns = np.nonzero(options >= 0)
        face = options[rows, columns]
        w, d = _barycentric(points[block][rows], vertices[faces[face]])
        cost = d
        if outward is not None and normals is not None:
            cost = d + _TURNED_AWAY_M * (np.sum(outward[face] * normals[block][rows], axis=1) < 0)
        order = np.lexsort(
            (face, cost, rows)
        )  # by row, then distance, then face: ties do not depend on order
        first = order[np.unique(rows[order], return_index=True)[1]]
        found[block], weights[block], distance[block] = face[first], w[first], d[first]
    return found, weights, distance


def transfer_matrix(source: Person, target: Person) -> sp.csc_matrix:
    """Matrix that makes the target's vertices from the source's, by closest points of the two rest poses.

    Faces that look away from a vertex are not its own, so that neighbouring fingers and lips do not mix.

    Args:
        source: person of the mesh that is known.
        target: person of the mesh that is wanted.

    Returns:
        (V_target, 2 V_source) float64; rows sum to 1 and have at most three entries. The second half, which
        the official tool reserves for offsets along the normals, is zero.
    """
    points = target.vertices - target.joints[1:3].mean(axis=0)
    surface = source.vertices - source.joints[1:3].mean(axis=0)  # the families' files have different origins
    normals = vertex_normals(points, target.faces)
    face, weights, _ = closest_on_surface(points, surface, source.faces, normals)
    rows = np.repeat(np.arange(len(points)), 3)
    shape = (len(points), 2 * len(surface))
    matrix = sp.csc_matrix((weights.ravel(), (rows, source.faces[face].ravel())), shape=shape)
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix
