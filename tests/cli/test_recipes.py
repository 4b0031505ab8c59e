"""``hmtools recipes``: what people see, what is written, and how it ends."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hmtools.cli.complete import training_recipes
from hmtools.train.plan import PARAMETERS
from hmtools.train.recipe import RECIPE_FORMAT
from hmtools.train.recipe_files import load_training, training_names
from tests.cli.conftest import Run


def test_list(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = run("recipes", "list", "--all").stdout
    rows = {line.split()[0]: line for line in shown.splitlines() if "smplerx/" in line}
    assert list(rows) == training_names()
    few = ["smplerx/b5", "smplerx/h32", "smplerx/published/b5", "smplerx/published/ft_renbody"]
    few.append("smplerx/tiny/demo")
    monkeypatch.setattr("hmtools.train.recipe_files.training_names", lambda: few)
    facts = json.loads(run("recipes", "list", "--json").stdout)
    assert list(facts) == few
    here = facts["smplerx/h32"]["convertible"]
    assert facts["smplerx/h32"] == {"title": "SMPLer-X H, 32 sets", "sets": 32, "convertible": here}
    assert 0 < here < 32
    assert facts["smplerx/tiny/demo"]["convertible"] == facts["smplerx/tiny/demo"]["sets"]
    assert rows["smplerx/h32"].split()[-5:] == [f"{here}/32", "10", "x", "4,500,000", "256"]
    assert rows["smplerx/b5"].split()[-1] == "512*"
    assert "\n*: assumed; " in shown

    monkeypatch.setattr("hmtools.core.log._PIPE_WIDTH", 80)
    shown = run("recipes", "list").stdout
    named = [line.split()[0] for line in shown.splitlines() if "smplerx/" in line]
    assert named == ["smplerx/b5", "smplerx/h32", "smplerx/tiny/demo"]
    assert "\n2 more reproduce faults of the published code: --all\n" in shown


def test_show(run: Run) -> None:
    shown = run("recipes", "show", "smplerx/h32", "--set", "optim.lr=2e-5").stdout
    assert "    lr=2e-05,\n" in shown
    assert '        bedlam=dict(split="training", every=5, people=951_100),\n' in shown
    facts = json.loads(run("recipes", "show", "smplerx/h32", "--json").stdout)
    assert (facts["format"], len(facts["data"]["sets"])) == (RECIPE_FORMAT, 32)


def test_copy_edit_validate(run: Run) -> None:
    said = run("recipes", "copy", "smplerx/h5", "mine.py", "--set", "run.epochs=3").stdout
    assert (
        said == "mine.py: edit it, then\n  hmtools recipes validate mine.py\n  hmtools train mine.py --plan\n"
    )
    assert load_training("mine.py").run.epochs == 3
    assert "exists; --force replaces it" in run("recipes", "copy", "smplerx/h5", "mine.py", code=2).stderr
    run("recipes", "copy", "smplerx/b5", "mine.py", "--force")
    assert "ends in .py" in run("recipes", "copy", "smplerx/h5", "mine", code=2).stderr
    lines = run("recipes", "validate", "mine.py", "smplerx/tiny/demo").stdout.splitlines()
    assert lines[0] == "mine.py: fine; 5 sets, 102,939,928 weights"
    assert lines[1] == f"smplerx/tiny/demo: fine; 1 set, {PARAMETERS['tiny']:,} weights"


def test_validate_lists_what_is_wrong_with_all_of_them(run: Run) -> None:
    for name, old, new in (("a.py", r"epochs=(\d+)", r"epoch=\1"), ("b.py", '"train2017"', '"train"')):
        run("recipes", "copy", "smplerx/tiny/micro", name)
        Path(name).write_text(re.sub(old, new, Path(name).read_text(), count=1))
    said = run("recipes", "validate", "a.py", "b.py", "smplerx/b33", code=2).stderr.splitlines()
    assert said[0] == "hmtools: a.py: unknown key 'run.epoch'; did you mean 'epochs'?"
    assert said[1] == "a.py: run.epochs: is missing"
    assert said[2].startswith("b.py: mscoco/train: there is no such split (its splits: train2017, val2017)")
    assert said[3].startswith("there is no recipe 'smplerx/b33'; did you mean 'smplerx/b32'")
    assert len(said) == 4


def test_names_complete() -> None:
    assert training_recipes("smplerx/h") == [f"smplerx/h{count}" for count in (5, 10, 20, 32)]
