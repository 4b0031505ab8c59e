"""Results as text to paste: Markdown, CSV and LaTeX (booktabs), the same bytes for the same results."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import replace

from hmtools.bench.published import MPE
from hmtools.bench.results import Run
from hmtools.bench.summary import WARNING, Cell, Line, Summary, is_lower_better, number, remarks
from hmtools.humandata.reports import report_schema

__all__ = ["as_csv", "as_latex", "as_markdown", "escape_latex", "escape_markdown"]

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~])")


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is; line breaks become blanks."""
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))


def escape_markdown(text: str) -> str:
    """Text that a Markdown table shows as it is; line breaks become blanks."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def as_markdown(summary: Summary) -> str:
    """A table with a column per run and per published model, and what its marks mean."""
    heads = ["test set", "protocol", "metric", "unit", "n", *summary.labels, *summary.published]
    lines = [f"**{WARNING}**", ""] if summary.standin else []
    lines += ["| " + " | ".join(map(escape_markdown, heads)) + " |"]
    lines += ["|" + "|".join(["---"] * 4 + ["---:"] * (len(heads) - 4)) + "|"]
    for line in summary.lines:
        words = [line.testset, line.setting[0], line.title, line.unit, line.n]
        figures = [_markdown_cell(cell, line.unit) for cell in line.cells]
        figures += [_published(line, i, "{} ^r") for i in range(len(summary.published))]
        lines.append("| " + " | ".join([*map(escape_markdown, words), *figures]) + " |")
    said = [f"- {escape_markdown(text)}" for text in ["[a, b]: 95 % interval of the mean", *remarks(summary)]]
    return "\n".join([*lines, "", *said]) + "\n"


def as_latex(summary: Summary) -> str:
    """A ``table`` for the package booktabs as papers have it: a row per model, a column per test set.

    Columns hold the primary metric alone, without intervals: they seldom fit. Published models come first.
    """
    columns = [line for line in summary.lines if line.primary] or list(summary.lines)
    columns.sort(key=lambda line: line.setting[1] == MPE)  # the mean stands last
    lines = [f"% {WARNING}"] if summary.standin else []
    lines += [r"\begin{table}", r"\centering", rf"\begin{{tabular}}{{l{'r' * len(columns)}}}", r"\toprule"]
    lines += [*_latex_heads(columns), r"\midrule"]
    published = [
        [title, *(_published(line, i, "{}$^{{r}}$") for line in columns)]
        for i, title in enumerate(summary.published)
        if any(line.published[i] is not None for line in columns)
    ]
    lines += [_latex_row(row) for row in published] + [r"\midrule"] * bool(published)
    for i, label in enumerate(summary.labels):
        lines.append(_latex_row([label, *(_latex_cell(line.cells[i], line.unit) for line in columns)]))
    caption = " ".join(escape_latex(text) for text in _caption(summary, columns, bool(published)))
    lines += [r"\bottomrule", r"\end{tabular}", rf"\caption{{{caption}}}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _latex_row(cells: Sequence[str]) -> str:
    """A row whose first cell is a name."""
    return " & ".join([escape_latex(cells[0]), *cells[1:]]) + r" \\"


def _latex_heads(columns: Sequence[Line]) -> list[str]:
    """Test sets, below them their metrics, and what tells columns of one test set apart."""
    several = len({line.unit for line in columns}) > 1
    metrics = [
        ("" if line.setting[1] == MPE else line.title) + f" ({line.unit})" * bool(several and line.unit)
        for line in columns
    ]
    rows = [["Model", *(line.testset for line in columns)], ["", *metrics]]
    if len({line.testset for line in columns}) < len(columns):
        rows.append(["", *(", ".join((line.setting[0], line.setting[2])) for line in columns)])
    return [_latex_row([row[0], *map(escape_latex, row[1:])]) for row in rows]


def _caption(summary: Summary, columns: Sequence[Line], published: bool) -> list[str]:
    units = {line.unit for line in columns}
    unit = f" in {units.pop()}" if len(units) == 1 and all(units) else ""
    lower = ", lower is better" if all(is_lower_better(line.metric) for line in columns) else ""
    protocols = ", ".join(dict.fromkeys(line.setting[0] for line in columns))
    said = [WARNING] if summary.standin else []
    said.append(f"Primary metric of each test set{unit}{lower}. Protocol {protocols}.")
    said += ["MPE: mean of the test sets."] * any(line.setting[1] == MPE for line in columns)
    said += ["Above the rule: published figures of the same protocol."] * published
    return said + [f"{text}." for text in remarks(replace(summary, lines=tuple(columns)))]


def as_csv(runs: Sequence[Run]) -> str:
    """Every row of every run, all subsets, with the columns of the report table after the run's label.

    Numbers are written in full, null as an empty cell, truth as ``true`` and ``false``.
    """
    names = report_schema().names
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", *names])
    for run in runs:
        writer.writerows([run.label, *(_plain(row[name]) for name in names)] for row in run.rows)
    return text.getvalue()


def _plain(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else value


def _markdown_cell(cell: Cell | None, unit: str) -> str:
    if cell is None:
        return ""
    value = number(cell.value, unit)
    shown = f"**{value}**" if cell.best else value
    between = "" if cell.low is None else rf" \[{number(cell.low, unit)}, {number(cell.high, unit)}\]"
    return shown + between + "".join(f" ^{mark}" for mark in cell.marks)


def _latex_cell(cell: Cell | None, unit: str) -> str:
    if cell is None:
        return ""
    value = "--" if cell.value is None else number(cell.value, unit)
    marks = f"$^{{{','.join(cell.marks)}}}$" if cell.marks else ""
    return (rf"\textbf{{{value}}}" if cell.best else value) + marks


def _published(line: Line, column: int, recalled: str) -> str:
    figure = line.published[column]
    if figure is None:
        return ""
    value = number(figure.value, line.unit)
    return recalled.format(value) if figure.recalled else value
