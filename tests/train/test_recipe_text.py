"""A resolved recipe as a file that reads back as it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hmtools.train.recipe import Recipe, SetSpec
from hmtools.train.recipe_files import load_training
from hmtools.train.recipe_text import recipe_text


def read_back(recipe: Recipe, folder: Path) -> Recipe:
    path = folder / "again.py"
    path.write_text(recipe_text(recipe))
    return replace(load_training(str(path)), name=recipe.name)


@pytest.mark.parametrize("name", ["smplerx/h32", "smplerx/published/ft_agora", "smplerx/tiny/demo"])
def test_round_trip(name: str, tmp_path: Path) -> None:
    recipe = load_training(name)
    assert read_back(recipe, tmp_path) == recipe


def test_odd_values_and_two_splits_of_a_set(tmp_path: Path) -> None:
    rows = (
        SetSpec(dataset="ubody", split="intra_train", query="sequence ~ \"a'b\" or x = '\\n'"),
        SetSpec(dataset="ubody", split="inter_train", options={"frames": "images", "odd-name": 'q"'}),
    )
    recipe = load_training("smplerx/tiny/demo")
    recipe = replace(recipe, title='it\'s a "test" \\', data=replace(recipe.data, sets=rows))
    assert read_back(recipe, tmp_path) == recipe


def test_a_row_of_the_table_is_a_line() -> None:
    lines = recipe_text(load_training("smplerx/h32")).splitlines()
    assert '        bedlam=dict(split="training", every=5, people=951_100),' in lines
    assert "    epoch_size=4_500_000," in lines
    assert max(map(len, lines)) <= 110
