from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core.errors import SchemaError
from hmtools.humandata.record import FAMILIES, Column, Record, columns
from hmtools.humandata.schema import RecordSpec, cell_shape, record_schema
from hmtools.humandata.table import fixed_size_lists, normalise, to_batch, vocabulary

SPEC = RecordSpec("mini", "val", "coco_17", "h36m_17", FAMILIES, (("smplx_betas", 16),))
BARE = RecordSpec("mini", "val")
COLUMNS = {column.name: column for column in columns()}
Rng = np.random.Generator


def value(column: Column, spec: RecordSpec, rng: Rng) -> Any:
    """A cell as a converter may yield it: float64, lists, numpy scalars."""
    shape = cell_shape(column, spec)
    if shape is not None:
        size = (int(rng.integers(0, 9)),) if shape == (-1,) else shape
        if column.cell.startswith("bool"):
            return rng.random(size) < 0.5
        array = rng.normal(size=size)
        return (array, array.astype(np.float32), array.tolist(), np.asfortranarray(array))[rng.integers(4)]
    if column.cell == "str" and column.name not in ("dataset", "split"):
        return str(rng.choice(["", "plain", "日本 🙂", 'quoted " \\', "line\nbreak"]))
    if column.cell == "bool":
        return (bool, np.bool_)[rng.integers(2)](rng.random() < 0.5)
    if column.cell in ("i32", "i64"):
        number = int(rng.integers(-(2**31), 2**31)) * (2**20 if column.cell == "i64" else 1)
        return (int, np.int64)[rng.integers(2)](number)
    if column.cell == "f32":
        return (float, np.float32, np.float64)[rng.integers(3)](rng.normal())
    return str(rng.choice(vocabulary(column, spec)))


def record(filled: Sequence[str], spec: RecordSpec, rng: Rng) -> Record:
    return Record(**{name: value(COLUMNS[name], spec, rng) for name in filled})


def people(count: int, seed: int, spec: RecordSpec = SPEC) -> list[Record]:
    """Records of which each column is missing in about half."""
    rng = np.random.default_rng(seed)
    usable = [name for name in COLUMNS if not spec.absent(name)]
    return [
        normalise(record([n for n in usable if rng.random() < 0.5], spec, rng), spec) for _ in range(count)
    ]


def serialised(batch: pa.RecordBatch) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_file(out, batch.schema) as writer:
        writer.write_batch(batch)
    return out.getvalue()


def assert_same(stored: Any, given: Any, column: Column) -> None:
    if given is None:
        assert stored is None, column.name
    elif isinstance(given, np.ndarray):
        assert np.array_equal(np.array(stored, given.dtype).reshape(given.shape), given), column.name
    else:
        assert stored == given, column.name
        assert type(stored) is type(given), column.name


