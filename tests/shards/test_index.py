from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from hmtools.core.atomic import file_sha256
from hmtools.core.errors import SchemaError
from hmtools.humandata.record import Record
from hmtools.humandata.schema import TRACKS_SCHEMA, RecordSpec, index_schema, record_schema
from hmtools.shards import index as index_module
from hmtools.shards.index import IndexFacts, iter_batches, part_tables, write_index
from hmtools.shards.writer import PartWriter

RecordMaker = Callable[..., Record]


@pytest.fixture
def write_parts(tmp_path: Path, spec: RecordSpec) -> Callable[..., Path]:
    """``(*units) -> folder``: one part without images per unit, a unit being a list of records."""

    def write(*units: Sequence[Record]) -> Path:
        for number, records in enumerate(units):
            with PartWriter(tmp_path, spec, f"u{number:05d}", full=False, images=False) as writer:
                for record in records:
                    writer.add([record], None, "")
        return tmp_path

    return write


def indexed(folder: Path, spec: RecordSpec) -> tuple[IndexFacts, Any, list[dict[str, Any]]]:
    """Facts, index table and rows of the tracks table."""
    facts = write_index(folder, part_tables(folder), record_schema(spec))
    tables = [pa.ipc.open_file(str(folder / name)).read_all() for name in ("index.arrow", "tracks.arrow")]
    assert facts.rows == tables[0].num_rows
    assert facts.tracks == tables[1].num_rows
    return facts, tables[0], tables[1].to_pylist()


def test_the_index_is_its_parts_and_part_row(
    write_parts: Callable[..., Path], make_record: RecordMaker, spec: RecordSpec
) -> None:
    units = [
        [make_record(frame) for frame in range(first, first + count)] for first, count in ((0, 300), (300, 2))
    ]
    folder = write_parts(*units)
    facts, table, _ = indexed(folder, spec)
    assert table.schema.equals(index_schema(record_schema(spec)), check_metadata=True)
    assert table.column("part_row").to_pylist() == [*range(300), 0, 1]
    parts = [pa.ipc.open_file(str(path)).read_all() for path in part_tables(folder)]
    assert table.drop_columns(["part_row"]).equals(pa.concat_tables(parts))
    assert table.column("key").to_pylist() == [record.key for unit in units for record in unit]
    assert [len(batch) for batch in iter_batches(folder / "index.arrow")] == [256, 44, 2]
    assert (facts.index_sha256, facts.tracks_sha256) == (
        file_sha256(folder / "index.arrow"),
        file_sha256(folder / "tracks.arrow"),
    )
    assert facts.duplicates == []


def test_an_empty_split(tmp_path: Path, spec: RecordSpec) -> None:
    facts, table, tracks = indexed(tmp_path, spec)
    assert (facts.rows, facts.tracks, facts.duplicates, tracks) == (0, 0, [], [])
    assert table.schema.equals(index_schema(record_schema(spec)), check_metadata=True)
    assert pa.ipc.open_file(str(tmp_path / "tracks.arrow")).schema.equals(TRACKS_SCHEMA, check_metadata=True)


@pytest.mark.parametrize(
    "other",
    [
        RecordSpec("mini", "val"),
        RecordSpec("mini", "val", "coco_17", "h36m_17", ("smplx",), (("smplx_betas", 11),)),  # same types
    ],
)
def test_a_part_of_another_schema(
    write_parts: Callable[..., Path], make_record: RecordMaker, spec: RecordSpec, other: RecordSpec
) -> None:
    folder = write_parts([make_record(0)])
    with pytest.raises(SchemaError, match=r"u00000-000\.arrow: schema differs"):
        write_index(folder, part_tables(folder), record_schema(other))
    assert [path.name for path in folder.iterdir()] == ["mini-val-u00000-000.arrow"]


@pytest.mark.parametrize("damage", ["truncated", "garbage", "missing"])
def test_a_damaged_part(
    write_parts: Callable[..., Path], make_record: RecordMaker, spec: RecordSpec, damage: str
) -> None:
    folder = write_parts([make_record(0)], [make_record(1)])
    parts = part_tables(folder)
    if damage == "missing":
        parts[1].unlink()
    else:
        content = parts[1].read_bytes()
        parts[1].write_bytes(content[:-100] if damage == "truncated" else b"x" * 5000)
    with pytest.raises(SchemaError, match=r"u00001-000\.arrow"):
        write_index(folder, parts, record_schema(spec))
    assert not [path for path in folder.iterdir() if path not in parts]


