"""A submission as its driver writes it, for tests that need no cluster: nothing was given to Slurm."""

from __future__ import annotations

from pathlib import Path

import pytest

from hmtools.engine import slurm_end, slurm_task
from hmtools.engine.job import Job
from hmtools.engine.run import prepared
from hmtools.engine.slurm_script import split
from hmtools.engine.slurm_store import Submission
from hmtools.engine.slurm_submit import write_work

__all__ = ["no_slurm", "own_logging", "submitted"]


def submitted(job: Job, *, tasks: int = 1, unit_timeout: int | None = None) -> Submission:
    """Write what the tasks of a submission read."""
    with prepared(job) as run:
        parts = split(run.todo, tasks, None)
        made = Submission.create(run.state.root, parts, job=job.name, command=job.command, cluster="here")
        write_work(made, run, parts, unit_timeout)
    return made.known_as(61, 62)


@pytest.fixture
def no_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without Slurm's commands."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "nothing"))


@pytest.fixture
def own_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task takes over the logging of its process, which here is that of the tests."""
    for module in (slurm_task, slurm_end):
        monkeypatch.setattr(module, "log_to_stderr", lambda level: None)
