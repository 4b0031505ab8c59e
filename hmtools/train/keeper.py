"""What happens between the steps of a run: log, validation, checkpoints, the best and the last weights."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import resource
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from hmtools.core.log import format_duration
from hmtools.models.smplerx.model import SmplerX
from hmtools.models.weight_cards import card_path
from hmtools.train.checkpoints import Checkpoint, Checkpoints
from hmtools.train.ending import Ending
from hmtools.train.exports import save_weights
from hmtools.train.log import Sink, TrainLog, jsonl_sink, mlflow_sink, read_log, tensorboard_sink
from hmtools.train.loop import Step
from hmtools.train.parallel import Parallel
from hmtools.train.recipe import Recipe
from hmtools.train.run_folder import RunFolder, RunOptions
from hmtools.train.state import TrainState
from hmtools.train.validate import validate, validation_sets
from hmtools.train.world import World

__all__ = ["Keeper"]

log = logging.getLogger(__name__)


class Keeper:
    """Keeps a run: every process has one, and the first one writes.

    Args:
        run: its folder.
        recipe: how often, and what.
        options: where the validation sets are, and further logs.
        world: the processes.
        parallel: the network among them.
        state: what is trained of it.
        per_epoch: steps of an epoch.
        steps: of the whole run.
    """

    def __init__(
        self,
        run: RunFolder,
        recipe: Recipe,
        options: RunOptions,
        world: World,
        parallel: Parallel,
        state: TrainState,
        per_epoch: int,
        steps: int,
    ) -> None:
        self._run, self._recipe, self._world = run, recipe, world
        self._parallel, self._state = parallel, state
        self._per_epoch, self._steps = per_epoch, steps
        self._checkpoints = Checkpoints(run.checkpoints, recipe.run.keep_checkpoints, writes=world.first)
        self._best, self._best_step = math.inf, 0
        self._sets = validation_sets(recipe, options)
        self._mlflow = options.mlflow
        self._log = TrainLog([])
        self._since, self._began = 0, time.perf_counter()

    def resume(self) -> None:
        """Take up the newest checkpoint, in every process; open the logs, in the first.

        A validation of that step is made up for if the run ended before it, or in it.
        """
        found = self._agreed(self._checkpoints.latest())
        if found is not None:
            self._state.restore(found.tensors, found.step)
            self._best, self._best_step = _best(self._run.best)
            log.info("goes on after step %d of %d, from %s", found.step, self._steps, found.path)
        self._since = self._state.step
        if self._world.first:
            sinks: list[Sink] = [jsonl_sink(self._run.log, since=self._since)]
            sinks.append(tensorboard_sink(self._run.events, since=self._since))
            if self._mlflow is not None:
                sinks.append(mlflow_sink(self._mlflow, self._run.path, self._recipe))
            self._log = TrainLog(sinks)
        if found is not None and self._validates(found.step):
            owed = self._world.first and not self._validated(found.step)
            if any(self._world.sum([float(owed)])):
                self._validate(found.step)

    def _agreed(self, found: Checkpoint | None) -> Checkpoint | None:
        """The checkpoint that the first process found: a network store may show other nodes an older one."""
        own = 0 if found is None else found.step
        (first,) = self._world.sum([own if self._world.first else 0])
        if first == own:
            return found
        return self._checkpoints.at(int(first)) if first else None

    def _validates(self, step: int) -> bool:
        every = self._recipe.validate.every
        return bool(self._sets) and (step == self._steps or step % every == 0)

    def _validated(self, step: int) -> bool:
        rows = [row for row in read_log(self._run.log) if row.get("step") == step]
        return any(name.startswith("validation/") for row in rows for name in row)

    def after(self, step: Step) -> None:
        """Log, validate and save what is due after a step."""
        run, last = self._recipe.run, step.step == self._steps
        validates = self._validates(step.step)
        saves = last or step.stop or step.step % self._per_epoch == 0 or step.step % run.checkpoint_every == 0
        if last or step.step == 1 or step.step % run.log_every == 0:
            self._write(step)
        if validates or saves:
            self._world.average(self._state.statistics())
        if saves:  # before a validation, in which the process may be killed
            self._save(step.step)
        if validates and not (step.stop and not last):  # who is told to stop has seconds
            self._validate(step.step)

    def end(self) -> Ending:
        """Wait for what is being written; write the last weights if this was the last step."""
        step = self._state.step
        self._checkpoints.wait()
        if step >= self._steps and not self._run.finished:
            best = {"best": self._best, "best_step": self._best_step} if self._best_step else {}
            with self._whole() as network:
                self._export(self._run.final, network, {"step": step, **best})
        self.close()
        self._world.barrier()
        return Ending(step, self._steps, self._best if self._best_step else math.nan)

    def close(self) -> None:
        """Close the logs, also those of a run that failed."""
        self._log.close()

    def _write(self, step: Step) -> None:
        if not self._world.first:
            return
        batch, done = self._recipe.batch.global_batch, step.step - self._since
        passed = time.perf_counter() - self._began
        scalars = {f"loss/{name}": value for name, value in step.losses.items()} | {
            "loss": step.loss,
            "lr": step.lr,
            "epoch": step.step / self._per_epoch,
            "gradient_norm": step.gradient_norm,
            "images_per_s": batch / step.seconds,
            "data_wait": step.waited / step.seconds,
            "memory_gb": self._memory() / 1e9,
        }
        self._log.write(step.step, scalars)
        left = format_duration((self._steps - step.step) * passed / done)
        log.info(
            "step %d/%d, loss %.4g, lr %.3g, %.0f images/s, %.0f %% waiting for data, %s left",
            step.step, self._steps, step.loss, step.lr, batch * done / passed,
            100 * step.waited / step.seconds, left,
        )  # fmt: skip

    def _memory(self) -> float:
        """Most that was used so far, bytes: of the GPU, without one of this process."""
        if self._world.device.type == "cuda":
            return float(torch.cuda.max_memory_allocated(self._world.device))
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0

    def _validate(self, step: int) -> None:
        with self._whole() as network:
            folder = self._run.validation / f"step-{step:09d}"
            figures = validate(network, self._recipe, self._sets, folder, self._world)
            if not figures:
                return
            if figures["mean"] < self._best:
                self._best, self._best_step = figures["mean"], step
                self._export(self._run.best, network, {"step": step, "validation": figures})
            # Last: what stands in the log is not made up for after a kill.
            self._log.write(step, {f"validation/{name}": value for name, value in figures.items()})
            log.info(
                "step %d: validation %.2f (mean of %s over %d sets), best %.2f at step %d",
                step, figures["mean"], self._recipe.validate.metric, len(self._sets), self._best,
                self._best_step,
            )  # fmt: skip

    @contextlib.contextmanager
    def _whole(self) -> Iterator[SmplerX]:
        """A network with all weights, or their moving average if there is one; then train on."""
        try:
            with self._state.averaged(), self._parallel.whole() as network:
                yield network
        finally:
            self._parallel.network.train()

    def _save(self, step: int) -> None:
        facts = {"recipe": self._recipe.name, "steps": self._steps, "epoch": step / self._per_epoch}
        ends = range(self._per_epoch, step + 1, self._per_epoch)  # of epochs: these stay
        self._checkpoints.save(step, self._state.tensors(), facts, spare=frozenset(ends))

    def _export(self, path: Path, network: SmplerX, facts: Mapping[str, object]) -> None:
        if self._world.first:
            epoch = self._state.step // self._per_epoch
            save_weights(path, network.state_dict(), self._recipe, {"epoch": epoch, **facts})


def _best(weights: Path) -> tuple[float, int]:
    """Figure and step of the best weights, from their card; infinity where there are none."""
    try:
        card = json.loads(card_path(weights).read_text(encoding="utf-8"))
        return float(card["validation"]["mean"]), int(card["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return math.inf, 0
