"""A run on Slurm: one job with a task for each GPU, which trains on its own until it is finished.

Before a task is killed, Slurm sends SIGTERM (preemption, requeue, scancel) or SIGUSR2 (time limit). Then all
processes save the same step, the first one asks for a requeue, and all wait to be killed: a task that
returned would count as over. A job that starts again goes on from the newest checkpoint, or returns at once
if the run is finished.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hmtools.core.atomic import write_json
from hmtools.core.errors import HmtoolsError, LockedError
from hmtools.core.settings import SlurmSettings
from hmtools.engine.drive import StopSignals
from hmtools.engine.lease import acquire
from hmtools.engine.preflight import mark, preflight_facts, require_equal
from hmtools.engine.slurm_queue import TERMINAL, cancel, rows_of
from hmtools.engine.slurm_script import job_options
from hmtools.engine.slurm_submit import sbatch
from hmtools.engine.slurm_task import give_way
from hmtools.engine.worker import ONE_THREAD, log_to_stderr
from hmtools.train.run_folder import RunFolder, RunOptions

__all__ = ["Submitted", "layout", "require_not_submitted", "run_task", "submit", "train_options"]

GPUS_PER_NODE = 8
"""Where ``slurm.gres`` does not say how many."""

_JOB, _FACTS = "job.json", "preflight.json"
_GPU = re.compile(r"gpu(?::(?P<type>[^:,]*[^:,\d][^:,]*))?(?::(?P<count>\d+))?")
_CANCEL_S = 90.0  # Slurm kills what ignores a signal after KillWait, 30 s if not set otherwise
_KILLED_S = 900.0  # within which Slurm kills what it requeues
_POLL_S = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A run that Slurm has.

    Attributes:
        job: Slurm's id.
        label: Slurm's name of it.
        log: what its first process says; there once it runs.
    """

    job: int
    label: str
    log: str


# What the submitting machine does.


def submit(folder: Path, settings: SlurmSettings) -> Submitted:
    """Hand the run in ``folder`` to Slurm.

    Args:
        folder: of the run, on a file system that all nodes share.
        settings: ``slurm.*``.

    Raises:
        UsageError: if Slurm refuses the job.
    """
    run = RunFolder(folder.absolute())
    run.slurm.mkdir(parents=True, exist_ok=True)
    mark(run.path)
    write_json(run.slurm / _FACTS, preflight_facts(run.path))
    label = f"hmtools-train-{re.sub('[^0-9A-Za-z]+', '-', run.path.name)}-{uuid.uuid4().hex[:8]}"
    options = train_options(settings, run.options(), run.path, label)
    number = sbatch(settings, options, [(run_task, str(run.path))], folder=run.slurm, out=run.path)
    made = Submitted(job=number, label=label, log=str(run.slurm / f"{number}_0_log.out"))
    write_json(run.slurm / _JOB, asdict(made))
    return made


def layout(processes: int, gres: str | None, *, gpus: bool) -> tuple[int, int, str | None]:
    """How processes are spread over nodes.

    On GPUs as many on each node as ``slurm.gres`` says (``gpu:8``, ``gpu:h100:4``; else eight), or the
    largest smaller number that shares them evenly. On the CPU one on each node.

    Returns:
        Nodes, processes on each, and the generic resources of a node.
    """
    if not gpus:
        return processes, 1, gres
    found = _GPU.fullmatch(gres or "gpu")
    kind, count = (found["type"], int(found["count"] or GPUS_PER_NODE)) if found else (None, GPUS_PER_NODE)
    each = max(n for n in range(1, max(1, min(processes, count)) + 1) if processes % n == 0)
    wanted = ":".join(part for part in ("gpu", kind, str(each)) if part)
    return processes // each, each, wanted if found else f"{gres},{wanted}"


