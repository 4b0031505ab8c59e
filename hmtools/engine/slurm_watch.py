"""Whether a submission is still at work, what it has done so far, and who may not write meanwhile.

Open is a submission whose jobs Slurm lists as not finished. Where Slurm does not answer, or is another
cluster, signs of life decide: a submission that gave none for a day counts as closed. Should that be wrong,
its tasks notice before their next unit that it was settled, and stop.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hmtools.core.errors import LockedError
from hmtools.core.log import format_duration
from hmtools.engine.job import Result
from hmtools.engine.slurm_queue import TERMINAL, Row, cancel, cluster_name, rows_of
from hmtools.engine.slurm_store import Submission, unsettled

if TYPE_CHECKING:
    from hmtools.engine.state import JobState, JobStatus

__all__ = ["SILENT_S", "Sight", "look", "require_closed", "with_submission"]

SILENT_S = 86400.0
"""How long a submission that Slurm says nothing about counts as open after its last sign of life."""

_CANCEL_S = 90.0  # Slurm kills what ignores a signal after KillWait, 30 s if not set otherwise
_POLL_S = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What can be seen of a submission from here.

    Attributes:
        open: whether its jobs may still run.
        queued: whether no task has begun yet.
        words: for people, e.g. ``Slurm job 61: 2 running, 14 waiting (Resources); 62 ends it``.
    """

    open: bool
    queued: bool
    words: str


def look(submission: Submission) -> Sight:
    """Ask Slurm, and where it does not know look at the signs of life."""
    rows = rows_of(submission.ids, submission.label)
    name = f"Slurm job {submission.array}" if submission.array else f"Slurm jobs named {submission.label}"
    queued = not submission.notes()
    if rows:
        alive = [row for row in rows if row.state not in TERMINAL]
        return Sight(open=bool(alive), queued=queued, words=f"{name}: {_describe(alive, submission)}")
    foreign = rows is not None and bool(submission.cluster) and cluster_name() != submission.cluster
    if rows is None or foreign:
        silent = time.time() - _last_sign(submission)
        why = f"Slurm here is not {submission.cluster}" if foreign else "Slurm does not answer here"
        words = f"{name}: {why}; last sign of life {format_duration(max(0.0, silent))} ago"
        return Sight(open=silent < SILENT_S, queued=queued, words=words)
    return Sight(open=False, queued=queued, words=f"{name}: not known to Slurm any more")


def _describe(alive: list[Row], submission: Submission) -> str:
    tasks = [row for row in alive if row.id != str(submission.final)]
    if not tasks:
        return f"units are over; {submission.final} ends it" if alive else "over"
    waiting = [row for row in tasks if row.state == "PENDING"]
    other = Counter(row.state.lower() for row in tasks if row.state != "PENDING")
    words = [f"{count} {state}" for state, count in other.items()]
    if waiting:
        reason = Counter(row.reason for row in waiting).most_common(1)[0][0]
        words.append(f"{len(waiting)} waiting ({reason})")
    return ", ".join(words)


def _last_sign(submission: Submission) -> float:
    """When something of it was last heard, seconds since the epoch."""
    beats = [float(note.get("heartbeat", 0.0)) for note in submission.notes().values()]
    return max([submission.since, *beats])


def require_closed(root: Path, *, break_lock: bool = False) -> Submission | None:
    """Return the submission below ``root`` (a ``.job`` folder) that waits to be settled, None if none does.

    Args:
        root: the folder.
        break_lock: cancel a submission that is open.

    Raises:
        LockedError: if one is open, or does not end when it is cancelled.
    """
    submission = unsettled(root)
    if submission is None or not (sight := look(submission)).open:
        return submission
    ids = " ".join(map(str, submission.ids)) or f"--name {submission.label}"
    if not break_lock:
        raise LockedError(
            f"{submission.out} is being written by {sight.words}. Wait for it "
            f"(`hmtools jobs {submission.out} --follow`), cancel it (`scancel {ids}`) and rerun, or rerun "
            "with --break-lock, which cancels it; finished units are kept"
        )
    cancel(submission.ids, submission.label)
    deadline = time.monotonic() + _CANCEL_S
    while rows := _alive(submission):
        if time.monotonic() > deadline:
            raise LockedError(
                f"{submission.out}: cancelled {sight.words}, but {rows[0].id} is still "
                f"{rows[0].state.lower()}; rerun when it is gone"
            )
        time.sleep(_POLL_S)
    return submission


def _alive(submission: Submission) -> list[Row]:
    rows = rows_of(submission.ids, submission.label)
    if rows is None:
        log.warning(
            "%s: Slurm does not answer, so its jobs may not be cancelled; a task that still runs stops "
            "before its next unit", submission.job,
        )  # fmt: skip
    return [row for row in rows or [] if row.state not in TERMINAL]


def with_submission(status: JobStatus, root: Path) -> JobStatus:
    """Add to a job's status what a submission has done so far; unchanged where there is none."""
    submission = unsettled(root)
    if submission is None or status.state == "running":  # somebody holds the lease, and settles it
        return status
    from hmtools.engine.state import failure_of

    outcomes = {unit: submission.outcome(unit) for unit in sorted(submission.ended())}
    results = [outcome for outcome in outcomes.values() if isinstance(outcome, Result)]
    failures = [
        failure_of(root, unit, outcome) for unit, outcome in outcomes.items() if isinstance(outcome, str)
    ]
    sight = look(submission)
    state: JobState = ("queued" if sight.queued else "running") if sight.open else "interrupted"
    return dataclasses.replace(
        status,
        state=state,
        slurm=sight.words,
        done=status.done + len(results),
        failed=status.failed + len(failures),
        failures=[*status.failures, *failures],
        records=status.records + sum(result.counts.get("records", 0) for result in results),
        rejected=status.rejected + sum(result.counts.get("rejected", 0) for result in results),
        seconds=status.seconds + max(0.0, time.time() - submission.since),
        left_s=_time_left(submission, outcomes) if sight.open else None,
    )


def _time_left(submission: Submission, ended: dict[str, Result | str | None]) -> float | None:
    """Seconds left at the speed since the first task began; None before the first unit ended."""
    units = submission.units
    begun = min((float(note["since"]) for note in submission.notes().values()), default=None)
    whole, part = sum(units.values()), sum(units.get(unit, 0) for unit in ended)
    share = part / whole if whole and part else len(ended) / len(units)
    return (time.time() - begun) * (1 / share - 1) if begun and share else None
