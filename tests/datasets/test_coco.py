"""COCO keypoint files: your own data in that format, and what the reader does with rows that are broken."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.convert.run import make_plans
from hmtools.core.errors import LayoutError, UsageError
from hmtools.datasets import coco
from hmtools.datasets.base import Rejected
from hmtools.datasets.coco import Coco, flag, numbers, points, visibility
from hmtools.datasets.mscoco import MsCoco
from hmtools.humandata.record import Record
from hmtools.humandata.table import normalise
from tests.datasets.coco_tree import (
    box,
    image_row,
    joints,
    manifest,
    person,
    records,
    run,
    stored_joints,
    write_labels,
    write_picture,
    write_tree,
)

IMAGES = [image_row(7, "day one/a.jpg"), image_row(3, "b.png")]


def own(number: int, image: int, count: int = 17, **cells: Any) -> dict[str, Any]:
    """The least that a person of one's own data has."""
    return {
        "id": number,
        "image_id": image,
        "bbox": box(number),
        "keypoints": joints(number)[:count].reshape(-1).tolist(),
    } | cells


def read_one(tmp_path: Path, annotation: Any, image: Any = None) -> Record | Rejected:
    """What the whole-body reader says about one person."""
    root = write_tree(tmp_path, [image or image_row(785)], [annotation], pictures=False)
    (unit,) = MsCoco().plan(root, "val2017")
    (found,) = MsCoco().read(root, unit)
    return found


