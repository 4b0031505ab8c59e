"""Rendered pictures: people are where their points are, near ones in front."""

from __future__ import annotations

import numpy as np
import pytest

from hmtools.bench.pictures import RUN_COLOURS
from hmtools.geometry.projection import project
from hmtools.synth.picture import backdrop, paint_people
from hmtools.viz.mesh import PERSON_COLOURS, PREDICTED_COLOURS

FOCAL, CENTRE = np.array([200.0, 200.0]), np.array([79.5, 59.5])


def square(x: float, z: float, half: float = 0.2) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A square that faces the camera, as a person."""
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    vertices = np.column_stack([corners[:, 0] + x, corners[:, 1], np.full(4, z)])
    return vertices, np.array([[0, 2, 1], [0, 3, 2]]), FOCAL, CENTRE


def test_backdrops_differ_by_seed_alone() -> None:
    one, same, other = (backdrop(np.random.default_rng(seed), 160, 120) for seed in (1, 1, 2))
    assert one.shape == (120, 160, 3)
    assert one.dtype == np.uint8
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("x", [-0.3, 0.25])
def test_people_are_painted_where_they_project(x: float) -> None:
    wall = np.zeros((120, 160, 3), np.uint8)
    person = square(x, 2.0)
    painted = paint_people(wall, [person]).any(axis=2)
    corners = project(person[0], FOCAL, CENTRE)
    rows, columns = np.nonzero(painted)
    assert abs(columns.min() - corners[:, 0].min()) <= 1
    assert abs(columns.max() - corners[:, 0].max()) <= 1
    assert abs(rows.min() - corners[:, 1].min()) <= 1
    assert not wall.any()  # a new picture


def test_the_nearer_person_is_in_front_whatever_the_order() -> None:
    wall = np.zeros((120, 160, 3), np.uint8)
    near, far = square(0, 2.0, 0.1), square(0, 3.0, 0.3)
    one = paint_people(wall, [near, far])
    alone = paint_people(wall, [near])
    assert np.array_equal(one[55:64, 75:84], alone[55:64, 75:84])


def test_no_synthetic_person_has_a_colour_of_predictions() -> None:
    """Lightness apart, which is shade."""
    wall = np.zeros((120, 160, 3), np.uint8)
    row = [square(x, 2.0, 0.08) for x in np.linspace(-0.6, 0.6, len(PERSON_COLOURS))]
    people = [paint_people(wall, row[: n + 1]).astype(float) for n in range(len(row))]
    before = [wall.astype(float), *people]
    for one, other in zip(before, people, strict=False):
        shown = other[(one != other).any(axis=2)].mean(axis=0)
        for drawn in (*PREDICTED_COLOURS, *RUN_COLOURS):
            assert np.abs(shown / shown.max() - np.array(drawn) / max(drawn)).max() > 0.3
