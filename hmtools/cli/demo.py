"""``hmtools demo``: the main job on embedded defaults, without downloads, licences or a GPU."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from hmtools.demo.run import Stage

__all__ = ["demo"]

_TO_OPEN = ("report page", "video", "contact sheet")  # the first of each


def demo(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for everything it makes.")] = Path(
        "demo"
    ),
    recipe: Annotated[str, typer.Option(help="A shipped demo recipe.")] = "demo/world",
) -> None:
    """Run the whole chain on synthetic data: convert, validate, train, predict, benchmark, report, render.

    \b
    Example:
      hmtools demo --out demo
    """  # noqa: D301 - \b keeps Typer from joining the lines
    from hmtools.core.log import format_duration, show, table
    from hmtools.demo.run import run_demo

    done = run_demo(recipe, out, lambda line: typer.echo(line, err=True))
    rows = [[item.what, item.numbers, format_duration(item.seconds), _near(item.where)] for item in done.made]
    show(table(["made", "what", "time", "where"], rows))
    show(_times(done.stages))
    # after `make demo` the command is not on the PATH
    command = "hmtools" if shutil.which("hmtools") else sys.argv[0]
    typer.echo(f"Next: `{command} datasets`, `{command} convert --help`. To open in a browser:")
    for what in _TO_OPEN:
        for item in [item for item in done.made if item.what == what][:1]:
            typer.echo(f"  {item.where}")


def _near(path: Path) -> str:
    """A path below the working folder as seen from there; any other as it is."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _times(stages: Sequence[Stage]) -> Table:
    """Time of each stage beside its budget; more than that is worth a look, and no error."""
    from hmtools.core.log import format_duration, table

    def shown(seconds: float | None) -> str:
        return "" if seconds is None else format_duration(seconds)

    rows = [[s.name, shown(s.seconds), shown(s.budget), "above it" * s.over] for s in stages]
    whole = sum(s.seconds for s in stages)
    rows.append(["all", shown(whole), shown(sum(s.budget or 0 for s in stages) or None), ""])
    return table(["stage", "took", "budget on 2 cores", ""], rows)
