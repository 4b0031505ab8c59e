"""3DPW: what every file of a copy becomes."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.core.errors import LayoutError, UsageError
from hmtools.core.safe_pickle import load_pickle
from hmtools.datasets import pw3d, pw3d_frames
from hmtools.datasets.pw3d import Pw3d
from hmtools.humandata.record import Record
from hmtools.shards.reader import open_shards
from hmtools.synth import make_miniature
from tests.datasets.coco_tree import manifest
from tests.datasets.pw3d_tree import (
    SIZE,
    annotation,
    cam_joints,
    fit,
    image_row,
    kept,
    left_out,
    read,
    recording,
    run,
    write_fits,
    write_images,
    write_labels,
    write_recording,
    write_tree,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "3DPW")


def test_identity(root: Path) -> None:
    found = kept(read(root))
    assert list(found) == [(f, p) for f in range(3) for p in range(2)]
    for (frame, person), record in found.items():
        assert (record.sequence, record.source_frame) == ("walk_00", f"image_{frame:05d}")
        assert record.image_path == f"imageFiles/walk_00/image_{frame:05d}.jpg"
        assert (record.track_id, record.fps) == (f"walk_00_{person}", 30.0)
        assert (record.source_id, record.source_index) == (f"walk_00/image_{frame:05d}_{person}", frame)
        assert (record.image_op, record.video_frame) == ("none", None)
        assert (record.width, record.height) == SIZE
        assert record.gender == ("male", "female")[person]
        meta = json.loads(record.meta or "")
        del meta["pending"]
        assert meta == {"sequence": "walk_00", "betas_clothed": True, "frame_60hz": 2 * frame + 1}


class TestPublished:
    """3DPW_<split>.json decides who is stored, with which box and in which order."""

    def test_rows_and_boxes(self, root: Path) -> None:
        write_labels(root, [annotation(2, 1), annotation(0, 1), annotation(0, 0)])
        found = read(root)
        assert [(k, r.source_id, r.source_index) for k, r in kept(found).items()] == [
            ((0, 0), "500", 2), ((0, 1), "501", 1), ((2, 1), "521", 0),
        ]  # fmt: skip
        assert kept(found)[2, 1].bbox_xywh == [6.5, 10.0, 30.0, 62.0, 1.0]
        assert {(reason, by_rule) for reason, _, by_rule in left_out(found)} == {("not_published", True)}
        assert len(left_out(found)) == 3

    def test_the_rest_is_as_without(self, root: Path) -> None:
        without = kept(read(root))
        write_labels(root, [annotation(f, p) for f in range(3) for p in range(2)])
        with_rows = kept(read(root))
        assert list(without) == list(with_rows)
        for key, record in with_rows.items():
            for name in ("smpl_body_pose", "smpl_global_orient", "keypoints3d_original", "gender", "meta"):
                assert np.array_equal(getattr(record, name), getattr(without[key], name)), name

    def test_rows_that_are_nobody_are_counted(self, root: Path) -> None:
        rows = [annotation(0, 0), annotation(0, 0, id=9), annotation(1, 0, smpl_param={"pose": [0] * 72})]
        late = [annotation(1, 1, image_id=77), annotation(1, 1, image_id=78), {"image_id": 40, "id": 3}]
        images = [image_row(f) for f in range(3)] + [image_row(5, id=77), image_row(5, id=78, sequence="b")]
        write_labels(root, rows + late, images)
        found = [row for row in left_out(read(root)) if not row[2]]
        assert found == [
            ("no_sequence_file", "3DPW_test.json annotations[4]", False),
            ("broken_row", "3DPW_test.json annotations[5]", False),
            ("duplicate_annotation", "3DPW_test.json annotations[1]", False),
            ("no_such_pose", "3DPW_test.json annotations[2]", False),
            ("no_such_frame", "3DPW_test.json annotations[3]", False),
        ]

    def test_the_manifest_says_so(self, root: Path, tmp_path: Path) -> None:
        assert manifest(run(root, tmp_path / "without")).rows == "derived"
        write_labels(root, [annotation(0, 0)])
        found = manifest(run(root, tmp_path / "with"))
        assert found.rows == "official"
        assert (found.counts["records"], found.filtered) == (1, {"not_published": 5})

    def test_below_data(self, tmp_path: Path) -> None:
        write_labels(write_tree(tmp_path / "data"), [annotation(0, 0)])
        ((key, record),) = kept(read(tmp_path)).items()
        assert (key, record.source_id) == ((0, 0), "500")
        assert record.image_path == "data/imageFiles/walk_00/image_00000.jpg"


class TestSmplx:
    """NeuralAnnot's fits instead of SMPL: what SMPLer-X trains on."""

    @pytest.fixture
    def fitted(self, root: Path) -> Path:
        write_labels(root, [annotation(f, p) for f in range(2) for p in range(2)])
        write_fits(root, {"500": fit(0, 0), "511": fit(1, 1), "501": {"root_pose": [0, 0]}, "9": fit(2, 0)})
        return root

    def test_bodies(self, fitted: Path) -> None:
        found = read(fitted, body="smplx")
        for key in ((0, 0), (1, 1)):
            record, own = kept(found)[key], fit(*key)
            assert record.smplx_global_orient.tolist() == own["root_pose"]
            assert record.smplx_body_pose.tolist() == own["body_pose"]
            assert record.smplx_betas.tolist() == own["shape"]
            assert record.smplx_transl.tolist() == own["trans"]
            assert (record.gender, record.valid_smplx, record.valid_transl) == ("neutral", True, True)
            assert (record.smpl_betas, record.smpl_global_orient, record.valid_smpl) == (None, None, None)
            assert (record.valid_lhand, record.valid_rhand, record.valid_face) == (False, False, False)
            assert record.camera_kind == "real"
            assert "pending" not in (record.meta or "")
            assert np.abs(record.keypoints3d_original[:, :3] - cam_joints(*key)).max() < 1e-9

    def test_without_a_fit(self, fitted: Path) -> None:
        found = read(fitted, body="smplx")
        for key in ((0, 1), (1, 0)):
            assert kept(found)[key].valid_smplx is False
            assert kept(found)[key].smplx_betas is None
        assert [row for row in left_out(found) if row[0] != "not_published"] == [
            ("fit_without_person", "3DPW_test_SMPLX_NeuralAnnot.json 9", True),
            ("broken_fit", "3DPW_test_SMPLX_NeuralAnnot.json 501", False),
        ]

    def test_both_jsons_are_needed(self, root: Path) -> None:
        with pytest.raises(LayoutError) as caught:
            read(root, body="smplx")
        for name in ("3DPW_test.json", "3DPW_test_SMPLX_NeuralAnnot.json"):
            assert f"{root}/{name} or data/{name}\n      from https://github.com/mks0601/" in str(
                caught.value
            )

    def test_stored(self, fitted: Path, tmp_path: Path) -> None:
        folder = run(fitted, tmp_path / "out", body="smplx")
        shards = open_shards(folder)
        assert manifest(folder).spec["bodies"] == ["smplx"]
        assert [shards.row(i)["valid_smplx"] for i in range(len(shards))] == [True, False, False, True]

    def test_another_body(self) -> None:
        with pytest.raises(UsageError, match=r"expected smpl \| smplx"):
            Pw3d({"body": "smplh"})


