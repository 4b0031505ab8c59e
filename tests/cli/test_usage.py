"""What every help page looks like: plain names, one form of defaults, lines that fit."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from hmtools.cli.app import COMMANDS, app
from hmtools.cli.usage import PlainCommand, PlainGroup

# Names of Python's types, sets that are none, and the forms of a default besides [default: ...].
WRONG = re.compile(r"list\[|int range|[{}]|<[a-z]|x>=|(?<!\[)\b[Dd]efault:|\(default\b")


def pages(columns: int) -> Iterator[tuple[str, str]]:
    """Words of each command, and its help in a terminal of that width."""
    rows = [(name, module) for table in COMMANDS.values() for name, (module, _) in table.items()]
    below = {name: getattr(importlib.import_module(module), "SUBCOMMANDS", {}) for name, module in rows}
    for name, subcommands in below.items():
        for words in [(name,), *((name, own) for own in subcommands)]:
            shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": str(columns)})
            assert shown.exit_code == 0, shown.output
            yield " ".join(words), shown.stdout


@pytest.mark.parametrize("columns", [80, 120])
def test_every_page_is_plain_and_fits(columns: int) -> None:
    found = list(pages(columns))
    assert len(found) > len(COMMANDS)
    wrong = [
        f"{words}: {line}"
        for words, page in found
        for line in page.splitlines()
        if WRONG.search(line) or len(line) > columns
    ]
    assert not wrong, "\n".join(wrong)
    assert not [words for words, page in found if "..." in page.partition("\nCommands:\n")[2]]


def extra(
    thing: str, others: list[str], size: int = 3, name: Annotated[str, typer.Option(metavar="NAME")] = "x"
) -> None:
    """Take things."""


def shown(*arguments: str) -> str:
    made = typer.Typer(add_completion=False, rich_markup_mode=None)
    made.command("extra", cls=PlainCommand)(extra)
    made.command("other", cls=PlainCommand, hidden=True)(lambda: None)
    made.callback(cls=PlainGroup, invoke_without_command=True)(lambda: None)
    return CliRunner().invoke(made, [*arguments], prog_name="x").output


def test_names_of_what_is_taken() -> None:
    page = shown("extra", "--help")
    assert "Usage: x extra [OPTIONS] THING OTHERS...\n" in page
    assert "required" not in page
    assert "--size SIZE  [default: 3]" in page
    assert "--name NAME  [default: x]" in page


def test_a_missing_argument_is_named_as_in_the_usage_line() -> None:
    assert "Missing argument 'THING'" in shown("extra")


def test_a_command_that_also_runs_alone() -> None:
    assert "Usage: x [OPTIONS] [COMMAND [ARGS]...]\n" in shown("--help")
