"""What ``hmtools export`` and ``hmtools render`` say while they work and afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hmtools.core.log import Progress

__all__ = ["beside", "rows_done", "tell_left_out"]


def beside(predictions: Path) -> Path:
    """The folder that holds tables of predictions: the folder itself, or that of a file."""
    return predictions if predictions.is_dir() else predictions.parent


def rows_done(bar: Progress) -> Callable[[int], None]:
    """What tells a bar that so many more rows of a table are done."""

    def advance(rows: int) -> None:
        for _ in range(rows):
            bar.advance()

    return advance


def tell_left_out(counts: Mapping[str, int]) -> None:
    """Say what was left out, and why."""
    for reason, count in sorted(counts.items()):
        typer.echo(f"left out: {count:,} {reason}")
