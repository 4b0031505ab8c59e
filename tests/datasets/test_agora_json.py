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
from tests.datasets.agora_tree import fit, joints2d, kept, left_out, person, read, write_json, write_tree


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
