"""Two processes that train a toy network in every way of :mod:`hmtools.train.parallel`, one after the other.

The network has what makes pieces hard: rows that two processes cannot share, BatchNorm, a constant that no
file holds, and weights outside the encoder's blocks.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn

from hmtools.models.smplerx.model import SmplerX
from hmtools.train.checkpoints import Checkpoints
from hmtools.train.loop import run_steps
from hmtools.train.parallel import Parallel, in_pieces, parallel
from hmtools.train.recipe import Recipe
from hmtools.train.state import TrainState
from hmtools.train.world import World, joined
from tests.train.toy_recipe import toy_recipe

__all__ = ["HALF", "STEPS", "main"]

STEPS, HALF = 10, 5
_PASSES, _PEOPLE = 2, 3


class Toy(nn.Module):
    """Where :class:`SmplerX` has its encoder and its body, so does this."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.encoder = nn.Module()
        self.encoder.blocks = nn.ModuleList(
            nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 5), nn.Tanh()) for _ in range(3)
        )
        self.token = nn.Parameter(torch.rand(1, 5))
        self.head = nn.Linear(5, 1)
        self.body = nn.Module()
        self.body.register_buffer("constant", torch.full((1,), 0.5), persistent=False)

    def forward(self, given: Tensor) -> Tensor:
        found = given + self.token
        for block in cast(nn.ModuleList, self.encoder.blocks):
            found = found + block(found)
        return cast(Tensor, self.head(found) + self.body.constant)


def _recipe(way: str) -> Recipe:
    recipe = toy_recipe(lr=0.02, clip_norm=0.5, ema=0.7)
    return replace(recipe, run=replace(recipe.run, parallel=way))  # type: ignore[arg-type]


def _batches(world: World, since: int) -> Iterator[Any]:
    for turn in range(since * _PASSES, 10**6):
        draw = torch.Generator().manual_seed(turn * world.size + world.rank)
        yield SimpleNamespace(keys=(f"{turn}/{world.rank}",), given=torch.rand(_PEOPLE, 5, generator=draw))


class Training:
    """A toy and its state; ``way`` is ddp or fsdp."""

    def __init__(self, way: str, folder: Path, world: World) -> None:
        self.recipe, self.world = _recipe(way), world
        self.spread: Parallel = parallel(cast(SmplerX, Toy()), self.recipe, world)
        self.state = TrainState(self.spread.network, lr=self.recipe.optim.lr, decay=self.recipe.optim.ema)
        self.checkpoints = Checkpoints(folder, keep=9, writes=world.first)

    def resumed(self) -> Training:
        found = self.checkpoints.latest()
        assert found is not None
        self.state.restore(found.tensors, found.step)
        return self

    def steps(self, until: int) -> list[dict[str, Any]]:
        def objective(batch: Any) -> Mapping[str, Tensor]:
            found = self.spread.trained(batch.given)[:, 0]
            return {"near": (found - batch.given.sum(1)).abs().mean(), "small": found.square().mean()}

        taken = run_steps(
            self.state, self.spread.trained, objective, _batches(self.world, self.state.step), self.world,
            self.recipe, steps=STEPS, accumulation=_PASSES, stopped=lambda: False,
        )  # fmt: skip
        rows = []
        while self.state.step < until:
            step = next(taken)
            rows.append({"loss": step.loss, "norm": step.gradient_norm, "keys": step.keys})
        self.world.average(self.state.statistics())
        self.checkpoints.save(self.state.step, self.state.tensors(), {})
        self.checkpoints.wait()
        self.world.barrier()
        return rows

    def together(self) -> int:
        """Modules whose pieces are put together at a time."""
        return sum(hasattr(module, "unshard") for module in self.spread.network.modules())

    def held(self) -> dict[str, int]:
        """Numbers in the memory of this process, of everything that has the shape of a weight."""
        parts: dict[str, list[Tensor]] = {
            "weights": self.state.parameters(),
            "average": [self.state.average[name] for name, _ in self.state.network.named_parameters()],
            "moments": [
                tensor
                for own in self.state.optimiser.state.values()
                for tensor in own.values()
                if tensor.dim()
            ],
        }
        return {
            name: sum((t.to_local() if in_pieces(t) else t).numel() for t in tensors)
            for name, tensors in parts.items()
        }

    def predicted(self) -> list[float]:
        """By the moving average, in one process only: this must not wait for the others."""
        with self.state.averaged(), self.spread.whole() as network:
            if self.world.rank != 1:
                return []
            network.eval()
            with torch.no_grad():
                found = network(torch.ones(2, 5))
        return cast(list[float], found[:, 0].tolist())


def main(rank: int, environments: Sequence[Mapping[str, str]], base: str) -> None:
    """Be a process; what it found goes to ``base/<rank>.json``."""
    os.environ.update(environments[rank])
    found: dict[str, dict[str, Any]] = {}
    with joined("cpu") as world:
        for way, other in (("ddp", "fsdp"), ("fsdp", "ddp")):
            straight = Training(way, Path(base) / way, world)
            begun = straight.steps(HALF)
            crossed = Training(other, Path(base) / way, world).resumed()
            for name, training in ((way, straight), (f"{way}-{other}", crossed)):
                steps = training.steps(STEPS)
                found[name] = {
                    "steps": steps, "predicted": training.predicted(), "held": training.held(),
                    "together": training.together(),
                }  # fmt: skip
            found[way]["steps"] = begun + found[way]["steps"]
    (Path(base) / f"{rank}.json").write_text(json.dumps(found))
