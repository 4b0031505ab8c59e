"""How a job becomes an array, and settings options of sbatch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hmtools.core.settings import SlurmSettings, load_settings
from hmtools.engine.job import Unit
from hmtools.engine.slurm_script import array_options, end_options, python_command, split, tasks_at_once

OUT = Path("/data/out")


def settings(**changes: Any) -> SlurmSettings:
    return load_settings({f"slurm.{name}": value for name, value in changes.items()}).slurm


def script(options: dict[str, Any]) -> list[str]:
    """The batch script that submitit makes of them."""
    from submitit.slurm.slurm import _make_sbatch_string

    text: str = _make_sbatch_string(command="python -m work", folder="/data/logs", **options)
    return text.splitlines()


@pytest.mark.parametrize(
    ("units", "max_array", "at_once", "tasks"),
    [(5, 1000, None, 5), (5, 2, None, 2), (1, 1, 1, 1), (2500, 1000, None, 1000), (200, 1000, 2, 32),
     (10, 1000, 2, 10), (200, 7, 2, 7)],
)  # fmt: skip
def test_units_are_cut_in_order_into_equal_tasks(
    units: int, max_array: int, at_once: int | None, tasks: int
) -> None:
    parts = split([Unit(index=i, name="") for i in range(units)], max_array, at_once)
    assert len(parts) == tasks
    assert [unit.index for part in parts for unit in part] == list(range(units))
    assert {len(part) for part in parts} <= {units // tasks, -(-units // tasks)}


def test_the_smaller_limit_of_tasks_at_once_counts() -> None:
    assert tasks_at_once(settings(), None) is None
    assert tasks_at_once(settings(), 3) == 3
    assert tasks_at_once(settings(array_parallelism=2), None) == 2
    assert tasks_at_once(settings(array_parallelism=2), 3) == 2


def test_settings_become_options() -> None:
    site = settings(
        partition="gpu", account="lab", qos="low", gres="gpu:a100:1", time="04:00:00",
        setup=["module load cuda", "export A=1"],
    )  # fmt: skip
    options = array_options(site, {"cpu": 4, "gpu": 1}, OUT, "hmtools-x", 3)
    lines = script({**options, "map_count": 8})
    for flag in (
        "partition=gpu", "account=lab", "qos=low", "gres=gpu:a100:1", "time=04:00:00", "job-name=hmtools-x",
        "cpus-per-task=4", "array=0-7%3", "requeue", "open-mode=append", "signal=USR2@90",
    ):  # fmt: skip
        assert f"#SBATCH --{flag}" in lines
    assert lines.index("module load cuda") < lines.index("export A=1") < lines.index("# command")
    command = next(line for line in lines if line.startswith("srun"))
    assert "--cpus-per-task=4" in command
    assert command.endswith("python -m work")
    end = script(end_options(site, OUT, "hmtools-x", 61))
    assert {"#SBATCH --dependency=afterany:61", "#SBATCH --time=04:00:00", "#SBATCH --requeue"} <= set(end)
    assert not any("array" in line for line in end)


def test_what_is_not_set_is_left_to_the_site() -> None:
    lines = script(array_options(settings(), {}, OUT, "x", None))
    for flag in ("partition", "account", "qos", "gres", "time", "wckey", "mem"):
        assert not any(line.startswith(f"#SBATCH --{flag}=") for line in lines), flag
    assert "#SBATCH --gres=gpu:2" in script(array_options(settings(), {"gpu": 2}, OUT, "x", None))
    assert "gres" not in "".join(script(end_options(settings(), OUT, "x", 1)))


def test_containers() -> None:
    def both(container: str | None) -> tuple[list[str], str]:
        given = settings(**({"container": container} if container else {}))
        options = array_options(given, {}, OUT, "x", None)
        return options["srun_args"], python_command(container, OUT, "/my env/python")

    assert both(None) == ([], "'/my env/python'")
    assert both("hm.sif") == ([], "apptainer exec --bind /data/out hm.sif python3")
    options, python = both("repo/hm:1")
    assert options[0] == "--container-image=repo/hm:1"
    assert f"{Path.cwd()}:{Path.cwd()}" in options[1]
    assert "/data/out:/data/out" in options[1]
    assert python == "python3"
    assert both("--container-image=a.sqsh --container-mounts='/a b:/b'") == (
        ["--container-image=a.sqsh", "--container-mounts=/a b:/b"], "python3",
    )  # fmt: skip
