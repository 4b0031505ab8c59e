"""What ``hmtools train --plan`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from hmtools.train.plan import TrainPlan
    from hmtools.train.planned_sets import PlannedSet

__all__ = ["convert_lines", "plan_facts", "plan_lines", "set_rows"]

HEADINGS = ["set", "state", "people", "every", "left", "per epoch"]
_SHARES = {
    "concat": "every record once",
    "balance": "the same share of every set, drawn afresh each time",
    "balance-smplerx": "the same share of every set, as published",
    "weights": "shares by weight",
}
_STATES = {"no converter": "no converter in this version"}


def set_rows(plan: TrainPlan) -> list[list[str]]:
    """A row under :data:`HEADINGS` for each training and validation set."""
    rows = [_row(item) for item in plan.sets]
    return rows + [[*_row(item)[:-1], "validation"] for item in plan.validation]


def _row(item: PlannedSet) -> list[str]:
    note = f" ({item.source})" if item.source in ("official", "SMPLer-X") else ""
    people = _number(item.people) + note
    if item.counted_every > 1 and item.people is not None:
        people += f" at every {item.counted_every}"
    left = _number(item.kept) + (" before its query" if item.spec.query else "")
    state = _STATES.get(item.state, item.state)
    return [item.spec.name, state, people, str(item.spec.every), left, _number(item.per_epoch, none="-")]


def _number(count: int | None, none: str = "?") -> str:
    return none if count is None else f"{count:,}"


def plan_lines(plan: TrainPlan) -> list[str]:
    """What stands below the table of sets."""
    from hmtools.core.log import format_bytes
    from hmtools.train.plan import PARAMETERS

    recipe, run = plan.recipe, plan.recipe.run
    counts = dict.fromkeys(("converted", "not converted", "no converter", "unreadable"), 0)
    for item in plan.sets:
        counts[item.state] += 1
    states = ", ".join(f"{count} {_STATES.get(state, state)}" for state, count in counts.items() if count)
    lines = [f"{len(plan.sets)} set{'s' * (len(plan.sets) > 1)}: {states}"]
    if {"official", "SMPLer-X"} & {item.source for item in plan.sets}:
        lines.append("official: as its authors state it; SMPLer-X: as its authors count that set")
    if plan.allow_missing and len(plan.used) < len(plan.sets):
        lines.append(f"the shares of {len(plan.sets) - len(plan.used)} sets go to those that are there")
    lines += [
        f"epoch of {_number(plan.epoch_size)} records: {_SHARES[recipe.data.strategy]}",
        str(plan.batch),
        f"{_number(plan.steps_per_epoch)} steps an epoch, {run.epochs} epochs, {_number(plan.steps)} steps",
        f"checkpoint of {format_bytes(plan.checkpoint_bytes)} for {PARAMETERS[recipe.model.size]:,} weights, "
        f"every {run.checkpoint_every:,} steps; {run.keep_checkpoints} are kept, and the last of each epoch",
        _weights(plan),
    ]
    if recipe.reference_faults:
        lines.append(f"reproduces faults of the published code: {', '.join(recipe.reference_faults)}")
    problems = [
        f"{item.spec.name}: {item.problem}" for item in (*plan.sets, *plan.validation) if item.problem
    ]
    return lines + [f"problem: {problem}" for problem in problems]


def _weights(plan: TrainPlan) -> str:
    if plan.weights_problem:
        return plan.weights_problem
    return f"starts from {plan.weights}" if plan.weights else "starts from random weights"


def convert_lines(plan: TrainPlan, shards: Path | None = None) -> list[str]:
    """The commands that convert what is missing, under a heading; none where nothing can be converted.

    Args:
        plan: of the training.
        shards: folder of converted sets, if it is not that of the setting.
    """
    from hmtools.train.plan import convert_commands

    commands = convert_commands(plan, shards)
    return ["convert what is missing:", *(f"  {line}" for line in commands)] if commands else []


def plan_facts(plan: TrainPlan) -> dict[str, Any]:
    """The plan as JSON values."""
    return {
        "recipe": plan.recipe.name,
        "sets": [_set_facts(item) for item in plan.sets],
        "validation": [_set_facts(item) for item in plan.validation],
        "strategy": plan.recipe.data.strategy,
        "epoch_size": plan.epoch_size,
        "global_batch": plan.batch.global_batch,
        "gpus": plan.batch.gpus,
        "micro_batch": plan.batch.micro_batch,
        "accumulation": plan.batch.accumulation,
        "assumed": plan.batch.assumed,
        "steps_per_epoch": plan.steps_per_epoch,
        "steps": plan.steps,
        "checkpoint_bytes": plan.checkpoint_bytes,
        "weights": None if plan.weights is None else str(plan.weights),
        "weights_problem": plan.weights_problem or None,
        "reference_faults": list(plan.recipe.reference_faults),
    }


def _set_facts(item: PlannedSet) -> dict[str, Any]:
    return {
        "set": item.spec.name,
        "state": item.state,
        "people": item.people,
        "people_from": item.source or None,
        "counted_every": item.counted_every,
        "every": item.spec.every,
        "left": item.kept,
        "per_epoch": item.per_epoch,
        "convert": item.convert_command() or None,
        "problem": item.problem or None,
    }
