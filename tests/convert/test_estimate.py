"""What a conversion would cost: plausible on a uniform set, and found without touching the output."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hmtools.convert import estimate as module
from hmtools.convert.estimate import estimate, missing_images
from hmtools.convert.run import Plan, make_plans
from hmtools.datasets import coco
from hmtools.datasets.base import Rejected
from hmtools.datasets.mscoco import MsCoco
from hmtools.engine.job import Result, Unit
from hmtools.synth import make_miniature
from tests.datasets.coco_tree import image_row, person, run, write_tree


def uniform(tmp_path: Path, images: int, **size: Any) -> Path:
    """Two people an image, and a crowd in every second one."""
    rows = [image_row(1 + i, **size) for i in range(images)]
    people = [person(i, 1 + i % images) for i in range(2 * images)]
    crowds = [person(10_000 + i, 1 + i, iscrowd=1) for i in range(0, images, 2)]
    return write_tree(tmp_path / "coco", rows, people + crowds)


def plan_of(root: Path, out: Path, **options: Any) -> Plan:
    (plan,) = make_plans("mscoco", root=root, out=out, **options)
    return plan


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


@pytest.mark.parametrize(
    "options",
    [
        {"images": "full"},
        {"images": "crop"},
        {"images": "none"},
        {"every": 7},  # most images have nobody left
        {"limit": 6},  # fewer images than the estimate would look at
    ],
    ids=str,
)
def test_disk(tmp_path: Path, options: dict[str, Any]) -> None:
    root = uniform(tmp_path, 40)
    found = estimate(plan_of(root, tmp_path / "out", **options), workers=2)
    assert not (tmp_path / "out").exists(), "nothing is written there"
    folder = run(root, tmp_path / "out", **options)
    assert size_of(folder) / 1.5 < found.nbytes < 1.5 * size_of(folder)
    assert found.free_bytes == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)


def test_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco, "IMAGES_PER_UNIT", 25)
    root = uniform(tmp_path, 40)
    found = estimate(plan_of(root, tmp_path), workers=2)
    assert (found.units, found.people, found.images, found.sampled) == (2, 100, 40, 15)
    few = estimate(plan_of(root, tmp_path, limit=3), workers=2)
    assert (few.units, few.images, few.sampled) == (1, 3, 3)


@pytest.mark.parametrize(("workers", "units", "shares"), [(0, 4, 1), (1, 4, 1), (2, 4, 2), (8, 4, 4)])
def test_seconds_scale_with_people_and_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, units: int, shares: int
) -> None:
    """By a clock that only converting moves: a tenth of a second a person."""
    now = [100.0]

    def convert_unit(task: Any, unit: Unit) -> Result:
        now[0] += 0.1 * 50
        return Result(unit=unit.id, counts={"records": 32, "rejected": 8, "filtered": 10})

    monkeypatch.setattr(coco, "IMAGES_PER_UNIT", 10)
    monkeypatch.setattr(module, "convert_unit", convert_unit)
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    found = estimate(plan_of(uniform(tmp_path, 10 * units), tmp_path), workers)
    assert found.seconds == pytest.approx(0.1 * 100 / shares)


def test_a_set_without_units(tmp_path: Path) -> None:
    plan = plan_of(uniform(tmp_path, 2), tmp_path)
    found = estimate(replace(plan, units=[]), workers=2)
    assert (found.units, found.people, found.nbytes, found.seconds, found.sampled) == (0, 0, 0, 0.0, 0)


def test_rejections_neither_stop_it_nor_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = uniform(tmp_path, 4)
    for path in (root / "images/val2017").glob("*.jpg"):
        path.unlink()
    with caplog.at_level(logging.INFO, "hmtools"):
        found = estimate(plan_of(root, tmp_path, strict=True), workers=1)
        assert found.nbytes == 0
        assert not caplog.text
        logging.getLogger("hmtools.convert.unit").info("as before")
    assert "as before" in caplog.text


class TestMissingImages:
    def test_none(self, tmp_path: Path) -> None:
        assert missing_images(plan_of(uniform(tmp_path, 9), tmp_path)) == (9, [])

    def test_some(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(coco, "IMAGES_PER_UNIT", 4)
        root = uniform(tmp_path, 9)
        for number in (2, 7):
            (root / f"images/val2017/{number:012d}.jpg").unlink()
        lost = [f"images/val2017/{number:012d}.jpg" for number in (2, 7)]
        assert missing_images(plan_of(root, tmp_path)) == (9, lost)

    def test_names_that_no_image_can_have_are_missing(self, tmp_path: Path) -> None:
        names = ["../../x.jpg", "x" * 300, "fine.jpg", "fine.jpg/below.jpg", "."]
        rows = [image_row(i, name) for i, name in enumerate(names)]
        root = write_tree(tmp_path / "coco", rows, [person(i, i) for i in range(5)], pictures=False)
        (root / "images/val2017/fine.jpg").touch()
        checked, lost = missing_images(plan_of(root, tmp_path))
        assert (checked, len(lost)) == (5, 4)
        assert "images/val2017/fine.jpg" not in lost

    def test_a_large_set_is_sampled_all_over(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(coco, "IMAGES_PER_UNIT", 10)
        rows = [image_row(i) for i in range(400)]
        root = write_tree(tmp_path / "coco", rows, [person(i, i) for i in range(400)], pictures=False)
        checked, lost = missing_images(plan_of(root, tmp_path), most=50)
        assert checked == len(lost) == 50
        assert {Path(name).stem[-3] for name in lost} == set("0123"), "of every hundred"


@pytest.mark.slow
def test_time(tmp_path: Path) -> None:
    root = uniform(tmp_path, 400, width=640, height=480)
    found = estimate(plan_of(root, tmp_path / "out"), workers=1)
    began = time.perf_counter()
    run(root, tmp_path / "out")
    seconds = time.perf_counter() - began
    assert seconds / 3 < found.seconds < 3 * seconds


def test_missing_meshes_are_listed_beside_images(tmp_path: Path) -> None:
    make_miniature("ehf", tmp_path / "EHF", 4, 1, 1, (160, 120))
    for name in ("02_align.ply", "03_img.png", "03_img.jpg"):
        (tmp_path / "EHF" / name).unlink()
    (plan,) = make_plans("ehf", root=tmp_path / "EHF", out=tmp_path / "out")
    looked, lost = missing_images(plan)
    assert looked == 4
    assert sorted(lost) == ["02_align.ply", "03_img.png"]


def test_missing_images_are_named_where_the_set_looks_itself(tmp_path: Path) -> None:
    root, out = tmp_path / "EgoBody", tmp_path / "out"
    make_miniature("egobody_egocentric", root, 4, 1, 1, (160, 120))
    (plan,) = make_plans("egobody_egocentric", root=root, out=out, splits=["val"])
    looked, lost = missing_images(plan)
    assert lost == []
    for folder in (root / "egocentric_color").glob("*/*/PV"):
        shutil.rmtree(folder)
    (plan,) = make_plans("egobody_egocentric", root=root, out=out, splits=["val"])
    checked, lost = missing_images(plan)
    assert checked == len(lost) >= looked > 0
    assert all(name.startswith("egocentric_color/") and name.endswith(".jpg") for name in lost)


def test_a_file_that_many_people_miss_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(uniform(tmp_path, 2), tmp_path)
    rows = [Rejected("fit_missing", f"x {number}", "gt/a.pkl: no such file") for number in range(5)]
    rows += [Rejected("frame_missing", "clip.mp4 7", "it ends before"), Rejected("broken_row", "y", "a: b")]
    monkeypatch.setattr(MsCoco, "read", lambda self, root, unit: iter(rows))
    assert missing_images(plan) == (2, ["gt/a.pkl", "clip.mp4 7"])
