"""The table of results beside each other and beside what is published: its content, whatever its form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hmtools.bench.aggregate import ALL
from hmtools.bench.published import MPE, MPE_SETS, RECALLED, TITLES, Figure, figures
from hmtools.bench.results import Run, Setting
from hmtools.core.log import format_count
from hmtools.humandata.reports import METRICS

__all__ = [
    "DERIVED",
    "STANDIN",
    "WARNING",
    "Cell",
    "Line",
    "Summary",
    "is_lower_better",
    "metric_title",
    "number",
    "remarks",
    "summarise",
]

STANDIN, DERIVED, MISSING = "s", "d", "m"
"""Marks of a cell."""

WARNING = (
    "STAND-IN BODY. Measured with the free stand-in mesh, not with SMPL-X. These figures check the "
    "machinery; they say nothing about accuracy and compare with no published figure."
)
"""What stands large above any table with such a cell."""

_MARKS = {
    STANDIN: "measured with the stand-in body",
    DERIVED: "rows are not the official set",
    MISSING: "samples without a usable prediction, left out of the mean unless the protocol says otherwise",
}
_DECIMALS = {"": 3}  # shares such as F1; everything with a unit has one decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One result.

    Attributes:
        value: in the unit of its line, None where no sample has one.
        low: lower end of the 95 % interval, or None.
        high: upper end, or None.
        n: samples it is the mean of.
        n_missing: samples without a usable prediction.
        marks: of :data:`STANDIN`, :data:`DERIVED` and ``m`` for missing samples.
        best: whether it is the best of several comparable ones.
        note: a remark.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    n_missing: int
    marks: tuple[str, ...]
    best: bool
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One metric of one setting.

    Attributes:
        setting: protocol, test set and split.
        metric: its name.
        title: the same in words.
        unit: of every value.
        primary: whether it stands for its test set.
        cells: one per run, None where the run has no such result.
        published: one per published column, None where nothing may stand beside these results.
    """

    setting: Setting
    metric: str
    title: str
    unit: str
    primary: bool
    cells: tuple[Cell | None, ...]
    published: tuple[Figure | None, ...]

    @property
    def testset(self) -> str:
        """The test set as people write it."""
        return TITLES.get(self.setting[1], self.setting[1])

    @property
    def n(self) -> str:
        """Samples, once where the runs agree."""
        return " / ".join(dict.fromkeys(str(cell.n) for cell in self.cells if cell is not None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All lines over all samples, ordered as the mean primary error lists its sets, primary metrics first.

    Attributes:
        labels: of the runs.
        published: headings of the published columns.
        lines: the rows.
    """

    labels: tuple[str, ...]
    published: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def standin(self) -> bool:
        """Whether any result is of the stand-in body."""
        return any(cell is not None and STANDIN in cell.marks for line in self.lines for cell in line.cells)


def metric_title(name: str) -> str:
    """A metric in words; its name where there are none."""
    if name == MPE:
        return "mean primary error"
    return METRICS[name].title if name in METRICS else name


def is_lower_better(metric: str) -> bool:
    """Whether small values of a metric are good ones; F1 and its like are none of :data:`METRICS`."""
    return METRICS[metric].better == "lower" if metric in METRICS else not metric.lower().startswith("f1")


def number(value: float | None, unit: str) -> str:
    """A value as tables write it: one decimal, three for shares; a hyphen for none."""
    return "-" if value is None else f"{value:.{_DECIMALS.get(unit, 1)}f}"


def summarise(runs: Sequence[Run]) -> Summary:
    """Results over all samples, one line per setting and metric.

    Args:
        runs: in the order of their columns.
    """
    found: dict[tuple[Setting, str], list[Mapping[str, Any] | None]] = {}
    for number_, run in enumerate(runs):
        for row in run.rows:
            if row["subset"] == ALL:
                key = (row["protocol"], row["testset"], row["split"]), row["metric"]
                found.setdefault(key, [None] * len(runs))[number_] = row
    lines = [_line(setting, metric, rows) for (setting, metric), rows in found.items()]
    lines.sort(key=_order)
    titles = dict.fromkeys(figure.title for line in lines for figure in line.published if figure is not None)
    return Summary(
        labels=tuple(run.label for run in runs),
        published=tuple(titles),
        lines=tuple(replace(line, published=_in_columns(line, list(titles))) for line in lines),
    )


def remarks(summary: Summary) -> list[str]:
    """What the marks of a table mean, and the notes of its primary results; one sentence each."""
    cells = [(line, cell) for line in summary.lines for cell in line.cells if cell is not None]
    used = {mark for _, cell in cells for mark in cell.marks}
    said = [f"{mark}: {words}" for mark, words in _MARKS.items() if mark in used]
    if any(figure.recalled for line in summary.lines for figure in line.published if figure is not None):
        said.append(f"r: published figure {RECALLED}")
    if "H32*" in summary.published:
        said.append("H32*: the updated weights")
    return said + _notes([line for line in summary.lines if line.primary], summary.labels)


def _notes(lines: Sequence[Line], labels: Sequence[str]) -> list[str]:
    """Notes with the test sets and the runs that they are of; a single run needs no name.

    Test sets share a note, but not a number of samples, which would read as one of all of them.
    """
    found: dict[tuple[str, str], dict[str, None]] = {}
    counted = set[str]()
    for line in lines:
        for label, cell in zip(labels, line.cells, strict=True):
            if cell is None:
                continue
            if note := _own(cell.note):
                found.setdefault((line.testset, note), {})[label] = None
            if cell.n_missing and line.setting[1] != MPE:
                lost = f"{format_count(cell.n_missing, 'sample has', 'samples have')} no usable prediction"
                counted.add(lost)
                found.setdefault((line.testset, lost), {})[label] = None
    alike: dict[tuple[str, tuple[str, ...], str], list[str]] = {}
    for (testset, note), runs in found.items():
        named = tuple(runs) if len(labels) > 1 else ()
        alike.setdefault((note, named, testset * (note in counted)), []).append(testset)
    return [f"{', '.join((*sets, *named))}: {note}" for (note, named, _), sets in alike.items()]


def _own(note: str) -> str:
    """A note without what the mark of the published figure says already."""
    return "; ".join(part for part in note.split("; ") if RECALLED not in part)


def _line(setting: Setting, metric: str, rows: Sequence[Mapping[str, Any] | None]) -> Line:
    some = next(row for row in rows if row is not None)
    best = _best(metric, rows)
    official = any(row is not None and row["rows"] == "official" and not row["standin"] for row in rows)
    whole = any(row is not None and not row["note"].startswith("partial") for row in rows)
    published = figures(setting[0], setting[1], metric) if official and whole else ()
    return Line(
        setting=setting,
        metric=metric,
        title=metric_title(metric),
        unit=some["unit"],
        primary=bool(some["primary"]),
        cells=tuple(None if row is None else _cell(row, i == best) for i, row in enumerate(rows)),
        published=published,
    )


def _cell(row: Mapping[str, Any], best: bool) -> Cell:
    marks = [
        STANDIN if row["standin"] else "",
        DERIVED if row["rows"] != "official" else "",
        MISSING if row["n_missing"] else "",
    ]
    return Cell(
        value=row["value"],
        low=row["ci95_low"],
        high=row["ci95_high"],
        n=row["n"],
        n_missing=row["n_missing"],
        marks=tuple(mark for mark in marks if mark),
        best=best,
        note=row["note"] or "",
    )


def _best(metric: str, rows: Sequence[Mapping[str, Any] | None]) -> int | None:
    """Column of the best value; none of a tie, or where not all are comparable."""
    there = {i: row for i, row in enumerate(rows) if row is not None and row["value"] is not None}
    # A model that leaves out hard people must not look best.
    kinds = {(row["rows"], row["standin"], row["n"], row["n_missing"]) for row in there.values()}
    if len(there) < 2 or len(kinds) > 1:
        return None
    # Sums over sets may agree although other people are missing in each.
    if metric == MPE and any(row["n_missing"] for row in there.values()):
        return None
    sign = 1 if is_lower_better(metric) else -1
    first, second = sorted(there, key=lambda i: sign * there[i]["value"])[:2]
    return None if there[first]["value"] == there[second]["value"] else first


def _in_columns(line: Line, titles: list[str]) -> tuple[Figure | None, ...]:
    by_title = {figure.title: figure for figure in line.published if figure is not None}
    return tuple(by_title.get(title) for title in titles)


def _order(line: Line) -> tuple[Any, ...]:
    sets = [MPE, *MPE_SETS]
    protocol, testset, split = line.setting
    place = sets.index(testset) if testset in sets else len(sets)
    metrics = list(METRICS)
    rank = metrics.index(line.metric) if line.metric in metrics else len(metrics)
    return place, testset, protocol, split, not line.primary, rank, line.metric
