from __future__ import annotations

import gc
import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core.errors import SchemaError
from hmtools.humandata.record import Record
from hmtools.humandata.schema import RecordSpec
from hmtools.humandata.table import to_batch
from hmtools.shards.rows import RowFile

WORDS = ("none", "rot90cw", "ünï", "")
FLOAT = st.floats(width=32)  # NaN and infinities too


def vector(size: int, cell: st.SearchStrategy[Any] = FLOAT) -> st.SearchStrategy[Any]:
    return st.lists(cell, min_size=size, max_size=size)


# Every kind of cell a record has, with lengths that do not divide bytes and words.
KINDS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (pa.null(), st.none()),
    (pa.bool_(), st.booleans()),
    (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.float32(), FLOAT),
    (pa.string(), st.text(max_size=6)),
    (pa.dictionary(pa.int8(), pa.string()), st.sampled_from(WORDS)),
    (pa.list_(pa.float32()), st.lists(FLOAT, max_size=5)),
    (pa.list_(pa.int64()), st.lists(st.integers(0, 9), max_size=5)),
    (pa.list_(pa.float32(), 1), vector(1)),
    (pa.list_(pa.float32(), 5), vector(5)),
    (pa.list_(pa.list_(pa.float32(), 3), 2), vector(2, vector(3))),
    (pa.list_(pa.bool_(), 1), vector(1, st.booleans())),
    (pa.list_(pa.bool_(), 13), vector(13, st.booleans())),
    (pa.list_(pa.bool_(), 55), vector(55, st.booleans())),
]


def column(kind: Any, cells: list[Any]) -> Any:
    if not pa.types.is_dictionary(kind):
        return pa.array(cells, kind)
    codes = pa.array([None if cell is None else WORDS.index(cell) for cell in cells], pa.int8())
    return pa.DictionaryArray.from_arrays(codes, pa.array(WORDS))


