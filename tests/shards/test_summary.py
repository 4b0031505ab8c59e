"""The numbers of a converted split, against a world whose numbers are counted by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from hmtools.core.errors import LayoutError
from hmtools.datasets import coco
from hmtools.humandata.keypoints import convention
from hmtools.humandata.record import Record
from hmtools.shards.summary import summarise
from tests.datasets.coco_tree import image_row, joints, own_settings, person, run, samples, write_tree

__all__ = ["own_settings", "samples"]

ALL_SEEN = [float(cell) for x, y, _ in joints(4)[:17] for cell in (x, y, 2)]
PEOPLE = [
    person(0, 1, bbox=[5.0, 5.0, 10.0, 4.0]),
    person(1, 1, bbox=[5.0, 5.0, 8.0, 20.0], lefthand_valid=False),
    person(2, 1, bbox=[5.0, 5.0, 30.0, 30.0], lefthand_box=[1.0, 1.0, 0.0, 5.0]),
    person(3, 2, bbox=[5.0, 5.0, 40.0, 1.0], face_valid=False),
    person(4, 2, bbox=[5.0, 5.0, 1.0, 50.0], keypoints=ALL_SEEN),
    person(5, 2, iscrowd=1),
    person(6, 2, num_keypoints=0),
    person(7, 1, bbox=[300.0, 5.0, 1.0, 50.0]),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three people in a picture of 96 x 80, two in one of 80 x 120; the third picture shows nobody."""
    monkeypatch.setattr(coco, "IMAGES_PER_UNIT", 1)
    images = [image_row(1), image_row(2, width=80, height=120), image_row(3)]
    return run(write_tree(tmp_path / "coco", images, PEOPLE), tmp_path / "out")


def test_counts(folder: Path) -> None:
    found = summarise(folder)
    assert (found["dataset"], found["split"], found["images_stored"]) == ("mscoco", "val2017", "full")
    assert (found["records"], found["images"], found["people_per_image"]) == (5, 2, 2.5)
    assert (found["sequences"], found["tracks"]) == (1, 0)
    assert found["rejected"] == {"box_outside": 1}
    assert found["filtered"] == {"crowd": 1, "no_keypoints": 1}
    assert found["health"]["records"] == 5
    files = [path for path in folder.iterdir() if path.suffix in (".tar", ".arrow")]
    assert found["bytes"] == sum(path.stat().st_size for path in files)


def test_null_rates(folder: Path) -> None:
    nulls = summarise(folder)["nulls"]
    assert nulls["lhand_bbox_xywh"] == 0.4
    assert nulls["face_bbox_xywh"] == 0.2
    assert nulls["rhand_bbox_xywh"] == nulls["bbox_xywh"] == nulls["key"] == 0.0
    assert nulls["track_id"] == nulls["fps"] == 1.0
    assert "smplx_betas" not in nulls, "the set never has it"


def test_sizes(folder: Path) -> None:
    found = summarise(folder)
    # long sides 10, 20, 30, 40, 50; the 5th percentile lies a fifth of the way to the second
    assert found["box_long_side_px"] == {"p0": 10.0, "p5": 12.0, "p50": 30.0, "p95": 48.0, "p100": 50.0}
    # of the picture of each record: 96, 96, 96, 120, 120
    assert found["image_size_px"] == {"p0": 96.0, "p5": 96.0, "p50": 96.0, "p95": 120.0, "p100": 120.0}


def test_visibility(folder: Path) -> None:
    found = summarise(folder)
    assert found["keypoints"] == "coco_wholebody_133"
    names = convention("coco_wholebody_133").names
    assert list(found["visibility"]) == list(names)
    # every third joint is unlabelled, but for the body of one person in five
    wanted = [1.0 if i % 3 != 2 else 0.2 if i < 17 else 0.0 for i in range(133)]
    assert list(found["visibility"].values()) == wanted


def test_numbers_are_plain(folder: Path) -> None:
    assert json.loads(json.dumps(summarise(folder))) == summarise(folder)


@pytest.mark.parametrize("images", ["crop", "none"])
def test_image_policies_change_only_what_they_must(folder: Path, tmp_path: Path, images: str) -> None:
    found = summarise(run(tmp_path / "coco", tmp_path / images, images=images))
    assert found["images_stored"] == images
    was = summarise(folder)
    same = ("records", "images", "people_per_image", "visibility", "box_long_side_px", "image_size_px")
    assert {name: found[name] for name in same} == {name: was[name] for name in same}
    assert found["nulls"]["shard"] == float(images == "none")


def test_empty(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "coco", [image_row(1)], [person(1, 1, iscrowd=1)])
    found = summarise(run(root, tmp_path / "out"))
    assert (found["records"], found["images"], found["people_per_image"], found["sequences"]) == (
        0,
        0,
        0.0,
        0,
    )
    assert (found["nulls"], found["visibility"], found["box_long_side_px"]) == ({}, {}, {})


def test_no_split(tmp_path: Path) -> None:
    with pytest.raises(LayoutError):
        summarise(tmp_path)


def test_sequences_tracks_and_joints_that_some_rows_lack(
    tmp_path: Path, make_record: Callable[..., Record], make_split: Callable[..., Path]
) -> None:
    """Two sequences that share frame numbers, over several batches and parts."""
    frames: list[Sequence[Any]] = []
    for sequence in ("a", "b"):
        for frame in range(300):
            people = [make_record(frame, person, sequence=sequence) for person in range(1 + frame % 2)]
            for record in people:
                record.track_id = str(record.person)
                record.keypoints2d_original = None if frame % 4 == 0 else record.keypoints2d_original
                if record.keypoints2d_original is not None:
                    record.keypoints2d_original[:, 2] = 1
            frames.append(people)
    found = summarise(make_split(tmp_path, frames, images="none", units=2))
    assert (found["records"], found["images"], found["sequences"]) == (900, 600, 2)
    assert found["people_per_image"] == 1.5
    assert found["tracks"] == 4
    # frames 0, 4, 8 ... of either sequence hold one person each: 150 of 900
    assert found["nulls"]["keypoints2d_original"] == round(150 / 900, 4)
    assert set(found["visibility"].values()) == {round(750 / 900, 4)}


@pytest.mark.real
def test_real_excerpt(samples: Path, tmp_path: Path) -> None:
    found = summarise(run(samples / "mscoco", tmp_path / "out"))
    assert (found["records"], found["images"], found["people_per_image"]) == (12, 4, 3.0)
    assert found["image_size_px"]["p100"] == 640
    assert 0.5 < found["visibility"][convention("coco_wholebody_133").names[5]] <= 1
