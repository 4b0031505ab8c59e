"""Jobs on a real Ray cluster of two nodes, and what it takes to lose a unit."""

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
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hmtools.convert.run import convert
from hmtools.core.errors import HmtoolsError
from hmtools.core.settings import RaySettings, load_settings
from hmtools.datasets import coco
from hmtools.engine import ray_units
from hmtools.engine.job import Result, Unit
from hmtools.engine.lease import process_start
from hmtools.engine.state import job_status
from hmtools.synth import make_miniature
from tests.datasets.coco_tree import contents
from tests.engine.engine_units import (
    finalised,
    go,
    loading_job,
    loads,
    log_of,
    make_job,
    no_model,
    outputs,
    pids,
    runs,
    wait_for,
    where,
)
from tests.engine.ray_cluster import TwoNodes

# One cluster per process: with `pytest -n N --dist loadgroup` all of these run in the same one.
pytestmark = pytest.mark.xdist_group("ray")

ROOT = Path(__file__).resolve().parents[2]
SETS: dict[str, dict[str, Any]] = {
    "mscoco": {"frames": 12, "splits": ("train2017", "val2017")},
    "pw3d": {"frames": 5, "splits": ("train", "test")},
}


class Meanwhile:
    """Something that a thread does while a job runs here; what it raises is raised at the end."""

    def __init__(self, do: Callable[[], object]) -> None:
        self._do = do
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self._do()
        except BaseException as error:  # noqa: BLE001 - told by __exit__
            self._error = error

    def __enter__(self) -> Meanwhile:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error


