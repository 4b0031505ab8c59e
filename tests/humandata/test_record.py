from __future__ import annotations

import re
from dataclasses import fields

import pytest

from hmtools.humandata.record import FAMILIES, Column, Record, columns

CELL = r"(str|bool|i32|i64|f32|enum:\w+(\|\w+)+|(f32|bool)\[(\*|B16|(K2|K3|\d+)(,\d+)*)\])"
UNITS = {"", "px", "m", "rad", "1/s", "byte"}

by_name = {column.name: column for column in columns()}


def test_columns_are_the_fields_in_order() -> None:
    named = [field.name for field in fields(Record)]
    assert [column.name for column in columns()] == [name for name in named if name != "mesh"]
    assert named[-1] == "mesh", "which is stored in a sidecar"
    assert len(by_name) == len(columns())


@pytest.mark.parametrize("column", columns(), ids=lambda column: column.name)
def test_every_column_is_described(column: Column) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", column.name)
    assert re.fullmatch(CELL, column.cell), column.cell
    assert column.unit in UNITS
    assert column.doc
    assert column.doc == column.doc.strip(" .")


def test_missing_is_none_and_names_are_checked() -> None:
    record = Record()
    assert all(getattr(record, name) is None for name in (*by_name, "mesh"))
    with pytest.raises(TypeError, match="bbox"):
        Record(bbox=[0, 0, 1, 1, 1])  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        record.bbox = [0, 0, 1, 1, 1]  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        Record("key")  # type: ignore[call-arg]


def test_units_and_frames_follow_from_the_kind_of_column() -> None:
    for name, column in by_name.items():
        if name.endswith(("_pose", "_orient")) and not name.startswith("valid"):
            assert column.unit == "rad"
            # only the root is turned in the camera's frame, every other joint in that of its parent
            assert column.frame.startswith("OpenCV camera" if name.endswith("_orient") else "parent"), name
        if name.endswith(("_bbox_xywh", "bbox_xywh")) or name.startswith("keypoints2d"):
            assert column.unit == "px"
            assert column.frame.startswith("upright original pixels")
        if name.startswith("keypoints3d") or (name.endswith("_transl") and column.cell != "bool"):
            assert column.unit == "m"
            assert column.frame.startswith("OpenCV camera")


def test_sizes_of_the_bodies() -> None:
    sizes = {name: column.cell for name, column in by_name.items() if name.startswith(FAMILIES)}
    assert {name: cell for name, cell in sizes.items() if "B16" not in cell} == {
        "smplx_global_orient": "f32[3]",
        "smplx_body_pose": "f32[63]",
        "smplx_transl": "f32[3]",
        "smplx_left_hand_pose": "f32[45]",
        "smplx_right_hand_pose": "f32[45]",
        "smplx_jaw_pose": "f32[3]",
        "smplx_leye_pose": "f32[3]",
        "smplx_reye_pose": "f32[3]",
        "smpl_global_orient": "f32[3]",
        "smpl_body_pose": "f32[69]",
        "smpl_transl": "f32[3]",
        "smplh_global_orient": "f32[3]",
        "smplh_body_pose": "f32[63]",
        "smplh_transl": "f32[3]",
        "smplh_left_hand_pose": "f32[45]",
        "smplh_right_hand_pose": "f32[45]",
    }
    assert {name for name, cell in sizes.items() if "B16" in cell} == {
        "smplx_betas",
        "smplx_expression",
        "smpl_betas",
        "smplh_betas",
    }


def test_what_common_code_fills() -> None:
    assert {name for name, column in by_name.items() if column.common} == {
        *("key", "dataset", "split"),
        *("image_affine", "shard", "offset", "nbytes"),
        *("keypoints2d_smplx", "keypoints3d_smplx", "keypoints2d_smpl", "keypoints3d_smpl"),
        "betas_neutral",
    }
