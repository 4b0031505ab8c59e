"""MS COCO with the fits of NeuralAnnot: whose they are, what is written, what is optional."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.bodies.assets import load_model
from hmtools.bodies.hands import absolute_hand
from hmtools.core.settings import load_settings
from hmtools.datasets import coco, mscoco
from hmtools.datasets.base import Rejected
from hmtools.datasets.mscoco import MsCoco
from hmtools.humandata.record import Record
from tests.datasets.coco_tree import image_row, person, records, run, stored_joints, write_tree
from tests.datasets.fit_json import FIELDS, entry, fit_values, write_fits

IMAGES = [image_row(785), image_row(139)]
FITS = ("MSCOCO_train_SMPLX_all_NeuralAnnot.json", "MSCOCO_train_SMPLX.json")


def read(root: Path, split: str = "train2017", **options: str) -> list[Record | Rejected]:
    """Every row of a split as the dataset reads it."""
    dataset = MsCoco(options)
    return [found for unit in dataset.plan(root, split) for found in dataset.read(root, unit)]


def kept(found: Sequence[Record | Rejected]) -> list[Record]:
    return [record for record in found if isinstance(record, Record)]


def fitted_tree(root: Path, people: Sequence[Any], *, name: str = FITS[0], **options: Any) -> Path:
    """A train split whose people have fits, but for 5 (none at all) and 70 (a field is missing)."""
    write_tree(root, IMAGES, people, split="train2017", pictures=False, **options)
    ids = [row["id"] for row in people if row["id"] != 5]
    write_fits(
        root / "annotations" / name, {i: entry(i, **({"shape": None} if i == 70 else {})) for i in ids}
    )
    return root


def test_fits_become_smplx_parameters(tmp_path: Path) -> None:
    people = [person(i, 785) for i in (900100000001, 5, 12, 70)]
    root = fitted_tree(tmp_path / "coco", people)
    assert MsCoco().spec(root, "train2017").bodies == ("smplx",)
    found = read(root)
    assert [record.source_id for record in kept(found)] == ["900100000001", "5", "12", "70"]
    broken = [r for r in found if isinstance(r, Rejected)]
    assert [(r.reason, r.source, r.detail, r.by_rule) for r in broken] == [
        ("broken_fit", f"{FITS[0]} 70", "has no 'shape'", False)
    ]
    for record in kept(found):
        number = int(record.source_id or 0)
        fitted = number not in (5, 70)
        assert [record.valid_smplx, record.valid_betas, record.valid_global_orient] == [fitted] * 3
        assert record.valid_transl is False
        assert record.valid_keypoints3d is False
        assert record.valid_lhand is True, "of the annotation"
        assert record.gender == ("neutral" if fitted else None)
        assert record.camera_kind == ("virtual" if fitted else None)
        assert np.array_equal(record.keypoints2d_original, stored_joints(number))
        for field, (part, _) in FIELDS.items():
            held = getattr(record, f"smplx_{part}")
            wanted = fit_values(number)[field] if fitted and "hand" not in part else None
            assert (held if held is None else held.tolist()) == wanted
        if fitted:
            assert list(record.focal_length) == [2000 + number % 5, 2010]
            assert list(record.principal_point) == [48 + number % 3, 36.5]
        assert (record.world_to_cam, record.distortion) == (None, None)


@pytest.mark.parametrize(
    ("column", "field"), [("lhand", "lefthand"), ("rhand", "righthand"), ("face", "face")]
)
@pytest.mark.parametrize("of_fit", [None, True, False])
@pytest.mark.parametrize("of_annotation", [True, False])
def test_flags_of_the_fit_come_before_those_of_the_annotation(
    tmp_path: Path, column: str, field: str, of_fit: bool | None, of_annotation: bool
) -> None:
    root = fitted_tree(tmp_path / "coco", [person(4, 785, **{f"{field}_valid": of_annotation})])
    write_fits(root / "annotations" / FITS[0], {4: entry(4, **{f"{column}_valid": of_fit})})
    (record,) = kept(read(root))
    flags = {name: getattr(record, f"valid_{name}") for name in ("lhand", "rhand", "face")}
    wanted = of_annotation if of_fit is None else of_fit
    assert flags == {"lhand": True, "rhand": True, "face": True} | {column: wanted}
    assert (getattr(record, f"{column}_bbox_xywh") is not None) == of_annotation


@pytest.mark.parametrize("name", FITS)
def test_both_names_of_the_file_of_fits(tmp_path: Path, name: str) -> None:
    root = fitted_tree(tmp_path / "coco", [person(12, 785)], name=name)
    assert [record.valid_smplx for record in kept(read(root))] == [True]
    inputs = {path.name for path in MsCoco().inputs(root, "train2017")}
    assert inputs == {"coco_wholebody_train_v1.0.json", name}, "a changed file is another conversion"


def test_body_labels_with_fits(tmp_path: Path) -> None:
    root = fitted_tree(tmp_path / "coco", [person(12, 785)], labels=("body",))
    (record,) = kept(read(root))
    assert len(record.keypoints2d_original) == 17
    assert (record.valid_smplx, record.valid_lhand) == (True, None), "nobody says whether the hand is right"


def test_fits_are_optional_and_can_be_left(tmp_path: Path) -> None:
    root = fitted_tree(tmp_path / "coco", [person(12, 785)])
    for dataset in (MsCoco({"bodies": "none"}), MsCoco()):
        assert dataset.found_splits(root) == ["train2017"]
        assert dataset.spec(root, "train2017").bodies == (
            ("smplx",) if dataset.chosen["bodies"] == "auto" else ()
        )
        (root / "annotations" / FITS[0]).rename(tmp_path / "away")
        assert dataset.found_splits(root) == ["train2017"]
        assert dataset.spec(root, "train2017").bodies == ()
        (tmp_path / "away").rename(root / "annotations" / FITS[0])
    (record,) = kept(read(root, bodies="none"))
    assert (record.smplx_betas, record.valid_smplx, record.gender) == (None, None, None)
    assert [source.optional for source in MsCoco().sources("train2017")] == [False, False, True]


def test_val_has_no_fits(tmp_path: Path) -> None:
    people = [person(12, 785)]
    root = write_tree(tmp_path / "coco", IMAGES, people, pictures=False)
    write_fits(root / "annotations" / FITS[0], {12: entry(12)})
    assert MsCoco().spec(root, "val2017").bodies == ()
    assert kept(read(root, "val2017"))[0].valid_smplx is None
    assert len(MsCoco().sources("val2017")) == 2


def test_fits_follow_their_people_into_the_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco, "IMAGES_PER_UNIT", 1)
    root = fitted_tree(tmp_path / "coco", [person(i, 785 if i % 2 else 139) for i in range(20, 30)])
    write_fits(root / "annotations" / FITS[0], {i: entry(i) for i in (29, 21, 24, 77)})
    units = MsCoco().plan(root, "train2017")
    assert [sorted(unit.payload.fits[:, 0].tolist()) for unit in units] == [[21, 29], [24]]
    assert [unit.payload.strays for unit in units] == [("77",), ()]
    found = [f for unit in units for f in MsCoco().read(root, unit)]
    assert {r.source_id for r in kept(found) if r.valid_smplx} == {"21", "24", "29"}
    assert [(r.reason, r.by_rule) for r in found if isinstance(r, Rejected)] == [("fit_without_person", True)]


def test_an_id_that_is_no_integer_has_no_fit(tmp_path: Path) -> None:
    people = [person(12, 785), person(13, 785, id="p")]
    root = write_tree(tmp_path / "coco", IMAGES, people, split="train2017", pictures=False)
    write_fits(root / "annotations" / FITS[0], {0: entry(0), 12: entry(12)})
    found = read(root)
    assert [r.source for r in found if isinstance(r, Rejected)] == [f"{FITS[0]} 0"]
    assert [(r.source_id, r.valid_smplx) for r in kept(found)] == [("12", True), ("p", False)]


def test_a_fit_of_a_crowd_goes_with_it(tmp_path: Path) -> None:
    root = fitted_tree(tmp_path / "coco", [person(3, 785, iscrowd=1), person(12, 785)])
    assert [r.reason for r in read(root) if isinstance(r, Rejected)] == ["crowd"]


def test_stored_hands_are_absolute(golden: Path, tmp_path: Path) -> None:
    root = fitted_tree(tmp_path / "coco", [person(12, 785)])
    settings = load_settings({"body_models": golden})
    folder = run(root, tmp_path / "out", split="train2017", images="none", settings=settings)
    (row,) = records(folder)
    model = load_model("smplx", "neutral", roots=(golden,))
    left = absolute_hand(fit_values(12)["lhand_pose"], model, "left")
    right = absolute_hand(fit_values(12)["rhand_pose"], model, "right")
    assert np.array_equal(row["smplx_left_hand_pose"], left.astype(np.float32))
    assert np.array_equal(row["smplx_right_hand_pose"], right.astype(np.float32))
    assert "pending" not in json.loads(row["meta"])
    x, y, z = row["keypoints3d_smplx"][:22, :3].T
    centre, focal = row["principal_point"], row["focal_length"]
    pixels = np.stack([focal[0] * x / z + centre[0], focal[1] * y / z + centre[1]], axis=1)
    np.testing.assert_allclose(row["keypoints2d_smplx"][:22, :2], pixels, atol=1e-3)


def test_the_docstring_says_what_becomes_of_every_field_of_a_fit() -> None:
    row = entry(1, lhand_valid=True, rhand_valid=True, face_valid=True)
    fields = {f"{{id}}.{group}.{name}" for group, values in row.items() for name in values}
    rows = re.findall(r"^\| (\{id\}\.[\w.]+) \| (.+) \|$", mscoco.__doc__ or "", re.MULTILINE)
    assert {name for name, _ in rows} == fields
    for name, column in rows:
        assert column.partition(",")[0].partition(";")[0] in Record.__dataclass_fields__, name
