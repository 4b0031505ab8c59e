"""Dense surface of the left half of the stand-in: its distance field sampled on a grid, cut into triangles.

The grid's planes are not equally spaced: close together where hands, face and feet need it. Cells that the
surface crosses are cut into six tetrahedra each; triangles of tetrahedra always fit together, so the result
is a manifold without special cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, permutations

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from hmtools.bodies.standin.body_shape import body_steps
from hmtools.bodies.standin.face_shape import head_steps
from hmtools.bodies.standin.field import Step, evaluate
from hmtools.bodies.standin.hand_shape import hand_steps

__all__ = ["FLOOR", "GRID", "extract", "person_steps"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

FLOOR = 0.0
"""Height of the soles, metres, floor frame."""

# Per axis: (from, to, step) in metres, floor frame. Steps shrink where fingers, lips or toes are.
_Span = tuple[float, float, float]
GRID: tuple[tuple[_Span, ...], ...] = (
    ((0.0, 0.060, 0.0035), (0.060, 0.180, 0.005), (0.180, 0.700, 0.013), (0.700, 0.912, 0.004)),
    (
        *((-0.012, 0.060, 0.0045), (0.060, 1.335, 0.013), (1.335, 1.420, 0.004), (1.420, 1.474, 0.008)),
        *((1.474, 1.5165, 0.004), (1.5165, 1.5305, 0.0014), (1.5305, 1.620, 0.0035), (1.620, 1.712, 0.006)),
    ),
    ((-0.150, -0.075, 0.006), (-0.075, 0.070, 0.0042), (0.070, 0.120, 0.0035), (0.120, 0.190, 0.005)),
)
"""Spacing of the sampling grid: x from the plane of symmetry, y from below the soles, z from the back."""
_BLOCK = 8  # grid cells along the side of a block that is sampled or skipped as a whole
_CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]])


def person_steps(eyeball: bool) -> list[Step]:
    """Every piece of the left half of the figure, floor frame.

    Args:
        eyeball: whether the eye is part of the surface (SMPL, SMPL-H) or a mesh of its own (SMPL-X).
    """
    return [*body_steps(), *head_steps(eyeball), *hand_steps()]


def _lines() -> list[Array]:
    """Coordinates of the grid's planes per axis."""
    axes = []
    for spans in GRID:
        parts = [
            np.linspace(low, high, max(1, round((high - low) / step)) + 1)[:-1] for low, high, step in spans
        ]
        axes.append(np.append(np.concatenate(parts), spans[-1][1]))
    return axes


def _active_blocks(steps: Sequence[Step], lines: Sequence[Array]) -> NDArray[np.bool_]:
    """Blocks of cells that the surface may cross."""
    cuts = [np.append(np.arange(0, len(line) - 1, _BLOCK), len(line) - 1) for line in lines]
    middles = [(line[cut[:-1]] + line[cut[1:]]) / 2 for line, cut in zip(lines, cuts, strict=True)]
    sizes = [np.diff(line[cut]) for line, cut in zip(lines, cuts, strict=True)]
    points = np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1)
    reach = np.sqrt(sum(s**2 for s in np.meshgrid(*sizes, indexing="ij"))) / 2
    value = evaluate(steps, points.reshape(-1, 3), FLOOR).reshape(reach.shape)
    near: NDArray[np.bool_] = np.abs(value) < 1.35 * reach + 0.008
    return near


def _sample(steps: Sequence[Step], lines: Sequence[Array]) -> Array:
    """Distances on the grid; 1 in blocks that the surface does not reach."""
    shape = tuple(len(line) for line in lines)
    blocks = _active_blocks(steps, lines)
    wanted = np.zeros(shape, dtype=bool)
    for block in np.argwhere(blocks):
        low = block * _BLOCK
        wanted[tuple(slice(a, a + _BLOCK + 1) for a in low)] = True
    where = np.nonzero(wanted)
    points = np.stack([line[index] for line, index in zip(lines, where, strict=True)], axis=1)
    values = np.full(shape, 1.0)
    values[where] = np.round(evaluate(steps, points, FLOOR), 7)
    values[values == 0] = 1e-7  # no vertex exactly on a grid point: triangles would degenerate
    return values


def _tetrahedra() -> Indices:
    """The six tetrahedra of a cell around its diagonal 0-7, as corner numbers, positively oriented."""
    found = []
    for order in permutations(range(3)):
        path = [0]
        for axis in order:
            path.append(path[-1] + (1 << axis))
        edges = np.diff(_CORNERS[path], axis=0)
        flip = np.linalg.det(edges) < 0
        found.append([path[0], path[2], path[1], path[3]] if flip else path)
    return np.array(found)


