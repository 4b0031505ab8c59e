"""``hmtools train``: a recipe, and what it would do."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hmtools.cli import complete
from hmtools.cli.engine_options import Address, Engine

if TYPE_CHECKING:
    from hmtools.train.ending import Ending
    from hmtools.train.launch_slurm import Submitted
    from hmtools.train.options import TrainOptions
    from hmtools.train.plan import TrainPlan

__all__ = ["train"]

log = logging.getLogger(__name__)


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="A shipped recipe (`hmtools recipes list`), or the path of your own, which is Python and is "
            "executed. [default: the setting train.recipe]",
            autocompletion=complete.training_recipes,
        ),
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="How many train together; the global batch stays that of the recipe. [default: as many as "
            "make it without accumulating]",
        ),
    ] = None,
    procs: Annotated[
        int | None,
        typer.Option(metavar="N", help="Train on the CPU, in so many processes: to try things out."),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe; repeatable."),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHTS", help="What to start from: a name, a file, or random. As --set model.init=..."
        ),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only show what would be done; needs neither data nor GPUs.")
    ] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Train without the sets that are not converted.")
    ] = False,
    shards: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Converted sets. [default: the setting shards_root]")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder of the run. [default: train/RECIPE below the setting runs_root]"
        ),
    ] = None,
    engine: Engine = None,
    address: Address = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Processes that make batches, for each GPU. [default: what the cores allow]",
        ),
    ] = None,
    mlflow: Annotated[
        str | None, typer.Option(metavar="URI", help="Where MLflow tracks, to log to as well.")
    ] = None,
    break_lock: Annotated[
        bool, typer.Option("--break-lock", help="Take over from a writer that hangs.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --plan: print it as JSON.")] = False,
) -> None:
    """Train a model by a recipe. The same command again continues where it stopped.

    \b
    Examples:
      hmtools train --plan
      hmtools train smplerx/h32 --gpus 16 --allow-missing --set optim.lr=2e-5
      hmtools train smplerx/tiny/demo --procs 2 --shards demo/shards
    """  # noqa: D301 - \b keeps Typer from joining the lines
    from hmtools.cli.engine_options import engine_settings
    from hmtools.train.plan import make_plan, require_ready
    from hmtools.train.recipe_files import load_training

    settings = engine_settings(engine=engine, address=address)
    changes = [*(change or []), *([f"model.init={init!r}"] if init else [])]
    resolved = load_training(recipe or settings.train.recipe, changes)
    found = make_plan(
        resolved,
        shards=shards or settings.shards_root,
        gpus=_processes(gpus, procs),
        checkpoints=settings.checkpoints,
        allow_missing=allow_missing,
        flag="--gpus" if procs is None else "--procs",
    )
    if plan:
        _show(found, shards, as_json=as_json)
        return
    # What is to be typed again; by then another may write the run.
    command = ("hmtools", *(word for word in sys.argv[1:] if word != "--break-lock"))
    require_ready(found, command, shards=shards)
    from hmtools.train.options import TrainOptions
    from hmtools.train.start import start

    options = TrainOptions(
        out=out or settings.runs_root / "train" / resolved.name.replace("/", "-"),
        shards=shards or settings.shards_root,
        settings=settings,
        device="cuda" if procs is None else "cpu",
        workers=workers,
        mlflow=mlflow,
        break_lock=break_lock,
        command=command,
    )
    if procs is not None:
        log.info("training on the CPU, in %d process%s", procs, "es" * (procs > 1))
    _tell(resolved.name, start(resolved, found, options), options)


def _tell(name: str, how: Ending | Submitted, options: TrainOptions) -> None:
    """Print how the training ended, or where it goes on; ends with 130 if it was stopped."""
    import math
    import shlex

    from hmtools.train.ending import Ending

    command = shlex.join(options.command)
    if not isinstance(how, Ending):
        typer.echo(f"{name}: Slurm job {how.job} trains it in {options.out}")
        typer.echo(f"follow: tail -F {how.log}\ncancel: scancel {how.job}")
        return
    if not how.finished:
        typer.echo(f"{name}: stopped after step {how.step:,} of {how.steps:,}, which is saved")
        typer.echo(f"continue: {command}")
        raise typer.Exit(130)
    best = "" if math.isnan(how.best) else f", best validation {how.best:.2f}"
    typer.echo(f"{name}: finished after {how.steps:,} steps{best}")
    for file in ("final", "best"):
        if (path := options.out / f"{file}.safetensors").is_file():
            typer.echo(f"{file} weights: {path}")


def _processes(gpus: int | None, procs: int | None) -> int | None:
    from hmtools.core.errors import UsageError

    if gpus is not None and procs is not None:
        raise UsageError(f"--gpus {gpus} --procs {procs}: a training is on GPUs or on the CPU; give one")
    return gpus if procs is None else procs


def _show(plan: TrainPlan, shards: Path | None, *, as_json: bool) -> None:
    from hmtools.cli.train_report import HEADINGS, convert_lines, plan_facts, plan_lines, set_rows
    from hmtools.core.log import show, table

    if as_json:
        typer.echo(json.dumps(plan_facts(plan), indent=1))
        return
    typer.echo(f"{plan.recipe.name}: {plan.recipe.title}" if plan.recipe.title else plan.recipe.name)
    show(table(HEADINGS, set_rows(plan)))
    typer.echo("\n".join([*plan_lines(plan), *convert_lines(plan, shards), "Nothing was started."]))