@st.composite
def tables(draw: st.DrawFn) -> list[Any]:
    """Record batches of one schema; in each, a column has no, some or only nulls, or (nearly) one value."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=5))
    schema = pa.schema([pa.field(f"c{n}", kind) for n, (kind, _) in enumerate(kinds)])
    batches = []
    for rows in draw(st.lists(st.sampled_from([0, 1, 2, 7, 17]), max_size=4)):
        columns = []
        for kind, cell in kinds:
            way = draw(st.sampled_from(["any", "some null", "null", "same", "same at both ends"]))
            some = st.one_of(st.none(), cell)
            cells = draw(vector(rows, {"some null": some, "null": st.none()}.get(way, cell)))
            if way == "same":
                cells = cells[:1] * rows
            elif way == "same at both ends" and rows:
                cells[-1] = cells[0]
            columns.append(column(kind, cells))
        batches.append(pa.RecordBatch.from_arrays(columns, schema=schema))
    return batches or [pa.RecordBatch.from_pylist([], schema=schema)]


def write(path: Path, batches: list[Any], **options: Any) -> None:
    schema = batches[0].schema
    with pa.ipc.new_file(str(path), schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for batch in batches:
            writer.write_batch(batch)


def plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


@settings(max_examples=80, deadline=None)
@given(tables())
def test_rows_are_those_of_pyarrow(tmp_path_factory: pytest.TempPathFactory, batches: list[Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "random.arrow"
    write(path, batches)
    expected = pa.Table.from_batches(batches).to_pylist()
    rows = RowFile(path)
    assert len(rows) == len(expected)
    order = np.random.default_rng(0).permutation(len(expected))
    for index in map(int, order):
        found = rows.row(index)
        assert list(found) == rows.schema.names
        np.testing.assert_equal({name: plain(value) for name, value in found.items()}, expected[index])
    assert rows.table().schema == batches[0].schema
    np.testing.assert_equal(rows.table().to_pylist(), expected)


def test_a_file_without_batches(tmp_path: Path) -> None:
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), pa.schema([("x", pa.int32())])):
        pass
    rows = RowFile(tmp_path / "a.arrow")
    assert len(rows) == 0
    assert rows.table().num_rows == 0


@pytest.fixture
def records_file(tmp_path: Path, make_record: Callable[..., Record], spec: RecordSpec) -> Path:
    """Two batches, of 4 and 3 real records."""
    records = [make_record(frame, person) for frame in range(4) for person in range(2)][:7]
    path = tmp_path / "records.arrow"
    write(path, [to_batch(records[:4], spec), to_batch(records[4:], spec)])
    return path


def test_cells_of_a_record(records_file: Path, make_record: Callable[..., Record]) -> None:
    rows = RowFile(records_file)
    for index in (6, 0, 5, 3):
        expected, found = make_record(index // 2, index % 2), rows.row(index)
        for name, cell in found.items():
            value = getattr(expected, name)
            if isinstance(value, np.ndarray):
                assert (cell.dtype, cell.shape) == (value.dtype, value.shape), name
                assert not cell.flags.writeable, name
                assert not cell.size or not np.may_share_memory(cell, value)
                np.testing.assert_array_equal(cell, value)
            elif isinstance(value, float):
                assert cell == np.float32(value), name
            else:
                assert (type(cell), cell) == (type(value), value), name


def test_every_array_is_read_only(records_file: Path) -> None:
    row = RowFile(records_file).row(0)
    arrays = {name: cell for name, cell in row.items() if isinstance(cell, np.ndarray)}
    assert {"bbox_xywh", "keypoints2d_smplx", "distortion", "pose_valid"} <= arrays.keys()
    for cell in arrays.values():
        with pytest.raises(ValueError, match="read-only"):
            cell[...] = 0


def test_a_row_is_a_dictionary_of_its_own(records_file: Path) -> None:
    rows = RowFile(records_file)
    row = rows.row(0)
    kept = dict(row)
    row["key"] = row["dataset"] = None
    assert [rows.row(0)[name] for name in ("key", "dataset")] == [kept["key"], kept["dataset"]]
    assert rows.row(1) is not rows.row(0)


def test_zeros_of_both_signs(tmp_path: Path) -> None:
    batches = [pa.RecordBatch.from_pydict({"x": pa.array([zero] * 2, pa.float32())}) for zero in (0.0, -0.0)]
    write(tmp_path / "zeros.arrow", batches)
    rows = RowFile(tmp_path / "zeros.arrow")
    assert [np.signbit(rows.row(index)["x"]) for index in range(4)] == [False, False, True, True]


def test_reading_rows_does_not_copy_them(tmp_path: Path) -> None:
    batch = pa.RecordBatch.from_arrays(
        [pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(256 * 2048, np.float32)), 2048)], names=["x"]
    )
    write(tmp_path / "big.arrow", [batch] * 8)  # 16 MiB
    rows = RowFile(tmp_path / "big.arrow")
    tracemalloc.start()
    for index in range(0, len(rows), 16):
        rows.row(index)["x"].sum()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


@pytest.mark.parametrize(
    "data", [b"", b"garbage", b"ARROW1\0\0", b"x" * 10_000, b"ARROW1\0\0" * 100 + b"ARROW1"]
)
def test_garbage_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.arrow"
    path.write_bytes(data)
    with pytest.raises(SchemaError, match=r"a\.arrow: not a complete Arrow file .*again"):
        RowFile(path)


def test_truncated_files_are_refused(records_file: Path) -> None:
    whole = records_file.read_bytes()
    for size in [*range(0, len(whole), len(whole) // 40), len(whole) - 1]:
        records_file.write_bytes(whole[:size])
        with pytest.raises(SchemaError, match=r"records\.arrow"):
            RowFile(records_file)


def test_a_file_with_a_damaged_batch_is_refused(records_file: Path) -> None:
    content = bytearray(records_file.read_bytes())
    reader = pa.ipc.open_file(io.BytesIO(content))
    first = pa.ipc.open_stream(io.BytesIO(content[8:]))
    assert reader.num_record_batches == 2
    start = content.index(first.schema.serialize().to_pybytes()) + len(first.schema.serialize())
    content[start : start + 4096] = bytes(4096)  # dictionaries and the head of the first batch
    records_file.write_bytes(content)
    with pytest.raises(SchemaError, match=r"records\.arrow"):
        RowFile(records_file)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"a\.arrow.*again"):
        RowFile(tmp_path / "a.arrow")


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_compressed_files_are_refused(tmp_path: Path, codec: str) -> None:
    """Their numbers do not lie in the file as such; reading on would give rubbish."""
    path = tmp_path / "a.arrow"
    write(path, [pa.RecordBatch.from_pydict({"x": pa.array(np.zeros(5000, np.int32))})], compression=codec)
    with pytest.raises(SchemaError, match=r"a\.arrow.*compressed"):
        RowFile(path).row(0)


def maps_of(path: Path) -> int:
    return Path("/proc/self/maps").read_text().count(str(path))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_nothing_stays_open(records_file: Path, open_descriptors: Callable[[], dict[str, str]]) -> None:
    """No cycle keeps a dropped file: its map goes at once, but not before the last cell that shows it."""
    gc.disable()
    try:
        rows = RowFile(records_file)
        for index in range(len(rows)):
            cells = rows.row(index)
        table = rows.table()
        assert maps_of(records_file) == 1
        del rows
        np.testing.assert_array_equal(cells["bbox_xywh"], table.column("bbox_xywh")[6].as_py())
        del cells
        assert maps_of(records_file) == 1  # the table still looks at it
        del table
        assert maps_of(records_file) == 0
        assert str(records_file) not in open_descriptors().values()
    finally:
        gc.enable()
