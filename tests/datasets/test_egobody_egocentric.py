"""EgoBody's HoloLens view: which frames count, what every field becomes; on trees written from its card."""

from __future__ import annotations

import json
import logging
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.bodies.assets import load_model
from hmtools.bodies.derive import Deriver
from hmtools.bodies.model import Gender
from hmtools.core.errors import LayoutError
from hmtools.datasets import egobody_egocentric
from hmtools.datasets.base import Rejected
from hmtools.datasets.egobody_egocentric import EgoBodyEgocentric
from hmtools.humandata.table import normalise
from tests.datasets import egobody_tree
from tests.datasets.egobody_tree import (
    DATE,
    FRAMES,
    OTHER,
    REC,
    fit,
    fit_path,
    info,
    kept,
    keypoints,
    left_out,
    read,
    stamp,
    write_detections,
    write_lists,
    write_recording,
    write_tree,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "EgoBody")


def folder(root: Path) -> Path:
    return root / f"egocentric_color/{REC}/{DATE}"


def rewrite_fit(root: Path, frame: int, **changes: Any) -> None:
    fit_path(root, frame).write_bytes(pickle.dumps(fit(frame, **changes)))


def waiting(record: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(record.meta)["pending"]
    return found


def test_identity(root: Path) -> None:
    records = kept(read(root))
    assert [
        (r.sequence, r.frame, r.source_frame, r.person, r.track_id, r.source_index, r.fps, r.source_id)
        for r in records
    ] == [
        (REC, frame, f"00{frame}", 0, "interactee", index, 30.0, f"{REC}/frame_00{frame}")
        for index, frame in enumerate(FRAMES[1:])
    ]
    for record in records:
        image = f"egocentric_color/{REC}/{DATE}/PV/{stamp(record.frame or 0)}_frame_00{record.frame}.jpg"
        assert (record.image_path, record.image_op) == (image, "none")
        assert (record.width, record.height, record.gender) == (96, 80, "female")
        assert record.bbox_xywh is None, "made of the body's joints"
        meta = json.loads(record.meta or "")
        assert set(meta.pop("pending")) == {
            f"smplx_{n}" for n in ("transl", "left_hand_pose", "right_hand_pose")
        }
        assert meta == {
            "scene": "seminar_g110",
            "body_idx": 1,
            "wearer_id": "S02",
            "interactee_id": "S01",
            "timestamp": str(stamp(record.frame or 0)),
        }


def test_every_record_fits_the_tables(root: Path) -> None:
    spec = EgoBodyEgocentric().spec(root, "train")
    assert (spec.keypoints2d, spec.bodies) == ("openpose_25", ("smplx",))
    for record in kept(read(root)):
        normalise(record, spec)


def test_detections_keep_their_confidence(root: Path) -> None:
    for record in kept(read(root)):
        wanted = keypoints(record.frame or 0)
        wanted[7] = 0
        assert np.array_equal(record.keypoints2d_original, wanted)


class TestCamera:
    def test_of_each_frame(self, root: Path) -> None:
        """Worked out by hand: at (1, 2, 3), looking along -z, 1 cm further along x in each frame."""
        for record in kept(read(root)):
            step = (record.frame or 0) - FRAMES[0]
            assert np.array_equal(record.focal_length, [100 + step, 99 + step])
            assert np.array_equal(record.principal_point, [48, 40])
            assert (record.camera_model, record.camera_kind) == ("pinhole", "real")
            right = [[1, 0, 0, -1 - 0.01 * step], [0, -1, 0, 2], [0, 0, -1, 3]]
            assert np.abs(record.world_to_cam - right).max() < 1e-12

    def test_the_body_goes_from_the_kinect_to_the_picture(self, root: Path) -> None:
        for record in kept(read(root)):
            given = fit(record.frame or 0)
            shift = np.array([-1 - 0.01 * ((record.frame or 0) - FRAMES[0]), 2, -2])
            held = waiting(record)["smplx_transl"]
            assert np.abs(np.array(held["moved"]) - given["transl"][0] - shift).max() < 1e-9
            assert np.abs(np.array(held["rotation"]) - np.eye(3)).max() < 1e-9
            assert np.abs(record.smplx_global_orient - given["global_orient"][0]).max() < 1e-6

    def test_a_turned_calibration(self, root: Path) -> None:
        """The Kinect looks along the HoloLens' -x: who stands before it is far left in the picture."""
        path = root / f"calibrations/{REC}/cal_trans/holo_to_kinect12.json"
        path.write_text(json.dumps({"trans": [[0, 0, -1, 0], [0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1]]}))
        rewrite_fit(root, 100, transl=np.array([[0.0, 0.0, 2.0]]), global_orient=np.zeros((1, 3)))
        record = kept(read(root))[0]
        assert np.abs(np.array(waiting(record)["smplx_transl"]["moved"]) - [-3.02, 2, 3]).max() < 1e-9
        assert np.abs(np.array(record.smplx_global_orient) - [0, -np.pi / 2, 0]).max() < 1e-9

    def test_calibrations_of_both_places(self, root: Path) -> None:
        before = kept(read(root))
        path = root / f"calibrations/{REC}/cal_trans/holo_to_kinect12.json"
        path.rename(path.parent.parent / path.name)
        assert [r.meta for r in kept(read(root))] == [r.meta for r in before]

    def test_frames_without_a_usable_camera(self, root: Path) -> None:
        path = next(folder(root).glob("*_pv.txt"))
        head, _, *rest = path.read_text().splitlines()
        zeros = ",".join("0" * 16)
        path.write_text("\n".join([head, f"{stamp(100)},100,100,{zeros}", rest[1], "noise"]))
        found = read(root)
        assert [r.frame for r in kept(found)] == [101]
        assert left_out(found) == [("outside_range", True), ("broken_camera", False), ("no_camera", False)]

    def test_a_damaged_file_is_named(self, root: Path) -> None:
        path = next(folder(root).glob("*_pv.txt"))
        path.write_bytes(b"\xff\x00")
        with pytest.raises(LayoutError, match=r"_pv\.txt: expected `cx, cy, width, height`"):
            read(root)


class TestBody:
    def test_parts(self, root: Path) -> None:
        for record in kept(read(root)):
            given = fit(record.frame or 0)
            for name in ("betas", "body_pose", "jaw_pose", "leye_pose", "reye_pose", "expression"):
                assert np.array_equal(getattr(record, f"smplx_{name}"), given[name][0]), name
            assert (record.smplx_transl, record.smplx_left_hand_pose) == (None, None)
            for side in ("left", "right"):
                held = waiting(record)[f"smplx_{side}_hand_pose"]
                assert np.array_equal(held["pca"], given[f"{side}_hand_pose"][0]), "against the mean hand"
            for name in (
                "smplx",
                "betas",
                "transl",
                "face",
                "lhand",
                "rhand",
                "keypoints3d",
                "global_orient",
            ):
                assert getattr(record, f"valid_{name}") is True

    def test_the_fit_says_the_gender(self, root: Path) -> None:
        rewrite_fit(root, 100, gender=np.array(["male"]))
        found = kept(read(root))
        assert [r.gender for r in found] == ["male", "female", "female"]
        assert [json.loads(r.meta or "").get("listed_gender") for r in found] == ["female", None, None]

    def test_hands_are_in_the_basis_of_the_fits_gender(self, root: Path, golden: Path) -> None:
        """Of the stand-in all genders have the same hands, so this takes models that differ."""
        rewrite_fit(root, 100, gender="male")
        records = [normalise(r, EgoBodyEgocentric().spec(root, "train")) for r in kept(read(root))[:2]]
        for record in records:
            record.valid_betas = False  # no search for the neutral shape
        Deriver((golden,)).fill(records)
        genders: tuple[Gender, ...] = ("male", "female")
        for record, gender in zip(records, genders, strict=True):
            model = load_model("smplx", gender, roots=(golden,))
            assert model.hand_components is not None
            assert model.hand_mean is not None
            for number, side in enumerate(("left", "right")):
                coefficients = fit(record.frame or 0)[f"{side}_hand_pose"][0]
                wanted = coefficients @ model.hand_components[number][:12] + model.hand_mean[number]
                assert np.abs(getattr(record, f"smplx_{side}_hand_pose") - wanted).max() < 1e-5

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"left_hand_pose": np.zeros((1, 45))}, "broken_fit"),
            ({"betas": np.full((1, 10), np.nan)}, "broken_fit"),
            ({"transl": np.full((1, 3), 1e300)}, "broken_fit"),
            ({"gender": "x"}, "broken_fit"),
            ({"gender": 1}, "broken_fit"),
            ({"transl": np.zeros((2, 3))}, "broken_fit"),
            ({"expression": Path("/")}, "unsafe_fit"),
        ],
    )
    def test_damaged(self, root: Path, changes: Any, reason: str) -> None:
        rewrite_fit(root, 100, **changes)
        found = read(root)
        assert [r.frame for r in kept(found)] == [101, 103]
        assert left_out(found) == [("outside_range", True), (reason, False)]

    @pytest.mark.parametrize("data", [b"", b"\x80\x04", pickle.dumps([1]), pickle.dumps({"gender": "male"})])
    def test_no_fit_inside(self, root: Path, data: bytes) -> None:
        fit_path(root, 100).write_bytes(data)
        assert left_out(read(root))[1:] == [("broken_fit", False)]

    def test_a_folder_of_the_name_of_a_fit(self, root: Path) -> None:
        fit_path(root, 100).unlink()
        fit_path(root, 100).mkdir()
        assert left_out(read(root))[1:] == [("broken_fit", False)]

    def test_frames_without_fit_are_left_out_by_rule(self, root: Path) -> None:
        shutil.rmtree(fit_path(root, 101).parent)
        found = read(root)
        assert left_out(found) == [("outside_range", True), ("no_fit", True)]
        assert [(r.frame, r.source_index) for r in kept(found)] == [(100, 0), (103, 2)]


