"""``hmtools derive``: what it says, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from typer.testing import Result

from hmtools.datasets import registry
from tests.convert import acted_set

Run: TypeAlias = Callable[..., Result]


@pytest.fixture
def shards(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six people that were converted without body models."""
    registry.all_datasets()
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    registry.register(acted_set.Acted)
    plain = acted_set.body
    monkeypatch.setattr(acted_set, "body", lambda seed: plain(seed) | {"bbox_xywh": (20, 10, 100, 120, 1)})
    root = acted_set.write_tree(tmp_path / "raw")
    (tmp_path / "none").mkdir()
    monkeypatch.setenv("HMTOOLS_BODY_MODELS", str(tmp_path / "none"))
    run("convert", "acted", "--root", root, "--split", "train", "--workers", 0)
    return tmp_path / "shards"


def test_fills_every_split_below(
    run: Run, shards: Path, golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HMTOOLS_BODY_MODELS", str(golden))
    shown = run("derive", shards, "--workers", 0).stdout
    assert f"{shards / 'acted/train'}: 14 cells of 6 records filled\n" in shown
    report = json.loads(run("derive", shards, "--workers", 0, "--json").stdout)
    assert report == {
        str(shards / "acted/train"): {
            "records": 6, "filled": 0, "failed": {}, "interrupted": False, "submitted": [],
        }
    }  # fmt: skip


def test_says_which_models_are_missing(
    run: Run, shards: Path, golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = shards.parent / "some"
    some.mkdir()
    (some / "SMPLX_NEUTRAL.npz").symlink_to(golden / "smplx/SMPLX_NEUTRAL.npz")
    monkeypatch.setenv("HMTOOLS_BODY_MODELS", str(some))
    shown = run("derive", shards, "--workers", 0).stdout
    assert "missing smplx_male: " in shown
    assert "missing smplx_female: " in shown
    assert "missing smplx_neutral" not in shown


def test_without_models_it_ends_with_where_to_get_them(run: Run, shards: Path) -> None:
    shown = run("derive", shards, code=2).stderr
    assert "smpl-x.is.tue.mpg.de" in shown
    assert "Traceback" not in shown


def test_a_folder_without_splits_is_said_to_be_one(run: Run, tmp_path: Path) -> None:
    assert "no such folder" in run("derive", tmp_path / "nothing", code=2).stderr
