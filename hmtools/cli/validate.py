"""``hmtools validate``: read a converted split again and check everything it claims."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hmtools.cli.shards_argument import ShardsArgument, existing_folder

if TYPE_CHECKING:
    from hmtools.convert.validate import Validation

__all__ = ["validate"]

_SHOWN = 20


def validate(
    shards: ShardsArgument,
    rebuild_index: Annotated[
        bool, typer.Option("--rebuild-index", help="First write tables and index again from the tars.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", help="Processes. [default: the setting workers, else every core]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Check shards: checksums, schema, keys, finite numbers, boxes, decodable images, offsets, index.

    Exits with 1 when anything is wrong.

    \b
    Examples:
      hmtools validate shards
      hmtools validate mscoco/val2017 --rebuild-index
    """  # noqa: D301 - \b keeps Typer from joining the lines
    from hmtools.convert import validate as checks
    from hmtools.core.log import Progress
    from hmtools.core.settings import load_settings
    from hmtools.engine.local import usable_cores
    from hmtools.humandata.manifest import read_manifest
    from hmtools.shards.reader import find_splits, find_unfinished

    reports = []
    shards = existing_folder(shards)
    chosen = workers if workers is not None else load_settings().workers
    count = usable_cores() if chosen is None else chosen
    unfinished = [folder for folder in find_unfinished(shards) if folder != shards]
    for folder in find_splits(shards) or ([] if unfinished else [shards]):
        if rebuild_index:
            facts = checks.rebuild_index(folder)
            typer.echo(f"{folder}: index rebuilt, {facts.rows} records", err=True)
        records = read_manifest(folder).counts["records"] or 0
        with Progress(f"validate {folder.name}", units=0, records=records, enabled=not as_json) as bar:
            reports.append(
                checks.validate_split(
                    folder,
                    workers=count,
                    advance=lambda done: bar.advance(expected=done, records=done),
                )
            )
    reports += [_unfinished(folder) for folder in unfinished]
    _print_json(reports) if as_json else _print(reports)
    raise typer.Exit(0 if all(report.ok for report in reports) else 1)


def _unfinished(folder: Path) -> Validation:
    from hmtools.convert.validate import Problem, Validation

    problem = Problem("unfinished", str(folder), f"no manifest yet; see `hmtools jobs {folder}`")
    return Validation(folder, problems=[problem])


def _print_json(reports: list[Validation]) -> None:
    found = {
        str(report.path): {
            "ok": report.ok,
            "records": report.records,
            "images": report.images,
            "boxes_waiting": report.waiting,
            "problems": [{"kind": p.kind, "where": p.where, "detail": p.detail} for p in report.problems],
        }
        for report in reports
    }
    typer.echo(json.dumps(found, indent=1))


def _print(reports: list[Validation]) -> None:
    for report in reports:
        if report.ok:
            typer.echo(f"{report.path}: ok, {report.records} records, {report.images} images")
            if report.waiting:
                typer.echo(
                    f"  {report.waiting} boxes wait for body models: run `hmtools derive {report.path}`"
                )
            continue
        typer.echo(f"{report.path}: {len(report.problems)} problems")
        for problem in report.problems[:_SHOWN]:
            typer.echo(f"  {problem.kind}: {problem.where}: {problem.detail}")
        if len(report.problems) > _SHOWN:
            typer.echo(f"  … and {len(report.problems) - _SHOWN} more (--json lists all)")
        typer.echo("  Copy the shards again from where they are whole, or convert again with --overwrite.")
