"""Cameras see what OpenCV and the published formula say, look where they are told, and refuse the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core.errors import GeometryError, UsageError
from hmtools.synth.actors import UP_AXES, make_actors, pose_actors
from hmtools.synth.cameras import LENSES, Camera, look_at, make_camera, see

Array = np.ndarray[Any, np.dtype[np.float64]]
NOBODY = np.zeros((0, 3))
Y, Z = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])


def camera(model: str = "pinhole", seed: int = 0, **changes: Any) -> Camera:
    given = {"width": 640, "height": 480, "up": Y, "front": Z, "target": np.zeros(3), "distance": 4.0}
    return make_camera(np.random.default_rng(seed), 5, model=model, **given | changes)  # type: ignore[arg-type]


def cloud(seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(-0.9, 0.9, (200, 3))


@pytest.mark.parametrize("model", ["pinhole", "opencv5", "opencv8"])
@pytest.mark.parametrize("seed", range(4))
def test_opencv_sees_the_same(model: str, seed: int) -> None:
    made = camera(model, seed)
    view = see(cloud(seed), cloud(seed + 50), made, 2)
    (fx, fy), (cx, cy) = made.focal_length, made.principal_point
    intrinsics = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    matrix = made.world_to_cam[2]
    turn, shift = cv2.Rodrigues(matrix[:3, :3])[0], matrix[:3, 3]
    for points, pixels in ((cloud(seed), view.pixels), (cloud(seed + 50), view.joints2d)):
        expected = cv2.projectPoints(points, turn, shift, intrinsics, np.array(made.distortion))[0][:, 0]
        np.testing.assert_allclose(pixels, expected, atol=1e-6)
    np.testing.assert_allclose(view.vertices, cloud(seed) @ matrix[:3, :3].T + shift)


def test_the_laboratory_lens_follows_its_formula() -> None:
    made = camera("imar5")
    view = see(cloud(), NOBODY, made)
    k1, k2, k3, p1, p2 = made.distortion
    x, y = (view.vertices[:, :2] / view.vertices[:, 2:]).T
    r2 = x * x + y * y
    factor = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3 + p1 * y + p2 * x
    bent = np.stack([x * factor + p2 * r2, y * factor + p1 * r2], axis=1)
    np.testing.assert_allclose(view.pixels, bent * made.focal_length + made.principal_point, atol=1e-9)


@pytest.mark.parametrize("model", [name for name in LENSES if name != "pinhole"])
def test_lenses_bend_by_some_pixels(model: str) -> None:
    made = camera(model)
    straight = replace(made, model="pinhole", distortion=np.zeros(0))
    bend = abs(see(cloud(), NOBODY, made).pixels - see(cloud(), NOBODY, straight).pixels)
    assert 1 < bend.max() < 40


numbers = st.floats(-5, 5)


@given(eye=st.tuples(numbers, numbers, numbers), target=st.tuples(numbers, numbers, numbers))
@settings(max_examples=60, deadline=None)
def test_look_at(eye: tuple[float, ...], target: tuple[float, ...]) -> None:
    away = np.subtract(target, eye)
    if np.linalg.norm(np.cross(away, Y)) < 0.01:
        return
    matrix = look_at(np.array(eye), np.array(target), Y)
    turn = matrix[:3, :3]
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)
    np.testing.assert_allclose(matrix @ np.array([*eye, 1]), [0, 0, 0, 1], atol=1e-9)
    np.testing.assert_allclose(
        matrix @ np.array([*target, 1]), [0, 0, float(np.linalg.norm(away)), 1], atol=1e-9
    )
    assert turn[0] @ Y == pytest.approx(0, abs=1e-12)  # the horizon is level
    assert turn[1] @ Y < 0  # image y points down


@pytest.mark.parametrize("target", [(0, 3, 0), (0, 0, 0)])
def test_no_horizon(target: tuple[float, ...]) -> None:
    with pytest.raises(GeometryError, match="no horizon"):
        look_at(np.zeros(3), np.array(target, np.float64), Y)


@pytest.mark.parametrize("z", [-1.0, 0.0, 0.04, np.nan])
def test_people_behind_the_camera(z: float) -> None:
    made = replace(camera(), world_to_cam=np.eye(4)[None])
    point = np.array([[0.0, 0.0, z]])
    front = np.array([[0.0, 0.0, 2.0]])
    assert see(front, front, made).pixels.shape == (1, 2)
    for vertices, joints in ((point, front), (front, point)):
        with pytest.raises(GeometryError, match=r"frame 0\); all must be more than 0.05 m in front"):
            see(vertices, joints, made)


def test_camera_too_near_its_people() -> None:
    (posed,) = pose_actors(make_actors(np.random.default_rng(0), 1, 1))
    with pytest.raises(GeometryError, match="put it further away"):
        see(posed.vertices[0], posed.joints[0], camera(distance=0.1))


def test_standing_and_moving() -> None:
    still, moving = camera().world_to_cam, camera(moving=True).world_to_cam
    assert (still == still[0]).all()
    long = camera(moving=True, fps=2.0).world_to_cam
    for matrices, least, most in ((moving, 1e-3, 0.05), (long, 0.05, 0.8)):
        centres = -np.einsum("tij,ti->tj", matrices[:, :3, :3], matrices[:, :3, 3])
        step = np.linalg.norm(np.diff(centres, axis=0), axis=1)
        assert least < step.max() < most
    np.testing.assert_array_equal(moving, camera(moving=True).world_to_cam)
    assert not np.array_equal(camera(seed=1).world_to_cam, still)


@pytest.mark.parametrize("up", UP_AXES)
def test_people_are_upright_in_the_picture(up: str) -> None:
    axis, front = UP_AXES[up] @ Y, UP_AXES[up] @ Z
    actors = make_actors(np.random.default_rng(2), 2, 1, up=up)
    made = camera(up=axis, front=front, target=-0.3 * axis, distance=6.0)
    for posed in pose_actors(actors):
        view = see(posed.vertices[0], posed.joints[0], made)
        assert view.joints2d[15, 1] < view.joints2d[0, 1] < view.joints2d[10, 1]  # head, pelvis, foot
        assert view.joints2d[1, 0] > view.joints2d[2, 0]  # the left hip is on the right: they face us
        assert (view.pixels > 0).all()
        assert (view.pixels < [640, 480]).all()


def test_unknown_lens() -> None:
    with pytest.raises(UsageError, match="expected one of pinhole, opencv5, opencv8, imar5, found 'fisheye'"):
        camera("fisheye")
