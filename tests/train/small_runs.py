"""Trainings of a tiny network on a few synthetic people, whose processes write down each step they take.

``written.json`` beside the run's folder may ask for a mishap: ``{"do": "kill", "rank": 1, "step": 7}``.
"""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from torch import Tensor

from hmtools.convert.run import convert
from hmtools.core.log import setup_logging
from hmtools.core.settings import RaySettings, load_settings
from hmtools.engine.worker import die_with_parent
from hmtools.synth import make_miniature
from hmtools.train import launch_local, launch_ray, launch_slurm, worker
from hmtools.train.batches import Batch
from hmtools.train.ending import Ending
from hmtools.train.keeper import Keeper
from hmtools.train.launch_slurm import Submitted
from hmtools.train.loop import Step
from hmtools.train.objective import Objective
from hmtools.train.recipe import Recipe
from hmtools.train.recipe_files import load_training
from hmtools.train.run_folder import RunFolder, RunOptions
from hmtools.train.worker import run_worker

__all__ = [
    "entry", "options", "prepare", "ray_task", "run_local", "run_ray", "slurm_task", "small_recipe",
    "small_shards", "submit", "taken",
]  # fmt: skip

SETS = {"mscoco": (16, "train2017", (160, 120)), "ehf": (2, "test", (320, 240))}


@pytest.fixture(scope="session")
def small_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Converted miniatures: 28 people of mscoco/train2017, 2 of ehf/test."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "small-shards"
    with FileLock(f"{root}.lock"):
        for name, (frames, split, size) in SETS.items():
            if not (root / name).exists():
                people = 1 if name == "ehf" else 2
                make_miniature(name, root / "raw" / name, frames, people, 1, size, (split,))
                convert(name, root=root / "raw" / name, out=root, splits=(split,), workers=0, progress=False)
    return root


def small_recipe(*changes: str, steps: int = 20) -> Recipe:
    """Steps of four people, a checkpoint after every five of them, no validation unless it is asked for."""
    own = (
        "batch.global_batch=4", "batch.micro_batch=2", f"run.max_steps={steps}", "run.epochs=9",
        "run.checkpoint_every=5", "run.log_every=1", "validate.sets=[]",
    )  # fmt: skip
    return load_training("smplerx/tiny/demo", [*own, *changes])


def options(shards: Path, **changes: Any) -> RunOptions:
    """Two processes on the CPU."""
    return RunOptions(
        **{"shards": str(shards), "sets": ("mscoco/train2017",), "processes": 2, "device": "cpu", **changes}
    )


def prepare(folder: Path, shards: Path, recipe: Recipe | None = None, **changes: Any) -> Path:
    """Make the folder of a run, or take up the one that is there."""
    RunFolder(folder).prepare(recipe or small_recipe(), options(shards, **changes))
    return folder


def run_local(folder: Path, **mishap: Any) -> Ending:
    """Train in as many processes as the folder says, all of them recorded."""
    (folder.parent / "written.json").write_text(json.dumps(mishap))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch_local, "_entry", entry)
        return launch_local.run_local(folder, RunFolder(folder).options().processes)


def taken(folder: Path) -> dict[tuple[int, int], tuple[str, list[str]]]:
    """(step, rank) -> bits of the loss and keys, as last written."""
    found = {}
    for path in sorted(folder.parent.glob("written-*.jsonl")):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            found[row["step"], row["rank"]] = (row["loss"], row["keys"])
    return found


def entry(folder: str, level: int) -> tuple[int, int, float]:
    """A process of a recorded training; in the place of the launcher's own."""
    die_with_parent()
    setup_logging(-1)
    ending = recorded(Path(folder))
    return ending.step, ending.steps, ending.best


def recorded(folder: Path) -> Ending:
    """Be a process of a training that writes down its steps."""
    rank, mishap = int(os.environ.get("RANK", "0")), folder.parent / "written.json"
    wanted = json.loads(mishap.read_text()) if mishap.exists() else {}
    step = wanted.get("step") if wanted.get("rank", rank) == rank else None
    after, losses = Keeper.after, Objective.__call__
    with pytest.MonkeyPatch.context() as patch:

        def written(self: Keeper, found: Step) -> None:
            after(self, found)
            again = (found.step, rank) in taken(folder)
            row = {"step": found.step, "rank": rank, "loss": found.loss.hex(), "keys": found.keys}
            with (folder.parent / f"written-{rank}.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            if wanted.get("pause"):
                time.sleep(wanted["pause"])
            if found.step == step and not again:
                _meet_with(wanted["do"])

        def spoilt(self: Objective, batch: Batch) -> Mapping[str, Tensor]:
            terms = dict(losses(self, batch))
            spoils = wanted.get("do") == "spoil" and self._calls == step  # type: ignore[attr-defined]
            self._calls += 1  # type: ignore[attr-defined]
            return {name: value * math.nan if spoils else value for name, value in terms.items()}

        patch.setattr(Keeper, "after", written)
        patch.setattr(Objective, "_calls", 1, raising=False)
        patch.setattr(Objective, "__call__", spoilt)
        return run_worker(folder)


def slurm_task(folder: str) -> None:
    """A recorded process of a Slurm job."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "run_worker", recorded)
        launch_slurm.run_task(folder)


def ray_task(config: dict[str, Any]) -> None:
    """A recorded worker of Ray Train."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "run_worker", recorded)
        launch_ray._entry(config)


def run_ray(folder: Path, address: str, **mishap: Any) -> Ending:
    """Train on a Ray cluster, all workers recorded."""
    (folder.parent / "written.json").write_text(json.dumps(mishap))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch_ray, "_entry", ray_task)
        return launch_ray.run_ray(folder, RaySettings(address=address, runtime_env={}))


def submit(folder: Path, **mishap: Any) -> Submitted:
    """Train on Slurm, all processes recorded."""
    (folder.parent / "written.json").write_text(json.dumps(mishap))
    settings = load_settings({"slurm.setup": ["export MASTER_ADDR=127.0.0.1"]}).slurm
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch_slurm, "run_task", slurm_task)
        return launch_slurm.submit(folder, settings)


def _meet_with(what: str) -> None:
    if what == "raise":
        raise ValueError("a bug of this rank")
    if what != "spoil":
        os.kill(os.getpid(), getattr(signal, f"SIG{what.upper()}"))