class TestDamage:
    """Bad data is counted, a bad file fails its unit by name."""

    def test_an_image_that_is_missing_leaves_no_gap(self, root: Path, tmp_path: Path) -> None:
        (root / "imageFiles/walk_00/image_00001.jpg").unlink()
        folder = run(root, tmp_path / "out")
        shards = open_shards(folder)
        assert [shards.row(i)["frame"] for i in range(len(shards))] == [0, 0, 1, 1, 2, 2]
        assert json.loads(shards.row(2)["meta"])["image_rejected"] == "image_missing"
        assert manifest(folder).rejected == {"image_missing": 2}

    def test_a_sequence_file_that_is_none(self, root: Path) -> None:
        units = Pw3d().plan(root, "test")
        (root / "sequenceFiles/test/walk_00.pkl").write_bytes(b"x")
        assert len(Pw3d().plan(root, "test")) == len(units), "the plan is made, its unit fails"
        with pytest.raises(Exception, match=r"walk_00\.pkl"):
            list(Pw3d().read(root, units[0]))

    def test_nothing_is_there(self, tmp_path: Path) -> None:
        with pytest.raises(LayoutError) as caught:
            Pw3d().require(tmp_path, ["train", "test"])
        for name in ("imageFiles", "sequenceFiles/train", "sequenceFiles/test"):
            assert f"{tmp_path}/{name} or data/{name}\n      from https://virtualhumans" in str(caught.value)

    def test_no_sequence_in_the_folder(self, root: Path) -> None:
        (root / "sequenceFiles/test/walk_00.pkl").rename(root / "sequenceFiles/test/notes.txt")
        with pytest.raises(LayoutError, match=r"no <sequence>.pkl in .*sequenceFiles/test, from https://"):
            Pw3d().plan(root, "test")


