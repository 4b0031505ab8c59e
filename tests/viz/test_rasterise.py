from __future__ import annotations

import tracemalloc
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hmtools.core.errors import UsageError
from hmtools.viz import rasterise as module
from hmtools.viz.rasterise import Raster, nearest_faces, rasterise, visible_vertices
from tests.viz.meshes import sphere

WIDTH, HEIGHT = 12, 9
Floats = npt.NDArray[np.float64]

on_grid = st.integers(-16, 40).map(lambda n: n / 2)
nearby = st.floats(-4, 16)
far = st.floats(-32_000, 32_000)
corner = st.tuples(st.one_of(on_grid, nearby, far), st.one_of(on_grid, nearby, far), st.floats(0.5, 8))
triangles = st.lists(st.tuples(corner, corner, corner), min_size=1, max_size=6)


def grid(value: float) -> Fraction:
    return Fraction(round(value * 1024), 1024)


def edge(a: Any, b: Any, p: Any) -> Fraction:
    return Fraction((b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]))


def inside(corners: Any, x: int, y: int) -> list[Fraction] | None:
    """Screen barycentrics of a pixel's centre by edge functions and the top-left rule, in exact numbers."""
    points = [(grid(px), grid(py)) for px, py, _ in corners]
    area = edge(*points)
    if area == 0:
        return None
    if area < 0:
        found = inside([corners[0], corners[2], corners[1]], x, y)
        return found and [found[0], found[2], found[1]]
    weights = []
    for i in range(3):
        a, b = points[(i + 1) % 3], points[(i + 2) % 3]
        value = edge(a, b, (x, y))
        top_or_left = b[1] < a[1] or (b[1] == a[1] and b[0] > a[0])
        if value < 0 or (value == 0 and not top_or_left):
            return None
        weights.append(value / area)
    return weights


def soup(corners: Any) -> tuple[Floats, npt.NDArray[np.int64]]:
    points = np.array(corners, np.float64).reshape(-1, 3)
    return points, np.arange(len(points)).reshape(-1, 3)


@settings(max_examples=60, deadline=None)
@given(triangles)
@example([((0, 0, 1.0), (0, 4, 1.0), (4, 0, 1.0)), ((4, 0, 1.0), (0, 4, 1.0), (4, 4, 1.0))])
@example([((3.0, 3.0, 1.0), (3.0, 3.0, 2.0), (3.0, 3.0, 3.0))])
@example([((-30000.0, -30000.0, 1.0), (30000.0, 29999.5, 2.0), (30000.0, 30000.0, 3.0))])
def test_it_agrees_with_a_slow_exact_one(corners: Any) -> None:
    raster = rasterise(*soup(corners), WIDTH, HEIGHT)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            hits = {i: w for i, c in enumerate(corners) if (w := inside(c, x, y)) is not None}
            depths = {
                i: 1 / sum(float(v) / c[2] for v, c in zip(w, corners[i], strict=True))
                for i, w in hits.items()
            }
            face = int(raster.face[y, x])
            assert (face >= 0) == bool(hits), (x, y)
            if not hits:
                assert np.isinf(raster.depth[y, x])
                assert not raster.barycentric[y, x].any()
                continue
            assert face in hits, (x, y)
            assert depths[face] == pytest.approx(min(depths.values()), rel=1e-5)
            assert raster.depth[y, x] == pytest.approx(depths[face], rel=1e-5)
            weights = [float(v) / c[2] * depths[face] for v, c in zip(hits[face], corners[face], strict=True)]
            np.testing.assert_allclose(raster.barycentric[y, x], weights, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 9), st.integers(0, 10**6), st.booleans())
def test_a_fan_covers_every_pixel_inside_once(count: int, seed: int, whole: bool) -> None:
    rng = np.random.default_rng(seed)
    centre = rng.uniform(6, 14, 2)
    rim = centre + 40 * np.stack([f(np.linspace(0, 2 * np.pi, count + 1)) for f in (np.cos, np.sin)], axis=1)
    places = np.concatenate([[centre], rim[:-1]])
    if whole:
        places = np.rint(places)
    points = np.concatenate([places, np.ones((count + 1, 1))], axis=1)
    ring = np.arange(count)
    faces = np.stack([np.zeros_like(ring), 1 + ring, 1 + (ring + 1) % count], axis=1)
    alone = [rasterise(points, face[None], 20, 20).face >= 0 for face in faces]
    assert (np.sum(alone, axis=0) == 1).all()


def test_two_squares_side_by_side_share_no_pixel() -> None:
    points = np.array([[x, y, 1.0] for x in (1, 5, 9) for y in (2, 6)])
    left, right = np.array([[0, 1, 3], [0, 3, 2]]), np.array([[2, 3, 5], [2, 5, 4]])
    a, b = (rasterise(points, f, WIDTH, HEIGHT).face >= 0 for f in (left, right))
    assert not (a & b).any()
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[2:6, 1:9] = True  # top and left borders belong to the squares, bottom and right ones do not
    np.testing.assert_array_equal(a | b, expected)


