"""Training makes the loss smaller: of a few people, seen again and again."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch

from hmtools.train.loader import loader
from hmtools.train.loop import run_steps
from hmtools.train.objective import Objective, bodies_for, make_network
from hmtools.train.state import TrainState
from hmtools.train.worker import open_data
from hmtools.train.world import World
from tests.train.small_runs import options, small_recipe

STEPS = 72
CHANGES = (
    "augment.rotation_probability=0", "augment.scale=0", "augment.colour=0", "augment.flip_probability=0",
    "batch.global_batch=2", "optim.lr=1e-3", "optim.warmup_steps=20",
)  # fmt: skip


def test_the_loss_of_eight_people_halves(small_shards: Path) -> None:
    recipe = small_recipe(*CHANGES, steps=STEPS)
    world, data = World(0, 1, 0, torch.device("cpu")), open_data(recipe, options(small_shards))
    bodies = bodies_for(data, world)
    network = make_network(recipe, None, bodies, world).train()
    people = list(itertools.islice(loader(data, epoch=0, batch=2), 4))
    taken = run_steps(
        TrainState(network, lr=recipe.optim.lr), network, Objective(network, recipe, bodies, world),
        itertools.cycle(people), world, recipe, steps=STEPS, accumulation=1, stopped=lambda: False,
    )  # fmt: skip
    losses = [step.loss for step in taken]
    assert sum(losses[-4:]) < sum(losses[:4]) / 2
