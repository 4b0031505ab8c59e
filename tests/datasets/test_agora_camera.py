"""Cameras of AGORA by the name of an image, and where people stand before them."""

from __future__ import annotations

import numpy as np
import pytest

from hmtools.bodies.camera import transform_to_camera
from hmtools.datasets.agora_camera import person_to_camera, scene_camera

TOP = np.array([0.0, 1.7, 0.0])  # of a head in the frame of a fit
FRONT, LEFT = np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0])  # of a person, likewise


def seen(matrix: np.ndarray, point: np.ndarray) -> np.ndarray:
    return np.asarray(matrix[:, :3] @ point + matrix[:, 3])


@pytest.mark.parametrize(
    ("name", "focal"),
    [
        ("x_hdri_50mm_1.png", 5333.3333),
        ("x_cam02_1.png", 1920),
        ("ag2_1.png", 2986.6667),
        ("x_1.png", 2986.6667),
    ],
)
def test_focal_length_by_name_and_size(name: str, focal: float) -> None:
    camera = scene_camera(name)
    np.testing.assert_allclose(camera.focal_length(3840, 2160), focal, rtol=1e-6)
    np.testing.assert_allclose(camera.focal_length(1280, 720), focal / 3, rtol=1e-6)
    assert camera.principal_point(3840, 2160).tolist() == [1920, 1080]
    assert camera.principal_point(1280, 720).tolist() == [640, 360]


def test_a_person_five_metres_ahead_faces_the_camera_at_a_yaw_of_90() -> None:
    matrix = person_to_camera(scene_camera("hdri"), (500, 0, 0), 90)
    np.testing.assert_allclose(seen(matrix, TOP), [0, 0, 5], atol=1e-12)
    np.testing.assert_allclose(seen(matrix, TOP + FRONT), [0, 0, 4], atol=1e-12)
    np.testing.assert_allclose(seen(matrix, TOP + LEFT), [1, 0, 5], atol=1e-12)
    np.testing.assert_allclose(seen(matrix, np.zeros(3)), [0, 1.7, 5], atol=1e-12)


def test_yaw_turns_from_ahead_to_the_right() -> None:
    matrix = person_to_camera(scene_camera("hdri"), (500, 100, 0), 0)
    np.testing.assert_allclose(seen(matrix, TOP), [1, 0, 5], atol=1e-12)
    # at a yaw of 0 the front of a fit, +z, looks to the camera's right
    np.testing.assert_allclose(seen(matrix, TOP + FRONT), [2, 0, 5], atol=1e-12)


@pytest.mark.parametrize("name", ["cam00", "cam01", "cam02", "cam03"])
def test_the_four_cameras_of_a_scene_look_down_at_its_middle(name: str) -> None:
    x, y, z = seen(person_to_camera(scene_camera(f"ag_{name}_1.png"), (0, 0, 0), 90), np.zeros(3))
    assert 5 < z < 7
    assert abs(x) < 0.5 * z  # half of what it sees
    assert abs(y) < 0.1 * z


def test_pitch_of_ag2() -> None:
    """Level ground ahead of a camera that looks down by 15 degrees is seen higher than it is."""
    matrix = person_to_camera(scene_camera("ag2_1.png"), (1000, 0, 170), 90)
    down = np.deg2rad(15)
    np.testing.assert_allclose(
        seen(matrix, np.zeros(3)), [0, -10 * np.sin(down), 10 * np.cos(down)], atol=1e-12
    )


def test_other_names_take_the_camera_of_the_row_over_their_own_ground() -> None:
    camera = scene_camera("ag_trainset_1.png", (100, 50, 20, 90))
    # looks along Unreal's +y; 1.7 m above where the row says
    matrix = person_to_camera(camera, (100, 450, 20 + 170), 0)
    np.testing.assert_allclose(seen(matrix, np.zeros(3)), [0, 0, 4], atol=1e-12)


def test_named_cameras_ignore_the_row() -> None:
    assert scene_camera("x_cam01_1", (9, 9, 9, 9)) == scene_camera("x_cam01_1")


def test_the_first_word_counts() -> None:
    assert scene_camera("ag2_hdri_1").millimetres == 50
    assert scene_camera("ag2_cam03_1").pitch == 30


def test_without_a_place() -> None:
    with pytest.raises(ValueError, match="camX, camY, camZ, camYaw: missing"):
        person_to_camera(scene_camera("other"), (0, 0, 0), 0)
    with pytest.raises(ValueError, match="expected finite numbers"):
        person_to_camera(scene_camera("hdri"), (0, float("nan"), 0), 0)


def test_what_is_made_is_a_rigid_motion() -> None:
    matrix = person_to_camera(scene_camera("cam03"), (12, 34, 56), 78)
    np.testing.assert_allclose(matrix[:, :3] @ matrix[:, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix[:, :3]) > 0
    transform_to_camera(np.zeros(3), np.zeros(3), np.zeros(3), matrix)
