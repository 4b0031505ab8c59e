from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from hmtools.core.errors import UsageError
from hmtools.geometry.flip import (
    mirror_axis_angle,
    mirror_distortion,
    mirror_extrinsics,
    mirror_matrix,
    mirror_pixels,
    mirror_points,
    mirror_pose,
    mirror_xywh,
    permutation_from_pairs,
)
from hmtools.geometry.projection import CAMERA_MODELS, project, world_to_camera
from hmtools.geometry.rotation import axis_angle_to_matrix

Array = np.ndarray[Any, Any]
GOLDEN = Path(__file__).parents[1] / "golden" / "geometry"
SWAP = permutation_from_pairs([(1, 2), (3, 5)], 6)
WIDTH = 640
seeds = st.integers(0, 2**32 - 1)


def drawn(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).uniform(-2, 2, shape)


def test_permutations_come_from_pairs() -> None:
    assert SWAP == (0, 2, 1, 5, 4, 3)
    assert permutation_from_pairs([], 2) == (0, 1)
    with pytest.raises(UsageError, match=r"pair \(1, 6\): expected indices from 0 to 5"):
        permutation_from_pairs([(1, 6)], 6)
    for pairs in ([(1, 2), (2, 3)], [(1, 2), (1, 2)], [(4, 4)]):
        with pytest.raises(UsageError, match=r"each index may occur once"):
            permutation_from_pairs(pairs, 6)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_mirrored_rotations_rotate_mirrored_points(seed: int) -> None:
    vector, points = drawn(seed, 3), drawn(seed + 1, 5, 3)
    rotation = Rotation.from_rotvec(vector)
    mirrored = mirror_points(rotation.apply(points))
    np.testing.assert_allclose(
        Rotation.from_rotvec(mirror_axis_angle(vector)).apply(mirror_points(points)), mirrored, atol=1e-12
    )
    matrix = mirror_matrix(rotation.as_matrix())
    np.testing.assert_allclose(mirror_points(points) @ matrix.T, mirrored, atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_mirroring_twice_changes_nothing(seed: int) -> None:
    pose, box = drawn(seed, 2, 6, 3), drawn(seed, 4, 4)
    lens = drawn(seed, 8)
    twice: list[tuple[Any, Any]] = [
        (mirror_axis_angle(mirror_axis_angle(pose)), pose),
        (mirror_pose(mirror_pose(pose, SWAP), SWAP), pose),
        (mirror_matrix(mirror_matrix(pose[0, :3])), pose[0, :3]),
        (mirror_points(mirror_points(pose, SWAP), SWAP), pose),
        (mirror_pixels(mirror_pixels(pose, WIDTH, SWAP), WIDTH, SWAP), pose),
        (mirror_xywh(mirror_xywh(box, WIDTH), WIDTH), box),
        (mirror_distortion("opencv8", mirror_distortion("opencv8", lens)), lens),
        (
            mirror_extrinsics(mirror_extrinsics(pose[:, :3].repeat(2, -1)[..., :4])),
            pose[:, :3].repeat(2, -1)[..., :4],
        ),
    ]
    for found, original in twice:
        np.testing.assert_allclose(found, original, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(seeds, st.sampled_from(["pinhole", "opencv5", "opencv8", "imar5"]))
def test_the_mirrored_camera_sees_the_mirrored_world_in_the_mirrored_image(seed: int, model: str) -> None:
    world, pose = drawn(seed, 7, 3), drawn(seed + 1, 3)
    outer = np.concatenate([Rotation.from_rotvec(pose).as_matrix(), [[0.1], [0.2], [9]]], axis=1)
    lens = drawn(seed + 2, len(CAMERA_MODELS[model].coefficients)) * 0.05
    focal, principal = (700, 690), np.array([[310.0, 250.0]])
    before = project(world_to_camera(world, outer), focal, principal, model, lens)
    assert np.isfinite(before).all()
    after = project(
        world_to_camera(mirror_points(world), mirror_extrinsics(outer)),
        focal,
        mirror_pixels(principal, WIDTH),
        model,
        mirror_distortion(model, lens),
    )
    np.testing.assert_allclose(after, mirror_pixels(before, WIDTH), atol=1e-9)


def test_mirrored_pixels_show_the_mirrored_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7))
    points = np.array([[0.0, 0, 0.9], [6, 4, 0.1], [2, 3, 0.5]])
    found = mirror_pixels(points, 7)
    assert found[:, 2].tolist() == [0.9, 0.1, 0.5]
    x, y = found[:, :2].T.astype(int)
    assert np.array_equal(image[:, ::-1][y, x], image[points[:, 1].astype(int), points[:, 0].astype(int)])
    swapped = mirror_pixels(points, 7, (0, 2, 1))
    assert swapped.tolist() == found[[0, 2, 1]].tolist()


def test_mirrored_boxes_hold_the_mirrored_points() -> None:
    assert mirror_xywh(np.array([10.0, 20, 30, 40]), 100).tolist() == [59, 20, 30, 40]
    corners = np.array([[10.0, 20], [40, 60]])
    assert sorted(mirror_pixels(corners, 100)[:, 0].tolist()) == [59, 89]


def test_wham_mirrors_one_pixel_further() -> None:
    with np.load(GOLDEN / "wham.npz") as file:
        stored = {key: file[key] for key in ("bb", "flip_bbox", "kp", "flip_kp")}
    found = mirror_pixels(stored["bb"], WIDTH + 1)
    np.testing.assert_allclose(found, stored["flip_bbox"], atol=1e-4)
    pairs = [(left, left + 1) for left in range(1, 17, 2)]  # COCO: nose, then left and right in turn
    found = mirror_pixels(stored["kp"], WIDTH + 1, permutation_from_pairs(pairs, 17))
    np.testing.assert_allclose(found, stored["flip_kp"], atol=1e-4)


def test_tensors_keep_their_type_and_gradients() -> None:
    pose = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = mirror_pose(pose, SWAP)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.detach(), mirror_pose(pose.detach().numpy(), SWAP))
    (gradient,) = torch.autograd.grad(found.sum(), pose)
    assert gradient[0, 0].tolist() == [1, -1, -1]
    matrix = mirror_matrix(axis_angle_to_matrix(pose))
    torch.testing.assert_close(matrix, axis_angle_to_matrix(mirror_axis_angle(pose)))
    assert mirror_pixels(pose, WIDTH, SWAP).dtype == torch.float32


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(UsageError, match="a permutation of 6 entries"):
        mirror_pose(np.zeros((2, 6, 3)), (0, 1, 2))
    with pytest.raises(UsageError, match="a permutation of 3 entries"):
        mirror_pixels(np.zeros((3, 2)), WIDTH, (0, 1, 1))
    with pytest.raises(UsageError, match=r"opencv5 takes 5 .* got 4"):
        mirror_distortion("opencv5", [0.0] * 4)
    with pytest.raises(UsageError, match="unknown camera model"):
        mirror_distortion("fisheye", [0.0] * 4)
