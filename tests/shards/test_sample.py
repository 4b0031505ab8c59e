from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

import hmtools
from hmtools.core.errors import SchemaError, UnsafeFileError
from hmtools.core.image import decode_rgb
from hmtools.humandata.record import Column, Record, columns
from hmtools.humandata.schema import RecordSpec, cell_shape
from hmtools.humandata.table import normalise, vocabulary
from hmtools.shards import npz
from hmtools.shards.npz import npz_arrays, npz_bytes
from hmtools.shards.sample import LOCATION, decode_sample, encode_sample

RecordMaker = Callable[..., Record]

BODIES = ("smplx", "smpl", "smplh")
SPEC = RecordSpec("mini", "val", keypoints2d="coco_17", keypoints3d="coco_17", bodies=BODIES)
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "str": st.text(max_size=8),
    "bool": st.booleans(),
    "i32": st.integers(-(2**31), 2**31 - 1),
    "i64": st.integers(-(2**63), 2**63 - 1),
    "f32": st.floats(allow_nan=False, allow_infinity=False, width=32),
}


def cells(column: Column, rng: np.random.Generator) -> st.SearchStrategy[Any]:
    shape = cell_shape(column, SPEC)
    if column.cell.startswith("enum:") or column.name in ("dataset", "split"):
        return st.sampled_from(vocabulary(column, SPEC))
    if shape is None:
        return SCALARS[column.cell]
    if column.cell.startswith("bool"):
        return st.builds(lambda: rng.random(shape) < 0.5)
    if shape == (-1,):
        return st.lists(SCALARS["f32"], max_size=8)
    return st.builds(lambda: rng.normal(size=shape))


@st.composite
def people(draw: st.DrawFn, most: int = 4) -> list[Record]:
    """People of one image; each lacks some columns, and some columns nobody has."""
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    rate = draw(st.sampled_from([0.0, 0.3, 0.9]))  # of missing cells
    nobody = {column.name for column in columns() if rng.random() < rate}
    found = []
    for _ in range(draw(st.integers(1, most))):
        values = {
            column.name: draw(cells(column, rng))
            for column in columns()
            if column.name not in LOCATION and column.name not in nobody and rng.random() >= rate
        }
        found.append(normalise(Record(**values), SPEC))
    return found


