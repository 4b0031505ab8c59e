"""Shipped recipes: found by name, evaluated, and errors that name the file."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from hmtools.core import recipes
from hmtools.core.errors import RecipeError
from hmtools.core.recipes import load_recipe, recipe_names, recipes_folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that counts as the shipped one."""
    monkeypatch.setattr(recipes, "recipes_folder", lambda: tmp_path)
    return tmp_path


def test_shipped_recipes() -> None:
    assert "demo/world" in recipe_names()
    assert recipe_names() == sorted(recipe_names())
    assert all((recipes_folder() / f"{name}.py").is_file() for name in recipe_names())


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_evaluates(name: str) -> None:
    assert load_recipe(name)


def test_demo() -> None:
    worlds = load_recipe("demo/world")["worlds"]
    assert [world["dataset"] for world in worlds if "testset" not in world] == ["mscoco"]
    assert len({world["testset"] for world in worlds if "testset" in world}) == 5
    assert all(world["synth"]["frames"] > 0 for world in worlds)


def test_unknown_name() -> None:
    with pytest.raises(
        RecipeError, match=r"unknown recipe 'demo/worlds' .*did you mean 'demo/world'"
    ) as caught:
        load_recipe("demo/worlds")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["", "../secret", "/etc/passwd", "demo/world.py", "./demo/world", "demo"])
def test_only_names_of_the_list_are_executed(folder: Path, tmp_path: Path, name: str) -> None:
    (tmp_path.parent / "secret.py").write_text("raise SystemExit('executed')")
    (folder / "demo").mkdir()
    (folder / "demo/world.py").write_text("x = 1")
    with pytest.raises(RecipeError, match="unknown recipe"):
        load_recipe(name)


def test_no_recipes(folder: Path) -> None:
    assert recipe_names() == []
    with pytest.raises(RecipeError, match="known: none"):
        load_recipe("demo")


def test_bases_are_merged(folder: Path) -> None:
    (folder / "base").mkdir()
    (folder / "base/world.py").write_text("frames = 4\nview = dict(people=2, whole=False)")
    (folder / "mine.py").write_text('_base_ = ["base/world.py"]\nview = dict(people=9)\nsplits = ("a", "b")')
    assert recipe_names() == ["base/world", "mine"]
    found = load_recipe("mine")
    assert found["frames"] == 4
    assert found["view"] == {"people": 9, "whole": False}
    assert tuple(found["splits"]) == ("a", "b")
    assert type(found) is dict
    assert type(found["view"]) is dict


BROKEN = {
    "syntax": b"x = = 1",
    "name": b"x = y",
    "type": b"x = 1 + 'a'",
    "value": b"x = int('a')",
    "key": b"x = {}['a']",
    "index": b"x = [][0]",
    "attribute": b"x = 'a'.b",
    "zero": b"x = 1 / 0",
    "base": b'_base_ = ["missing.py"]',
    "raises": b"raise RuntimeError('no')",
    "encoding": b"x = '\xff'",
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of mmengine, which leaves a temporary file open then
@pytest.mark.parametrize("what", BROKEN)
def test_recipes_that_do_not_evaluate(folder: Path, what: str) -> None:
    path = folder / "broken.py"
    path.write_bytes(BROKEN[what])
    with pytest.raises(RecipeError, match=rf"^{path}: "):
        load_recipe("broken")
    gc.collect()


def test_installed_recipes_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a wheel they lie inside the package, in a checkout beside it."""
    module = tmp_path / "site/hmtools/core/recipes.py"
    module.parent.mkdir(parents=True)
    monkeypatch.setattr(recipes, "__file__", str(module))
    assert recipes_folder() == tmp_path / "site/recipes"
    (tmp_path / "site/hmtools/recipes").mkdir()
    assert recipes_folder() == tmp_path / "site/hmtools/recipes"
