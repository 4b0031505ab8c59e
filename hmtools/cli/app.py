"""The ``hmtools`` command: its table of commands, what all of them share, and how errors end.

A command is a function named like it, in the module :data:`COMMANDS` names; its parameters (Typer's
``Annotated``) and docstring make its help. Where that module also has a table ``SUBCOMMANDS`` (name ->
function), the command is a group of those, and its own function gives the help; with ``RUNS_ALONE`` that
function is also run where none of them follows. A module is imported when its command is used, so ``hmtools
--help`` stays as fast as this file, whatever the commands need.
"""

from __future__ import annotations

import importlib
import os
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from hmtools.cli.usage import PlainCommand, PlainGroup
from hmtools.core.errors import HmtoolsError

__all__ = ["COMMANDS", "app", "main"]

COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "Data": {
        "datasets": ("hmtools.cli.datasets", "What can be converted, and the layout each set needs."),
        "convert": ("hmtools.cli.convert", "Turn an official download into shards."),
        "derive": ("hmtools.cli.derive", "Fill joints and boxes once body models are there."),
        "synth": ("hmtools.cli.synth", "Make a small synthetic dataset in its official layout."),
        "demo": ("hmtools.cli.demo", "The whole chain on synthetic data, in minutes."),
    },
    "Train": {
        "train": ("hmtools.cli.train", "Train a model by a recipe, or show what that would do."),
        "recipes": ("hmtools.cli.recipes", "Training recipes: list, show, copy, check."),
    },
    "Predict": {
        "infer": ("hmtools.cli.infer", "People of shards, images and videos, by a trained network."),
        "render": ("hmtools.cli.render", "Pictures and videos of predictions, without predicting again."),
        "export": ("hmtools.cli.export", "Predictions as npz, AMASS, meshes or animated glTF."),
    },
    "Look": {
        "inspect": ("hmtools.cli.inspect", "What shards hold, in numbers."),
        "view": ("hmtools.cli.view", "A page of pictures with boxes and skeletons."),
        "validate": ("hmtools.cli.validate", "Check everything shards claim."),
    },
    "Benchmarks": {
        "bench": ("hmtools.cli.bench", "Predictions against a test set, by a named protocol."),
        "report": ("hmtools.cli.report", "Results beside each other and beside published ones."),
    },
    "Cluster": {
        "jobs": ("hmtools.cli.jobs", "State of running and past jobs, and their failures."),
    },
    "Set-up": {
        "body": ("hmtools.cli.body", "Body-model files: found, checked, cleaned; a free stand-in."),
        "weights": ("hmtools.cli.weights", "Released weights: found, imported, checked."),
        "config": ("hmtools.cli.config", "Every setting, its value and where it comes from."),
        "doctor": ("hmtools.cli.doctor", "What is wrong with this machine, and the remedy."),
    },
}
"""Heading of the help -> command -> (module with a function of that name, one line of help)."""

# Help and usage errors are plain text: rich's markup would eat what stands in square brackets, and it costs
# more time than everything else together.
_PLAIN: dict[str, Any] = {"rich_markup_mode": None, "pretty_exceptions_enable": False}
_CONTEXT = {"help_option_names": ["-h", "--help"]}


class _LazyCommand(TyperCommand):
    """Stands in the table for a command whose module is imported on use."""

    def __init__(self, name: str, module: str, summary: str) -> None:
        super().__init__(name=name, help=summary, rich_markup_mode=None)
        self._module = module

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        """Parse ``args`` with the real command, which is also the one that is run."""
        module = importlib.import_module(self._module)
        function, below = getattr(module, str(self.name)), getattr(module, "SUBCOMMANDS", {})
        real = typer.Typer(add_completion=False, **_PLAIN)
        if below:
            alone = bool(getattr(module, "RUNS_ALONE", False))
            real.callback(
                cls=PlainGroup, context_settings=_CONTEXT, no_args_is_help=True, invoke_without_command=alone
            )(function)
            for name, subcommand in below.items():
                real.command(name, cls=PlainCommand, context_settings=_CONTEXT)(subcommand)
        else:
            real.command(self.name, cls=PlainCommand, context_settings=_CONTEXT)(function)
        return typer.main.get_command(real).make_context(info_name, args, parent, **extra)


class _Group(TyperGroup):
    """The commands under their headings; errors that are meant for the user end as one message."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        for rows in COMMANDS.values():
            for name, (module, summary) in rows.items():
                self.add_command(_LazyCommand(name, module, summary))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section per heading."""
        width = max(len(name) for name in self.commands)
        for heading, rows in COMMANDS.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), rows[name][1]) for name in rows])

    def invoke(self, ctx: Any) -> Any:
        """Run a command; an error that is meant for the user becomes a message and an exit code."""
        try:
            return super().invoke(ctx)
        except HmtoolsError as error:
            _stop(str(error), error.exit_code)
        except KeyboardInterrupt:
            _stop("stopped", 130)
        except BrokenPipeError:
            raise  # Typer ends quietly: whoever read our output has read enough
        except OSError as error:
            _stop(f"{error} (HMTOOLS_DEBUG=1 shows where)", 1)


def _stop(message: str, code: int) -> NoReturn:
    if os.environ.get("HMTOOLS_DEBUG", "0") not in ("", "0"):
        import traceback

        traceback.print_exc()
    typer.echo(f"hmtools: {message}", err=True)
    raise typer.Exit(code) from None


def _show_version(wanted: bool) -> None:
    if wanted:
        from hmtools import __version__

        typer.echo(f"hmtools {__version__}")
        raise typer.Exit


app = typer.Typer(cls=_Group, context_settings=_CONTEXT, no_args_is_help=True, **_PLAIN)


@app.callback()
def _hmtools(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log what is done, not only results.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Human mesh recovery: convert datasets, train, predict, benchmark.

    Each command has its own help with examples: hmtools COMMAND --help.

    \b
    Examples:
      hmtools demo
      hmtools convert mscoco --root /data/MSCOCO --split val2017
      hmtools view shards/mscoco/val2017 --out page.html
      hmtools train smplerx/h32 --plan
      hmtools infer smplerx-h32 dance.mp4 --out runs/dance
      hmtools bench --testset 3DPW --model smplerx-h32
    """  # noqa: D301 - \b keeps the lines of an example apart
    from hmtools.core.log import setup_logging

    setup_logging(1 if verbose else 0)


def main() -> None:
    """Run the command line and exit; the entry point of the package."""
    app(prog_name="hmtools")