def assert_same(found: list[Record], expected: list[Record]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for column in columns():
            a, b = getattr(one, column.name), getattr(other, column.name)
            if isinstance(b, np.ndarray):
                assert isinstance(a, np.ndarray), column.name
                assert (a.dtype, a.shape) == (b.dtype, b.shape), column.name
                assert a.tobytes() == b.tobytes(), column.name
            else:
                assert (type(a), a) == (type(b), b), column.name


@settings(max_examples=40, deadline=None)
@given(people())
def test_full_round_trip_is_exact(frame: list[Record]) -> None:
    assert_same(decode_sample(*encode_sample(frame, full=True), "x"), frame)


@settings(max_examples=40, deadline=None)
@given(people(most=1))
def test_crop_round_trip_is_exact(frame: list[Record]) -> None:
    assert_same(decode_sample(*encode_sample(frame, full=False), "x"), frame)


@settings(max_examples=15, deadline=None)
@given(people(), st.booleans())
def test_what_is_decoded_encodes_to_the_same_bytes(frame: list[Record], full: bool) -> None:
    shown = frame if full else frame[:1]
    members = encode_sample(shown, full=full)
    again = [normalise(record, SPEC) for record in decode_sample(*members, "x")]
    assert encode_sample(again, full=full) == members


def test_a_full_sample_has_a_person_axis_and_marks_gaps(make_record: RecordMaker) -> None:
    frame = [make_record(0, 0), make_record(0, 1), make_record(0, 2)]
    members = encode_sample(frame, full=True)
    arrays, document = npz_arrays(members[0], "x"), json.loads(members[1])
    assert {array.shape[0] for array in arrays.values()} == {3}
    assert [person["person"] for person in document["people"]] == [0, 1, 2]
    np.testing.assert_array_equal(arrays["bbox_xywh"][2], frame[2].bbox_xywh)
    # person 1 has no left-hand box, no pose_valid and no distortion
    assert [person.get("absent", []) for person in document["people"]] == [
        [],
        ["lhand_bbox_xywh", "distortion", "pose_valid"],
        [],
    ]
    assert np.isnan(arrays["lhand_bbox_xywh"][1]).all()
    assert arrays["pose_valid"].dtype == bool
    assert not arrays["pose_valid"][1].any()
    assert np.isnan(arrays["distortion"]).sum(axis=1).tolist() == [2, 5, 0]  # 3, none and 5 coefficients
    assert "image_affine" not in arrays  # nobody has it
    assert not any(name in person for person in document["people"] for name in LOCATION)


def test_a_crop_sample_is_flat_and_leaves_nulls_out(make_record: RecordMaker) -> None:
    person = make_record(0, 1, shard="x.tar", offset=512, nbytes=9)
    members = encode_sample([person], full=False)
    arrays, document = npz_arrays(members[0], "x"), json.loads(members[1])
    assert arrays["bbox_xywh"].shape == (5,)
    assert "lhand_bbox_xywh" not in arrays
    assert document["meta"] == '{"note":"ünï","n":1}'
    assert "ünï" in members[1].decode()  # as it is, not escaped
    assert not {"people", "absent", "track_id", *LOCATION} & document.keys()


def test_a_record_without_arrays() -> None:
    record = Record(key="a/b/c/000000_0")
    for full in (False, True):
        assert_same(decode_sample(*encode_sample([record], full=full), "x"), [record])


def test_pickled_numbers_are_refused(make_record: RecordMaker) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, bbox_xywh=np.array([{}], object))
    with pytest.raises(UnsafeFileError, match=r"seq/000000\.npz.*pickle"):
        decode_sample(buffer.getvalue(), b"{}", "seq/000000")


def test_oversized_numbers_are_refused(monkeypatch: pytest.MonkeyPatch, make_record: RecordMaker) -> None:
    members = encode_sample([make_record(0)], full=False)
    monkeypatch.setattr(npz, "_LIMIT", 1000)
    with pytest.raises(UnsafeFileError, match=r"seq/000000\.npz: inflates to"):
        decode_sample(*members, "seq/000000")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe\xfd",
        b"null",
        b"5",
        b"[]",
        b'"people"',
        b'["people"]',
        b'{"people": null}',
        b'{"people": 3}',
        b'{"people": [3]}',
        b'{"people": [{"nonsense": 1}]}',
        b'{"people": [{"absent": 5}]}',
        b'{"people": []}',
        b'{"people": [{}]}',  # the arrays below are for two
        b'{"people": [{}, {}, {}]}',
        b'{"nonsense": 1}',
        b'{"bbox_xywh": 1}',  # an array column that is in the npz as well
        b"[" * 100_000,
        b'{"frame": ' + b"9" * 5000 + b"}",
    ],
)
def test_malformed_json_names_the_sample(text: bytes) -> None:
    numbers = npz_bytes({"bbox_xywh": np.zeros((2, 5), np.float32)})
    with pytest.raises(SchemaError, match="sample seq/000000: not written by hmtools or damaged"):
        decode_sample(numbers, text, "seq/000000")


def test_arrays_without_a_person_axis_are_refused() -> None:
    numbers = npz_bytes({"bbox_xywh": np.array(1, np.float32)})
    with pytest.raises(SchemaError, match="seq/000000"):
        decode_sample(numbers, b'{"people": [{}]}', "seq/000000")


def test_unknown_arrays_are_refused() -> None:
    numbers = npz_bytes({"nonsense": np.zeros((1, 5), np.float32)})
    for text in (b"{}", b'{"people": [{}]}'):
        with pytest.raises(SchemaError, match="seq/000000"):
            decode_sample(numbers, text, "seq/000000")


