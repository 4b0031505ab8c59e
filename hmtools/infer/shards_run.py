"""Predict converted splits with a named model: which weights, body, GPUs and folders; one job per split."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hmtools.bench.bodies import bodies_of
from hmtools.bench.predicted_on import read_closing, shards_sha256
from hmtools.core.errors import CheckpointError, LayoutError, UsageError
from hmtools.core.settings import Settings, load_settings
from hmtools.engine.job import Outcome
from hmtools.engine.launch import EngineChoice, engine_session, run_job
from hmtools.humandata.manifest import read_manifest
from hmtools.infer.model import find_weights, model_name
from hmtools.infer.predict import Precision
from hmtools.infer.shards_job import InferTask, box_ratio_of, infer_job
from hmtools.models.checkpoint import read_checkpoint
from hmtools.shards.reader import find_splits

__all__ = [
    "InferReport",
    "infer_shards",
    "infer_tasks",
    "is_current",
    "run_tasks",
    "worker_choice",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class InferReport:
    """How the predictions of one split ended.

    Attributes:
        split: ``dataset/split``.
        task: what was to be done.
        outcome: of the job.
    """

    split: str
    task: InferTask
    outcome: Outcome

    @property
    def closing(self) -> Mapping[str, Any] | None:
        """What ``predictions.json`` says; None while it is not there."""
        return read_closing(self.task.out)


def infer_tasks(
    model: str | Path,
    splits: Sequence[Path],
    *,
    out: Path | None = None,
    gpu: bool = False,
    batch: int = 32,
    precision: Precision = "fp32",
    vertices: bool = False,
    settings: Settings | None = None,
) -> list[InferTask]:
    """What is to be done for some splits; nothing is written.

    Args:
        model: weights of the checkpoints folder, a file, or the folder of a training run.
        splits: folders of converted splits.
        out: gets ``<dataset>/<split>/`` each; default: ``infer/<model>`` below the setting ``runs_root``.
        gpu: workers take a GPU each.
        batch: people at once.
        precision: of the network's passes.
        vertices: write meshes beside the tables.
        settings: default: loaded.

    Raises:
        CheckpointError: for weights that are not there, damaged, or no SMPLer-X.
        UsageError, AssetError: if the body models that the shards were made with are not there.
    """
    if batch < 1:
        raise UsageError(f"--batch-size {batch}: expected 1 or more")
    settings = settings or load_settings()
    weights = find_weights(model, settings).resolve()
    checkpoint = read_checkpoint(weights)
    if checkpoint.model != "smplerx":
        raise CheckpointError(
            f"{weights}: holds {checkpoint.identity}, which predicts no bodies; expected SMPLer-X"
        )
    name = model_name(weights, settings)
    root = out or settings.runs_root / "infer" / name
    tasks = []
    for path in splits:
        manifest = read_manifest(path)
        bodies = bodies_of([manifest], {"smplx"}, settings=settings)
        tasks.append(
            InferTask(
                shards=path.resolve(),
                out=root.resolve() / manifest.dataset / manifest.split,
                weights=weights,
                name=name,
                checkpoint_sha256=checkpoint.source_sha256,
                body=bodies.root,
                body_sha256=bodies.files["smplx_neutral"],
                standin=bodies.standin,
                box_ratio=box_ratio_of(manifest)[0],
                precision=precision,
                batch=batch,
                vertices=vertices,
                gpu=gpu,
            )
        )
    return tasks


def infer_shards(
    model: str | Path,
    shards: Path,
    *,
    out: Path | None = None,
    gpus: int | None = None,
    workers: int | None = None,
    batch: int = 32,
    precision: Precision = "fp32",
    vertices: bool = False,
    settings: Settings | None = None,
    **running: Any,
) -> list[InferReport]:
    """Predict the people of converted shards. Running it again continues where it stopped.

    Args:
        model: weights of the checkpoints folder, a file, or the folder of a training run.
        shards: OUT, OUT/<dataset> or OUT/<dataset>/<split>.
        out: gets ``<dataset>/<split>/`` each; default: ``infer/<model>`` below the setting ``runs_root``.
        gpus: GPUs at once, each with a process of its own. 0: the CPU. Default: on this machine all that are
            there, else its CPU; on Ray and Slurm one for every worker.
        workers: processes on the CPU, each with the whole network; default: the setting ``workers``, else
            (on this machine) this process alone with all its threads. 0: this process, to debug.
        batch: people at once; changes no numbers.
        precision: of the network's passes.
        vertices: write meshes beside the tables.
        settings: resolved settings, which also say the engine; default: loaded.
        running: ``overwrite, break_lock, progress, wait, command`` of :func:`run_tasks`.

    Returns:
        A report per split; a stopped run (signal) ends the list.

    Raises:
        LayoutError: if there is no finished split.
        UsageError: also for GPUs that are not there, and for a folder with predictions of something else.
    """
    settings = settings or load_settings()
    splits = find_splits(shards)
    if not splits:
        read_manifest(shards)  # raises, with what is there instead
        raise LayoutError(f"{shards}: no converted split")
    gpu, count = worker_choice(settings.engine, gpus, settings.workers if workers is None else workers)
    tasks = infer_tasks(
        model, splits, out=out, gpu=gpu, batch=batch, precision=precision, vertices=vertices,
        settings=settings,
    )  # fmt: skip
    return list(run_tasks(tasks, settings=settings, workers=count, **running))


def worker_choice(engine: str, gpus: int | None, workers: int | None) -> tuple[bool, int | None]:
    """Whether workers take GPUs, and how many there are at once.

    Args:
        engine: local, ray or slurm.
        gpus: as for :func:`infer_shards`.
        workers: as for :func:`infer_shards`.

    Returns:
        Whether each worker takes a GPU, and their number: 0 is this process, None what fits.

    Raises:
        UsageError: for GPUs that are not there.
    """
    if gpus is not None and gpus < 0:
        raise UsageError(f"--gpus {gpus}: expected 0 (the CPU) or more")
    if engine != "local" and workers != 0:
        return gpus != 0, gpus or workers
    import torch

    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus is not None and gpus > there:
        raise UsageError(
            f"--gpus {gpus}: torch sees {there} on this machine. Name fewer, or 0 for the CPU; "
            "`hmtools doctor` says what is wrong with a GPU"
        )
    count = there if gpus is None else gpus
    if count:
        return True, 0 if workers == 0 else count
    return False, workers or 0


def run_tasks(
    tasks: Sequence[InferTask],
    *,
    settings: Settings,
    workers: int | None,
    overwrite: bool = False,
    break_lock: bool = False,
    progress: bool = True,
    wait: bool = False,
    command: str | None = None,
) -> Iterator[InferReport]:
    """Run the jobs of tasks one after the other; a stopped run (signal) is the last.

    Args:
        tasks: see :func:`infer_tasks`.
        settings: say the engine.
        workers: processes at once, 0: this one.
        overwrite: remove the predictions that are there and start over.
        break_lock: take a job even from a writer that seems alive.
        progress: show progress.
        wait: with Slurm, follow the submitted jobs to their end.
        command: what ``hmtools jobs`` shows as the command to continue with.
    """
    engine = replace(EngineChoice.of(settings, wait=wait), workers=workers)
    command = command or shlex.join(["hmtools", *sys.argv[1:]])
    with engine_session(engine):
        for task in tasks:
            outcome = run_job(
                infer_job(task, command=command), engine, overwrite=overwrite, break_lock=break_lock,
                progress=progress,
            )  # fmt: skip
            yield InferReport(split=f"{task.out.parent.name}/{task.out.name}", task=task, outcome=outcome)
            if outcome.interrupted:
                return


def is_current(task: InferTask, closing: Mapping[str, Any] | None) -> bool:
    """Whether finished predictions are those that the task would make: of these weights, body and shards."""
    if closing is None:
        return False
    wanted = {
        "checkpoint_sha256": task.checkpoint_sha256,
        "body_sha256": task.body_sha256,
        "shards_sha256": shards_sha256(read_manifest(task.shards)),
        "box_ratio": task.box_ratio,
    }
    return all(closing.get(name) == value for name, value in wanted.items())
