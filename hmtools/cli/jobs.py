"""``hmtools jobs``: the state of every job below a folder."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hmtools.engine.state import JobStatus

__all__ = ["jobs"]

_SHOWN = 5


def jobs(
    path: Annotated[Path, typer.Argument(help="A folder that jobs write to, or one above it.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show jobs: units done and failed, records, rate, the end of each failure's log, how to continue.

    Exits with 1 when any job has failed units.

    \b
    Example:
      hmtools jobs shards
    """  # noqa: D301 - \b keeps Typer from joining the lines
    from hmtools.core.errors import LayoutError
    from hmtools.engine.state import find_jobs

    if not path.is_dir():
        raise LayoutError(f"{path}: no such folder; expected the --out of a conversion, or a folder above it")
    found = find_jobs(path)
    if as_json:
        typer.echo(json.dumps([_facts(job) for job in found], indent=1))
    elif not found:
        typer.echo(f"no jobs at or below {path}")
    else:
        _print(found)
    raise typer.Exit(1 if any(job.failed for job in found) else 0)


def _facts(job: JobStatus) -> dict[str, Any]:
    return {
        "name": job.name,
        "out": str(job.out),
        "state": job.state,
        "units": job.total,
        "done": job.done,
        "failed": job.failed,
        "records": job.records,
        "expected": job.expected,
        "rejected": job.rejected,
        "seconds": round(job.seconds, 3),
        "started": job.started,
        "updated": job.updated,
        "command": job.command,
        "failures": [{"unit": f.unit, "reason": f.reason, "log": str(f.log)} for f in job.failures],
    }


def _print(found: list[JobStatus]) -> None:
    from hmtools.core.log import format_duration, show, table

    rows = []
    for job in found:
        rate = f"{job.records / job.seconds:.0f}/s" if job.seconds and job.records else ""
        rows.append([
            job.name, job.state, f"{job.done}/{job.total}", job.failed, job.records, job.rejected, rate,
            format_duration(job.seconds),
        ])  # fmt: skip
    headings = ["job", "state", "units", "failed", "records", "rejected", "rate", "time"]
    show(table(headings, rows))
    for job in found:
        if job.state != "finished":
            _print_open(job)


def _print_open(job: JobStatus) -> None:
    from hmtools.core.log import format_duration

    if job.owner is not None and job.state == "running":
        alive = format_duration(max(0.0, time.time() - job.owner.heartbeat))
        typer.echo(
            f"{job.name}: running on {job.owner.host}, pid {job.owner.pid}, since {job.owner.since}, "
            f"last sign of life {alive} ago"
        )
    for failure in job.failures[:_SHOWN]:
        typer.echo(f"{job.name} {failure.unit}: {failure.reason}\n  {failure.log}")
        for line in failure.tail:
            typer.echo(f"  | {line}")
    if len(job.failures) > _SHOWN:
        typer.echo(f"… and {len(job.failures) - _SHOWN} more failed units (--json lists all)")
    if job.state != "running":
        typer.echo(f"continue with: {job.command}")
