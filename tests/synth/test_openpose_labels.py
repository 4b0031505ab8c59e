"""OpenPose's points, what a detector makes of them, and the file."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hmtools.humandata.keypoints import convention
from hmtools.synth.openpose_labels import PARTS, detect, draw, openpose_points, people_json

WIDTH, HEIGHT = 640, 480


def points(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(20, 460, (137, 2))


def test_every_point_is_the_joint_it_is_named_after() -> None:
    source, target = convention("smplx_144").keys, convention("openpose_137").keys
    joints = np.stack([np.arange(144.0), np.zeros(144)], axis=1)
    for name, number in zip(target, openpose_points(joints)[:, 0], strict=True):
        joint = source[int(number)]
        plain = name.removesuffix("_unused").removesuffix("_openpose").replace("eye_brow", "eyebrow")
        assert joint == plain


def test_parts_are_the_whole() -> None:
    assert [part.stop - part.start for part in PARTS.values()] == [25, 21, 21, 70]
    assert sorted(i for part in PARTS.values() for i in range(137)[part]) == list(range(137))


def test_detections_are_near_or_missing() -> None:
    exact = points()
    found = detect(np.random.default_rng(1), exact, WIDTH, HEIGHT, 0.5)
    seen = found[:, 2] > 0
    assert 0.8 < seen.mean() < 1
    assert not found[~seen].any()
    assert (found[seen, 2] < 1).all()
    gap = np.linalg.norm(found[seen, :2] - exact[seen], axis=1)
    assert 0.2 < gap.mean() < 1.0
    np.testing.assert_array_equal(found, np.round(found, 6))
    np.testing.assert_array_equal(found[:, :2], np.round(found[:, :2], 3))


@pytest.mark.parametrize("seed", range(5))
def test_every_part_misses_one(seed: int) -> None:
    found = detect(np.random.default_rng(seed), points(), WIDTH, HEIGHT, 0.5)
    assert all((found[part, 2] == 0).any() for part in PARTS.values())


def test_what_cannot_be_seen_is_not_found() -> None:
    exact = points()
    hidden = [0, 30, 60, 100]
    exact[hidden] = [[-1, 5], [WIDTH, 5], [5, HEIGHT], [np.nan, np.nan]]
    found = detect(np.random.default_rng(0), exact, WIDTH, HEIGHT, 0.0)
    assert not found[hidden].any()


def test_people_json() -> None:
    found = [detect(np.random.default_rng(seed), points(seed), WIDTH, HEIGHT, 0.5) for seed in (0, 1)]
    data = json.loads(json.dumps(people_json(found)))
    assert len(data["people"]) == 2
    for person, expected in zip(data["people"], found, strict=True):
        rows = {key: np.reshape(value, (-1, 3)) for key, value in person.items() if key.endswith("_2d")}
        np.testing.assert_array_equal(rows["pose_keypoints_2d"], expected[:25])
        np.testing.assert_array_equal(rows["hand_left_keypoints_2d"], expected[25:46])
        np.testing.assert_array_equal(rows["hand_right_keypoints_2d"], expected[46:67])
        np.testing.assert_array_equal(rows["face_keypoints_2d"], expected[67:])
    assert people_json([])["people"] == []


def test_drawn_where_found() -> None:
    found = np.zeros((137, 3))
    found[[0, 1, 50]] = [[100, 50, 0.5], [100, 90, 0.5], [300, 200, 0.5]]
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    draw(image, [found])
    assert image[50, 100].tolist() == image[200, 300].tolist() == [255, 0, 0]
    assert image[70, 100].tolist() == [255, 255, 0]
    assert not image[:40].any()  # the missing ones, which are written as 0, 0
    assert not image[:, :90].any()
