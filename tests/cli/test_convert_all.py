"""``hmtools convert all``: what is there is converted, what is missing is said; failures stay alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from typer.testing import Result

from hmtools.datasets.ehf import Ehf
from hmtools.datasets.mscoco import MsCoco
from hmtools.synth import make_miniature

Run: TypeAlias = Callable[..., Result]


@pytest.fixture(scope="session")
def downloads(tmp_path_factory: pytest.TempPathFactory, world: Path) -> Path:
    """A folder of downloads: MS COCO's val2017 alone, and EHF."""
    raw = tmp_path_factory.mktemp("raw")
    shutil.copytree(world, raw / "MSCOCO")
    make_miniature("ehf", raw / "EHF", frames=2, people=1, seed=1, size=(160, 120))
    return raw


def test_everything_that_is_there_is_converted(run: Run, downloads: Path, tmp_path: Path) -> None:
    shown = run("convert", "all", "--root", downloads, "--workers", 0).stdout
    for split in ("mscoco/val2017", "ehf/test"):
        assert (tmp_path / "shards" / split / "manifest.json").is_file()
        assert split in shown
    assert "mscoco/train2017 misses annotations/" in shown
    assert "from https://cocodataset.org/#download" in shown
    assert "No folder of" in shown
    again = run("convert", "all", "--root", downloads, "--workers", 0).stdout
    assert again.count("already done") == 2


def test_rejections_are_listed_once(run: Run, downloads: Path) -> None:
    arguments = ("convert", "all", "--root", downloads, "--workers", 0, "--split", "val")
    assert "\n  box_empty: images/val2017/" in run(*arguments).stdout
    again = run(*arguments).stdout
    assert "rejected: box_empty" in again
    assert "  box_empty: images/" not in again


def test_a_folder_that_cannot_be_read_costs_its_set_alone(
    run: Run, downloads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Ehf, root: Path, split: str) -> list[Path]:
        raise PermissionError(13, "Permission denied", str(root))

    arguments = ("convert", "all", "--root", downloads, "--workers", 0)
    for method in ("plan", "missing"):
        with monkeypatch.context() as patch:
            patch.setattr(Ehf, method, refuse)
            shown = run(*arguments, code=1).stdout
        assert "ehf: [Errno 13] Permission denied" in shown
        assert (tmp_path / "shards/mscoco/val2017/manifest.json").is_file()
        shutil.rmtree(tmp_path / "shards")
    monkeypatch.setattr(Ehf, "missing", refuse)
    assert "Permission denied" in run(*arguments, "--check", code=2).stdout
    assert (
        "Permission denied" in json.loads(run(*arguments, "--check", "--json", code=2).stdout)["ehf"]["error"]
    )


def test_an_empty_folder_does_not_hide_the_full_one(run: Run, downloads: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(downloads / "EHF", raw / "ehf")
    (raw / "EHF").mkdir()
    found = json.loads(run("convert", "all", "--root", raw, "--check", "--json").stdout)
    assert (found["ehf"]["root"], found["ehf"]["complete"]) == (str(raw / "ehf"), ["test"])


def test_images_are_no_people(run: Run, downloads: Path) -> None:
    """Of val2017 the authors state images alone, and count those without people."""
    arguments = ("convert", "mscoco", "--root", downloads / "MSCOCO", "--workers", 0, "--strict-counts")
    assert "no official number of people; officially 5,000 images, including" in run(*arguments).stdout
    shown = json.loads(run(*arguments, "--json").stdout)["mscoco/val2017"]
    assert (shown["official_records"], shown["official_images"]) == (None, 5000)
    assert "officially" not in run(*arguments, "--limit", 1, "--overwrite").stdout


def test_the_report_as_json(run: Run, downloads: Path) -> None:
    shown = run("convert", "all", "--root", downloads, "--workers", 0, "--split", "val", "--json").stdout
    found = json.loads(shown)
    assert found["mscoco"]["complete"] == ["val2017"]
    assert found["mscoco"]["missing"] == {}
    assert found["mscoco"]["converted"]["mscoco/val2017"]["records"] > 0
    assert found["ehf"] | {"root": ""} == {
        "root": "", "complete": [], "missing": {}, "error": None, "converted": {},
    }  # fmt: skip
    assert found["ehf"]["root"].endswith("EHF")


def test_a_set_that_fails_is_named_and_the_others_are_converted(
    run: Run, downloads: Path, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(downloads, raw)
    (raw / "EHF/EHF.json").write_text("nonsense")
    shown = run("convert", "all", "--root", raw, "--workers", 0, code=1).stdout
    assert "ehf/test" in shown
    assert "EHF.json: expected JSON" in shown
    assert (tmp_path / "shards/mscoco/val2017/manifest.json").is_file()


def test_check_lists_every_gap(run: Run, downloads: Path, tmp_path: Path) -> None:
    shown = run("convert", "all", "--root", downloads, "--check", code=2).stdout
    assert "mscoco/train2017 misses" in shown
    assert "complete" in shown
    run("convert", "all", "--root", downloads, "--check", "--split", "test")
    found = json.loads(run("convert", "all", "--root", downloads, "--check", "--json", code=2).stdout)
    assert found["mscoco"]["missing"]["train2017"][0]["page"]
    assert not (tmp_path / "shards").exists()


def test_counts_that_are_not_the_official_ones(run: Run, downloads: Path) -> None:
    arguments = ("--root", downloads, "--workers", 0, "--split", "test")
    assert "the authors say 100" in run("convert", "all", *arguments).stdout
    run("convert", "all", *arguments, "--strict-counts", code=1)
    ehf = ("convert", "ehf", "--root", downloads / "EHF", "--workers", 0)
    run(*ehf, "--strict-counts", code=1)
    # not all of it was wanted: nothing to compare with
    run(*ehf, "--strict-counts", "--limit", 1, "--overwrite")


def test_the_official_count_satisfies(run: Run, downloads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("convert", "all", "--root", downloads, "--workers", 0, "--split", "val", "--strict-counts")
    run(*arguments)  # COCO states no people for val2017
    records = json.loads(run(*arguments, "--json").stdout)["mscoco"]["converted"]["mscoco/val2017"]["records"]
    monkeypatch.setattr(MsCoco, "official_counts", {"val2017": {"records": records}})
    assert "the authors say" not in run(*arguments).stdout
    monkeypatch.setattr(MsCoco, "official_counts", {"val2017": {"records": records + 1}})
    run(*arguments, code=1)


def test_choices_of_one_dataset_are_refused(run: Run, downloads: Path) -> None:
    for flags in (
        ("--option", "bodies=none"),
        ("--only", "x"),
        ("--every", 2),
        ("--dry-run",),
        ("--name", "x"),
    ):
        assert flags[0] in run("convert", "all", "--root", downloads, *flags, code=2).stderr
    assert "takes roles" in run("convert", "all", "--root", downloads, "--split", "val2017", code=2).stderr


def test_a_folder_without_downloads(run: Run, tmp_path: Path) -> None:
    shown = run("convert", "all", "--root", tmp_path, code=2).stderr
    assert "no download of a known dataset" in shown
    assert "mscoco" in shown
