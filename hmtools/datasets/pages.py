"""A Markdown page for every dataset, made from its declaration and the docstring of its module.

``python -m hmtools.datasets.pages docs/datasets`` writes them; a test fails when they differ from the code.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from hmtools.core.atomic import write_text
from hmtools.core.errors import UsageError
from hmtools.datasets.base import Dataset
from hmtools.datasets.registry import all_datasets

__all__ = ["pages", "write_pages"]

_MODULE = re.compile(r":mod:`~?(hmtools\.datasets\.[a-z0-9_]+)`")
_ROLE = re.compile(r":[a-z]+:`~?([^`]+)`")


def pages() -> dict[str, str]:
    """File name -> Markdown: one page for each dataset, and ``README.md`` that lists them."""
    found = {f"{name}.md": _page(kind) for name, kind in all_datasets().items()}
    return {"README.md": _index(), **found}


def write_pages(folder: Path) -> list[Path]:
    """Write every page into an existing folder and return the paths.

    Raises:
        UsageError: if ``folder`` does not exist.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; name the one that holds the pages")
    for name, text in pages().items():
        write_text(folder / name, text)
    return [folder / name for name in pages()]


def _index() -> str:
    rows = [
        [f"[{name}]({name}.md)", kind.title, ", ".join(kind.splits), kind.body]
        for name, kind in all_datasets().items()
    ]
    return "\n".join(
        [
            "# Datasets",
            "",
            "What hmtools reads of each set, and what becomes of it. `python -m hmtools.datasets.pages`",
            "writes these pages from the code; `hmtools datasets NAME` shows the same in the terminal.",
            "",
            *_table(["name", "dataset", "splits", "annotations"], rows),
            "",
        ]
    )


def _page(kind: type[Dataset]) -> str:
    module = sys.modules[kind.__module__]
    lines = [f"# {kind.title}", "", f"`hmtools convert {kind.name}`", "", *_facts(kind), ""]
    lines += ["## Splits", "", *_splits(kind), ""]
    if kind.options:
        rows = [
            [f"`--option {name}=…`", " \\| ".join(f"`{value}`" for value in option.values) or "text",
             f"`{option.default}`" if option.default else "none", option.help]
            for name, option in kind.options.items()
        ]  # fmt: skip
        lines += ["## Options", "", *_table(["option", "values", "default", "says"], rows), ""]
    lines += ["## Layout", "", "```", kind.layout.strip("\n"), "```", ""]
    lines += ["## Fields", "", *_prose(module)]
    for name in dict.fromkeys(_MODULE.findall(module.__doc__ or "")):
        shared = importlib.import_module(name)
        if "| source field |" in (shared.__doc__ or ""):
            lines += ["", f"### `{name}`", "", *_prose(shared)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _facts(kind: type[Dataset]) -> list[str]:
    world = kind.world
    about = [
        ["annotations", kind.body],
        ["homepage", kind.homepage],
        ["licence", kind.licence],
        ["commercial use", "yes" if kind.commercial_use else "no"],
        ["citation", kind.citation],
        ["folder below `raw_root`", " or ".join(f"`{name}`" for name in kind.folders or (kind.name,))],
        ["box padding in training", f"x {kind.box_ratio:g}"],
        [
            "world frame",
            "none"
            if world.scope == "none"
            else f"one per {world.scope}, up {world.up or 'unknown'}, {'' if world.metric else 'not '}metric",
        ],
    ]
    return _table(["", ""], about)


def _splits(kind: type[Dataset]) -> list[str]:
    rows = []
    for split, role in kind.splits.items():
        counts = kind.official_counts.get(split, {})
        stated = ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "not stated"
        rows.append([f"`{split}`", role, str(kind.every.get(role, 1)), stated])
    return _table(["split", "role", "keeps every", "by its authors"], rows)


def _table(headings: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (headings, ["---"] * len(headings), *rows)]


def _prose(module: ModuleType) -> Iterator[str]:
    """The docstring of a module as Markdown."""
    for line in (inspect.getdoc(module) or "").splitlines():
        plain = _ROLE.sub(r"`\1`", line).replace("``", "`")
        yield plain[:-1] if plain.endswith("::") else plain


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m hmtools.datasets.pages DIR")
    try:
        sys.stdout.writelines(f"{path}\n" for path in write_pages(Path(sys.argv[1])))
    except UsageError as error:
        raise SystemExit(str(error)) from None
