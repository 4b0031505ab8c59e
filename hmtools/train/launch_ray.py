"""The processes of a run on a Ray cluster, as a group of Ray Train.

When a worker or its node is lost, Ray starts the group again and the run goes on from its newest checkpoint.
A stop signal to the driver reaches the workers through the run's folder, since Ray's own would kill them.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hmtools.core.errors import HmtoolsError, UsageError
from hmtools.core.settings import RaySettings
from hmtools.engine.drive import StopSignals
from hmtools.engine.ray_cluster import check_nodes, joined
from hmtools.engine.worker import one_line
from hmtools.train.ending import Ending, ending_of
from hmtools.train.run_folder import RunFolder

__all__ = ["RESTARTS", "run_ray"]

RESTARTS = 3
"""How often a group is started again after it lost a worker."""

_LOOK_S = 0.5

log = logging.getLogger(__name__)


def run_ray(folder: Path, settings: RaySettings) -> Ending:
    """Run what is left of the run in ``folder``; returns when it is finished or was told to stop.

    Args:
        folder: of the run, on a file system that all nodes share.
        settings: the cluster to join (none: one is started here), and its runtime environment.

    Raises:
        UsageError: if the cluster cannot be joined, has not the GPUs or cores that the run asks for, or has
            nodes that cannot run it.
        HmtoolsError: with the error of the worker that failed.
    """
    run = RunFolder(folder.absolute())
    options = run.options()
    gpus = options.device != "cpu"
    cores = None if settings.address else options.processes * (1 + options.workers)
    with joined(settings, workers=cores):
        _require(options.processes, 1 + options.workers, gpus=gpus)
        check_nodes(run.path, {"CPU": 1.0 + options.workers, "GPU": float(gpus)})
        with _stops_passed_on(run):
            return _fit(run, gpus=gpus)


def _fit(run: RunFolder, *, gpus: bool) -> Ending:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    options = run.options()
    share = {"CPU": float(1 + options.workers)} | ({"GPU": 1.0} if gpus else {})
    trainer = TorchTrainer(
        _entry,
        train_loop_config={"folder": str(run.path), "level": logging.getLogger("hmtools").level},
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
        scaling_config=ScalingConfig(num_workers=options.processes, use_gpu=gpus, resources_per_worker=share),
        run_config=RunConfig(
            name=run.path.name,
            storage_path=str(run.path / ".job" / "ray"),
            failure_config=FailureConfig(max_failures=RESTARTS),
        ),
    )
    try:
        trainer.fit()
    except Exception as error:
        if (told := run.told()) is not None:
            raise told from error
        raise HmtoolsError(
            f"the training on Ray ended: {one_line(error)}; the same command goes on from the newest "
            "checkpoint"
        ) from error
    if (told := run.told()) is not None:
        raise told
    return ending_of(run)


def _entry(config: dict[str, Any]) -> None:
    """One worker; Ray Train has set up the processes' group."""
    from hmtools.core.log import setup_logging
    from hmtools.train.worker import run_worker

    setup_logging()
    logging.getLogger("hmtools").setLevel(config["level"])
    if RunFolder(Path(config["folder"])).told() is not None:
        return  # Ray starts a group again after any error; ours would only come again
    run_worker(Path(config["folder"]))


def _require(processes: int, cores: int, *, gpus: bool) -> None:
    """Refuse a group that would wait for ever: Ray does not say that it cannot be placed."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    fits = sum(
        int(min(node.get("CPU", 0) // cores, node.get("GPU", 0) if gpus else processes)) for node in nodes
    )
    if fits < processes:
        what = f"{cores} cores" + (" and a GPU" if gpus else "")
        raise UsageError(
            f"the Ray cluster has room for {fits} processes with {what} each on its {len(nodes)} nodes, the "
            f"run wants {processes}; lower --gpus (the rest is accumulated) or --workers, or add nodes"
        )


@contextlib.contextmanager
def _stops_passed_on(run: RunFolder) -> Iterator[None]:
    """Leave a stop signal to the workers; Ray's call does not return to the thread that waits in it."""
    over = threading.Event()
    with StopSignals() as stop:

        def watch() -> None:
            while not over.wait(_LOOK_S):
                if stop.received:
                    run.stop.touch()
                    return

        watcher = threading.Thread(target=watch, name="hmtools-watch", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
