"""MS COCO: what every field of the official files becomes, on trees written from its card."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.core.errors import LayoutError, UsageError
from hmtools.datasets import coco, coco_wholebody, mscoco
from hmtools.datasets.base import Rejected
from hmtools.datasets.mscoco import MsCoco
from hmtools.humandata.record import Record
from tests.datasets.coco_tree import (
    box,
    image_row,
    joints,
    person,
    records,
    run,
    sources,
    stored_joints,
    write_tree,
)

IMAGES = [image_row(785), image_row(139), image_row(500021), image_row(42, width=80, height=96)]
# Ids neither dense nor sorted, the people of an image not together, 139 without people.
PEOPLE = [
    person(900100, 500021),
    person(71, 785),
    person(900100000001, 500021, iscrowd=1, num_keypoints=0),
    person(5, 785, num_keypoints=0, keypoints=[0] * 51),
    person(12, 500021),
    person(3, 42),
    person(70, 785),
]


def read(root: Path, split: str = "val2017", **options: str) -> list[Record | Rejected]:
    """Every row of a split as the dataset reads it."""
    dataset = MsCoco(options)
    return [found for unit in dataset.plan(root, split) for found in dataset.read(root, unit)]


def kept(found: Sequence[Record | Rejected]) -> list[Record]:
    return [record for record in found if isinstance(record, Record)]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Labels of four images, no pictures."""
    return write_tree(tmp_path / "MSCOCO", IMAGES, PEOPLE, labels=("wholebody", "body"), pictures=False)


def test_identity(tree: Path) -> None:
    found = [
        (r.source_id, r.frame, r.person, r.source_index, r.source_frame, r.image_path)
        for r in kept(read(tree))
    ]
    first, third, fourth = (f"images/val2017/{name:012d}.jpg" for name in (785, 500021, 42))
    assert found == [
        # id, position in images, index in the image before any filter, position in annotations
        ("71", 0, 0, 1, "000000000785", first),
        ("70", 0, 2, 6, "000000000785", first),
        ("900100", 2, 0, 0, "000000500021", third),
        ("12", 2, 2, 4, "000000500021", third),
        ("3", 3, 0, 5, "000000000042", fourth),
    ]
    for record in kept(read(tree)):
        assert record.sequence == "val2017"
        assert (record.track_id, record.fps, record.video_frame) == (None, None, None)
        assert record.image_op == "none"


def test_crowds_and_people_without_joints_are_left_out_by_rule(tree: Path) -> None:
    left_out = [found for found in read(tree) if isinstance(found, Rejected)]
    assert [(r.reason, r.by_rule, r.source) for r in left_out] == [
        ("no_keypoints", True, "000000000785.jpg annotation 5"),
        ("crowd", True, "000000500021.jpg annotation 900100000001"),
    ]


def test_size_box_and_meta(tree: Path) -> None:
    by_id = {record.source_id: record for record in kept(read(tree))}
    assert (by_id["71"].width, by_id["71"].height) == (96, 80)
    assert (by_id["3"].width, by_id["3"].height) == (80, 96)
    for name, record in by_id.items():
        assert record.bbox_xywh == [*box(int(name or 0)), 1.0]
        assert json.loads(record.meta or "") == {
            "ann_id": int(name or 0),
            "image_id": int(Path(record.image_path or "").stem),
            "visibility": "".join(str(int(v)) for v in joints(0)[:17, 2]),
        }
        assert record.valid_keypoints3d is False


def part_order(root: Path) -> bool:
    """Whether every joint of every person stands in its official place."""
    people = kept(read(root))
    return bool(people) and all(
        np.array_equal(person.keypoints2d_original, stored_joints(int(person.source_id or 0)))
        for person in people
    )


def test_joints_stand_in_the_official_order(tree: Path) -> None:
    assert part_order(tree)


@pytest.mark.parametrize("order", [(0, 1, 3, 4, 2), (0, 1, 2, 4, 3), (0, 2, 1, 3, 4)])
def test_another_order_of_the_parts_would_be_seen(
    tree: Path, monkeypatch: pytest.MonkeyPatch, order: tuple[int, ...]
) -> None:
    """Among them the one of the widespread converter that puts the face after the hands."""
    monkeypatch.setattr(coco_wholebody, "_PARTS", tuple(coco_wholebody._PARTS[part] for part in order))
    assert not part_order(tree)


