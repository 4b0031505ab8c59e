"""What ``hmtools bench`` wrote, read again: one :class:`Run` is the results of one model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hmtools.bench.aggregate import mpe_row
from hmtools.bench.published import MPE
from hmtools.core.errors import LayoutError, SchemaError, UsageError
from hmtools.humandata.reports import report_schema

__all__ = ["PER_SAMPLE", "REPORT", "Run", "Setting", "read_runs"]

REPORT = "report.parquet"
"""Name of the table of results."""

PER_SAMPLE = "per_sample.parquet"
"""Name of the table of samples, beside it."""

Setting = tuple[str, str, str]
"""Protocol, test set, split: only results of one setting are comparable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The results of one model, of one or many test sets.

    Attributes:
        label: its name on the page, different from that of every other run.
        model: as in the report table.
        path: what was named.
        rows: of the report table, as dicts; with a row ``mpe`` where two sets or more allow one.
        samples: setting -> ``per_sample.parquet`` where it lies beside the report, or in the folder beside it
            that is named after the test set.
        sources: the report files.
    """

    label: str
    model: str
    path: Path
    rows: tuple[Mapping[str, Any], ...]
    samples: Mapping[Setting, Path]
    sources: tuple[Path, ...]


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """Read the results of every path.

    Args:
        paths: each a ``report.parquet``, a folder that holds one, or a folder of such folders.

    Returns:
        One run per path and model, in the order of the paths.

    Raises:
        LayoutError: if a path holds no results, or a file is no parquet file.
        SchemaError: if a file is no report, or empty.
        UsageError: if one path holds two results of one model by one protocol for one split.
    """
    runs = [run for path in paths for run in _runs(path)]
    return _distinct(runs)


def _runs(path: Path) -> list[Run]:
    by_model: dict[str, list[tuple[Path, Mapping[str, Any]]]] = {}
    for file in _reports(path):
        for row in _rows(file):
            by_model.setdefault(str(row["model"]), []).append((file, row))
    return [_run(path, model, found) for model, found in by_model.items()]


def _reports(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if (path / REPORT).is_file():
        return [path / REPORT]
    found = sorted([*path.glob(f"*/{REPORT}"), *path.glob(f"*/*/{REPORT}")])
    if not found:
        what = "no results in it" if path.is_dir() else "no such file or folder"
        raise LayoutError(
            f"{path}: {what}; expected a {REPORT} or a folder that holds one, as `hmtools bench` writes it"
        )
    return found


def _rows(file: Path) -> list[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file).read()
    except pa.ArrowInvalid as error:
        raise LayoutError(f"{file}: no parquet file ({error})") from error
    lacking = [name for name in report_schema().names if name not in table.column_names]
    if lacking:
        raise SchemaError(f"{file}: lacks the columns {', '.join(lacking)}; is it a {REPORT}?")
    rows: list[Mapping[str, Any]] = table.to_pylist()
    if not rows:
        raise SchemaError(f"{file}: has no rows; run `hmtools bench` again")
    return rows


def _run(path: Path, model: str, found: list[tuple[Path, Mapping[str, Any]]]) -> Run:
    origin: dict[Setting, Path] = {}
    for file, row in found:
        first = origin.setdefault(_setting(row), file)
        if first != file and row["testset"] != MPE:
            raise UsageError(
                f"{path}: two results of {model} for {row['testset']} by {row['protocol']}: {first} and "
                f"{file}; name the one that is meant, or both as arguments of their own"
            )
    # A mean that was written is made again: sets may have been added or measured anew since.
    rows = [row for _, row in found if row["testset"] != MPE] or [row for _, row in found]
    mean = mpe_row(rows)
    # One set's own error, called a mean over one of five, would only repeat the row above it.
    if mean is not None and not mean["note"].startswith("partial (1/"):
        rows.append(mean)
    samples = {key: _samples(file, key[1]) for key, file in origin.items() if key[1] != MPE}
    return Run(
        label=model or _name(path),
        model=model,
        path=path,
        rows=tuple(rows),
        samples={key: table for key, table in samples.items() if table.is_file()},
        sources=tuple(dict.fromkeys(file for file, _ in found)),
    )


def _samples(report: Path, testset: str) -> Path:
    """A report of several test sets lies above their folders."""
    below = report.parent / testset / PER_SAMPLE
    return below if below.is_file() else report.with_name(PER_SAMPLE)


def _name(path: Path) -> str:
    """The folder that somebody gave a name: every report file has the same."""
    absolute = path.absolute()
    return absolute.parent.name if absolute.name == REPORT else absolute.name


def _setting(row: Mapping[str, Any]) -> Setting:
    return str(row["protocol"]), str(row["testset"]), str(row["split"])


def _distinct(runs: list[Run]) -> list[Run]:
    """Runs of one model get the names of their folders, and numbers where that is not enough."""
    often = Counter(run.label for run in runs)
    named = [
        replace(run, label=f"{run.label} ({_name(run.path)})") if often[run.label] > 1 else run
        for run in runs
    ]
    again = Counter(run.label for run in named)
    return [
        replace(run, label=f"{run.label} #{i + 1}") if again[run.label] > 1 else run
        for i, run in enumerate(named)
    ]