def test_numbers_that_are_no_archive_name_the_sample() -> None:
    assert not zipfile.is_zipfile(io.BytesIO(b"rubbish"))
    with pytest.raises(UnsafeFileError, match=r"seq/000000\.npz"):
        decode_sample(b"rubbish", b"{}", "seq/000000")


def test_bytes_depend_on_the_records_alone(make_record: RecordMaker) -> None:
    for full in (False, True):
        first = encode_sample([make_record(3)], full=full)
        assert encode_sample([make_record(3)], full=full) == first


# webdataset leaves closing the tar that it opened to the garbage collector.
webdataset_only = pytest.mark.filterwarnings(
    r"ignore:unclosed file <_io.BufferedReader name=.*\.tar:ResourceWarning"
)


def foreign_samples(tar: Path) -> list[dict[str, Any]]:
    """What anybody gets with webdataset's own decoding of images, npz and JSON."""
    return list(webdataset.WebDataset(str(tar), shardshuffle=False).decode("rgb8"))


def image_of(sample: dict[str, Any]) -> Any:
    (extension,) = {"jpg", "png"} & sample.keys()
    assert sample.keys() == {"__key__", "__url__", "__local_path__", extension, "npz", "json"}
    return sample[extension]


def assert_cells(
    arrays: dict[str, Any], scalars: dict[str, Any], row: dict[str, Any], absent: list[str]
) -> None:
    """Arrays and scalars of one person must be the table's row, and hold nothing else."""
    present = {name for name, cell in row.items() if cell is not None} - {*LOCATION, "part_row"}
    assert (arrays.keys() - absent) | scalars.keys() == present
    for name in arrays.keys() - absent:
        cell = arrays[name]
        if name == "distortion":
            cell = cell[: len(row[name])]
        np.testing.assert_array_equal(cell, row[name], err_msg=name)
    for name, value in scalars.items():
        assert row[name] == (np.float32(value) if isinstance(value, float) else value), name


@pytest.fixture
def frames(make_record: RecordMaker) -> list[list[Record]]:
    """A frame of one, two and three people, another way up each."""
    operations = ["none", "rot90cw", "hflip"]
    return [
        [make_record(frame, person, image_op=operations[frame]) for person in range(frame + 1)]
        for frame in range(3)
    ]


@webdataset_only
def test_plain_webdataset_reads_crops(
    tmp_path: Path, make_split: Callable[..., Path], frames: list[list[Record]]
) -> None:
    folder = make_split(tmp_path, frames)
    shards = hmtools.open(folder)
    samples = foreign_samples(folder / "mini-val-u00000-000.tar")
    assert [sample["__key__"] for sample in samples] == [record.key for people in frames for record in people]
    for index, sample in enumerate(samples):
        np.testing.assert_array_equal(image_of(sample), shards[index].image)
        assert_cells(sample["npz"], sample["json"], shards.row(index), [])


@webdataset_only
def test_plain_webdataset_reads_full_frames(
    tmp_path: Path, make_split: Callable[..., Path], frames: list[list[Record]]
) -> None:
    folder = make_split(tmp_path, frames, images="full")
    shards, row = hmtools.open(folder), 0
    samples = foreign_samples(folder / "mini-val-u00000-000.tar")
    assert [sample["__key__"] for sample in samples] == [f"mini/val/seq/a/{frame:06d}" for frame in range(3)]
    for sample, people in zip(samples, frames, strict=True):
        data = shards.image_bytes(shards.row(row))
        assert data is not None
        np.testing.assert_array_equal(image_of(sample), decode_rgb(data))
        assert {len(array) for array in sample["npz"].values()} == {len(people)}
        for person, scalars in enumerate(sample["json"]["people"]):
            absent = scalars.pop("absent", [])
            arrays = {name: array[person] for name, array in sample["npz"].items()}
            assert_cells(arrays, scalars, shards.row(row), absent)
            row += 1
    assert row == len(shards)