def test_confidence_is_one_where_labelled_and_unlabelled_joints_have_no_place(tree: Path) -> None:
    for record in kept(read(tree)):
        points = record.keypoints2d_original
        assert points.dtype == np.float32
        labelled = joints(0)[:, 2] > 0
        assert (points[labelled, 2] == 1).all()
        assert (points[~labelled] == 0).all()
        assert labelled.any()
        assert not labelled.all()


def test_body_labels_have_17_joints(tree: Path) -> None:
    people = kept(read(tree, labels="body"))
    assert MsCoco({"labels": "body"}).spec(tree, "val2017").keypoints2d == "coco_17"
    assert [record.source_id for record in people] == ["71", "70", "900100", "12", "3"]
    for record in people:
        assert np.array_equal(record.keypoints2d_original, stored_joints(int(record.source_id or 0), 17))
        assert record.valid_keypoints3d is False
        assert (record.lhand_bbox_xywh, record.face_bbox_xywh, record.valid_lhand) == (None, None, None)


@pytest.mark.parametrize(
    ("labels", "present", "joints"),
    [
        ("auto", ("wholebody", "body"), 133),
        ("auto", ("body",), 17),
        ("body", ("wholebody", "body"), 17),
        ("wholebody", ("wholebody",), 133),
    ],
)
def test_labels_option(tmp_path: Path, labels: str, present: tuple[str, ...], joints: int) -> None:
    root = write_tree(tmp_path / "coco", IMAGES, PEOPLE, labels=present, pictures=False)
    assert {len(record.keypoints2d_original) for record in kept(read(root, labels=labels))} == {joints}


@pytest.mark.parametrize(("labels", "present"), [("wholebody", "body"), ("body", "wholebody")])
def test_labels_that_are_not_there(tmp_path: Path, labels: str, present: str) -> None:
    root = write_tree(tmp_path / "coco", IMAGES, PEOPLE, labels=(present,), pictures=False)
    dataset = MsCoco({"labels": labels})
    assert dataset.found_splits(root) == []
    with pytest.raises(LayoutError, match="missing below"):
        dataset.require(root, ["val2017"])


def test_wrong_options() -> None:
    with pytest.raises(UsageError, match=r"expected auto \| wholebody \| body, found 'all'"):
        MsCoco({"labels": "all"})
    with pytest.raises(UsageError, match=r"no option 'label'.*did you mean 'labels'"):
        MsCoco({"label": "body"})


PARTS = [("lhand", "lefthand"), ("rhand", "righthand"), ("face", "face")]


@pytest.mark.parametrize(("column", "field"), PARTS)
def test_valid_parts_have_a_box(tmp_path: Path, column: str, field: str) -> None:
    people = [
        person(1, 785),
        person(2, 785, **{f"{field}_valid": False, f"{field}_box": [0.0, 0.0, 0.0, 0.0]}),
        person(3, 785, **{f"{field}_box": [30.0, 20.0, 0.0, 9.0]}),  # valid, without area
        person(4, 785, **{f"{field}_box": [30.0, 20.0, 9.0, 0.0]}),
        person(5, 785, **{f"{field}_box": [1.5, 2.5, 3.5, 4.5]}),
        person(6, 785, **{f"{field}_valid": False}),  # with a box all the same
    ]
    found = kept(read(write_tree(tmp_path / "coco", IMAGES, people, pictures=False)))
    boxes = [getattr(record, f"{column}_bbox_xywh") for record in found]
    assert [getattr(record, f"valid_{column}") for record in found] == [True, False, True, True, True, False]
    assert boxes[1:4] == [None, None, None], "null, never zeros"
    assert boxes[5] is None
    assert boxes[4] == [1.5, 2.5, 3.5, 4.5, 1.0]
    assert boxes[0] is not None
    others = [name for name, _ in PARTS if name != column]
    assert all(getattr(record, f"{name}_bbox_xywh") is not None for name in others for record in found)


def test_an_empty_folder_does_not_hide_the_full_one(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "coco", IMAGES, PEOPLE, folder="")
    (root / "images/val2017").mkdir(parents=True)
    assert {Path(record.image_path or "").parts[0] for record in kept(read(root))} == {"val2017"}


