"""Tables that are kept while they grow: parts, the join, full disks."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from hmtools.core.errors import UnitError, UsageError
from hmtools.humandata import parquet
from hmtools.humandata.predictions import PredictionSpec, iter_predictions, prediction_facts
from hmtools.infer import parts
from hmtools.infer.parts import PartedWriter

SPEC = PredictionSpec(bodies=("smplx",))


def rows(start: int, count: int) -> list[dict[str, Any]]:
    return [{"source": "a", "frame": i, "smplx_transl": [i, 0, 0]} for i in range(start, start + count)]


def frames(path: Path) -> list[int]:
    return [int(frame) for batch in iter_predictions(path) for frame in batch["frame"]]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_ROWS", 10)


def test_parts_become_one_table(tmp_path: Path) -> None:
    clock = iter([0.0, 1.0, 30.0, 30.0, 31.0, 31.0, 31.0, 31.0])
    writer = PartedWriter(tmp_path, SPEC, {"model": "m", "note": "early"}, clock=lambda: next(clock))
    writer.write(rows(0, 3))
    assert writer.rows_kept == 0
    writer.write(rows(3, 4))
    assert writer.rows_kept == 7, "20 seconds are over"
    writer.write(rows(7, 12))
    assert writer.rows_kept == 17
    assert frames(tmp_path / "partial") == list(range(17)), "readable before the end"
    assert not (tmp_path / "predictions.parquet").exists()
    path = writer.finish({"note": "late"})
    assert frames(path) == list(range(19))
    assert prediction_facts(path)["note"] == "late"
    groups = pq.ParquetFile(path).metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [10, 9]
    assert [entry.name for entry in tmp_path.iterdir()] == ["predictions.parquet"]


def test_the_table_does_not_depend_on_the_parts(tmp_path: Path) -> None:
    for name, sizes in {"a": [25], "b": [1] * 25}.items():
        writer = PartedWriter(tmp_path / name, SPEC, {"model": "m"})
        start = 0
        for size in sizes:
            writer.write(rows(start, size))
            writer.keep() if name == "b" else None
            start += size
        writer.finish({})
    one, other = ((tmp_path / name / "predictions.parquet").read_bytes() for name in "ab")
    assert one == other


def test_no_rows_are_a_table(tmp_path: Path) -> None:
    path = PartedWriter(tmp_path / "new" / "folder", SPEC, {"model": "m"}).finish({"note": 1})
    assert pq.read_table(path).num_rows == 0
    assert prediction_facts(path)["note"] == 1


def test_what_is_there_stays_until_the_new_table_is_whole(tmp_path: Path) -> None:
    PartedWriter(tmp_path, SPEC, {"model": "old"}).finish({})
    with pytest.raises(UsageError, match="--overwrite"):
        PartedWriter(tmp_path, SPEC, {"model": "new"})
    writer = PartedWriter(tmp_path, SPEC, {"model": "new"}, overwrite=True)
    with pytest.raises(UsageError, match="is there already"):  # another process, say
        PartedWriter(tmp_path, SPEC, {"model": "third"})
    assert prediction_facts(tmp_path / "predictions.parquet")["model"] == "old"
    assert prediction_facts(writer.finish({}))["model"] == "new"


@pytest.mark.parametrize("when", ["part", "join"])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    writer = PartedWriter(tmp_path, SPEC, {"model": "m"})
    writer.write(rows(0, 20))

    def full(self: Any, data: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    module = parquet if when == "part" else parts
    monkeypatch.setattr(module.AtomicFile, "write", full)
    with pytest.raises(UnitError, match=r"No space left.*20 rows are kept in .*partial"):
        writer.write(rows(20, 10)) if when == "part" else writer.finish({})
    monkeypatch.undo()
    assert frames(tmp_path / "partial") == list(range(20))
    assert not (tmp_path / "predictions.parquet").exists()
    assert not list(tmp_path.rglob("*.tmp"))


def test_facts_are_json(tmp_path: Path) -> None:
    path = PartedWriter(tmp_path, SPEC, {"model": "m"}).finish({})
    text = pq.read_schema(path).metadata[b"hmtools"]
    assert json.loads(text)["model"] == "m"
