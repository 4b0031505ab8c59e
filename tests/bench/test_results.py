"""Reports found and read again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hmtools.bench.aggregate import mpe_row
from hmtools.bench.results import read_runs
from hmtools.core.errors import LayoutError, SchemaError, UsageError
from hmtools.humandata.reports import write_report
from tests.bench.results import SETS, write_run

LEVELS = dict.fromkeys(SETS, 60.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    write_run(root / "a", LEVELS, count=8)
    write_run(root / "b", {"ehf": 50.0}, count=8, seed=1)
    write_run(root / "c", {"ehf": 50.0, "3dpw": 70.0}, count=8, seed=1, model="other")
    return root


def test_a_folder_of_folders_is_one_run(folder: Path) -> None:
    (run,) = read_runs([folder / "a"])
    assert run.label == run.model == "smplerx-h32"
    assert len(run.samples) == 5
    mean = [row for row in run.rows if row["testset"] == "mpe"]
    assert [row["note"] for row in mean] == [""]
    assert mean[0]["published"] == 63.0


def test_a_file_of_one_set_has_no_mean(folder: Path) -> None:
    (run,) = read_runs([folder / "a/ehf/report.parquet"])
    assert {row["testset"] for row in run.rows} == {"ehf"}
    assert run.samples[("smplerx@1", "ehf", "test")] == folder / "a/ehf/per_sample.parquet"


def test_a_file_of_several_sets_lies_above_their_samples(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "c", tmp_path / "c")
    apart = read_runs([tmp_path / "c"])
    write_report(tmp_path / "c/report.parquet", apart[0].rows)
    (run,) = read_runs([tmp_path / "c"])
    assert run.sources == (tmp_path / "c/report.parquet",)
    assert run.rows == apart[0].rows
    assert run.samples == apart[0].samples
    assert len(run.samples) == 2


def test_labels_tell_runs_apart(folder: Path) -> None:
    labels = [run.label for run in read_runs([folder / "a", folder / "b"])]
    assert labels == ["smplerx-h32 (a)", "smplerx-h32 (b)"]
    runs = read_runs([folder / "a/ehf", folder / "b/ehf/report.parquet", folder / "c"])
    assert [run.label for run in runs] == ["smplerx-h32 (ehf) #1", "smplerx-h32 (ehf) #2", "other"]
    assert [row["note"] for row in runs[2].rows if row["testset"] == "mpe"] == [
        "partial (2/5): without AGORA, EgoBody, UBody"
    ]


def test_a_mean_that_was_written_is_made_again(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "c", tmp_path / "c")
    (tmp_path / "c/mpe").mkdir()
    old = mpe_row(list(read_runs([folder / "c/ehf"])[0].rows))
    assert old is not None
    write_report(tmp_path / "c/mpe/report.parquet", [old])
    (run,) = read_runs([tmp_path / "c"])
    assert [row["note"][:13] for row in run.rows if row["testset"] == "mpe"] == ["partial (2/5)"]
    assert [dict(row) for row in read_runs([tmp_path / "c/mpe"])[0].rows] == [old]


def test_one_path_may_hold_models_but_not_two_results_of_one(folder: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "x", {"ehf": 50.0}, count=4, model="x")
    write_run(tmp_path / "y", {"ehf": 50.0}, count=4, model="y")
    assert [run.label for run in read_runs([tmp_path])] == ["x", "y"]
    write_run(tmp_path / "z", {"ehf": 50.0}, count=4, model="y")
    with pytest.raises(UsageError, match=r"two results of y for ehf by smplerx@1: .*y/ehf.* and .*z/ehf"):
        read_runs([tmp_path])


def test_what_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="no such file or folder"):
        read_runs([tmp_path / "none"])
    with pytest.raises(LayoutError, match=r"no results in it; expected a report\.parquet"):
        read_runs([tmp_path])
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(LayoutError, match="no parquet file"):
        read_runs([tmp_path / "text.parquet"])
    pq.write_table(pa.table({"key": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(SchemaError, match="lacks the columns protocol"):
        read_runs([tmp_path / "other.parquet"])
