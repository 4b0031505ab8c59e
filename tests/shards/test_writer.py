from __future__ import annotations

import errno
import hashlib
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from hmtools.core.atomic import AtomicFile
from hmtools.core.errors import SchemaError, UsageError
from hmtools.humandata.keys import image_key
from hmtools.humandata.record import Record
from hmtools.humandata.schema import BATCH_ROWS, RecordSpec, record_schema
from hmtools.shards import writer as writer_module
from hmtools.shards.index import part_tables
from hmtools.shards.writer import MAX_PART_BYTES, MAX_PART_RECORDS, PartWriter, part_stem, write_table

RecordMaker = Callable[..., Record]
SMALL = RecordSpec("mini", "val")


def small(frame: int, person: int = 0) -> Record:
    """A record of a set that has nothing but boxes."""
    key = f"mini/val/s/{frame:06d}_{person}"
    box = np.array([0, 0, 9, 9, 1], np.float32)
    return Record(
        key=key, dataset="mini", split="val", sequence="s", frame=frame, person=person, bbox_xywh=box
    )


def write_small(out: Path, frames: int = 6, people: int = 2, *, full: bool = True) -> PartWriter:
    with PartWriter(out, SMALL, "u00012", full=full) as writer:
        for frame in range(frames):
            found = [small(frame, person) for person in range(people)]
            for group in [found] if full else [[person] for person in found]:
                writer.add(group, b"%06d" % frame * 100, "jpg")
    return writer


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def table_of(path: Path) -> Any:
    return pa.ipc.open_file(str(path)).read_all()


def test_the_contract_of_sizes() -> None:
    assert (MAX_PART_BYTES, MAX_PART_RECORDS, BATCH_ROWS) == (512_000_000, 10_000, 256)
    assert part_stem(SMALL, "u00012", 0) == "mini-val-u00012-000"


def test_crop_samples(tmp_path: Path, spec: RecordSpec, make_record: RecordMaker) -> None:
    records = [make_record(frame, person) for frame in range(2) for person in range(2)]
    with PartWriter(tmp_path, spec, "u00012", full=False) as writer:
        for number, record in enumerate(records):
            writer.add([record], bytes([number]) * 700, "jpg")
    assert list(contents(tmp_path)) == ["mini-val-u00012-000.arrow", "mini-val-u00012-000.tar"]
    with tarfile.open(tmp_path / "mini-val-u00012-000.tar") as archive:
        names = archive.getnames()
    assert names == [f"{record.key}.{ending}" for record in records for ending in ("jpg", "npz", "json")]
    table = table_of(tmp_path / "mini-val-u00012-000.arrow")
    assert table.schema.equals(record_schema(spec), check_metadata=True)
    content = (tmp_path / "mini-val-u00012-000.tar").read_bytes()
    for number, row in enumerate(table.to_pylist()):
        assert row["shard"] == "mini-val-u00012-000.tar"
        assert content[row["offset"] : row["offset"] + row["nbytes"]] == bytes([number]) * 700


def test_full_samples_share_one_image(tmp_path: Path) -> None:
    write_small(tmp_path, frames=3, people=2)
    with tarfile.open(tmp_path / "mini-val-u00012-000.tar") as archive:
        names = archive.getnames()
    keys = [image_key("mini", "val", "s", frame) for frame in range(3)]
    assert names == [f"{key}.{ending}" for key in keys for ending in ("jpg", "npz", "json")]
    rows = table_of(tmp_path / "mini-val-u00012-000.arrow").to_pylist()
    places = [(row["shard"], row["offset"], row["nbytes"]) for row in rows]
    assert [row["key"] for row in rows] == [f"{key}_{person}" for key in keys for person in range(2)]
    assert places[0::2] == places[1::2]
    assert len(set(places)) == 3


def test_batches_hold_at_most_256_rows(tmp_path: Path) -> None:
    with PartWriter(tmp_path, SMALL, "u00000", full=True, images=False) as writer:
        for frame in range(100):
            writer.add([small(frame, person) for person in range(7)], None, "")
    reader = pa.ipc.open_file(str(tmp_path / "mini-val-u00000-000.arrow"))
    sizes = [reader.get_batch(number).num_rows for number in range(reader.num_record_batches)]
    assert sizes == [256, 256, 188]
    rows = reader.read_all().select(["frame", "person"]).to_pylist()
    assert [(row["frame"], row["person"]) for row in rows] == [divmod(row, 7) for row in range(700)]


