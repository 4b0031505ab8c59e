"""Training recipes are found by name or path, changed by --set, and resolved."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hmtools.core.errors import RecipeError, UsageError
from hmtools.train.recipe import write_recipe
from hmtools.train.recipe_files import changed, load_training, recipe_source, training_names

MINE = """
model = dict(size="tiny", init="random")
data = dict(sets=dict(mscoco=dict(split="train2017")))
optim = dict(lr=1e-4)
batch = dict(global_batch=8, micro_batch=8)
run = dict(epochs=1)
"""


def test_names_are_those_that_train_in_an_order_people_expect() -> None:
    names = training_names()
    assert "demo/world" not in names
    assert not [name for name in names if "_base_" in name]
    assert names.index("smplerx/b5") < names.index("smplerx/b10") < names.index("smplerx/published/b5")
    assert all(recipe_source(name).is_file() for name in names)


def test_a_recipe_of_ones_own_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    recipe = load_training(str(path), ["optim.lr=3e-4"])
    assert (recipe.name, recipe.optim.lr) == ("mine", 3e-4)
    path.write_text(MINE + "max_beta = {1, 2}")
    with pytest.raises(RecipeError, match=r"mine\.py: max_beta: expected a number, found \{1, 2\}"):
        load_training(str(path))
    path.write_text(MINE + "raise ValueError('no')")
    with pytest.raises(RecipeError, match=r"mine\.py: ValueError: no"):
        load_training(str(path))


def test_a_recipe_may_stand_on_a_shipped_one(tmp_path: Path) -> None:
    base = recipe_source("smplerx/b5")
    (tmp_path / "mine.py").write_text(f'_base_ = "{base}"\ndata = dict(use=["mscoco"])\n')
    recipe = load_training(str(tmp_path / "mine.py"))
    assert [row.dataset for row in recipe.data.sets] == ["mscoco"]
    assert recipe.data.epoch_size == 750_000


def test_a_resolved_recipe(tmp_path: Path) -> None:
    recipe = load_training("smplerx/tiny/demo")
    write_recipe(tmp_path / "recipe.json", recipe)
    assert load_training(str(tmp_path / "recipe.json")) == recipe
    assert load_training(str(tmp_path / "recipe.json"), ["run.epochs=3"]).run.epochs == 3


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ("smplerx/h33", "there is no recipe 'smplerx/h33'; did you mean 'smplerx/h32'"),
        ("h32", "did you mean 'smplerx/h32'"),
        ("demo/world", "there is no recipe 'demo/world'"),
        ("smplerx/_base_/h", "there is no recipe"),
        ("../mine", "there is no recipe '../mine' (a recipe of your own is named by its path, with .py)"),
        (
            "smplerx/h32.py",
            "smplerx/h32.py: there is no such file; the shipped recipe is called 'smplerx/h32'",
        ),
        ("none.py", "none.py: there is no such file"),
        ("none.json", "none.json: cannot be read"),
    ],
)
def test_names_of_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str, expected: str) -> None:
    (tmp_path / "mine").write_text("raise SystemExit('executed')")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(RecipeError) as caught:
        load_training(which)
    assert expected in str(caught.value)


def test_only_an_explicit_path_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("raise SystemExit('executed')")
    with pytest.raises(RecipeError, match="there is no recipe 'mine'"):
        load_training("mine")


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        ("a.b=2e-5", ("a", "b"), 2e-5),
        ("a.b = 3", ("a", "b"), 3),
        ("c=true", ("c",), True),
        ("c=none", ("c",), None),
        ("c=random", ("c",), "random"),
        ("c='a,b'", ("c",), "a,b"),
        ("c=x,y", ("c",), ["x", "y"]),
        ("c=[x, y]", ("c",), ["x", "y"]),
        ("c=[1, 2]", ("c",), [1, 2]),
        ("c=gender in (male, female)", ("c",), "gender in (male, female)"),
        ("c=frame=3", ("c",), "frame=3"),
        ("c=", ("c",), ""),
        ("new.key=1", ("new", "key"), 1),
    ],
)
def test_changes(change: str, key: tuple[str, ...], value: Any) -> None:
    before: dict[str, Any] = {"a": {"b": 1}, "c": "old"}
    found: Any = changed(before, [change])
    for part in key:
        found = found[part]
    assert found == value
    assert type(found) is type(value)
    assert before == {"a": {"b": 1}, "c": "old"}


@pytest.mark.parametrize("change", ["lr", "=3", "a.=3", ".a=3", "a..b=3", "c.d=3"])
def test_changes_that_are_none(change: str) -> None:
    with pytest.raises(UsageError, match=r"--set") as caught:
        changed({"c": 1}, [change])
    assert repr(change) in str(caught.value)


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(RecipeError) as caught:
        load_training("smplerx/h32", ["optim.lrr=1", "data.sets.bedlam.evry=3", "btch=1"])
    assert str(caught.value).splitlines() == [
        "smplerx/h32: unknown key 'btch'; did you mean 'batch'?",
        "smplerx/h32: unknown key 'data.sets.bedlam.evry'; did you mean 'every' or 'query'?",
        "smplerx/h32: unknown key 'optim.lrr'; did you mean 'lr'?",
    ]


@pytest.mark.parametrize(
    ("name", "way"),
    [("h5", "fsdp"), ("published/h32", "fsdp"), ("ft_agora", "fsdp"), ("l32", "ddp"), ("tiny/demo", "ddp")],
)
def test_h_is_trained_in_pieces(name: str, way: str) -> None:
    assert load_training(f"smplerx/{name}").run.parallel == way


def test_reading_recipes_and_planning_load_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from hmtools.train.plan import make_plan\n"
        "import hmtools.cli.train, hmtools.cli.recipes, hmtools.cli.train_report\n"
        "from hmtools.train.recipe_files import load_training\n"
        "make_plan(load_training('smplerx/h32'), shards=Path('none'), checkpoints=Path('none'))\n"
        "print(sorted({'torch', 'ray', 'cv2'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"
