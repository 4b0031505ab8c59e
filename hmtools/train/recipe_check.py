"""Whether a recipe can work here: its sets, queries and weights are known, and its network can be built."""

from __future__ import annotations

from collections.abc import Iterator

from hmtools.core.errors import UsageError, nearest
from hmtools.datasets.registry import all_datasets
from hmtools.shards.query import parse
from hmtools.train.augment import check_window
from hmtools.train.recipe import Recipe, SetSpec
from hmtools.train.sets import train_set

__all__ = ["build_on_meta", "check_recipe"]


def check_recipe(recipe: Recipe) -> list[str]:
    """What would fail later, in words; no torch is loaded and no data looked at.

    A set without a converter in this version is no problem, its shards may come from elsewhere.
    """
    rows = [*recipe.data.sets, *recipe.validate.sets]
    found = [f"{row.name}: {problem}" for row in rows for problem in _set_problems(row)]
    return found + [problem for row in recipe.data.sets for problem in _training_problems(row, recipe)]


def _training_problems(row: SetSpec, recipe: Recipe) -> Iterator[str]:
    kind = all_datasets().get(row.dataset)
    try:
        trained = train_set(row.dataset)
        stored = trained.box_ratio if kind is None else kind.box_ratio
        check_window(recipe.augment, trained.box_ratio, stored, row.name)
    except UsageError as error:
        yield str(error)


def _set_problems(row: SetSpec) -> Iterator[str]:
    try:
        if row.query:
            parse(row.query)
    except UsageError as error:
        yield f"query: {error}"
    kind = all_datasets().get(row.dataset)
    if kind is None:
        return
    if row.split not in kind.splits:
        known = ", ".join(kind.splits)
        yield f"there is no such split (its splits: {known}){nearest(row.split, kind.splits)}"
        return
    usual = kind.every.get(kind.splits[row.split], 1)
    if row.every % usual:
        yield f"every {row.every} is no multiple of {usual}, the interval it is converted with by default"
    try:
        kind(row.options)
    except UsageError as error:
        yield str(error)


def build_on_meta(recipe: Recipe) -> int:
    """Build the recipe's network without memory for its numbers.

    Returns:
        How many numbers it has, the body model's left out.
    """
    import torch

    from hmtools.models.sizes import size_named
    from hmtools.models.smplerx.model import SmplerX

    spec = recipe.model
    with torch.device("meta"):
        network = SmplerX(size_named(spec.size), None, checkpoint=spec.activation_checkpointing)
    return sum(parameter.numel() for parameter in network.parameters())
