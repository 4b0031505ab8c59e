"""AGORA in the form of OSX and Hand4Whole, and the boxes of its test split."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from hmtools.core.errors import LayoutError
from hmtools.datasets import agora
from hmtools.datasets.agora import Agora
from hmtools.datasets.base import Rejected
from tests.datasets.agora_tree import (
    fit,
    joints2d,
    kept,
    left_out,
    person,
    read,
    write_fit,
    write_json,
    write_tree,
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "AGORA")


def test_the_same_people_without_their_roots(tree: Path) -> None:
    before = kept(read(tree, "validation"))
    write_json(tree)
    after = kept(read(tree, "validation"))
    assert len(after) == len(before) == 2
    for old, new in zip(before, after, strict=True):
        for name in (
            "sequence",
            "frame",
            "person",
            "source_id",
            "source_index",
            "image_path",
            "gender",
            "kid",
        ):
            assert getattr(old, name) == getattr(new, name)
        for name in (
            "keypoints2d_original",
            "keypoints3d_original",
            "mesh",
            "smplx_betas",
            "smplx_body_pose",
        ):
            np.testing.assert_allclose(getattr(old, name), getattr(new, name))
        assert old.valid_global_orient is old.valid_transl is True
        assert new.valid_global_orient is new.valid_transl is False
        assert new.smplx_global_orient is None
        assert new.world_to_cam is None
        np.testing.assert_allclose(new.bbox_xywh, [300, 200, 100 / 3, 200 / 3, 1])
        np.testing.assert_allclose(old.lhand_bbox_xywh, new.lhand_bbox_xywh)
    assert json.loads(after[0].meta or "")["id"] == "500"


def test_parameters_in_the_camera_frame(tree: Path) -> None:
    name = "smplx_params_cam/validation/val/0.json"
    (tree / name).parent.mkdir(parents=True)
    (tree / name).write_text(json.dumps({key: value.tolist() for key, value in fit(4).items()}))
    write_json(tree, smplx_param_path=name)
    record = kept(read(tree, "validation"))[0]
    np.testing.assert_allclose(record.smplx_transl, fit(4)["transl"][0])
    np.testing.assert_allclose(record.smplx_global_orient, fit(4)["global_orient"][0])
    assert record.valid_transl is True


def test_names_of_hand4whole(tree: Path) -> None:
    path = write_json(tree)
    path.write_text(re.sub(r'"smplx_(\w+_path)"', r'"\1"', path.read_text()))
    path.rename(tree / "AGORA_validation_SMPLX.json")
    (tree / "1280x720").rename(tree / "images_1280x720")
    record, _ = kept(read(tree, "validation"))
    assert (record.image_path or "").startswith("images_1280x720/validation/")
    np.testing.assert_allclose(record.keypoints2d_original[:, :2], joints2d(0) / 3)


def test_invalid_and_broken_rows_are_counted(tree: Path) -> None:
    path = write_json(tree)
    data = json.loads(path.read_bytes())
    first, second = data["annotations"]
    data["annotations"] = [
        first | {"is_valid": False},
        second,
        first | {"smplx_joints_2d_path": "gone.json"},
        first | {"smplx_param_path": "../x.pkl"},
        {key: value for key, value in first.items() if key != "gender"},
        first | {"image_id": 999},
        first | {"image_id": "40"},
    ]
    path.write_text(json.dumps(data))
    found = read(tree, "validation")
    assert len(kept(found)) == 1
    reasons = [reason for reason, _ in left_out(found)]
    assert sorted(reasons) == sorted(
        ["broken_row", "broken_row", "not_valid", "labels_missing", "unsafe_path", "broken_row"]
    )


def test_an_image_that_is_listed_twice_counts_once(tree: Path) -> None:
    path = write_json(tree)
    data = json.loads(path.read_bytes())
    data["images"].insert(1, dict(data["images"][0]))
    data["images"].append(data["images"][1] | {"file_name_3840x2160": "3840x2160/validation/other.png"})
    path.write_text(json.dumps(data))
    found = read(tree, "validation")
    assert [(one.frame, one.source_frame) for one in kept(found)] == [(0, "val_cam00_a"), (1, "val_ag2_b")]
    assert [reason for reason, _ in left_out(found)] == ["broken_row"] * 2
    assert all("id: 40 is listed twice" in detail for _, detail in left_out(found))


def test_people_without_an_image_are_counted_one_by_one(tree: Path) -> None:
    path = write_json(tree)
    data = json.loads(path.read_bytes())
    data["annotations"] += [data["annotations"][0] | {"image_id": 999}] * 3
    path.write_text(json.dumps(data))
    assert [reason for reason, _ in left_out(read(tree, "validation"))] == ["broken_row"] * 3


def test_fits_and_refits_are_inputs(tree: Path) -> None:
    path = write_json(tree)
    write_fit(tree, 0, folder="smplx_gt_neutral_gender")
    names = {found.relative_to(tree).as_posix() for found in Agora().inputs(tree, "validation")}
    fits = {f"smplx_gt/set_bfh/scan_{number}.pkl" for number in range(4)}
    assert names == {path.name, *fits, "smplx_gt_neutral_gender/set_bfh/scan_0.pkl"}
    assert Agora().inputs(tree, "test") == [tree / "AGORA_test_bbox.json"]


def test_folders_of_images_that_are_not_there_are_counted(tree: Path) -> None:
    path = write_json(tree)
    data = json.loads(path.read_bytes())
    data["images"][1]["file_name_3840x2160"] = "3840x2160/train_5/a.png"
    path.write_text(json.dumps(data))
    found = read(tree, "validation")
    assert len(kept(found)) == 1
    assert [reason for reason, _ in left_out(found)] == ["images_missing"]


def test_labels_that_are_not_there_are_named(tree: Path) -> None:
    write_json(tree, smplx_joints_2d_path="gt_joints_2d/gone.json")
    assert left_out(read(tree, "validation"))[0] == (
        "labels_missing", "gt_joints_2d/gone.json: No such file or directory"
    )  # fmt: skip


@pytest.mark.parametrize("text", ["{}", '{"images": [], "annotations": []}', "[", '{"images": 3}'])
def test_no_labels(tree: Path, text: str) -> None:
    write_json(tree).write_text(text)
    with pytest.raises(LayoutError, match=r"AGORA_validation\.json"):
        read(tree, "validation")


def test_dataframes_come_first(tree: Path) -> None:
    write_json(tree)
    write_tree(tree)
    assert all(record.valid_transl for record in kept(read(tree, "validation")))


def test_boxes_of_the_test_split(tree: Path) -> None:
    first, second = kept(read(tree, "test"))
    assert first.image_path == "1280x720/test/ag_testset_hdri_1_1280x720.png"
    np.testing.assert_allclose(first.bbox_xywh, [100, 200, 30, 40, 1])
    assert (second.frame, second.person, second.source_index) == (0, 1, 1)
    np.testing.assert_allclose(first.focal_length, 50 / 36 * 1280)
    assert first.world_to_cam is None
    spec = Agora().spec(tree, "test")
    assert (spec.bodies, spec.keypoints2d) == ((), None)


def test_a_broken_box_is_counted(tree: Path) -> None:
    path = tree / "AGORA_test_bbox.json"
    rows = [{"bbox": [1, 2, 3]}, {}, {"bbox": [1, 2, 3, 4]}]
    path.write_text(json.dumps({"ag_testset_hdri_1_1280x720.png": rows}))
    found = read(tree, "test")
    (record,) = kept(found)
    assert record.person == 2
    assert record.image_path == "1280x720/test/ag_testset_hdri_1_1280x720.png"
    assert [reason for reason, _ in left_out(found)] == ["broken_row", "broken_row"]


def test_a_name_that_no_file_can_have_is_counted(tree: Path) -> None:
    rows = [{"bbox": [1, 2, 3, 4]}]
    (tree / "AGORA_test_bbox.json").write_text(json.dumps({"\ud800.png": rows, "a.png": rows}))
    found = read(tree, "test")
    assert [record.source_frame for record in kept(found)] == ["a"]
    (lost,) = (one for one in found if isinstance(one, Rejected))
    assert (lost.reason, lost.source) == ("broken_row", "\\ud800.png box 0")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"a": 3}'])
def test_no_boxes(tree: Path, text: str) -> None:
    (tree / "AGORA_test_bbox.json").write_text(text)
    with pytest.raises(LayoutError, match=r"AGORA_test_bbox\.json"):
        Agora().plan(tree, "test")


def test_the_docstring_says_what_becomes_of_every_field(tree: Path) -> None:
    table = "\n".join(re.findall(r"^\| (.+?) \| .+ \|$", agora.__doc__ or "", re.MULTILINE))
    data = json.loads(write_json(tree).read_bytes())
    for kind, rows in data.items():
        for field in rows[0]:
            assert f"{kind}[].{field}" in table, field
    assert person(0)["gender"] == "male"