def test_a_pixel_is_covered_when_its_centre_is() -> None:
    centre = np.array([4.0, 3.0, 1.0])
    around = centre + 0.01 * np.array([[-1.0, -1, 0], [1, -1, 0], [0, 1, 0]])
    raster = rasterise(around, np.array([[0, 1, 2]]), WIDTH, HEIGHT)
    assert np.argwhere(raster.face >= 0).tolist() == [[3, 4]]
    moved = rasterise(around + np.array([0.02, 0, 0]), np.array([[0, 1, 2]]), WIDTH, HEIGHT)
    assert (moved.face == -1).all()


@pytest.mark.parametrize(("x", "y"), [(0, 0), (WIDTH - 1, 0), (0, HEIGHT - 1), (WIDTH - 1, HEIGHT - 1)])
def test_the_corners_of_the_image_are_part_of_it(x: int, y: int) -> None:
    around = np.array([x, y, 1.0]) + 0.4 * np.array([[-1.0, -1, 0], [1, -1, 0], [0, 1, 0]])
    raster = rasterise(around, np.array([[0, 1, 2]]), WIDTH, HEIGHT)
    assert np.argwhere(raster.face >= 0).tolist() == [[y, x]]


def test_of_equal_depths_the_lowest_face_wins() -> None:
    points, _ = soup([((-9, -9, 2.0), (30, -9, 2.0), (-9, 30, 2.0))])
    faces = np.array([[0, 1, 2], [2, 1, 0], [1, 2, 0]])
    assert (rasterise(points, faces, WIDTH, HEIGHT).face == 0).all()


def test_planes_that_cross_hide_each_other_along_a_line() -> None:
    slope = [
        ((-50, -50, 1.0), (50, -50, 3.0), (-50, 50, 1.0)),
        ((50, -50, 3.0), (50, 50, 3.0), (-50, 50, 1.0)),
    ]
    level = [
        ((-50, -50, 1.5), (50, -50, 1.5), (-50, 50, 1.5)),
        ((50, -50, 1.5), (50, 50, 1.5), (-50, 50, 1.5)),
    ]
    raster = rasterise(*soup(slope + level), 21, 5)
    # Inverse depth falls from 1 at x = -50 to 1 / 3 at x = 50: it is 2 / 3, as that of the level, at x = 0.
    assert (raster.face[:, 1:] >= 2).all()
    assert (
        rasterise(*soup([[(x + 21, y, z) for x, y, z in c] for c in slope + level]), 21, 5).face < 2
    ).all()


