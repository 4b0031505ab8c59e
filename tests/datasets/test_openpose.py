"""OpenPose's files: parts in their order, confidences as they are, nothing for nobody, errors for damage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.datasets.openpose import read_openpose
from hmtools.humandata.keypoints import convention

PARTS = {
    "pose_keypoints_2d": 25,
    "hand_left_keypoints_2d": 21,
    "hand_right_keypoints_2d": 21,
    "face_keypoints_2d": 70,
}


def person(**fields: Any) -> dict[str, Any]:
    """Joint k of all 137 lies at (k, 2 k) with confidence 0.5."""
    found: dict[str, Any] = {}
    first = 0
    for name, count in PARTS.items():
        found[name] = [v for k in range(first, first + count) for v in (float(k), 2.0 * k, 0.5)]
        first += count
    return dict(reversed({**found, **fields}.items()))  # the order of the fields says nothing


def write(path: Path, people: Any) -> Path:
    path.write_text(json.dumps({"version": 1.1, "people": people}))
    return path


def test_parts_stand_in_the_order_of_the_convention(tmp_path: Path) -> None:
    found = read_openpose(write(tmp_path / "a.json", [person(), {"of": "no interest"}]))
    row = np.arange(137)
    assert np.array_equal(found, np.stack([row, 2 * row, np.full(137, 0.5)], axis=1))
    assert found.dtype == np.float32
    names = convention("openpose_137").names
    assert len(found) == len(names)
    assert (names[8], names[25], names[46], names[75]) == (
        "pelvis",
        "left_wrist_openpose",
        "right_wrist_openpose",
        "contour_middle",
    )


def test_joints_that_were_not_found_have_no_place(tmp_path: Path) -> None:
    body = person()["pose_keypoints_2d"]
    body[3:6] = [7.0, 8.0, 0.0]
    body[6:9] = [7.0, 8.0, 1e-3]
    found = read_openpose(write(tmp_path / "a.json", [person(pose_keypoints_2d=body)]))
    assert found[1].tolist() == [0, 0, 0]
    assert found[2].tolist() == [7, 8, np.float32(1e-3)]


def test_nobody(tmp_path: Path) -> None:
    assert read_openpose(tmp_path / "none.json") is None
    assert read_openpose(write(tmp_path / "a.json", [])) is None


@pytest.mark.parametrize(
    "people",
    [
        None,
        "people",
        {"0": 1},
        [None],
        [[1.0]],
        [{}],
        [person(face_keypoints_2d=[])],
        [person(pose_keypoints_2d=[0.0] * 54)],
        [person(hand_left_keypoints_2d=[0.0] * 62 + ["1"])],
        [person(hand_left_keypoints_2d=[0.0] * 62 + [-0.1])],
        [person(hand_left_keypoints_2d=[0.0] * 62 + [float("nan")])],
        [person(hand_left_keypoints_2d=[0.0] * 62 + [10**400])],
    ],
)
def test_damage(tmp_path: Path, people: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, OverflowError)):
        read_openpose(write(tmp_path / "a.json", people))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b"\xff", b"[" * 100_000])
def test_what_is_no_json(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises((KeyError, TypeError, ValueError, RecursionError)):
        read_openpose(tmp_path / "a.json")


def test_numbers_beyond_float32_become_infinite(tmp_path: Path) -> None:
    face = person()["face_keypoints_2d"]
    face[0] = 1e300
    found = read_openpose(write(tmp_path / "a.json", [person(face_keypoints_2d=face)]))
    assert np.isinf(found[67, 0])
