"""Run a job on this machine: a pool of worker processes, or inline for debugging.

The pool is our own because its workers must be expendable: one that is killed takes its unit with it and
nothing else, and none outlives the driver. Processes are spawned, not forked: what a unit computes must not
depend on what the driver happened to import, and forking a process with threads is unsafe.
"""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import multiprocessing.connection
import multiprocessing.resource_tracker
import os
import pickle
import signal
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import TracebackType

from hmtools.core.errors import HmtoolsError, UsageError
from hmtools.core.log import Progress
from hmtools.engine.drive import StopSignals, drive, settle
from hmtools.engine.job import Job, Outcome, Result
from hmtools.engine.run import Run
from hmtools.engine.worker import STOP_SIGNALS, WorkerSetup, attempt, bound, timed_out, worker_main

__all__ = ["Pool", "run_local", "usable_cores"]

_POLL_S = 0.2  # how soon a signal, a dead worker or a lost lease is seen
_EXIT_S = 5.0  # how long an idle worker may take to end by itself
_DEATHS_AT_START = 3

log = logging.getLogger(__name__)


def run_local(
    job: Job,
    *,
    workers: int | None = None,
    unit_timeout: int | None = None,
    overwrite: bool = False,
    break_lock: bool = False,
    progress: bool = True,
) -> Outcome:
    """Run a job here and return how it ended; units that are done already are skipped.

    Args:
        job: the job.
        workers: number of processes; None = one per usable core, 0 = inline in this process.
        unit_timeout: seconds after which a unit counts as failed and its worker is replaced; None = no limit.
            Inline units are not limited.
        overwrite: first remove the job's state and every file that ``job.owns`` matches.
        break_lock: take the lease even from a holder that looks alive.
        progress: show a bar on a terminal, else a line in the log every ten seconds.

    Returns:
        The outcome. Failing units do not raise; SIGINT, SIGTERM, SIGUSR1 and SIGUSR2 stop the run with
        ``interrupted`` set (handled only when called from the main thread).

    Raises:
        LockedError: if another live writer holds the job, or takes it in the meantime.
        UsageError: if the folder holds work made with other inputs or options.
        HmtoolsError: if worker processes cannot start.
        Exception: whatever ``job.finalise`` raises.
    """
    count = usable_cores() if workers is None else workers
    if count < 0:
        raise UsageError(f"the number of workers must be 0 (inline) or more, got {count}")
    run_units = _run_inline if count == 0 else partial(_run_pool, count, unit_timeout)
    return drive(job, run_units, overwrite=overwrite, break_lock=break_lock, progress=progress)


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _run_inline(run: Run, stop: StopSignals, bar: Progress) -> None:
    if not run.todo:
        return
    fn = bound(run.job.fn, run.job.setup)
    for unit in run.todo:
        run.lease.check()
        run.begin(unit)
        try:
            with stop.raising(), _logged(run.state.log_path(unit.id)):
                outcome = attempt(fn, unit)
        except KeyboardInterrupt:
            if not stop.received:
                raise
            return
        settle(run, bar, unit, outcome)


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Send logging, and nothing else, to ``path`` too; the file appears with the first message."""
    handler = logging.FileHandler(path, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        with contextlib.suppress(OSError):
            handler.close()


def _run_pool(count: int, unit_timeout: int | None, run: Run, stop: StopSignals, bar: Progress) -> None:
    queue, units = deque(run.todo), {unit.id: unit for unit in run.todo}
    with Pool(WorkerSetup.of(run.job, run.state.logs.absolute(), unit_timeout)) as pool:
        while (queue or pool.busy) and not stop.received:
            if run.lease.lost:
                run.lease.check()  # raises; leaving the block ends the workers
            pool.grow(min(count, len(queue) + pool.busy))
            while queue and (worker := pool.idle()):
                unit = queue.popleft()
                run.begin(unit)
                if not pool.give(worker, unit.id, pickle.dumps(unit)):
                    queue.appendleft(unit)
            for name, outcome in pool.poll(_POLL_S):
                settle(run, bar, units[name], outcome)
            bar.tick()


@dataclass(eq=False)
class _Worker:
    process: SpawnProcess
    connection: Connection
    ready: bool = False
    unit: str | None = None


class Pool:
    """Worker processes that get one unit at a time, by its id. Leaving the block ends them all."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._deaths_at_start = 0

    @property
    def busy(self) -> int:
        """How many workers have a unit."""
        return sum(worker.unit is not None for worker in self._workers)

    def idle(self) -> _Worker | None:
        """Return a worker that waits for a unit."""
        return next((worker for worker in self._workers if worker.ready and worker.unit is None), None)

    def grow(self, count: int) -> None:
        """Start workers until there are ``count``."""
        while len(self._workers) < count:
            ours, theirs = self._context.Pipe()
            process = self._context.Process(target=worker_main, args=(theirs, self._setup), daemon=True)
            with _stop_signals_blocked():
                process.start()
            theirs.close()  # so that the death of the worker is the end of the pipe
            self._workers.append(_Worker(process, ours))

    def give(self, worker: _Worker, unit: str, raw: bytes) -> bool:
        """Send a pickled unit to an idle worker; False if that one died while it was idle."""
        try:
            worker.connection.send((unit, raw))
        except OSError:
            self._bury(worker)
            return False
        worker.unit = unit
        return True

    def poll(self, timeout_s: float) -> Iterator[tuple[str, Result | str]]:
        """Wait for news for at most ``timeout_s``; yield units that ended, with result or reason.

        Raises:
            HmtoolsError: if workers cannot load the job's function, or do not start.
        """
        ready = multiprocessing.connection.wait([w.connection for w in self._workers], timeout_s)
        for worker in list(self._workers):
            if worker.connection in ready:
                try:
                    kind, text = worker.connection.recv()
                except (EOFError, OSError):  # the end of the pipe, also in the middle of a message
                    yield from self._died(worker)
                else:
                    yield from self._heard(worker, kind, text)
            elif worker.process.exitcode is not None and not worker.connection.poll():
                yield from self._died(worker)  # a process forked by the unit may hold the pipe open

    def _heard(self, worker: _Worker, kind: str, text: str) -> Iterator[tuple[str, Result | str]]:
        if kind == "broken":
            raise HmtoolsError(f"a worker process cannot load the job's function: {text}")
        unit, worker.unit = worker.unit, None
        if unit is None:
            worker.ready, self._deaths_at_start = True, 0
        else:
            yield unit, Result.from_json(json.loads(text)) if kind == "done" else text

    def _died(self, worker: _Worker) -> Iterator[tuple[str, Result | str]]:
        unit, how = worker.unit, self._bury(worker)
        if unit is not None and timed_out(self._setup.logs / f"{unit}.log"):
            yield unit, f"timed out after {self._setup.unit_timeout} s"
        elif unit is not None:
            yield unit, f"its worker process ended: {how}"
        elif not worker.ready:
            self._deaths_at_start += 1
            if self._deaths_at_start >= _DEATHS_AT_START:
                raise HmtoolsError(
                    f"{self._deaths_at_start} workers in a row ended before their first unit ({how}); "
                    f"their messages stand above. A script that runs a job must do so under "
                    f"if __name__ == '__main__':"
                )

    def _bury(self, worker: _Worker) -> str:
        """Forget a worker, after making sure that it is gone; return how it ended."""
        self._workers.remove(worker)
        worker.connection.close()
        worker.process.join(_EXIT_S)
        if worker.process.exitcode is None:
            worker.process.kill()
            worker.process.join()
        how = _describe_exit(worker.process.exitcode or 0)
        worker.process.close()
        return how

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            if worker.ready and worker.unit is None:
                worker.connection.close()  # it ends by itself
            else:
                worker.process.kill()
        for worker in list(self._workers):
            self._bury(worker)


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else "?"
    hint = "; the kernel does that when memory runs out" if -code == signal.SIGKILL else ""
    return f"killed by signal {-code} ({name}){hint}"


@contextlib.contextmanager
def _stop_signals_blocked() -> Iterator[None]:
    """Hold back stop signals while a worker starts, and in it: it unblocks them once it ignores them."""
    # Python's own helper process is started along with the first worker, and starting it unblocks signals.
    multiprocessing.resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
