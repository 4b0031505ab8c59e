"""Leases of processes in Slurm jobs: one that is requeued need not wait for what its earlier run left."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from hmtools.core.errors import LockedError
from hmtools.engine.lease import Owner, acquire

EARLIER = {"slurm_job": "61_3", "slurm_cluster": "north", "slurm_restarts": 1}
OURS = {
    "JOB_ID": "64",
    "ARRAY_JOB_ID": "61",
    "ARRAY_TASK_ID": "3",
    "CLUSTER_NAME": "north",
    "RESTART_COUNT": "2",
}


def held_elsewhere(out: Path, **changes: Any) -> Path:
    """A lease that a live process on another node has written."""
    folder = out / ".job"
    folder.mkdir(parents=True)
    owner = replace(Owner.here(), host="hm1", **changes)
    (folder / "lease.json").write_text(json.dumps(asdict(owner)))
    return folder


@pytest.mark.parametrize(
    ("changes", "live"),
    [
        pytest.param({}, False, id="earlier run of our job"),
        pytest.param({"slurm_restarts": 2}, True, id="another step of this run"),
        pytest.param({"slurm_restarts": 3}, True, id="later run: we are the one that is over"),
        pytest.param({"slurm_job": "61_2"}, True, id="other task"),
        pytest.param({"slurm_job": "61"}, True, id="other job"),
        pytest.param({"slurm_cluster": "south"}, True, id="other cluster"),
        pytest.param({"slurm_job": ""}, True, id="in no job"),
    ],
)
def test_a_job_that_is_run_again_takes_its_own_lease(
    out: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], live: bool
) -> None:
    folder = held_elsewhere(out, **EARLIER | changes)
    for name, value in OURS.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    if live:
        with pytest.raises(LockedError):
            acquire(folder)
    else:
        with acquire(folder) as held:
            assert (held.owner.slurm_job, held.owner.slurm_restarts) == ("61_3", 2)
            with pytest.raises(LockedError, match=r", Slurm job 61_3, since .*\(`squeue -j 61_3`\)"):
                acquire(folder)


def test_outside_of_slurm_no_lease_is_ours_again(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OURS:
        monkeypatch.delenv(f"SLURM_{name}", raising=False)
    folder = held_elsewhere(out)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with pytest.raises(LockedError) as caught:
        acquire(folder)
    assert "Slurm" not in str(caught.value)
