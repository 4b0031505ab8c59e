"""The test cluster itself: it works, stands beside another one, and goes with its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.slurm.cluster import Slurm

pytestmark = [pytest.mark.xdist_group("slurm"), pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
from tests.slurm.cluster import cluster
with cluster(accounting=False) as slurm:
    slurm.sbatch("sleep 600")
    print(slurm.folder, flush=True)
    time.sleep(600)
"""


def test_jobs_run_and_are_accounted(slurm: Slurm) -> None:
    job = slurm.sbatch("srun bash -c 'exit 3'", "--nodes=2", "--ntasks-per-node=1")
    assert slurm.wait_for_end(job) == ["FAILED"]
    rows = slurm.wait_until(lambda: [row for row in slurm.sacct(job) if row["State"] == "FAILED"])
    assert [(row["JobID"], row["ExitCode"]) for row in rows] == [(job, "3:0")]


def test_urgent_jobs_preempt(slurm: Slurm) -> None:
    slurm.run("scontrol", "update", "partitionname=main", "gracetime=0")
    whole = f"--exclusive --nodes={len(slurm.nodes)}".split()
    try:
        first = slurm.sbatch("sleep 600", *whole, "--requeue")
        slurm.wait_until(lambda: slurm.state(first) == "RUNNING")
        urgent = slurm.sbatch("true", *whole, f"--partition={slurm.urgent}")
        assert slurm.wait_for_end(urgent) == ["COMPLETED"]
        slurm.wait_until(lambda: slurm.state(first) == "RUNNING")
        assert "Restarts=1" in slurm.run("scontrol", "show", "job", first)
    finally:
        slurm.run("scontrol", "update", "partitionname=main", "gracetime=20")
        slurm.empty()


def test_without_accounting_beside_the_other(slurm: Slurm, slurm_without_accounting: Slurm) -> None:
    other = slurm_without_accounting
    assert os.environ["SLURM_CONF"] == other.env["SLURM_CONF"] != slurm.env["SLURM_CONF"]
    job = other.sbatch("true")
    assert other.wait_for_end(job) == ["COMPLETED"]
    assert "disabled" in subprocess.run(["sacct"], capture_output=True, text=True, check=False).stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_it_goes_with_its_process(number: int) -> None:
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT,
        stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        pids = [int(path.read_text()) for path in (folder / "pids").iterdir()]
        assert len(pids) == 4
        process.send_signal(number)
    end = time.monotonic() + 30
    while folder.exists() or any(_alive(pid) for pid in pids):
        assert time.monotonic() < end, "the cluster outlived the process it was for"
        time.sleep(0.1)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