def test_a_part_ends_before_it_has_too_many_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And never between the people of a frame: of frames of three, two fit into eight."""
    monkeypatch.setattr(writer_module, "MAX_PART_RECORDS", 8)
    writer = write_small(tmp_path, frames=5, people=3)
    stems = [f"mini-val-u00012-{part:03d}" for part in range(3)]
    assert list(contents(tmp_path)) == [f"{stem}.{end}" for stem in stems for end in ("arrow", "tar")]
    frames = [table_of(tmp_path / f"{stem}.arrow").column("frame").to_pylist() for stem in stems]
    assert frames == [[0] * 3 + [1] * 3, [2] * 3 + [3] * 3, [4] * 3]
    shards = [set(table_of(tmp_path / f"{stem}.arrow").column("shard").to_pylist()) for stem in stems]
    assert shards == [{f"{stem}.tar"} for stem in stems]
    assert [file.rows for file in writer.files] == [6, 6, 6, 6, 3, 3]


def test_a_part_may_be_exactly_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MAX_PART_RECORDS", 6)
    write_small(tmp_path, frames=3, people=2)
    assert len(part_tables(tmp_path)) == 1


@pytest.mark.parametrize("full", [False, True])
def test_a_part_ends_before_it_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: RecordSpec, make_record: RecordMaker, full: bool
) -> None:
    """The numbers of a sample count as its image does, however long its JSON is."""
    limit = 200_000
    monkeypatch.setattr(writer_module, "MAX_PART_BYTES", limit)
    with PartWriter(tmp_path, spec, "u00000", full=full) as writer:
        for frame in range(40):
            meta = "x" * (frame * 997 % 40_000)
            people = [make_record(frame, person, meta=meta) for person in range(2)]
            for group in [people] if full else [[person] for person in people]:
                writer.add(group, bytes(frame * 331 % 20_000 + 1), "jpg")
    sizes = [path.stat().st_size for path in sorted(tmp_path.glob("*.tar"))]
    assert len(sizes) > 5
    assert max(sizes) <= limit
    assert min(sizes[:-1]) > limit / 3  # and not needlessly early
    keys = [key for path in part_tables(tmp_path) for key in table_of(path).column("key").to_pylist()]
    assert keys == [make_record(frame, person).key for frame in range(40) for person in range(2)]


def test_a_sample_larger_than_a_part_gets_one_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MAX_PART_BYTES", 100)
    write_small(tmp_path, frames=3)
    assert [len(table_of(path)) for path in part_tables(tmp_path)] == [2, 2, 2]


def test_reported_files_are_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MAX_PART_RECORDS", 5)
    files = {file.name: file for file in write_small(tmp_path).files}
    assert sorted(files) == list(contents(tmp_path))
    for name, data in contents(tmp_path).items():
        assert (files[name].sha256, files[name].nbytes) == (hashlib.sha256(data).hexdigest(), len(data))
        assert files[name].rows == table_of((tmp_path / name).with_suffix(".arrow")).num_rows


def test_without_images_there_are_no_tars(tmp_path: Path) -> None:
    with PartWriter(tmp_path, SMALL, "u00000", full=False, images=False) as writer:
        writer.add([small(0)], b"an image that is not wanted", "jpg")
        writer.add([small(1)], None, "")
    assert list(contents(tmp_path)) == ["mini-val-u00000-000.arrow"]
    for row in table_of(tmp_path / "mini-val-u00000-000.arrow").to_pylist():
        assert (row["shard"], row["offset"], row["nbytes"]) == (None, None, None)


def test_rows_without_an_image_stand_between_the_others(tmp_path: Path) -> None:
    with PartWriter(tmp_path, SMALL, "u00000", full=False) as writer:
        for frame in range(4):
            writer.add([small(frame)], None if frame % 2 else b"image", "jpg")
    rows = table_of(tmp_path / "mini-val-u00000-000.arrow").to_pylist()
    assert [row["frame"] for row in rows] == [0, 1, 2, 3]
    assert [row["shard"] is None for row in rows] == [False, True, False, True]
    assert [row["nbytes"] for row in rows] == [5, None, 5, None]


def test_a_unit_without_records_writes_nothing(tmp_path: Path) -> None:
    with PartWriter(tmp_path, SMALL, "u00000", full=False) as writer:
        pass
    assert writer.files == []
    assert contents(tmp_path) == {}


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_small(tmp_path / name)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def raise_inside(out: Path, frames: int) -> None:
    with PartWriter(out, SMALL, "u00012", full=True) as writer:
        for frame in range(frames):
            writer.add([small(frame, person) for person in range(2)], b"%06d" % frame * 100, "jpg")
        raise KeyError("a bug in a dataset")


def test_names_are_given_to_whole_files_only(tmp_path: Path) -> None:
    """A killed process leaves what stands in the folder at that moment: nothing that looks like a part."""
    with PartWriter(tmp_path, SMALL, "u00012", full=True) as writer:
        for frame in range(200):
            writer.add([small(frame, person) for person in range(2)], b"image", "jpg")
        names = list(contents(tmp_path))
        assert len(names) == 2
        assert all(name.startswith(".") and name.endswith(f".{os.getpid()}.tmp") for name in names)


def test_an_exception_inside_leaves_nothing(tmp_path: Path) -> None:
    for frames in (0, 1, 200):  # nothing, rows that wait for their batch, a batch that was written
        with pytest.raises(KeyError):
            raise_inside(tmp_path, frames)
        assert contents(tmp_path) == {}


def test_an_exception_keeps_earlier_parts_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MAX_PART_RECORDS", 4)
    with pytest.raises(KeyError):
        raise_inside(tmp_path, 3)
    left = contents(tmp_path)
    assert list(left) == ["mini-val-u00012-000.arrow", "mini-val-u00012-000.tar"]
    write_small(tmp_path, frames=3)
    assert left.items() <= contents(tmp_path).items()


@pytest.mark.parametrize("cells", [{"frame": None}, {"sequence": None}])
def test_a_frame_without_a_name(tmp_path: Path, cells: dict[str, Any]) -> None:
    record = small(0)
    for name, value in cells.items():
        setattr(record, name, value)
    with (
        pytest.raises((SchemaError, UsageError)),
        PartWriter(tmp_path, SMALL, "u00000", full=True) as writer,
    ):
        writer.add([record], b"image", "jpg")
    assert contents(tmp_path) == {}


class Fault:
    """Counts the calls of a step of AtomicFile and lets the k-th fail, as a full disk does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        self.calls, self.fail_at = 0, -1
        real = getattr(owner, name)

        def step(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            if self.calls - 1 == self.fail_at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*arguments, **named)

        monkeypatch.setattr(owner, name, step)

    def at(self, call: int) -> None:
        self.calls, self.fail_at = 0, call


