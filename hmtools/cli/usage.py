"""How help names what a command takes: ``DATASET``, ``[RECIPE]``, ``INPUTS...``, ``--workers N``.

Typer writes names of Python's types (``<list[str]>``) and puts what is required in braces, which read as
sets. Options without a ``metavar`` are shown with their own name in capitals.
"""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand, TyperGroup

__all__ = ["PlainCommand", "PlainGroup"]


class PlainCommand(TyperCommand):
    """A command whose help names arguments and options plainly."""

    def __init__(self, *args: Any, **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        _name_all(self.params)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What follows the command's name in its usage line."""
        return _usage(self, ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the sections of arguments and options."""
        _write_options(self, ctx, formatter)


class PlainGroup(TyperGroup):
    """A command with commands below it, whose help names them and its options plainly."""

    def __init__(self, *args: Any, **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        _name_all(self.params)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What follows the command's name in its usage line."""
        below = self.subcommand_metavar
        return [*_usage(self, ctx), f"[{below}]" if self.invoke_without_command else below]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the sections of options and of the commands below it."""
        _write_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands below it, each with the whole first sentence of its help."""
        width = 10_000  # no sentence is cut
        rows = [(name, command.get_short_help_str(width)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _write_options(command: Any, ctx: Any, formatter: Any) -> None:
    """Write what a command takes: arguments by their plain names, then options."""
    sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is None:  # hidden
            continue
        text = re.sub(r"x>=(\d+)", r"\1 or more", record[1].replace("  [", " ["))
        if parameter.param_type_name == "argument":  # its usage line says whether it is required
            sections["Arguments"].append((parameter.metavar, text.removesuffix("[required]").rstrip()))
        else:
            sections["Options"].append((record[0], text))
    for heading, rows in sections.items():
        if rows:
            with formatter.section(heading):
                formatter.write_dl(rows)


def _name_all(parameters: list[Any]) -> None:
    for parameter in parameters:
        if parameter.metavar is None and not getattr(parameter, "is_flag", False):
            parameter.metavar = parameter.name.upper().replace("_", "-")


def _usage(command: Any, ctx: Any) -> list[str]:
    arguments = [p for p in command.get_params(ctx) if p.param_type_name == "argument"]
    return ["[OPTIONS]", *map(_in_usage, arguments)]


def _in_usage(argument: Any) -> str:
    name = f"{argument.metavar}" if argument.required else f"[{argument.metavar}]"
    return name if argument.nargs == 1 else f"{name}..."
