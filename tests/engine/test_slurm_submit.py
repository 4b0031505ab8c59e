"""Submitting, as far as it goes without a cluster: tests/slurm has the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import submitit

from hmtools.core.errors import UsageError
from hmtools.core.settings import load_settings
from hmtools.engine.slurm_submit import _clean_environment, run_slurm, sbatch
from tests.engine.engine_units import make_job
from tests.engine.slurm_files import no_slurm as no_slurm


@pytest.mark.usefixtures("no_slurm")
def test_a_host_without_slurm(out: Path) -> None:
    with pytest.raises(UsageError, match="no sbatch and srun here; run this on a login node"):
        run_slurm(make_job(out, [{}]), load_settings().slurm)
    assert not out.exists()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("resolve_ctls_from_dns_srv: res_nsearch error: Unknown host", "Slurm does not answer on this host"),
        ("Batch job submission failed: Invalid partition", "Slurm refused the job: Batch job"),
    ],
)
def test_what_sbatch_says(said: str, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def failing(**_: object) -> None:
        raise submitit.core.utils.FailedJobError(f"sbatch: error: {said}")

    monkeypatch.setattr(submitit, "SlurmExecutor", failing)
    with pytest.raises(UsageError, match=told):
        sbatch(load_settings().slurm, {}, [(print,)], folder=tmp_path, out=tmp_path)


def test_an_allocation_around_us_is_hidden_from_sbatch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_CPUS_PER_TASK", "SLURMD_NODENAME", "SLURM_CONF", "SBATCH_ACCOUNT"):
        monkeypatch.setenv(name, "x")
    before = dict(os.environ)
    with _clean_environment():
        left = {name for name in os.environ if name.startswith(("SLURM", "SBATCH"))}
        assert left == {"SLURM_CONF", "SBATCH_ACCOUNT"}
    assert dict(os.environ) == before
