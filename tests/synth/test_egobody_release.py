"""What all views of EgoBody share: lists, calibrations and fitted bodies."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.core.safe_pickle import load_pickle
from hmtools.synth.cameras import look_at
from hmtools.synth.egobody_release import (
    RECORDINGS,
    SPLITS,
    Person,
    Recording,
    make_people,
    write_body,
    write_calibrations,
    write_lists,
)

PLACES = np.array([[-1.0, 0.9, 2.5], [1.4, 0.9, 3.1]])
ROOM = look_at(np.array([0.2, 1.6, 0.0]), np.array([0.0, 0.7, 3.0]), np.array([0.0, 1, 0]))


def recording(**changes: Any) -> Recording:
    usual = {"name": "r", "scene": "hall", "split": "val", "interactee": 1, "start": 3, "end": 9}
    return Recording(**{**usual, **changes})


@pytest.fixture(scope="module")
def people() -> tuple[Person, Person]:
    return make_people(np.random.default_rng(2), recording(), PLACES, ROOM, 5, 30.0)


def test_recordings_are_named_as_released() -> None:
    assert tuple(RECORDINGS) == SPLITS
    names = [name for rows in RECORDINGS.values() for name, _ in rows]
    assert len(set(names)) == len(names)


def test_lists(tmp_path: Path) -> None:
    rows = [recording(name="b", interactee=0), recording(name="a"), recording(name="c", split="test")]
    write_lists(tmp_path, rows)
    with (tmp_path / "data_splits.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["train", "val", "test"], ["", "b", "c"], ["", "a", ""]]
    with (tmp_path / "data_info_release.csv").open(newline="") as file:
        info = {row["recording_name"]: row for row in csv.DictReader(file)}
    assert list(info) == ["a", "b", "c"]
    assert [info[name]["body_idx_fpv"] for name in "abc"] == ["1 female", "0 male", "1 female"]
    assert [info["a"][name] for name in ("scene_name", "start_frame", "end_frame")] == ["hall", "3", "9"]


def test_calibrations_return_what_the_file_says(tmp_path: Path) -> None:
    found = write_calibrations(tmp_path / "x", np.random.default_rng(0), "hall", ROOM)
    said = json.loads((tmp_path / "x/holo_to_kinect12.json").read_text())["trans"]
    np.testing.assert_array_equal(said, found)
    # The HoloLens' y axis points up: against the room's gravity in the Kinect's frame.
    np.testing.assert_allclose(found[:3, 1], ROOM[:3, 1], atol=1e-8)
    world = json.loads((tmp_path / "x/kinect12_to_world/hall.json").read_text())["trans"]
    np.testing.assert_allclose(world @ ROOM, np.eye(4), atol=1e-8)


def test_people_face_each_other_at_their_places(people: tuple[Person, Person]) -> None:
    assert [(p.who, p.body, p.actor.gender) for p in people] == [
        *(("interactee", 1, "female"), ("camera_wearer", 0, "male"))
    ]
    for person, place, other in zip(people, PLACES, PLACES[::-1], strict=True):
        posed = person.pose(2)
        transl = person.transl(2, posed.joints[0, 0])
        room = np.linalg.inv(ROOM)
        joints = (posed.joints[0] + transl) @ room[:3, :3].T + room[:3, 3]
        assert np.abs(joints[0] - place).max() < 0.4
        assert joints[15, 1] - joints[0, 1] > 0.4  # the head is above the pelvis
        left = (joints[16] - joints[17])[[0, 2]]
        towards = (other - place)[[0, 2]]
        front = np.array([-left[1], left[0]])  # a quarter turn about y, from left to front
        assert front @ towards / np.linalg.norm(front) / np.linalg.norm(towards) > 0.5


def test_bodies(tmp_path: Path, people: tuple[Person, Person]) -> None:
    rest = np.array([0.1, -0.3, 0.05])
    for person in people:
        write_body(tmp_path, recording(), person, 42, 3, rest)
        folder = tmp_path / f"smplx_{person.who}_val" / "r" / f"body_idx_{person.body}"
        values = load_pickle(folder / "results" / "frame_00042" / "000.pkl")
        np.testing.assert_array_equal(values["transl"][0], person.transl(3, rest))
        np.testing.assert_array_equal(values["body_pose"][0], person.actor.pose["body_pose"][3])
        np.testing.assert_array_equal(values["left_hand_pose"][0], person.hands["left_hand_pose"][3])
        assert values["left_hand_pose"].shape == (1, 12)
        assert values["gender"] == person.actor.gender
