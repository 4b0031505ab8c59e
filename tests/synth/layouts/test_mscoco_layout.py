"""The miniature has the official form, all its oddities, and a truth that agrees with its files."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hmtools.synth import ImageTruth, Truth, make_miniature, read_truth
from hmtools.synth.geometry_image import FRAME_MODULUS, decode_affine, decode_frame

WHOLE_ONLY = {
    *(
        "face_box",
        "lefthand_box",
        "righthand_box",
        "lefthand_kpts",
        "righthand_kpts",
        "face_kpts",
        "foot_kpts",
    ),
    *("face_valid", "lefthand_valid", "righthand_valid", "foot_valid"),
}
KEYPOINT_KEYS = {
    *(
        "segmentation",
        "num_keypoints",
        "area",
        "iscrowd",
        "keypoints",
        "image_id",
        "bbox",
        "category_id",
        "id",
    ),
}


@dataclass
class World:
    root: Path
    truth: Truth
    whole: dict[str, Any]
    body: dict[str, Any]
    fits: dict[str, Any]


def load(root: Path, split: str = "train2017") -> World:
    word = split.removesuffix("2017")
    fits = root / "annotations/MSCOCO_train_SMPLX_all_NeuralAnnot.json"
    return World(
        root,
        read_truth(root),
        json.loads((root / f"annotations/coco_wholebody_{word}_v1.0.json").read_text()),
        json.loads((root / f"annotations/person_keypoints_{split}.json").read_text()),
        json.loads(fits.read_text()) if split == "train2017" and fits.exists() else {},
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("world") / "MSCOCO"
    make_miniature("mscoco", root, frames=8, people=2, seed=1, size=(320, 240), splits=("train2017",))
    return load(root)


def tree(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def decoded(world: World, image: ImageTruth, flags: int = cv2.IMREAD_IGNORE_ORIENTATION) -> Any:
    return cv2.imread(str(world.root / image.file), cv2.IMREAD_COLOR_RGB | flags)


def test_tree(world: World) -> None:
    folders = {str(path.relative_to(world.root)) for path in world.root.rglob("*") if path.is_dir()}
    assert folders == {"images", "images/train2017", "annotations"}
    assert {path.name for path in (world.root / "annotations").iterdir()} == {
        "coco_wholebody_train_v1.0.json",
        "person_keypoints_train2017.json",
        "MSCOCO_train_SMPLX_all_NeuralAnnot.json",
    }
    assert {path.name for path in (world.root / "images/train2017").iterdir()} == {
        f"{row['id']:012d}.jpg" for row in world.whole["images"]
    }


def test_both_files_agree(world: World) -> None:
    assert (
        list(world.whole) == list(world.body) == ["info", "licenses", "categories", "images", "annotations"]
    )
    for key in ("licenses", "categories", "images"):
        assert world.whole[key] == world.body[key]
    for whole, body in zip(world.whole["annotations"], world.body["annotations"], strict=True):
        assert whole.keys() == KEYPOINT_KEYS | WHOLE_ONLY
        assert body == {key: whole[key] for key in KEYPOINT_KEYS}
    assert type(world.whole["info"]["year"]) is str
    assert type(world.body["info"]["year"]) is int


def test_category(world: World) -> None:
    (category,) = world.body["categories"]
    assert len(category["keypoints"]) == 17
    assert len(set(category["keypoints"])) == 17
    assert category["keypoints"][5:7] == ["left_shoulder", "right_shoulder"]
    assert len(category["skeleton"]) == 19
    assert {1, 17} <= {end for bone in category["skeleton"] for end in bone} <= set(range(1, 18))


def kinds(values: Any) -> set[str]:
    if isinstance(values, list):
        return {f"{kind}*" if isinstance(value, list) else kind for value in values for kind in kinds(value)}
    return {type(values).__name__}


@pytest.mark.real
@pytest.mark.parametrize("name", ["coco_wholebody_val_v1.0.json", "person_keypoints_val2017.json"])
def test_keys_and_types_of_the_official_files(world: World, name: str) -> None:
    if "HMTOOLS_SAMPLES" not in os.environ:
        pytest.skip("HMTOOLS_SAMPLES is not set")
    path = Path(os.environ["HMTOOLS_SAMPLES"]) / "mscoco/annotations" / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    real = json.loads(path.read_text())
    mine = world.whole if "whole" in name else world.body
    assert list(mine) == list(real)
    assert [mine["categories"][0][key] for key in ("keypoints", "skeleton")] == [
        real["categories"][0][key] for key in ("keypoints", "skeleton")
    ]
    for section in ("licenses", "images", "annotations"):
        rows = [row for row in mine[section] if not row.get("iscrowd")]
        found: dict[str, set[str]] = defaultdict(set)
        expected: dict[str, set[str]] = defaultdict(set)
        for table, source in ((found, rows), (expected, real[section])):
            for row in source:
                for key, value in row.items():
                    table[key] |= kinds(value)
        assert found.keys() == expected.keys()
        different = {key for key in found if not found[key] <= expected[key]}
        assert different == set(), {key: (found[key], expected[key]) for key in different}


def test_truth_is_what_the_files_say(world: World) -> None:
    images = {str(row["id"]): row for row in world.whole["images"]}
    truth = {image.file: image for image in world.truth.images}
    assert [image.source_id for image in world.truth.images] == list(images)
    seen: dict[str, int] = defaultdict(int)
    for person, row in zip(world.truth.people, world.whole["annotations"], strict=True):
        image, columns = images[str(row["image_id"])], person.columns
        assert person.source_id == str(row["id"])
        assert person.file == columns["image_path"] == f"images/train2017/{image['file_name']}"
        assert (columns["sequence"], columns["frame"]) == ("train2017", truth[person.file].frame)
        assert (columns["width"], columns["height"]) == (image["width"], image["height"])
        assert columns["person"] == seen[person.file]
        seen[person.file] += 1
        joined = [
            *(row["keypoints"] + row["foot_kpts"] + row["face_kpts"] + row["lefthand_kpts"]),
            *row["righthand_kpts"],
        ]
        points = np.array(joined, np.float64).reshape(133, 3)
        points[:, 2] = points[:, 2] > 0
        np.testing.assert_array_equal(columns["keypoints2d_original"], points)
        assert row["num_keypoints"] == points[:17, 2].sum()
        assert columns["bbox_xywh"].tolist() == [*row["bbox"], 1]
        flags = world.fits.get(person.source_id, {"smplx_param": {}})["smplx_param"]
        for mine, official in (("face", "face"), ("lhand", "lefthand"), ("rhand", "righthand")):
            box, valid = row[f"{official}_box"], row[f"{official}_valid"]
            found = columns[f"{mine}_bbox_xywh"]
            assert (found is not None) == (valid and box[2] * box[3] > 0)
            assert found is None or found.tolist() == [*box, 1]
            assert columns[f"valid_{mine}"] == flags.get(f"{mine}_valid", valid)
    for image_truth in world.truth.images:
        assert seen[image_truth.file] == image_truth.people


def test_every_quirk_occurs(world: World) -> None:
    people, images = world.truth.people, world.truth.images
    quirks = {quirk: person for person in people for quirk in person.quirks}
    assert set(quirks) == {
        *("crowd", "no_keypoints", "empty_box", "invalid_lefthand", "invalid_face", "zero_area_hand"),
        *("partly_outside", "fractional_visibility"),
        *("nested_lists", "no_fit_flags", "contradicting_flags", "wide_betas", "without_fit"),
    }
    assert {quirk for quirk, person in quirks.items() if person.rejected} == {
        "crowd",
        "no_keypoints",
        "empty_box",
    }
    rows = {str(row["id"]): row for row in world.whole["annotations"]}
    assert rows[quirks["zero_area_hand"].source_id]["righthand_valid"]
    assert quirks["zero_area_hand"].columns["rhand_bbox_xywh"] is None
    assert quirks["partly_outside"].columns["bbox_xywh"][0] < 0
    fractions = rows[quirks["fractional_visibility"].source_id]["righthand_kpts"][2::3]
    assert set(np.array(fractions) % 1) != {0.0}
    crowd = next(row for row in world.whole["annotations"] if row["iscrowd"])
    assert set(crowd["segmentation"]) == {"counts", "size"}
    assert crowd["id"] > 2**32
    assert {image.people for image in images} == {0, 2, 3}
    assert len({(image.width, image.height) for image in images}) == 3
    assert any(image.width < image.height for image in images)
    assert [image.orientation for image in images].count(6) == 1
    assert [image.colour for image in images].count(False) == 1
    assert {0, 1, 2} <= {v for row in rows.values() for v in row["keypoints"][2::3]}


@pytest.mark.parametrize(("frames", "people"), [(4, 2), (7, 1), (1, 6), (3, 3)])
def test_quirks_need_few_people(tmp_path: Path, frames: int, people: int) -> None:
    make_miniature(
        "mscoco", tmp_path, frames=frames, people=people, seed=0, size=(96, 96), splits=("train2017",)
    )
    truth = read_truth(tmp_path)
    assert len({quirk for person in truth.people for quirk in person.quirks}) == 13
    empty = sum(image.people == 0 for image in truth.images)
    assert len(truth.people) == (frames - empty) * people + 1
    if frames > 1:
        assert {(image.width, image.height) for image in truth.images} == {(96, 96), (72, 96)} | (
            {(75, 75)} if frames > 4 else set()
        )


def test_rejected_people_stand_before_kept_ones(world: World) -> None:
    by_image = defaultdict(list)
    for person in world.truth.people:
        by_image[person.file].append(person.rejected is None)
    mixed = [kept for kept in by_image.values() if len(set(kept)) == 2]
    assert len(mixed) == 3
    assert all(kept == sorted(kept) for kept in mixed)


def test_ids_and_order(world: World) -> None:
    rows = world.whole["annotations"]
    ids = [row["id"] for row in rows]
    image_ids = [row["id"] for row in world.whole["images"]]
    for numbers in (ids, image_ids):
        assert len(set(numbers)) == len(numbers)
        assert numbers != sorted(numbers)
        assert max(numbers) > 10 * len(numbers)
    shown = [row["image_id"] for row in rows]
    assert [number for number in image_ids if number in shown] != list(dict.fromkeys(shown))
    assert all(first != second for first, second in pairwise(shown))


def test_pixels_are_upright_as_labelled(world: World) -> None:
    for image in world.truth.images:
        pixels = decoded(world, image)
        assert pixels.shape == (image.height, image.width, 3)
        if not image.colour:
            continue
        affine = decode_affine(pixels, image.width, image.height)
        np.testing.assert_allclose(affine, np.eye(2, 3), atol=0.05)
        assert decode_frame(pixels, image.width, image.height) == image.frame % FRAME_MODULUS


def test_exif_and_grey_are_in_the_files(world: World) -> None:
    turned = next(image for image in world.truth.images if image.orientation == 6)
    assert decoded(world, turned, 0).shape == (turned.width, turned.height, 3)
    grey = next(image for image in world.truth.images if not image.colour)
    stored = cv2.imread(str(world.root / grey.file), cv2.IMREAD_UNCHANGED)
    assert stored is not None
    assert stored.ndim == 2


def test_figures_are_painted_where_labels_are(world: World) -> None:
    colour = {image.file: image for image in world.truth.images if image.colour}
    checked = 0
    for person in world.truth.people:
        if person.file not in colour:
            continue
        blue = decoded(world, colour[person.file])[..., 2]
        for x, y, v in person.columns["keypoints2d_original"][[0, 5, 6, 7, 8, 13, 14]]:
            if v > 0:
                assert blue[int(y), int(x)] > 200
                checked += 1
    assert checked > 40


def test_same_arguments_same_bytes(tmp_path: Path, world: World) -> None:
    code = (
        "import sys; from pathlib import Path; from hmtools.synth import make_miniature\n"
        "make_miniature('mscoco', Path(sys.argv[1]), frames=8, people=2, seed=1, size=(320, 240),"
        " splits=('train2017',))"
    )
    env = {**os.environ, "PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "again")], check=True, env=env)
    assert tree(tmp_path / "again") == tree(world.root)


def test_other_seed_other_world(tmp_path: Path, world: World) -> None:
    make_miniature("mscoco", tmp_path, frames=8, people=2, seed=2, size=(320, 240), splits=("train2017",))
    mine, other = tree(tmp_path), tree(world.root)
    assert len(set(mine.values()) & set(other.values())) == 1  # the image with nobody in it


def test_a_split_does_not_depend_on_the_other(tmp_path: Path, world: World) -> None:
    both = ("val2017", "train2017")
    make_miniature("mscoco", tmp_path, frames=8, people=2, seed=1, size=(320, 240), splits=both)
    mine, other = tree(tmp_path), tree(world.root)
    assert {name: mine[name] for name in other if "/" in name} == {n: other[n] for n in other if "/" in n}
    train, val = load(tmp_path, "train2017"), load(tmp_path, "val2017")
    for section in ("images", "annotations"):
        for split, parity in ((train, 0), (val, 1)):  # so that no number of rows makes them meet
            rows = [row for row in split.whole[section] if not row.get("iscrowd")]
            assert {row["id"] % 2 for row in rows} == {parity}
    assert [image.split for image in train.truth.images] == ["val2017"] * 8 + ["train2017"] * 8


def test_flat_variant(tmp_path: Path) -> None:
    make_miniature("mscoco", tmp_path, frames=2, people=1, seed=1, size=(100, 80), variant="flat")
    truth = read_truth(tmp_path)
    assert {image.file.rpartition("/")[0] for image in truth.images} == {"val2017"}
    assert all((tmp_path / image.file).is_file() for image in truth.images)


def test_world_without_people(tmp_path: Path) -> None:
    make_miniature("mscoco", tmp_path, frames=3, people=0, seed=1, size=(100, 80))
    world = load(tmp_path, "val2017")
    assert world.whole["annotations"] == world.body["annotations"] == []
    assert len(world.truth.images) == 3
    assert world.truth.people == ()


@pytest.mark.slow
def test_2000_frames_in_a_minute(tmp_path: Path) -> None:
    import time

    began = time.perf_counter()
    make_miniature("mscoco", tmp_path, frames=2000, people=3, seed=0, splits=("train2017",))
    assert time.perf_counter() - began < 60
    assert len(read_truth(tmp_path).images) == 2000
