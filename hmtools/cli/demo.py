"""``hmtools demo``: the main job on embedded defaults, without downloads, licences or a GPU."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo"]


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything it makes.")] = Path("demo"),
    recipe: Annotated[str, typer.Option(help="A shipped demo recipe.")] = "demo/world",
) -> None:
    """Run the whole chain on synthetic data: convert, validate, train, predict, benchmark, report.

    \b
    Example:
      hmtools demo --out demo
    """  # noqa: D301 - \b keeps Typer from joining the lines
    from hmtools.core.log import format_duration, show, table
    from hmtools.demo.run import run_demo

    made = run_demo(recipe, out, lambda line: typer.echo(line, err=True))
    rows = [[item.what, item.numbers, format_duration(item.seconds), str(item.where)] for item in made]
    show(table(["made", "what", "time", "where"], rows))
    # after `make demo` the command is not on the PATH
    command = "hmtools" if shutil.which("hmtools") else sys.argv[0]
    typer.echo(
        f"Open the report and the contact sheets in a browser. Next: `{command} datasets`, "
        f"`{command} convert --help`."
    )