@given(st.lists(st.frozensets(st.sampled_from(sorted(COLUMNS))), max_size=6), st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_cells_round_trip_and_nulls_stay_null(filled: list[frozenset[str]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    sources = [record(sorted(names), SPEC, rng) for names in filled]
    before = [{name: getattr(found, name) for name in COLUMNS} for found in sources]
    batch = to_batch([normalise(found, SPEC) for found in sources], SPEC)
    batch.validate(full=True)
    assert batch.schema.equals(record_schema(SPEC), check_metadata=True)
    with pa.ipc.open_file(pa.py_buffer(serialised(batch))) as file:
        rows = file.read_all().to_pylist()
    for row, found, raw in zip(rows, sources, before, strict=True):
        for name, column in COLUMNS.items():
            assert_same(row[name], getattr(found, name), column)
            if isinstance(getattr(found, name), np.ndarray):
                assert np.allclose(getattr(found, name), raw[name], rtol=1e-6)


def test_normalised_cells_have_the_types_of_the_schema() -> None:
    rng = np.random.default_rng(0)
    found = normalise(record(sorted(COLUMNS), SPEC, rng), SPEC)
    plain = {"str": str, "bool": bool, "i32": int, "i64": int, "f32": float}
    for name, column in COLUMNS.items():
        cell, shape = getattr(found, name), cell_shape(column, SPEC)
        if shape is None:
            assert type(cell) is plain.get(column.cell, str), name
        else:
            assert cell.dtype == (bool if column.cell.startswith("bool") else np.float32), name
            assert cell.shape == shape or (shape == (-1,) and cell.ndim == 1), name
    again = {name: getattr(found, name) for name in COLUMNS}
    normalise(found, SPEC)
    for name, column in COLUMNS.items():
        assert_same(again[name], getattr(found, name), column)


def test_scalars_are_rounded_as_arrow_will_round_them() -> None:
    """Otherwise the tar's JSON (29.97) and the table (29.969999…) would differ."""
    found = normalise(Record(fps=29.97, occlusion=np.float64(0.1)), SPEC)
    assert found.fps == float(np.float32(29.97))
    row = to_batch([found], SPEC).to_pylist()[0]
    assert (row["fps"], row["occlusion"]) == (found.fps, found.occlusion)


def test_too_large_floats_become_infinite_without_a_warning() -> None:
    found = normalise(Record(fps=1e300, bbox_xywh=[1e300, 0, 1, 1, 1], focal_length=np.full(2, -1e300)), SPEC)
    assert found.fps == np.inf
    assert found.bbox_xywh[0] == np.inf
    assert (found.focal_length == -np.inf).all()


def values_under(array: pa.Array) -> np.ndarray[Any, Any]:
    """What is stored in the value buffer of an array, null or not, one row per cell."""
    length, child = len(array), array
    while pa.types.is_fixed_size_list(child.type):
        child = child.values
    assert child.null_count == 0 or child is array, "only whole cells are null"
    if pa.types.is_dictionary(child.type):
        child = child.indices
    if pa.types.is_boolean(child.type):
        bits = np.unpackbits(np.frombuffer(child.buffers()[1], np.uint8), bitorder="little")
        return bits[: len(child)].reshape(length, -1)
    numbers = np.frombuffer(child.buffers()[1], child.type.to_pandas_dtype())
    return numbers[: len(child)].reshape(length, -1)


def test_cells_under_a_null_are_zero() -> None:
    batch = to_batch(people(40, seed=1), SPEC)
    checked = 0
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        kind = array.type
        if pa.types.is_string(kind) or pa.types.is_list(kind):
            continue  # their offsets do not move under a null
        missing = np.array([not found for found in array.is_valid().to_pylist()])
        assert missing.any(), name
        assert not missing.all(), name
        assert not values_under(array)[missing].any(), name
        checked += 1
    assert checked > 50


def test_bytes_are_deterministic() -> None:
    expected = serialised(to_batch(people(40, seed=2), SPEC))
    for fill in (0xFF, 0x55):  # what freed memory holds must not show
        dirty = [pa.allocate_buffer(size) for size in (64, 640, 6400, 64_000) for _ in range(50)]
        dirty += [np.empty(buffer.size, np.uint8) for buffer in dirty]
        for memory in dirty:
            np.frombuffer(memory, np.uint8)[:] = fill
        del dirty, memory
        assert serialised(to_batch(people(40, seed=2), SPEC)) == expected
    assert serialised(to_batch(people(40, seed=3), SPEC)) != expected


def test_empty_and_bare_batches() -> None:
    assert to_batch([], SPEC).num_rows == 0
    batch = to_batch([normalise(Record(key="a/b/c/000000_0", dataset="mini"), BARE)], BARE)
    kinds = {
        name: batch.schema.field(name).type for name in ("smplx_betas", "keypoints2d_original", "gender")
    }
    assert all(pa.types.is_null(kind) for kind in kinds.values())
    row = batch.to_pylist()[0]
    assert {name for name, cell in row.items() if cell is not None} == {"key", "dataset"}


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ({"bbox_xywh": [0, 0, 1, 1]}, r"bbox_xywh: expected shape \(5,\), found \(4,\)"),
        ({"bbox_xywh": 3.0}, r"bbox_xywh: expected shape \(5,\), found \(\)"),
        ({"keypoints2d_original": np.zeros((16, 3))}, r"keypoints2d_original: .*\(17, 3\), found \(16, 3\)"),
        ({"keypoints3d_smplx": np.zeros((4, 144))}, r"keypoints3d_smplx: expected shape \(144, 4\)"),
        ({"smplx_betas": np.zeros(10)}, r"smplx_betas: expected shape \(16,\), found \(10,\)"),
        ({"distortion": np.zeros((2, 2))}, r"distortion: expected shape \(-1,\), found \(2, 2\)"),
        ({"bbox_xywh": [0, 0, 1, 1, "wide"]}, "bbox_xywh: cannot store .*wide"),
        ({"bbox_xywh": [[0], [0, 1]]}, "bbox_xywh: cannot store"),
        ({"bbox_xywh": {"x": 1}}, "bbox_xywh: cannot store"),
        ({"gender": "unknown"}, "gender: expected one of neutral, male, female, found 'unknown'"),
        ({"gender": np.array(["male", "male"])}, "gender: cannot store"),
        ({"dataset": "other"}, "dataset: expected one of mini, found 'other'"),
        ({"split": "train"}, "split: expected one of val, found 'train'"),
        ({"camera_model": ""}, "camera_model: expected one of pinhole"),
        ({"source_id": 17}, "source_id: expected str, found int 17"),
        ({"source_id": b"x"}, "source_id: expected str, found bytes"),
        ({"source_id": "half \ud800 pair"}, "source_id: cannot store .*surrogates not allowed"),
        ({"frame": 1.0}, "frame: expected i32, found float"),
        ({"frame": True}, "frame: expected i32, found bool"),
        ({"frame": "1"}, "frame: expected i32, found str"),
        ({"frame": 2**31}, "frame: cannot store 2147483648: .*out of bounds for int32"),
        ({"frame": np.int64(2**40)}, "frame: cannot store .*out of bounds for int32"),
        ({"source_index": 2**63}, "source_index: cannot store"),
        ({"fps": "30"}, "fps: expected f32, found str '30'"),
        ({"fps": True}, "fps: expected f32, found bool"),
        ({"fps": 10**400}, "fps: cannot store"),
        ({"valid_smplx": 1}, "valid_smplx: expected bool, found int 1"),
        ({"pose_valid": np.ones(54, bool)}, r"pose_valid: expected shape \(55,\), found \(54,\)"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_column(cells: dict[str, Any], problem: str) -> None:
    with pytest.raises(SchemaError, match=problem) as error:
        normalise(Record(**cells), SPEC)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("name", ["smplx_betas", "keypoints2d_original", "gender", "valid_smpl"])
def test_absent_columns_must_stay_empty(name: str) -> None:
    found = record([name], SPEC, np.random.default_rng(0))
    with pytest.raises(SchemaError, match=f"mini yields {name}, which its RecordSpec says it does not have"):
        normalise(found, BARE)


@pytest.mark.parametrize("shape", [(3, 5), (2, 4, 3), (0, 5), (1, 1)])
def test_fixed_size_lists(shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    assert fixed_size_lists(values).to_pylist() == values.tolist()
    missing = np.arange(shape[0]) % 2 == 0
    expected = [None if gone else row for gone, row in zip(missing, values.tolist(), strict=True)]
    array = fixed_size_lists(values, missing)
    assert array.to_pylist() == expected
    assert array.null_count == missing.sum()
