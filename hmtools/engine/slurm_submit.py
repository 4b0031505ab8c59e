"""Run a job on Slurm: an array of tasks with several units each, and a job that ends it.

The driver submits and returns; with ``wait`` it follows. Nothing of it is needed afterwards: tasks record how
their units ended, and the end is a job of its own (see slurm_end.py).
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hmtools.core import atomic
from hmtools.core.errors import HmtoolsError, UsageError
from hmtools.core.settings import SlurmSettings
from hmtools.engine.job import Job, Outcome, Unit
from hmtools.engine.preflight import mark, preflight_facts
from hmtools.engine.run import Run, prepared
from hmtools.engine.slurm_end import run_end
from hmtools.engine.slurm_follow import follow
from hmtools.engine.slurm_queue import cancel, cluster_name
from hmtools.engine.slurm_script import array_options, end_options, python_command, split, tasks_at_once
from hmtools.engine.slurm_store import Submission
from hmtools.engine.slurm_task import run_task
from hmtools.engine.state import FINALISE, State, job_status
from hmtools.engine.worker import WorkerSetup, one_line

__all__ = ["require_slurm", "run_slurm", "sbatch", "write_work"]

# What sbatch says where no controller answers: nothing is wrong with the job.
_NO_ANSWER = ("resolve_ctls_from_dns_srv", "configuration source", "Unable to contact slurm controller")
# Left by the allocation the driver itself may run in; sbatch and srun would take them for wishes.
_KEPT = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT")

log = logging.getLogger(__name__)


def run_slurm(
    job: Job,
    settings: SlurmSettings,
    *,
    workers: int | None = None,
    unit_timeout: int | None = None,
    wait: bool = False,
    overwrite: bool = False,
    break_lock: bool = False,
    progress: bool = True,
) -> Outcome:
    """Submit what is left of a job to Slurm; units that are done already are skipped.

    Args:
        job: the job.
        settings: ``slurm.*``.
        workers: tasks, and with them units, that may run at once; ``slurm.array_parallelism`` where that is
            less.
        unit_timeout: seconds after which a unit counts as failed; None = no limit.
        wait: follow until the job is over; SIGINT then ends the waiting, not the job.
        overwrite: first remove the job's state and every file that ``job.owns`` matches.
        break_lock: take the lease even from a holder that looks alive, and cancel a submission.
        progress: while waiting, show a bar on a terminal, else a line in the log every ten seconds.

    Returns:
        The outcome; ``submitted`` holds Slurm's ids where the job goes on without us.

    Raises:
        UsageError: if there is no Slurm here, it refuses the job, or the folder holds work made with other
            inputs or options; with ``wait`` also if nodes cannot run the job.
        LockedError: if another live writer holds the job, or units of it are queued or running on Slurm.
        HmtoolsError: with ``wait``, if ``finalise`` failed there.
    """
    require_slurm()
    with prepared(job, overwrite=overwrite, break_lock=break_lock) as run:
        if not run.todo:
            return run.finish()
        submission = _submit(run, settings, workers, unit_timeout)
    log.info("%s: Slurm job %s, ended by %s", job.name, submission.array, submission.final)
    if not wait:
        return Outcome(
            results=[run.results[unit.id] for unit in job.units if unit.id in run.results],
            skipped=run.skipped,
            seconds=run.seconds,
            submitted=tuple(submission.ids),
        )
    stopped = not follow(submission, progress=progress)
    return _outcome(job, run, submission, stopped=stopped)


def require_slurm() -> None:
    """Return if Slurm's commands are here.

    Raises:
        UsageError: if they are not.
    """
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise UsageError(
            "engine slurm: no sbatch and srun here; run this on a login node of the cluster, or choose "
            "--engine local or ray"
        )


def _submit(run: Run, settings: SlurmSettings, workers: int | None, unit_timeout: int | None) -> Submission:
    job, at_once = run.job, tasks_at_once(settings, workers)
    tasks = split(run.todo, settings.max_array, at_once)
    for unit in run.todo:
        run.begin(unit)
    submission = Submission.create(
        run.state.root, tasks, job=job.name, command=job.command, cluster=cluster_name()
    )
    try:
        write_work(submission, run, tasks, unit_timeout)
        array = array_options(settings, job.resources, submission.out, submission.label, at_once)
        folder = str(submission.folder)
        calls = [(run_task, folder, index) for index in range(len(tasks))]
        places = {"folder": submission.slurm_folder, "out": submission.out}
        number = sbatch(settings, array, calls, **places)
        submission = submission.known_as(number)
        end = end_options(settings, submission.out, submission.label, number)
        return submission.known_as(number, sbatch(settings, end, [(run_end, folder)], **places))
    except BaseException as error:
        cancel(submission.ids, submission.label)
        submission.settle(by="driver", error=one_line(error))
        raise


def write_work(
    submission: Submission, run: Run, tasks: Sequence[Sequence[Unit]], unit_timeout: int | None
) -> None:
    """Write what the tasks and the end need to know: pickles, and what a node has to agree with."""
    # With what the driver's own script defines: nodes cannot import that. It comes with submitit.
    from cloudpickle import dumps  # type: ignore[import-untyped]

    job = run.job
    mark(submission.out)
    atomic.write_json(submission.facts_path, preflight_facts(submission.out))
    setup = WorkerSetup.of(job, run.state.logs.absolute(), unit_timeout, dumps)
    atomic.write_bytes(submission.work_path, dumps(setup))
    atomic.write_bytes(submission.job_path, dumps(job))
    for index, units in enumerate(tasks):
        atomic.write_bytes(submission.units_path(index), dumps([(unit.id, dumps(unit)) for unit in units]))


def sbatch(
    settings: SlurmSettings, options: dict[str, Any], calls: list[tuple[Any, ...]], *, folder: Path, out: Path
) -> int:
    """Submit calls as one array (one alone as a plain job); return Slurm's id.

    Args:
        settings: ``slurm.*``.
        options: parameters of submitit's Slurm executor.
        calls: a function and its arguments each, run in every process of its task.
        folder: for batch scripts and logs.
        out: the job's folder, which a container has to see.

    Raises:
        UsageError: if Slurm refuses the job.
    """
    import submitit

    python = python_command(settings.container, out, sys.executable)
    try:
        # What sbatch says against a job is told by our error; submitit would print it as well.
        with _clean_environment(), contextlib.redirect_stderr(io.StringIO()):
            executor = submitit.SlurmExecutor(folder=folder, python=python)
            executor.update_parameters(**options)
            with executor.batch():
                jobs = [executor.submit(*call) for call in calls]
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
        why = " ".join(str(error).replace("sbatch: error: ", "").split()).rstrip(".")
        if any(sign in why for sign in _NO_ANSWER):
            raise UsageError(
                f"Slurm does not answer on this host ({why}). Run this on a login node of the cluster, or "
                "choose --engine local or ray; `hmtools doctor --cluster --engine slurm` tries Slurm"
            ) from error
        raise UsageError(
            f"Slurm refused the job: {why}. `hmtools config` lists slurm.partition, account, qos, gres, time "
            "and max_array with where each comes from, `hmtools doctor --cluster --engine slurm` tries them"
        ) from error
    return int(str(jobs[0].job_id).partition("_")[0])


@contextlib.contextmanager
def _clean_environment() -> Iterator[None]:
    """Hide the allocation that we may run in ourselves, while the block runs."""
    hidden = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if name.startswith(("SLURM_", "SLURMD_")) and name not in _KEPT
    }
    try:
        yield
    finally:
        os.environ.update(hidden)


def _outcome(job: Job, run: Run, submission: Submission, *, stopped: bool) -> Outcome:
    """How a job stands that was followed."""
    how = submission.settled or {}
    if error := how.get("error"):
        raise HmtoolsError(f"{job.name}: {error}; the log is {State(job.out).log_path(FINALISE)}")
    if refused := how.get("refused"):
        raise UsageError(refused)
    done = {unit.id: run.state.read_done(unit.id) for unit in job.units}
    return Outcome(
        results=[result for result in done.values() if result is not None],
        failed={} if stopped else {failure.unit: failure.reason for failure in job_status(job.out).failures},
        skipped=run.skipped,
        seconds=run.seconds,
        interrupted=stopped,
        submitted=tuple(submission.ids) if stopped else (),
    )
