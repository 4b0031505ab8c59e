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
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hmtools.convert.run import convert
from hmtools.core.errors import LockedError, UsageError
from hmtools.core.settings import Settings, load_settings
from hmtools.datasets import coco
from hmtools.engine import slurm_submit
from hmtools.engine.job import Job, Outcome
from hmtools.engine.launch import EngineChoice, run_job
from hmtools.engine.preflight import preflight_facts
from hmtools.engine.slurm_follow import follow
from hmtools.engine.slurm_store import Submission, task_name, unsettled
from hmtools.engine.state import job_status
from hmtools.synth import make_miniature
from tests.datasets.coco_tree import contents
from tests.engine.engine_units import finalised, go, log_of, make_job, outputs, runs, wait_for
from tests.slurm.cluster import Slurm

pytestmark = pytest.mark.xdist_group("slurm")

ROOT = Path(__file__).resolve().parents[2]
SETS: dict[str, dict[str, Any]] = {
    "mscoco": {"frames": 12, "splits": ("train2017",)},
    "pw3d": {"frames": 5, "splits": ("test",)},
}


def on_slurm(**slurm: Any) -> Settings:
    settings = load_settings()
    return replace(settings, engine="slurm", slurm=replace(settings.slurm, **slurm))


def run(job: Job, *, wait: bool = True, timeout: int | None = None, **slurm: Any) -> Outcome:
    engine = replace(EngineChoice.of(on_slurm(**slurm), wait=wait), unit_timeout=timeout)
    return run_job(job, engine, progress=False)


def submit(job: Job, **options: Any) -> Submission:
    """Submit a job and come back at once."""
    outcome = run(job, wait=False, **options)
    assert (outcome.exit_code, outcome.ok) == (0, False)
    submission = unsettled(job.out / ".job")
    assert submission is not None
    assert tuple(submission.ids) == outcome.submitted
    return submission


