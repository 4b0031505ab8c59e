"""Where and how a training runs, as the command line hands it to :func:`hmtools.train.start.start`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hmtools.core.settings import Settings

__all__ = ["TrainOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What the recipe leaves open. How many processes train stands in the plan (``plan.batch.gpus``).

    Attributes:
        out: folder of the run; one that holds the same recipe is continued.
        shards: folder of converted sets.
        settings: resolved, also the engine and the cluster's.
        device: ``cuda`` has a GPU for each process; ``cpu``: none; ``auto``: whatever is there, which the
            log says where it is the CPU.
        workers: processes that make batches, for each that trains; None: what the cores allow.
        mlflow: tracking URI; None: no MLflow.
        break_lock: take the run even from a writer that seems alive.
        command: what the user typed, to be shown where it is to be typed again.
    """

    out: Path
    shards: Path
    settings: Settings
    device: Literal["auto", "cuda", "cpu"] = "auto"
    workers: int | None = None
    mlflow: str | None = None
    break_lock: bool = False
    command: tuple[str, ...] = ()
