"""The report as one HTML page that needs no network: figures, charts, models against each other, people.

As the contact sheet (:mod:`hmtools.viz.page`) it holds everything inside, forbids every external load by its
Content-Security-Policy, and equal results give equal bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hmtools.bench.charts import Estimate, Group, groups
from hmtools.bench.people import Block, Drawer, block
from hmtools.bench.pictures import Pictures
from hmtools.bench.published import MPE, MPE_SETS
from hmtools.bench.results import Run
from hmtools.bench.sections import LOOKS, Section, section, signed
from hmtools.bench.summary import DERIVED, WARNING, Cell, Line, Summary, number, remarks, summarise
from hmtools.core.atomic import write_bytes
from hmtools.core.log import format_count
from hmtools.viz.page import page_template

__all__ = ["write_page"]

_DERIVED = (
    "Some results were measured on other rows than the official test set (hmtools bench doctor says how). "
    "They are not comparable with published figures."
)
_WORDS = ("anchor", "metric", "unit", "facts", "heads", "stats", "few")  # of a section, shown as they are
_FOOTNOTES = (
    "95 % intervals: bootstrap over samples, 1000 seeded resamples. Frames of one video resemble each other: "
    "over videos the true uncertainty is larger.",
    "Differences between models are taken over the samples both have, and resampled in pairs; an interval "
    "that leaves out zero is a clear difference.",
    "Samples without a prediction, and with one that is not finite or does not fit, are counted as missing "
    "and invalid; unless the protocol says otherwise, means leave them out, cumulative curves do not.",
    "Published figures stand only beside results of the same protocol on the official rows with a licensed "
    "body. Grey ticks in the chart of primary errors are these figures.",
)


@dataclass(frozen=True, slots=True)
class _Shown:
    """A cell in words."""

    value: str
    between: str
    marks: tuple[str, ...]
    best: bool


def write_page(runs: Sequence[Run], out: Path, *, pictures: Pictures | None = None) -> Path:
    """Write the page.

    Args:
        runs: what to show, in the order of their colours; the others are compared with the first.
        out: the file; its folder must exist.
        pictures: draws people; None leaves their keys and errors.

    Returns:
        ``out``.

    Raises:
        SchemaError: if a table of samples is damaged.
        OSError: if the file cannot be written; nothing is left under its name then.
    """
    summary = summarise(runs)
    primary = [line for line in summary.lines if line.primary]
    anchors = [f"set-{i}" for i in range(len(primary))]
    pairs = zip(primary, anchors, strict=True)
    sections = [section(runs, line, anchor) for line, anchor in pairs if line.setting[1] != MPE]
    html = page_template("hmtools.bench", "report.html").render(
        title=_title(runs),
        subtitle=f"hmtools report: {format_count(len(sections), 'test set')}, "
        f"{format_count(len(runs), 'model')}",
        standin=WARNING.partition(". ")[2] if summary.standin else "",
        derived=_DERIVED if any(DERIVED in c.marks for line in primary for c in line.cells if c) else "",
        verdict=_verdict(primary, sections, summary),
        runs=[{"label": r.label, "look": look} for r, look in zip(runs, _looks(len(runs)), strict=True)],
        summary={"published": summary.published, "primary": _primary_rows(primary, sections)},
        differences=len(runs) == 2 and any(each.versus for each in sections),
        protocols=len({line.setting[0] for line in primary}) > 1,
        remarks=remarks(summary),
        forest=_forest(primary, len(runs)),
        sections=_drawn(sections, primary, summary, pictures),
        footnotes=_FOOTNOTES,
    )
    write_bytes(out, html.encode("utf-8", errors="backslashreplace"))
    return out


def _looks(runs: int) -> list[str]:
    return [LOOKS[i % len(LOOKS)] for i in range(runs)]


def _title(runs: Sequence[Run]) -> str:
    if len(runs) == 1:
        return f"Benchmark of {runs[0].label}"
    return f"{', '.join(run.label for run in runs[1:])} against {runs[0].label}"


def _verdict(primary: Sequence[Line], sections: Sequence[Section], summary: Summary) -> list[str]:
    """The outcome in a sentence per run."""
    said = []
    for line in primary:
        if line.setting[1] == MPE:
            means = [
                f"{label} {number(cell.value, line.unit)} {line.unit}" + f", {cell.note}" * bool(cell.note)
                for label, cell in zip(summary.labels, line.cells, strict=True)
                if cell is not None
            ]
            said.append(f"Mean primary error: {'; '.join(means)}.")
    against = [versus for each in sections for versus in each.versus]
    for run in dict.fromkeys(versus.run for versus in against):
        own = [versus for versus in against if versus.run == run]
        looks = [versus.look for versus in own]
        if len(own) == 1:
            said.append(own[0].verdict)
            continue
        said.append(
            f"{summary.labels[run]} against {summary.labels[0]}: better on {looks.count('good')}, worse on "
            f"{looks.count('bad')}, no clear difference on {looks.count('')} of {len(looks)} test sets."
        )
    return said


def _primary_rows(primary: Sequence[Line], sections: Sequence[Section]) -> list[dict[str, Any]]:
    """Lines of the first table; differences stand in it where there are two runs."""
    by_anchor = {each.anchor: each for each in sections}
    rows = []
    for i, line in enumerate(primary):
        mean = line.setting[1] == MPE
        row = {**_words(line), "mean": mean, "protocol": line.setting[0], "difference": None}
        row["published"] = [
            None if figure is None else (number(figure.value, line.unit), figure.recalled)
            for figure in line.published
        ]
        if mean:
            row["difference"] = _mean_difference(line, primary, sections)
        elif by_anchor[f"set-{i}"].versus and by_anchor[f"set-{i}"].metric == line.title:
            pairing = by_anchor[f"set-{i}"].versus[0].pairing
            row["difference"] = _difference(pairing.mean, pairing.low, pairing.high, line.unit)
        rows.append(row)
    return rows


def _mean_difference(
    line: Line, primary: Sequence[Line], sections: Sequence[Section]
) -> dict[str, str] | None:
    """Mean of the paired differences of the sets of the MPE; they are independent, so widths add squared."""
    by_anchor = {each.anchor: each for each in sections}
    protocol = line.setting[0]
    ours = [
        by_anchor[f"set-{i}"]
        for i, one in enumerate(primary)
        if one.setting[0] == protocol and one.setting[1] in MPE_SETS
    ]
    pairings = [each.versus[0].pairing for each in ours if each.versus]
    if not pairings or len(pairings) != len(ours):
        return None
    mean = float(np.mean([one.mean for one in pairings]))
    low = mean - float(np.sqrt(sum((one.mean - one.low) ** 2 for one in pairings))) / len(pairings)
    high = mean + float(np.sqrt(sum((one.high - one.mean) ** 2 for one in pairings))) / len(pairings)
    return _difference(mean, low, high, line.unit)


def _difference(mean: float, low: float, high: float, unit: str) -> dict[str, str]:
    between = "" if np.isnan(low) else f"{signed(low, unit)} to {signed(high, unit)}"
    look = "good" if high < 0 else "bad" if low > 0 else ""
    return {"value": signed(mean, unit), "between": between, "look": look}


def _words(line: Line) -> dict[str, Any]:
    return {
        "testset": line.testset,
        "title": line.title,
        "unit": line.unit,
        "n": line.n,
        "cells": [None if cell is None else _shown(cell, line.unit) for cell in line.cells],
    }


def _shown(cell: Cell, unit: str) -> _Shown:
    between = "" if cell.low is None else f"{number(cell.low, unit)} to {number(cell.high, unit)}"
    return _Shown(number(cell.value, unit), between, cell.marks, cell.best)


def _forest(primary: Sequence[Line], runs: int) -> Any:
    rows = []
    for line in (one for one in primary if one.unit == "mm"):
        published = tuple((figure.title, figure.value) for figure in line.published if figure is not None)
        rows.append(Group(_named(line, primary), tuple(map(_estimate, line.cells)), published))
    words = "Dots: means. Lines: 95 % intervals."
    if any(row.published for row in rows):
        words += " Grey ticks: published models, same protocol."
    title = "Beside each other" if runs > 1 else "Overview"
    return groups(title, words, rows, _looks(runs), "mm", pitch=50.0)


def _named(line: Line, primary: Sequence[Line]) -> str:
    """The test set, and the protocol where the page has several for it."""
    if sum(other.testset == line.testset for other in primary) == 1:
        return line.testset
    return f"{line.testset} by {line.setting[0]}"


def _estimate(cell: Cell | None) -> Estimate | None:
    if cell is None or cell.value is None:
        return None
    low, high = (float("nan") if end is None else end for end in (cell.low, cell.high))
    return Estimate(cell.value, low, high, cell.n)


def _drawn(
    sections: Sequence[Section], primary: Sequence[Line], summary: Summary, pictures: Pictures | None
) -> list[dict[str, Any]]:
    """Sections as the template needs them, people drawn."""
    wanted = [choice for each in sections for chosen in each.chosen for choice in chosen.choices]
    draw: Drawer | None = None if pictures is None else pictures.prepare(wanted)
    by_anchor = {f"set-{i}": line for i, line in enumerate(primary)}
    looks = _looks(len(summary.labels))
    shown = []
    for each in sections:
        line = by_anchor[each.anchor]
        blocks = [block(c.title, c.choices, looks, each.unit, draw) for c in each.chosen]
        shown.append(
            {
                **{name: getattr(each, name) for name in _WORDS},
                "title": _named(line, primary),
                "missing": each.missing,
                "versus": each.versus,
                "charts": each.charts,
                "people": blocks,
                "no_pictures": _without(blocks, pictures),
                "lines": [_words(other) for other in summary.lines if other.setting == line.setting],
            }
        )
    return shown


def _without(blocks: Sequence[Block], pictures: Pictures | None) -> str:
    """Why people are shown without pictures, where they are."""
    if not blocks or any(one.pictures for one in blocks):
        return ""
    if pictures is None:
        return "No pictures of people: name the converted test sets with --shards to see them."
    notes = dict.fromkeys(tile.note for one in blocks for tile in one.tiles if tile.note)
    return "No pictures of people: " + "; ".join(list(notes)[:3] or ["nothing to draw"]) + "."
