from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core.errors import SchemaError, UsageError
from hmtools.humandata.keypoints import convention
from hmtools.humandata.record import FAMILIES, columns
from hmtools.humandata.schema import (
    MOTION_COLUMNS,
    TRACKS_COLUMNS,
    TRACKS_SCHEMA,
    RecordSpec,
    cell_shape,
    column_conventions,
    index_schema,
    motion_schema,
    record_schema,
)

FULL = RecordSpec(
    "mini", "val", "coco_17", "h36m_17", FAMILIES, (("smplx_betas", 16), ("smplx_expression", 12))
)
BARE = RecordSpec("mini", "val")
NAMES = [column.name for column in columns()]
SIZED = [column.name for column in columns() if "B16" in column.cell]

conventions = st.none() | st.sampled_from(["coco_17", "coco", "h36m_17", "human_data_190", "smplx_144"])
specs = st.builds(
    RecordSpec,
    st.just("mini"),
    st.just("val"),
    conventions,
    conventions,
    st.sets(st.sampled_from(FAMILIES)).map(lambda found: tuple(sorted(found))),
    st.dictionaries(st.sampled_from(SIZED), st.integers(1, 16)).map(lambda found: tuple(found.items())),
)


def sizes(kind: pa.DataType) -> tuple[int, ...]:
    found = []
    while pa.types.is_fixed_size_list(kind):
        found.append(kind.list_size)
        kind = kind.value_type
    return tuple(found)


@given(specs)
@settings(max_examples=60, deadline=None)
def test_every_table_has_every_column(spec: RecordSpec) -> None:
    schema = record_schema(spec)
    assert schema.names == NAMES
    assert record_schema(spec) is schema, "one schema per spec"
    for column in columns():
        kind = schema.field(column.name).type
        assert pa.types.is_null(kind) == spec.absent(column.name)
        shape = cell_shape(column, spec)
        if not pa.types.is_null(kind) and shape not in (None, (-1,)):
            assert sizes(kind) == shape, column.name
    assert not any(spec.absent(name) for name in ("key", "image_path", "bbox_xywh", "world_to_cam", "meta"))


def test_types_in_figures() -> None:
    schema = record_schema(FULL)
    words = pa.dictionary(pa.int8(), pa.string())
    expected = {
        "key": pa.string(),
        "dataset": words,
        "gender": words,
        "frame": pa.int32(),
        "source_index": pa.int64(),
        "fps": pa.float32(),
        "valid_smplx": pa.bool_(),
        "bbox_xywh": pa.list_(pa.float32(), 5),
        "keypoints2d_original": pa.list_(pa.list_(pa.float32(), 3), 17),
        "keypoints3d_smplx": pa.list_(pa.list_(pa.float32(), 4), 144),
        "smplx_betas": pa.list_(pa.float32(), 16),
        "smplx_expression": pa.list_(pa.float32(), 12),
        "smpl_betas": pa.list_(pa.float32(), 10),
        "pose_valid": pa.list_(pa.bool_(), 55),
        "distortion": pa.list_(pa.float32()),
    }
    assert {name: schema.field(name).type for name in expected} == expected


def test_columns_that_need_a_body_or_joints_are_null_without_one() -> None:
    absent = {name for name in NAMES if BARE.absent(name)}
    assert {name for name in NAMES if name.startswith(FAMILIES)} <= absent
    assert {"valid_smplx", "valid_smpl", "pose_valid", "betas_neutral", "gender", "kid"} <= absent
    assert {name for name in NAMES if name.startswith("keypoints")} <= absent
    assert not any(FULL.absent(name) for name in NAMES)
    smpl = RecordSpec("mini", "val", bodies=("smpl",))
    assert not smpl.absent("smpl_betas")
    assert not smpl.absent("keypoints3d_smpl")
    assert not smpl.absent("valid_smpl")
    assert not smpl.absent("gender")
    assert smpl.absent("smplx_betas")
    assert smpl.absent("smplh_betas")
    assert smpl.absent("keypoints3d_smplx")
    assert smpl.absent("valid_smplx")


def test_fields_carry_unit_frame_and_convention() -> None:
    schema = record_schema(FULL)
    assert schema.field("keypoints2d_original").metadata == {
        b"unit": b"px",
        b"frame": b"upright original pixels, pixel centres at integers",
        b"convention": b"coco_17",
    }
    assert schema.field("keypoints3d_original").metadata[b"convention"] == b"h36m_17"
    assert schema.field("keypoints3d_smplx").metadata[b"convention"] == b"smplx_144"
    assert schema.field("smplx_jaw_pose").metadata == {b"unit": b"rad", b"frame": b"parent joint"}
    assert schema.field("smplx_transl").metadata[b"unit"] == b"m"
    assert schema.field("key").metadata is None
    assert column_conventions(BARE) == {}
    assert set(column_conventions(FULL)) == {name for name in NAMES if name.startswith("keypoints")}
    for name, joints in column_conventions(FULL).items():
        assert sizes(schema.field(name).type)[0] == convention(joints).count


@pytest.mark.parametrize("width", [0, -1, 17])
def test_widths_have_bounds(width: int) -> None:
    with pytest.raises(SchemaError, match=f"smplx_betas of mini: width must be 1 to 16, found {width}"):
        record_schema(RecordSpec("mini", "val", bodies=("smplx",), widths=(("smplx_betas", width),)))


def test_declarations_that_name_nothing_are_refused() -> None:
    with pytest.raises(SchemaError, match=r"mini: 'smplx_beta' is none of .*did you mean 'smplx_betas'"):
        RecordSpec("mini", "val", bodies=("smplx",), widths=(("smplx_beta", 12),))
    with pytest.raises(SchemaError, match="mini: 'SMPLX' is none of smplx, smpl, smplh"):
        RecordSpec("mini", "val", bodies=("SMPLX",))
    with pytest.raises(UsageError, match="unknown keypoint convention 'coco_18'"):
        record_schema(RecordSpec("mini", "val", "coco_18"))


def test_index_adds_the_row_of_the_part() -> None:
    parts = record_schema(FULL)
    index = index_schema(parts)
    assert index.names == [*parts.names, "part_row"]
    assert index.field("part_row").type == pa.int32()
    assert index.remove(len(parts.names)).equals(parts, check_metadata=True)


def test_tracks_and_motion_types() -> None:
    assert {field.name: field.type for field in TRACKS_SCHEMA} == {
        "track_id": pa.string(),
        "sequence": pa.string(),
        "segment": pa.int32(),
        "rows": pa.list_(pa.int64()),
        "frames": pa.list_(pa.int32()),
        "fps": pa.float32(),
        "step": pa.int32(),
    }
    motion = motion_schema()
    expected = {
        "key": pa.string(),
        "betas": pa.list_(pa.float32()),
        "frames": pa.list_(pa.int32()),
        "global_orient": pa.list_(pa.list_(pa.float32(), 3)),
        "body_pose": pa.list_(pa.list_(pa.float32())),
        "left_hand_pose": pa.list_(pa.list_(pa.float32(), 45)),
        "expression": pa.list_(pa.list_(pa.float32())),
    }
    assert {name: motion.field(name).type for name in expected} == expected
    for listed, schema in ((TRACKS_COLUMNS, TRACKS_SCHEMA), (MOTION_COLUMNS, motion)):
        assert schema.names == [column.name for column in listed]
        for column in listed:
            facts = {"doc": column.doc, "unit": column.unit, "frame": column.frame}
            stored = {k.decode(): v.decode() for k, v in schema.field(column.name).metadata.items()}
            assert stored == {key: value for key, value in facts.items() if value}
            assert column.doc
