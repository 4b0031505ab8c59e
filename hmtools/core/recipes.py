"""Finds and reads the recipes that ship with hmtools; the one module that touches mmengine.

A recipe is an mmengine configuration file: Python with ``_base_`` inheritance. Of mmengine only ``Config`` is
used. Reading a recipe executes it, so names are looked up among the shipped ones only. What recipes have in
common lies in folders whose names begin with ``_``: those files are not recipes themselves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hmtools.core.errors import RecipeError, nearest

__all__ = ["evaluate_recipe", "load_recipe", "recipe_names", "recipes_folder"]


def recipes_folder() -> Path:
    """Where recipes lie: inside the installed package, or at the top of a source checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parent / "recipes"


def recipe_names() -> list[str]:
    """Names of the shipped recipes, such as ``demo/world``, sorted."""
    folder = recipes_folder()
    files = (path.relative_to(folder).with_suffix("") for path in folder.rglob("*.py"))
    return sorted(path.as_posix() for path in files if not any(part[0] == "_" for part in path.parts))


def load_recipe(name: str) -> dict[str, Any]:
    """The values of a shipped recipe.

    Raises:
        RecipeError: for an unknown name (with the nearest) or a file that does not evaluate.
    """
    names = recipe_names()
    if name not in names:
        raise RecipeError(
            f"unknown recipe {name!r} (known: {', '.join(names) or 'none'}){nearest(name, names)}"
        )
    return evaluate_recipe(recipes_folder() / f"{name}.py")


def evaluate_recipe(path: Path) -> dict[str, Any]:
    """The values of a recipe file, which is executed, with its bases'.

    Raises:
        RecipeError: for a file that does not evaluate.
    """
    from mmengine.config import Config

    try:
        values: dict[str, Any] = Config.fromfile(path).to_dict()
    except Exception as error:  # reading a recipe executes it, so it can raise anything
        raise RecipeError(f"{path}: {type(error).__name__}: {error}") from error
    return values
