from __future__ import annotations

import numpy as np
import pytest

from hmtools.bodies.standin.body_shape import ball
from hmtools.bodies.standin.field import Step, evaluate
from hmtools.bodies.standin.mesh import (
    boundary_vertices,
    edges_of,
    euler_characteristic,
    mirror,
    non_manifold_edges,
    volume,
)
from hmtools.bodies.standin.surface import FLOOR, extract, person_steps

_HEIGHT, _RADIUS = 1.58, 0.055
_BALL = Step(ball((0.0, _HEIGHT, 0.0), (_RADIUS, _RADIUS, _RADIUS)), 0.0)


def test_half_a_ball_is_a_disc_with_the_seam_as_its_rim() -> None:
    vertices, faces = extract([_BALL])
    assert euler_characteristic(faces) == 1
    rim = boundary_vertices(faces, len(vertices))
    assert (rim == (vertices[:, 0] == 0)).all()
    assert (vertices[:, 0] >= 0).all()
    assert edges_of(faces)[1].max() == 2
    assert np.abs(evaluate([_BALL], vertices)).max() < 0.001


def test_the_mirrored_ball_is_closed_outward_and_has_the_volume_of_a_ball() -> None:
    vertices, faces, _ = mirror(*extract([_BALL]))
    assert len(non_manifold_edges(faces)) == 0
    assert euler_characteristic(faces) == 2
    assert volume(vertices, faces) == pytest.approx(4 / 3 * np.pi * _RADIUS**3, rel=0.01)


def test_a_speck_beside_the_body_is_dropped() -> None:
    speck = Step(ball((0.16, _HEIGHT, 0.0), (0.012, 0.012, 0.012)), 0.0)
    vertices, faces = extract([_BALL, speck])
    assert vertices[:, 0].max() < 0.06
    assert euler_characteristic(faces) == 1


@pytest.mark.parametrize("eyeball", [False, True])
def test_the_figure_stands_on_the_floor_at_its_height(eyeball: bool) -> None:
    steps = person_steps(eyeball)
    inside = np.array([[0.05, 1.2, 0.0], [0.09, 0.7, 0.0], [0.4, 1.39, -0.02], [0.0, 1.6, 0.0]])
    outside = np.array([[0.0, 1.72, 0.0], [0.4, 1.2, 0.0], [0.12, -0.004, 0.1], [0.0, 0.5, 0.0]])
    assert (evaluate(steps, inside, FLOOR) < 0).all()
    assert (evaluate(steps, outside, FLOOR) > 0).all()
