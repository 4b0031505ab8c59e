"""``hmtools report``: results beside each other, in the terminal, as text to paste or as a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.text import Text

    from hmtools.bench.results import Run
    from hmtools.bench.summary import Cell, Summary

__all__ = ["report"]

_FORMATS = ("md", "csv", "latex")
_FORMAT = (
    "Print text instead of a table: md (every metric), csv (every metric and subset), or latex for a paper "
    "(a row per model, a column per test set with its primary metric, published models above)."
)


def report(
    results: Annotated[
        list[Path], typer.Argument(metavar="RESULT", help="report.parquet, or a folder of hmtools bench.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the page (.html), or the text of --format, to this file."),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", help=_FORMAT),
    ] = None,
    shards: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Converted test sets: shows people on the page; repeatable."),
    ] = None,
    predictions: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="Our predictions of each RESULT, in their order: drawn on the page; repeatable.",
        ),
    ] = None,
) -> None:
    """Compare results with each other and with what is published for the same protocol.

    \b
    Examples:
      hmtools report bench/mine
      hmtools report bench/baseline bench/mine --out page.html --shards shards
      hmtools report bench/baseline bench/mine --format latex
    """  # noqa: D301 - \b keeps Typer from joining the lines
    from hmtools.bench.results import read_runs
    from hmtools.bench.summary import summarise

    _check(out, form, shards or [], predictions or [])
    runs = read_runs(results)
    if form is not None:
        _give(_text(form, runs), out)
    elif out is not None:
        _write_page(runs, out, shards or [], predictions or [])
    else:
        _print(summarise(runs))


def _check(out: Path | None, form: str | None, shards: list[Path], predictions: list[Path]) -> None:
    from hmtools.core.errors import UsageError, nearest

    if form is not None and form not in _FORMATS:
        raise UsageError(f"--format: expected {', '.join(_FORMATS)}, found {form!r}{nearest(form, _FORMATS)}")
    if out is not None and not out.absolute().parent.is_dir():
        raise UsageError(f"--out {out}: no folder {out.parent}; make it first")
    if form is None and out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out {out}: a page ends with .html; for text add --format {', '.join(_FORMATS)}")
    if (shards or predictions) and (out is None or form is not None):
        raise UsageError("--shards and --predictions show people on the page: add --out PAGE.html")
    if predictions and not shards:
        raise UsageError("--predictions are drawn over the images: add --shards with the converted test sets")


def _text(form: str, runs: list[Run]) -> str:
    from hmtools.bench import text
    from hmtools.bench.summary import summarise

    if form == "csv":
        return text.as_csv(runs)
    return text.as_markdown(summarise(runs)) if form == "md" else text.as_latex(summarise(runs))


def _give(words: str, out: Path | None) -> None:
    from hmtools.core.atomic import write_text

    if out is None:
        typer.echo(words, nl=False)
    else:
        write_text(out, words)
        typer.echo(f"{out}")


def _write_page(runs: list[Run], out: Path, shards: list[Path], predictions: list[Path]) -> None:
    from hmtools.bench.page import write_page
    from hmtools.bench.pictures import Pictures
    from hmtools.core.errors import UsageError

    if predictions and len(predictions) != len(runs):
        names = ", ".join(run.label for run in runs)
        raise UsageError(
            f"--predictions: expected one for each of {len(runs)} results ({names}), found {len(predictions)}"
        )
    labels = [run.label for run in runs]
    given = [[path] for path in predictions] or [_beside(run) for run in runs]
    pictures = Pictures(shards, given, labels) if shards else None
    page = write_page(runs, out, pictures=pictures)
    typer.echo(f"{page}: {', '.join(labels)}")


def _beside(run: Run) -> list[Path]:
    """Predictions that lie beside the reports of a run."""
    found = [source.with_name("predictions.parquet") for source in run.sources]
    return [path for path in found if path.is_file()]


def _print(summary: Summary) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from hmtools.bench.summary import WARNING, number, remarks

    console = Console(soft_wrap=False, highlight=False)
    if summary.standin:
        console.print(Text(WARNING, style="bold yellow"))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("test set", "metric"):
        table.add_column(Text(name))
    for name in ("n", *summary.labels, *summary.published):
        table.add_column(Text(name), justify="right", overflow="fold")
    before = None
    for line in summary.lines:
        if before not in (None, line.setting):
            table.add_section()
        head = "" if line.setting == before else line.testset
        title = f"{line.title}, {line.unit}" if line.unit else line.title
        figures = [_cell(cell, line.unit) for cell in line.cells]
        figures += [
            Text("" if f is None else number(f.value, line.unit) + " r" * f.recalled, style="dim")
            for f in line.published
        ]
        table.add_row(Text(head), Text(title), Text(line.n), *figures, style="" if line.primary else "dim")
        before = line.setting
    console.print(table)
    for remark in remarks(summary):
        console.print(Text(remark, style="dim"))


def _cell(cell: Cell | None, unit: str) -> Text:
    from rich.text import Text

    from hmtools.bench.summary import number

    if cell is None:
        return Text("")
    shown = Text(number(cell.value, unit), style="bold" if cell.best else "")
    if cell.low is not None and cell.high is not None:
        shown.append(f" [{number(cell.low, unit)}, {number(cell.high, unit)}]", style="dim")
    return shown.append("".join(f" {mark}" for mark in cell.marks))
