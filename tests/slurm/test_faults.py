"""What may happen to a job on Slurm, for real; a rerun always ends with the bytes of a calm day."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hmtools.core.errors import LockedError
from hmtools.core.settings import load_settings
from hmtools.engine.launch import EngineChoice, run_job
from hmtools.engine.slurm_follow import follow
from hmtools.engine.state import job_status
from tests.engine.engine_units import COMMAND, finalised, go, log_of, make_job, outputs, runs, wait_for
from tests.slurm.cluster import Slurm
from tests.slurm.jobs import ROOT, run, same_as_calm, submit, waiting

pytestmark = [pytest.mark.xdist_group("slurm"), pytest.mark.slow]


def test_preempted_tasks_go_on(slurm: Slurm, tmp_path: Path) -> None:
    out, gate = tmp_path / "out", tmp_path / "gate"
    submission = submit(make_job(out, [*waiting(gate), {}, *waiting(gate), {}]), max_array=2)
    wait_for(lambda: {"u00000", "u00002"} <= set(runs(out)), 60)
    urgent = slurm.sbatch("sleep 2", "--exclusive", "--nodes=2", f"--partition={slurm.urgent}")
    time.sleep(2)
    gate.touch()  # within the grace: what runs may end
    assert slurm.wait_for_end(urgent, timeout=60) == ["COMPLETED"]
    assert follow(submission, progress=False)
    assert (job_status(out).state, finalised(out)) == ("finished", 1)
    assert sorted(runs(out)) == ["u00000", "u00001", "u00002", "u00003"]
    assert {submission.note(task)["restarts"] for task in (0, 1)} == {1}
    same_as_calm(out, 4)


def test_a_preempted_unit_that_does_not_end_runs_again(slurm: Slurm, tmp_path: Path) -> None:
    out, gate = tmp_path / "out", tmp_path / "gate"
    slurm.run("scontrol", "update", f"partitionname={slurm.partition}", "gracetime=0")
    try:
        submission = submit(make_job(out, [{}, *waiting(gate)]), max_array=1)
        wait_for(lambda: "u00001" in runs(out), 60)
        urgent = slurm.sbatch("true", "--exclusive", "--nodes=2", f"--partition={slurm.urgent}")
        assert slurm.wait_for_end(urgent, timeout=60) == ["COMPLETED"]
        gate.touch()
        assert follow(submission, progress=False)
    finally:
        slurm.run("scontrol", "update", f"partitionname={slurm.partition}", "gracetime=20")
    assert runs(out) == ["u00000", "u00001", "u00001"]
    assert job_status(out).state == "finished"
    same_as_calm(out, 2)


def test_break_lock_cancels_and_keeps_what_is_done(slurm: Slurm, tmp_path: Path) -> None:
    out, gate = tmp_path / "out", tmp_path / "gate"
    submission = submit(make_job(out, [{}, *waiting(gate), {}]), max_array=1)
    wait_for(lambda: "u00001" in runs(out), 60)
    engine = EngineChoice.of(load_settings(), workers=1)
    outcome = run_job(make_job(out, [{}] * 3), engine, break_lock=True, progress=False)
    assert (outcome.ok, outcome.skipped) == (True, 1)
    assert slurm.state(str(submission.array)) == "CANCELLED"
    assert runs(out) == ["u00000", "u00001", "u00001", "u00002"]
    same_as_calm(out, 3)


def test_a_unit_that_hangs_is_ended(slurm: Slurm, tmp_path: Path) -> None:
    """Also one that holds the interpreter's lock; those after it in the task are run."""
    out = tmp_path / "out"
    outcome = run(make_job(out, [{}, {"do": "hold"}, {}, {"do": "stuck"}]), max_array=2, timeout=3)
    assert (outcome.exit_code, outcome.failed) == (
        1, {"u00001": "timed out after 3 s", "u00003": "timed out after 3 s"},
    )  # fmt: skip
    assert "in hold" in log_of(out, "u00001")
    status = job_status(out)
    assert [(failure.unit, failure.reason) for failure in status.failures] == list(outcome.failed.items())
    assert status.command == COMMAND
    assert run(make_job(out, [{}] * 4)).skipped == 2
    same_as_calm(out, 4)


DRIVER = """
import json, sys
from pathlib import Path
from tests.engine.engine_units import go
sys.exit(go(Path(sys.argv[1]), json.loads(sys.argv[2])).exit_code)
"""


def test_a_killed_driver_is_requeued_and_takes_its_own_lease(slurm: Slurm, tmp_path: Path) -> None:
    """Without new pid namespaces (or machines) its pid would already tell that it is gone."""
    out, gate = tmp_path / "out", tmp_path / "gate"
    if subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to make pid namespaces")
    plan = [{}, *waiting(gate), {}]
    call = shlex.join([sys.executable, "-c", DRIVER, str(out), json.dumps(plan)])
    job = slurm.sbatch(
        f"trap '' TERM\ncd {ROOT}\nunshare --pid --fork {call}",  # deaf: it cannot give back its lease
        "--requeue", "--open-mode=append", f"--output={tmp_path}/log",
    )  # fmt: skip
    wait_for(lambda: "u00001" in runs(out), 60)
    with pytest.raises(LockedError, match=rf"Slurm job {job}, since .*squeue -j {job}"):
        go(out, plan)
    slurm.run("scontrol", "requeue", job)
    slurm.wait_until(lambda: runs(out).count("u00001") == 2, 60, "a second run")
    gate.touch()
    assert slurm.wait_for_end(job) == ["COMPLETED"], (tmp_path / "log").read_text()
    assert (runs(out), finalised(out)) == (["u00000", "u00001", "u00001", "u00002"], 1)
    same_as_calm(out, 3)


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


class TestWithoutAccounting:
    def test_a_cancelled_job_is_noticed(self, slurm_without_accounting: Slurm, tmp_path: Path) -> None:
        """Neither the array nor the job that ends it comes back; the states are the controller's."""
        out, gate = tmp_path / "out", tmp_path / "gate"
        submission = submit(make_job(out, [*waiting(gate), {}, {}]), max_array=1)
        wait_for(lambda: runs(out), 60)
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
        wait_for(lambda: runs(tmp_path / "other"), 60)
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