STEPS = {
    "write": (AtomicFile, "write"),
    "open": (AtomicFile, "__init__"),
    "fsync": (os, "fsync"),
    "rename": (Path, "replace"),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_full_disk_at_any_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Whatever fails, a final name holds a whole file, no temporary file stays, and a rerun mends all."""
    monkeypatch.setattr(writer_module, "MAX_PART_RECORDS", 2)  # two parts
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    write_small(good, frames=2)
    expected = contents(good)
    fault = Fault(monkeypatch, *STEPS[step])
    write_small(good, frames=2)
    calls = fault.calls
    assert calls >= 4
    mended: set[frozenset[str]] = set()
    for call in range(calls):
        bad.mkdir()
        fault.at(call)
        with pytest.raises(OSError, match="No space left") as caught:
            write_small(bad, frames=2)
        assert caught.value.errno == errno.ENOSPC
        left = contents(bad)
        assert left.items() <= expected.items(), f"failing call {call}"
        if frozenset(left) not in mended:  # all that a later run can find is what was left
            mended.add(frozenset(left))
            fault.at(-1)
            write_small(bad, frames=2)
            assert contents(bad) == expected
        for path in bad.iterdir():
            path.unlink()
        bad.rmdir()


def test_a_table_is_whole_or_absent(tmp_path: Path) -> None:
    schema = pa.schema([("x", pa.int32())])
    batch = pa.RecordBatch.from_pydict({"x": [1, 2]}, schema=schema)
    digest = write_table(tmp_path / "a.arrow", schema, [batch, batch])
    assert digest == hashlib.sha256((tmp_path / "a.arrow").read_bytes()).hexdigest()
    assert table_of(tmp_path / "a.arrow").column("x").to_pylist() == [1, 2, 1, 2]
    other = pa.RecordBatch.from_pydict({"y": [1]})
    with pytest.raises(pa.ArrowInvalid):
        write_table(tmp_path / "b.arrow", schema, [batch, other])
    assert list(contents(tmp_path)) == ["a.arrow"]
