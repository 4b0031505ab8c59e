"""Jobs on a real Slurm cluster of two nodes, and what it takes to lose a unit there."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from hmtools.convert.run import convert
from hmtools.core.errors import LockedError, UsageError
from hmtools.engine import slurm_submit
from hmtools.engine.preflight import preflight_facts
from hmtools.engine.slurm_follow import follow
from hmtools.engine.slurm_store import task_name, unsettled
from hmtools.engine.state import job_status
from hmtools.synth import make_miniature
from tests.datasets.coco_tree import contents
from tests.engine.engine_units import finalised, go, log_of, make_job, runs, wait_for
from tests.slurm.cluster import Slurm
from tests.slurm.jobs import ROOT, hmtools, run, same_as_calm, submit, waiting

pytestmark = pytest.mark.xdist_group("slurm")


class TestDefault:
    def test_a_detached_conversion_writes_the_bytes_of_one_machine(
        self, slurm: Slurm, tmp_path: Path
    ) -> None:
        """Of one set; tests/engine/test_equality.py compares more, on all engines."""
        make_miniature("pw3d", tmp_path / "raw", 5, 2, 1, (240, 320), ("test",))
        (here,) = convert(
            "pw3d", root=tmp_path / "raw", out=tmp_path / "here", splits=["test"], workers=0, progress=False
        )
        options = ["--root", tmp_path / "raw", "--out", tmp_path / "there", "--split", "test"]
        code, text, errors = hmtools("convert", "pw3d", *options, "--engine", "slurm")
        assert code == 0, errors
        there = tmp_path / "there" / "pw3d" / "test"
        assert "pw3d/test   submitted" in text
        assert re.search(rf"Slurm jobs \d+ \d+; follow: hmtools jobs {there} --follow", text)
        code, text, errors = hmtools("jobs", tmp_path / "there", "--follow", "--json")
        assert code == 0, errors
        assert {job["out"]: job["state"] for job in json.loads(text)} == {str(there): "finished"}
        assert len([file for file in contents(there) if "-u" in file]) > 2
        assert contents(there) == contents(here.plan.task.out)
        assert markers(there) == markers(here.plan.task.out)
        code, text, errors = hmtools("convert", "pw3d", *options, "--engine", "slurm")
        assert (code, "pw3d/test   already done" in text) == (0, True), errors

    def test_bad_units_and_lost_tasks(self, slurm: Slurm, tmp_path: Path) -> None:
        """What raises, leaves or is cancelled has failed, with a reason, and nothing else has."""
        out, gate = tmp_path / "out", tmp_path / "gate"
        plan: list[dict[str, Any]] = [
            {}, {"do": "fall"}, {"do": "leave"}, {}, *waiting(gate), {"do": "slow", "seconds": 8},
            {"do": "say"}, {},
        ]  # fmt: skip
        submission = submit(make_job(out, plan), max_array=4)  # two units each
        task = task_name(submission, 2)
        wait_for(lambda: "u00004" in runs(out), 60)
        with pytest.raises(LockedError, match=f"Slurm job {submission.array}: .*scancel {submission.array}"):
            go(out, plan)
        slurm.run("scancel", task)
        wait_for(lambda: slurm.state(task) != "RUNNING")
        time.sleep(0.5)
        gate.touch()  # the running unit ends in time, and its task has still been cancelled
        code, text, errors = hmtools("jobs", out, "--follow")
        assert code == 1, errors
        assert f"u00005: Slurm task {task} on hm" in text
        assert "ValueError: a row with" in text
        assert "continue with: hmtools test --again" in text
        found = {failure.unit: failure.reason for failure in job_status(out).failures}
        lost = found.pop("u00005")
        assert re.search(rf"task {task} on hm\d ended \w+ this unit (ran|began): CANCELLED by 0", lost), lost
        assert found == {
            "u00001": "ValueError: a row with NaN",
            "u00002": "its worker process ended: exit code 7",
        }
        assert "from printf\n" in log_of(out, "u00006")
        assert "CANCELLED" in log_of(out, "u00005"), "the end of its task's log"
        assert slurm.state(task) == "CANCELLED", "a cancelled task is not brought back"
        again = run(make_job(out, [{}] * len(plan)))
        assert (again.ok, again.skipped, again.exit_code) == (True, 5, 0)
        same_as_calm(out, len(plan))

    def test_requeued_tasks_go_on(self, slurm: Slurm, tmp_path: Path) -> None:
        """By ``scontrol requeue`` a unit is lost; on SIGUSR2 the running one may end before."""
        out, gate = tmp_path / "out", tmp_path / "gate"
        submission = submit(make_job(out, [*waiting(gate), {}, *waiting(gate), {}]), max_array=2)
        wait_for(lambda: {"u00000", "u00002"} <= set(runs(out)), 60)
        slurm.run("scontrol", "requeue", task_name(submission, 0))
        slurm.run("scancel", "--signal=USR2", task_name(submission, 1))
        wait_for(lambda: slurm.state(task_name(submission, 0)) == "PENDING", 60)
        gate.touch()
        assert follow(submission, progress=False)
        assert (job_status(out).state, finalised(out)) == ("finished", 1)
        assert sorted(runs(out)) == ["u00000", "u00000", "u00001", "u00002", "u00003"]
        assert {submission.note(task)["restarts"] for task in (0, 1)} == {1}
        same_as_calm(out, 4)

    def test_without_driver_and_without_end_nothing_is_lost(self, slurm: Slurm, tmp_path: Path) -> None:
        """The driver is killed while it waits, and the job that ends the array is cancelled."""
        out, gate = tmp_path / "out", tmp_path / "gate"
        plan = [{}, *waiting(gate), {"do": "fall"}, {}]
        driver = subprocess.Popen(
            [sys.executable, "-m", "tests.slurm.drive", str(out), json.dumps(plan)], cwd=ROOT
        )
        wait_for(lambda: "u00001" in runs(out), 60)
        driver.kill()
        driver.wait()
        submission = unsettled(out / ".job")
        assert submission is not None
        slurm.run("scancel", str(submission.final))
        gate.touch()
        slurm.wait_for_end(f"{submission.array}")
        wait_for(lambda: job_status(out).state == "interrupted", 60)
        status = job_status(out)
        assert (status.done, status.failed) == (3, 1)
        again = run(make_job(out, [{}] * 4))
        assert (again.ok, again.skipped, finalised(out)) == (True, 3, 1)
        assert sorted(runs(out)) == ["u00000", "u00001", "u00002", "u00002", "u00003"]
        same_as_calm(out, 4)


def markers(out: Path) -> dict[str, Any]:
    """What the done markers say, times apart."""
    found = {path.name: json.loads(path.read_text()) for path in (out / ".job" / "done").iterdir()}
    return {name: {**value, "seconds": 0} for name, value in found.items()}


def meanwhile(do: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=do)
    thread.start()
    return thread


@pytest.mark.slow
def test_nodes_that_cannot_run_the_job(slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = preflight_facts
    monkeypatch.setattr(
        slurm_submit, "preflight_facts", lambda out: facts(out) | {"torch": "0.4", "node": "login"}
    )
    with pytest.raises(UsageError, match=r"hm\d: torch .*, expected 0.4 as on login"):
        run(make_job(tmp_path / "out", [{}, {}]))
    assert runs(tmp_path / "out") == []
    assert job_status(tmp_path / "out").failed == 2


@pytest.mark.slow
def test_what_slurm_refuses(slurm: Slurm, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match=r"Slurm refused the job: .*invalid partition.*hmtools config"):
        run(make_job(out, [{}, {}]), partition="nowhere")
    slurm.wait_until(lambda: not slurm.squeue())  # another test's last job may just be ending
    assert run(make_job(out, [{}, {}])).ok


@pytest.mark.slow
def test_set_up_lines_and_ctrl_c(slurm: Slurm, tmp_path: Path) -> None:
    out, gate = tmp_path / "out", tmp_path / "gate"
    thread = meanwhile(
        lambda: (wait_for(lambda: runs(out), 30), os.kill(os.getpid(), signal.SIGINT))  # type: ignore[func-returns-value]
    )
    lines: Sequence[str] = (f"echo set up > {tmp_path}/set-up", "export OMP_NUM_THREADS=1")
    outcome = run(make_job(out, waiting(gate)), setup=tuple(lines), timeout=60)
    thread.join()
    assert (outcome.exit_code, outcome.interrupted) == (130, True)
    assert len(outcome.submitted) == 2, "they go on"
    assert (tmp_path / "set-up").read_text() == "set up\n"
    assert job_status(out).state == "running"
    gate.touch()
    submission = unsettled(out / ".job")
    assert submission is not None
    assert follow(submission, progress=False)
    assert job_status(out).state == "finished"