class TestBringYourOwn:
    @pytest.fixture
    def photos(self, tmp_path: Path) -> Path:
        folder = tmp_path / "photos"
        for row in IMAGES:
            assert isinstance(row, dict)
            write_picture(folder / row["file_name"])
        return folder

    def convert(self, photos: Path, labels: Path, split: str = "train", **options: str) -> Path:
        options = {"annotations": str(labels), "name": "mine"} | options
        return run(photos, photos.parent / "out", name="coco", split=split, options=options)

    def test_file_beside_the_folder_of_images(self, tmp_path: Path, photos: Path) -> None:
        labels = write_labels(tmp_path / "elsewhere/labels.json", IMAGES, [own(4, 3), own(8, 7), own(2, 7)])
        folder = self.convert(photos, labels)
        assert folder == tmp_path / "out/mine/train"
        rows = records(folder)
        assert [(r["key"], r["source_id"], r["image_path"]) for r in rows] == [
            ("mine/train/train/000000_0", "8", "day one/a.jpg"),
            ("mine/train/train/000000_1", "2", "day one/a.jpg"),
            ("mine/train/train/000001_0", "4", "b.png"),
        ]
        for row in rows:
            assert row["dataset"] == "mine"
            number = int(row["source_id"])
            assert np.array_equal(row["keypoints2d_original"], stored_joints(number, 17))
            image_id = {"8": 7, "2": 7, "4": 3}[row["source_id"]]
            meta = {"ann_id": number, "image_id": image_id, "visibility": "21021021021021021"}
            assert json.loads(row["meta"]) == meta
        found = manifest(folder)
        assert (found.dataset, found.split, found.role, found.images) == ("mine", "train", "train", "crop")
        assert found.converter["dataset"] == "coco"
        assert found.spec["keypoints2d"] == "coco_17"
        assert found.options["convention"] == "coco_17"

    def test_files_may_move(self, tmp_path: Path, photos: Path) -> None:
        """Where the file lies is no option that changes bytes, so a rerun from another place continues."""
        labels = write_labels(tmp_path / "labels.json", IMAGES, [own(4, 3)])
        folder = self.convert(photos, labels)
        assert str(tmp_path) not in json.dumps(manifest(folder).options)
        (tmp_path / "moved").mkdir()
        labels = labels.rename(tmp_path / "moved/labels.json")
        assert self.convert(photos, labels) == folder

    def test_other_splits_and_conventions(self, tmp_path: Path, photos: Path) -> None:
        labels = write_labels(tmp_path / "labels.json", IMAGES, [own(4, 3, count=14)])
        folder = self.convert(photos, labels, split="test", convention="crowdpose_14")
        (row,) = records(folder)
        assert row["key"] == "mine/test/test/000001_0"
        assert np.array_equal(row["keypoints2d_original"], stored_joints(4, 14))
        assert (manifest(folder).role, manifest(folder).images) == ("test", "full")

    def test_without_a_name(self, tmp_path: Path, photos: Path) -> None:
        labels = write_labels(tmp_path / "labels.json", IMAGES, [own(4, 3)])
        assert self.convert(photos, labels, name="") == tmp_path / "out/coco/train"

    def test_default_split_is_train(self, tmp_path: Path, photos: Path) -> None:
        labels = write_labels(tmp_path / "labels.json", IMAGES, [own(4, 3)])
        (plan,) = make_plans("coco", root=photos, out=tmp_path, options={"annotations": str(labels)})
        assert plan.name == "coco/train"

    def test_wrong_number_of_joints(self, tmp_path: Path, photos: Path) -> None:
        labels = write_labels(tmp_path / "labels.json", IMAGES, [own(4, 3, count=17), own(5, 3, count=16)])
        folder = self.convert(photos, labels)
        assert [row["source_id"] for row in records(folder)] == ["4"]
        assert manifest(folder).rejected == {"broken_row": 1}
        (example,) = manifest(folder).rejected_examples
        assert example["source"] == "b.png annotation 5"
        assert example["detail"] == "expected 51 numbers, found 48"

    def test_wrong_use(self, tmp_path: Path, photos: Path) -> None:
        with pytest.raises(
            UsageError, match=r"unknown keypoint convention 'coco_18'.*did you mean 'coco_17'"
        ):
            Coco({"convention": "coco_18"})
        for name in ("Mine", "../mine", "a b", "a/b", ".x", "ä"):
            with pytest.raises(UsageError, match="expected lower-case letters"):
                Coco({"name": name})
        with pytest.raises(UsageError, match=r"hmtools convert coco --annotations X\.json"):
            make_plans("coco", root=photos, out=tmp_path)
        with pytest.raises(UsageError, match="no option 'joints'"):
            make_plans("coco", root=photos, out=tmp_path, options={"joints": "17"})

    def test_names_of_official_sets_are_taken(self, tmp_path: Path, photos: Path) -> None:
        labels = write_labels(tmp_path / "labels.json", IMAGES, [own(4, 3)])
        options = {"annotations": str(labels), "name": "mscoco"}
        with pytest.raises(UsageError, match="--name mscoco: that is the name of an official dataset"):
            make_plans("coco", root=photos, out=tmp_path, options=options)

    def test_missing_file_or_folder(self, tmp_path: Path, photos: Path) -> None:
        options = {"annotations": str(tmp_path / "none.json")}
        with pytest.raises(LayoutError, match=re.escape(f"{tmp_path}/none.json\n      from your own disk")):
            make_plans("coco", root=photos, out=tmp_path, options=options)
        labels = write_labels(tmp_path / "labels.json", IMAGES, [own(4, 3)])
        with pytest.raises(LayoutError, match="nowhere: no such folder"):
            make_plans("coco", root=tmp_path / "nowhere", options={"annotations": str(labels)})
        with pytest.raises(LayoutError, match="not a file"):
            make_plans("coco", root=photos, options={"annotations": str(photos)})