def train_options(settings: SlurmSettings, options: RunOptions, out: Path, label: str) -> dict[str, Any]:
    """Parameters of submitit's Slurm executor for a run.

    Args:
        settings: ``slurm.*``; what ``setup`` exports as MASTER_ADDR, MASTER_PORT or OMP_NUM_THREADS stays.
        options: of the run: processes, their workers, their device.
        out: folder of the run.
        label: Slurm's name of the job.
    """
    nodes, each, gres = layout(options.processes, settings.gres, gpus=options.device != "cpu")
    made, cores = job_options(settings, out, label), 1 + options.workers
    first = '$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)'
    made["setup"] += [
        f'export MASTER_ADDR="${{MASTER_ADDR:-{first}}}"',
        'export MASTER_PORT="${MASTER_PORT:-$((20000 + SLURM_JOB_ID % 20000))}"',
        *(f'export {name}="${{{name}:-1}}"' for name in ONE_THREAD),
    ]
    # Without the first option the others would wait for a process that is gone; srun takes no cores from
    # sbatch.
    made["srun_args"] = ["--kill-on-bad-exit=1", f"--cpus-per-task={cores}", *made["srun_args"]]
    return made | {"nodes": nodes, "ntasks_per_node": each, "cpus_per_task": cores, "gres": gres}


def require_not_submitted(run: RunFolder, *, cancels: bool = False) -> None:
    """Return unless the run is queued or running on Slurm.

    Args:
        run: its folder.
        cancels: cancel the job and wait until it is gone.

    Raises:
        LockedError: if it is, or does not end.
    """
    try:
        job = Submitted(**json.loads((run.slurm / _JOB).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return
    if not (state := _state(job)):
        return
    if not cancels:
        raise LockedError(
            f"{run.path} is being trained by Slurm job {job.job}, which is {state}. Follow it: tail -F "
            f"{job.log}; cancel it: scancel {job.job}; or rerun with --break-lock, which cancels it"
        )
    cancel([job.job], job.label)
    deadline = time.monotonic() + _CANCEL_S
    while state := _state(job):
        if time.monotonic() > deadline:
            raise LockedError(f"{run.path}: Slurm job {job.job} was cancelled and is still {state}")
        time.sleep(_POLL_S)


def _state(job: Submitted) -> str:
    """What Slurm says about a job that waits or runs; empty if it is over, or nobody knows it."""
    rows = rows_of([job.job], job.label) or []
    return next((row.state.lower() for row in rows if row.state not in TERMINAL), "")


# What each process of the job does.


def run_task(folder: str) -> None:
    """Be one process of the run in ``folder``, as Slurm's variables say which.

    Raises:
        SystemExit: with 2 if this node cannot run it, with 1 if the process failed or was stopped and is not
            killed.
    """
    rank, job = int(os.environ["SLURM_PROCID"]), os.environ["SLURM_JOB_ID"]
    log_to_stderr(logging.INFO if rank == 0 else logging.WARNING)
    run = RunFolder(Path(folder))
    if run.finished:
        log.info("%s is finished", run.path)
        return
    with StopSignals():
        try:
            with acquire(run.path / ".job") if rank == 0 else contextlib.nullcontext():
                finished = _train(run)
        except HmtoolsError as error:
            log.error("%s", error)
            raise SystemExit(error.exit_code) from error
        if not finished and rank == 0:
            give_way(job, "stopped")
        elif not finished:
            time.sleep(_KILLED_S)
            raise SystemExit(1)


def _train(run: RunFolder) -> bool:
    """Train; return whether the run is finished."""
    import torch

    from hmtools.train.launch_local import environment
    from hmtools.train.worker import run_worker

    facts = json.loads((run.slurm / _FACTS).read_bytes())
    require_equal(facts, [preflight_facts(run.path)])
    own = os.environ
    # Some sites show each task its GPU alone.
    local = int(own["SLURM_LOCALID"]) if torch.cuda.device_count() != 1 else 0
    os.environ |= environment(
        int(own["SLURM_PROCID"]), int(own["SLURM_NTASKS"]), local, own["MASTER_ADDR"], int(own["MASTER_PORT"])
    )
    return run_worker(run.path).finished