def test_parts_are_found_in_order_and_sidecars_are_not(tmp_path: Path) -> None:
    parts = ["a.1-val.2-u00000-000.arrow", "mini-val-u00000-000.arrow", "mini-val-u00000-001.arrow"]
    parts += ["mini-val-u00010-000.arrow", "mini-val-u100000-000.arrow"]
    others = ["mini-val-u00000-000.mesh.arrow", "mini-val-u00000-000.features-a1b.arrow", "index.arrow"]
    others += ["mini-val-u00000-000.tar", ".mini-val-u00000-002.arrow.17.tmp", "mini-up-123.arrow"]
    for name in (*reversed(parts), *others):
        (tmp_path / name).touch()
    assert [path.name for path in part_tables(tmp_path)] == parts


def test_duplicates_are_found_within_and_across_parts(
    write_parts: Callable[..., Path], make_record: RecordMaker, spec: RecordSpec
) -> None:
    frames = [[0, 1, 1, 2], [3, 2, 4], [4, 4]]
    facts, _, _ = indexed(write_parts(*([make_record(frame) for frame in unit] for unit in frames)), spec)
    assert facts.duplicates == [make_record(frame).key for frame in (1, 2, 4)]


def test_colliding_hashes_of_distinct_keys_are_no_duplicates(
    write_parts: Callable[..., Path],
    make_record: RecordMaker,
    spec: RecordSpec,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def two_values(key: bytes, digest_size: int) -> Any:
        return blake2b(bytes([key[-3] % 2]), digest_size=digest_size)  # even or odd frame

    monkeypatch.setattr(index_module, "blake2b", two_values)
    folder = write_parts([make_record(frame) for frame in (0, 1, 2, 3)], [make_record(4), make_record(3)])
    assert indexed(folder, spec)[0].duplicates == [make_record(3).key]


def track(name: str, frames: Sequence[int], rows: Sequence[int], **cells: Any) -> dict[str, Any]:
    return {
        "track_id": name,
        "sequence": "seq/a",
        "segment": 0,
        "rows": list(rows),
        "frames": list(frames),
        "fps": 25.0,
        "step": 1,
    } | cells


def test_tracks_of_several_people(
    write_parts: Callable[..., Path], make_record: RecordMaker, spec: RecordSpec
) -> None:
    """Rows number the whole split; stills (no track id) are in no track; a track may cross parts."""
    people = [
        (0, "b", "seq/a"),
        (0, "a", "seq/a"),
        (0, None, "seq/a"),
        (1, "a", "seq/a"),
        (2, "a", "seq/a"),
        (2, "b", "seq/a"),
        (0, "a", "seq/b"),
    ]
    records = [
        make_record(frame, person, sequence=sequence, track_id=name, fps=25)
        for person, (frame, name, sequence) in enumerate(people)
    ]
    _, _, tracks = indexed(write_parts(records[:4], records[4:]), spec)
    assert tracks == [
        track("b", [0, 2], [0, 5], step=2),
        track("a", [0, 1, 2], [1, 3, 4]),
        track("a", [0], [6], sequence="seq/b"),
    ]


@pytest.mark.parametrize(
    ("frames", "step", "segments"),
    [
        ([7], 1, [[7]]),
        ([3, 4, 5], 1, [[3, 4, 5]]),
        ([0, 1, 2, 5, 6], 1, [[0, 1, 2], [5, 6]]),
        ([0, 1, 3, 5], 1, [[0, 1], [3], [5]]),
        ([0, 10, 20, 40, 50], 10, [[0, 10, 20], [40, 50]]),
        ([0, 5, 5, 10], 5, [[0, 5], [5, 10]]),  # the same identity twice in a frame: a label error
        ([5, 6, 0, 1], 1, [[5, 6], [0, 1]]),  # frames must ascend within a segment
        ([4, 4], 1, [[4], [4]]),
    ],
)
def test_tracks_are_cut_at_gaps(
    write_parts: Callable[..., Path],
    make_record: RecordMaker,
    spec: RecordSpec,
    frames: list[int],
    step: int,
    segments: list[list[int]],
) -> None:
    records = [make_record(frame, n, track_id="t", fps=25) for n, frame in enumerate(frames)]
    _, _, tracks = indexed(write_parts(records), spec)
    expected, row = [], 0
    for number, found in enumerate(segments):
        rows = range(row, row := row + len(found))
        expected.append(track("t", found, rows, segment=number, step=step))
    assert tracks == expected


def test_no_track_ids_no_tracks(
    write_parts: Callable[..., Path], make_record: RecordMaker, spec: RecordSpec
) -> None:
    assert indexed(write_parts([make_record(0), make_record(1)]), spec)[2] == []


def test_batches_outlive_the_reader(
    write_parts: Callable[..., Path], make_record: RecordMaker, spec: RecordSpec
) -> None:
    (part,) = part_tables(write_parts([make_record(frame) for frame in range(3)]))
    (batch,) = list(iter_batches(part))
    part.unlink()
    assert batch.column("frame").to_pylist() == [0, 1, 2]
    batch.validate(full=True)
