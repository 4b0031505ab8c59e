"""Finds and reads the recipes that ship with hmtools; the one module that touches mmengine.

A recipe is an mmengine configuration file: Python with ``_base_`` inheritance. Of mmengine only ``Config``
(and later ``Registry``) is used. Reading a recipe executes it, so names are looked up among the shipped ones
only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hmtools.core.errors import RecipeError, nearest

__all__ = ["load_recipe", "recipe_names", "recipes_folder"]


def recipes_folder() -> Path:
    """Where recipes lie: inside the installed package, or at the top of a source checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parent / "recipes"


def recipe_names() -> list[str]:
    """Names of the shipped recipes, such as ``demo/world``, sorted."""
    folder = recipes_folder()
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.py"))


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
    from mmengine.config import Config

    path = recipes_folder() / f"{name}.py"
    try:
        values: dict[str, Any] = Config.fromfile(path).to_dict()
    except Exception as error:  # reading a recipe executes it, so it can raise anything
        raise RecipeError(f"{path}: {type(error).__name__}: {error}") from error
    return values
