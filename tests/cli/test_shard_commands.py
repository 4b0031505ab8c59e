"""The commands that read shards: validate, inspect, view, jobs; and datasets."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from typer.testing import Result

from hmtools.convert.validate import Validation
from hmtools.demo import run as demo
from tests.demo.small_demo import RECIPE

Run: TypeAlias = Callable[..., Result]


@pytest.fixture
def split(run: Run, world: Path, tmp_path: Path) -> Path:
    run("convert", "mscoco", "--root", world, "--workers", 0)
    return tmp_path / "shards/mscoco/val2017"


def test_validate_says_ok_then_what_is_wrong(run: Run, split: Path) -> None:
    assert ": ok," in run("validate", "shards").stdout
    tar = next(split.glob("*.tar"))
    data = bytearray(tar.read_bytes())
    data[len(data) // 2] ^= 0xFF
    tar.write_bytes(bytes(data))
    shown = run("validate", split, code=1).stdout
    assert "sha256" in shown
    report = json.loads(run("validate", split, "--json", code=1).stdout)[str(split)]
    assert not report["ok"]
    assert {problem["kind"] for problem in report["problems"]} >= {"sha256"}


def test_validate_rebuilds_a_lost_index(run: Run, split: Path) -> None:
    before = (split / "index.arrow").read_bytes()
    (split / "index.arrow").unlink()
    run("validate", split, code=1)
    run("validate", split, "--rebuild-index")
    assert (split / "index.arrow").read_bytes() == before


def test_validate_follows_the_workers_setting(run: Run, split: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def validate_split(folder: Path, *, workers: int, advance: object) -> Validation:
        asked.append(workers)
        return Validation(folder)

    monkeypatch.setattr("hmtools.convert.validate.validate_split", validate_split)
    monkeypatch.setenv("HMTOOLS_WORKERS", "3")
    run("validate", split)
    run("validate", split, "--workers", 5)
    assert asked == [3, 5]


def test_validate_without_shards_names_the_folder(run: Run, tmp_path: Path) -> None:
    assert "no such folder" in run("validate", tmp_path / "nowhere", code=2).stderr


def test_unfinished_splits_are_named(run: Run, split: Path) -> None:
    other = split.parent / "train2017"
    shutil.copytree(split, other)
    (other / "manifest.json").unlink()
    assert "unfinished" in run("validate", "shards", code=1).stdout
    assert "unfinished conversion" in run("inspect", "shards").stderr
    assert "unfinished conversion" in run("validate", other, code=2).stderr


def test_inspect_of_a_split_without_records(run: Run, world: Path) -> None:
    labels = world / "annotations/person_keypoints_val2017.json"
    run("convert", "coco", "--annotations", labels, "--images", world, "--workers", 0, code=1)
    assert "image_missing" in run("inspect", "shards").stdout


def test_inspect_numbers(run: Run, split: Path) -> None:
    plain = run("inspect", "shards").stdout
    assert "people per image" in plain
    found = json.loads(run("inspect", split, "--json").stdout)[str(split)]
    assert found["records"] == json.loads((split / "manifest.json").read_text())["counts"]["records"]
    assert set(found["visibility"]) >= {"nose", "left_wrist", "right_index_1"}


def test_view_writes_a_page(run: Run, split: Path, tmp_path: Path) -> None:
    shown = run("view", split, "--out", "page.html", "--people", 5, "--query", "person >= 0").stdout
    assert "page.html: 5 of" in shown
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/jpeg") == 5
    assert "no record" in run("view", split, "--query", "person = 99", code=2).stderr
    assert "expected 1 or more" in run("view", split, "--people", 0, code=2).stderr


def test_jobs_shows_state_and_rate(run: Run, split: Path, tmp_path: Path) -> None:
    shown = run("jobs", "shards").stdout
    assert "convert mscoco/val2017" in shown
    assert "finished" in shown
    (job,) = json.loads(run("jobs", split, "--json").stdout)
    assert (job["state"], job["units"], job["done"]) == ("finished", 1, 1)
    assert "no jobs" in run("jobs", tmp_path / "shards/mscoco/val2017/.job").stdout
    assert "no such folder" in run("jobs", "nowhere", code=2).stderr


def test_jobs_lists_failures_with_the_retry_command(run: Run, world: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(world, copy)
    next((copy / "images/val2017").glob("*.jpg")).write_bytes(b"")
    run("convert", "mscoco", "--root", copy, "--workers", 1, "--strict", code=1)
    shown = run("jobs", "shards", code=1).stdout
    assert "(--strict)" in shown
    assert "continue with: " in shown


def test_datasets_list_and_page(run: Run) -> None:
    assert "mscoco" in run("datasets").stdout
    page = run("datasets", "mscoco").stdout
    for fact in ("Expected layout", "val2017 (val)", "--option labels=", "CC BY-NC"):
        assert fact in page
    assert json.loads(run("datasets", "mscoco", "--json").stdout)["splits"]["train2017"] == "train"
    assert "mscoco" not in json.loads(run("datasets", "--commercial-only", "--json").stdout)
    assert "did you mean" in run("datasets", "mscooc", code=2).stderr


def test_demo_makes_its_table_and_empties_no_folder_but_its_own(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "load_recipe", lambda name: RECIPE)
    monkeypatch.setenv("HMTOOLS_WORKERS", "0")
    said = run("demo", "--out", "demo").stdout
    assert "no problem" in said
    assert "2 people" in said
    assert " demo/raw/ehf" in said
    assert said.splitlines()[-1] == f"  {tmp_path}/demo/contact_sheet_mscoco_train2017.html"
    stages = {line.split()[0]: line for line in said.split("took")[1].splitlines() if line.strip()}
    assert "above it" in stages["downloads"]
    assert "above it" not in stages["shards"]
    assert (tmp_path / "demo/contact_sheet_ehf_test.html").is_file()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.txt").write_text("precious")
    assert "other files" in run("demo", "--out", "full", code=2).stderr
    assert (tmp_path / "full/thesis.txt").exists()
