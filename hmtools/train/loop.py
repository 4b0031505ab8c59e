"""The training loop: one global batch after the other, each made of passes over micro-batches.

::

    for step in steps:
        for micro-batch in ours:    # the last pass sends the gradients around
            loss = sum(losses(network(images), *targets(inputs)))
            loss.backward()
        all processes agree: the mean loss, whether it is finite, whether somebody was told to stop
        clip, step, average
        log, checkpoint, validate

What is drawn at random follows from the step (:func:`~hmtools.train.state.seed_step`), what is read from the
position in the data, so a run that was resumed goes on as if it had never ended.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from hmtools.core.errors import HmtoolsError
from hmtools.train.batches import Batch
from hmtools.train.parallel import full, unsent
from hmtools.train.recipe import Recipe
from hmtools.train.state import TrainState, learning_rate, seed_step
from hmtools.train.world import World

__all__ = ["LossIsNotFiniteError", "Step", "run_steps"]

Objective: TypeAlias = Callable[[Batch], Mapping[str, Tensor]]

log = logging.getLogger(__name__)


class LossIsNotFiniteError(HmtoolsError):
    """The loss or a gradient became NaN or infinite.

    Attributes:
        step: which was not taken.
        keys: of this process's records in it.
    """

    def __init__(self, step: int, what: str, keys: Sequence[str]) -> None:
        super().__init__(f"step {step}: {what}; the step was not taken, weights are as before it")
        self.step, self.keys = step, tuple(keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one step was like; the same in every process.

    Attributes:
        step: optimiser steps taken, this one included.
        lr: learning rate.
        losses: term -> mean over the global batch.
        loss: their sum.
        gradient_norm: before clipping.
        seconds: wall time.
        waited: of it, waiting for data.
        keys: of the records of this process, in order.
        stop: somebody was told to stop.
    """

    step: int
    lr: float
    losses: Mapping[str, float]
    loss: float
    gradient_norm: float
    seconds: float
    waited: float
    keys: tuple[str, ...]
    stop: bool


def run_steps(
    state: TrainState,
    network: nn.Module,
    objective: Objective,
    batches: Iterator[Batch],
    world: World,
    recipe: Recipe,
    *,
    steps: int,
    accumulation: int,
    stopped: Callable[[], bool],
) -> Iterator[Step]:
    """Train from the state's step to the last one; every process of the world does this side by side.

    Args:
        state: what is trained.
        network: ``state.network`` as training calls it.
        objective: micro-batch -> named losses, each a mean over the micro-batch.
        batches: micro-batches of this process, ``accumulation`` of them a step.
        world: the processes.
        recipe: seed, optimiser and schedule.
        steps: of the whole run.
        accumulation: passes per step.
        stopped: whether this process was told to stop.

    Yields:
        Every step once it is taken. The caller ends the loop, after ``stop`` for one.

    Raises:
        LossIsNotFiniteError: in every process, if the loss is not finite in one; no step is taken then.
    """
    while state.step < steps:
        began, waited = time.perf_counter(), 0.0
        seed_step(recipe.run.seed, state.step, world.rank)
        keys: list[str] = []
        terms: dict[str, Tensor] = {}
        for turn in range(accumulation):
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            keys += batch.keys
            with unsent(network) if turn + 1 < accumulation else nullcontext():
                found = objective(batch)
                (sum(found.values(), torch.zeros((), device=world.device)) / accumulation).backward()  # type: ignore[no-untyped-call]
            for name, value in found.items():
                terms[name] = terms.get(name, 0.0) + value.detach() / accumulation
        norm = _clip(state, recipe.optim.clip_norm)
        means, loss, stop = _agree(world, terms, norm, stopped())
        lr = learning_rate(recipe.optim, state.step, steps)
        if not math.isfinite(loss):
            raise LossIsNotFiniteError(state.step + 1, _worst(means), keys)
        state.update(lr)
        yield Step(
            step=state.step, lr=lr, losses=means, loss=loss, gradient_norm=float(norm), stop=stop,
            seconds=time.perf_counter() - began, waited=waited, keys=tuple(keys),
        )  # fmt: skip


def _clip(state: TrainState, limit: float | None) -> Tensor:
    return full(nn.utils.clip_grad_norm_(state.parameters(), math.inf if limit is None else limit))


def _agree(
    world: World, terms: Mapping[str, Tensor], norm: Tensor, stopped: bool
) -> tuple[dict[str, float], float, bool]:
    """Mean of every term over all processes, their sum (NaN if a gradient is not finite), whether to stop."""
    broken = (~norm.isfinite()).to(torch.float64)
    *sums, bad, stop = world.sum([*terms.values(), broken, float(stopped)])
    means = {name: value / world.size for name, value in zip(terms, sums, strict=True)}
    loss = sum(means.values())
    return means, math.nan if bad else loss, stop > 0


def _worst(means: Mapping[str, float]) -> str:
    bad = [name for name, value in means.items() if not math.isfinite(value)]
    return f"not finite: {', '.join(bad)}" if bad else "the losses are finite, a gradient is not"
