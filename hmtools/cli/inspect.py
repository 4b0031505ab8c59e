"""``hmtools inspect``: what a converted split holds, in numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["inspect"]


def inspect(
    shards: Annotated[Path, typer.Argument(help="OUT, OUT/<dataset> or OUT/<dataset>/<split>.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Show counts, null rates, sizes, visibility and health of shards.

    \b
    Examples:
      hmtools inspect shards/mscoco/val2017
      hmtools inspect shards --json
    """  # noqa: D301 - \b keeps Typer from joining the lines
    from hmtools.shards.reader import find_splits
    from hmtools.shards.summary import summarise

    found = {str(folder): summarise(folder) for folder in find_splits(shards) or [shards]}
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    for path, summary in found.items():
        _print(path, summary)


def _print(path: str, summary: dict[str, Any]) -> None:
    from rich.console import Console

    from hmtools.core.log import format_bytes, table

    console = Console()
    facts = [
        ["records", summary["records"]],
        ["images", f"{summary['images']} ({summary['images_stored']})"],
        ["people per image", summary["people_per_image"]],
        ["sequences, tracks", f"{summary['sequences']}, {summary['tracks']}"],
        ["size", format_bytes(summary["bytes"])],
        ["box long side", _spread(summary["box_long_side_px"])],
        ["image long side", _spread(summary["image_size_px"])],
        ["rejected", _listed(summary["rejected"])],
        ["left out by rule", _listed(summary["filtered"])],
        ["health", _listed({k: v for k, v in summary["health"].items() if v and k != "records"})],
    ]
    console.print(table([f"{summary['dataset']}/{summary['split']}", path], facts))
    nulls = summary["nulls"]
    partly = [[name, f"{share:.1%}"] for name, share in nulls.items() if 0 < share < 1]
    if partly:
        console.print(table(["column", "null"], partly))
    never = ", ".join(name for name, share in nulls.items() if share == 1)
    console.print(f"  always null: {never or 'none'}\n", highlight=False)
    console.print(_joints(summary["visibility"]))


def _joints(visibility: dict[str, float]) -> Any:
    """Four joints side by side, so that 133 of them fit a screen."""
    from hmtools.core.log import table

    cells = [cell for joint, share in visibility.items() for cell in (joint, f"{share:6.1%}")]
    cells += [""] * (-len(cells) % 8)
    return table(["joint", "labelled"] * 4, [cells[i : i + 8] for i in range(0, len(cells), 8)])


def _spread(values: dict[str, float]) -> str:
    if not values:
        return "none"
    return f"{values['p0']:g} … {values['p50']:g} … {values['p100']:g} px (min, median, max)"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
