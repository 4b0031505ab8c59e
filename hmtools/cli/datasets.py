"""``hmtools datasets``: what can be converted, and the layout each set is expected in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hmtools.cli.complete import dataset_names

if TYPE_CHECKING:
    from hmtools.datasets.base import Dataset

__all__ = ["datasets"]


def datasets(
    name: Annotated[
        str | None,
        typer.Argument(metavar="DATASET", help="Show this one in full.", autocompletion=dataset_names),
    ] = None,
    commercial_only: Annotated[
        bool, typer.Option("--commercial-only", help="Only sets whose licence allows commercial use.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List datasets, or show one: layout, licence, splits, options, citation.

    \b
    Examples:
      hmtools datasets
      hmtools datasets mscoco
    """  # noqa: D301 - \b keeps Typer from joining the lines
    from hmtools.datasets.registry import all_datasets, get_dataset

    if name is not None:
        kind = get_dataset(name)
        typer.echo(json.dumps(_facts(kind), indent=1) if as_json else _page(kind))
        return
    found = [kind for kind in all_datasets().values() if kind.commercial_use or not commercial_only]
    if as_json:
        typer.echo(json.dumps({kind.name: _facts(kind) for kind in found}, indent=1))
        return
    from hmtools.core.log import show, table

    rows = [[kind.name, kind.title, ", ".join(kind.splits), kind.body] for kind in found]
    show(table(["name", "dataset", "splits", "annotations"], rows))


def _facts(kind: type[Dataset]) -> dict[str, Any]:
    return {
        **kind().card(),
        "name": kind.name,
        "body": kind.body,
        "splits": dict(kind.splits),
        "options": {
            key: {"default": o.default, "values": list(o.values), "help": o.help}
            for key, o in kind.options.items()
        },
        "official_counts": {split: dict(counts) for split, counts in kind.official_counts.items()},
        "layout": kind.layout.strip("\n"),
    }


def _page(kind: type[Dataset]) -> str:
    splits = ", ".join(f"{split} ({role})" for split, role in kind.splits.items())
    lines = [
        f"{kind.title}  ({', '.join((kind.name, *kind.aliases))})",
        "",
        f"homepage    {kind.homepage}",
        f"licence     {kind.licence}",
        f"commercial  {'yes' if kind.commercial_use else 'no'}",
        f"citation    {kind.citation}",
        f"splits      {splits}",
        f"annotations {kind.body}",
    ]
    for key, option in kind.options.items():
        values = " | ".join(option.values) or "text"
        lines.append(f"--option {key}={values}  (default {option.default or 'none'}): {option.help}")
    return "\n".join([*lines, "", "Expected layout:", kind.layout.rstrip("\n")])
