"""Chosen vertices against the layer they are of, their derivatives against finite differences."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from hmtools.bodies.assets import load_model
from hmtools.bodies.body_points import BodyPoints, BodyState, RestPoints, spread
from hmtools.bodies.layers import BodyLayer
from hmtools.bodies.model import Family
from hmtools.bodies.params import BodyParams
from hmtools.geometry.rotation import axis_angle_to_matrix
from tests.bodies.bodies import random_body

FAMILIES: tuple[Family, ...] = ("smpl", "smplh", "smplx")
ROWS = torch.tensor([0, 7, 100, 3333, 5000, 6889])


@cache
def layer_of(root: Path, family: Family) -> BodyLayer:
    kid = {"smpl": 6890, "smplx": 10475}.get(family)
    template = np.random.default_rng(0).normal(size=(kid, 3)) if kid else None
    return BodyLayer(load_model(family, "female", roots=(root,)), kid_template=template, dtype=torch.float64)


def posed(root: Path, family: Family) -> tuple[BodyPoints, RestPoints, BodyState, BodyParams]:
    layer, params = layer_of(root, family), random_body(family, 3)
    if layer.has_kid:
        params = replace(params, kid=torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64))
    assert params.betas is not None
    assert params.transl is not None
    points = BodyPoints(layer, ROWS, 10)
    return (
        points,
        points.rest(params),
        BodyState(layer.rotations(params), params.betas, params.transl),
        params,
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_points_are_the_layers_vertices(golden: Path, family: Family) -> None:
    points, rest, state, params = posed(golden, family)
    mesh = layer_of(golden, family)(params).vertices
    assert torch.allclose(points.pose(rest, state).points, mesh[:, ROWS], rtol=0, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_turns_move_points_as_differences_say(golden: Path, family: Family) -> None:
    points, rest, state, _ = posed(golden, family)
    at = points.pose(rest, state)
    count = len(points.parents)
    joints = torch.arange(count)
    parents = [max(parent, 0) for parent in points.parents]
    before = at.world[:, parents].clone()
    before[:, 0] = torch.eye(3)

    def turned(turns: torch.Tensor) -> torch.Tensor:
        local = (before.mT @ turns[..., None]).squeeze(-1)
        return points.pose(
            rest, replace(state, rotations=axis_angle_to_matrix(local) @ state.rotations)
        ).points

    turns = torch.randn(3, count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    step = 1e-5
    expected = (turned(step * turns) - turned(-step * turns)) / (2 * step)
    found = torch.einsum("bfanx,bfa->bnx", points.by_rotation(at, joints), turns)
    assert torch.allclose(found, expected, rtol=0, atol=1e-8)
    some = torch.tensor([0, 3, 17])
    assert torch.equal(points.by_rotation(at, some), points.by_rotation(at, joints)[:, some])


@pytest.mark.parametrize("family", FAMILIES)
def test_betas_move_points_as_differences_say(golden: Path, family: Family) -> None:
    points, rest, state, _ = posed(golden, family)
    slopes = points.by_shape(points.pose(rest, state))
    for beta in range(10):
        more = state.betas.clone()
        more[:, beta] += 1  # linear: any step will do
        difference = points.pose(rest, replace(state, betas=more)).points - points.pose(rest, state).points
        assert torch.allclose(slopes[:, beta], difference, rtol=0, atol=1e-12)


def test_states_are_taken_and_put_by_row() -> None:
    one = BodyState(torch.zeros(3, 2, 3, 3), torch.zeros(3, 4), torch.zeros(3, 3))
    other = BodyState(torch.ones(3, 2, 3, 3), torch.ones(3, 4), torch.ones(3, 3))
    mixed = one.where(torch.tensor([True, False, True]), other)
    put = one.put(torch.tensor([2, 0]), other.select(torch.tensor([0, 1])))
    for state in (mixed, put):
        for value in (state.rotations, state.betas, state.transl):
            assert value.flatten(1).mean(1).tolist() == [1, 0, 1]


def test_spread_takes_the_farthest_next() -> None:
    line = np.zeros((11, 3))
    line[:, 0] = np.arange(11)
    line[3, 0] = 3.2
    assert spread(line, np.arange(11), 3).tolist() == [0, 10, 5]
    assert spread(line, np.array([8, 2, 4]), 2).tolist() == [8, 2]
    assert sorted(spread(line, np.array([8, 2, 4]), 9).tolist()) == [2, 4, 8]
    assert spread(line, np.zeros(0, np.int64), 9).tolist() == []
