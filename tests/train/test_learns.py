"""Training teaches a network: a few people by heart, and of many what those it has not seen look like."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from hmtools.convert.run import convert
from hmtools.synth import make_miniature
from hmtools.train.launch_local import run_local
from hmtools.train.loader import loader
from hmtools.train.loop import run_steps
from hmtools.train.objective import Objective, bodies_for, make_network
from hmtools.train.recipe_files import load_training
from hmtools.train.state import TrainState
from hmtools.train.worker import open_data
from hmtools.train.world import World
from tests.train.mean_pose import mean_pose_error
from tests.train.small_runs import options, prepare, small_recipe

STEPS = 360
CHANGES = (
    "augment.scale=0", "augment.colour=0", "augment.flip_probability=0",
    "optim.lr=6e-3", "optim.end_lr=0", "optim.warmup_steps=10", "batch.micro_batch=4",
)  # fmt: skip


def test_eight_people_are_learnt_by_heart(small_shards: Path) -> None:
    recipe = small_recipe(*CHANGES, steps=STEPS)
    world, data = World(0, 1, 0, torch.device("cpu")), open_data(recipe, options(small_shards))
    bodies = bodies_for(data, world)
    network = make_network(recipe, None, bodies, world).train()
    people = list(itertools.islice(loader(data, epoch=0, batch=4), 2))
    taken = run_steps(
        TrainState(network, lr=recipe.optim.lr), network, Objective(network, recipe, bodies, world),
        itertools.cycle(people), world, recipe, steps=STEPS, accumulation=1, stopped=lambda: False,
    )  # fmt: skip
    losses = [step.loss for step in taken]
    assert sum(losses[-4:]) < sum(losses[:4]) / 10


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 1950 rendered people of mscoco/train2017, each alone in an image: three minutes of drawing."""
    root = tmp_path_factory.mktemp("people")
    make_miniature("mscoco", root / "raw", 2100, 1, 1, (320, 240), ("train2017",), render=True)
    convert("mscoco", root=root / "raw", out=root, splits=("train2017",), progress=False)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2023, 7])
def test_it_sees_poses(people: Path, tmp_path: Path, seed: int) -> None:
    recipe = load_training("smplerx/tiny/micro", [f"run.seed={seed}"])
    validated = tuple(row.name for row in recipe.validate.sets)
    ending = run_local(prepare(tmp_path / "run", people, recipe, validation=validated), 2)
    assert ending.finished
    assert ending.best < 0.7 * mean_pose_error(recipe, people, tmp_path / "mean")