class TestDefault:
    def test_two_nodes_write_the_bytes_of_one_machine(
        self, two_nodes: TwoNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(coco, "IMAGES_PER_UNIT", 3)
        for name in SETS:
            check_equality(two_nodes, tmp_path / name, name)

    def test_lost_workers_and_bad_units(self, two_nodes: TwoNodes, tmp_path: Path) -> None:
        """A killed worker costs its unit a second run; a unit that raises or hangs has failed, once."""
        out, gate = tmp_path / "out", tmp_path / "gate"
        plan: list[dict[str, Any]] = [
            {}, {"do": "wait", "note": str(gate)}, {"do": "fall"}, {"do": "say"}, {"do": "hold"},
            {"do": "survive_signals"}, {"do": "ask_setup"}, {},
        ]  # fmt: skip
        go(tmp_path / "calm", [{}] * len(plan), 0)

        def kill() -> None:
            wait_for(lambda: where(out, "u00001")[0], 60)
            os.kill(where(out, "u00001")[0], signal.SIGKILL)
            gate.touch()

        with Meanwhile(kill):
            outcome = two_nodes.run(make_job(out, plan), unit_timeout=4)
        assert outcome.failed == {"u00002": "ValueError: a row with NaN", "u00004": "timed out after 4 s"}
        assert sorted(runs(out)) == sorted([*(f"u{i:05d}" for i in range(8)), "u00001"])
        assert (outcome.exit_code, len(outcome.results), finalised(out)) == (1, 6, 0)
        assert "in hold" in log_of(out, "u00004")
        for way in ("print", "stderr", "descriptor 2", "printf", "logging"):
            assert log_of(out, "u00003").count(f"from {way}\n") == 1
        assert log_of(out, "u00006").startswith("threads 1\n")
        status = job_status(out)
        assert [(f.unit, f.reason) for f in status.failures] == sorted(outcome.failed.items())
        assert status.command == "hmtools test --again"
        again = two_nodes.run(make_job(out, [{}] * len(plan)))
        assert (again.ok, again.skipped, sorted(runs(out)[9:])) == (True, 6, ["u00002", "u00004"])
        assert outputs(out) == outputs(tmp_path / "calm")
        assert not list(out.rglob(".*.tmp"))

    def test_a_lost_node_loses_its_running_units_only(self, two_nodes: TwoNodes, tmp_path: Path) -> None:
        out, gate = tmp_path / "out", tmp_path / "gate"
        plan: list[dict[str, Any]] = [{"do": "wait", "note": str(gate)}] * 3 + [{}] * 4
        with two_nodes.third(third=1) as node:

            def lose() -> None:
                wait_for(lambda: len({where(out, f"u{i:05d}")[1] for i in range(3)} - {0}) == 3, 60)
                two_nodes.lose(node)
                gate.touch()

            with Meanwhile(lose):
                outcome = two_nodes.run(make_job(out, plan))
        assert outcome.ok, outcome.failed
        again = [unit for unit in set(runs(out)) if runs(out).count(unit) > 1]
        assert len(runs(out)) == 8, "one of three units was lost, and no unit twice"
        assert again[0] in ("u00000", "u00001", "u00002")
        go(tmp_path / "calm", [{}] * 7, 0)
        assert outputs(out) == outputs(tmp_path / "calm")

    def test_a_set_up_runs_once_per_actor(self, two_nodes: TwoNodes, tmp_path: Path) -> None:
        """The resource stands for a GPU: one on each node."""
        out = tmp_path / "out"
        job = loading_job(out, [{"do": "slow"}] * 5 + [{"do": "die"}, {"do": "fall"}], resources={"place": 1})
        outcome = two_nodes.run(job)
        assert outcome.failed == {
            "u00005": "its worker process ended; it was run 3 times",
            "u00006": "ValueError: a row with NaN",
        }
        deaths = 3
        assert len(set(loads(out))) == len(loads(out)), "each process once"
        assert 2 <= len(loads(out)) <= 2 + deaths
        assert set(pids(out)) <= set(loads(out))
        wait_for(lambda: all(process_start(pid) is None for pid in loads(out)))
        go(tmp_path / "calm", [{}] * 7, 0)
        assert two_nodes.run(loading_job(out, [{}] * 7, resources={"place": 1})).skipped == 5
        assert outputs(out) == outputs(tmp_path / "calm")


def check_equality(two_nodes: TwoNodes, tmp_path: Path, name: str) -> None:
    """Convert a miniature here and on the cluster and compare every file."""
    splits = SETS[name]["splits"]
    make_miniature(name, tmp_path / "raw", SETS[name]["frames"], 2, 1, (240, 320), splits)
    ray = replace(load_settings(), engine="ray", ray=RaySettings(address=two_nodes.address, runtime_env={}))
    here, there = (
        {
            report.plan.task.split: (contents(report.plan.task.out), report.outcome)
            for report in convert(
                name, root=tmp_path / "raw", out=tmp_path / f"out {settings.engine}", workers=workers,
                splits=splits, settings=settings, progress=False,
            )
        }
        for settings, workers in ((load_settings(), 0), (ray, None))
    )  # fmt: skip
    assert set(here) == set(there) == set(splits)
    for split, (files, outcome) in here.items():
        assert outcome.ok
        assert len([file for file in files if "-u" in file]) > 2
        assert {"index.arrow", *(["tracks.arrow"] if name == "pw3d" else [])} <= set(files)
        assert there[split][0] == files


@pytest.mark.slow
def test_both_nodes_work_and_few_units_are_under_way(
    two_nodes: TwoNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, most = tmp_path / "out", []
    give = ray_units._Tasks.give

    def counting(self: Any, unit: Unit) -> None:
        give(self, unit)
        most.append(len(self.flying))

    monkeypatch.setattr(ray_units._Tasks, "give", counting)
    assert two_nodes.run(make_job(out, [{"do": "slow"}] * 24)).ok
    assert max(most) == 4, "twice the processors of the cluster"
    assert len({where(out, f"u{i:05d}")[1] for i in range(24)}) == 2, "workers of two nodes"
    most.clear()
    note = tmp_path / "one"
    assert two_nodes.run(make_job(note, [{"do": "slow"}] * 6), workers=1).ok
    assert max(most) == 1


@pytest.mark.slow
def test_a_worker_that_always_dies_ends_in_a_reason(two_nodes: TwoNodes, tmp_path: Path) -> None:
    out = tmp_path / "out"
    outcome = two_nodes.run(make_job(out, [{}, {"do": "die"}, {"do": "leave"}, {"do": "crash"}]))
    assert list(outcome.failed) == ["u00001", "u00002", "u00003"]
    assert set(outcome.failed.values()) == {"its worker process ended; it was run 3 times"}
    assert [runs(out).count(f"u{i:05d}") for i in range(4)] == [1, 3, 3, 3]
    assert "last words" in log_of(out, "u00001")
    assert "Segmentation fault" in log_of(out, "u00003")


@pytest.mark.slow
def test_work_that_cannot_be_loaded(two_nodes: TwoNodes, tmp_path: Path) -> None:
    with pytest.raises(HmtoolsError, match="cannot load the job's function: FileNotFoundError: no such ch"):
        two_nodes.run(loading_job(tmp_path / "out", [{}], setup=no_model))
    assert job_status(tmp_path / "out").owner is None


@pytest.mark.slow
def test_an_actor_that_dies_while_it_starts(two_nodes: TwoNodes, tmp_path: Path) -> None:
    with pytest.raises(HmtoolsError, match="3 Ray workers in a row"):
        two_nodes.run(loading_job(tmp_path / "out", [{}], setup=os.abort))


@pytest.mark.slow
def test_actors_time_out_too(two_nodes: TwoNodes, tmp_path: Path) -> None:
    out = tmp_path / "out"
    outcome = two_nodes.run(loading_job(out, [{"do": "stuck"}, {}, {}]), unit_timeout=2)
    assert outcome.failed == {"u00000": "timed out after 2 s"}


@pytest.mark.slow
def test_a_full_disk_fails_one_unit(two_nodes: TwoNodes, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    plan: list[dict[str, Any]] = [{}, {"rows": 20_000}, {}]  # of 32 bytes
    try:
        outcome = two_nodes.run(make_job(disk / "out", plan))
        assert list(outcome.failed) == ["u00001"]
        assert "No space left on device" in outcome.failed["u00001"]
        subprocess.run(["mount", "-o", "remount,size=4000k", disk], check=True)
        assert two_nodes.run(make_job(disk / "out", plan)).skipped == 2
        go(tmp_path / "calm", plan, 0)
        assert outputs(disk / "out") == outputs(tmp_path / "calm")
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


class Driver:
    """A driver of its own process that joins the cluster, or with no address starts one."""

    def __init__(self, out: Path, plan: list[dict[str, Any]], address: str) -> None:
        arguments = ["-m", "tests.engine.engine_units", str(out), "2", json.dumps(plan), address]
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True,
        )  # fmt: skip

    def end(self) -> tuple[int, str, str]:
        text, errors = self.process.communicate(timeout=60)
        return self.process.returncode, text, errors


@pytest.fixture
def drive() -> Iterator[Callable[..., Driver]]:
    drivers: list[Driver] = []

    def start(*arguments: Any) -> Driver:
        drivers.append(Driver(*arguments))
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.process.kill()
        driver.process.communicate()


@pytest.mark.slow
def test_killed_driver_leaves_nothing_running_and_the_rerun_needs_no_force(
    two_nodes: TwoNodes, tmp_path: Path, drive: Callable[..., Driver]
) -> None:
    plan: list[dict[str, Any]] = [{"do": "slow", "seconds": 0.1}] * 16
    out, seed = tmp_path / "out", random.Random(3)
    for kill in range(2):
        driver = drive(out, plan, two_nodes.address)
        wait_for(lambda: len(list((out / ".job/done").glob("u*"))) >= 3 + 4 * kill, 60)  # noqa: B023
        time.sleep(seed.uniform(0, 0.1))
        driver.process.kill()
        driver.process.wait()
        wait_for(lambda: all(process_start(pid) is None for pid in pids(out)), 20)
        assert job_status(out).state == "interrupted"
    code, text, errors = drive(out, plan, two_nodes.address).end()
    assert code == 0, errors
    assert json.loads(text)["skipped"] >= 7
    go(tmp_path / "calm", [{}] * 16, 0)
    assert outputs(out) == outputs(tmp_path / "calm")
    assert not list(out.rglob(".*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_signals_stop_the_driver_and_keep_the_state(
    two_nodes: TwoNodes, tmp_path: Path, drive: Callable[..., Driver], number: signal.Signals
) -> None:
    out = tmp_path / "out"
    driver = drive(out, [{}, {"do": "stuck"}, {"do": "hold"}, {}], two_nodes.address)
    wait_for(lambda: len(runs(out)) == 3, 60)
    time.sleep(0.2)
    began = time.monotonic()
    driver.process.send_signal(number)
    code, text, errors = driver.end()
    assert time.monotonic() - began < 10, "it waited for units that were not cancelled"
    assert code == 130, errors
    assert json.loads(text) == {"done": 1, "skipped": 0, "failed": {}}
    assert f"stopped by {number.name}; a rerun continues: hmtools test --again" in errors
    assert "Traceback" not in errors
    wait_for(lambda: all(process_start(pid) is None for pid in pids(out)), 10)
    status = job_status(out)
    assert (status.state, status.done, status.failed, status.owner) == ("interrupted", 1, 0, None)
    assert two_nodes.run(make_job(out, [{}] * 4)).skipped == 1


def unused(unit: Unit) -> Result:
    raise AssertionError


@pytest.mark.slow
def test_nothing_to_do_needs_no_worker(two_nodes: TwoNodes, tmp_path: Path) -> None:
    go(tmp_path / "out", [{}], 0)
    assert two_nodes.run(make_job(tmp_path / "out", [{}], fn=unused, setup=no_model)).skipped == 1
