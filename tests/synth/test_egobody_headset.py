"""The headset looks at people, and its files say what it saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.synth.cameras import see
from hmtools.synth.egobody_headset import Headset, write_detections, write_poses

POINTS = np.array([[x, y, z] for x in (-0.3, 0.3) for y in (-0.8, 0.9) for z in (2.8, 3.2)])


def headset(phase: float = 0.0, size: tuple[int, int] = (192, 108)) -> Headset:
    holo = np.array([[0.0, 0, 1, 0.4], [0, -1, 0, 1.5], [1, 0, 0, -0.3], [0, 0, 0, 1]])
    return Headset(
        eye=np.array([2.8, -0.6, 2.5]),
        up=np.array([0.0, -1, 0]),
        holo_to_kinect=holo,
        principal_point=np.array([95.0, 54.5]),
        width=size[0],
        height=size[1],
        phase=phase,
    )


@settings(max_examples=40, deadline=None)
@given(phase=st.floats(0, 6.2), seconds=st.floats(0, 100))
def test_somebody_is_in_the_middle(phase: float, seconds: float) -> None:
    worn = headset(phase)
    camera = worn.camera(worn.look(POINTS, seconds, 10**17))
    pixels = see(POINTS[:0], POINTS, camera).joints2d
    middle = (pixels.min(axis=0) + pixels.max(axis=0)) / 2
    assert np.abs(middle - worn.principal_point).max() < 10
    assert (pixels[[2, 3, 6, 7], 1] > pixels[[0, 1, 4, 5], 1]).all()  # y of the Kinect is down, as here
    assert camera.focal_length == pytest.approx(145, rel=0.022)


@pytest.mark.parametrize("outside", [0.2, 0.34, 0.5])
def test_part_of_somebody_lies_beyond_the_left_edge(outside: float) -> None:
    worn = headset(1.0)
    camera = worn.camera(worn.look(POINTS, 0.5, 10**17, outside=outside))
    across = see(POINTS[:0], POINTS, camera).joints2d[:, 0]
    assert -(across.min() + 0.5) / np.ptp(across) == pytest.approx(outside, abs=0.01)


def test_a_camera_of_a_glance_goes_through_the_world_of_the_headset() -> None:
    worn = headset(2.0)
    glance = worn.look(POINTS, 0.1, 10**17)
    world = np.linalg.inv(worn.holo_to_kinect) @ [*POINTS[3], 1]
    back = np.linalg.inv(glance.cam_to_world) @ world  # x right, y up, z backward
    seen = see(POINTS[:0], POINTS, worn.camera(glance)).joints[3]
    np.testing.assert_allclose(seen, back[:3] * [1, -1, -1], atol=1e-12)
    np.testing.assert_allclose(glance.world_to_cam() @ world, [*seen, 1], atol=1e-12)


def test_poses_keep_every_digit(tmp_path: Path) -> None:
    worn = headset()
    glances = [worn.look(POINTS, number / 30, 133_500_000_000_000_001 + number) for number in range(3)]
    write_poses(tmp_path / "pv.txt", worn, glances, separator=", ")
    head, *lines = [line.split(", ") for line in (tmp_path / "pv.txt").read_text().splitlines()]
    assert head == ["95.0", "54.5", "192", "108"]
    for line, glance in zip(lines, glances, strict=True):
        assert line[0] == f"{glance.timestamp}"
        numbers = [float(word) for word in line[1:]]
        assert numbers == [*glance.focal_length.tolist(), *glance.cam_to_world.ravel().tolist()]


def test_detections(tmp_path: Path) -> None:
    found = np.zeros((2, 25, 3), np.float32)
    found[0, 3], found[0, 8] = (10, 20, 0.5), (50, 40, 0.9)
    write_detections(
        tmp_path, [("b.jpg", found[0]), ("a.jpg", found[1])], "female", ["a.jpg", "b.jpg", "c.jpg"]
    )
    with np.load(tmp_path / "keypoints.npz") as file:
        assert file["imgname"].tolist() == ["b.jpg", "a.jpg"]
        assert file["center"].tolist() == [[30, 30], [0, 0]]
        np.testing.assert_allclose(file["scale"], [1.2 * 40 / 200, 0])
        np.testing.assert_array_equal(file["keypoints"], found)
        assert file["gender"].tolist() == ["female", "female"]
    with np.load(tmp_path / "valid_frame.npz") as file:
        assert dict(zip(file["imgname"].tolist(), file["valid"].tolist(), strict=True)) == {
            **{"a.jpg": True, "b.jpg": True, "c.jpg": False}
        }


def test_nobody_detected(tmp_path: Path) -> None:
    write_detections(tmp_path, [], "male", ["a.jpg"])
    with np.load(tmp_path / "keypoints.npz") as file:
        assert [file[name].shape for name in ("imgname", "keypoints", "center", "scale", "gender")] == [
            *((0,), (0, 25, 3), (0, 2), (0,), (0,))
        ]
