"""The folder of a run: one recipe, options that may change, nobody else's files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hmtools.core.errors import RecipeError, UsageError
from hmtools.models.weight_cards import card_path
from hmtools.train.run_folder import RunFolder, RunOptions
from tests.train.toy_recipe import toy_recipe

OPTIONS = RunOptions(shards="/data/shards", sets=("mscoco/train2017",), processes=2, accumulation=4)


def test_what_processes_are_told_comes_back(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.prepare(toy_recipe(), OPTIONS)
    assert run.options() == OPTIONS
    assert run.recipe() == toy_recipe()
    assert not run.finished


def test_options_may_change_and_the_recipe_may_not(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.prepare(toy_recipe(), OPTIONS)
    run.stop.touch()
    run.prepare(toy_recipe(), replace(OPTIONS, processes=1, accumulation=8))
    assert run.options().processes == 1
    assert not run.stop.exists()  # it told the processes of before
    with pytest.raises(UsageError, match=r"differs in optim\.lr, run\.seed; continue"):
        run.prepare(toy_recipe(lr=0.5, seed=1), OPTIONS)


def test_a_run_goes_on_with_the_sets_it_began_with(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.prepare(toy_recipe(), OPTIONS)
    more = replace(OPTIONS, sets=("agora/train", *OPTIONS.sets), validation=("ehf/test",), block=True)
    run.prepare(toy_recipe(), more)  # nothing was trained yet
    assert run.options() == more
    (run.checkpoints / "step-000000005").mkdir(parents=True)
    run.prepare(toy_recipe(), replace(more, sets=(*more.sets, "mpii/train"), block=False, workers=3))
    assert run.options() == replace(more, workers=3)
    with pytest.raises(UsageError, match="was begun with agora/train, not converted now"):
        run.prepare(toy_recipe(), replace(more, sets=OPTIONS.sets))
    assert run.options() == replace(more, workers=3)


def test_a_run_is_finished_when_its_weights_have_their_card(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.final.touch()
    assert not run.finished
    card_path(run.final).touch()
    assert run.finished


def test_a_run_may_go_on_in_pieces(tmp_path: Path) -> None:
    run, recipe = RunFolder(tmp_path / "run"), toy_recipe()
    run.prepare(recipe, OPTIONS)
    pieces = replace(recipe, run=replace(recipe.run, parallel="fsdp"))
    run.prepare(pieces, OPTIONS)
    assert run.recipe() == pieces


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UsageError, match="other files"):
        RunFolder(tmp_path).prepare(toy_recipe(), OPTIONS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis.tex"]


@pytest.mark.parametrize("text", ["", "{}", '{"shards": "x", "sets": [], "validation": [], "unknown": 1}'])
def test_damaged_options_are_named(tmp_path: Path, text: str) -> None:
    run = RunFolder(tmp_path / "run")
    run.prepare(toy_recipe(), OPTIONS)
    (run.path / "options.json").write_text(text)
    with pytest.raises(RecipeError, match=r"options\.json"):
        run.options()
