"""How local runs are stopped: killed drivers, signals, leases that others hold or take; all for real."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hmtools.core.errors import LockedError
from hmtools.engine import lease
from hmtools.engine.job import Result
from hmtools.engine.lease import acquire, process_start
from hmtools.engine.state import find_jobs, job_status
from tests.engine.engine_units import finalised, go, outputs, pids, runs, wait_for

ROOT = Path(__file__).resolve().parents[2]


class Driver:
    """A driver in a process of its own."""

    def __init__(self, out: Path, workers: int, plan: list[dict[str, Any]]) -> None:
        arguments = [
            sys.executable,
            "-m",
            "tests.engine.engine_units",
            str(out),
            str(workers),
            json.dumps(plan),
        ]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )

    def end(self) -> tuple[int, str, str]:
        text, errors = self.process.communicate(timeout=30)
        return self.process.returncode, text, errors


@pytest.fixture
def drive() -> Iterator[Callable[..., Driver]]:
    drivers: list[Driver] = []

    def start(out: Path, workers: int, plan: list[dict[str, Any]]) -> Driver:
        drivers.append(Driver(out, workers, plan))
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.process.kill()
        driver.process.communicate()


def test_killed_driver_leaves_nothing_running_and_the_rerun_needs_no_force(
    tmp_path: Path, drive: Callable[..., Driver]
) -> None:
    """At seeded points; the sum over all runs is what one undisturbed run makes."""
    plan: list[dict[str, Any]] = [{"do": "slow", "seconds": 0.04}] * 12
    go(tmp_path / "calm", plan, 0)
    out, seed = tmp_path / "out", random.Random(7)
    for kill in range(3):
        driver = drive(out, 2, plan)
        while len(list((out / ".job/done").glob("u*"))) < 2 + 3 * kill:
            time.sleep(0.005)
            assert driver.process.poll() is None
        time.sleep(seed.uniform(0, 0.05))
        workers = pids(out)
        assert workers
        driver.process.kill()
        wait_for(lambda: all(process_start(pid) is None for pid in pids(out)), seconds=2)
        driver.process.wait()
        assert job_status(out).state == "interrupted"
    assert not (out / "manifest.json").exists()
    code, text, errors = drive(out, 2, plan).end()
    assert code == 0, errors
    assert json.loads(text)["skipped"] >= 8
    assert outputs(out) == outputs(tmp_path / "calm")
    assert not list(out.rglob(".*.tmp"))
    assert job_status(out).state == "finished"


def test_worker_that_holds_the_interpreter_ends_with_its_driver(
    out: Path, drive: Callable[..., Driver]
) -> None:
    """No thread of Python's own could end a process that is inside a C function."""
    driver = drive(out, 1, [{"do": "hold"}])
    wait_for(lambda: runs(out))
    time.sleep(0.1)
    driver.process.kill()
    wait_for(lambda: all(process_start(pid) is None for pid in pids(out)), seconds=5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_signals_stop_the_driver_and_keep_the_state(
    out: Path, drive: Callable[..., Driver], number: signal.Signals
) -> None:
    workers = 0 if number == signal.SIGUSR2 else 1
    driver = drive(out, workers, [{}, {"do": "stuck"}, {}])
    wait_for(lambda: len(runs(out)) == 2)
    began = time.monotonic()
    driver.process.send_signal(number)
    code, text, errors = driver.end()
    assert time.monotonic() - began < 10, "it waited for the unit"
    assert code == 130, errors
    assert json.loads(text) == {"done": 1, "skipped": 0, "failed": {}}
    assert f"stopped by {number.name}; a rerun continues: hmtools test --again" in errors
    assert "Traceback" not in errors
    assert all(process_start(pid) is None for pid in pids(out))
    status = job_status(out)
    assert (status.state, status.done, status.failed, status.owner) == ("interrupted", 1, 0, None)
    assert not list(out.rglob(".*.tmp"))
    assert go(out, [{}] * 3, 0).skipped == 1


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.1])
def test_ctrl_c_in_a_terminal_reaches_workers_too_also_while_they_start(
    out: Path, drive: Callable[..., Driver], delay: float
) -> None:
    driver = drive(out, 2, [{"do": "stuck"}] * 2)
    wait_for(lambda: (out / ".job/job.json").exists())
    time.sleep(delay)
    os.killpg(driver.process.pid, signal.SIGINT)
    code, _, errors = driver.end()
    assert code == 130
    assert "Traceback" not in errors