@pytest.mark.parametrize("folder", ["images/", ""])
def test_both_places_of_the_image_folder(tmp_path: Path, folder: str) -> None:
    root = write_tree(tmp_path / "coco", IMAGES, PEOPLE, folder=folder)
    paths = {record.image_path for record in kept(read(root))}
    assert paths == {f"{folder}val2017/{number:012d}.jpg" for number in (785, 500021, 42)}
    stored = records(run(root, tmp_path / "out"))
    assert len(stored) == 5
    assert all((root / row["image_path"]).is_file() for row in stored)


def test_positions_count_broken_rows_too(tmp_path: Path) -> None:
    """A frame is the place in the file's list, also behind a row that is no image."""
    images = ['{"id": 9, "width": oops}', '{"file_name": "no id"}', *IMAGES]
    annotations = ["{nonsense}", person(4, 785), person(6, 9), person(8, 42)]
    found = read(write_tree(tmp_path / "coco", images, annotations, pictures=False))
    assert [(r.source_id, r.frame, r.source_index) for r in kept(found)] == [("4", 2, 1), ("8", 5, 3)]
    broken = [(r.reason, r.by_rule, r.source) for r in found if isinstance(r, Rejected)]
    file = "coco_wholebody_val_v1.0.json"
    assert broken == [("broken_row", False, f"{file} annotations[{row}]") for row in (0, 2)]


def test_plan_cuts_by_images_and_never_looks_at_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [image_row(1000 - 7 * i) for i in range(7)]
    people = [person(i, 1000 - 7 * (i % 5)) for i in range(13)]
    root = write_tree(tmp_path / "coco", images, people, pictures=False)
    whole = [vars_of(record) for record in kept(read(root))]
    assert [unit.images for unit in MsCoco().plan(root, "val2017")] == [5]
    monkeypatch.setattr(coco, "IMAGES_PER_UNIT", 2)
    units = MsCoco().plan(root, "val2017")
    assert [(u.index, u.images, u.expected, u.name) for u in units] == [
        (0, 2, 6, "val2017 images 0-1"),
        (1, 2, 5, "val2017 images 2-3"),
        (2, 1, 2, "val2017 images 4-4"),
    ]
    assert all(unit.sequences == ("val2017",) for unit in units)
    assert [vars_of(record) for record in kept(read(root))] == whole, "the cut changes nothing"


def vars_of(record: Record) -> dict[str, Any]:
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name in Record.__dataclass_fields__
        if (value := getattr(record, name)) is not None
    }


def test_splits_that_are_there(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "coco", IMAGES, PEOPLE, pictures=False)
    assert MsCoco().found_splits(root) == ["val2017"]
    write_tree(root, IMAGES, PEOPLE, split="train2017", folder="", labels=("body",), pictures=False)
    assert MsCoco().found_splits(root) == ["train2017", "val2017"]
    assert MsCoco({"labels": "wholebody"}).found_splits(root) == ["val2017"]
    assert MsCoco().spec(root, "train2017").keypoints2d == "coco_17"
    assert MsCoco().spec(root, "val2017").keypoints2d == "coco_wholebody_133"


def test_layout_error_lists_every_missing_path_with_its_page(tmp_path: Path) -> None:
    for folder in ("coco/images/val2017", "coco/images/train2017"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "coco/images/val2017/1.jpg").touch()  # the other one is empty, which is as good as missing
    with pytest.raises(LayoutError) as caught:
        MsCoco().require(tmp_path / "coco", ["train2017", "val2017"])
    text = str(caught.value)
    missing, _, layout = text.partition("is expected as")
    for path in (
        "coco/images/train2017 or train2017",
        "annotations/coco_wholebody_train_v1.0.json or annotations/person_keypoints_train2017.json",
        "annotations/coco_wholebody_val_v1.0.json or annotations/person_keypoints_val2017.json",
    ):
        assert path in missing
    assert "images/val2017" not in missing
    assert missing.count("from https://") == 3
    assert "https://github.com/jin-s13/COCO-WholeBody" in missing
    assert "https://cocodataset.org/#download" in missing
    assert "annotations_trainval2017.zip" in layout, "the tree that is wanted"


