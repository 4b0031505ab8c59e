"""What a training would do, found out without torch, without GPUs and without converted data.

For each set: whether its shards are there, how many people it has (of the manifest; until then the number
that is stated for it), what the interval leaves of them and how many an epoch draws. Then the batch, the
steps, the size of a checkpoint and the weights it starts from. :func:`require_ready` turns what is missing
into an error that says what to do, before anything is started.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hmtools.core.errors import CheckpointError, LayoutError, RecipeError
from hmtools.models.weights_folder import locate_weights
from hmtools.train.batch_plan import BatchPlan, plan_batch
from hmtools.train.mixture import quotas
from hmtools.train.planned_sets import PlannedSet, look_at
from hmtools.train.recipe import RANDOM, Recipe
from hmtools.train.recipe_check import check_recipe

__all__ = ["PARAMETERS", "TrainPlan", "convert_commands", "make_plan", "require_ready"]

PARAMETERS = {"tiny": 345_808, "s": 32_008_024, "b": 102_939_928, "l": 326_654_872, "h": 661_827_096}
"""Numbers of SMPLer-X by size of its encoder (published; tiny: counted)."""

_NUMBER = 4  # bytes; all that is stored is float32
_ADAM = 2  # moments


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainPlan:
    """What a training would do.

    Attributes:
        recipe: what is trained.
        sets: its training sets, in its order.
        validation: its validation sets.
        batch: how a step is made.
        allow_missing: only sets that are there are drawn from; the shares of the others go to them.
        epoch_size: records of an epoch, or None while it follows from sets whose size nobody knows.
        steps_per_epoch: whole global batches of an epoch; what is left over is drawn in no step.
        steps: of the run.
        checkpoint_bytes: weights, their moving average if there is one, and Adam's moments.
        weights: the file training starts from; None: random weights, or a file that is not there.
        weights_problem: why there is no file, if there should be one; empty otherwise.
    """

    recipe: Recipe
    sets: tuple[PlannedSet, ...]
    validation: tuple[PlannedSet, ...]
    batch: BatchPlan
    allow_missing: bool
    epoch_size: int | None
    steps_per_epoch: int | None
    steps: int | None
    checkpoint_bytes: int
    weights: Path | None
    weights_problem: str

    @property
    def used(self) -> tuple[PlannedSet, ...]:
        """The sets that are drawn from: all, or with ``allow_missing`` those that are there."""
        return tuple(row for row in self.sets if row.there or not self.allow_missing)

    @property
    def missing(self) -> tuple[PlannedSet, ...]:
        """Training and validation sets without readable shards."""
        return tuple(row for row in (*self.sets, *self.validation) if not row.there)


def make_plan(
    recipe: Recipe,
    *,
    shards: Path,
    gpus: int | None = None,
    checkpoints: Path | None = None,
    allow_missing: bool = False,
    flag: str = "--gpus",
) -> TrainPlan:
    """Find out what a training would do.

    Args:
        recipe: what to train.
        shards: folder of converted sets, ``SHARDS/<dataset>/<split>``; need not exist.
        gpus: how many; None: as many as make a step without accumulation.
        checkpoints: folder of weights; default: the setting.
        allow_missing: draw from the sets that are there only.
        flag: what the user said their number with, for the message.

    Raises:
        UsageError: if the GPUs do not fit the recipe.
    """
    batch = plan_batch(recipe.batch, gpus, flag=flag)
    sets = [look_at(spec, shards) for spec in recipe.data.sets]
    used = [i for i, row in enumerate(sets) if row.there or not allow_missing]
    epoch_size, shares = _shares(recipe, [sets[i] for i in used])
    for i, share in zip(used, shares, strict=True):
        sets[i] = sets[i].drawn(share)
    per_epoch = None if epoch_size is None else epoch_size // batch.global_batch
    steps = None if per_epoch is None else per_epoch * recipe.run.epochs
    if recipe.run.max_steps is not None:
        steps = recipe.run.max_steps if steps is None else min(steps, recipe.run.max_steps)
    weights, problem = _weights(recipe, checkpoints)
    copies = 1 + _ADAM + (recipe.optim.ema is not None)
    return TrainPlan(
        recipe=recipe,
        sets=tuple(sets),
        validation=tuple(look_at(spec, shards) for spec in recipe.validate.sets),
        batch=batch,
        allow_missing=allow_missing,
        epoch_size=epoch_size,
        steps_per_epoch=per_epoch,
        steps=steps,
        checkpoint_bytes=PARAMETERS[recipe.model.size] * _NUMBER * copies,
        weights=weights,
        weights_problem=problem,
    )


def _shares(recipe: Recipe, used: Sequence[PlannedSet]) -> tuple[int | None, list[int | None]]:
    """Records of an epoch, and of each set in it; None where the size of a set is needed and not known."""
    data, kept = recipe.data, [row.kept for row in used]
    known = [count for count in kept if count is not None]
    together = sum(known) if len(known) == len(kept) else None
    if data.strategy == "concat":
        return together, list(kept)
    total = together if data.epoch_size is None else data.epoch_size
    if total is None or not used:
        return total, [None] * len(used)
    weights = [row.spec.weight if data.strategy == "weights" else 1.0 for row in used]
    return total, list(quotas([count or 1 for count in kept], total, weights))


def _weights(recipe: Recipe, folder: Path | None) -> tuple[Path | None, str]:
    if recipe.model.init == RANDOM:
        return None, ""
    try:
        return locate_weights(recipe.model.init, folder), ""
    except CheckpointError as error:
        return None, str(error)


def require_ready(plan: TrainPlan, command: Sequence[str], *, shards: Path | None = None) -> None:
    """Check that a training can start: shards and weights are there and fit the recipe.

    Args:
        plan: of the training.
        command: what the user typed, for the commands that messages end with.
        shards: folder of converted sets, if it is not that of the setting.

    Raises:
        RecipeError: for rows that contradict their shards.
        LayoutError: for missing sets, unless the plan allows them; with the commands that convert them.
        CheckpointError: for missing weights, with the page they come from.
    """
    rows = (*plan.used, *plan.validation)
    wrong = check_recipe(plan.recipe) or [f"{row.spec.name}: {row.problem}" for row in rows if row.problem]
    if wrong:
        raise RecipeError("\n  ".join([f"{plan.recipe.name}: sets that do not fit it", *wrong]))
    lines: list[str] = []
    if plan.missing and not (plan.allow_missing and any(row.there for row in plan.sets)):
        lines += _missing_lines(plan, command, shards)
    error = LayoutError if lines else CheckpointError
    if plan.weights_problem:
        drawn = shlex.join([*_without_init(command), "--init", RANDOM])
        lines += [plan.weights_problem, "Or start from random weights:", f"  {drawn}"]
    if lines:
        raise error("\n".join(lines))


def _without_init(command: Sequence[str]) -> Iterator[str]:
    """The words of a command but for ``--init`` and its value."""
    words = iter(command)
    for word in words:
        if word == "--init":
            next(words, None)
        elif not word.startswith("--init="):
            yield word


def convert_commands(plan: TrainPlan, shards: Path | None = None) -> list[str]:
    """The commands that convert what is missing of a training, each once.

    Args:
        plan: of the training.
        shards: folder of converted sets, if it is not that of the setting.
    """
    commands = [line for row in plan.missing if (line := row.convert_command(shards))]
    return list(dict.fromkeys(commands))


def _missing_lines(plan: TrainPlan, command: Sequence[str], shards: Path | None) -> Iterator[str]:
    sets, validation = [row for row in plan.sets if not row.there], len(plan.validation)
    lost = sum(not row.there for row in plan.validation)
    extra = f", and {lost} of the {validation} it is validated on" if lost else ""
    yield f"{plan.recipe.name}: {len(sets)} of its {len(plan.sets)} sets are not converted{extra}."
    commands = convert_commands(plan, shards)
    if commands:
        yield "Convert them:"
        yield from (f"  {line}" for line in commands)
    there = [row.spec.name for row in plan.sets if row.there]
    nobody = sorted({row.spec.name for row in plan.missing if row.state == "no converter"})
    if nobody:
        without = "; --allow-missing trains without them" if there or commands else ""
        yield f"No converter in this version ({len(nobody)}){without}: {', '.join(nobody)}"
    if not there:
        yield "None of its sets is there, so there is nothing to train on."
        return
    yield f"Or train without them; their share of an epoch goes to {', '.join(there)}:"
    yield f"  {shlex.join([*command, '--allow-missing'])}"
