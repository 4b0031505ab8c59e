"""Shards are named by their folder, or as they lie below the setting ``shards_root``."""

from __future__ import annotations

from pathlib import Path

import pytest

from hmtools.cli.shards_argument import existing_folder
from hmtools.core.errors import LayoutError
from tests.cli.conftest import Run


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HMTOOLS_SHARDS_ROOT", str(tmp_path / "all"))
    (tmp_path / "all/ehf/test").mkdir(parents=True)
    return tmp_path / "all"


def test_what_is_here_comes_first(root: Path) -> None:
    assert existing_folder(Path("ehf/test")) == root / "ehf/test"
    assert existing_folder(root / "ehf") == root / "ehf"
    Path("ehf/test").mkdir(parents=True)
    assert existing_folder(Path("ehf/test")) == Path("ehf/test")


def test_neither_here_nor_there(root: Path) -> None:
    with pytest.raises(LayoutError, match=rf"^ehf/val: no such folder, here or below shards_root = {root}; "):
        existing_folder(Path("ehf/val"))
    with pytest.raises(LayoutError, match=r"/nowhere: no such folder; expected what I say$"):
        existing_folder(root / "nowhere", "what I say")


def test_every_command_that_reads_shards_looks_there(
    run: Run, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HMTOOLS_SHARDS_ROOT", str(tmp_path / "all"))
    split = tmp_path / "all/mscoco/val2017"
    run("convert", "mscoco", "--root", world, "--workers", 0)
    assert f"{split}: ok" in run("validate", "mscoco/val2017", "--workers", 0).stdout
    assert str(split) in run("inspect", "mscoco", "--json").stdout
    assert "1 of" in run("view", "mscoco/val2017", "--people", 1).stdout
    assert str(split) in run("jobs", "mscoco", "--json").stdout
    assert f"{split}: mscoco has no body param" in run("derive", "mscoco/val2017", code=2).stderr
    for command in ("validate", "inspect", "view", "jobs", "derive"):
        assert "here or below shards_root" in run(command, "mscoco/train2017", code=2).stderr
