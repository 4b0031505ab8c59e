"""``convert`` again: the same bytes wherever and by however many; what is kept, refused, or tried again."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hmtools.convert.run import convert
from hmtools.core.errors import LockedError, UsageError
from hmtools.datasets import coco
from hmtools.datasets.base import Dataset
from hmtools.engine.lease import acquire
from hmtools.engine.state import job_status
from tests.datasets.coco_tree import (
    contents,
    image_row,
    manifest,
    person,
    records,
    run,
    write_labels,
    write_tree,
)

Register = Callable[[type[Dataset]], type[Dataset]]
IMAGES = [image_row(900 - i) for i in range(7)]
PEOPLE = [person(100 + i, 900 - i % 7) for i in range(15)]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """val2017: seven images, the first with three people, the others with two; two images a unit."""
    monkeypatch.setattr(coco, "IMAGES_PER_UNIT", 2)
    return write_tree(tmp_path / "MSCOCO", IMAGES, PEOPLE)


@pytest.fixture
def both(root: Path) -> Path:
    """The same, and train2017."""
    return write_tree(root, IMAGES[:2], PEOPLE[:2], split="train2017")


class TestSameBytes:
    @pytest.mark.parametrize("images", ["crop", "full"])
    def test_workers_do_not_matter(self, root: Path, tmp_path: Path, images: str) -> None:
        found = [
            contents(run(root, tmp_path / f"with {workers}", workers=workers, images=images))
            for workers in (0, 1, 2)
        ]
        assert len(found[0]) == 10
        assert found[0] == found[1] == found[2]

    def test_places_do_not_matter(self, root: Path, tmp_path: Path) -> None:
        before = contents(run(root, tmp_path / "out"))
        (tmp_path / "far/away").mkdir(parents=True)
        moved = Path(shutil.move(root, tmp_path / "far/away/COCO"))
        assert contents(run(moved, tmp_path / "elsewhere")) == before

    def test_the_place_of_the_image_folder_shows_in_image_path_only(self, tmp_path: Path) -> None:
        one = write_tree(tmp_path / "one", IMAGES, PEOPLE)
        other = write_tree(tmp_path / "other", IMAGES, PEOPLE, folder="")
        rows = [records(run(root, tmp_path / f"out {root.name}", images="none")) for root in (one, other)]
        for a, b in zip(*rows, strict=True):
            assert a.pop("image_path") == f"images/{b.pop('image_path')}"
            assert str(a) == str(b)


class TestRerun:
    def test_finished_work_is_kept(self, root: Path, tmp_path: Path) -> None:
        folder = run(root, tmp_path / "out")
        stamps = {path: path.stat().st_mtime_ns for path in folder.glob("*.*") if path.is_file()}
        assert len(stamps) == 11
        (report,) = convert("mscoco", root=root, out=tmp_path / "out", workers=0, progress=False)
        assert (report.outcome.skipped, report.outcome.ok) == (4, True)
        assert {path: path.stat().st_mtime_ns for path in stamps} == stamps

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"images": "none"}, "options.images"),
            ({"every": 2}, "options.every"),
            ({"limit": 3}, "options.limit"),
            ({"only": ["v*"]}, "options.only"),
            ({"options": {"labels": "wholebody"}}, "options.labels"),
        ],
    )
    def test_changed_options_are_refused(
        self, root: Path, tmp_path: Path, change: dict[str, Any], said: str
    ) -> None:
        before = contents(run(root, tmp_path / "out"))
        with pytest.raises(UsageError, match=rf"{said}: .*--overwrite"):
            run(root, tmp_path / "out", **change)
        folder = tmp_path / "out/mscoco/val2017"
        assert contents(folder) == before
        assert (folder / "manifest.json").exists()
        was = manifest(folder).options
        run(root, tmp_path / "out", **change, overwrite=True)
        name = said.removeprefix("options.")
        assert manifest(folder).options[name] != was[name]
        run(root, tmp_path / "out", overwrite=True)
        assert contents(folder) == before

    @pytest.mark.parametrize("same", [{"strict": True}, {"workers": 1}, {"every": 1}, {"images": "full"}])
    def test_what_changes_no_byte_is_no_change(
        self, root: Path, tmp_path: Path, same: dict[str, Any]
    ) -> None:
        run(root, tmp_path / "out")
        run(root, tmp_path / "out", **same)

    def test_changed_input_is_refused(self, root: Path, tmp_path: Path) -> None:
        run(root, tmp_path / "out")
        labels = root / "annotations/coco_wholebody_val_v1.0.json"
        os.utime(labels, (1, 1))
        with pytest.raises(
            UsageError, match=r"input file differs: annotations/coco_wholebody_val_v1\.0\.json"
        ):
            run(root, tmp_path / "out")

    def test_overwrite_removes_what_is_ours_and_nothing_else(self, root: Path, tmp_path: Path) -> None:
        folder = run(root, tmp_path / "out")
        (folder / "notes.txt").write_text("mine")
        (folder / "mscoco-val2017-u00099-000.tar").write_text("left by a longer run")
        run(root, tmp_path / "out", overwrite=True, limit=2)
        assert sorted(path.name for path in folder.iterdir() if path.is_file()) == [
            "index.arrow",
            "manifest.json",
            "mscoco-val2017-u00000-000.arrow",
            "mscoco-val2017-u00000-000.tar",
            "notes.txt",
            "tracks.arrow",
        ]

    def test_failed_units_are_tried_again_alone(self, root: Path, tmp_path: Path) -> None:
        picture = root / "images/val2017/000000000897.jpg"
        data = picture.read_bytes()
        picture.write_bytes(data[:100])
        (report,) = convert("mscoco", root=root, out=tmp_path / "out", workers=0, progress=False, strict=True)
        assert report.outcome.exit_code == 1
        assert list(report.outcome.failed) == ["u00001"]
        assert "image_truncated: images/val2017/000000000897.jpg" in report.outcome.failed["u00001"]
        folder = report.plan.task.out
        assert not (folder / "manifest.json").exists()
        assert not list(folder.glob("*u00001*"))
        assert job_status(folder).state == "failed"
        picture.write_bytes(data)
        (report,) = convert("mscoco", root=root, out=tmp_path / "out", workers=0, progress=False, strict=True)
        assert (report.outcome.skipped, report.outcome.ok) == (3, True)
        assert contents(folder) == contents(run(root, tmp_path / "calm"))

    def test_without_strict_the_same_defect_is_counted(self, root: Path, tmp_path: Path) -> None:
        (root / "images/val2017/000000000897.jpg").unlink()
        folder = run(root, tmp_path / "out")
        assert manifest(folder).rejected == {"image_missing": 2}
        assert manifest(folder).counts["records"] == 13

    def test_a_split_in_which_everybody_was_rejected_is_no_success(self, root: Path, tmp_path: Path) -> None:
        for path in (root / "images/val2017").glob("*.jpg"):
            path.unlink()
        (report,) = convert("mscoco", root=root, out=tmp_path / "out", workers=0, progress=False)
        assert (report.outcome.ok, report.empty, report.exit_code) == (True, True, 1)

    def test_a_split_in_which_the_rules_leave_nobody_is_one(self, tmp_path: Path) -> None:
        root = write_tree(tmp_path / "coco", IMAGES, [person(1, 900, iscrowd=1)])
        (report,) = convert("mscoco", root=root, out=tmp_path / "out", workers=0, progress=False)
        assert (report.empty, report.exit_code) == (False, 0)

    def test_crowds_pass_strict(self, tmp_path: Path) -> None:
        root = write_tree(tmp_path / "coco", IMAGES, [*PEOPLE, person(1, 900, iscrowd=1)])
        assert manifest(run(root, tmp_path / "out", strict=True)).filtered == {"crowd": 1}


class TestOneWriter:
    def test_the_second_is_refused_and_told_who_has_it(self, root: Path, tmp_path: Path) -> None:
        folder = tmp_path / "out/mscoco/val2017"
        (folder / ".job").mkdir(parents=True)
        with acquire(folder / ".job"):
            for overwrite in (False, True):
                with pytest.raises(LockedError, match=rf"pid {os.getpid()}.*--break-lock") as caught:
                    run(root, tmp_path / "out", overwrite=overwrite)
                assert caught.value.exit_code == 2
            assert not list(folder.glob("*.arrow"))
        run(root, tmp_path / "out")

    def test_break_lock(self, root: Path, tmp_path: Path) -> None:
        folder = tmp_path / "out/mscoco/val2017"
        (folder / ".job").mkdir(parents=True)
        lease = acquire(folder / ".job")
        assert run(root, tmp_path / "out", break_lock=True) == folder
        lease.release()

    def test_other_splits_are_free(self, both: Path, tmp_path: Path) -> None:
        folder = tmp_path / "out/mscoco/val2017"
        (folder / ".job").mkdir(parents=True)
        with acquire(folder / ".job"):
            run(both, tmp_path / "out", split="train2017")


def test_plans_do_not_depend_on_where_objects_lie(root: Path, tmp_path: Path) -> None:
    """Planning twice gives the same fingerprint, though arrays and texts are other objects."""
    run(root, tmp_path / "out")
    before = (tmp_path / "out/mscoco/val2017/.job/fingerprint.json").read_text()
    run(root, tmp_path / "again", workers=1)
    assert (tmp_path / "again/mscoco/val2017/.job/fingerprint.json").read_text() == before
    labels = root / "annotations/coco_wholebody_val_v1.0.json"
    stat = labels.stat()
    write_labels(labels, IMAGES, [*PEOPLE[7:], *PEOPLE[:7]])
    os.utime(labels, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert labels.stat().st_size == stat.st_size
    run(root, tmp_path / "other")
    after = json.loads((tmp_path / "other/mscoco/val2017/.job/fingerprint.json").read_text())
    assert after["plan"] != json.loads(before)["plan"]
    assert after | {"plan": ""} == json.loads(before) | {"plan": ""}
