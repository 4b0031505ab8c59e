"""The processes of a run on this machine, by torch's elastic process API: one per GPU, or some on the CPU.

A stop signal to the launcher goes on to all of them, and they stop after the same step. When one dies, the
others cannot go on: they are ended, and its traceback is the error.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, PContext, start_processes

from hmtools.core.errors import HmtoolsError
from hmtools.core.log import setup_logging
from hmtools.engine.drive import StopSignals
from hmtools.engine.local import usable_cores
from hmtools.engine.worker import ONE_THREAD, STOP_SIGNALS, die_with_parent
from hmtools.train.ending import Ending
from hmtools.train.run_folder import RunFolder
from hmtools.train.worker import run_worker

__all__ = ["environment", "free_port", "run_local"]

_LOOK_S = 0.2
_GRACE_S = 10  # for processes to end when the launcher fails; after the death of one elastic waits 30 s

log = logging.getLogger(__name__)


def run_local(folder: Path, processes: int) -> Ending:
    """Run what is left of the run in ``folder``; returns when it is finished or was told to stop.

    Args:
        folder: of the run.
        processes: how many train; a single one is this one.

    Raises:
        HmtoolsError: that a process ended with, or with the traceback of the one that failed first.
        KeyboardInterrupt: when a stop signal came while the processes were starting.
    """
    if processes == 1:
        return run_worker(folder)
    port = free_port()
    threads = max(1, usable_cores() // processes)
    worlds = {rank: environment(rank, processes, rank, "127.0.0.1", port) for rank in range(processes)}
    level = logging.getLogger("hmtools").level
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what it says is in our error
    logging.getLogger("torch.multiprocessing").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="hmtools-train-") as logs, StopSignals() as stop:
        with _inherited(dict.fromkeys(ONE_THREAD, str(threads))), _own_handlers():
            running = start_processes(
                name="train",
                entrypoint=_entry,
                args={rank: (str(folder), level) for rank in worlds},
                envs=worlds,
                logs_specs=DefaultLogsSpecs(log_dir=logs),
                start_method="spawn",
            )
        try:
            return _wait(running, stop, RunFolder(folder))
        finally:
            running.close(signal.SIGTERM, timeout=_GRACE_S)


@contextlib.contextmanager
def _own_handlers() -> Iterator[None]:
    """Keep our signal handlers: elastic sets its own when it starts processes, and they raise."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in numbers}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def _inherited(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for processes that are started meanwhile.

    ``envs`` of elastic come too late for them: they are set after torch was loaded, which has counted the
    cores by then, and processes that each take all cores wait for one another most of the time.
    """
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def environment(rank: int, size: int, local_rank: int, address: str, port: int) -> dict[str, str]:
    """What :func:`hmtools.train.world.joined` wants to know, as ``torchrun`` would say it."""
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_RANK": str(local_rank),
        "MASTER_ADDR": address,
        "MASTER_PORT": str(port),
    }


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def _entry(folder: str, level: int) -> tuple[int, int, float]:
    die_with_parent()
    setup_logging()
    logging.getLogger("hmtools").setLevel(level if os.environ["RANK"] == "0" else logging.WARNING)
    ending = run_worker(Path(folder))
    return ending.step, ending.steps, ending.best


def _wait(running: PContext, stop: StopSignals, run: RunFolder) -> Ending:
    told = False
    while True:
        if stop.received and not told:
            told = True
            for pid in running.pids().values():
                with contextlib.suppress(ProcessLookupError):  # it may have ended in the meantime
                    os.kill(pid, signal.SIGTERM)
        result = running.wait(timeout=_LOOK_S, period=_LOOK_S)  # elastic looks once a second unless told
        if result is None:
            continue
        if result.is_failed():
            if (error := run.told()) is not None:
                raise error
            first = min(result.failures.values(), key=lambda failure: failure.timestamp)
            if stop.received and -first.exitcode in STOP_SIGNALS:  # it had not even begun
                raise KeyboardInterrupt
            raise HmtoolsError(
                f"process {first.local_rank} of the training ended with {first.exitcode}, so it stopped; the "
                f"same command goes on from the newest checkpoint. {_reason(first.message)}"
            )
        return Ending(*result.return_values[0])


def _reason(message: object) -> str:
    """What elastic's error file says: a text, or a mapping with the traceback."""
    if isinstance(message, dict):
        extra = message.get("extraInfo", {})
        return f"{message.get('message', '')}\n{extra.get('py_callstack', '')}".strip()
    return str(message)
