"""``convert``: what is planned from which arguments, what a rerun does, and that workers do not matter."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hmtools.convert.run import Plan, convert, make_plans, wanted_splits
from hmtools.core.errors import LayoutError, LockedError, UsageError
from hmtools.core.settings import load_settings
from hmtools.datasets import coco
from hmtools.datasets.base import Dataset
from hmtools.datasets.mscoco import MsCoco
from hmtools.engine.lease import acquire
from hmtools.engine.state import job_status
from hmtools.humandata.schema import RecordSpec
from tests.convert.one_unit import Clip
from tests.datasets.coco_tree import (
    contents,
    image_row,
    manifest,
    person,
    records,
    run,
    write_labels,
    write_picture,
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


class TestPlan:
    def test_image_policy_goes_by_role(self, both: Path, tmp_path: Path) -> None:
        train, val = make_plans("mscoco", root=both, out=tmp_path / "out")
        assert (train.name, train.task.images) == ("mscoco/train2017", "crop")
        assert (val.name, val.task.images) == ("mscoco/val2017", "full")
        assert train.task.out == tmp_path / "out/mscoco/train2017"
        assert [plan.task.images for plan in make_plans("mscoco", root=both, images="none")] == [
            "none",
            "none",
        ]
        assert not (tmp_path / "out").exists(), "planning writes nothing"

    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            ([], ["train2017", "val2017"]),
            (["val2017"], ["val2017"]),
            (["val"], ["val2017"]),
            (["train", "val2017", "val"], ["train2017", "val2017"]),
        ],
    )
    def test_splits_by_name_or_role(self, both: Path, wanted: list[str], found: list[str]) -> None:
        assert [plan.task.split for plan in make_plans("mscoco", root=both, splits=wanted)] == found

    def test_unknown_split(self, both: Path) -> None:
        text = r"no split 'val2014' \(known: train2017 \(train\), val2017 \(val\)\); did you mean 'val2017'"
        with pytest.raises(UsageError, match=text):
            make_plans("mscoco", root=both, splits=["val2014"])
        with pytest.raises(UsageError, match="no split 'test'"):
            wanted_splits(MsCoco(), ["test"])

    def test_only_splits_that_are_there(self, root: Path) -> None:
        assert [plan.task.split for plan in make_plans("mscoco", root=root)] == ["val2017"]
        with pytest.raises(LayoutError, match=r"images/train2017 or train2017"):
            make_plans("mscoco", root=root, splits=["train2017"])

    def test_nothing_there_names_what_every_split_misses(self, tmp_path: Path) -> None:
        (tmp_path / "coco/val2017").mkdir(parents=True)
        with pytest.raises(LayoutError) as caught:
            convert("mscoco", root=tmp_path / "coco", out=tmp_path / "out")
        for name in ("images/train2017", "coco_wholebody_train_v1.0.json", "coco_wholebody_val_v1.0.json"):
            assert name in str(caught.value)
        assert caught.value.exit_code == 2
        assert not (tmp_path / "out").exists(), "before any work"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"images": "crops"}, r"--images: expected crop \| full \| none, found 'crops'"),
            ({"every": 0}, "--every: expected 1 or more, found 0"),
            ({"limit": -1}, "--limit: expected 1 or more, found -1"),
            ({"options": {"labels": "x"}}, r"mscoco option labels: expected auto \| wholebody \| body"),
            ({"options": {"lables": "auto"}}, "no option 'lables'.*did you mean 'labels'"),
            ({"only": ["nothing*"]}, r"--only nothing\*: no sequence of val2017 matches"),
            ({"workers": -1}, "0 .inline. or more, got -1"),
        ],
    )
    def test_wrong_arguments(
        self, root: Path, tmp_path: Path, arguments: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(UsageError, match=message):
            convert("mscoco", root=root, out=tmp_path / "out", **arguments)
        assert not (tmp_path / "out").exists()

    def test_unknown_dataset(self) -> None:
        with pytest.raises(UsageError, match="unknown dataset 'msoco'; did you mean 'mscoco'"):
            convert("msoco")

    def test_every(self, root: Path, registered: Register) -> None:
        class Sampled(MsCoco):
            name = "sampled"
            every = {"val": 5}  # noqa: RUF012 - as datasets write it

            def spec(self, root: Path, split: str) -> RecordSpec:
                return RecordSpec("sampled", split, "coco_wholebody_133")

        registered(Sampled)
        (plan,) = make_plans("sampled", root=root)
        assert (plan.task.every, plan.options["every"]) == (5, 5), "the set's own, by role"
        assert make_plans("sampled", root=root, every=2)[0].task.every == 2
        assert make_plans("mscoco", root=root)[0].task.every == 1

    def test_options_that_change_bytes(self, root: Path) -> None:
        (plan,) = make_plans(
            "mscoco", root=root, limit=3, only=["val*"], options={"labels": "wholebody"}, strict=True
        )
        assert plan.options == {
            "images": "full",
            "every": 1,
            "limit": 3,
            "only": ["val*"],
            "labels": "wholebody",
        }

    @pytest.mark.parametrize(
        ("limit", "images", "take"),
        [
            (1, [1], {0: 1}),
            (2, [2], {}),
            (3, [2, 1], {1: 1}),
            (7, [2, 2, 2, 1], {}),
            (99, [2, 2, 2, 1], {}),
        ],
    )
    def test_limit(
        self, root: Path, tmp_path: Path, limit: int, images: list[int], take: dict[int, int]
    ) -> None:
        (plan,) = make_plans("mscoco", root=root, limit=limit)
        assert [unit.images for unit in plan.units] == images
        assert plan.task.take == take
        folder = run(root, tmp_path / "out", limit=limit)
        assert manifest(folder).counts["images"] == min(limit, 7)
        assert {row["frame"] for row in records(folder)} == set(range(min(limit, 7)))
        assert manifest(folder).options["limit"] == limit


class TestPlaces:
    def test_root_below_raw_root(self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HMTOOLS_RAW_ROOT", str(tmp_path))
        monkeypatch.setenv("HMTOOLS_SHARDS_ROOT", str(tmp_path / "made"))
        (plan,) = make_plans("mscoco")
        assert plan.task.root == root
        assert plan.task.out == tmp_path / "made/mscoco/val2017"

    def test_settings_file(self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "hmtools.toml").write_text('raw_root = "."\nshards_root = "there"\nworkers = 0\n')
        (tmp_path / "deep/er").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / "deep/er")
        (report,) = convert("mscoco", progress=False)
        assert report.outcome.ok
        assert (tmp_path / "there/mscoco/val2017/manifest.json").is_file()

    def test_given_places_win(self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "hmtools.toml").write_text('raw_root = "nowhere"\nshards_root = "there"\n')
        monkeypatch.chdir(tmp_path)
        (plan,) = make_plans("mscoco", root=Path("MSCOCO"), out=Path("here"))
        assert (plan.task.root, plan.task.out) == (root, tmp_path / "here/mscoco/val2017")

    def test_no_folder_of_that_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HMTOOLS_RAW_ROOT", str(tmp_path))
        with pytest.raises(
            LayoutError, match=f"no folder mscoco or MSCOCO .*{tmp_path} .HMTOOLS_RAW_ROOT."
        ) as caught:
            make_plans("mscoco")
        assert "--root DIR" in str(caught.value)
        assert "annotations_trainval2017.zip" in str(caught.value)

    @pytest.mark.parametrize("engine", ["ray", "slurm"])
    def test_other_engines(
        self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
    ) -> None:
        monkeypatch.setenv("HMTOOLS_ENGINE", engine)
        with pytest.raises(
            UsageError, match=rf"engine '{engine}' \(HMTOOLS_ENGINE\): this version converts locally"
        ):
            convert("mscoco", root=root, out=tmp_path / "out")

    def test_out_that_cannot_be_made(self, root: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(UsageError, match="choose another output folder"):
            run(root, tmp_path / "file")

    def test_settings_given(self, root: Path, tmp_path: Path) -> None:
        settings = load_settings({"shards_root": tmp_path / "flagged"})
        (plan,) = make_plans("mscoco", root=root, settings=settings)
        assert plan.task.out == tmp_path / "flagged/mscoco/val2017"


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
        with pytest.raises(UsageError, match=r"inputs\.annotations/coco_wholebody_val_v1\.0\.json"):
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


def test_every_split_is_announced_and_reported(both: Path, tmp_path: Path) -> None:
    seen: list[Plan] = []
    reports = convert(
        "mscoco", root=both, out=tmp_path / "out", workers=0, progress=False, started=seen.append
    )
    assert [plan.name for plan in seen] == ["mscoco/train2017", "mscoco/val2017"]
    assert [report.plan for report in reports] == seen
    assert [report.outcome.count("records") for report in reports] == [2, 15]


def test_command_for_those_who_look_later(root: Path, tmp_path: Path) -> None:
    folder = run(root, tmp_path / "out", command="hmtools convert mscoco --limit 3", limit=3)
    assert json.loads((folder / ".job/job.json").read_text())["command"] == "hmtools convert mscoco --limit 3"
    assert job_status(folder).state == "finished"


def test_only_sequences(tmp_path: Path, registered: Register) -> None:
    registered(Clip)
    for frame in range(5):
        write_picture(tmp_path / f"raw/walk/{frame}.jpg")
    assert len(records(run(tmp_path / "raw", tmp_path / "out", name="clip", only=["w?lk", "run"]))) == 10
    with pytest.raises(UsageError, match="--only run: no sequence"):
        run(tmp_path / "raw", tmp_path / "out", name="clip", only=["run"])


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


def test_planning_is_quick(tmp_path: Path) -> None:
    """Sixty thousand people in six thousand images: far below the minutes of converting them."""
    image = '{{"id": {0}, "file_name": "{0}.jpg", "width": 96, "height": 80}}'
    row = '{{"id": {0}, "image_id": {1}, "bbox": [1, 2, 3, 4], "keypoints": []}}'
    labels = write_labels(
        tmp_path / "x.json",
        [image.format(i) for i in range(6000)],
        [row.format(i, i * 7919 % 6000) for i in range(60_000)],
    )
    began = time.perf_counter()
    units = coco.plan_coco(labels, "train")
    assert time.perf_counter() - began < 10
    assert sum(unit.expected for unit in units) == 60_000
    assert [unit.images for unit in units] == [512] * 11 + [368]
