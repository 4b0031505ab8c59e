"""One process of a training run: from the run's folder to its last step, or to where it was told to stop.

A run that is started again goes on from its newest checkpoint; one that is finished says so and ends.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from hmtools.core.atomic import write_json
from hmtools.core.errors import HmtoolsError, UsageError
from hmtools.engine.drive import StopSignals
from hmtools.train.batches import Batch
from hmtools.train.ending import Ending
from hmtools.train.keeper import Keeper
from hmtools.train.loader import TrainData, TrainSource, loader
from hmtools.train.loop import LossIsNotFiniteError, run_steps
from hmtools.train.objective import Objective, bodies_for, make_network
from hmtools.train.parallel import parallel
from hmtools.train.recipe import Recipe
from hmtools.train.run_folder import RunFolder, RunOptions
from hmtools.train.state import TrainState
from hmtools.train.world import World, joined

__all__ = ["open_data", "run_worker", "steps_of"]

log = logging.getLogger(__name__)


def open_data(recipe: Recipe, options: RunOptions) -> TrainData:
    """The training data of a run.

    Raises:
        LayoutError, SchemaError, UsageError: as :class:`~hmtools.train.loader.TrainData`.
    """
    used = [spec for spec in recipe.data.sets if spec.name in options.sets]
    sources = [
        TrainSource(path=Path(options.shards) / row.name, every=row.every, weight=row.weight, query=row.query)
        for row in used
    ]
    return TrainData(
        sources,
        strategy=recipe.data.strategy,
        seed=recipe.run.seed,
        epoch_size=None if recipe.data.strategy == "concat" else recipe.data.epoch_size,
        augment=recipe.augment,
        block=options.block,
        staging=None if options.staging is None else Path(options.staging),
    )


def steps_of(recipe: Recipe, epoch_size: int) -> tuple[int, int]:
    """Steps of an epoch and of the whole run.

    Raises:
        UsageError: if an epoch is smaller than one global batch.
    """
    per_epoch = epoch_size // recipe.batch.global_batch
    if per_epoch < 1:
        raise UsageError(
            f"an epoch has {epoch_size} records, fewer than the global batch of {recipe.batch.global_batch}; "
            "set data.epoch_size, or lower batch.global_batch"
        )
    steps = per_epoch * recipe.run.epochs
    return per_epoch, min(steps, recipe.run.max_steps or steps)


def run_worker(folder: Path) -> Ending:
    """Be one process of the run in ``folder``; launchers start as many as ``options.json`` says.

    The launcher holds the run's lease.

    Args:
        folder: of the run.

    Raises:
        HmtoolsError: for whatever keeps the run from going on; :meth:`RunFolder.told` has it, too.
    """
    run = RunFolder(folder)
    try:
        recipe, options = run.recipe(), run.options()
        with StopSignals() as stop, joined(options.device) as world:
            if world.size != options.processes:
                raise UsageError(
                    f"{folder}: expected {options.processes} processes, this is one of {world.size}"
                )
            return _train(run, recipe, options, world, stop)
    except HmtoolsError as error:
        run.tell(error)
        raise


def _train(run: RunFolder, recipe: Recipe, options: RunOptions, world: World, stop: StopSignals) -> Ending:
    data = open_data(recipe, options)
    per_epoch, steps = steps_of(recipe, data.epoch_size)
    bodies = bodies_for(data, world)
    spread = parallel(make_network(recipe, options.weights, bodies, world), recipe, world)
    state = TrainState(spread.network, lr=recipe.optim.lr, decay=recipe.optim.ema)

    def stopped() -> bool:
        return stop.received > 0 or (world.first and run.stop.exists())

    with contextlib.closing(Keeper(run, recipe, options, world, spread, state, per_epoch, steps)) as keeper:
        keeper.resume()
        spread.network.train()
        taken = run_steps(
            state, spread.trained, Objective(spread.trained, recipe, bodies, world),
            _batches(data, recipe, options, world, state.step, per_epoch), world, recipe,
            steps=steps, accumulation=options.accumulation, stopped=stopped,
        )  # fmt: skip
        try:
            for step in taken:  # none, if the last one was taken before
                keeper.after(step)
                if step.stop:
                    break
        except LossIsNotFiniteError as error:
            name = f"not-finite-{error.step:09d}-rank{world.rank:04d}.json"
            write_json(run.path / name, {"step": error.step, "keys": error.keys, "problem": str(error)})
            log.error("the keys of its records are in %s", run.path / name)
            raise
        return keeper.end()


def _batches(
    data: TrainData, recipe: Recipe, options: RunOptions, world: World, step: int, per_epoch: int
) -> Iterator[Batch]:
    """The micro-batches of this process from a step on, epoch after epoch."""
    epoch, done = divmod(step, per_epoch)
    while True:
        yield from loader(
            data, epoch=epoch, cursor=done * recipe.batch.global_batch, rank=world.rank, world=world.size,
            batch=recipe.batch.global_batch // (world.size * options.accumulation), workers=options.workers,
            global_batch=recipe.batch.global_batch, pin_memory=world.device.type == "cuda",
        )  # fmt: skip
        epoch, done = epoch + 1, 0
