"""Run a job on a Ray cluster: units as tasks, or in actors where a set-up is worth keeping.

The driver counts retries, not Ray: a unit whose worker or node was lost runs again a bounded number of
times, and the log says so; one that raised has failed. About twice as many units as fit are handed over, so
that no slot waits for the driver and Ray's queue stays short, however long the job.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import signal
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

from hmtools.core.errors import HmtoolsError, UsageError
from hmtools.core.log import Progress
from hmtools.core.settings import RaySettings
from hmtools.engine.drive import StopSignals, drive, settle
from hmtools.engine.job import Job, Outcome, Result, Unit
from hmtools.engine.ray_cluster import check_nodes, joined, needs_of, nodes_for
from hmtools.engine.run import Run
from hmtools.engine.worker import (
    ONE_THREAD,
    STOP_SIGNALS,
    WorkerSetup,
    load,
    log_to_stderr,
    one_line,
    run_unit,
    timed_out,
)

__all__ = ["ATTEMPTS", "run_ray"]

ATTEMPTS = 3
"""How often a unit runs at most when its workers or nodes are lost."""

_POLL_S = 0.2  # how soon a signal or a lost lease is seen
_LOOK_S = 2.0  # how often the size of the cluster is looked up
_CANCEL_S = 15.0  # how long to wait for cancelled units
_BROKEN_STARTS = 3

log = logging.getLogger(__name__)


def run_ray(
    job: Job,
    ray_settings: RaySettings,
    *,
    workers: int | None = None,
    unit_timeout: int | None = None,
    overwrite: bool = False,
    break_lock: bool = False,
    progress: bool = True,
) -> Outcome:
    """Run a job on a Ray cluster and return how it ended; units that are done already are skipped.

    Args:
        job: the job.
        ray_settings: the cluster to join (none: one is started here), and its runtime environment.
        workers: units that may run at once; None = as many as fit on the cluster.
        unit_timeout: seconds after which a unit counts as failed and its worker is replaced; None = no limit.
        overwrite: first remove the job's state and every file that ``job.owns`` matches.
        break_lock: take the lease even from a holder that looks alive.
        progress: show a bar on a terminal, else a line in the log every ten seconds.

    Returns:
        The outcome, as :func:`~hmtools.engine.local.run_local` does.

    Raises:
        UsageError: if the cluster cannot be joined, a node cannot run the job, or the folder holds work made
            with other inputs or options.
        LockedError: if another live writer holds the job, or takes it in the meantime.
        HmtoolsError: if workers cannot load the job's function.
        Exception: whatever ``job.finalise`` raises.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"the number of workers must be 1 or more on Ray, got {workers}")
    with joined(ray_settings, workers=workers):
        run_units = partial(_run_units, workers, unit_timeout)
        return drive(job, run_units, overwrite=overwrite, break_lock=break_lock, progress=progress)


def _run_units(
    workers: int | None, unit_timeout: int | None, run: Run, stop: StopSignals, bar: Progress
) -> None:
    if not run.todo:
        return
    needs = needs_of(run.job.resources)
    try:
        with stop.raising():  # it may wait for a node that does not answer
            check_nodes(run.job.out.absolute(), needs)
    except KeyboardInterrupt:
        if not stop.received:
            raise
        return
    setup = WorkerSetup.of(run.job, run.state.logs.absolute(), unit_timeout, _dumps)
    kind = _Tasks if run.job.setup is None else _Actors
    queue, losses = deque(run.todo), Counter[str]()
    with kind(setup, needs, workers) as pool:
        while (queue or pool.flying) and not stop.received:
            if run.lease.lost:
                run.lease.check()  # raises; leaving the block cancels what runs
            pool.look(len(queue))
            while queue and pool.room():
                unit = queue.popleft()
                run.begin(unit)
                pool.give(unit)
            for unit, outcome in pool.poll(_POLL_S):
                if isinstance(outcome, _Lost):
                    losses[unit.id] += 1
                    reason = _give_up(run, unit, outcome, losses[unit.id], unit_timeout)
                    if reason is None:
                        queue.appendleft(unit)
                        continue
                    outcome = reason
                settle(run, bar, unit, outcome)
            bar.tick()


@dataclass(frozen=True, slots=True)
class _Lost:
    """A unit came to no end: why."""

    why: str


