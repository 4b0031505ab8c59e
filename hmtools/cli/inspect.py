"""``hmtools inspect``: what a converted split holds, in numbers."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from hmtools.cli.shards_argument import ShardsArgument, existing_folder

__all__ = ["inspect"]

_TOTALS = ("records", "keypoints_labelled")  # of what the other health counts are a part


def inspect(
    shards: ShardsArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Show counts, null rates, sizes, visibility and health of shards.

    \b
    Examples:
      hmtools inspect shards/mscoco/val2017
      hmtools inspect mscoco --json
    """  # noqa: D301 - \b keeps Typer from joining the lines
    from hmtools.shards.reader import find_splits, find_unfinished
    from hmtools.shards.summary import summarise

    shards = existing_folder(shards)
    for folder in find_unfinished(shards):
        typer.echo(f"{folder}: unfinished conversion, not shown; see `hmtools jobs {folder}`", err=True)
    found = {str(folder): summarise(folder) for folder in find_splits(shards) or [shards]}
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    for path, summary in found.items():
        _print(path, summary)


def _print(path: str, summary: dict[str, Any]) -> None:
    from hmtools.core.log import format_bytes, show, table

    facts = [
        ["records", summary["records"]],
        ["images", f"{summary['images']} ({summary['images_stored']})"],
        ["people per image", summary["people_per_image"]],
        ["sequences, tracks", f"{summary['sequences']}, {summary['tracks']}"],
        ["size", format_bytes(summary["bytes"])],
        ["box long side", _spread(summary["box_long_side_px"])],
        ["image long side", _spread(summary["image_size_px"])],
        ["body model", summary["body_model"]],
        ["people and boxes", summary["rows"]],
        *_agreement(summary["agreement"]),
        ["rejected", _listed(summary["rejected"])],
        ["left out by rule", _listed(summary["filtered"])],
        ["health", _listed({k: v for k, v in summary["health"].items() if v and k not in _TOTALS})],
    ]
    show(table([f"{summary['dataset']}/{summary['split']}", path], facts))
    for need in summary["needs"]:
        show(f"  missing {need}")
    nulls = summary["nulls"]
    partly = [[name, f"{share:.1%}"] for name, share in nulls.items() if 0 < share < 1]
    if partly:
        show(table(["column", "null"], partly))
    never = ", ".join(name for name, share in nulls.items() if share == 1)
    show(f"  always null: {never or 'none'}\n")
    if summary["keypoints"] and summary["visibility"]:
        show("  labelled, share of records:")
        show(_joints(summary["keypoints"], summary["visibility"]))


def _agreement(found: dict[str, dict[str, float]]) -> list[list[str]]:
    """How far derived joints are from annotated ones; nothing where either is missing."""
    return [
        [
            f"{name.rpartition('_')[0]} off the labels",
            f"{_short(row['p50'])} … {_short(row['p95'])} … {_short(row['p99'])} {name.rpartition('_')[2]} "
            f"(median, 95 %, 99 % of {row['joints']:g} joints)",
        ]
        for name, row in found.items()
    ]


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _joints(convention: str, visibility: dict[str, float]) -> Any:
    """Body joints one by one, the many of hands and face as one mean each, in as many columns as fit."""
    from rich.columns import Columns

    from hmtools.humandata.keypoints import part

    names = list(visibility)
    lines = [f"{names[i]} {visibility[names[i]]:.1%}" for i in part(convention, "body")]
    for which in ("left_hand", "right_hand", "face"):
        if joints := part(convention, which):
            mean = sum(visibility[names[i]] for i in joints) / len(joints)
            lines.append(f"{which} ({len(joints)} joints, mean) {mean:.1%}")
    return Columns([f"  {line}" for line in lines], padding=(0, 2), column_first=True)


def _spread(values: dict[str, float]) -> str:
    if not values:
        return "none"
    return f"{values['p0']:g} … {values['p50']:g} … {values['p100']:g} px (min, median, max)"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
