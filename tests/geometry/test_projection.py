from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch import Tensor

from hmtools.core.errors import GeometryError, UsageError
from hmtools.core.image import opencv
from hmtools.geometry.projection import (
    CAMERA_MODELS,
    compose_extrinsics,
    distort,
    fold_radius,
    invert_extrinsics,
    project,
    undistort,
    unproject,
    world_to_camera,
)

Array = np.ndarray[Any, Any]
cv2 = opencv()
FOCAL, CENTRE = (1100.0, 1080.0), (959.3, 541.7)
LENSES: dict[str, list[float]] = {
    "pinhole": [],
    "opencv5": [-0.21, 0.24, -0.0009, 0.0016, -0.002],
    "opencv8": [0.45, -2.6, 0.0006, -0.0002, 1.5, 0.33, -2.4, 1.4],  # a depth camera's
    "imar5": [-0.2074, 0.2477, -0.0031, -0.0010, -0.0015],
}
seeds = st.integers(0, 2**32 - 1)


def points(seed: int = 0, count: int = 200, spread: float = 0.6) -> Array:
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.5, 20, (count, 1))
    return np.concatenate([rng.uniform(-spread, spread, (count, 2)) * z, z], axis=1)


def extrinsics(seed: int, *batch: int) -> Array:
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.standard_normal((*batch, 3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))[..., None, None]
    return np.concatenate([rotation, rng.uniform(-5, 5, (*batch, 3, 1))], axis=-1)


def by_opencv(found: Array, coefficients: list[float]) -> Array:
    matrix = np.array([[FOCAL[0], 0, CENTRE[0]], [0, FOCAL[1], CENTRE[1]], [0, 0, 1]])
    lens = np.array(coefficients, np.float64)
    pixels: Array = cv2.projectPoints(found, np.zeros(3), np.zeros(3), matrix, lens)[0]
    return pixels.reshape(-1, 2)


@pytest.mark.parametrize("model", ["pinhole", "opencv5", "opencv8"])
def test_opencv_agrees(model: str) -> None:
    lens = LENSES[model]
    found = project(points(), FOCAL, CENTRE, model, lens or None)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, by_opencv(points(), lens), rtol=0, atol=1e-9)


@settings(max_examples=100, deadline=None)
@given(seeds, st.sampled_from(["opencv5", "opencv8"]))
def test_opencv_agrees_for_any_lens_inside_its_fold(seed: int, model: str) -> None:
    rng = np.random.default_rng(seed)
    lens = (rng.standard_normal(len(CAMERA_MODELS[model].coefficients)) * 0.05).tolist()
    found = project(points(seed), FOCAL, CENTRE, model, lens)
    visible = np.isfinite(found).all(axis=1)
    assert visible.any()
    np.testing.assert_allclose(found[visible], by_opencv(points(seed), lens)[visible], rtol=0, atol=1e-9)


def test_imar_agrees_with_its_own_formula() -> None:
    k1, k2, k3, p1, p2 = LENSES["imar5"]
    expected = []
    for px, py, pz in points():
        x, y = px / pz, py / pz
        r2 = x * x + y * y
        radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
        tangential = x * p2 + y * p1  # once, where OpenCV takes it twice
        bent = (x * (radial + tangential) + r2 * p2, y * (radial + tangential) + r2 * p1)
        expected.append([FOCAL[0] * bent[0] + CENTRE[0], FOCAL[1] * bent[1] + CENTRE[1]])
    found = project(points(), FOCAL, CENTRE, "imar5", LENSES["imar5"])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    as_opencv = project(points(), FOCAL, CENTRE, "opencv5", [k1, k2, p1, p2, k3])
    assert 0.1 < np.abs(found - as_opencv).max() < 5


def test_coefficients_are_named_in_the_order_of_records() -> None:
    assert {name: " ".join(model.coefficients) for name, model in CAMERA_MODELS.items()} == {
        "pinhole": "",
        "opencv5": "k1 k2 p1 p2 k3",
        "opencv8": "k1 k2 p1 p2 k3 k4 k5 k6",
        "imar5": "k1 k2 k3 p1 p2",
    }