def _cut_edges() -> dict[int, list[tuple[tuple[int, int], ...]]]:
    """Per set of inside corners of a tetrahedron (bits): the triangles, each as three cut edges, outward."""
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])  # positively oriented
    table: dict[int, list[tuple[tuple[int, int], ...]]] = {}
    for bits in range(1, 15):
        inside = [k for k in range(4) if bits >> k & 1]
        outside = [k for k in range(4) if k not in inside]
        if len(inside) == 2:
            (a, b), (c, d) = inside, outside
            ring = [(a, c), (a, d), (b, d), (b, c)]
            shapes = [[ring[0], ring[1], ring[2]], [ring[0], ring[2], ring[3]]]
        else:
            shapes = [[(i, o) for i in inside for o in outside]]
        away = corners[outside].mean(0) - corners[inside].mean(0)
        triangles = []
        for shape in shapes:
            a3, b3, c3 = (corners[list(edge)].mean(0) for edge in shape)
            outward = np.cross(b3 - a3, c3 - a3) @ away > 0
            triangles.append(tuple(shape if outward else shape[::-1]))
        table[bits] = triangles
    return table


def _crossed_tetrahedra(values: Array) -> Indices:
    """(N, 4) grid point numbers of the tetrahedra with corners on both sides."""
    inside = values < 0
    any_in = np.zeros(tuple(n - 1 for n in values.shape), dtype=bool)
    all_in = np.ones_like(any_in)
    for corner in _CORNERS:
        part = inside[tuple(slice(c, n - 1 + c) for c, n in zip(corner, values.shape, strict=True))]
        any_in |= part
        all_in &= part
    cells = np.argwhere(any_in & ~all_in)
    points = cells[:, None] + _CORNERS[None]
    numbers = np.ravel_multi_index(tuple(points.transpose(2, 0, 1)), values.shape)
    tetrahedra = numbers[:, _tetrahedra()].reshape(-1, 4)
    count = inside.ravel()[tetrahedra].sum(1)
    crossed: Indices = tetrahedra[(count > 0) & (count < 4)]
    return crossed


def _triangulate(values: Array, lines: Sequence[Array]) -> tuple[Array, Indices]:
    flat = values.ravel()
    tetrahedra = _crossed_tetrahedra(values)
    bits = ((flat[tetrahedra] < 0) * [1, 2, 4, 8]).sum(1)
    cuts = []
    for case, triangles in _cut_edges().items():
        chosen = tetrahedra[bits == case]
        cuts += [chosen[:, np.array(triangle)] for triangle in triangles]
    pairs = np.sort(np.concatenate(cuts), axis=2)  # (triangles, 3 corners, 2 grid points)
    keys, faces = np.unique(pairs[..., 0] * values.size + pairs[..., 1], return_inverse=True)
    first, second = keys // values.size, keys % values.size
    ends = [np.stack([line[i] for line, i in zip(lines, np.unravel_index(e, values.shape), strict=True)], 1)
            for e in (first, second)]  # fmt: skip
    # Kept off the grid points, so that the smallest triangles are not needles.
    share = np.clip(flat[first] / (flat[first] - flat[second]), 0.05, 0.95)[:, None]
    return ends[0] * (1 - share) + ends[1] * share, faces.reshape(-1, 3).astype(np.int64)


def _largest_piece(vertices: Array, faces: Indices) -> tuple[Array, Indices]:
    """The connected piece with most vertices: specks cut off between the lips or toes are dropped."""
    count = len(vertices)
    ends = np.concatenate([faces[:, list(pair)] for pair in pairwise((0, 1, 2))])
    graph = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count))
    label = connected_components(graph, directed=False)[1]
    keep = label == np.bincount(label).argmax()
    number = np.cumsum(keep) - 1
    return vertices[keep], number[faces[keep[faces[:, 0]]]]


def extract(steps: Sequence[Step]) -> tuple[Float[np.ndarray, "vertices 3"], Int[np.ndarray, "faces 3"]]:
    """Dense triangle mesh of the half body with x >= 0.

    Args:
        steps: pieces of the left half, floor frame.

    Returns:
        (V, 3) metres and (F, 3) int64, outward; the only boundary is the closed curve in the plane x = 0.
    """
    lines = _lines()
    vertices, faces = _largest_piece(*_triangulate(_sample(steps, lines), lines))
    return np.round(vertices, 9), faces
