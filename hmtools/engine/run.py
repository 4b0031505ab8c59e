"""One run of a job, whoever runs its units: what stands before (lease, fingerprint, resume) and after them.

Every engine does the same::

    with prepared(job) as run:
        for unit in run.todo:  # in any order, anywhere
            run.begin(unit)
            run.settle(unit, ...)  # its Result, or why it failed
        outcome = run.finish()

Markers are written here, in the driver, and never by a worker: the driver holds the lease and asks whether
it still does before each write, so a worker that outlives its driver can never mark a unit in somebody
else's run. The price is small: a unit whose driver died before recording it runs again and writes the same
bytes.
"""

from __future__ import annotations

import contextlib
import logging
import time
import traceback
from collections.abc import Iterator

from hmtools.engine.job import Job, Outcome, Result, Unit
from hmtools.engine.lease import Lease, acquire
from hmtools.engine.slurm_store import Submission
from hmtools.engine.slurm_watch import require_closed
from hmtools.engine.state import FINALISE, State, now, owned_files
from hmtools.engine.worker import one_line

__all__ = ["Run", "prepared"]

_TOUCH_S = 5.0  # how often job.json follows the work

log = logging.getLogger(__name__)


@contextlib.contextmanager
def prepared(
    job: Job, *, overwrite: bool = False, break_lock: bool = False, ends: Submission | None = None
) -> Iterator[Run]:
    """Take the job's lease, remove what dead writers left, compare the fingerprint, find what is left to do.

    Units that ended in a submission to Slurm, which itself came to no end, are taken as they ended there.

    Args:
        job: the job.
        overwrite: first remove its state and every file that ``job.owns`` matches.
        break_lock: take the lease even from a holder that looks alive, and cancel a submission.
        ends: the submission that this run brings to its end, and does not wait for.

    Raises:
        LockedError: if another live writer holds the lease, or takes it in the meantime, or if units of the
            job are queued or running on Slurm.
        UsageError: if the folder holds work with another fingerprint, or cannot be made.
        OSError: if state cannot be written.
    """
    state = State(job.out)
    state.create()
    with acquire(state.root, break_lock=break_lock) as lease:
        left = ends or require_closed(state.root, break_lock=break_lock)
        state.sweep()
        if overwrite:
            state.overwrite(job)
        state.claim_fingerprint(job)
        if left is not None:
            _take_results(state, left, overwrite=overwrite)
            if ends is None:
                left.settle(by="overwrite" if overwrite else "rerun")
        yield Run(job, state, lease, since=left.since if ends and left else None)


def _take_results(state: State, submission: Submission, *, overwrite: bool) -> None:
    """Mark the units that are done; those that failed are the caller's to run again or to report."""
    for unit in submission.ended() if not overwrite else ():
        outcome = submission.outcome(unit)
        if isinstance(outcome, Result) and not state.missing(outcome):
            state.write_done(outcome)


class Run:
    """A held job: ``todo`` are the units to run, ``results`` and ``failed`` what became of them."""

    def __init__(self, job: Job, state: State, lease: Lease, *, since: float | None = None) -> None:
        self.job = job
        self.state = state
        self.lease = lease
        self.results: dict[str, Result] = {}
        self.failed: dict[str, str] = {}
        self.todo: list[Unit] = []
        for unit in job.units:
            if (result := state.read_done(unit.id)) is None:
                self.todo.append(unit)
            else:
                self.results[unit.id] = result
        self.skipped = len(self.results)
        self._began = self._touched = time.monotonic()
        if since is not None:  # what this run brings to its end began earlier
            self._began -= max(0.0, time.time() - since)
        before = state.read_job()
        self._started = before.get("started") or now()
        self._seconds_before = float(before.get("seconds") or 0.0)
        if self.todo:
            state.invalidate()
        if not state.finalised:
            state.write_job(job, started=self._started, seconds=self._seconds_before)

    @property
    def seconds(self) -> float:
        """Wall time since this run began."""
        return time.monotonic() - self._began

    def begin(self, unit: Unit) -> None:
        """Say that a unit is about to run: how it ended before is forgotten."""
        self.state.clear(unit.id)

    def settle(self, unit: Unit, outcome: Result | str) -> None:
        """Record how a unit ended: its result, or the reason of its failure on one line.

        Raises:
            LockedError: if the lease was lost; nothing is written then.
        """
        self.lease.check()
        reason = outcome if isinstance(outcome, str) else self._record(outcome)
        if reason:
            self._fail(unit, reason)
        if time.monotonic() - self._touched > _TOUCH_S:
            self._touch()

    def _record(self, result: Result) -> str:
        """Mark a unit as done; return why that is not possible, or ""."""
        if problem := self.state.missing(result):
            return f"the unit reports files that are not as it says: {problem}"
        try:
            self.state.write_done(result)
        except OSError as error:
            return f"the unit is done, but that could not be recorded: {one_line(error)}"
        self.results[result.unit] = result
        return ""

    def _fail(self, unit: Unit, reason: str) -> None:
        try:
            self.state.write_failed(unit.id, unit.name, reason)
        except OSError as error:  # a full disk, say; the first reason is the one that counts
            reason = f"{reason}; and this failure could not be recorded: {one_line(error)}"
        self.failed[unit.id] = reason
        log.error("%s %s (%s) failed: %s", self.job.name, unit.id, unit.name, reason)

    def finish(self, *, interrupted: bool = False) -> Outcome:
        """Finalise the job if all its units are done and it is not final yet; return how the run ended.

        Raises:
            LockedError: if the lease was lost.
            Exception: whatever the job's ``finalise`` raises; the job then shows as failed, and a rerun
                finalises again.
        """
        self.lease.check()
        outcome = Outcome(
            results=[self.results[unit.id] for unit in self.job.units if unit.id in self.results],
            failed=dict(self.failed),
            skipped=self.skipped,
            interrupted=interrupted or len(self.results) + len(self.failed) < len(self.job.units),
        )
        self.state.sweep()  # what killed workers left may be large
        if not self.state.finalised:
            if outcome.ok:
                self._finalise(outcome.results)
            self._touch()
        outcome.seconds = self.seconds
        return outcome

    def _finalise(self, results: list[Result]) -> None:
        self.state.clear(FINALISE)
        before = self._owned()
        try:
            if self.job.finalise is not None:
                self.job.finalise(results)
            self.lease.check()
            written = [name for name, stamp in self._owned().items() if before.get(name) != stamp]
            self.state.write_finalised(written)
        except Exception as error:
            with contextlib.suppress(OSError):  # the error itself matters more than its record
                self.state.log_path(FINALISE).write_text(traceback.format_exc())
                self.state.write_failed(FINALISE, FINALISE, one_line(error))
            self._touch()
            raise

    def _owned(self) -> dict[str, tuple[int, int, int]]:
        """Return inode, time and size of each file the job owns, to see which ones finalise wrote."""
        stamps = {}
        for path in owned_files(self.job):
            stat = path.lstat()
            stamps[path.relative_to(self.job.out).as_posix()] = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        return stamps

    def _touch(self) -> None:
        """Bring ``job.json`` up to date; it only informs, so a failure is a warning."""
        self._touched = time.monotonic()
        try:
            self.state.write_job(self.job, started=self._started, seconds=self._seconds_before + self.seconds)
        except OSError as error:
            log.warning("cannot update %s: %s", self.state.root / "job.json", one_line(error))
