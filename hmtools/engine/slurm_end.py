"""The end of a submission: every unit is settled, then the job finalised, once, by whoever comes to it.

That is the job that Slurm runs after the array. Should it never run, ``hmtools jobs --follow`` and any rerun
find the same files and do the same.
"""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

from hmtools.core.errors import LockedError
from hmtools.core.log import Progress
from hmtools.engine.drive import StopSignals, drive, settle
from hmtools.engine.job import Job, Outcome, Result
from hmtools.engine.run import Run
from hmtools.engine.slurm_queue import TERMINAL, end_states, rows_of
from hmtools.engine.slurm_store import Submission, task_name
from hmtools.engine.slurm_task import give_way
from hmtools.engine.worker import log_to_stderr, one_line

__all__ = ["end_submission", "run_end"]

_PATIENCE_S = 600.0  # with whoever holds the lease (the driver that submits, say), and with a mute Slurm
_PAUSE_S = 1.0
_TAIL_BYTES = 4096

log = logging.getLogger(__name__)


def run_end(folder: str) -> None:
    """End the submission in ``folder``: the work of its last Slurm job.

    Raises:
        LockedError: if another writer holds the job for ten minutes.
        SystemExit: if Slurm ends this job before that is done.
        Exception: whatever the job's ``finalise`` raises.
    """
    log_to_stderr(logging.INFO)
    deadline = time.monotonic() + _PATIENCE_S
    with StopSignals() as stop:
        stopped = False
        while not (submission := Submission.read(Path(folder))).taken:
            left = _tasks_left(submission)
            if left:
                deadline = time.monotonic() + _PATIENCE_S
            try:
                if left is False or (left is None and time.monotonic() > deadline):
                    stopped = end_submission(submission).interrupted  # it has handlers of its own
            except LockedError:
                if time.monotonic() > deadline:
                    raise
            if stopped or stop.received:
                give_way(os.environ.get("SLURM_JOB_ID", ""), "stopped before the job was final")
            elif not submission.taken:
                time.sleep(_PAUSE_S)


def _tasks_left(submission: Submission) -> bool | None:
    """Whether a task without all outcomes is in the queue, as one may be that ended and was requeued then.

    None while Slurm, which can be asked here, gives no answer: its controller may be down for a minute.
    """
    if submission.array is None or submission.ended() >= submission.units.keys():
        return False
    rows = rows_of([submission.array], submission.label)
    if rows is None:
        return None if shutil.which("squeue") else False
    alive = [row for row in rows if row.state not in TERMINAL]
    if alive:
        log.info("waiting for %s, which is %s", alive[0].id, alive[0].state.lower())
    return bool(alive)


def end_submission(submission: Submission, *, by: str = "slurm") -> Outcome:
    """Take over all outcomes, say of units without one why, finalise if all are done.

    Args:
        submission: whose tasks are over.
        by: who does it, for ``settled.json``.

    Returns:
        The job's outcome; ``interrupted`` if a signal came: then nothing is settled.

    Raises:
        LockedError: if another live writer holds the job.
        Exception: whatever the job's ``finalise`` raises; the submission is settled, a rerun finalises.
    """
    job: Job = pickle.loads(submission.job_path.read_bytes())  # noqa: S301 - written by our own driver
    try:
        outcome = drive(job, partial(_settle_all, submission), ends=submission, progress=False)
    except LockedError:
        raise
    except Exception as error:
        submission.settle(by=by, error=one_line(error))
        raise
    if not outcome.interrupted:
        submission.settle(by=by, failed=len(outcome.failed), refused=_refused(submission))
    return outcome


def _refused(submission: Submission) -> str:
    """Why nodes did not run their tasks ("" = all did)."""
    return "\n".join(
        dict.fromkeys(note["refused"] for note in submission.notes().values() if note.get("refused"))
    )


def _settle_all(submission: Submission, run: Run, stop: StopSignals, bar: Progress) -> None:
    """Settle every unit that has no marker yet."""
    left = {unit.id: unit for unit in run.todo}
    lost = [unit for unit in left if submission.outcome(unit) is None]
    states = end_states(submission.array) if lost and submission.array else {}
    for index, task in enumerate(submission.tasks):
        note = submission.note(index)
        for name in task:
            if (unit := left.pop(name, None)) is None:
                continue
            if stop.received:
                return
            outcome: Result | str | None = submission.outcome(name)
            if outcome is None:
                outcome = _why_lost(submission, index, note, name, states.get(index, ""))
                _leave_log(submission, index, run.state.log_path(name))
            settle(run, bar, unit, outcome)
    for unit in left.values():  # done when it was submitted, and damaged since
        settle(run, bar, unit, "its output was damaged after it was done")


def _why_lost(submission: Submission, index: int, note: dict[str, Any], unit: str, state: str) -> str:
    """Why a unit has no outcome."""
    if refused := note.get("refused"):
        return " ".join(refused.split())
    task = f"Slurm task {task_name(submission, index)}"
    task += f" on {note['node']}" if note.get("node") else ""
    how = "; ".join(part for part in (state, note.get("why", "")) if part) or "without a result"
    if not note:
        return f"{task} ended before hmtools ran in it: {how}"
    when = "while this unit ran" if note.get("unit") == unit else "before this unit began"
    return f"{task} ended {when}: {how}"


def _leave_log(submission: Submission, index: int, path: Path) -> None:
    """Give a unit that said nothing the end of its task's log."""
    source = submission.log_of(index)
    if source is None or path.exists():
        return
    try:
        path.write_bytes(source.read_bytes()[-_TAIL_BYTES:])
    except OSError as error:
        log.warning("cannot copy %s: %s", source, one_line(error))
