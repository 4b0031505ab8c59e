from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.bodies.model import Family
from hmtools.bodies.standin.cache import standin_dir
from hmtools.bodies.standin.transfer import closest_on_surface
from tests.bodies.standin.from_files import Array, model, person, pose, posed

TRIANGLE = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
FACE = np.array([[0, 1, 2]])


def matrix(source: Family, target: Family) -> Any:
    path = standin_dir() / "transfer" / f"{source}2{target}_deftrafo_setup.pkl"
    return pickle.loads(path.read_bytes())["mtx"]


@pytest.mark.parametrize(
    ("source", "target", "shape"), [("smpl", "smplx", (10475, 13780)), ("smplx", "smpl", (6890, 20950))]
)
def test_matrices_have_the_official_form(source: Family, target: Family, shape: tuple[int, int]) -> None:
    mtx = matrix(source, target)
    assert mtx.shape == shape
    assert mtx.dtype == np.float64
    assert mtx.format == "csc"
    assert mtx[:, shape[1] // 2 :].nnz == 0
    assert mtx.data.min() > 0.0
    assert np.abs(np.asarray(mtx.sum(axis=1)) - 1.0).max() < 1e-12
    assert np.diff(mtx.tocsr().indptr).max() <= 3


def apart(first: Array, second: Array) -> Array:
    offset = first - second
    return np.asarray(np.linalg.norm(offset - np.median(offset, axis=0), axis=1))


@pytest.mark.parametrize(("source", "target"), [("smpl", "smplx"), ("smplx", "smpl")])
def test_the_other_mesh_is_met(source: Family, target: Family) -> None:
    half = matrix(source, target)[:, : len(person(source).vertices)]
    distance = apart(half @ person(source).vertices, person(target).vertices)
    skin = np.abs(person(target).bone - 23.5) > 1 if target == "smplx" else np.ones(6890, dtype=bool)
    assert np.mean(distance[skin]) < 0.001  # behind their lids the eyeballs have no counterpart
    assert np.percentile(distance[skin], 99) < 0.006
    assert distance.max() < 0.025


def test_a_pose_is_carried_over() -> None:
    bent = {"left_elbow": (0.0, -1.2, 0.0), "right_knee": (1.2, 0.0, 0.0), "neck": (0.0, 0.5, 0.0)}
    known = posed(person("smplx"), pose("smplx", bent))
    wanted = posed(person("smpl"), pose("smpl", bent))
    distance = apart(matrix("smplx", "smpl")[:, :10475] @ known, wanted)
    assert distance.mean() < 0.003
    assert np.percentile(distance, 99) < 0.015


@given(st.tuples(*[st.floats(-2.0, 2.0)] * 3))
@settings(max_examples=80, deadline=None)
def test_closest_point_of_a_triangle(point: tuple[float, float, float]) -> None:
    _, weights, distance = closest_on_surface(np.array([point]), TRIANGLE, FACE)
    assert weights.min() >= 0.0
    assert weights.sum() == pytest.approx(1.0)
    assert np.linalg.norm(weights[0] @ TRIANGLE - point) == pytest.approx(distance[0], abs=1e-9)
    grid = np.linspace(0.0, 1.0, 41)
    u, v = (axis.ravel() for axis in np.meshgrid(grid, grid))
    inside = u + v <= 1 + 1e-9
    others = np.stack([u[inside], v[inside], 0 * u[inside]], axis=1)
    assert distance[0] <= np.linalg.norm(others - point, axis=1).min() + 1e-9


def test_faces_that_look_away_are_passed_over() -> None:
    below = TRIANGLE - [0.0, 0.0, 0.01]
    vertices = np.concatenate([TRIANGLE, below])
    faces = np.array([[0, 1, 2], [3, 5, 4]])  # the lower one looks down
    point, down = np.array([[0.2, 0.2, 0.001]]), np.array([[0.0, 0.0, -1.0]])
    assert closest_on_surface(point, vertices, faces)[0][0] == 0
    assert closest_on_surface(point, vertices, faces, down)[0][0] == 1


def test_points_of_a_mesh_find_themselves() -> None:
    who = person("smpl")
    middles = who.vertices[who.faces[::50]].mean(axis=1)
    face, weights, distance = closest_on_surface(middles, who.vertices, who.faces)
    assert distance.max() < 1e-6
    again = np.einsum("nk,nkc->nc", weights, who.vertices[who.faces[face]])
    assert np.allclose(again, middles, atol=1e-6)
    assert model("smpl")["f"].shape == (13776, 3)
