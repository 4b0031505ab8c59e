from __future__ import annotations

import numpy as np

from hmtools.bodies.standin.body_shape import ball
from hmtools.bodies.standin.field import Step
from hmtools.bodies.standin.mesh import Half, edges_of, euler_characteristic, mirror, non_manifold_edges
from hmtools.bodies.standin.remesh import flip_edges, independent, relax
from hmtools.bodies.standin.surface import extract


def _ball() -> Half:
    return Half(*extract([Step(ball((0.0, 1.58, 0.0), (0.05, 0.05, 0.05)), 0.0)]))


def _smallest_angles(half: Half) -> np.ndarray:
    corners = half.vertices[half.faces]
    angles = []
    for k in range(3):
        a, b = corners[:, (k + 1) % 3] - corners[:, k], corners[:, (k + 2) % 3] - corners[:, k]
        cosine = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
        angles.append(np.arccos(np.clip(cosine, -1, 1)))
    smallest: np.ndarray = np.min(angles, axis=0)
    return smallest


def test_triangles_get_better_and_the_surface_stays_closed() -> None:
    half = _ball()
    before = _smallest_angles(half)
    better = flip_edges(half)
    for _ in range(4):
        better = flip_edges(relax(better, lambda p: np.ones(len(p))))
    assert len(better.vertices) == len(half.vertices)
    assert len(better.faces) == len(half.faces)
    assert np.quantile(_smallest_angles(better), 0.05) > 1.5 * np.quantile(before, 0.05)
    _, faces, _ = mirror(better.vertices, better.faces)
    assert len(non_manifold_edges(faces)) == 0
    assert euler_characteristic(faces) == 2
    assert (better.seam == half.seam).all()
    radius = np.linalg.norm(better.vertices - [0, 1.58, 0], axis=1)
    assert np.abs(radius - 0.05).max() < 0.001, "vertices move along the surface only"


def test_independent_edges_share_no_triangle() -> None:
    half = _ball()
    edges, _ = edges_of(half.faces)
    rank = np.random.default_rng(0).permutation(len(edges))
    chosen = edges[independent(edges, half.faces, rank, len(half.vertices))]
    assert len(chosen) > 20
    owner = np.full(len(half.vertices), -1)
    owner[chosen] = np.arange(len(chosen))[:, None]
    touching = np.sort(owner[half.faces], axis=1)
    several = (touching[:, 2] != touching[:, 1]) & (touching[:, 1] >= 0)
    several |= (touching[:, 1] != touching[:, 0]) & (touching[:, 0] >= 0)
    assert not several.any()