class TestDetections:
    def test_images_that_are_not_there(self, root: Path) -> None:
        next(folder(root).glob("PV/*_frame_00103.jpg")).unlink()
        found = read(root)
        assert left_out(found) == [("outside_range", True), ("image_missing", False)]
        (lost,) = (row.detail for row in found if isinstance(row, Rejected) and row.detail)
        name = f"egocentric_color/{REC}/{DATE}/PV/{stamp(103)}_frame_00103.jpg"
        assert lost == f"{name}: no such file", "which is what --check lists"

    def test_broken_rows(self, root: Path) -> None:
        names = [f"egocentric_color/{REC}/{DATE}/PV/{stamp(f)}_frame_00{f}.jpg" for f in (100, 101)]
        points = np.stack([keypoints(100)] * 4)
        points[1, 3, 2] = np.nan
        write_detections(folder(root), [*names, "nothing", f"/etc/PV/{stamp(100)}_frame_00100.jpg"], points)
        found = read(root)
        assert [(r.frame, r.source_index) for r in kept(found)] == [(100, 0)]
        assert sorted(left_out(found)) == [
            ("broken_row", False),
            ("broken_row", False),
            ("image_missing", False),
        ]

    @pytest.mark.parametrize(
        "more",
        [{"imgname": np.arange(2)}, {"keypoints": np.zeros((2, 24, 3))}, {"keypoints": np.zeros((1, 25, 3))}],
    )
    def test_another_kind_of_file_is_named(self, root: Path, more: dict[str, Any]) -> None:
        more = dict(more)
        write_detections(folder(root), ["a", "b"], more.pop("keypoints", np.zeros((2, 25, 3))), **more)
        with pytest.raises(
            LayoutError, match=r"no recording of train has .*\n.*keypoints\.npz: expected imgname"
        ):
            read(root)

    @pytest.mark.parametrize("size", [0, 300])
    def test_one_damaged_file_costs_its_recording_alone(self, root: Path, size: int) -> None:
        write_lists(root, {"train": [REC, OTHER]}, [info(), info(OTHER, interactee="0 male", start=0)])
        write_recording(root, OTHER, (7, 8), index=0)
        path = folder(root) / "keypoints.npz"
        path.write_bytes(path.read_bytes()[:size])
        found = read(root)
        assert [r.sequence for r in kept(found)] == [OTHER, OTHER]
        (lost,) = (row for row in found if isinstance(row, Rejected))
        assert (lost.reason, lost.source, lost.by_rule) == ("recording_incomplete", REC, False)
        assert "keypoints.npz" in lost.detail

    def test_names_as_objects(self, root: Path) -> None:
        before = [r.image_path for r in kept(read(root))]
        with np.load(folder(root) / "keypoints.npz") as found:
            names, points = found["imgname"].tolist(), found["keypoints"]
        write_detections(folder(root), names, points, imgname=np.array(names, object))
        assert [r.image_path for r in kept(read(root))] == before


