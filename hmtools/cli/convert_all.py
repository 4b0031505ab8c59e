"""``hmtools convert all``: one table over every dataset below a folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hmtools.convert.everything import FoundSet, SetReport
    from hmtools.core.settings import Settings

__all__ = ["convert_everything"]


def convert_everything(
    raw: Path | None,
    roles: Sequence[str],
    choices: dict[str, Any],
    *,
    settings: Settings,
    overwrite: bool,
    break_lock: bool,
    wait: bool,
    check: bool,
    strict_counts: bool,
    as_json: bool,
) -> int:
    """Convert (or with ``check`` look for) everything below ``raw`` and print what came of it.

    Returns:
        The exit code: 0 all that is there is converted, 1 something failed (or, with ``strict_counts``, has
        another number of people than the authors say), 2 with ``check`` when a found set is not complete.
    """
    from hmtools.cli.convert_report import announce
    from hmtools.convert.everything import convert_all, find_sets

    if check:
        sets = find_sets((raw or settings.raw_root).resolve(), roles)
        _print_found(sets, as_json=as_json)
        gaps = any(found.missing or found.error for found in sets)
        return 2 if gaps or not any(found.root for found in sets) else 0
    reports = convert_all(
        raw, roles, choices=choices, settings=settings, overwrite=overwrite, break_lock=break_lock,
        progress=not as_json, wait=wait, started=None if as_json else announce,
    )  # fmt: skip
    _print_json(reports) if as_json else _print_reports(reports)
    other = strict_counts and any(split.other_count for report in reports for split in report.reports)
    return max([int(other), *(report.exit_code for report in reports)])


def _print_found(sets: Sequence[FoundSet], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({found.name: _found_json(found) for found in sets}, indent=1))
        return
    from hmtools.core.log import show, table

    rows: list[list[object]] = []
    for found in sets:
        rows += [[f"{found.name}/{split}", "complete", found.root] for split in found.splits]
        rows += [[f"{found.name}/{split}", _gap(found, split), found.root] for split in found.missing]
        rows += [[found.name, found.error, found.root]] if found.error else []
    show(table(["split", "state", "folder"], rows))
    _print_gaps(sets)


def _print_reports(reports: Sequence[SetReport]) -> None:
    from hmtools.cli.convert_report import HEADINGS, is_already_done, print_details, report_row
    from hmtools.core.log import show, table

    rows: list[list[object]] = []
    for report in reports:
        rows += [report_row(split) for split in report.reports]
        done = {split.plan.task.split for split in report.reports}
        if report.error:
            lost = [split for split in report.found.splits if split not in done]
            rows += [[f"{report.found.name}/{split}", "not converted", *[""] * 7] for split in lost]
        rows += [
            [f"{report.found.name}/{split}", _gap(report.found, split), *[""] * 7]
            for split in report.found.missing
        ]
    show(table(HEADINGS, rows))
    for report in reports:
        for split in report.reports:
            # those of a split that was done before were listed when it was converted
            print_details(split, examples=not is_already_done(split))
        if report.error:
            typer.echo(f"{report.found.name}: {report.error}")
    _print_gaps([report.found for report in reports])


def _print_json(reports: Sequence[SetReport]) -> None:
    from hmtools.cli.convert_report import reports_json

    found = {
        report.found.name: {
            **_found_json(report.found),
            "error": report.error or None,
            "converted": reports_json(report.reports),
        }
        for report in reports
    }
    typer.echo(json.dumps(found, indent=1))


def _found_json(found: FoundSet) -> dict[str, Any]:
    return {
        "root": None if found.root is None else str(found.root),
        "error": found.error or None,
        "complete": list(found.splits),
        "missing": {
            split: [{"paths": list(gap.paths), "page": gap.page} for gap in gaps]
            for split, gaps in found.missing.items()
        },
    }


def _gap(found: FoundSet, split: str) -> str:
    return f"{len(found.missing[split])} missing"


def _print_gaps(sets: Sequence[FoundSet]) -> None:
    """Say what of the sets that are there is missing, and which sets are not there at all."""
    for found in sets:
        for split, gaps in found.missing.items():
            for gap in gaps:
                typer.echo(f"{found.name}/{split} misses {' or '.join(gap.paths)}, from {gap.page}")
    if absent := [found.name for found in sets if found.root is None]:
        typer.echo(f"No folder of {', '.join(absent)}; `hmtools datasets NAME` says what is expected.")