@pytest.mark.parametrize("model", LENSES)
def test_torch_gives_the_same_with_gradients(model: str) -> None:
    lens = LENSES[model]
    inputs = tuple(torch.tensor(v, dtype=torch.float64) for v in (points(count=5), FOCAL, CENTRE, lens))
    expected = project(points(count=5), FOCAL, CENTRE, model, lens or None)

    def function(x: Tensor, f: Tensor, c: Tensor, k: Tensor) -> Tensor:
        return project(x, f, c, model, k if lens else None)

    np.testing.assert_allclose(function(*inputs), expected)
    assert torch.autograd.gradcheck(function, tuple(t.requires_grad_() for t in inputs), atol=1e-4)
    single = project(torch.tensor(points(count=5)).float(), FOCAL, CENTRE, model, lens or None)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, expected, atol=2e-3)


def test_a_pixel_is_where_its_centre_is() -> None:
    assert project(np.array([0.0, 0.0, 2.0]), 500, (320, 240)).tolist() == [320, 240]
    assert project(np.array([[0.5, -0.25, 2.0]]), (400, 800), (0, 0)).tolist() == [[100, -100]]


def test_cameras_broadcast() -> None:
    many = np.stack([points(i, 7) for i in range(4)])
    focal, centre = np.random.default_rng(0).uniform(500, 900, (2, 4, 1, 2))
    lens = np.array(LENSES["opencv5"]) * np.array([0.2, 0.5, 1, 1.5])[:, None, None]
    found = project(many, focal, centre, "opencv5", lens)
    for row in range(4):
        single = project(many[row], focal[row, 0], centre[row, 0], "opencv5", lens[row, 0])
        np.testing.assert_array_equal(found[row], single)
    back = unproject(found, many[..., 2], focal, centre, "opencv5", lens)
    np.testing.assert_allclose(back, many, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(seeds, st.sampled_from(sorted(LENSES)))
def test_unproject_inverts_project(seed: int, model: str) -> None:
    lens = LENSES[model] or None
    limit = 0.95 * min(fold_radius(model, lens), 1.2) / math.sqrt(2)
    found = points(seed, 30, limit)
    pixels = project(found, FOCAL, CENTRE, model, lens)
    back = unproject(pixels, found[:, 2], FOCAL, CENTRE, model, lens)
    np.testing.assert_allclose(back, found, atol=1e-8)
    np.testing.assert_allclose(project(back, FOCAL, CENTRE, model, lens), pixels, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(seeds, st.sampled_from(["opencv5", "opencv8", "imar5"]))
def test_undistorting_the_strongest_lenses(seed: int, model: str) -> None:
    rng = np.random.default_rng(seed)
    names = CAMERA_MODELS[model].coefficients
    lens = rng.standard_normal(len(names)) * [0.002 if name.startswith("p") else 0.5 for name in names]
    radius = min(fold_radius(model, lens), 8.0) * rng.uniform(0, 0.9, (40, 1))
    angle = rng.uniform(0, 2 * np.pi, (40, 1))
    rays = radius * np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    bent = distort(rays, model, lens)
    found = undistort(bent, model, lens)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(distort(found, model, lens), bent, rtol=1e-11, atol=1e-11)
    outside = undistort(rays * 50, model, lens)  # whatever is found lies inside, and ends there
    seen = np.isfinite(outside).all(axis=1)
    assert (np.linalg.norm(outside[seen], axis=1) < fold_radius(model, lens)).all()


def test_undistorting_in_figures() -> None:
    rays = undistort(np.array([[0.0, 0.0], [0.3, 0.2], [np.nan, 0.1]]), "opencv5", LENSES["opencv5"])
    assert np.abs(rays[0]).max() < 1e-15
    np.testing.assert_allclose(distort(rays[1], "opencv5", LENSES["opencv5"]), [0.3, 0.2], atol=1e-15)
    assert np.isnan(rays[2]).all()
    assert np.isnan(undistort(np.full((2, 2), np.nan), "imar5", LENSES["imar5"])).all()
    assert unproject(np.array([0.0, 0.0]), [1.0, 2.0], 1, 0).tolist() == [[0, 0, 1], [0, 0, 2]]


# r (1 - 0.3 r^2) rises up to r = 1.054, where it is 0.703, and falls again
BARREL = [-0.3, 0.0, 0.0, 0.0, 0.0]


def test_fold_radius_in_figures() -> None:
    assert fold_radius("pinhole") == math.inf
    assert fold_radius("opencv5", BARREL) == pytest.approx(math.sqrt(1 / 0.9), abs=1e-12)
    assert fold_radius("imar5", BARREL) == pytest.approx(math.sqrt(1 / 0.9), abs=1e-12)
    assert fold_radius("opencv5", [0.1, 0, 0, 0, 0]) == math.inf
    assert fold_radius("opencv5", [0.0] * 5) == math.inf
    # r / (1 + 0.25 r^2) rises up to r = 2; r / (1 - r^2) rises up to its pole at 1
    assert fold_radius("opencv8", [0, 0, 0, 0, 0, 0.25, 0, 0]) == pytest.approx(2, abs=1e-12)
    assert fold_radius("opencv8", [0, 0, 0, 0, 0, -1, 0, 0]) == pytest.approx(1, abs=1e-12)
    assert fold_radius("opencv8", [0.3, 0, 0, 0, 0, 0.3, 0, 0]) == math.inf  # they cancel


@settings(max_examples=100, deadline=None)
@given(seeds, st.sampled_from(["opencv5", "opencv8", "imar5"]))
def test_the_image_radius_grows_up_to_the_fold(seed: int, model: str) -> None:
    names = CAMERA_MODELS[model].coefficients
    lens = np.random.default_rng(seed).standard_normal(len(names)) * 0.4
    lens[[name.startswith("p") for name in names]] = 0
    fold = fold_radius(model, lens)
    radii = np.linspace(0, min(fold, 50) * (1 - 1e-6), 500)
    bent = distort(np.stack([radii, np.zeros(500)], axis=1), model, lens)[:, 0]
    assert (np.diff(bent) > 0).all()
    if fold < 50:  # and no further
        beyond = distort(np.array([[fold * 1.001, 0], [fold * 1.002, 0]]), model, lens)[:, 0]
        assert beyond[1] < beyond[0] or beyond[0] < 0


def test_points_beyond_the_fold_do_not_wrap_back_into_the_image() -> None:
    angles = np.linspace(0, 2 * np.pi, 17)
    ring = np.stack([1.8 * np.cos(angles), 1.8 * np.sin(angles), np.ones(17)], axis=1)
    wrapped = by_opencv(ring, BARREL)
    assert np.abs(wrapped - CENTRE).max() < 100  # the formula alone puts them in the middle
    for found in (
        project(ring, FOCAL, CENTRE, "opencv5", BARREL),
        project(torch.tensor(ring), FOCAL, CENTRE, "opencv5", BARREL),
    ):
        assert np.isnan(np.asarray(found)).all()
    edge = np.array([[1.05, 0, 1], [1.06, 0, 1]])
    seen = np.isfinite(project(edge, FOCAL, CENTRE, "opencv5", BARREL)).all(axis=1)
    assert seen.tolist() == [True, False]


def test_points_behind_the_camera() -> None:
    found = points(count=6).reshape(2, 3, 3)
    found[0, 2, 2], found[1, 1, 2] = -1, 0
    for array in (found, torch.tensor(found)):
        with pytest.raises(GeometryError, match=r"2 of 6 points are behind .* index \(0, 2\)"):
            project(array, FOCAL, CENTRE)
        pixels = np.asarray(project(array, FOCAL, CENTRE, behind="nan"))
        assert np.isnan(pixels).any(axis=-1).tolist() == [[False, False, True], [False, True, False]]
    with pytest.raises(GeometryError, match=r"1 of 1 points"):
        project(np.array([0.0, 0.0, 0.0]), FOCAL, CENTRE)
    missing = project(np.array([[np.nan] * 3, [0, 0, 1]]), FOCAL, CENTRE, "opencv5", BARREL)
    assert np.isnan(missing).tolist() == [[True, True], [False, False]]


def test_points_behind_leave_other_gradients_alone() -> None:
    found = torch.tensor([[0.1, 0.2, 0.0], [0.1, 0.2, 2.0], [0.1, 9.0, 2.0]], requires_grad=True)
    pixels = project(found, FOCAL, CENTRE, "opencv5", BARREL, behind="nan")
    pixels[1].sum().backward()  # type: ignore[no-untyped-call]
    assert found.grad is not None
    assert found.grad.isfinite().all()
    assert found.grad[1].abs().min() > 1
    (gradient,) = torch.autograd.grad(project(found, 900, 0, "opencv5", BARREL, behind="nan").nansum(), found)
    assert gradient[[0, 2]].tolist() == [[0, 0, 0]] * 2
    far = torch.tensor([[1e12, 0, 1.0], [0.1, 0.2, 2.0]], requires_grad=True)  # its powers overflow
    (gradient,) = torch.autograd.grad(project(far, 900, 0, "opencv5", [-0.3, 0.1, 0, 0, -0.1]).nansum(), far)
    assert gradient.isfinite().all()


def test_pixels_that_no_ray_reaches() -> None:
    reached = FOCAL[0] * 0.70 + CENTRE[0], CENTRE[1]
    never = FOCAL[0] * 0.71 + CENTRE[0], CENTRE[1]
    pixels = np.array([reached, never])
    with pytest.raises(GeometryError, match=r"1 of 2 pixels are reached by no ray .* index \(1,\)"):
        unproject(pixels, 2.0, FOCAL, CENTRE, "opencv5", BARREL)
    found = unproject(pixels, 2.0, FOCAL, CENTRE, "opencv5", BARREL, outside="nan")
    assert np.isnan(found).any(axis=1).tolist() == [False, True]
    with pytest.raises(GeometryError, match=r"1 of 2 depths .* index \(1,\)"):
        unproject(pixels, [1.0, 0.0], FOCAL, CENTRE)
    with pytest.raises(GeometryError, match="1 of 1 depths"):
        unproject(pixels, -1.0, FOCAL, CENTRE)


def test_wrong_lenses_are_named() -> None:
    with pytest.raises(UsageError, match=r"unknown camera model 'opencv4'; did you mean .*; there are pin"):
        project(points(), FOCAL, CENTRE, "opencv4")
    with pytest.raises(UsageError, match=r"opencv5 takes 5 .*\(k1, k2, p1, p2, k3\), got 4"):
        project(points(), FOCAL, CENTRE, "opencv5", [0.0] * 4)
    with pytest.raises(UsageError, match=r"opencv8 takes 8 .* got 0"):
        fold_radius("opencv8")
    with pytest.raises(UsageError, match=r"imar5 takes 5 .* got 1"):
        project(points(), FOCAL, CENTRE, "imar5", 0.1)
    with pytest.raises(UsageError, match="pinhole takes no distortion, got 5"):
        project(points(), FOCAL, CENTRE, "pinhole", [0.0] * 5)
    with pytest.raises(GeometryError, match="opencv5 camera: expected finite"):
        project(points(), FOCAL, CENTRE, "opencv5", [math.nan] * 5)
    with pytest.raises((UsageError, TypeCheckError)):
        project(torch.ones(1, 3, dtype=torch.int64), FOCAL, CENTRE)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_extrinsics_invert_and_compose(seed: int) -> None:
    one, other = extrinsics(seed), extrinsics(seed + 1)
    world = points(seed, 9)
    seen = world_to_camera(world, one)
    np.testing.assert_allclose(seen, world @ one[:, :3].T + one[:, 3], atol=1e-12)
    np.testing.assert_allclose(world_to_camera(seen, invert_extrinsics(one)), world, atol=1e-12)
    both = compose_extrinsics(other, one)
    np.testing.assert_allclose(world_to_camera(world, both), world_to_camera(seen, other), atol=1e-12)
    centre = invert_extrinsics(one)[:, 3]
    np.testing.assert_allclose(world_to_camera(centre, one), 0, atol=1e-12)


def test_extrinsics_broadcast_and_take_tensors() -> None:
    cameras, world = extrinsics(0, 4), points(count=6)
    found = world_to_camera(world, cameras[:, None])
    assert found.shape == (4, 6, 3)
    for row in range(4):
        np.testing.assert_allclose(found[row], world_to_camera(world, cameras[row]), atol=1e-13)
    tensors = torch.tensor(world), torch.tensor(cameras)
    np.testing.assert_allclose(world_to_camera(tensors[0], tensors[1][:, None]), found, atol=1e-13)
    np.testing.assert_allclose(invert_extrinsics(tensors[1]), invert_extrinsics(cameras), atol=1e-13)
    np.testing.assert_allclose(
        compose_extrinsics(tensors[1][0], tensors[1]), compose_extrinsics(cameras[0], cameras), atol=1e-13
    )
