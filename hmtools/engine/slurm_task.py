"""What one task of the array does on its node: check it, run units one at a time, record how each ended.

Signals: Slurm announces the end of a task by SIGTERM (preemption, requeue, scancel) or SIGUSR2 (time limit).
The running unit may then end, for as long as there is probably time; the task asks to be requeued and waits
to be killed, because a task that returned would count as over. What it did is recorded, so that its next
start, and any start of a task that was finished already, runs only what is left.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import signal
import threading
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any

from hmtools.core.errors import HmtoolsError, UsageError
from hmtools.engine.drive import StopSignals
from hmtools.engine.job import Result
from hmtools.engine.lease import HEARTBEAT_S
from hmtools.engine.local import Pool
from hmtools.engine.preflight import preflight_facts, require_equal
from hmtools.engine.slurm_queue import requeue
from hmtools.engine.slurm_store import Submission, task_name
from hmtools.engine.worker import WorkerSetup, log_to_stderr, one_line

__all__ = ["STARTS", "give_way", "run_task"]

STARTS = 5
"""How often a unit is begun at most: one that takes longer than a task may would be requeued for ever."""

_POLL_S = 0.2
_GRACE_S = {signal.SIGTERM: 20.0, signal.SIGINT: 20.0}  # Slurm's KillWait is 30 s
_GRACE_BEFORE_LIMIT_S = 60.0  # announced 90 s ahead
_KILLED_S = 900.0  # within which Slurm kills what it requeues, or what is preempted
_REQUEUE_AGAIN_S = 5.0  # after which Slurm is asked again, then twice as long each time
_RECORD_S = 60.0  # how long to try to record outcomes when the disk is full

log = logging.getLogger(__name__)


def run_task(folder: str, index: int) -> None:
    """Run the units of task ``index`` of the submission in ``folder``.

    Raises:
        SystemExit: with 2 if this node cannot run the job, with 1 if the task was stopped or cannot work.
    """
    log_to_stderr(logging.INFO)
    submission = Submission.read(Path(folder))
    with StopSignals() as stop, _Note(submission, index) as note:
        if submission.taken:
            log.warning("this submission is settled already; nothing is run")
            return
        if why := _refusal(submission):
            log.error("%s", why)
            note.tell(refused=why)
            raise SystemExit(2)
        try:
            complete = _run_units(submission, index, note, stop)
        except (HmtoolsError, OSError) as error:
            log.exception("the task cannot work")
            note.tell(why=one_line(error))
            raise SystemExit(1) from error
        if not complete and not submission.taken:
            name = signal.Signals(stop.received).name
            note.tell(why=f"stopped by {name}")
            give_way(task_name(submission, index), name)


def give_way(job: str, why: str) -> None:
    """Ask for a requeue and wait to be killed.

    Raises:
        SystemExit: if that does not happen.
    """
    deadline, pause = time.monotonic() + _KILLED_S, _REQUEUE_AGAIN_S
    while trouble := requeue(job):
        log.warning("%s: not requeued: %s", why, trouble)
        if time.monotonic() + pause > deadline:
            break
        time.sleep(pause)  # a busy controller gives no answer now and then
        pause *= 2
    else:
        log.warning("%s: requeued %s", why, job)
    time.sleep(max(0.0, deadline - time.monotonic()))
    raise SystemExit(1)


def _refusal(submission: Submission) -> str:
    """Why this node cannot run the job ("" = it can)."""
    expected = json.loads(submission.facts_path.read_bytes())
    try:
        require_equal(expected, [preflight_facts(submission.out)])
    except UsageError as error:
        return str(error)
    return ""


def _run_units(submission: Submission, index: int, note: _Note, stop: StopSignals) -> bool:
    """Run what is left of the task; return whether that was all of it."""
    setup: WorkerSetup = pickle.loads(submission.work_path.read_bytes())  # noqa: S301 - by our own driver
    units: list[tuple[str, bytes]] = pickle.loads(submission.units_path(index).read_bytes())  # noqa: S301
    queue = deque((name, raw) for name, raw in units if submission.outcome(name) is None)
    unrecorded: dict[str, Result | str] = {}
    with Pool(setup) as pool:
        while queue or pool.busy:
            if submission.taken:
                log.warning("this submission was settled by somebody else; stopped")
                return True
            if stop.received:
                return _wait_for_unit(pool, submission, stop.received) and not queue
            pool.grow(1)
            while queue and (worker := pool.idle()):
                name, raw = queue.popleft()
                if times := note.begin(name):
                    unrecorded[name] = f"begun {times} times without an end; does it fit into slurm.time?"
                elif not pool.give(worker, name, raw):
                    queue.appendleft((name, raw))
            unrecorded |= dict(pool.poll(_POLL_S))
            _record(submission, unrecorded)
        deadline = time.monotonic() + _RECORD_S
        while unrecorded and not stop.received and time.monotonic() < deadline:
            time.sleep(1.0)
            _record(submission, unrecorded)
    return not unrecorded


def _wait_for_unit(pool: Pool, submission: Submission, received: int) -> bool:
    """Let the running unit end, if it does so soon; return whether it did."""
    grace = _GRACE_S.get(signal.Signals(received), _GRACE_BEFORE_LIMIT_S)
    deadline = time.monotonic() + grace
    while pool.busy and time.monotonic() < deadline:
        for name, outcome in pool.poll(_POLL_S):
            _record(submission, {name: outcome})
    return not pool.busy


def _record(submission: Submission, outcomes: dict[str, Result | str]) -> None:
    """Write outcomes, and take out those that are written: a full disk may have room again soon."""
    for name, outcome in list(outcomes.items()):
        try:
            submission.write_outcome(name, outcome)
        except OSError as error:
            if submission.taken:
                return
            log.warning("cannot record how %s ended: %s", name, one_line(error))
        else:
            del outcomes[name]


class _Note:
    """The task's sign of life, renewed by a thread; it outlives restarts of the task."""

    def __init__(self, submission: Submission, index: int) -> None:
        self._submission, self._index = submission, index
        before = submission.note(index)
        self._begun: dict[str, int] = before.get("begun", {})
        self._content: dict[str, Any] = {
            "node": os.environ.get("SLURMD_NODENAME", ""),
            "since": before.get("since", time.time()),
            "restarts": int(os.environ.get("SLURM_RESTART_COUNT", "0")),
            "begun": self._begun,
        }
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="hmtools-sign-of-life", daemon=True)

    def begin(self, unit: str) -> int:
        """Note that a unit is about to run; return 0, or how often it was begun if that is too often."""
        if (times := self._begun.get(unit, 0)) >= STARTS:
            return times
        self._begun.clear()  # those before it ended
        self._begun[unit] = times + 1
        self.tell(unit=unit)
        return 0

    def tell(self, **facts: Any) -> None:
        """Write the sign of life with these facts as well; it only informs, so a failure is a warning."""
        with self._lock:
            self._content |= {"heartbeat": time.time(), **facts}
            try:
                self._submission.write_note(self._index, self._content)
            except OSError as error:
                log.warning("cannot write a sign of life: %s", one_line(error))

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            self.tell()

    def __enter__(self) -> _Note:
        self.tell()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            self.tell(ended=True)
