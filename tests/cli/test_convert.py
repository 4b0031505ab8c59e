"""``hmtools convert`` as typed: reports, exit codes, messages."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from typer.testing import Result

from hmtools.synth import make_miniature

Run: TypeAlias = Callable[..., Result]

SPLIT = "shards/mscoco/val2017"


def test_reports_counts_and_folder(run: Run, world: Path, tmp_path: Path) -> None:
    shown = run("convert", "mscoco", "--root", world, "--workers", 0)
    assert "mscoco/val2017" in shown.stdout
    assert "done" in shown.stdout
    assert (tmp_path / SPLIT / "manifest.json").is_file()


def test_json_report_equals_the_manifest(run: Run, world: Path, tmp_path: Path) -> None:
    report = json.loads(run("convert", "mscoco", "--root", world, "--workers", 0, "--json").stdout)
    manifest = json.loads((tmp_path / SPLIT / "manifest.json").read_text())
    found = report["mscoco/val2017"]
    assert found["ok"]
    assert found["records"] == manifest["counts"]["records"] > 0
    assert found["filtered"] == manifest["filtered"]


def test_check_lists_what_is_missing_with_its_page(run: Run, world: Path) -> None:
    shown = run("convert", "mscoco", "--root", world, "--split", "train", "--check", code=2).stdout
    assert "train2017: 2 missing" in shown
    assert "https://cocodataset.org/#download" in shown
    assert "Without --split" not in shown
    shown = run("convert", "MSCOCO", "--root", world, "--check", code=2).stdout
    assert "Without --split, --check looks for every split" in shown
    assert shown.endswith("would convert val2017.\n")
    shown = run("convert", "coco2017", "--root", world, "--split", "val", "--check").stdout
    assert "val2017: complete, 3 images looked for" in shown  # the fourth has no people


def test_missing_tree_ends_before_any_work(run: Run, tmp_path: Path) -> None:
    shown = run("convert", "mscoco", "--root", tmp_path / "nothing", code=2)
    assert "no such folder" in shown.stderr
    assert "annotations/coco_wholebody_train_v1.0.json" in shown.stderr
    assert not (tmp_path / "shards").exists()


def test_no_root_names_the_setting(run: Run) -> None:
    assert "raw_root" in run("convert", "mscoco", code=2).stderr


def test_dry_run_writes_nothing(run: Run, world: Path, tmp_path: Path) -> None:
    plain = run("convert", "mscoco", "--root", world, "--dry-run").stdout
    assert "Nothing was written" in plain
    cost = json.loads(run("convert", "mscoco", "--root", world, "--dry-run", "--json").stdout)[
        "mscoco/val2017"
    ]
    assert cost["units"] == 1
    assert cost["nbytes"] > 0
    assert not (tmp_path / "shards").exists()


def test_changed_options_are_refused_until_overwrite(run: Run, world: Path) -> None:
    base = ("convert", "mscoco", "--root", world, "--workers", 0)
    run(*base)
    shown = run(*base, "--images", "crop", code=2)
    assert "images" in shown.stderr
    assert "--overwrite" in shown.stderr
    run(*base, "--images", "crop", "--overwrite")


def test_strict_defect_fails_with_its_log(run: Run, world: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(world, copy)
    broken = sorted((copy / "images/val2017").glob("*.jpg"))[0]
    broken.write_bytes(broken.read_bytes()[:-900])
    base = ("convert", "mscoco", "--root", copy, "--workers", 0)
    shown = run(*base, "--strict", code=1).stdout
    assert "(--strict)" in shown
    assert ".job/logs/u00000.log" in shown
    assert "image_truncated" in run(*base, "--overwrite").stdout


def test_wrong_words_are_explained(run: Run, world: Path) -> None:
    assert "mscoco" in run("convert", "mscocco", code=2).stderr
    assert "no split" in run("convert", "mscoco", "--root", world, "--split", "valid", code=2).stderr
    assert "labels" in run("convert", "mscoco", "--root", world, "--option", "label=body", code=2).stderr
    assert "NAME=VALUE" in run("convert", "mscoco", "--root", world, "--option", "labels", code=2).stderr
    assert (
        "crop | full | none" in run("convert", "mscoco", "--root", world, "--images", "crops", code=2).stderr
    )
    assert "only for" in run("convert", "mscoco", "--root", world, "--name", "x", code=2).stderr


def test_bring_your_own(run: Run, world: Path, tmp_path: Path) -> None:
    labels = world / "annotations/person_keypoints_val2017.json"
    folder = world / "images/val2017"
    own = ("convert", "coco", "--annotations", labels, "--images", folder, "--workers", 0)
    run(*own, "--convention", "coco_17", "--name", "mine", "--images", "full")
    manifest = json.loads((tmp_path / "shards/mine/train/manifest.json").read_text())
    assert manifest["dataset"] == "mine"
    assert manifest["images"] == "full"
    assert "--images DIR" in run("convert", "coco", "--annotations", labels, code=2).stderr
    assert "coco_17" in run(*own, "--convention", "coco_71", code=2).stderr


def test_check_looks_for_the_images(run: Run, world: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(world, copy)
    lost = sorted((copy / "images/val2017").glob("*.jpg"))[0]
    lost.unlink()
    base = ("convert", "mscoco", "--root", copy, "--split", "val", "--check")
    shown = run(*base, code=2).stdout
    assert "images that were looked for are missing, first: images/val2017/" in shown
    found = json.loads(run(*base, "--json", code=2).stdout)["images"]["val2017"]
    assert found["missing"] == [f"images/val2017/{lost.name}"]


def test_nothing_stored_is_no_success(run: Run, world: Path, tmp_path: Path) -> None:
    labels = world / "annotations/person_keypoints_val2017.json"
    shown = run("convert", "coco", "--annotations", labels, "--images", world, "--workers", 0, code=1).stdout
    assert "nothing stored" in shown
    assert "image_missing" in shown
    assert "--overwrite" in shown


def test_rejections_are_all_in_the_log(run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    make_miniature("mscoco", copy, frames=8, people=3, seed=3, size=(96, 64), splits=("val2017",))
    for image in (copy / "images/val2017").glob("*.jpg"):
        image.write_bytes(b"")
    shown = run("convert", "mscoco", "--root", copy, "--workers", 1, code=1).stdout
    rejected = json.loads((tmp_path / SPLIT / "manifest.json").read_text())["counts"]["rejected"]
    assert rejected > 10
    assert f"and {rejected - 10} more" in shown
    log = (tmp_path / SPLIT / ".job/logs/u00000.log").read_text()
    assert log.count("rejected image_empty") + log.count("rejected box_empty") == rejected


def test_own_data_cannot_take_an_official_name(run: Run, world: Path) -> None:
    labels = world / "annotations/person_keypoints_val2017.json"
    own = ("convert", "coco", "--annotations", labels, "--images", world / "images/val2017")
    assert "official dataset" in run(*own, "--name", "mscoco", code=2).stderr


def test_an_empty_folder_does_not_hide_the_full_one(run: Run, world: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(world, copy)
    shutil.move(copy / "images/val2017", copy / "val2017")
    (copy / "images/val2017").mkdir()
    run("convert", "mscoco", "--root", copy, "--split", "val", "--check")


def test_dry_run_follows_the_workers_setting_and_the_disk(
    run: Run, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HMTOOLS_WORKERS", "7")
    assert "7 workers" in run("convert", "mscoco", "--root", world, "--dry-run").stdout
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10))
    assert "too small" in run("convert", "mscoco", "--root", world, "--dry-run", code=1).stderr
