"""Fits of points whose body is known, bounds against SciPy, and what must not matter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from hmtools.bodies.assets import load_model
from hmtools.bodies.body_points import BodyPoints, BodyState
from hmtools.bodies.fit import FitProblem, bounded_solution, fit
from hmtools.bodies.layers import BodyLayer
from hmtools.bodies.model import Family
from hmtools.bodies.params import BodyParams
from hmtools.geometry.rotation import axis_angle_to_matrix, geodesic_angle
from tests.bodies.bodies import random_body

BODIES = 4


def known(root: Path, family: Family, **changes: torch.Tensor) -> tuple[FitProblem, BodyState, BodyState]:
    """A problem, its answer, and a start 10 degrees off in each joint, without shape, 1 m away."""
    layer = BodyLayer(load_model(family, "neutral", roots=(root,)), dtype=torch.float64)
    rng = torch.Generator().manual_seed(0)
    rows = torch.randperm(len(layer.model.v_template), generator=rng)[:300]
    params = replace(random_body(family, BODIES), **changes)
    body = BodyPoints(layer, rows, 10)
    rest = body.rest(params)
    assert params.betas is not None
    assert params.transl is not None
    answer = BodyState(layer.rotations(params), params.betas, params.transl)
    off = 0.1 * torch.randn(*answer.rotations.shape[:3], generator=rng, dtype=torch.float64)
    start = BodyState(
        axis_angle_to_matrix(off) @ answer.rotations, torch.zeros_like(answer.betas), answer.transl + 1
    )
    problem = FitProblem(
        body=body,
        rest=rest,
        wanted=body.pose(rest, answer).points,
        weights=torch.ones(300),
        joints=tuple(range(len(body.parents))),
    )
    return problem, answer, start


def misses(problem: FitProblem, state: BodyState) -> torch.Tensor:
    found = problem.body.pose(problem.rest, state).points
    return (found - problem.wanted).square().sum(-1).sqrt()


@pytest.mark.parametrize("family", ["smpl", pytest.param("smplx", marks=pytest.mark.slow)])
def test_finds_the_body_that_made_the_points(golden: Path, family: Family) -> None:
    problem, answer, start = known(golden, family)
    found = fit(problem, start)
    assert misses(problem, found).max() < 5e-4
    assert (found.betas - answer.betas).abs().max() < 0.01
    assert geodesic_angle(found.rotations, answer.rotations).max() < 0.02
    assert misses(problem, start).mean() > 0.5


def test_an_answer_stays_as_it_is(golden: Path) -> None:
    problem, answer, _ = known(golden, "smpl")
    found = fit(problem, answer)
    assert torch.equal(found.rotations, answer.rotations)
    assert torch.equal(found.betas, answer.betas)


def test_only_what_is_free_changes(golden: Path) -> None:
    problem, answer, start = known(golden, "smpl")
    found = fit(replace(problem, joints=(0, 5, 18)), start)
    changed = [j for j in range(24) if not torch.equal(found.rotations[:, j], start.rotations[:, j])]
    assert changed == [0, 5, 18]
    fixed = replace(answer, rotations=start.rotations)
    found = fit(replace(problem, betas=False, transl=False), fixed)
    assert torch.equal(found.betas, answer.betas)
    assert torch.equal(found.transl, answer.transl)
    assert misses(problem, found).max() < 5e-4


def test_betas_keep_to_their_bounds_and_are_the_best_there(golden: Path) -> None:
    wild = 3 * torch.randn(BODIES, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    problem, answer, _ = known(golden, "smpl", betas=wild)
    problem = replace(problem, joints=(), max_beta=2.0)  # pose known: linear in betas and translation
    found = fit(problem, replace(answer, betas=torch.zeros_like(answer.betas)))
    assert answer.betas.abs().max() > 4
    assert found.betas.abs().max() <= 2
    posed = problem.body.pose(problem.rest, replace(answer, betas=0 * answer.betas, transl=0 * answer.transl))
    slopes = problem.body.by_shape(posed)
    for row in range(BODIES):
        shift = np.tile(np.eye(3), (300, 1))
        matrix = np.hstack([slopes[row].flatten(1).numpy().T, shift])
        wanted = (problem.wanted[row] - posed.points[row]).flatten().numpy()
        most = np.array([2.0] * 10 + [np.inf] * 3)
        best = lsq_linear(matrix, wanted, (-most, most), tol=1e-14)
        cost = misses(problem, found)[row].square().sum()
        assert float(cost) == pytest.approx(2 * best.cost, rel=0.02)


def test_a_start_beyond_the_bounds_is_moved_inside(golden: Path) -> None:
    problem, _, start = known(golden, "smpl")
    found = fit(replace(problem, max_beta=0.5), replace(start, betas=9 * torch.ones_like(start.betas)))
    assert found.betas.abs().max() <= 0.5


def test_one_shape_is_that_of_all(golden: Path) -> None:
    shape = torch.randn(1, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    problem, _, start = known(golden, "smpl", betas=shape.expand(BODIES, 10))
    found = fit(replace(problem, one_shape=True), start)
    assert torch.equal(found.betas, found.betas[:1].expand_as(found.betas))
    assert (found.betas - shape).abs().max() < 0.01
    assert misses(problem, found).max() < 1e-3


def test_one_shape_of_different_bodies_lies_between(golden: Path) -> None:
    problem, answer, start = known(golden, "smpl")
    found = fit(replace(problem, one_shape=True), start)
    assert torch.equal(found.betas, found.betas[:1].expand_as(found.betas))
    assert (found.betas[0] - answer.betas.mean(0)).abs().max() < 0.5


def test_others_in_the_batch_do_not_matter(golden: Path) -> None:
    problem, _, start = known(golden, "smpl")
    together = fit(problem, start)
    for row in range(BODIES):
        alone = torch.tensor([row])
        single = replace(problem, rest=problem.rest.select(alone), wanted=problem.wanted[alone])
        found = fit(single, start.select(alone))
        for name in ("rotations", "betas", "transl"):
            assert (getattr(found, name)[0] - getattr(together, name)[row]).abs().max() < 1e-8


def test_points_without_weight_do_not_matter(golden: Path) -> None:
    problem, _, start = known(golden, "smpl")
    weights = torch.ones(300)
    weights[::3] = 0
    wrong = problem.wanted.clone()
    wrong[:, ::3] += 10
    found = fit(replace(problem, weights=weights, wanted=wrong), start)
    assert misses(problem, found).max() < 2e-3


def test_no_bodies_are_no_work(golden: Path) -> None:
    problem, _, start = known(golden, "smpl")
    none = torch.zeros(0, dtype=torch.long)
    found = fit(
        replace(problem, rest=problem.rest.select(none), wanted=problem.wanted[none]), start.select(none)
    )
    assert found.betas.shape == (0, 10)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), most=st.floats(0.01, 10))
def test_bounded_solutions(seed: int, most: float) -> None:
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(3, 6, 4))
    matrix = torch.as_tensor(factor.transpose(0, 2, 1) @ factor + 0.1 * np.eye(4))
    vector = torch.as_tensor(rng.normal(size=(3, 4)))
    bound = torch.full_like(vector, most)
    found = bounded_solution(matrix, vector, -bound, bound)
    free = torch.linalg.solve(matrix, vector)
    assert (found.abs() <= bound).all()
    for row in range(3):
        inside = found[row].abs() < bound[row]
        left = (matrix[row] @ found[row] - vector[row])[inside]
        assert torch.all(left.abs() < 1e-8)
        if (free[row].abs() <= bound[row]).all():
            assert torch.allclose(found[row], free[row])


def test_neutral_params_are_a_batch_of_one(golden: Path) -> None:
    layer = BodyLayer(load_model("smpl", "neutral", roots=(golden,)))
    assert BodyPoints(layer, torch.arange(5), 10).rest(BodyParams()).points.shape == (1, 5, 3)
