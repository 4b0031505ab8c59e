"""Finds training recipes, applies ``--set`` to them, and resolves them.

Three things can be named: a shipped recipe (``smplerx/h32``), the path of a recipe of one's own (ends in
``.py``; reading it executes it, so that nothing but an explicit path will do), and the path of a resolved
recipe from a run folder (ends in ``.json``; nothing is executed).
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hmtools.core.errors import RecipeError, UsageError, nearest
from hmtools.core.recipes import evaluate_recipe, load_recipe, recipe_names, recipes_folder
from hmtools.train.recipe import Recipe, read_recipe, recipe_json, resolve

__all__ = ["changed", "load_training", "recipe_source", "training_names"]

_OTHER_KINDS = ("demo/",)  # shipped recipes that train nothing
_WORD = re.compile(r"[\w./+-]+")
_WORDS = {"none": None, "null": None, "true": True, "false": False}


def training_names() -> list[str]:
    """Names of the shipped recipes that train something, ``b5`` before ``b10``."""
    found = [name for name in recipe_names() if not name.startswith(_OTHER_KINDS)]
    return sorted(found, key=_in_order)


def _in_order(name: str) -> list[tuple[bool, int, str]]:
    folder, _, last = name.rpartition("/")
    words = re.findall(r"\d+|\D+", last)
    return [
        (True, 0, folder),
        *((word.isdecimal(), int(word) if word.isdecimal() else 0, word) for word in words),
    ]


def load_training(which: str, changes: Sequence[str] = ()) -> Recipe:
    """Read a training recipe.

    Args:
        which: name of a shipped recipe, or the path of a ``.py`` or ``.json`` file.
        changes: ``key=value``, as ``--set`` takes them; keys are dotted, values Python literals or words.

    Returns:
        The resolved recipe; ``name`` is ``which`` without folders and ending, if it is a path.

    Raises:
        RecipeError: for an unknown name (with the nearest), a file that is not there or does not evaluate,
            and all that :func:`~hmtools.train.recipe.resolve` refuses.
        UsageError: for a change that is not ``key=value``.
    """
    path = Path(which)
    if path.suffix == ".json":
        values = {key: value for key, value in recipe_json(read_recipe(path)).items() if key != "format"}
        return resolve(changed(values, changes), where=which)
    if path.suffix == ".py":
        values, name = evaluate_recipe(_own_file(path)), path.stem
    else:
        values, name = load_recipe(_shipped(which)), which
    return resolve({"name": name, **changed(values, changes)}, where=which)


def recipe_source(which: str) -> Path:
    """The file of a shipped recipe.

    Raises:
        RecipeError: for an unknown name.
    """
    return recipes_folder() / f"{_shipped(which)}.py"


def _shipped(name: str) -> str:
    names = training_names()
    if name in names:
        return name
    hint = nearest(name, names) or nearest(f"smplerx/{name}", names)
    if Path(name).exists() or Path(f"{name}.py").exists():
        hint = " (a recipe of your own is named by its path, with .py)"
    raise RecipeError(f"there is no recipe {name!r}{hint}; 'hmtools recipes list' shows all")


def _own_file(path: Path) -> Path:
    if path.is_file():
        return path
    name = path.with_suffix("").as_posix()
    hint = f"; the shipped recipe is called {name!r}" if name in training_names() else ""
    raise RecipeError(f"{path}: there is no such file{hint}")


def changed(values: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """Values of a recipe with some of them replaced.

    Args:
        values: tables in tables, as a recipe file holds them; they are not touched.
        changes: ``key=value``. A key is dotted (``optim.lr``, ``data.sets.bedlam.every``); a part that is not
            there yet becomes a new key, which resolving the recipe then judges.

    Raises:
        UsageError: for something else than ``key=value``, or a key that leads through what is no table.
    """
    found: dict[str, Any] = copy.deepcopy(dict(values))
    for change in changes:
        key, equals, text = change.partition("=")
        *above, last = key.strip().split(".")
        if not equals or not last or not all(above):
            raise UsageError(f"--set {change!r}: expected KEY=VALUE, such as optim.lr=2e-5")
        table: Any = found
        for part in above:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise UsageError(f"--set {change!r}: {part!r} is no table, it has no keys below it")
        table[last] = _literal(text.strip())
    return found


def _literal(text: str) -> Any:
    """``1e-5`` is a number, ``[a, b]`` and ``a,b`` are lists, ``none`` is None, other words are text."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        pass
    inner = text[1:-1] if text[:1] + text[-1:] in ("[]", "()") else text
    items = [item.strip() for item in inner.split(",")]
    listed = inner != text or len(items) > 1
    return [_literal(item) for item in items] if listed and all(map(_WORD.fullmatch, items)) else text