def test_barycentrics_are_those_of_space() -> None:
    corners = np.array([[-1.0, -1, 2], [1, -1, 6], [0, 2, 3]])
    points = np.stack(
        [100 * corners[:, 0] / corners[:, 2] + 40, 100 * corners[:, 1] / corners[:, 2] + 50, corners[:, 2]], 1
    )
    raster = rasterise(points, np.array([[0, 1, 2]]), 100, 130)
    y, x = np.nonzero(raster.face == 0)
    assert len(x) > 1000
    space = raster.barycentric[y, x] @ corners
    np.testing.assert_allclose(100 * space[:, 0] / space[:, 2] + 40, x, atol=1e-3)
    np.testing.assert_allclose(100 * space[:, 1] / space[:, 2] + 50, y, atol=1e-3)
    np.testing.assert_allclose(space[:, 2], raster.depth[y, x], rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_faces_with_a_corner_nowhere_are_left_out(bad: float, axis: int) -> None:
    points, faces = soup([((0, 0, 1.0), (0, 9, 1.0), (9, 0, 1.0)), ((1, 1, 2.0), (1, 5, 2.0), (5, 1, 2.0))])
    points[1, axis] = bad
    raster = rasterise(points, faces, WIDTH, HEIGHT)
    assert set(np.unique(raster.face)) == {-1, 1}


@pytest.mark.parametrize("depth", [0.0, -1.0])
def test_faces_with_a_corner_behind_are_left_out(depth: float) -> None:
    points, faces = soup([((0, 0, 1.0), (0, 9, depth), (9, 0, 1.0))])
    assert (rasterise(points, faces, WIDTH, HEIGHT).face == -1).all()


@pytest.mark.parametrize(("dx", "dy"), [(-100, 0), (100, 0), (0, -100), (0, 100)])
def test_triangles_beside_the_image_are_not_drawn(dx: float, dy: float) -> None:
    points, faces = soup([((0, 0, 1.0), (0, 9, 1.0), (9, 0, 1.0))])
    assert (rasterise(points + np.array([dx, dy, 0]), faces, WIDTH, HEIGHT).face == -1).all()


def test_a_triangle_of_a_billion_pixels_is_drawn() -> None:
    points, faces = soup([((-1e10, -1e10, 1.0), (3e10, -1e10, 1.0), (-1e10, 3e10, 1.0))])
    raster = rasterise(points, faces, 300, 200)
    assert (raster.face == 0).all()
    np.testing.assert_allclose(raster.depth, 1.0, rtol=1e-6)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    vertices, faces = sphere(12, 16)
    points = np.concatenate([vertices[:, :2] * 60 + [60, 40], vertices[:, 2:] + 3], axis=1)
    whole = rasterise(points, faces, 120, 80)
    names = ("_FACES_AT_ONCE", "_ROWS_AT_ONCE", "_FRAGMENTS_AT_ONCE", "_PIXELS_AT_ONCE")
    for limits in ((7, 5, 11, 13), (1, 1, 1, 1)):
        for name, limit in zip(names, limits, strict=True):
            monkeypatch.setattr(module, name, limit)
        parts = rasterise(points, faces, 120, 80)
        for name in Raster.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_memory_does_not_grow_with_the_triangles() -> None:
    corners = [((-900, -900, 2.0 + i), (3000, -900, 1.0 + i), (-900, 3000, 1.5 + i)) for i in range(60)]
    points, faces = soup(corners)  # 15 million fragments
    tracemalloc.start()
    try:
        nearest_faces(points, faces, 500, 500)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60e6


def test_without_barycentrics_it_is_the_same() -> None:
    vertices, faces = sphere(8, 8)
    points = (vertices + np.array([0, 0, 3])) * [10, 10, 1]
    raster = rasterise(points.astype(np.float32), faces.astype(np.int32), 30, 30)
    face, depth = nearest_faces(points.astype(np.float32), faces.astype(np.int32), 30, 30)
    np.testing.assert_array_equal(face, raster.face)
    np.testing.assert_array_equal(depth, raster.depth)
    assert [str(a.dtype) for a in (face, depth, raster.barycentric)] == ["int32", "float32", "float32"]


def test_nothing_gives_an_empty_raster() -> None:
    raster = rasterise(np.zeros((0, 3)), np.zeros((0, 3), np.int64), 4, 3)
    assert raster.face.tolist() == [[-1] * 4] * 3
    assert np.isinf(raster.depth).all()


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (40_000, 5), (5, 40_000)])
def test_impossible_sizes_are_refused(width: int, height: int) -> None:
    with pytest.raises(UsageError, match="image size"):
        rasterise(np.zeros((3, 3)), np.array([[0, 1, 2]]), width, height)


@pytest.mark.parametrize("index", [-1, 3])
def test_faces_of_points_that_do_not_exist_are_refused(index: int) -> None:
    with pytest.raises(UsageError, match="indices of 3 points"):
        rasterise(np.ones((3, 3)), np.array([[0, 1, index]]), 4, 4)


def test_the_near_half_of_a_sphere_is_visible() -> None:
    vertices, faces = sphere(24, 32)
    points = np.concatenate([vertices[:, :2] * 100 + [120, 110], vertices[:, 2:] + 50], axis=1)
    seen = visible_vertices(points, rasterise(points, faces, 240, 220).depth, 0.02)
    assert seen[vertices[:, 2] < -0.2].all()
    assert not seen[vertices[:, 2] > 0.2].any()


def test_a_wall_hides_what_is_behind_it() -> None:
    depth = np.full((20, 30), np.inf, np.float32)
    depth[:, :15] = 2.0
    points = np.array(
        [
            [5, 5, 1.9],
            [5, 5, 2.05],
            [5, 5, 3.0],
            [20, 5, 3.0],
            [14.5, 5, 2.05],
            [-0.6, 5, 1.0],
            [29.6, 5, 1.0],
        ]
    )
    points = np.concatenate([points, [[5, -0.6, 1], [5, 19.6, 1], [np.nan, np.nan, 1], [5, 5, -1]]])
    expected = [True, True, False, True, True, False, False, False, False, False, False]
    assert visible_vertices(points, depth, 0.1).tolist() == expected
    assert visible_vertices(points, depth, 0.01).tolist() == [True, False, False, True, *[False] * 7]


def test_any_of_the_four_pixels_around_a_point_may_show_it() -> None:
    around = np.full((4, 4), 1.0, np.float32)
    for row, column in combinations((1, 2), 2):
        for place in ((row, column), (column, row), (row, row)):
            depth = around.copy()
            depth[place] = 5.0
            assert visible_vertices(np.array([[1.5, 1.5, 5.0]]), depth, 0.01).all()
    depth = around.copy()
    depth[0, :] = depth[3, :] = 5.0
    assert not visible_vertices(np.array([[1.5, 1.5, 5.0]]), depth, 0.01).any()


@pytest.mark.parametrize("tolerance", [-0.1, np.nan, np.inf])
def test_impossible_tolerances_are_refused(tolerance: float) -> None:
    with pytest.raises(UsageError, match="tolerance"):
        visible_vertices(np.zeros((1, 3)), np.ones((2, 2), np.float32), tolerance)
