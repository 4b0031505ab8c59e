"""Start or continue a training where the user wants it: here, on Ray, or on Slurm."""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from hmtools.core.errors import UsageError
from hmtools.engine.lease import acquire
from hmtools.engine.local import usable_cores
from hmtools.engine.slurm_submit import require_slurm
from hmtools.train.batch_plan import BatchPlan
from hmtools.train.ending import Ending, ending_of
from hmtools.train.launch_slurm import Submitted, require_not_submitted, submit
from hmtools.train.options import TrainOptions
from hmtools.train.plan import TrainPlan
from hmtools.train.recipe import Recipe
from hmtools.train.run_folder import RunFolder, RunOptions
from hmtools.train.validate import require_measurable, validation_sets
from hmtools.train.worker import open_data, steps_of

__all__ = ["file_system", "run_options", "start"]

log = logging.getLogger(__name__)

_NETWORK_STORES = frozenset({"beegfs", "ceph", "cifs", "fuse.sshfs", "gpfs", "lustre", "nfs", "nfs4", "smb3"})
_MOUNTS = Path("/proc/mounts")
_MOST_WORKERS = 8  # for each GPU: more only compete for the disk
_CLUSTER_WORKERS = 7  # with the process itself eight cores for each GPU, as most nodes have


def start(recipe: Recipe, plan: TrainPlan, options: TrainOptions) -> Ending | Submitted:
    """Train until the last step, or until told to stop; on Slurm only hand it over.

    Args:
        recipe: what is trained.
        plan: made of it; ready, see :func:`hmtools.train.plan.require_ready`.
        options: where and how.

    Returns:
        How it ended (at once for a run that is finished), or the Slurm job that trains.

    Raises:
        UsageError: if the folder is of another run, its sets do not fit the recipe, or there are not the
            GPUs that the plan has.
        LockedError: if somebody else is writing the run, or it is on Slurm already.
        HmtoolsError: if it failed.
    """
    run, settings = RunFolder(options.out.absolute()), options.settings
    run.require_own(recipe)
    if settings.engine == "slurm":
        require_slurm()
    elif settings.engine == "local":
        _require_gpus(plan.batch, options.device)
    told = run_options(plan, options)
    _require_usable(recipe, told)
    require_not_submitted(run, cancels=options.break_lock)
    job = run.path / ".job"
    job.mkdir(parents=True, exist_ok=True)
    with acquire(job, break_lock=options.break_lock):
        run.prepare(recipe, told)
        if run.finished:
            return ending_of(run)
        if settings.engine == "ray":
            from hmtools.train.launch_ray import run_ray

            return run_ray(run.path, settings.ray)
        if settings.engine == "local":
            from hmtools.train.launch_local import run_local

            return run_local(run.path, plan.batch.gpus)
    return submit(run.path, settings.slurm)  # its first process takes the lease


def run_options(plan: TrainPlan, options: TrainOptions) -> RunOptions:
    """What the processes of a run are told."""
    missing = {row.spec.name for row in plan.missing}
    remote = file_system(options.shards) in _NETWORK_STORES
    return RunOptions(
        shards=str(options.shards.absolute()),
        sets=tuple(row.spec.name for row in plan.used if row.spec.name not in missing),
        validation=tuple(row.spec.name for row in plan.validation if row.spec.name not in missing),
        weights=None if plan.weights is None else str(plan.weights.absolute()),
        accumulation=plan.batch.accumulation,
        processes=plan.batch.gpus,
        workers=_workers(plan, options),
        device="cuda" if options.device == "auto" and options.settings.engine != "local" else options.device,
        block=remote and plan.recipe.data.strategy != "balance-smplerx",  # read as published
        staging=str(Path(tempfile.gettempdir()) / f"hmtools-index-{os.getuid()}") if remote else None,
        mlflow=options.mlflow,
    )


def _require_usable(recipe: Recipe, told: RunOptions) -> None:
    """Open what the processes will open, before GPUs are held."""
    steps_of(recipe, open_data(recipe, replace(told, staging=None)).epoch_size)
    require_measurable(recipe, validation_sets(recipe, told))


def _workers(plan: TrainPlan, options: TrainOptions) -> int:
    """Processes that make batches for each that trains; on the CPU none: they would compete with it."""
    if options.workers is not None:
        return options.workers
    if options.device == "cpu":
        return 0
    if options.settings.engine != "local":
        return _CLUSTER_WORKERS
    if not torch.cuda.is_available():
        return 0
    here = max(1, min(plan.batch.gpus, torch.cuda.device_count()))
    return max(1, min(_MOST_WORKERS, usable_cores() // here - 1))


def _require_gpus(batch: BatchPlan, device: str) -> None:
    """Refuse GPUs that are not there: nobody wants to find out after a night that it was the CPU."""
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cpu" or batch.gpus <= found:
        return
    if found:
        passes = batch.gpus * batch.accumulation
        fits = max(number for number in range(1, found + 1) if passes % number == 0)
        raise UsageError(
            f"this training is planned for {batch.gpus} GPUs, this machine has {found}; run it with --gpus "
            f"{fits} (what is missing is accumulated), or on a cluster with --engine slurm or ray"
        )
    if device == "auto" and batch.gpus == 1:
        log.warning("no usable GPU here: training on the CPU")
        return
    raise UsageError(
        "this machine has no usable GPU (`hmtools doctor` says why). On the CPU, to try things: --procs 1; "
        "on a cluster: --engine slurm or ray"
    )


def file_system(path: Path) -> str:
    """The kind of file system that a path is on, such as ``ext4`` or ``nfs4``; "" where it cannot be told."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    here = path.resolve()
    mounts = [line.split(" ")[1:3] for line in lines if line.count(" ") >= 3]
    holding = [(len(point), kind) for point, kind in mounts if here.is_relative_to(point)]
    return max(holding)[1] if holding else ""
