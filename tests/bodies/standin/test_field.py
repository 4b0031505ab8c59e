from __future__ import annotations

import numpy as np
import pytest

from hmtools.bodies.standin.body_shape import ball, rounded_cone
from hmtools.bodies.standin.field import Step, evaluate, gradient, project

_BALL = ball((0.0, 1.0, 0.0), (0.1, 0.1, 0.1))
_LINE = np.stack([np.linspace(0.05, 0.115, 11), np.full(11, 1.0), np.zeros(11)], 1)


def test_distance_of_a_ball() -> None:
    assert _BALL.distance(_LINE) == pytest.approx(_LINE[:, 0] - 0.1)
    assert gradient([Step(_BALL, 0.0)], _LINE) == pytest.approx(np.tile([1.0, 0, 0], (11, 1)), abs=1e-6)


def test_distance_of_a_straight_tube() -> None:
    tube = rounded_cone(np.array([0.0, 0.0, 0.0]), np.array([0.3, 0.0, 0.0]), 0.05, 0.05)
    points = np.array([[0.1, 0.08, 0.0], [0.1, 0.0, -0.02], [0.37, 0.0, 0.0], [-0.05, 0.0, 0.0]])
    assert tube.distance(points) == pytest.approx([0.03, -0.03, 0.02, 0.0], abs=1e-6)
    low, high = tube.bounds()
    assert (low <= -0.05 + 1e-9).all()
    assert (high >= [0.35, 0.05, 0.05]).all()


def test_joined_cut_and_flattened() -> None:
    other = ball((0.0, 1.15, 0.0), (0.1, 0.1, 0.1))
    between = np.array([[0.0, 1.075, 0.0]])
    hard = evaluate([Step(_BALL, 0.0), Step(other, 0.0)], between)
    soft = evaluate([Step(_BALL, 0.0), Step(other, 0.05)], between)
    cut = evaluate([Step(_BALL, 0.0), Step(other, 0.0, cut=True)], between)
    assert soft[0] < hard[0] < 0 < cut[0]
    low = evaluate([Step(_BALL, 0.0)], np.array([[0.0, 0.95, 0.0]]), 0.99)
    assert low[0] == pytest.approx(0.04)


def test_a_group_is_joined_before_it_meets_the_rest() -> None:
    finger = ball((0.0, 1.15, 0.0), (0.1, 0.1, 0.1))
    hole = ball((0.0, 1.0, 0.0), (0.05, 0.05, 0.05))
    grouped = [Step(_BALL, 0.0), Step(finger, 0.0, group="a"), Step(hole, 0.0, cut=True, group="a")]
    middle = np.array([[0.0, 1.0, 0.0]])
    assert evaluate(grouped, middle)[0] < 0, "the cut of a group leaves the body alone"
    assert evaluate([Step(s.piece, s.blend, s.cut) for s in grouped], middle)[0] > 0


def test_projection_reaches_the_surface_and_keeps_the_seam() -> None:
    start = np.array([[0.0, 1.105, 0.003], [0.096, 1.0, 0.0], [0.05, 1.08, 0.05]])
    moved = project([Step(_BALL, 0.0)], start)
    assert np.linalg.norm(moved - [0, 1, 0], axis=1) == pytest.approx([0.1] * 3, abs=1e-6)
    assert moved[0, 0] == 0
    assert (moved[1:, 0] > 0).all()
