"""A training on a real Slurm cluster of two nodes, one process on each."""

from __future__ import annotations

from pathlib import Path

import pytest

from hmtools.core.errors import LockedError
from hmtools.train.launch_slurm import require_not_submitted
from hmtools.train.run_folder import RunFolder
from tests.slurm.cluster import Slurm
from tests.train.small_runs import prepare, small_recipe, submit, taken
from tests.train.small_runs import small_shards as small_shards

pytestmark = [pytest.mark.xdist_group("slurm"), pytest.mark.slow]


def test_a_training_that_is_told_to_stop_is_requeued_and_finishes(
    slurm: Slurm, tmp_path: Path, small_shards: Path
) -> None:
    folder = prepare(tmp_path / "run", small_shards, small_recipe(steps=10))
    run, made = RunFolder(folder), submit(folder, pause=1.0)
    job = str(made.job)
    slurm.wait_until(lambda: (3, 1) in taken(folder), 240, "three steps")
    with pytest.raises(LockedError, match=f"Slurm job {job}, which is running.*scancel {job}"):
        require_not_submitted(run)
    slurm.run("scancel", "--signal=USR2", job)
    assert slurm.wait_for_end(job, timeout=300) == ["COMPLETED"], Path(made.log).read_text()
    assert "Restarts=1" in slurm.run("scontrol", "show", "job", job)
    assert run.finished
    rows = [line for path in folder.parent.glob("written-*.jsonl") for line in path.read_text().splitlines()]
    assert sorted(taken(folder)) == [(step, rank) for step in range(1, 11) for rank in (0, 1)]
    assert len(rows) == 20, "a step was taken twice: its checkpoint was not the one of the stop"
    require_not_submitted(run)
    again = submit(folder)  # as Slurm may start a job that had finished already
    assert slurm.wait_for_end(str(again.job), timeout=120) == ["COMPLETED"]
    assert "is finished" in Path(again.log).read_text()
    assert len(taken(folder)) == 20