def hmtools(*arguments: object) -> tuple[int, str, str]:
    """Run the command line."""
    done = subprocess.run(
        [sys.executable, "-m", "hmtools", *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=120, cwd=ROOT,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def waiting(gate: Path, count: int = 1) -> list[dict[str, Any]]:
    return [{"do": "wait", "note": str(gate)}] * count


class TestDefault:
    def test_detached_conversions_write_the_bytes_of_one_machine(
        self, slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(coco, "IMAGES_PER_UNIT", 6)
        for name, made in SETS.items():
            make_miniature(name, tmp_path / name, made["frames"], 2, 1, (240, 320), made["splits"])
        here = {name: converted(tmp_path, name, load_settings(), workers=0) for name in SETS}
        out = tmp_path / "slurm"
        converted(tmp_path, "mscoco", on_slurm(max_array=2))
        options = ["--root", tmp_path / "pw3d", "--out", out, "--split", "test"]
        code, text, errors = hmtools("convert", "pw3d", *options, "--engine", "slurm")
        assert code == 0, errors
        assert "pw3d/test   submitted" in text
        assert re.search(rf"Slurm jobs \d+ \d+; follow: hmtools jobs {out}/pw3d/test --follow", text)
        code, text, errors = hmtools("jobs", out, "--follow", "--json")
        assert code == 0, errors
        found = {job["out"]: job["state"] for job in json.loads(text)}
        assert found == {
            str(out / name / split): "finished" for name, s in SETS.items() for split in s["splits"]
        }
        for name in SETS:
            for split, folder in here[name].items():
                there = out / name / split
                assert len([file for file in contents(folder) if "-u" in file]) > 2
                assert contents(there) == contents(folder)
                assert markers(there) == markers(folder)
        assert converted(tmp_path, "pw3d", on_slurm()) == {
            s: out / "pw3d" / s for s in SETS["pw3d"]["splits"]
        }

    def test_bad_units_and_lost_tasks(self, slurm: Slurm, tmp_path: Path) -> None:
        """What raises, leaves or is cancelled has failed, with a reason, and nothing else has."""
        out, gate = tmp_path / "out", tmp_path / "gate"
        plan: list[dict[str, Any]] = [
            {}, {"do": "fall"}, {"do": "leave"}, {}, *waiting(gate), {"do": "slow", "seconds": 8},
            {"do": "say"}, {},
        ]  # fmt: skip
        submission = submit(make_job(out, plan), max_array=4)  # two units each
        task = task_name(submission, 2)
        wait_for(lambda: "u00004" in runs(out), 30)
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
        go(tmp_path / "calm", [{}] * len(plan), 0)
        assert outputs(out) == outputs(tmp_path / "calm")
        assert not list(out.rglob(".*.tmp"))

    def test_requeued_tasks_go_on(self, slurm: Slurm, tmp_path: Path) -> None:
        """By ``scontrol requeue`` a unit is lost; on SIGUSR2 the running one may end before."""
        out, gate = tmp_path / "out", tmp_path / "gate"
        submission = submit(make_job(out, [*waiting(gate), {}, *waiting(gate), {}]), max_array=2)
        wait_for(lambda: {"u00000", "u00002"} <= set(runs(out)), 30)
        slurm.run("scontrol", "requeue", task_name(submission, 0))
        slurm.run("scancel", "--signal=USR2", task_name(submission, 1))
        wait_for(lambda: slurm.state(task_name(submission, 0)) == "PENDING", 30)
        gate.touch()
        assert follow(submission, progress=False)
        assert (job_status(out).state, finalised(out)) == ("finished", 1)
        assert sorted(runs(out)) == ["u00000", "u00000", "u00001", "u00002", "u00003"]
        assert {submission.note(task)["restarts"] for task in (0, 1)} == {1}

    def test_without_driver_and_without_end_nothing_is_lost(self, slurm: Slurm, tmp_path: Path) -> None:
        """The driver is killed while it waits, and the job that ends the array is cancelled."""
        out, gate = tmp_path / "out", tmp_path / "gate"
        plan = [{}, *waiting(gate), {"do": "fall"}, {}]
        driver = subprocess.Popen(
            [sys.executable, "-m", "tests.slurm.drive", str(out), json.dumps(plan)], cwd=ROOT
        )
        wait_for(lambda: "u00001" in runs(out), 30)
        driver.kill()
        driver.wait()
        submission = unsettled(out / ".job")
        assert submission is not None
        slurm.run("scancel", str(submission.final))
        gate.touch()
        slurm.wait_for_end(f"{submission.array}")
        wait_for(lambda: job_status(out).state == "interrupted", 30)
        status = job_status(out)
        assert (status.done, status.failed) == (3, 1)
        again = run(make_job(out, [{}] * 4))
        assert (again.ok, again.skipped, finalised(out)) == (True, 3, 1)
        assert sorted(runs(out)) == ["u00000", "u00001", "u00002", "u00002", "u00003"]


def converted(folder: Path, name: str, settings: Settings, workers: int | None = None) -> dict[str, Path]:
    """Convert a miniature; return the folder of each split."""
    reports = convert(
        name, root=folder / name, out=folder / settings.engine, splits=SETS[name]["splits"],
        settings=settings, workers=workers, progress=False,
    )  # fmt: skip
    assert [report.exit_code for report in reports] == [0] * len(SETS[name]["splits"])
    return {report.plan.task.split: report.plan.task.out for report in reports}


def markers(out: Path) -> dict[str, Any]:
    """What the done markers say, times apart."""
    found = {path.name: json.loads(path.read_text()) for path in (out / ".job" / "done").iterdir()}
    return {name: {**value, "seconds": 0} for name, value in found.items()}


def meanwhile(do: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=do)
    thread.start()
    return thread


@pytest.mark.slow
def test_preempted_tasks_go_on(slurm: Slurm, tmp_path: Path) -> None:
    out, gate = tmp_path / "out", tmp_path / "gate"
    submission = submit(make_job(out, [*waiting(gate), {}, *waiting(gate), {}]), max_array=2)
    wait_for(lambda: {"u00000", "u00002"} <= set(runs(out)), 30)
    urgent = slurm.sbatch("sleep 2", "--exclusive", "--nodes=2", f"--partition={slurm.urgent}")
    time.sleep(2)
    gate.touch()  # within the grace: what runs may end
    assert slurm.wait_for_end(urgent, timeout=60) == ["COMPLETED"]
    assert follow(submission, progress=False)
    assert (job_status(out).state, finalised(out)) == ("finished", 1)
    assert sorted(runs(out)) == ["u00000", "u00001", "u00002", "u00003"]
    assert {submission.note(task)["restarts"] for task in (0, 1)} == {1}


@pytest.mark.slow
def test_a_preempted_unit_that_does_not_end_runs_again(slurm: Slurm, tmp_path: Path) -> None:
    out, gate = tmp_path / "out", tmp_path / "gate"
    slurm.run("scontrol", "update", f"partitionname={slurm.partition}", "gracetime=0")
    try:
        submission = submit(make_job(out, [{}, *waiting(gate)]), max_array=1)
        wait_for(lambda: "u00001" in runs(out), 30)
        urgent = slurm.sbatch("true", "--exclusive", "--nodes=2", f"--partition={slurm.urgent}")
        assert slurm.wait_for_end(urgent, timeout=60) == ["COMPLETED"]
        gate.touch()
        assert follow(submission, progress=False)
    finally:
        slurm.run("scontrol", "update", f"partitionname={slurm.partition}", "gracetime=20")
    assert runs(out) == ["u00000", "u00001", "u00001"]
    assert job_status(out).state == "finished"


@pytest.mark.slow
def test_break_lock_cancels_and_keeps_what_is_done(slurm: Slurm, tmp_path: Path) -> None:
    out, gate = tmp_path / "out", tmp_path / "gate"
    submission = submit(make_job(out, [{}, *waiting(gate), {}]), max_array=1)
    wait_for(lambda: "u00001" in runs(out), 30)
    engine = EngineChoice.of(load_settings(), workers=1)
    outcome = run_job(make_job(out, [{}] * 3), engine, break_lock=True, progress=False)
    assert (outcome.ok, outcome.skipped) == (True, 1)
    assert slurm.state(str(submission.array)) == "CANCELLED"
    assert runs(out) == ["u00000", "u00001", "u00001", "u00002"]


@pytest.mark.slow
def test_a_full_disk_fails_one_unit(slurm: Slurm, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a small tmpfs here")
    plan: list[dict[str, Any]] = [{}, {"rows": 20_000}, {}]  # of 32 bytes
    try:
        outcome = run(make_job(disk / "out", plan), max_array=1)
        assert list(outcome.failed) == ["u00001"]
        assert "No space left on device" in outcome.failed["u00001"]
        subprocess.run(["mount", "-o", "remount,size=4000k", disk], check=True)
        assert run(make_job(disk / "out", plan)).skipped == 2
        go(tmp_path / "calm", plan, 0)
        assert outputs(disk / "out") == outputs(tmp_path / "calm")
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


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
    assert (tmp_path / "set-up").read_text() == "set up\n"
    assert job_status(out).state == "running"
    gate.touch()
    submission = unsettled(out / ".job")
    assert submission is not None
    assert follow(submission, progress=False)
    assert job_status(out).state == "finished"


@pytest.mark.slow
class TestWithoutAccounting:
    def test_a_cancelled_job_is_noticed(self, slurm_without_accounting: Slurm, tmp_path: Path) -> None:
        """Neither the array nor the job that ends it comes back; the states are the controller's."""
        out, gate = tmp_path / "out", tmp_path / "gate"
        submission = submit(make_job(out, [*waiting(gate), {}, {}]), max_array=1)
        wait_for(lambda: runs(out), 30)
        slurm_without_accounting.run("scancel", *map(str, submission.ids))
        began = time.monotonic()
        assert follow(submission, progress=False)
        assert time.monotonic() - began < 40
        status = job_status(out)
        assert (status.state, status.failed) == ("failed", 3)
        assert status.failures[0].reason.endswith("ended while this unit ran: CANCELLED")
        assert run(make_job(out, [{}] * 3)).ok

    def test_a_cluster_that_is_gone_leaves_the_files(
        self, slurm_without_accounting: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "out"
        submission = submit(make_job(out, [{}, {}]), max_array=1)
        wait_for(lambda: submission.taken, 60)
        submission = submit(make_job(tmp_path / "other", waiting(tmp_path / "gate")))
        wait_for(lambda: runs(tmp_path / "other"), 30)
        slurm_without_accounting.empty()
        monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))  # a host that has no Slurm
        assert job_status(out).state == "finished"
        assert "Slurm does not answer here" in job_status(tmp_path / "other").slurm
        with pytest.raises(LockedError, match="--break-lock"):
            go(tmp_path / "other", [{}])
        old = replace(submission, since=submission.since - 1e6)
        old.write()
        note = old.note(0)
        old.write_note(0, note | {"heartbeat": note["heartbeat"] - 1e6})
        assert go(tmp_path / "other", [{}]).ok
