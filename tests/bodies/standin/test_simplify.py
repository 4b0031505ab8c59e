from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from hmtools.bodies.standin.body_shape import ball, rounded_cone
from hmtools.bodies.standin.field import Step
from hmtools.bodies.standin.mesh import (
    Half,
    euler_characteristic,
    face_normals,
    mirror,
    non_manifold_edges,
    volume,
)
from hmtools.bodies.standin.simplify import _turned, simplify, whole_count
from hmtools.bodies.standin.surface import extract
from hmtools.core.errors import HmtoolsError

_MIDDLE = 1.58


@cache
def _dense() -> Half:
    return Half(*extract([Step(ball((0.0, _MIDDLE, 0.0), (0.05, 0.05, 0.05)), 0.0)]))


def _even(points: np.ndarray) -> np.ndarray:
    return np.ones(len(points))


def _halves(points: np.ndarray) -> np.ndarray:
    return (points[:, 1] > _MIDDLE).astype(np.int64)


def _all(points: np.ndarray) -> np.ndarray:
    return np.zeros(len(points), dtype=np.int64)


@pytest.mark.parametrize("counts", [(300, 500), (301, 480), (121, 130)])
def test_every_region_gets_exactly_its_count_and_the_mesh_stays_closed(counts: tuple[int, int]) -> None:
    half = simplify(_dense(), _even, _halves, counts)
    assert whole_count(half) == sum(counts)
    vertices, faces, _ = mirror(half.vertices, half.faces)
    assert len(vertices) == sum(counts)
    assert len(faces) == 2 * len(vertices) - 4
    assert len(non_manifold_edges(faces)) == 0
    assert euler_characteristic(faces) == 2
    outward = vertices[faces].mean(1) - [0.0, _MIDDLE, 0.0]
    facing = (face_normals(vertices, faces) * outward).sum(1)
    assert facing.min() > 0, "no triangle is turned over"
    assert volume(vertices, faces) == pytest.approx(4 / 3 * np.pi * 0.05**3, rel=0.08)


@pytest.mark.parametrize("count", [60, 100])
def test_a_thin_rod_is_not_pinched_off(count: int) -> None:
    rod = rounded_cone(np.array([0.0, _MIDDLE, 0.0]), np.array([0.056, _MIDDLE, 0.0]), 0.0045, 0.0045)
    dense = Half(*extract([Step(ball((0.0, _MIDDLE, 0.0), (0.02, 0.02, 0.02)), 0.0), Step(rod, 0.0)]))
    half = simplify(dense, lambda p: np.where(p[:, 0] > 0.022, 4.0, 1.0), _all, (count,))
    _, faces, _ = mirror(half.vertices, half.faces)
    assert len(non_manifold_edges(faces)) == 0
    assert euler_characteristic(faces) == 2
    assert half.vertices[:, 0].max() > 0.035, "the rod is still there"


def test_a_merge_that_turns_a_triangle_over_is_recognised() -> None:
    points = np.array([[1.5, 0, 0], [2, -1, 0], [2, 1, 0], [4, 0, 0], [1.6, 0.0, 0]])
    flat = Half(points, np.array([[0, 1, 2]]))
    up = np.tile([0.0, 0.0, 1.0], (5, 1))
    assert _turned(flat, up, np.array([[0, 3]]), 0.3).tolist() == [True], "its corner crosses the far side"
    assert _turned(flat, up, np.array([[0, 4]]), 0.3).tolist() == [False]


def test_the_mesh_is_finer_where_smaller_edges_are_wanted() -> None:
    def wanted(points: np.ndarray) -> np.ndarray:
        return np.where(points[:, 1] > _MIDDLE, 0.5, 1.0)

    half = simplify(_dense(), wanted, _all, (800,))
    upper = half.vertices[:, 1] > _MIDDLE
    assert whole_count(half, upper) > 2.5 * whole_count(half, ~upper)


def test_the_result_is_the_same_every_time() -> None:
    first, second = (simplify(_dense(), _even, _halves, (300, 301)) for _ in range(2))
    assert (first.vertices == second.vertices).all()
    assert (first.faces == second.faces).all()


def test_too_few_vertices_cannot_be_had() -> None:
    with pytest.raises(HmtoolsError, match=r"cannot be simplified to \(2, 1\)"):
        simplify(_dense(), _even, _halves, (2, 1))
