"""People of 3DPW as records: numbers in the camera frame, boxes, wrong cameras, broken people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.datasets.pw3d_people import joint_box
from hmtools.humandata.record import Record
from hmtools.shards.index import iter_batches
from tests.datasets.coco_tree import manifest
from tests.datasets.pw3d_tree import (
    FOCAL,
    SIZE,
    annotation,
    cam_joints,
    camera,
    kept,
    left_out,
    points,
    pose,
    read,
    recording,
    run,
    write_labels,
    write_tree,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "3DPW")


def invalid(*frames: int, person: int = 1) -> dict[str, Any]:
    """``campose_valid`` with some frames of one person wrong."""
    flags = [np.ones(3, int), np.ones(3, int)]
    flags[person][list(frames)] = 0
    return {"campose_valid": flags}


def test_numbers(root: Path) -> None:
    for (frame, person), record in kept(read(root)).items():
        assert np.array_equal(record.keypoints2d_original, points(frame, person))
        assert np.abs(record.keypoints3d_original[:, :3] - cam_joints(frame, person)).max() < 1e-9
        assert (record.keypoints3d_original[:, 3] == 1).all()
        assert np.array_equal(record.world_to_cam, camera(frame)[:3])
        assert (record.camera_model, record.camera_kind) == ("pinhole", "real")
        assert record.focal_length.tolist() == list(FOCAL)
        assert np.array_equal(record.smpl_body_pose, pose(frame, person)[3:])
        own = annotation(frame, person)["smpl_param"]["pose"][:3]
        assert np.abs(record.smpl_global_orient - own).max() < 1e-9
        assert (record.smpl_transl, record.smplx_betas) == (None, None)
        assert list(json.loads(record.meta or "")["pending"]) == ["smpl_transl"]
        flags = ("smpl", "betas", "global_orient", "transl", "keypoints3d")
        assert all(getattr(record, f"valid_{name}") is True for name in flags)
        assert (record.valid_face, record.valid_lhand, record.valid_smplx) == (None, None, None)


def test_a_person_without_points_has_none(tmp_path: Path) -> None:
    data = recording("walk_00")
    data["poses2d"][1][2] = 0
    data["poses2d"][0][0, 2, :] = [0.5] + [0] * 17
    found = kept(read(write_tree(tmp_path, data)))
    assert found[2, 1].keypoints2d_original is None
    assert found[0, 0].keypoints2d_original.tolist() == [[5, 20, 0.5]] + [[0, 0, 0]] * 17


class TestBoxes:
    """Without published ones: the extent of the joints in the image x 1.2."""

    def record(self, x: tuple[float, float], y: tuple[float, float], z: float = 2.0) -> Record:
        joints = np.array([[x[0], y[0], z, 1], [x[1], y[1], z, 1]])
        return Record(
            width=100,
            height=200,
            focal_length=[100, 100],
            principal_point=[50, 100],
            keypoints3d_original=joints,
        )

    def test_padded(self) -> None:
        # 20 x 40 pixels about the principal point
        assert np.allclose(joint_box(self.record((-0.2, 0.2), (-0.4, 0.4))), [38, 76, 24, 48, 1])

    def test_cut_at_the_border(self) -> None:
        assert np.allclose(joint_box(self.record((-4, 0.2), (-0.4, 0.4))), [-0.5, 76, 81.5, 48, 1])

    def test_outside_the_image_it_stays_as_it_is(self) -> None:
        assert np.allclose(joint_box(self.record((-4, -2), (-0.4, 0.4))), [-160, 76, 120, 48, 1])

    def test_behind_the_camera(self) -> None:
        assert joint_box(self.record((-1, 1), (-1, 1), z=-2.0)) is None

    def test_in_records(self, root: Path) -> None:
        for (frame, person), record in kept(read(root)).items():
            joints = cam_joints(frame, person)
            x = FOCAL[0] * joints[:, 0] / joints[:, 2] + SIZE[0] / 2 - 0.25
            y = FOCAL[1] * joints[:, 1] / joints[:, 2] + SIZE[1] / 2 + 0.25
            left, right = 1.1 * x.min() - 0.1 * x.max(), 1.1 * x.max() - 0.1 * x.min()
            top, bottom = 1.1 * y.min() - 0.1 * y.max(), 1.1 * y.max() - 0.1 * y.min()
            wanted = np.clip([left, top, right, bottom], -0.5, [SIZE[0] - 0.5, SIZE[1] - 0.5] * 2)
            assert np.abs(np.array(record.bbox_xywh[:2]) - wanted[:2]).max() < 1e-6
            assert np.abs(np.array(record.bbox_xywh[2:4]) - (wanted[2:] - wanted[:2])).max() < 1e-6


class TestValidCamera:
    """Without the json, a wrong camera leaves the person out by rule; published rows are kept and flagged."""

    def test_left_out(self, tmp_path: Path) -> None:
        found = read(write_tree(tmp_path, invalid(1)))
        assert left_out(found) == [("invalid_camera", "walk_00/image_00001.jpg person 1", True)]
        assert list(kept(found)) == [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1)]

    def test_published(self, tmp_path: Path) -> None:
        root = write_tree(tmp_path, invalid(0, 1))
        write_labels(root, [annotation(0, 1), annotation(0, 0)])
        found = read(root)
        bad, good = kept(found)[0, 1], kept(found)[0, 0]
        for name in ("smpl", "keypoints3d", "global_orient", "transl"):
            assert (getattr(bad, f"valid_{name}"), getattr(good, f"valid_{name}")) == (False, True)
        assert bad.valid_betas is True
        assert [reason for reason, _, _ in left_out(found)] == [
            "not_published", "invalid_camera", "not_published", "not_published",
        ]  # fmt: skip

    def test_tracks_split_at_the_gap(self, tmp_path: Path) -> None:
        flags = [np.ones(4, int), np.array([1, 0, 1, 1])]
        root = write_tree(tmp_path / "raw", recording("walk_00", 4) | {"campose_valid": flags}, frames=4)
        folder = run(root, tmp_path / "out")
        rows = [row for batch in iter_batches(folder / "tracks.arrow") for row in batch.to_pylist()]
        assert [(row["track_id"], row["segment"], row["frames"], row["fps"]) for row in rows] == [
            ("walk_00_0", 0, [0, 1, 2, 3], 30.0),
            ("walk_00_1", 0, [0], 30.0),
            ("walk_00_1", 1, [2, 3], 30.0),
        ]
        assert manifest(folder).filtered == {"invalid_camera": 1}
        assert manifest(folder).rejected == {}


class TestDamage:
    """A broken person or frame is counted and costs the others nothing."""

    def test_a_broken_person(self, tmp_path: Path) -> None:
        data = recording("walk_00")
        data["betas"][0] = np.zeros(3)
        found = read(write_tree(tmp_path, data))
        assert list(kept(found)) == [(0, 1), (1, 1), (2, 1)]
        assert {reason for reason, _, _ in left_out(found)} == {"broken_person"}

    @pytest.mark.parametrize("what", ["nan", "scaled"])
    def test_a_broken_camera(self, tmp_path: Path, what: str) -> None:
        data = recording("walk_00")
        data["cam_poses"][1] *= np.nan if what == "nan" else 2
        found = read(write_tree(tmp_path, data))
        assert left_out(found) == [
            ("broken_row", f"walk_00/image_00001.jpg person {p}", False) for p in (0, 1)
        ]
        assert len(kept(found)) == 4

    def test_numbers_that_are_none(self, tmp_path: Path) -> None:
        data = recording("walk_00")
        data["jointPositions"][0][0, 5] = np.nan
        data["poses"][0][1, 60] = np.nan
        data["poses"][0][2, 1] = np.inf
        root = write_tree(tmp_path / "raw", data)
        found = manifest(run(root, tmp_path / "out"))
        assert found.counts["records"] == 3
        assert found.rejected == {
            "broken_row": 1, "not_finite:keypoints3d_original": 1, "not_finite:smpl_body_pose": 1,
        }  # fmt: skip


def test_a_box_of_huge_numbers_says_nothing() -> None:
    record = Record(
        keypoints3d_original=np.full((24, 4), 1e300), focal_length=np.full(2, 1e300),
        principal_point=np.zeros(2), width=9, height=9,
    )  # fmt: skip
    record.keypoints3d_original[:, 2] = 1e-3
    assert joint_box(record) is None