def _give_up(run: Run, unit: Unit, lost: _Lost, times: int, unit_timeout: int | None) -> str | None:
    """Return why a lost unit has failed, or None when it shall run again."""
    if unit_timeout is not None and timed_out(run.state.log_path(unit.id)):
        return f"timed out after {unit_timeout} s"
    if times >= ATTEMPTS:
        return f"{lost.why}; it was run {times} times"
    log.warning("%s %s (%s) runs again: %s", run.job.name, unit.id, unit.name, lost.why)
    return None


# In the workers.


def _work(setup: WorkerSetup, name: str, raw: bytes) -> tuple[str, str]:
    """Run one unit, or with no name only get ready; every process loads the job's function once."""
    try:
        fn = _loaded(setup)
    except Exception as error:  # noqa: BLE001 - whatever an import or a set-up can raise
        return "broken", one_line(error)
    return run_unit(fn, name, raw, setup) if name else ("ready", "")


@functools.lru_cache(maxsize=1)
def _loaded(setup: WorkerSetup) -> Any:
    # A cluster may signal all processes of a job; the driver alone decides what that means. Ray's own handler
    # of SIGTERM would end the unit as if it had failed; where Ray means it, SIGKILL follows.
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    for variable in ONE_THREAD:
        os.environ.setdefault(variable, "1")
    log_to_stderr(setup.level)
    return load(setup)


class _Worker:
    """An actor: a process that keeps what the job's set-up loaded."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup

    def work(self, name: str, raw: bytes) -> tuple[str, str]:
        """Run one unit."""
        return _work(self._setup, name, raw)


# In the driver.


class _Size:
    """How many units fit on the cluster at once, looked up every few seconds."""

    def __init__(self, needs: Mapping[str, float], workers: int | None) -> None:
        self.workers = workers
        self.slots = 0
        self._needs = needs
        self._looked = -_LOOK_S

    @property
    def usable(self) -> int:
        """Units that may run at once; 1 also without any node: Ray keeps that one until a node comes."""
        return max(1, min(self.slots, self.workers or self.slots))

    def look(self) -> None:
        """Look the size up, if it is time to."""
        if time.monotonic() - self._looked < _LOOK_S:
            return
        self._looked = time.monotonic()
        before, self.slots = self.slots, sum(node.slots for node in nodes_for(self._needs))
        if before and not self.slots:
            log.warning("the Ray cluster has no node left for these units; waiting for one")


class _Tasks:
    """Units as tasks: any free slot of the cluster takes the next. Leaving the block ends them all."""

    def __init__(self, setup: WorkerSetup, needs: Mapping[str, float], workers: int | None) -> None:
        import ray

        self._size = _Size(needs, workers)
        self._setup = ray.put(setup)
        self._task = ray.remote(_work).options(max_retries=0, **_options(needs))
        self.flying: dict[Any, Unit] = {}

    def look(self, waiting: int) -> None:
        """See, now and then, how large the cluster is: nodes come and go."""
        self._size.look()

    def room(self) -> bool:
        """Whether one more unit may be handed over: one runs in each slot, and one waits if all are ours."""
        limited = self._size.workers is not None and self._size.workers < self._size.slots
        return len(self.flying) < self._size.usable * (1 if limited else 2)

    def give(self, unit: Unit) -> None:
        """Hand a unit over."""
        self.flying[self._task.remote(self._setup, unit.id, _dumps(unit))] = unit

    def poll(self, timeout_s: float) -> Iterator[tuple[Unit, Result | str | _Lost]]:
        """Wait for news for at most ``timeout_s``; yield units that ended, with result or reason."""
        for ref in _ended(self.flying, timeout_s):
            unit = self.flying.pop(ref)
            yield unit, _outcome(_heard(ref))

    def __enter__(self) -> _Tasks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import ray

        for ref in self.flying:
            ray.cancel(ref, force=True)
        _await_end(self.flying)


class _Actors:
    """Units in actors, one at a time each: a set-up runs once per actor. Leaving the block ends them all."""

    def __init__(self, setup: WorkerSetup, needs: Mapping[str, float], workers: int | None) -> None:
        import ray

        self._size = _Size(needs, workers)
        kind: Any = ray.remote(_Worker)
        self._kind = kind.options(max_restarts=0, **_options(needs))
        self._setup = ray.put(setup)
        self._actors: set[Any] = set()
        self._idle: deque[Any] = deque()
        self._starting: dict[Any, Any] = {}
        self._busy: dict[Any, Any] = {}
        self._deaths_at_start = 0
        self.flying: dict[Any, Unit] = {}

    def look(self, waiting: int) -> None:
        """Start actors until there are as many as fit, or as there are units for."""
        self._size.look()
        count = min(self._size.usable, waiting + len(self.flying))
        while len(self._actors) < count:
            actor = self._kind.remote(self._setup)
            self._actors.add(actor)
            self._starting[actor.work.remote("", b"")] = actor

    def room(self) -> bool:
        """Whether an actor waits for a unit."""
        return bool(self._idle)

    def give(self, unit: Unit) -> None:
        """Hand a unit to an actor that waits."""
        actor = self._idle.popleft()
        ref = actor.work.remote(unit.id, _dumps(unit))
        self.flying[ref], self._busy[ref] = unit, actor

    def poll(self, timeout_s: float) -> Iterator[tuple[Unit, Result | str | _Lost]]:
        """Wait for news for at most ``timeout_s``; yield units that ended, with result or reason."""
        for ref in _ended([*self._starting, *self.flying], timeout_s):
            answer = _heard(ref)
            if (actor := self._starting.pop(ref, None)) is not None:
                self._started(actor, answer)
                continue
            unit, actor = self.flying.pop(ref), self._busy.pop(ref)
            self._bury(actor) if isinstance(answer, _Lost) else self._idle.append(actor)
            yield unit, _outcome(answer)

    def _started(self, actor: Any, answer: tuple[str, str] | _Lost) -> None:
        if isinstance(answer, _Lost):
            self._deaths_at_start += 1
            self._bury(actor)
            if self._deaths_at_start >= _BROKEN_STARTS:
                raise HmtoolsError(f"{_BROKEN_STARTS} Ray workers in a row did not start: {answer.why}")
            return
        _outcome(answer)  # raises if it is broken
        self._deaths_at_start = 0
        self._idle.append(actor)

    def _bury(self, actor: Any) -> None:
        """Replace an actor; one that only seems gone is ended."""
        import ray

        self._actors.discard(actor)
        ray.kill(actor)

    def __enter__(self) -> _Actors:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import ray

        for actor in self._actors:
            ray.kill(actor)
        _await_end([*self._starting, *self.flying])


def _dumps(value: Any) -> bytes:
    """Pickle for the workers, with all that the driver's own script defines: they cannot import that."""
    from ray import cloudpickle

    return bytes(cloudpickle.dumps(value))  # type: ignore[no-untyped-call]


