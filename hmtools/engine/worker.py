"""What a process does that runs units: one at a time, its output in the unit's log, gone with its parent."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import io
import json
import logging
import multiprocessing
import multiprocessing.connection
import os
import pickle
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hmtools.engine.job import Job, Result, Unit

__all__ = [
    "ONE_THREAD",
    "STOP_SIGNALS",
    "WorkerSetup",
    "attempt",
    "bound",
    "captured",
    "die_with_parent",
    "load",
    "log_to_stderr",
    "one_line",
    "run_unit",
    "timed_out",
    "worker_main",
]

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)

# Units run side by side, so a numerics library that starts a thread per core would only make them queue.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LAST_WORDS = 1 << 20  # bytes: the stacks of many threads take some room

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSetup:
    """What a worker is started with.

    Attributes:
        work: the job's function and set-up, pickled; the worker loads them itself, after its environment is
            set.
        logs: folder of the units' logs.
        level: level of the ``hmtools`` logger.
        unit_timeout: seconds that a unit may take; None = no limit.
    """

    work: bytes
    logs: Path
    level: int
    unit_timeout: int | None = None

    @classmethod
    def of(
        cls,
        job: Job,
        logs: Path,
        unit_timeout: int | None = None,
        dumps: Callable[[Any], bytes] = pickle.dumps,
    ) -> WorkerSetup:
        """Describe the workers of a job, with the level that logging has here."""
        return cls(
            work=dumps((job.fn, job.setup)),
            logs=logs,
            level=logging.getLogger("hmtools").getEffectiveLevel(),
            unit_timeout=unit_timeout,
        )


def load(setup: WorkerSetup) -> Callable[[Unit], Result]:
    """Load the job's function in a worker and run its set-up; raises whatever an import or a set-up can."""
    return bound(*pickle.loads(setup.work))  # noqa: S301 - written by our own driver


def bound(fn: Callable[..., Result], setup: Callable[[], Any] | None) -> Callable[[Unit], Result]:
    """Run the job's set-up, if it has one, and return its function with the value given to every call."""
    if setup is None:
        return fn
    value = setup()
    return lambda unit: fn(unit, value)


def run_unit(fn: Callable[[Unit], Result], name: str, raw: bytes, setup: WorkerSetup) -> tuple[str, str]:
    """Run a pickled unit in a worker process, its output in its log.

    A unit that takes longer than ``setup.unit_timeout`` ends the process, with all stacks in the log
    (:func:`timed_out` finds them there). No thread of Python's could do that while a C function holds the
    interpreter.

    Returns:
        ``("done", JSON of the result)`` or ``("failed", reason)``.
    """
    with captured(setup.logs / f"{name}.log"):
        if setup.unit_timeout is not None:
            faulthandler.dump_traceback_later(setup.unit_timeout, exit=True, file=2)
        try:
            unit: Unit = pickle.loads(raw)  # noqa: S301 - written by our own driver
            outcome = attempt(fn, unit)
        finally:
            faulthandler.cancel_dump_traceback_later()
    if isinstance(outcome, Result):
        return "done", json.dumps(outcome.to_json(), allow_nan=False)
    return "failed", outcome


def timed_out(log: Path) -> bool:
    """Whether the process that wrote this log ended because its unit took too long."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_WORDS))
            return re.search(rb"^Timeout \([0-9:.]+\)!$", file.read(), re.MULTILINE) is not None
    except OSError:
        return False


def attempt(fn: Callable[[Unit], Result], unit: Unit) -> Result | str:
    """Run one unit; return its result, or why it failed on one line (the traceback goes to logging)."""
    try:
        return _execute(fn, unit)
    except (Exception, SystemExit) as error:  # one failing unit never ends the others
        log.error("%s (%s) failed", unit.id, unit.name, exc_info=True)
        return one_line(error)


def one_line(error: BaseException) -> str:
    """Return type and message of an error on one line of at most 500 characters."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return text if len(text) <= 500 else f"{text[:497]}..."


def _execute(fn: Callable[[Unit], Result], unit: Unit) -> Result:
    """Run the unit and give its result the form it will have when it is read back from its marker."""
    began = time.monotonic()
    result = fn(unit)
    if not isinstance(result, Result) or result.unit != unit.id:
        raise TypeError(f"the function of {unit.id} has to return its Result, got {result!r:.200}")
    result = replace(result, seconds=result.seconds or round(time.monotonic() - began, 3))
    try:
        text = json.dumps(result.to_json(), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"the result of {unit.id} does not fit into JSON: {error}") from error
    return Result.from_json(json.loads(text))


@contextlib.contextmanager
def captured(path: Path) -> Iterator[None]:
    """Send file descriptors 1 and 2 (C libraries write there), and with them logging, to ``path``.

    A log that cannot be opened is no reason to fail a unit: the output then stays where it was.
    A log that stays empty is removed.
    """
    try:
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    except OSError as error:
        log.warning("cannot open the log %s: %s", path, error)
        yield
        return
    _flush()
    saved = os.dup(1), os.dup(2)
    os.dup2(target, 1)
    os.dup2(target, 2)
    try:
        yield
    finally:
        _flush()
        for number, before in zip((1, 2), saved, strict=True):
            os.dup2(before, number)
            os.close(before)
        empty = os.fstat(target).st_size == 0
        os.close(target)
        if empty:
            path.unlink(missing_ok=True)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # a full disk; the unit itself will say so
            stream.flush()
    ctypes.CDLL(None).fflush(None)  # printf of C libraries is buffered apart from Python's streams


def worker_main(connection: Connection, setup: WorkerSetup) -> None:
    """Serve units until the driver closes the connection.

    Protocol: ``("ready", "")`` once, or ``("broken", reason)`` when the function cannot be loaded or set
    up here; then for each ``(unit id, pickled unit)`` received one of ``("done", JSON of the result)`` and
    ``("failed", reason)``.
    """
    die_with_parent()
    # The driver alone decides what a signal means: a terminal or a cluster sends it to the whole group, and
    # a worker that followed it would look like a failed unit. The driver ends workers by SIGKILL.
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")
    log_to_stderr(setup.level)
    try:
        fn = load(setup)
    except Exception as error:  # noqa: BLE001 - whatever an import or a set-up can raise, the driver has to hear it
        connection.send(("broken", one_line(error)))
        return
    connection.send(("ready", ""))
    while True:
        try:
            name, raw = connection.recv()
        except EOFError:
            return
        connection.send(run_unit(fn, name, raw, setup))


def die_with_parent() -> None:
    """End this process when its parent is gone, also when that one was killed.

    The kernel's own signal works at once, even while a C library holds the interpreter; the thread does it
    where there is no such signal.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    threading.Thread(target=_watch, args=(parent.sentinel,), name="hmtools-watchdog", daemon=True).start()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent.pid:
            os._exit(1)  # it was gone before we asked


def _watch(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


def log_to_stderr(level: int) -> None:
    """Write logging, warnings and the stack of a crash to descriptor 2: a unit's log, most of the time."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # what was printed before a crash is in the log, too
    logging.basicConfig(format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", force=True)
    logging.getLogger("hmtools").setLevel(min(level, logging.INFO))
    logging.captureWarnings(True)
    faulthandler.enable()