class TestPlan:
    def test_units_never_cross_recordings(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_lists(root, {"train": [OTHER, REC]}, [info(), info(OTHER, interactee="0 male", start=0)])
        write_recording(root, OTHER, (7, 3, 5), index=0)
        whole = [r.source_id for r in kept(read(root))]
        monkeypatch.setattr(egobody_egocentric, "FRAMES_PER_UNIT", 2)
        units = EgoBodyEgocentric().plan(root, "train")
        assert [(u.index, u.name, u.expected, u.images, u.sequences) for u in units] == [
            (0, f"{REC} frames 98-100", 1, 1, (REC,)),
            (1, f"{REC} frames 101-103", 2, 2, (REC,)),
            (2, f"{OTHER} frames 3-5", 2, 2, (OTHER,)),
            (3, f"{OTHER} frames 7-7", 1, 1, (OTHER,)),
        ]
        assert pickle.loads(pickle.dumps(units)) == units
        records = kept(read(root))
        assert [r.source_id for r in records] == whole
        assert [r.source_index for r in records] == list(range(6))
        assert [(r.frame, r.gender) for r in records[3:]] == [(3, "female"), (5, "female"), (7, "female")]

    def test_both_ends_of_the_range_are_inside(self, root: Path) -> None:
        write_lists(root, {"train": [REC]}, [info(start=100, end=101)])
        assert [unit.expected for unit in EgoBodyEgocentric().plan(root, "train")] == [2]
        found = read(root)
        assert [r.frame for r in kept(found)] == [100, 101]
        assert left_out(found) == [("outside_range", True)] * 2

    def test_recordings_that_are_not_there_are_counted(
        self, root: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        write_lists(root, {"train": [REC, OTHER, "recording_x"]}, [info(), info(OTHER)])
        with caplog.at_level(logging.WARNING):
            found = read(root)
        assert [row.source for row in found if isinstance(row, Rejected)][:2] == ["recording_x", OTHER]
        assert left_out(found)[:2] == [("recording_incomplete", False)] * 2
        assert len(kept(found)) == 3
        assert "2 recordings of train are incomplete and left out" in caplog.text
        details = " ".join(row.detail for row in found if isinstance(row, Rejected))
        for missing in (
            "keypoints.npz",
            "_pv.txt",
            "holo_to_kinect12.json",
            f"smplx_interactee_train/{OTHER}",
        ):
            assert missing in details

    def test_fits_of_the_other_person_are_not_taken(self, root: Path) -> None:
        write_lists(root, {"train": [REC]}, [info(interactee="0 male")])
        with pytest.raises(
            LayoutError, match=r"data_splits\.csv: no recording of train has.*\n.*body_idx_0/results"
        ):
            read(root)

    def test_a_recording_without_any_fit_is_a_defect(self, root: Path) -> None:
        write_lists(root, {"train": [REC, OTHER]}, [info(), info(OTHER, interactee="0 male", start=0)])
        write_recording(root, OTHER, (7, 8), index=0)
        for frame in FRAMES:
            shutil.rmtree(fit_path(root, frame).parent)
        found = read(root)
        assert left_out(found) == [("recording_incomplete", False)]
        assert {r.sequence for r in kept(found)} == {OTHER}

    def test_fits_that_come_or_vanish_change_the_plan(self, root: Path) -> None:
        before = EgoBodyEgocentric().plan(root, "train")
        shutil.rmtree(fit_path(root, 101).parent)
        assert EgoBodyEgocentric().plan(root, "train") != before

    def test_missing_files_are_named_with_their_page(self, tmp_path: Path) -> None:
        (tmp_path / "EgoBody").mkdir()
        with pytest.raises(LayoutError) as caught:
            EgoBodyEgocentric().require(tmp_path / "EgoBody", ["val"])
        for name in ("data_splits.csv", "data_info_release.csv", "calibrations", "smplx_interactee_val"):
            assert f"EgoBody/{name}\n      from https://egobody.inf.ethz.ch" in str(caught.value)

    def test_splits_that_are_there(self, root: Path) -> None:
        assert EgoBodyEgocentric().found_splits(root) == ["train"]

    def test_inputs(self, root: Path) -> None:
        names = [path.relative_to(root).as_posix() for path in EgoBodyEgocentric().inputs(root, "train")]
        assert names == [
            "data_splits.csv",
            "data_info_release.csv",
            f"egocentric_color/{REC}/{DATE}/keypoints.npz",
            f"egocentric_color/{REC}/{DATE}/{DATE}_pv.txt",
            f"calibrations/{REC}/cal_trans/holo_to_kinect12.json",
        ]


def test_declaration() -> None:
    kind = EgoBodyEgocentric
    assert kind.official_counts["test"]["records"] == 62_155
    assert sum(counts["records"] for counts in kind.official_counts.values()) == 175_611
    assert kind.box_ratio == 1.0
    assert (kind.world.scope, kind.world.up, kind.world.metric) == ("sequence", "+y", True)
    assert not kind.commercial_use
    assert set(kind.folders) >= {"EgoBody"}


def test_the_docstring_says_what_becomes_of_every_field(root: Path) -> None:
    table = re.findall(r"^\| (.+?) \| .+ \|$", egobody_egocentric.__doc__ or "", re.MULTILINE)
    mentioned = {name for row in table for name in re.findall(r"\b(?:data_info|keypoints|fit)\.(\w+)", row)}
    with np.load(folder(root) / "keypoints.npz") as arrays:
        fields = {*arrays, *fit(0), *egobody_tree.COLUMNS}
    assert fields == mentioned
