"""Follow a submission until it is settled, and settle it if Slurm's own end of it never came."""

from __future__ import annotations

import logging
import time

from hmtools.core.log import Progress
from hmtools.engine.drive import StopSignals
from hmtools.engine.job import Result
from hmtools.engine.slurm_end import end_submission
from hmtools.engine.slurm_store import Submission
from hmtools.engine.slurm_watch import look

__all__ = ["follow"]

_POLL_S = 0.5
_LOOK_S = (2.0, 15.0)  # how often Slurm is asked: at first, and after some minutes
_SETTLES_S = 5.0  # files of another node may be seen late

log = logging.getLogger(__name__)


def follow(submission: Submission, *, progress: bool = True) -> bool:
    """Return True when the submission is settled, False when a stop signal ended the waiting.

    Raises:
        LockedError: if its end is ours to do and another writer holds the job.
        Exception: whatever the job's ``finalise`` raises when it is run here.
    """
    units = submission.units
    with (
        StopSignals() as stop,
        Progress(submission.job, units=len(units), records=sum(units.values()), enabled=progress) as bar,
    ):
        over = _watch(submission, units, stop, bar)
    if over and not submission.taken:
        log.warning("%s: its last Slurm job did not run; ending it here", submission.job)
        over = not end_submission(submission, by="follower").interrupted
    if not over:
        ids = " ".join(map(str, submission.ids))
        log.warning(
            "%s goes on as Slurm jobs %s; follow it: hmtools jobs %s --follow; cancel it: scancel %s",
            submission.job, ids, submission.out, ids,
        )  # fmt: skip
    return over


def _watch(submission: Submission, units: dict[str, int], stop: StopSignals, bar: Progress) -> bool:
    """Wait until it is settled, or nobody is left to do so."""
    began = asked = time.monotonic()
    closed_since: float | None = None
    shown: set[str] = set()
    while not submission.taken:
        if stop.received:
            return False
        for unit in sorted(submission.ended() - shown):
            shown.add(unit)
            _show(submission, unit, units.get(unit, 0), bar)
        now = time.monotonic()
        if now - asked >= _LOOK_S[now - began > 300]:
            asked, sight = now, look(submission)
            log.debug("%s", sight.words)
            closed_since = None if sight.open else closed_since or now
            if closed_since is not None and now - closed_since >= _SETTLES_S:
                return True
        bar.tick()
        time.sleep(_POLL_S)
    for unit in sorted(submission.ended() - shown):
        _show(submission, unit, units.get(unit, 0), bar)
    return True


def _show(submission: Submission, unit: str, expected: int, bar: Progress) -> None:
    outcome = submission.outcome(unit)
    bar.advance(
        expected=expected, records=outcome.counts.get("records", 0) if isinstance(outcome, Result) else 0
    )
