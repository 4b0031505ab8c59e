"""Jobs on the test cluster, as a driver and as a user start them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from hmtools.core.settings import Settings, load_settings
from hmtools.engine.job import Job, Outcome
from hmtools.engine.launch import EngineChoice, run_job
from hmtools.engine.slurm_store import Submission, unsettled
from tests.engine.engine_units import go, outputs

__all__ = ["ROOT", "hmtools", "on_slurm", "run", "same_as_calm", "submit", "waiting"]

ROOT = Path(__file__).resolve().parents[2]


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


def same_as_calm(out: Path, count: int) -> None:
    """Check that ``out`` holds the bytes of a machine where nothing happens, and nothing else."""
    calm = out.with_name(f"{out.name}-calm")
    go(calm, [{}] * count, 0)
    assert outputs(out) == outputs(calm)
    assert not list(out.rglob(".*.tmp"))
