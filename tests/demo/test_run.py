"""The demo: a world, shards, a check and a page; it never empties a folder that is not its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from hmtools.convert.validate import Problem, Validation
from hmtools.core.errors import HmtoolsError, RecipeError, UsageError
from hmtools.demo import run as demo
from hmtools.demo.run import run_demo
from tests.datasets.coco_tree import contents, manifest
from tests.demo.small_demo import RECIPE


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "load_recipe", lambda name: RECIPE)
    monkeypatch.setenv("HMTOOLS_WORKERS", "0")


def test_what_it_makes(tmp_path: Path) -> None:
    said: list[str] = []
    made = run_demo("demo/world", tmp_path / "out", said.append)
    assert [line[:4] for line in said] == ["1/4 ", "2/4 ", "3/4 ", "4/4 "]
    what = [*["synthetic download"] * 2, *["shards"] * 3, "validation", *["contact sheet"] * 3]
    assert [item.what for item in made] == what
    assert all(item.where.exists() and item.where.is_absolute() for item in made)
    assert all(item.seconds >= 0 and item.numbers for item in made)
    folders = [item.where for item in made if item.what == "shards"]
    assert [manifest(folder).images for folder in folders] == ["crop", "full", "full"]
    assert manifest(folders[0]).command == f"hmtools demo --out {tmp_path}/out"


def test_again_makes_the_same(tmp_path: Path) -> None:
    run_demo("demo/world", tmp_path / "out", lambda line: None)
    folder = tmp_path / "out/shards/mscoco/val2017"
    before = contents(folder)
    (tmp_path / "out/raw/stray.txt").write_text("left by an older version")
    run_demo("demo/world", tmp_path / "out", lambda line: None)
    assert contents(folder) == before
    assert not (tmp_path / "out/raw/stray.txt").exists()


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_is_not_its_own_stays(tmp_path: Path, what: str) -> None:
    path = tmp_path / "mine"
    if what == "folder":
        (path / "raw").mkdir(parents=True)
        (path / "raw/photo.jpg").write_text("precious")
    else:
        path.write_text("precious")
    with pytest.raises(UsageError, match="give --out a new folder"):
        run_demo("demo/world", path, lambda line: None)
    assert (path / "raw/photo.jpg" if what == "folder" else path).read_text() == "precious"


def test_an_empty_folder_is_fine(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert run_demo("demo/world", tmp_path / "out", lambda line: None)


def test_shards_that_do_not_validate_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem("sha256", "a.tar", "content differs")
    monkeypatch.setattr(
        demo, "validate_split", lambda folder, workers: Validation(folder, problems=[problem])
    )
    with pytest.raises(HmtoolsError, match=r"do not validate: .*sha256"):
        run_demo("demo/world", tmp_path / "out", lambda line: None)


def test_unknown_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(RecipeError):
        run_demo("demo/nothing", tmp_path / "out", lambda line: None)
    assert not (tmp_path / "out").exists()