def _options(needs: Mapping[str, float]) -> dict[str, Any]:
    own = {name: count for name, count in needs.items() if name not in ("CPU", "GPU")}
    return {"num_cpus": needs["CPU"], "num_gpus": needs.get("GPU", 0.0), "resources": own}


def _ended(refs: Any, timeout_s: float) -> list[Any]:
    """The calls that came to an end, after waiting for one of them."""
    import ray

    refs = list(refs)
    if not refs:
        time.sleep(timeout_s)
        return []
    ready, others = ray.wait(refs, num_returns=1, timeout=timeout_s)
    if ready and others:
        ready += ray.wait(others, num_returns=len(others), timeout=0)[0]
    return ready


def _await_end(refs: Any) -> None:
    """Wait until what was cancelled is gone: nothing of ours may write once the lease is given back."""
    import ray

    if (refs := list(refs)) and ray.wait(refs, num_returns=len(refs), timeout=_CANCEL_S)[1]:
        log.warning("some cancelled units may still be running on the cluster")


def _heard(ref: Any) -> tuple[str, str] | _Lost:
    """What a call said, or why it came to no end."""
    import ray
    from ray import exceptions

    try:
        answer: tuple[str, str] = ray.get(ref)
    except exceptions.RuntimeEnvSetupError as error:
        raise UsageError(f"ray.runtime_env: the cluster cannot make it: {one_line(error)}") from error
    except exceptions.RayTaskError as error:  # our own code, not the unit's: that one is caught in the worker
        raise HmtoolsError(f"a Ray worker cannot run units: {one_line(error)}") from error
    except exceptions.OutOfMemoryError:
        return _Lost("memory ran out on its node, and Ray ended its worker")
    except exceptions.NodeDiedError:
        return _Lost("its node was lost")
    except exceptions.RayError as error:
        log.debug("%s", one_line(error))
        return _Lost("its worker process ended")
    return answer


def _outcome(answer: tuple[str, str] | _Lost) -> Result | str | _Lost:
    if isinstance(answer, _Lost):
        return answer
    kind, text = answer
    if kind == "broken":
        raise HmtoolsError(f"a Ray worker cannot load the job's function: {text}")
    return Result.from_json(json.loads(text)) if kind == "done" else text
