"""``convert``: what is planned and done for which arguments."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from hmtools.convert.run import Plan, _fingerprint, convert, make_plans, wanted_splits
from hmtools.core.errors import LayoutError, UsageError
from hmtools.core.settings import load_settings
from hmtools.datasets import coco
from hmtools.datasets.base import Dataset
from hmtools.datasets.mscoco import MsCoco
from hmtools.engine.job import Job, Outcome
from hmtools.engine.launch import EngineChoice
from hmtools.engine.state import job_status
from hmtools.humandata.schema import RecordSpec
from tests.convert.one_unit import Clip
from tests.datasets.coco_tree import (
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
        missing, _, _ = str(caught.value).partition("is expected as")
        for name in ("images/train2017", "coco_wholebody_train_v1.0.json", "coco_wholebody_val_v1.0.json"):
            assert name in missing
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
            "bodies": "auto",
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

    def test_the_engine_of_the_settings_runs_the_units(
        self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = []

        def notice(job: Job, engine: EngineChoice, **_: object) -> Outcome:
            seen.append((job.name, engine.name, engine.workers))
            return Outcome()

        monkeypatch.setenv("HMTOOLS_ENGINE", "ray")
        monkeypatch.setattr("hmtools.convert.run.run_job", notice)
        monkeypatch.setattr("hmtools.convert.run.engine_session", nullcontext)
        convert("mscoco", root=root, out=tmp_path / "out", workers=3)
        assert seen == [("convert mscoco/val2017", "ray", 3)]

    def test_out_that_cannot_be_made(self, root: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(UsageError, match="choose another output folder"):
            run(root, tmp_path / "file")

    def test_settings_given(self, root: Path, tmp_path: Path) -> None:
        settings = load_settings({"shards_root": tmp_path / "flagged"})
        (plan,) = make_plans("mscoco", root=root, settings=settings)
        assert plan.task.out == tmp_path / "flagged/mscoco/val2017"


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


def test_the_middle_of_a_large_plan_counts(tmp_path: Path) -> None:
    """Arrays of thousands of numbers are abbreviated when they are printed; a fingerprint must not be."""
    people = [person(i, 900 - i % 7, segmentation=None, face_kpts=None) for i in range(2000)]
    plans = []
    for name in ("one", "other"):
        plans += make_plans("mscoco", root=write_tree(tmp_path / name, IMAGES, people, pictures=False))
        people[1000], people[1001] = people[1001], people[1000]
    assert plans[0].units[0].payload.people.tolist() != plans[1].units[0].payload.people.tolist()
    prints = [_fingerprint(plan)["plan"] for plan in plans]
    assert prints[0] != prints[1]
    assert _fingerprint(plans[0])["plan"] == prints[0]
