"""What every engine's driver does around its units: stop signals, the held job, progress, the end.

::

    def run_units(run, stop, bar):
        for unit in run.todo:  # in any order, anywhere; ends early when stop.received
            run.begin(unit)
            settle(run, bar, unit, ...)

    outcome = drive(job, run_units)
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

from hmtools.core.log import Progress
from hmtools.engine.job import Job, Outcome, Result, Unit
from hmtools.engine.run import Run, prepared
from hmtools.engine.slurm_store import Submission
from hmtools.engine.worker import STOP_SIGNALS

__all__ = ["StopSignals", "drive", "settle"]

log = logging.getLogger(__name__)


def drive(
    job: Job,
    run_units: Callable[[Run, StopSignals, Progress], None],
    *,
    overwrite: bool = False,
    break_lock: bool = False,
    progress: bool = True,
    ends: Submission | None = None,
) -> Outcome:
    """Hold a job while ``run_units`` runs what is left of it, and finish it.

    Args:
        job: the job.
        run_units: begins and settles every unit of ``run.todo``; returns early, with nothing running any
            more, once ``stop.received`` is set.
        overwrite: first remove the job's state and every file that ``job.owns`` matches.
        break_lock: take the lease even from a holder that looks alive.
        progress: show a bar on a terminal, else a line in the log every ten seconds.
        ends: see :func:`~hmtools.engine.run.prepared`.

    Returns:
        The outcome; ``interrupted`` when a stop signal came (handled only in the main thread).

    Raises:
        LockedError: if another live writer holds the job, or takes it in the meantime.
        UsageError: if the folder holds work made with other inputs or options.
        Exception: whatever ``run_units`` and ``job.finalise`` raise.
    """
    holding = prepared(job, overwrite=overwrite, break_lock=break_lock, ends=ends)
    with StopSignals() as stop, holding as run:
        expected = sum(unit.expected for unit in run.todo)
        with Progress(job.name, units=len(run.todo), records=expected, enabled=progress) as bar:
            run_units(run, stop, bar)
        if not stop.received:
            try:
                with stop.raising():
                    return run.finish()
            except KeyboardInterrupt:
                if not stop.received:
                    raise
        name = signal.Signals(stop.received).name
        log.warning("%s: stopped by %s; a rerun continues: %s", job.name, name, job.command or "same call")
        return run.finish(interrupted=True)


def settle(run: Run, bar: Progress, unit: Unit, outcome: Result | str) -> None:
    """Record how a unit ended, and show it."""
    run.settle(unit, outcome)
    result = run.results.get(unit.id)
    bar.advance(expected=unit.expected, records=result.counts.get("records", 0) if result else 0)


class StopSignals:
    """Notes the first stop signal in ``received`` (0 = none) while the block runs, then restores handlers.

    Signals that were ignored before (``nohup``, shells' background jobs) stay so.
    """

    def __init__(self) -> None:
        self.received = 0
        self._raise = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or number
        if self._raise:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def raising(self) -> Iterator[None]:
        """While the block runs, a stop signal (also one that came before) raises KeyboardInterrupt in it."""
        self._raise = True
        try:
            if self.received:
                raise KeyboardInterrupt
            yield
        finally:
            self._raise = False
