"""Results as text to paste: Markdown, CSV and LaTeX (booktabs), the same bytes for the same results."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from hmtools.bench.results import Run
from hmtools.bench.summary import WARNING, Cell, Line, Summary, number, remarks
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
    """A ``table`` for the package booktabs, without intervals: they seldom fit a column."""
    heads = ["Test set", "Metric", "$n$", *map(escape_latex, summary.labels + summary.published)]
    columns = "ll" + "r" * (len(heads) - 2)
    lines = [f"% {WARNING}"] if summary.standin else []
    lines += [r"\begin{table}", r"\centering", rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    lines += [" & ".join(heads) + r" \\", r"\midrule"]
    for line in summary.lines:
        unit = f" ({escape_latex(line.unit)})" if line.unit else ""
        words = [escape_latex(line.testset), escape_latex(line.title) + unit, escape_latex(line.n)]
        figures = [_latex_cell(cell, line.unit) for cell in line.cells]
        figures += [_published(line, i, "{}$^{{r}}$") for i in range(len(summary.published))]
        lines.append(" & ".join([*words, *figures]) + r" \\")
    protocols = ", ".join(dict.fromkeys(line.setting[0] for line in summary.lines))
    said = [f"Protocol {protocols}.", *(f"{text}." for text in remarks(summary))]
    if summary.standin:
        said.insert(0, WARNING)
    caption = " ".join(escape_latex(text) for text in said)
    lines += [r"\bottomrule", r"\end{tabular}", rf"\caption{{{caption}}}", r"\end{table}"]
    return "\n".join(lines) + "\n"


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