def test_splits_units_and_orientations(root: Path) -> None:
    write_recording(root, recording("alley_01", 2, 1, size=(96, 54)))
    write_images(root, "alley_01", 2, size=(96, 54))
    write_recording(root, recording("other_00", 1, 1), "train")
    write_images(root, "other_00", 1)
    found = [record for record in read(root) if isinstance(record, Record)]
    assert [(r.sequence, r.frame, r.width) for r in found[:3]] == [
        ("alley_01", 0, 96), ("alley_01", 1, 96), ("walk_00", 0, 54),
    ]  # fmt: skip
    assert list(kept(read(root, "train"))) == [(0, 0)]
    assert Pw3d().found_splits(root) == ["train", "test"]
    assert [unit.sequences for unit in Pw3d().plan(root, "test")] == [("alley_01",), ("walk_00",)]
    inputs = [path.name for path in Pw3d().inputs(root, "test")]
    assert inputs == ["alley_01.pkl", "walk_00.pkl"]


@pytest.mark.parametrize("labelled", [False, True])
def test_cut_sequences_hold_the_same(root: Path, labelled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if labelled:
        write_labels(root, [annotation(f, p) for f in (2, 0, 1) for p in range(2)])
    whole = read(root)
    monkeypatch.setattr(pw3d_frames, "FRAMES_PER_UNIT", 2)
    assert len(Pw3d().plan(root, "test")) == 2
    cut = read(root)
    assert [str(record) for record in cut] == [str(record) for record in whole]
    (root / "imageFiles/walk_00/image_00002.jpg").unlink()
    assert [str(record) for record in read(root)] == [str(record) for record in whole]


def test_which_way_is_up_is_looked_at_once(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        read(root)
    assert not caplog.records
    data = recording("walk_00")
    data["jointPositions"] = [-joints for joints in data["jointPositions"]]
    with caplog.at_level(logging.WARNING):
        read(write_tree(root, data))
    assert "people stand along -y; the manifest says up = +y" in caplog.text
    assert len(caplog.records) == 1


def test_declaration() -> None:
    assert Pw3d.splits == {"train": "train", "validation": "val", "test": "test"}
    assert (Pw3d.world.scope, Pw3d.world.up, Pw3d.world.metric) == ("sequence", "+y", True)
    assert Pw3d.video
    assert not Pw3d.commercial_use
    assert Pw3d.official_counts == {"test": {"records": 35_515}}
    assert set(Pw3d.folders) >= {"3DPW", "PW3D", "pw3d"}


def paths(value: Any, name: str) -> set[str]:
    """Names of the fields of nested objects, as the docstring writes them."""
    if isinstance(value, dict):
        return {path for key, inner in value.items() for path in paths(inner, f"{name}.{key}")}
    return {name}


def test_the_docstring_says_what_becomes_of_every_field(tmp_path: Path) -> None:
    table = "\n".join(re.findall(r"^\| (.+?) \| .+ \|$", pw3d.__doc__ or "", re.MULTILINE))
    make_miniature("pw3d", tmp_path / "mini", 2, 1, 3, (120, 160), ("test",), variant="osx")
    labels = json.loads((tmp_path / "mini/3DPW_test.json").read_text())
    fits = json.loads((tmp_path / "mini/3DPW_test_SMPLX_NeuralAnnot.json").read_text())
    fields = set(load_pickle(next((tmp_path / "mini/sequenceFiles/test").iterdir())))
    for rows, name in ((labels["images"], "images[]"), (labels["annotations"], "annotations[]")):
        fields |= paths(rows[0], name)
    fields |= paths(next(iter(fits.values())), "{id}")
    no_fields = {"source", "field", "---", "annotations[]", "position", "{id}"}
    assert fields == set(re.findall(r"[-\w.\[\]{}]+", table)) - no_fields
