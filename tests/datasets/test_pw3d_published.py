"""The rows of 3DPW_<split>.json: found in one pass, joined to people by pose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hmtools.core.errors import LayoutError
from hmtools.datasets.base import Rejected
from hmtools.datasets.pw3d_published import Row, match_rows, read_rows, scan_published
from hmtools.datasets.pw3d_sequences import Recording, read_recording
from tests.datasets.pw3d_tree import annotation, image_row, recording, write_labels, write_recording

NO_ID = -(2**63)


def test_rows_stand_by_frame_whatever_the_file_order(tmp_path: Path) -> None:
    file = write_labels(tmp_path, [annotation(2, 0), annotation(0, 1), annotation(0, 0), annotation(1, 1)])
    found = scan_published(file, ["run_01", "walk_00"])
    assert found.rows["walk_00"][:, [0, 1, 4]].tolist() == [
        [0, 1, 501],
        [0, 2, 500],
        [1, 3, 511],
        [2, 0, 520],
    ]
    assert found.rows["run_01"].shape == (0, 5)
    assert found.strays == ()
    rows = list(read_rows(file, found.rows["walk_00"]))
    assert [(r.frame, r.source_index, r.source_id) for r in rows if isinstance(r, Row)] == [
        (0, 1, "501"), (0, 2, "500"), (1, 3, "511"), (2, 0, "520"),
    ]  # fmt: skip


def test_annotations_may_come_first(tmp_path: Path) -> None:
    file = tmp_path / "3DPW_test.json"
    file.write_text(json.dumps({"annotations": [annotation(1, 0)], "images": [image_row(1)]}))
    assert scan_published(file, ["walk_00"]).rows["walk_00"][:, :2].tolist() == [[1, 0]]


def test_an_id_that_is_text_is_kept(tmp_path: Path) -> None:
    file = write_labels(tmp_path, [annotation(0, 0, id="a7")])
    rows = scan_published(file, ["walk_00"]).rows["walk_00"]
    assert rows[0, 4] == NO_ID
    (row,) = read_rows(file, rows)
    assert isinstance(row, Row)
    assert row.source_id == "a7"


STRAYS: dict[str, tuple[Any, str, str]] = {
    "no image": (annotation(0, 0, image_id=7), "broken_row", "image_id that `images` does not have"),
    "no image_id": ({"id": 3}, "broken_row", "no integer image_id"),
    "text for an image_id": (annotation(0, 0, image_id="40"), "broken_row", "no integer image_id"),
    "other sequence": (annotation(0, 0, image_id=90), "no_sequence_file", "run_01.pkl is not in this split"),
    "other name": (annotation(0, 0, image_id=91), "broken_row", "its image is 'frame_3.jpg'"),
    "no sequence": (annotation(0, 0, image_id=92), "broken_row", "of sequence None"),
    "no object": (3, "broken_row", "no integer image_id"),
}


@pytest.mark.parametrize("name", STRAYS)
def test_strays_are_told(tmp_path: Path, name: str) -> None:
    row, reason, words = STRAYS[name]
    images = [
        image_row(0), image_row(0, id=90, sequence="run_01"),
        image_row(0, id=91, file_name="frame_3.jpg"), image_row(0, id=92, sequence=None),
    ]  # fmt: skip
    found = scan_published(write_labels(tmp_path, [annotation(0, 1), row], images), ["walk_00"])
    ((position, counted, problem),) = found.strays
    assert (position, counted) == (1, reason)
    assert words in problem
    assert len(found.rows["walk_00"]) == 1


@pytest.mark.parametrize("text", ["{}", '{"images": [], "annotations": []}', "[1]", '{"images": ['])
def test_a_file_of_something_else_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "3DPW_test.json"
    file.write_text(text)
    with pytest.raises(LayoutError, match=r"3DPW_test\.json"):
        scan_published(file, ["walk_00"])


def test_rows_of_another_split(tmp_path: Path) -> None:
    file = write_labels(tmp_path, [annotation(0, 0)])
    with pytest.raises(
        LayoutError, match=r"none of its 1 annotations is of a sequence of this split.*Take the"
    ):
        scan_published(file, ["run_01"])


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "no box": ({"bbox": None}, "expected 4 numbers"),
    "three numbers": ({"bbox": [1, 2, 3]}, "expected 4 numbers, found 3"),
    "no parameters": ({"smpl_param": None}, "expected an object with an object smpl_param"),
    "no pose": ({"smpl_param": {}}, "has no 'pose'"),
    "short pose": ({"smpl_param": {"pose": [0.0] * 69}}, "expected 72 numbers, found 69"),
    "id": ({"id": None}, "id: expected text or an integer"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_row_is_counted(tmp_path: Path, name: str) -> None:
    cells, words = BROKEN[name]
    file = write_labels(tmp_path, [annotation(0, 1), annotation(0, 0, **cells)])
    good, bad = read_rows(file, scan_published(file, ["walk_00"]).rows["walk_00"])
    assert isinstance(good, Row)
    assert isinstance(bad, Rejected)
    assert (bad.reason, bad.source, bad.by_rule) == ("broken_row", "3DPW_test.json annotations[1]", False)
    assert words in bad.detail


def row(frame: int, person: int, position: int = 0, **changes: Any) -> Row:
    pose = np.array(annotation(frame, person)["smpl_param"]["pose"])
    values = {"root": pose[:3], "body_pose": pose[3:]} | changes
    return Row(frame=frame, source_index=position, source_id=f"{position}", bbox_xywh=[0, 0, 1, 1], **values)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return read_recording(write_recording(tmp_path_factory.mktemp("three"), recording("walk_00", 3, 3)))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations([0, 1, 2]), frame=st.integers(0, 2), noise=st.floats(-0.009, 0.009))
def test_whatever_the_order_everybody_gets_their_own_row(
    three: Recording, order: list[int], frame: int, noise: float
) -> None:
    rows = [row(frame, p, p) for p in order]
    noisy = [row(frame, p, p, body_pose=r.body_pose + noise) for p, r in zip(order, rows, strict=True)]
    found, lost = match_rows(noisy, three, "x.json")
    assert {p: r.source_index for p, r in found.items()} == {0: 0, 1: 1, 2: 2}
    assert lost == []


def test_rows_that_are_nobody(three: Recording) -> None:
    other = row(1, 0, 4)
    rows = [row(0, 1, 1), row(0, 1, 2), row(0, 2, 3, body_pose=other.body_pose), row(3, 0, 5)]
    found, lost = match_rows(rows, three, "x.json")
    assert list(found) == [1]
    assert [(r.reason, r.source) for r in lost] == [
        ("duplicate_annotation", "x.json annotations[2]"),
        ("no_such_pose", "x.json annotations[3]"),
        ("no_such_frame", "x.json annotations[5]"),
    ]
    assert not any(r.by_rule for r in lost)
    assert "no pose within 0.01 rad in frame 0; the nearest is" in lost[1].detail
    assert lost[2].detail == "frame 3 of a sequence that has 3"


def test_a_pose_just_beyond_the_tolerance(three: Recording) -> None:
    own = row(0, 0)
    far = own.body_pose.copy()
    far[40] += 0.011
    assert match_rows([row(0, 0, body_pose=far)], three, "x.json")[0] == {}


def test_people_who_stand_alike_are_told_apart_by_their_heading(tmp_path: Path) -> None:
    data = recording("walk_00", 1, 2)
    data["poses"][1][:, 3:] = data["poses"][0][:, 3:]
    twins = read_recording(write_recording(tmp_path, data))
    for order in ((0, 1), (1, 0)):
        rows = [row(0, p, p, body_pose=data["poses"][0][0, 3:]) for p in order]
        found, lost = match_rows(rows, twins, "x.json")
        assert {p: r.source_index for p, r in found.items()} == {0: 0, 1: 1}
        assert lost == []
