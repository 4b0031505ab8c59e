"""What Slurm is asked for; no cluster needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from hmtools.core.settings import load_settings
from hmtools.train.launch_slurm import layout, require_not_submitted, train_options
from hmtools.train.run_folder import RunFolder, RunOptions


@pytest.mark.parametrize(
    ("processes", "gres", "expected"),
    [
        (16, None, (2, 8, "gpu:8")),
        (16, "gpu:h100:8", (2, 8, "gpu:h100:8")),
        (16, "gpu:4", (4, 4, "gpu:4")),
        (8, "gpu:a100", (1, 8, "gpu:a100:8")),
        (2, "gpu:8", (1, 2, "gpu:2")),
        (16, "gpu:a100:6", (4, 4, "gpu:a100:4")),
        (8, "nvme:1", (1, 8, "nvme:1,gpu:8")),
    ],
)
def test_gpus_are_spread_over_nodes(processes: int, gres: str | None, expected: tuple[int, int, str]) -> None:
    assert layout(processes, gres, gpus=True) == expected


def test_processes_without_gpus_get_a_node_each() -> None:
    assert layout(2, None, gpus=False) == (2, 1, None)


def test_the_batch_script(tmp_path: Path) -> None:
    from submitit.slurm.slurm import _make_sbatch_string

    settings = load_settings({"slurm.partition": "gpu", "slurm.setup": ["module load cuda"]}).slurm
    options = RunOptions(shards="/data", sets=(), processes=16, workers=7, device="cuda")
    made = train_options(settings, options, tmp_path, "hmtools-train-x")
    lines = _make_sbatch_string(command="python -m work", folder=tmp_path, **made).splitlines()
    for flag in ("partition=gpu", "nodes=2", "ntasks-per-node=8", "gres=gpu:8", "cpus-per-task=8",
                 "signal=USR2@90", "requeue", "open-mode=append"):  # fmt: skip
        assert f"#SBATCH --{flag}" in lines
    own = lines.index("module load cuda")
    first = '"${MASTER_ADDR:-$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)}"'
    assert lines[own + 1] == f"export MASTER_ADDR={first}"
    assert lines[own + 2] == 'export MASTER_PORT="${MASTER_PORT:-$((20000 + SLURM_JOB_ID % 20000))}"'
    (command,) = [line for line in lines if line.startswith("srun ")]
    assert "--kill-on-bad-exit=1 --cpus-per-task=8" in command


def test_a_run_that_slurm_never_saw_is_free(tmp_path: Path) -> None:
    require_not_submitted(RunFolder(tmp_path))
    (tmp_path / ".job/slurm").mkdir(parents=True)
    (tmp_path / ".job/slurm/job.json").write_text("{}")
    require_not_submitted(RunFolder(tmp_path))
