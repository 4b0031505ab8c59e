"""Figures are whole, plausible, inside the image and left-handed where they should be."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.synth.scene import BODY, FACE, FEET, LEFT_HAND, RIGHT_HAND, Figure, make_figure, outline, paint

LEFT, RIGHT = slice(1, 17, 2), slice(2, 17, 2)  # of the body, after the nose


def figure(seed: int = 0, width: int = 640, height: int = 480, **where: float) -> Figure:
    return make_figure(np.random.default_rng(seed), width, height, **where)  # type: ignore[arg-type]


@given(
    seed=st.integers(0, 10_000),
    width=st.integers(64, 1000),
    height=st.integers(64, 1000),
    slots=st.integers(1, 50),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_whole_figure_is_inside(seed: int, width: int, height: int, slots: int, data: st.DataObject) -> None:
    slot = data.draw(st.integers(0, slots - 1))
    points = figure(seed, width, height, slot=slot, slots=slots).points
    assert points.shape == (133, 2)
    assert (points >= 0).all()
    assert (points <= [width - 1, height - 1]).all()


def test_same_seed_same_figure() -> None:
    np.testing.assert_array_equal(figure(3).points, figure(3).points)
    assert not np.array_equal(figure(3).points, figure(4).points)


@pytest.mark.parametrize("seed", range(20))
def test_overhang_is_the_part_beyond_the_left_edge(seed: int) -> None:
    x = figure(seed, overhang=0.35).points[:, 0]
    assert -x.min() / np.ptp(x) == pytest.approx(0.35)
    assert (x >= 0).any()


@pytest.mark.parametrize("seed", range(20))
def test_left_is_left_and_the_head_is_up(seed: int) -> None:
    points = figure(seed).points
    body, feet, face = points[BODY], points[FEET], points[FACE]
    across = body[5] - body[6]  # right to left shoulder
    assert across[0] > 0
    for left, right in ((1, 2), (3, 4), (11, 12)):
        assert (body[left] - body[right]) @ across > 0
    assert (feet[:3].mean(axis=0) - feet[3:].mean(axis=0)) @ across > 0
    assert (face[42:48].mean(axis=0) - face[36:42].mean(axis=0)) @ across > 0
    assert body[0, 1] < body[11, 1] < body[15, 1]
    np.testing.assert_allclose(body[1], face[42:48].mean(axis=0))
    np.testing.assert_allclose(body[0], face[30])


@pytest.mark.parametrize("seed", range(20))
def test_hands_hang_on_wrists_and_are_mirror_images(seed: int) -> None:
    points = figure(seed).points
    np.testing.assert_allclose(points[LEFT_HAND][0], points[BODY][9])
    np.testing.assert_allclose(points[RIGHT_HAND][0], points[BODY][10])
    turns = []
    for hand in (points[LEFT_HAND], points[RIGHT_HAND]):
        index, little = hand[5] - hand[0], hand[17] - hand[0]
        turns.append(np.sign(index[0] * little[1] - index[1] * little[0]))
        knuckles, tips = hand[1:20:4], hand[4:21:4]
        reach = np.linalg.norm(tips - hand[0], axis=1) / np.linalg.norm(knuckles - hand[0], axis=1)
        assert (reach > 1.3).all()
    assert turns[0] == -turns[1] != 0


def test_outline_holds_every_point() -> None:
    made = figure(5)
    polygon = outline(made).astype(np.float32)
    depth = [cv2.pointPolygonTest(polygon, point.tolist(), True) for point in made.points]
    assert min(depth) > 0.02 * made.stature


def test_painting_marks_limbs_only() -> None:
    made = figure(1)
    plane = np.full((480, 640), 12, np.uint8)
    paint(plane, [made], 240)
    assert set(np.unique(plane)) == {12, 240}
    for x, y in made.points[BODY][[0, 5, 7, 9, 13, 15]]:
        assert plane[round(y), round(x)] == 240
    assert 0.01 < (plane == 240).mean() < 0.4
    rows, columns = np.nonzero(plane == 240)
    low, high = outline(made).min(axis=0) - 1, outline(made).max(axis=0) + 1
    assert low[0] <= columns.min() <= columns.max() <= high[0]
    assert low[1] <= rows.min() <= rows.max() <= high[1]
