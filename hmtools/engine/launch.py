"""One way in for everybody who has a job: run it by the engine that was chosen."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from hmtools.core.settings import RaySettings, Settings, SlurmSettings
from hmtools.engine.job import Job, Outcome
from hmtools.engine.local import run_local

__all__ = ["EngineChoice", "engine_session", "run_job"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChoice:
    """Where units run, and how: nothing of it changes what they write.

    Attributes:
        name: local, ray or slurm.
        workers: units that may run at once; None = the engine's own default, 0 = inline here, to debug.
        unit_timeout: seconds after which a unit counts as failed; None = it may take as long as it takes.
        ray: the settings ``ray.*``.
        slurm: the settings ``slurm.*``.
        wait: with Slurm, whether to follow the submitted job to its end.
    """

    name: Literal["local", "ray", "slurm"]
    workers: int | None
    unit_timeout: int | None
    ray: RaySettings
    slurm: SlurmSettings
    wait: bool = False

    @classmethod
    def of(cls, settings: Settings, *, workers: int | None = None, wait: bool = False) -> EngineChoice:
        """Choose what the settings say; ``workers``, where given, is stronger."""
        return cls(
            name=settings.engine,
            workers=settings.workers if workers is None else workers,
            unit_timeout=settings.unit_timeout,
            ray=settings.ray,
            slurm=settings.slurm,
            wait=wait,
        )


@contextlib.contextmanager
def engine_session(engine: EngineChoice) -> Iterator[None]:
    """Keep what costs seconds to start (a Ray cluster) over several jobs.

    Raises:
        UsageError: if the cluster cannot be joined.
    """
    if engine.name == "ray" and engine.workers != 0:
        from hmtools.engine.ray_cluster import joined

        with joined(engine.ray, workers=engine.workers):
            yield
    else:
        yield


def run_job(
    job: Job,
    engine: EngineChoice,
    *,
    overwrite: bool = False,
    break_lock: bool = False,
    progress: bool = True,
) -> Outcome:
    """Run a job and return how it ended; arguments, results and errors are those of ``run_local``.

    Raises:
        UsageError: also if the chosen cluster cannot be joined or refuses the job, or its nodes cannot run
            it.
    """
    if engine.name == "ray" and engine.workers != 0:
        from hmtools.engine.ray_units import run_ray

        return run_ray(
            job, engine.ray, workers=engine.workers, unit_timeout=engine.unit_timeout,
            overwrite=overwrite, break_lock=break_lock, progress=progress,
        )  # fmt: skip
    if engine.name == "slurm" and engine.workers != 0:
        from hmtools.engine.slurm_submit import run_slurm

        return run_slurm(
            job, engine.slurm, workers=engine.workers, unit_timeout=engine.unit_timeout, wait=engine.wait,
            overwrite=overwrite, break_lock=break_lock, progress=progress,
        )  # fmt: skip
    return run_local(
        job, workers=engine.workers, unit_timeout=engine.unit_timeout, overwrite=overwrite,
        break_lock=break_lock, progress=progress,
    )  # fmt: skip