class TestPlan:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            "{}",
            "no json",
            '{"images": [], "annotations": []}',
            '{"images": {"id": 1}, "annotations": 5}',
            '{"images": [{"id": 1}], "annotations": [{"id": 1, "image_id": 1}',
            '{"annotations": [{"id": 1, "image_id": 1}]}',
        ],
    )
    def test_no_coco_file(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "labels.json").write_text(text)
        with pytest.raises(LayoutError, match=r"labels\.json"):
            coco.plan_coco(tmp_path / "labels.json", "train")

    def test_people_of_no_known_image(self, tmp_path: Path) -> None:
        labels = write_labels(tmp_path / "labels.json", IMAGES, [own(1, 99), own(2, 98)])
        (unit,) = coco.plan_coco(labels, "train")
        assert (unit.images, unit.expected) == (0, 0)
        dataset = Coco({"annotations": str(labels)})
        found = list(dataset.read(tmp_path, unit))
        assert [(r.reason, r.source) for r in found if isinstance(r, Rejected)] == [
            ("broken_row", "labels.json annotations[0]"),
            ("broken_row", "labels.json annotations[1]"),
        ]
        assert all(
            "image_id that `images` does not have" in r.detail for r in found if isinstance(r, Rejected)
        )

    def test_an_image_id_that_occurs_twice_means_the_first(self, tmp_path: Path) -> None:
        images = [image_row(5, "first.jpg"), image_row(5, "second.jpg"), image_row(1, "third.jpg")]
        labels = write_labels(tmp_path / "labels.json", images, [own(1, 5), own(2, 1)])
        dataset = Coco({"annotations": str(labels)})
        found = [r for unit in dataset.plan(tmp_path, "train") for r in dataset.read(tmp_path, unit)]
        assert [(r.image_path, r.frame) for r in found if isinstance(r, Record)] == [
            ("first.jpg", 0),
            ("third.jpg", 2),
        ]

    @pytest.mark.parametrize("per_unit", [1, 512])
    def test_an_annotation_id_that_occurs_twice(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, per_unit: int
    ) -> None:
        """The second row is rejected wherever the first one stands, and counts as a person of its image."""
        monkeypatch.setattr(coco, "IMAGES_PER_UNIT", per_unit)
        labels = write_labels(
            tmp_path / "labels.json", IMAGES, [own(1, 3), own(2, 7), own(1, 7), own(2, 7), own(3, 7)]
        )
        dataset = Coco({"annotations": str(labels)})
        found = [r for unit in dataset.plan(tmp_path, "train") for r in dataset.read(tmp_path, unit)]
        assert [(r.source_id, r.source_index, r.person) for r in found if isinstance(r, Record)] == [
            ("2", 1, 0),
            ("3", 4, 3),
            ("1", 0, 0),
        ]
        assert [(r.reason, r.source) for r in found if isinstance(r, Rejected)] == [
            ("duplicate_annotation", "day one/a.jpg annotation 1"),
            ("duplicate_annotation", "day one/a.jpg annotation 2"),
        ]

    def test_order_of_the_lists_does_not_matter(self, tmp_path: Path) -> None:
        text = json.dumps({"annotations": [own(1, 3)], "info": {}, "images": IMAGES})
        (tmp_path / "labels.json").write_text(text)
        (unit,) = coco.plan_coco(tmp_path / "labels.json", "train")
        assert unit.payload.people[:, 1:3].tolist() == [[0, 0]]


