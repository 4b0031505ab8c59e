"""``hmtools jobs``: the state of every job below a folder."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hmtools.cli.shards_argument import existing_folder

if TYPE_CHECKING:
    from hmtools.engine.state import JobStatus

__all__ = ["jobs"]

_SHOWN = 5


def jobs(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="A folder that jobs write to, or one above it; also below the setting shards_root.",
        ),
    ],
    follow: Annotated[
        bool, typer.Option("--follow", help="Stay until jobs on Slurm are over; Ctrl-C leaves them running.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show jobs: units done and failed, records, rate, the end of each failure's log, how to continue.

    With --follow, a job whose Slurm tasks are over without its last job having run is ended here. Exits with
    1 when any job has failed, with 2 when nodes could not run one.

    \b
    Examples:
      hmtools jobs shards
      hmtools jobs mscoco/val2017 --follow
    """  # noqa: D301 - \b keeps Typer from joining the lines
    from hmtools.engine.state import find_jobs

    path = existing_folder(path, "the --out of a conversion, or a folder above it")
    found = find_jobs(path)
    code = 0
    if follow and any(job.slurm for job in found):
        code = _follow(found, progress=not as_json)
        found = find_jobs(path)
    if as_json:
        typer.echo(json.dumps([_facts(job) for job in found], indent=1))
    elif not found:
        typer.echo(f"no jobs at or below {path}")
    else:
        _print(found)
    raise typer.Exit(max(code, int(any(job.failures for job in found))))


def _follow(found: list[JobStatus], *, progress: bool) -> int:
    """Stay until no job is on Slurm any more; return the exit code that follows from how they ended."""
    from hmtools.core.errors import HmtoolsError
    from hmtools.engine.slurm_follow import follow
    from hmtools.engine.slurm_store import unsettled

    code = 0
    for job in found:
        submission = unsettled(job.out / ".job")
        if submission is None:
            continue
        try:
            if not follow(submission, progress=progress):
                return 130
        except (HmtoolsError, OSError) as error:  # the other jobs are followed all the same
            typer.echo(f"{job.name}: {error}", err=True)
            code = max(code, getattr(error, "exit_code", 1))
        if refused := (submission.settled or {}).get("refused"):
            typer.echo(refused, err=True)
            code = 2
    return code


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
        "slurm": job.slurm or None,
        "seconds_left": None if job.left_s is None else round(job.left_s, 1),
        "failures": [{"unit": f.unit, "reason": f.reason, "log": str(f.log)} for f in job.failures],
    }


def _print(found: list[JobStatus]) -> None:
    from hmtools.core.log import format_duration, format_rate, show, table

    rows = []
    for job in found:
        rate = f"{format_rate(job.records / job.seconds)}/s" if job.seconds and job.records else ""
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

    if job.slurm:
        left = f"; about {format_duration(job.left_s)} left" if job.left_s is not None else ""
        typer.echo(f"{job.name}: {job.slurm}{left}")
    elif job.owner is not None and job.state == "running":
        alive = format_duration(max(0.0, time.time() - job.owner.heartbeat))
        typer.echo(
            f"{job.name}: running on {job.owner.place}, since {job.owner.since}, "
            f"last sign of life {alive} ago"
        )
    for failure in job.failures[:_SHOWN]:
        typer.echo(f"{job.name} {failure.unit}: {failure.reason}\n  {failure.log}")
        for line in failure.tail:
            typer.echo(f"  | {line}")
    if len(job.failures) > _SHOWN:
        typer.echo(f"… and {len(job.failures) - _SHOWN} more failed units (--json lists all)")
    if job.state not in ("queued", "running"):
        typer.echo(f"continue with: {job.command}")
