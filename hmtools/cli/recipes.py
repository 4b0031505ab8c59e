"""``hmtools recipes``: what can be trained, shown, copied and checked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hmtools.cli.complete import training_recipes

if TYPE_CHECKING:
    from hmtools.train.recipe import Recipe

__all__ = ["SUBCOMMANDS", "recipes"]

_WHICH = typer.Argument(
    metavar="RECIPE", help="A shipped recipe, or the path of one.", autocompletion=training_recipes
)
_COLUMNS = ["name", "what", "sets here", "records", "batch"]
_SET = typer.Option("--set", metavar="KEY=VALUE", help="Change a value; repeatable.")


def recipes() -> None:
    """List, show, copy and check training recipes.

    A recipe says everything that decides what a training gives: network, sets, batch, optimiser, schedule.
    Those of your own are named by their path; they are Python, and reading them executes them.

    \b
    Examples:
      hmtools recipes list
      hmtools recipes show smplerx/h32 --set data.sets.bedlam.every=1
      hmtools recipes copy smplerx/b5 mine.py
      hmtools recipes validate mine.py
    """  # noqa: D301 - \b keeps the lines of an example apart


def _list(
    everything: Annotated[
        bool, typer.Option("--all", help="Also those with the faults of the published code.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON, all of them.")] = False,
) -> None:
    """List the shipped recipes, and how many of their sets this version can convert.

    \b
    Examples:
      hmtools recipes list
      hmtools recipes list --all
      hmtools recipes list --json
    """  # noqa: D301
    import json

    from hmtools.core.log import show, table
    from hmtools.train.recipe_files import load_training, training_names

    found = [load_training(name) for name in training_names()]
    if as_json:
        facts = {
            recipe.name: {
                "title": recipe.title,
                "sets": len(recipe.data.sets),
                "convertible": _convertible(recipe),
            }
            for recipe in found
        }
        typer.echo(json.dumps(facts, indent=1))
        return
    listed = [recipe for recipe in found if everything or not recipe.reference_faults]
    rows = [_row(recipe) for recipe in listed]
    made = table(_COLUMNS, rows)
    for number, (heading, column) in enumerate(zip(_COLUMNS, made.columns, strict=True)):
        if heading != "what":  # names are copied; where it is narrow, the words give way
            column.width = max(len(text) for text in (*heading.split(), *(row[number] for row in rows)))
    show(made)
    typer.echo("sets here: how many of its sets this version can convert; records: epochs x those of one")
    if any(recipe.batch.assumed for recipe in listed):
        typer.echo("*: assumed; published is the batch of one GPU, not their number")
    if hidden := len(found) - len(listed):
        typer.echo(f"{hidden} more reproduce faults of the published code: --all")


def _row(recipe: Recipe) -> list[str]:
    data, batch = recipe.data, recipe.batch
    per_epoch = "all" if data.epoch_size is None else f"{data.epoch_size:,}"
    return [
        recipe.name,
        recipe.title,
        f"{_convertible(recipe)}/{len(data.sets)}",
        f"{recipe.run.epochs} x {per_epoch}",
        f"{batch.global_batch}{'*' * batch.assumed}",
    ]


def _convertible(recipe: Recipe) -> int:
    from hmtools.train.planned_sets import has_converter

    return sum(has_converter(spec) for spec in recipe.data.sets)


def _show(
    which: Annotated[str, _WHICH],
    change: Annotated[list[str] | None, _SET] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show every value of a recipe, defaults and bases resolved.

    \b
    Examples:
      hmtools recipes show smplerx/h32
      hmtools recipes show mine.py --json
    """  # noqa: D301
    import json

    from hmtools.train.recipe import recipe_json
    from hmtools.train.recipe_files import load_training
    from hmtools.train.recipe_text import recipe_text

    recipe = load_training(which, change or [])
    typer.echo(json.dumps(recipe_json(recipe), indent=1) if as_json else recipe_text(recipe), nl=as_json)


def _copy(
    which: Annotated[str, _WHICH],
    to: Annotated[Path, typer.Argument(metavar="FILE", help="The new file, ending in .py.")],
    change: Annotated[list[str] | None, _SET] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a recipe of your own to start from: one file with every value, no bases.

    \b
    Example:
      hmtools recipes copy smplerx/h32 mine.py --set optim.lr=2e-5
    """  # noqa: D301
    from hmtools.core.atomic import write_text
    from hmtools.core.errors import UsageError
    from hmtools.train.recipe_files import load_training
    from hmtools.train.recipe_text import recipe_text

    if to.suffix != ".py":
        raise UsageError(f"{to}: a recipe's file ends in .py")
    if to.exists() and not force:
        raise UsageError(f"{to}: exists; --force replaces it")
    write_text(to, f"# From {which}, with every value.\n{recipe_text(load_training(which, change or []))}")
    typer.echo(f"{to}: edit it, then\n  hmtools recipes validate {to}\n  hmtools train {to} --plan")


def _validate(
    which: Annotated[
        list[str],
        typer.Argument(metavar="RECIPE", help="Shipped recipes, or paths.", autocompletion=training_recipes),
    ],
) -> None:
    """Check recipes: keys, types, sets, queries, augmentation; and build each network without memory.

    Exits with 2 if one has a problem.

    \b
    Example:
      hmtools recipes validate mine.py
    """  # noqa: D301
    from hmtools.core.errors import RecipeError
    from hmtools.train.recipe_check import build_on_meta, check_recipe
    from hmtools.train.recipe_files import load_training

    problems = []
    for name in which:
        try:
            recipe = load_training(name)
        except RecipeError as error:
            problems.append(str(error))
            continue
        found = [f"{name}: {problem}" for problem in check_recipe(recipe)]
        problems += found
        if not found:
            sets = len(recipe.data.sets)
            typer.echo(f"{name}: fine; {sets} set{'s' * (sets > 1)}, {build_on_meta(recipe):,} weights")
    if problems:
        raise RecipeError("\n".join(problems))


SUBCOMMANDS: dict[str, Callable[..., Any]] = {
    "list": _list,
    "show": _show,
    "copy": _copy,
    "validate": _validate,
}
"""What follows ``hmtools recipes``."""