def test_layout_error_of_a_folder_that_does_not_exist_lists_the_same(tmp_path: Path) -> None:
    with pytest.raises(LayoutError) as caught:
        MsCoco().require(tmp_path / "nowhere", ["val2017"])
    text = str(caught.value)
    assert f"{tmp_path}/nowhere: no such folder" in text
    assert f"{tmp_path}/nowhere/images/val2017 or val2017\n      from https://cocodataset.org" in text
    assert "annotations/coco_wholebody_val_v1.0.json" in text


def test_declaration() -> None:
    assert dict(MsCoco.splits) == {"train2017": "train", "val2017": "val"}
    assert MsCoco.official_counts["train2017"] == {"images": 118_287, "records": 149_813}
    assert MsCoco.official_counts["val2017"] == {"images": 5_000}
    assert MsCoco.box_ratio == 1.2
    assert not MsCoco.commercial_use
    assert not MsCoco.video
    assert set(MsCoco.folders) >= {"MSCOCO", "mscoco", "coco"}


def mentioned() -> set[str]:
    """Field names in the first column of the docstring tables."""
    tables = f"{coco.__doc__}\n{mscoco.__doc__}"
    rows = re.findall(r"^\| (.+?) \| .+ \|$", tables, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"((?:images|annotations)\[\]\.\w+)", row)}


def test_docstrings_say_what_becomes_of_every_field() -> None:
    images = {f"images[].{name}" for row in IMAGES if isinstance(row, dict) for name in row}
    people = {f"annotations[].{name}" for row in PEOPLE if isinstance(row, dict) for name in row}
    assert images | people == mentioned()


@pytest.mark.real
class TestRealExcerpt:
    """Four images of val2017 with their official labels."""

    @pytest.fixture
    def root(self, samples: Path) -> Path:
        return samples / "mscoco"

    @pytest.fixture
    def labels(self, root: Path) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((root / "annotations/coco_wholebody_val_v1.0.json").read_text())
        return found

    def test_people(self, root: Path, labels: dict[str, Any]) -> None:
        found = read(root)
        people = {record.source_id: record for record in kept(found)}
        rows = {str(row["id"]): row for row in labels["annotations"]}
        wanted = {name for name, row in rows.items() if row["num_keypoints"] and not row["iscrowd"]}
        assert set(people) == wanted
        assert len(people) == 12
        assert sorted(r.reason for r in found if isinstance(r, Rejected)) == ["no_keypoints"] * 2
        for name, record in people.items():
            row, points = rows[name or ""], record.keypoints2d_original
            assert points.shape == (133, 3)
            assert points[:17, 2].sum() == row["num_keypoints"]
            for field, first, count in (
                ("keypoints", 0, 17),
                ("face_kpts", 23, 68),
                ("lefthand_kpts", 91, 21),
            ):
                source = np.array(row[field]).reshape(count, 3)
                seen = source[:, 2] > 0
                np.testing.assert_allclose(
                    points[first : first + count][seen, :2], source[seen, :2], rtol=1e-6
                )
            assert record.valid_lhand == row["lefthand_valid"]
            assert (record.lhand_bbox_xywh is None) == (not row["lefthand_valid"])

    def test_hands_are_where_their_wrists_are(self, root: Path) -> None:
        """Left wrist 9 and hand root 91, right 10 and 112: swapped hands or a shifted part lie far off."""
        checked = 0
        for record in kept(read(root)):
            points = record.keypoints2d_original
            for wrist, hand in ((9, 91), (10, 112)):
                if points[wrist, 2] and points[hand, 2]:
                    side = max(record.bbox_xywh[2:4])
                    assert np.linalg.norm(points[wrist, :2] - points[hand, :2]) < 0.1 * side
                    checked += 1
            if points[0, 2] and points[23 + 30, 2]:  # the nose is point 30 of the 68 of a face
                assert np.linalg.norm(points[0, :2] - points[53, :2]) < 0.1 * max(record.bbox_xywh[2:4])
        assert checked > 5

    @pytest.mark.parametrize("images", ["crop", "full"])
    def test_conversion(self, root: Path, tmp_path: Path, images: str) -> None:
        rows = records(run(root, tmp_path, images=images))
        assert len(sources(rows)) == 12

    def test_body_and_wholebody_agree(self, root: Path) -> None:
        for one, other in zip(kept(read(root)), kept(read(root, labels="body")), strict=True):
            assert np.array_equal(one.keypoints2d_original[:17], other.keypoints2d_original)
            assert one.bbox_xywh == other.bbox_xywh
