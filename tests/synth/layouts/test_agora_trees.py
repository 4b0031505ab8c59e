"""The other trees of AGORA's miniature: both sizes of picture, OSX's lists, detections of the test split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hmtools.core.safe_pickle import load_pickle
from hmtools.synth import read_truth
from tests.synth.layouts.agora_rows import make, name_of, people, rows, tree


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("4k") / "AGORA", variant="4k", frames=2, splits=("train",))


@pytest.fixture(scope="module")
def osx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("osx") / "AGORA", variant="osx", frames=2)


def test_both_sizes(full: Path) -> None:
    truth = read_truth(full)
    names = [str(path.relative_to(full)) for path in full.rglob("*.png")]
    assert len(names) == 3
    for number, image in enumerate(truth.images):
        assert (image.width, image.height) == (3840, 2160)
        assert image.file.startswith("3840x2160/train_")
        half = image.file.replace("3840x2160", "1280x720").replace(".png", "_1280x720.png")
        assert (half in names) == (number != 1)
        if half in names:
            shape: Any = cv2.imread(str(full / half))
            assert shape.shape == (720, 1280, 3)
    for row in rows(full, "train"):
        person = people(truth, "train")[name_of(row)]
        points = person.columns["keypoints2d_original"][:, :2]
        np.testing.assert_allclose(points, row.cells["gt_joints_2d"], atol=1e-3)
        np.testing.assert_allclose(person.columns["principal_point"], [1920, 1080])
        refit = load_pickle(full / "smplx_gt_neutral_gender" / f"{row.cells['gt_path_smplx'][9:-4]}.pkl")
        if row.cells["kid"]:
            assert "betas_neutral" not in person.columns
            continue
        np.testing.assert_allclose(person.columns["betas_neutral"], refit["betas"][0], atol=1e-6)
        assert np.abs(person.columns["betas_neutral"] - person.columns["smplx_betas"]).max() > 0.1


def test_detections_are_all_there_is_of_the_test_split(tmp_path: Path) -> None:
    small = make(tmp_path / "AGORA", frames=4, splits=("test",))
    truth = read_truth(small)
    boxes = json.loads((small / "AGORA_test_bbox.json").read_text())
    images = [image for image in truth.images if image.split == "test"]
    assert [f"{image.source_id}.png" for image in images] == list(boxes)
    assert [image.frame for image in images] == list(range(4))
    assert [len(found) for found in boxes.values()] == [2, 2, 0, 2]
    for person in people(truth, "test").values():
        stem, _, number = person.source_id.rpartition("_personId_")
        found = boxes[f"{stem}.png"][int(number)]["bbox"]
        np.testing.assert_allclose(person.columns["bbox_xywh"], [*np.divide(found, 3), 1])
        assert person.columns["keypoints2d_original"] is person.columns["smplx_betas"] is None
        assert person.joints is None
        assert (small / person.file).is_file()
    assert not list(small.glob("test_*"))


def test_lists(osx: Path) -> None:
    root, truth = osx / "data", read_truth(osx)
    count = 0
    for split in ("train", "validation"):
        data = json.loads((root / f"AGORA_{split}.json").read_text())
        wanted = people(truth, split)
        assert [row["id"] for row in data["annotations"]] == list(range(count, count + 4))
        assert [row["id"] for row in data["images"]] == [count // 2, count // 2 + 1]
        count += 4
        images = {row["id"]: (number, row) for number, row in enumerate(data["images"])}
        for row, person in zip(data["annotations"], wanted.values(), strict=True):
            number, image = images[row["image_id"]]
            own = person.columns
            stem = Path(image["file_name_3840x2160"]).stem
            assert person.source_id == f"{stem}_personId_{own['person']}"
            assert person.file == f"data/{image['file_name_1280x720']}"
            large = image["file_name_3840x2160"]
            assert (
                large.replace("3840x2160", "1280x720")[:-4] + "_1280x720.png" == image["file_name_1280x720"]
            )
            assert own["frame"] == (0 if split == "train" else number)  # of two folders, or of one
            assert own["sequence"] == large.split("/")[1]
            points = {}
            for family, joints, vertices in (("smplx", 127, 10475), ("smpl", 45, 6890)):
                shapes = {"joints_2d": (joints, 2), "joints_3d": (joints, 3), "verts": (vertices, 3)}
                for name, shape in shapes.items():
                    path = row[f"{family}_{name}_path"]
                    assert path == f"gt_{name}/{family}/{row['id']}.json"
                    points[family, name] = np.array(json.loads((root / path).read_text()))
                    assert points[family, name].shape == shape
                assert (root / row[f"{family}_param_path"]).is_file()
            flat, solid = own["keypoints2d_original"][:, :2], own["keypoints3d_original"][:, :3]
            np.testing.assert_allclose(flat, points["smplx", "joints_2d"] / 3, atol=1e-5)
            np.testing.assert_allclose(solid, points["smplx", "joints_3d"], atol=1e-5)
            for name in ("bbox", "lhand_bbox", "rhand_bbox", "face_bbox"):
                np.testing.assert_allclose(own[f"{name}_xywh"], [*np.divide(row[name], 3), 1], atol=1e-3)
            assert (person.rejected is None) == row["is_valid"]
            assert own["occlusion"] == pytest.approx(row["occlusion"] / 100)
            assert row["kid"] == (own["kid"] is not None)
            assert person.mesh == (split == "validation")
            assert (person.joints is None) == (split == "train")
            if person.joints is not None and person.vertices is not None:
                assert np.isnan(person.joints[:55]).all()
                np.testing.assert_allclose(person.joints[55:127], solid[55:], atol=1e-6)
                np.testing.assert_allclose(person.vertices, points["smplx", "verts"], atol=1e-5)
    assert not list(osx.rglob("*_withjv.pkl"))
    assert len(json.loads((root / "AGORA_test_bbox.json").read_text())) == 2


def test_the_same_bytes_twice(osx: Path, tmp_path: Path) -> None:
    assert tree(make(tmp_path / "again", variant="osx", frames=2)) == tree(osx)
    other = tree(make(tmp_path / "other", variant="osx", frames=1, seed=4))
    assert {digest for name, digest in other.items() if name.endswith(".json")}.isdisjoint(tree(osx).values())


def test_pictures_for_eyes(tmp_path: Path) -> None:
    root = make(tmp_path / "eyes", frames=1, variant="4k", splits=("validation",), render=True)
    (image,) = read_truth(root).images
    assert not image.colour
    large, small = (cv2.imread(str(path)) for path in sorted(root.rglob("*.png"), reverse=True))
    assert large is not None
    assert small is not None
    np.testing.assert_array_equal(large[1::3, 1::3], small)
    assert small.std() > 5
