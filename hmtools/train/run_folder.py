"""The folder of a training run: what it holds, and what its processes are told through it.

::

    runs/train/smplerx-h32/
      recipe.json       the resolved recipe; a folder is of one recipe
      options.json      where and how it runs now
      log.jsonl         numbers of the steps        events/   the same for TensorBoard
      checkpoints/      see hmtools.train.checkpoints
      best.safetensors  weights with the best validation, with their card best.json
      final.safetensors weights of the last step, once the run is finished, with their card final.json
      validation/       predictions and reports, a folder per step
      .job/             lease: one writer at a time; failure.json: why its processes ended; Slurm's job
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hmtools.core.atomic import write_json
from hmtools.core.errors import HmtoolsError, RecipeError, UsageError
from hmtools.models.weight_cards import card_path
from hmtools.train.recipe import Recipe, read_recipe, recipe_json, write_recipe

__all__ = ["RunFolder", "RunOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Where and how a run runs; a resume may change all but ``sets``, ``validation`` and ``block``.

    Attributes:
        shards: folder of converted sets.
        sets: ``dataset/split`` of the recipe's sets that are drawn from.
        validation: likewise of those that are validated on.
        weights: file that training starts from; None: random weights.
        accumulation: passes of each process before a step.
        processes: how many train side by side.
        workers: processes that make batches, for each of them.
        device: auto, cuda or cpu.
        block: read neighbouring rows together: for images on a network store.
        staging: folder on a disk of the node for copies of indices; None: they are read in place.
        mlflow: tracking URI; None: no MLflow.
    """

    shards: str
    sets: tuple[str, ...]
    validation: tuple[str, ...] = ()
    weights: str | None = None
    accumulation: int = 1
    processes: int = 1
    workers: int = 0
    device: str = "auto"
    block: bool = False
    staging: str | None = None
    mlflow: str | None = None


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of a run, and the two files that every process of it reads."""

    path: Path

    @property
    def log(self) -> Path:
        """One line of JSON per logged step."""
        return self.path / "log.jsonl"

    @property
    def events(self) -> Path:
        """Folder of TensorBoard's events."""
        return self.path / "events"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def validation(self) -> Path:
        """Folder of what validations made, one folder per step."""
        return self.path / "validation"

    @property
    def best(self) -> Path:
        """Weights with the best validation."""
        return self.path / "best.safetensors"

    @property
    def final(self) -> Path:
        """Weights of a finished run."""
        return self.path / "final.safetensors"

    @property
    def stop(self) -> Path:
        """A file that tells every process to stop after its step; for launchers without signals."""
        return self.path / ".job" / "stop"

    @property
    def slurm(self) -> Path:
        """Folder of the job that was handed to Slurm."""
        return self.path / ".job" / "slurm"

    @property
    def finished(self) -> bool:
        """Whether the run took its last step."""
        return card_path(self.final).is_file()  # written after the weights

    def require_own(self, recipe: Recipe) -> None:
        """Return if the folder is free, or of a run of this recipe; nothing is written.

        Raises:
            UsageError: if it holds the run of another recipe, or files that are no run.
        """
        there = self.path / "recipe.json"
        if there.is_file():
            _same_recipe(self.path, recipe)
        elif self.path.exists() and any(entry.name != ".job" for entry in self.path.iterdir()):
            raise UsageError(f"{self.path}: holds other files than a training run; choose another --out")

    def prepare(self, recipe: Recipe, options: RunOptions) -> None:
        """Make the folder, or take up the one that is there, and say what its processes shall do.

        A run that has begun goes on with the sets it began with and reads them in the same order, also where
        more of its recipe's sets are converted by now.

        Raises:
            UsageError: see :meth:`require_own`; or if a set it began with is missing now.
        """
        self.require_own(recipe)
        if any(self.checkpoints.glob("step-*")):
            options = _as_begun(self.path, self.options(), options)
        there = self.path / "recipe.json"
        (self.path / ".job").mkdir(parents=True, exist_ok=True)
        write_recipe(there, recipe)
        self.stop.unlink(missing_ok=True)
        self._failure.unlink(missing_ok=True)
        write_json(self.path / "options.json", asdict(options))

    @property
    def _failure(self) -> Path:
        return self.path / ".job" / "failure.json"

    def tell(self, error: HmtoolsError) -> None:
        """Leave an error to whoever started this process; the first one that any process leaves counts."""
        with contextlib.suppress(FileExistsError), self._failure.open("x", encoding="utf-8") as file:
            json.dump({"message": str(error), "exit_code": error.exit_code}, file)

    def told(self) -> HmtoolsError | None:
        """The error that a process of the run left, None if none did."""
        try:
            found = json.loads(self._failure.read_text(encoding="utf-8"))
            error = HmtoolsError(found["message"])
            error.exit_code = int(found["exit_code"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return error

    def recipe(self) -> Recipe:
        """The run's recipe."""
        return read_recipe(self.path / "recipe.json")

    def options(self) -> RunOptions:
        """Where and how it runs.

        Raises:
            RecipeError: if that file is missing, damaged or of another version.
        """
        path = self.path / "options.json"
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            lists = {name: tuple(values[name]) for name in ("sets", "validation")}
            return RunOptions(**values | lists)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RecipeError(f"{path}: cannot be read as a run's options: {error}") from error


def _as_begun(folder: Path, begun: RunOptions, asked: RunOptions) -> RunOptions:
    for before, now in ((begun.sets, asked.sets), (begun.validation, asked.validation)):
        if lost := [name for name in before if name not in now]:
            raise UsageError(
                f"{folder}: was begun with {', '.join(lost)}, not converted now; convert it again, or choose "
                "another --out"
            )
    return replace(asked, sets=begun.sets, validation=begun.validation, block=begun.block)


def _same_recipe(folder: Path, recipe: Recipe) -> None:
    found = read_recipe(folder / "recipe.json")
    either_way = replace(recipe, run=replace(recipe.run, parallel=found.run.parallel))
    before, now = recipe_json(found), recipe_json(either_way)
    if changed := list(_changed(before, now)):
        raise UsageError(
            f"{folder}: is a run of {before['name']}, and what is asked for differs in {', '.join(changed)}; "
            "continue it with the same command as before, or choose another --out"
        )


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """The values of a recipe that differ, such as ``optim.lr``."""
    for name, value in sorted(now.items()):
        old = before.get(name)
        if value == old:
            continue
        if isinstance(value, dict) and isinstance(old, dict):
            yield from (f"{name}.{key}" for key in _changed(old, value))
        else:
            yield name
