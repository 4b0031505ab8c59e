"""How a job becomes an array: units into tasks, settings into options of ``sbatch``. No cluster needed."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hmtools.core.settings import SlurmSettings
from hmtools.engine.job import Unit

__all__ = [
    "LAST_SECONDS",
    "array_options",
    "end_options",
    "job_options",
    "python_command",
    "split",
    "tasks_at_once",
]

LAST_SECONDS = 90
"""How long before its time limit a task gets SIGUSR2 (Slurm may be up to a minute early)."""

_WAVES = 16  # tasks per slot, where slots are counted: starting one costs seconds, and the last wait for few


def tasks_at_once(settings: SlurmSettings, workers: int | None) -> int | None:
    """How many tasks may run at once: the smaller of what the user and the site say; None = no limit."""
    given = [number for number in (workers, settings.array_parallelism) if number]
    return min(given, default=None)


def split(units: Sequence[Unit], max_array: int, at_once: int | None) -> list[list[Unit]]:
    """Cut units, in order, into tasks of almost equal numbers.

    Args:
        units: of the job; at least one.
        max_array: most tasks that an array may have.
        at_once: tasks that run at once, if there is a limit: then 16 times as many tasks are enough.
    """
    count = min(len(units), max_array, at_once * _WAVES if at_once else max_array)
    edges = [len(units) * i // count for i in range(count + 1)]
    return [list(units[a:b]) for a, b in itertools.pairwise(edges)]


def array_options(
    settings: SlurmSettings,
    resources: Mapping[str, float],
    out: Path,
    label: str,
    at_once: int | None,
) -> dict[str, Any]:
    """Parameters of submitit's Slurm executor for the array.

    Args:
        settings: ``slurm.*``.
        resources: of the job: ``cpu`` and ``gpu`` are asked for; ``slurm.gres`` is stronger than the latter.
        out: the job's folder, which a container has to see.
        label: Slurm's name of the job.
        at_once: tasks that may run at once; None = no limit.
    """
    cpus = max(1, round(resources.get("cpu", 1)))
    options = job_options(settings, out, label)
    options["cpus_per_task"] = cpus
    if settings.gres is None and resources.get("gpu"):
        options["gres"] = f"gpu:{round(resources['gpu'])}"
    if cpus > 1:  # srun does not take it from sbatch
        options["srun_args"] = [f"--cpus-per-task={cpus}", *options["srun_args"]]
    return {**options, "array_parallelism": at_once or settings.max_array}


def end_options(settings: SlurmSettings, out: Path, label: str, array: int) -> dict[str, Any]:
    """Parameters for the job that ends the array, however its tasks ended.

    It asks for ``slurm.gres`` too, because a partition may take no job without; not for what units need.
    """
    return {**job_options(settings, out, label), "dependency": f"afterany:{array}"}


def job_options(settings: SlurmSettings, out: Path, label: str) -> dict[str, Any]:
    """Parameters of submitit's Slurm executor that all our jobs share.

    Args:
        settings: ``slurm.*``.
        out: the job's folder, which a container has to see.
        label: Slurm's name of the job.
    """
    return {
        "job_name": label,
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
        "gres": settings.gres,
        "time": settings.time,
        "setup": list(settings.setup),
        "srun_args": _container(settings.container, out),
        "signal_delay_s": LAST_SECONDS,
        "stderr_to_stdout": True,
        "wckey": None,
        "additional_parameters": {"requeue": True},  # also where the site's default is another
    }


def python_command(container: str | None, out: Path, executable: str) -> str:
    """The interpreter as the batch script calls it: this one, or that of the container."""
    if container is None:
        return shlex.quote(executable)
    if _is_apptainer(container):
        return shlex.join(["apptainer", "exec", "--bind", str(out), container, "python3"])
    return "python3"


def _container(container: str | None, out: Path) -> list[str]:
    """Options of srun: those given, or for an image those of pyxis. A .sif file is run by apptainer."""
    if container is None or _is_apptainer(container):
        return []
    if container.startswith("-"):
        return shlex.split(container)
    folders = sorted({str(Path.cwd()), str(out)})
    mounts = ",".join(f"{folder}:{folder}" for folder in folders)
    return [f"--container-image={container}", f"--container-mounts={mounts}"]


def _is_apptainer(container: str) -> bool:
    return container.endswith(".sif")
