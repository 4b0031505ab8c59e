"""3DPW's sequence files: every field checked, whatever a pickle holds."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core.errors import AssetError, LayoutError, UnsafeFileError
from hmtools.datasets import pw3d_sequences
from hmtools.datasets.pw3d_sequences import Recording, Subject, read_recording, up_axis
from tests.datasets.pw3d_tree import FOCAL, camera, points, pose, recording, write_recording


def stored(tmp_path: Path, **changes: Any) -> Recording:
    return read_recording(write_recording(tmp_path, recording("walk_00") | changes, name="walk_00"))


def subject(found: Recording, number: int) -> Subject:
    person = found.people[number]
    assert isinstance(person, Subject), person
    return person


def test_everything_is_where_it_belongs(tmp_path: Path) -> None:
    found = stored(tmp_path)
    assert len(found) == 3
    assert found.focal_length.tolist() == list(FOCAL)
    assert found.principal_point.tolist() == [26.75, 48.25]
    assert np.array_equal(found.world_to_cam, np.stack([camera(i)[:3] for i in range(3)]))
    assert found.frames_60hz is not None
    assert found.frames_60hz.tolist() == [1, 3, 5]
    assert [subject(found, p).gender for p in (0, 1)] == ["male", "female"]
    for p in (0, 1):
        person = subject(found, p)
        assert np.array_equal(person.poses, np.stack([pose(i, p) for i in range(3)]))
        assert np.array_equal(person.points, np.stack([points(i, p) for i in range(3)]))
        assert person.transl[2].tolist() == [0.2, 1.0, p]
        assert person.joints.shape == (3, 24, 3)
        assert person.valid_camera.tolist() == [True] * 3
        assert person.clothed


def test_long_betas_are_cut(tmp_path: Path) -> None:
    found = stored(tmp_path, betas=[np.arange(300.0), np.arange(10.0)])
    assert [subject(found, p).betas.tolist() for p in (0, 1)] == [list(range(10))] * 2


def as_objects(rows: list[Any]) -> Any:
    array = np.empty(len(rows), object)
    array[:] = [[list(map(float, row)) for row in rows_] for rows_ in rows]
    return array


FORMS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "object arrays": lambda data: {"poses": as_objects(data["poses"]), "trans": as_objects(data["trans"])},
    "one array for all people": lambda data: {"poses": np.stack(data["poses"])},
    "bytes": lambda data: {"genders": [b"m", b"f"], "sequence": b"walk_00"},
    "array of genders": lambda data: {"genders": np.array(["m", "f"])},
    "float flags": lambda data: {"campose_valid": [np.ones(3), np.ones(3, bool)]},
}


@pytest.mark.parametrize("form", FORMS)
def test_other_forms_of_the_same(tmp_path: Path, form: str) -> None:
    data = recording("walk_00")
    (tmp_path / "a").mkdir()
    usual, other = stored(tmp_path / "a"), stored(tmp_path, **FORMS[form](data))
    for p in (0, 1):
        for name in Subject.__slots__:
            assert np.array_equal(getattr(subject(usual, p), name), getattr(subject(other, p), name)), name


def test_no_clothes_and_no_video_numbers(tmp_path: Path) -> None:
    data = recording("walk_00")
    del data["betas_clothed"], data["img_frame_ids"]
    found = read_recording(write_recording(tmp_path, data))
    assert found.frames_60hz is None
    assert not subject(found, 0).clothed


BROKEN_FILES: dict[str, tuple[dict[str, Any], str]] = {
    "sequence of another": ({"sequence": "run_01"}, "says it is of sequence 'run_01'"),
    "no frames": ({"cam_poses": np.zeros((0, 4, 4))}, r"has cam_poses of shape \(0, 4, 4\)"),
    "half a camera": ({"cam_poses": np.zeros((3, 3, 4))}, r"cam_poses of shape \(3, 3, 4\)"),
    "no numbers": ({"cam_poses": "none"}, "cam_poses: expected numbers"),
    "focal length 0": ({"cam_intrinsics": np.zeros((3, 3))}, "cam_intrinsics .*not those of a camera"),
    "nan": ({"cam_intrinsics": np.full((3, 3), np.nan)}, "not those of a camera"),
    "60 Hz numbers of another": ({"img_frame_ids": np.arange(5)}, r"img_frame_ids: expected shape \(3,\)"),
    "no 60 Hz numbers": ({"img_frame_ids": np.full(3, np.nan)}, "img_frame_ids: expected frame numbers"),
    "nobody": ({"genders": []}, "genders: expected one for each person, found nobody"),
    "genders no list": ({"genders": 2}, "int"),
}


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_a_file_that_is_no_sequence_is_named(tmp_path: Path, name: str) -> None:
    changes, words = BROKEN_FILES[name]
    with pytest.raises(LayoutError, match=rf"walk_00\.pkl: expected a sequence file of 3DPW.*{words}"):
        read_recording(write_recording(tmp_path, recording("walk_00") | changes, name="walk_00"))


@pytest.mark.parametrize("field", ["sequence", "genders", "cam_poses", "cam_intrinsics"])
def test_a_missing_field_is_named(tmp_path: Path, field: str) -> None:
    data = recording("walk_00")
    del data[field]
    with pytest.raises(LayoutError, match=f"has no '{field}'"):
        read_recording(write_recording(tmp_path, data, name="walk_00"))


BROKEN_PEOPLE: dict[str, tuple[dict[str, Any], str]] = {
    "short": (
        {"poses": [np.zeros((3, 72)), np.zeros((2, 72))]},
        "poses: expected shape (3, 72), found (2, 72)",
    ),
    "one person less": ({"trans": [np.zeros((3, 3))]}, "list index out of range"),
    "not transposed": ({"poses2d": [np.zeros((3, 3, 18)), np.zeros((3, 18, 3))]}, "poses2d: expected shape"),
    "gender": ({"genders": ["m", "x"]}, "genders: expected m or f, found 'x'"),
    "few betas": ({"betas": [np.zeros(10), np.zeros(9)]}, "betas: expected 10 numbers or more"),
    "flags": ({"campose_valid": [np.ones(3), np.array([0, 1, 2])]}, "campose_valid: expected 0 and 1"),
    "words": ({"jointPositions": [np.zeros((3, 72)), "none"]}, "jointPositions: expected numbers"),
}


@pytest.mark.parametrize("name", BROKEN_PEOPLE)
def test_one_broken_person_costs_the_other_nothing(tmp_path: Path, name: str) -> None:
    changes, words = BROKEN_PEOPLE[name]
    found = stored(tmp_path, **changes)
    subject(found, 0)
    assert isinstance(found.people[1], str)
    assert words in found.people[1]


def test_a_field_that_nobody_has(tmp_path: Path) -> None:
    data = recording("walk_00")
    del data["poses2d"]
    assert read_recording(write_recording(tmp_path, data)).people == ("has no 'poses2d'",) * 2


@pytest.mark.parametrize("damage", [b"", b"\x80\x02noise"])
def test_no_pickle(tmp_path: Path, damage: bytes) -> None:
    path = write_recording(tmp_path, recording("walk_00"))
    path.write_bytes(damage)
    with pytest.raises(AssetError, match=r"walk_00\.pkl"):
        read_recording(path)


def test_a_pickle_that_runs_something_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "walk_00.pkl"
    path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(UnsafeFileError, match=r"walk_00\.pkl.*system"):
        read_recording(path)


def test_not_a_dictionary(tmp_path: Path) -> None:
    path = tmp_path / "walk_00.pkl"
    path.write_bytes(pickle.dumps([1, 2], protocol=2))
    with pytest.raises(LayoutError, match="holds list, not a dictionary"):
        read_recording(path)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(0, 2), inner, max_size=2),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(field=st.sampled_from(sorted(recording("walk_00"))), value=ANYTHING)
def test_whatever_a_field_holds(field: str, value: Any) -> None:
    """A recording with sound people, words about the others, or an error that becomes a LayoutError."""
    try:
        found = pw3d_sequences._recording(recording("walk_00") | {field: value}, "walk_00")
    except (KeyError, TypeError, ValueError):
        return
    for person in found.people:
        assert isinstance(person, str) or person.poses.shape == (3, 72)


class TestUp:
    """Which way people stand is in the data."""

    def turned(self, tmp_path: Path, rows: list[int], sign: int) -> str | None:
        data = recording("walk_00")
        joints = [j.reshape(3, 24, 3)[..., rows] * sign for j in data["jointPositions"]]
        return up_axis(stored(tmp_path, jointPositions=[j.reshape(3, 72) for j in joints]))

    def test_axes(self, tmp_path: Path) -> None:
        assert self.turned(tmp_path, [0, 1, 2], 1) == "+y"
        assert self.turned(tmp_path, [0, 1, 2], -1) == "-y"
        assert self.turned(tmp_path, [0, 2, 1], 1) == "+z"
        assert self.turned(tmp_path, [1, 0, 2], -1) == "-x"

    def test_nobody_stands(self, tmp_path: Path) -> None:
        assert self.turned(tmp_path, [1, 1, 1], 1) is None
        assert up_axis(stored(tmp_path, jointPositions=[np.zeros((3, 72))] * 2)) is None
        assert up_axis(stored(tmp_path, jointPositions=[np.full((3, 72), np.nan)] * 2)) is None
        assert up_axis(stored(tmp_path, genders=["x", "x"])) is None