def without(row: Any, name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


NAN = float("nan")
FIRST = joints(1)[:17].reshape(-1).tolist()
BROKEN: dict[str, tuple[Any, str]] = {
    "no box": (person(1, 785, bbox=None), "has no 'bbox'"),
    "no id": (person(1, 785, id=None), "has no 'id'"),
    "no keypoints": (person(1, 785, keypoints=None), "has no 'keypoints'"),
    "no feet": (person(1, 785, foot_kpts=None), "has no 'foot_kpts'"),
    "no flag": (person(1, 785, face_valid=None), "has no 'face_valid'"),
    "one joint too few": (person(1, 785, keypoints=FIRST[:48]), "expected 51 numbers, found 48"),
    "one number too many": (person(1, 785, keypoints=[*FIRST, 2]), "expected 51 numbers, found 52"),
    "hand of 20": (person(1, 785, lefthand_kpts=[1.0] * 60), "expected 63 numbers, found 60"),
    "box of 3": (person(1, 785, bbox=[1, 2, 3]), "expected 4 numbers, found 3"),
    "box of text": (person(1, 785, bbox=["1", "2", "3", "4"]), "expected 4 numbers, found"),
    "box is text": (person(1, 785, bbox="1234"), "expected 4 numbers, found '1234'"),
    "box is an object": (person(1, 785, bbox={"1": 1, "2": 2, "3": 3, "4": 4}), "expected 4 numbers"),
    "box of truth": (person(1, 785, bbox=[True, 2, 3, 4]), "expected 4 numbers"),
    "joint of text": (person(1, 785, keypoints=["3", *FIRST[1:]]), "expected 51 numbers, found"),
    "joint of null": (person(1, 785, keypoints=[*FIRST[:50], [None]]), "expected 51 numbers"),
    "a number no float holds": (person(1, 785, bbox=[10**400, 2, 3, 4]), "too large"),
    "visibility NaN": (person(1, 785, keypoints=[*FIRST[:50], NAN]), "NaN"),
    "visibility infinite": (person(1, 785, keypoints=[*FIRST[:50], float("inf")]), "infinity"),
    "visibility of a face NaN": (person(1, 785, face_kpts=[NAN] * 204), "NaN"),
    "flag of text": (person(1, 785, lefthand_valid="false"), "expected true or false, found 'false'"),
    "flag 2": (person(1, 785, lefthand_valid=2), "expected true or false, found 2"),
    "crowd of text": (person(1, 785, iscrowd="0"), "iscrowd: expected a whole number, found '0'"),
    "count of text": (person(1, 785, num_keypoints="17"), "num_keypoints: expected a whole number"),
    "id is a list": (person(1, 785, id=[1]), "id: expected text or an integer"),
    "id is no text": (person(1, 785, id="\ud800"), "surrogates not allowed"),
}
BROKEN_IMAGES: dict[str, tuple[Any, str]] = {
    "no width": (without(image_row(785), "width"), "has no 'width'"),
    "no height": (without(image_row(785), "height"), "has no 'height'"),
    "no name": (without(image_row(785), "file_name"), "has no 'file_name'"),
    "width of text": (image_row(785, width="96"), "width: expected a whole number, found '96'"),  # type: ignore[arg-type]
    "half a pixel": (image_row(785, height=80.5), "height: expected a whole number, found 80.5"),  # type: ignore[arg-type]
    "width beyond all": (image_row(785, width=2**31), "width: expected a whole number"),
    "height infinite": (image_row(785, height=float("inf")), "infinity"),  # type: ignore[arg-type]
    "name is a number": (image_row(785, file_name=1.5), "file_name: expected text"),
    "name is no text": (image_row(785, "a\udcffb.jpg"), "surrogates not allowed"),
}


class TestBrokenRows:
    @pytest.mark.parametrize("what", BROKEN)
    def test_annotations(self, tmp_path: Path, what: str) -> None:
        annotation, detail = BROKEN[what]
        found = read_one(tmp_path, annotation)
        assert isinstance(found, Rejected), found
        assert (found.reason, found.by_rule) == ("broken_row", False)
        assert detail in found.detail
        assert ("annotation 1" in found.source) or ("annotations[0]" in found.source)

    @pytest.mark.parametrize("what", BROKEN_IMAGES)
    def test_images(self, tmp_path: Path, what: str) -> None:
        image, detail = BROKEN_IMAGES[what]
        found = read_one(tmp_path, person(1, 785), image)
        assert isinstance(found, Rejected), found
        assert (found.reason, found.by_rule) == ("broken_row", False)
        assert detail in found.detail

    def test_rows_that_are_no_json(self, tmp_path: Path) -> None:
        rows = [person(2, 785), '{"id": 1, "image_id": 785, "bbox": [1, 2,, 3]}', "{'id': 3}", person(4, 785)]
        root = write_tree(tmp_path, [image_row(785)], rows, pictures=False)
        (unit,) = MsCoco().plan(root, "val2017")
        found = list(MsCoco().read(root, unit))
        assert [(r.source_id, r.source_index) for r in found if isinstance(r, Record)] == [("2", 0), ("4", 3)]
        broken = [(r.reason, r.source.partition(" ")[2]) for r in found if isinstance(r, Rejected)]
        assert broken == [("broken_row", "annotations[1]"), ("broken_row", "annotations[2]")]

    def test_whole_floats_and_missing_counts_are_fine(self, tmp_path: Path) -> None:
        image = image_row(785, width=96.0, height=80.0)  # type: ignore[arg-type]
        row = person(1, 785, num_keypoints=None, iscrowd=False, face_valid=1)
        found = read_one(tmp_path, row, image)
        assert isinstance(found, Record)
        assert (found.width, found.height, found.valid_face) == (96, 80, True)

    def test_nan_in_a_place_is_left_to_the_common_check(self, tmp_path: Path) -> None:
        found = read_one(tmp_path, person(1, 785, bbox=[NAN, 1, 2, 3]))
        assert isinstance(found, Record)
        assert np.isnan(found.bbox_xywh[0])


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([10**400, -1, 0, 2**63, "\ud800", "0", 1e300, "../x", ""]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_value_of_any_field_gets_past_the_reader_unseen(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever stands in a row, it becomes a storable record or one counted rejection, never an exception."""
    image, annotation = image_row(785), person(1, 785)
    assert isinstance(image, dict)
    assert isinstance(annotation, dict)
    fields = [(row, name) for row in (image, annotation) for name in row]
    for row, name in data.draw(st.lists(st.sampled_from(fields), min_size=1, max_size=2)):
        if isinstance(row[name], list) and data.draw(st.booleans()):
            row[name] = [*row[name][:-1], data.draw(JUNK)]
        else:
            row[name] = data.draw(JUNK)
    root = tmp_path_factory.getbasetemp() / "junk"
    write_tree(root, [image], [annotation], pictures=False)
    try:
        (unit,) = MsCoco().plan(root, "val2017")
    except LayoutError:
        assert any(type(n) is not int or abs(n) >= 2**63 for n in (image["id"], annotation["image_id"]))
        return
    (found,) = MsCoco().read(root, unit)
    if isinstance(found, Record):
        assert type(annotation["bbox"]) is list
        normalise(found, MsCoco().spec(root, "val2017"))


class TestNumbers:
    def test_numbers(self) -> None:
        assert numbers([1, 2.5], 2) == [1.0, 2.5]
        assert all(type(value) is float for value in numbers([1, 2], 2))

    def test_points(self) -> None:
        found = points([1.5, 2.5, 2, 3, 4, 1, 5, 6, 0, 7, 8, 0.3, 9, 9, -1], 5)
        assert found.dtype == np.float32
        assert found.tolist() == [[1.5, 2.5, 1], [3, 4, 1], [0, 0, 0], [7, 8, 1], [0, 0, 0]]

    def test_points_beyond_float32_become_infinite_without_a_warning(self) -> None:
        assert np.isinf(points([1e300, 0, 1], 1)[0, 0])

    def test_unlabelled_joints_may_hold_anything(self) -> None:
        assert points([NAN, float("inf"), 0], 1).tolist() == [[0, 0, 0]]

    def test_visibility_is_one_digit_a_joint(self) -> None:
        assert visibility([0, 0, 2, 0, 0, 1, 0, 0, 0]) == "210"
        assert visibility([0, 0, 2.0, 0, 0, 0.4, 0, 0, 0.0, 0, 0, -3, 0, 0, 99]) == "21009"

    @given(st.lists(st.floats(-5, 50).map(lambda v: round(v, 3)), max_size=20))
    @settings(max_examples=50)
    def test_visibility_agrees_with_confidence(self, values: list[float]) -> None:
        triples = [number for v in values for number in (1.0, 2.0, v)]
        digits = visibility(triples)
        assert len(digits) == len(values)
        assert [digit > "0" for digit in digits] == [c > 0 for c in points(triples, len(values))[:, 2]]

    @pytest.mark.parametrize(("value", "wanted"), [(True, True), (False, False), (1, True), (0, False)])
    def test_flag(self, value: object, wanted: bool) -> None:
        assert flag({"x": value}, "x") is wanted

    @pytest.mark.parametrize("value", ["true", "", None, 2, 0.5, [], 1.0])
    def test_flag_of_another_kind(self, value: object) -> None:
        with pytest.raises(TypeError, match="x: expected true or false"):
            flag({"x": value}, "x")