def test_workers_ignore_the_signals_that_a_cluster_sends_to_all(out: Path) -> None:
    assert go(out, [{"do": "survive_signals"}], 1).ok


def test_ignored_signals_stay_ignored(out: Path) -> None:
    ignored = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        assert go(out, [{"do": "signal_driver"}], 0).ok
    finally:
        signal.signal(signal.SIGUSR2, ignored)


def test_signals_are_handled_as_before_afterwards(out: Path) -> None:
    def mine(*_: object) -> None:
        raise AssertionError

    before = signal.signal(signal.SIGUSR1, mine)
    ignored = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    others = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        assert go(out, [{"do": "survive_signals"}], 1).ok
        assert signal.getsignal(signal.SIGUSR1) is mine
        assert signal.getsignal(signal.SIGUSR2) is signal.SIG_IGN
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == others
    finally:
        signal.signal(signal.SIGUSR1, before)
        signal.signal(signal.SIGUSR2, ignored)


def interrupting(results: Any) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(30)


def test_signal_during_finalise(out: Path) -> None:
    outcome = go(out, [{}], 0, finalise=interrupting)
    assert (outcome.interrupted, len(outcome.results)) == (True, 1)
    status = job_status(out)
    assert (status.state, status.failures) == ("interrupted", [])
    assert go(out, [{}], 0).skipped == 1


def test_keyboard_interrupt_without_a_signal_is_passed_on(out: Path) -> None:
    def raises(unit: Any) -> Result:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(out, [{}], 0, fn=raises)
    assert go(out, [{}], 0).ok


def test_of_two_drivers_one_runs(out: Path, drive: Callable[..., Driver]) -> None:
    plan: list[dict[str, Any]] = [{"do": "slow", "seconds": 0.3}] * 3
    drivers = [drive(out, 1, plan) for _ in range(2)]
    ends = sorted((driver.end() for driver in drivers), key=lambda end: end[0])
    assert [code for code, _, _ in ends] == [0, 1]
    assert "LockedError" in ends[1][2]
    assert sorted(runs(out)) == ["u00000", "u00001", "u00002"]
    assert finalised(out) == 1


def test_live_lease_is_refused_and_seen_from_outside(out: Path, drive: Callable[..., Driver]) -> None:
    driver = drive(out, 1, [{"do": "stuck"}])
    wait_for(lambda: runs(out))
    with pytest.raises(LockedError, match=f"pid {driver.process.pid}.*--break-lock"):
        go(out, [{}], 0)
    (status,) = find_jobs(out.parent)
    assert status.state == "running"
    assert status.owner is not None
    assert status.owner.pid == driver.process.pid


@pytest.mark.parametrize("workers", [0, 1])
def test_driver_stops_when_its_lease_is_broken(
    out: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_S", 0.05)
    seconds = 0.3 if workers == 0 else 30

    def steal() -> None:
        wait_for(lambda: runs(out))
        with acquire(out / ".job", break_lock=True):
            wait_for(stopped.is_set)

    stopped, thief = threading.Event(), threading.Thread(target=steal)
    thief.start()
    try:
        with pytest.raises(LockedError, match="was taken by"):
            go(out, [{"do": "slow", "seconds": seconds}, {}], workers)
    finally:
        stopped.set()
        thief.join()
    assert runs(out) == ["u00000"]
    assert not list((out / ".job/done").iterdir())
    assert workers == 0 or all(process_start(pid) is None for pid in pids(out))
