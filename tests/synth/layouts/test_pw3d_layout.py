"""The miniature has 3DPW's files and oddities, and a truth that agrees with what the files say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hmtools.core.errors import UsageError
from hmtools.synth import read_truth
from hmtools.synth.geometry_image import FIGURE_BLUE, decode_affine, decode_frame, encode
from hmtools.synth.layouts.pw3d import LAYOUT
from tests.synth.layouts.pw3d_files import (
    LANDSCAPE,
    PORTRAIT,
    intrinsics,
    made,
    people,
    pixels,
    sequence,
    tree,
    which,
)


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("official") / "3DPW", "official", splits=None)


@pytest.fixture(scope="module")
def osx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("osx") / "3DPW", "osx")


def test_names(official: Path, osx: Path) -> None:
    mine = {name for name in tree(official) if not name.startswith(".")}
    expected = set()
    for number, split in enumerate(("train", "validation", "test")):
        for name in (f"courtyard_talking_{number:02d}", f"street_walking_{number:02d}"):
            expected |= {f"sequenceFiles/{split}/{name}.pkl"}
            expected |= {f"imageFiles/{name}/image_{frame:05d}.jpg" for frame in range(2)}
    assert mine == expected
    both = {"3DPW_test.json", "3DPW_test_SMPLX_NeuralAnnot.json"}
    test = {name for name in mine if "test" in name or "_02/" in name}
    assert {name for name in tree(osx) if not name.startswith(".")} == test | both


def test_oddities(official: Path) -> None:
    for split, number in (("train", 0), ("validation", 1), ("test", 2)):
        first = sequence(official, f"courtyard_talking_{number:02d}", split)
        second = sequence(official, f"street_walking_{number:02d}", split)
        assert [valid.tolist() for valid in first["campose_valid"]] == [[1, 1], [1, 0]]
        assert [valid.tolist() for valid in second["campose_valid"]] == [[1, 1]]
        assert [bool(points.any()) for points in second["poses2d"][0]] == [False, True]
        gone = [person for person in people(official, split) if person.rejected]
        assert [(which(person)[1:], person.quirks) for person in gone] == [((1, 1), ("no_camera",))]
        assert "campose_valid" in str(gone[0].rejected)
        odd = {which(p): p.quirks for p in people(official, split) if p.quirks and not p.rejected}
        assert sorted(quirk for quirks in odd.values() for quirk in quirks) == [
            *("long_betas", "long_betas", "no_points")
        ]


def test_pictures(official: Path) -> None:
    truth = read_truth(official)
    assert len(truth.images) == 12
    for image in truth.images:
        portrait = "courtyard" in image.file
        assert (image.width, image.height) == ((120, 160) if portrait else (160, 120))
        assert image.people == (2 if portrait else 1)
        shown: Any = cv2.imread(str(official / image.file), cv2.IMREAD_COLOR_RGB)
        assert shown.shape == (image.height, image.width, 3)
        assert image.file.endswith(f"image_{image.frame:05d}.jpg")
        assert decode_frame(shown, image.width, image.height) == image.frame
        np.testing.assert_allclose(decode_affine(shown, image.width, image.height), np.eye(2, 3), atol=0.05)
        blue = encode(image.width, image.height, image.frame)[0, 0, 2]
        figure = np.abs(shown[..., 2].astype(int) - FIGURE_BLUE) < np.abs(shown[..., 2].astype(int) - blue)
        assert 0.02 < figure.mean() < 0.5
        for person in truth.people:
            if person.file == image.file:
                places = pixels(person.vertices, intrinsics(person))
                inside = np.rint(places).astype(int)
                assert ((inside >= 0) & (inside < [image.width, image.height])).all()
                assert figure[inside[:, 1], inside[:, 0]].mean() > 0.9


def test_columns(official: Path) -> None:
    for person in people(official):
        columns, (name, frame, number) = person.columns, which(person)
        np.testing.assert_array_equal(intrinsics(person), sequence(official, name)["cam_intrinsics"])
        assert columns["fps"] == 30
        assert columns["source_frame"] == f"image_{frame:05d}"
        assert columns["track_id"] == f"{name}_{number}"
        assert columns["image_path"] == person.file == f"imageFiles/{name}/image_{frame:05d}.jpg"
        assert (columns["camera_model"], columns["camera_kind"], columns["image_op"]) == (
            *("pinhole", "real", "none"),
        )
        assert columns["distortion"] is None
        assert columns["video_frame"] is None
        assert columns["valid_smpl"] is True
        assert person.family == "smpl"
    names = [person.source_id for person in people(official)]
    assert len(set(names)) == len(names)


def test_derived_boxes(official: Path) -> None:
    for person in people(official):
        flat = pixels(person.joints, intrinsics(person))[:24]
        low, high = flat.min(axis=0), flat.max(axis=0)
        centre, half = (low + high) / 2, 0.6 * (high - low)
        box = person.columns["bbox_xywh"]
        np.testing.assert_allclose(box, [*(centre - half), *(2 * half), 1], atol=1e-9)
        # No box is cut by the picture's edges, so cutting or not gives the same.
        size = np.array([person.columns["width"], person.columns["height"]])
        assert (box[:2] > 0).all()
        assert (box[:2] + box[2:4] < size - 1).all()


def test_same_arguments_same_bytes_whatever_else_is_made(osx: Path, official: Path, tmp_path: Path) -> None:
    assert tree(made(tmp_path / "again", "osx")) == tree(osx)
    mine, all_splits = tree(osx), tree(official)
    shared = {name for name in mine if "/" in name}
    assert shared
    assert {name: all_splits[name] for name in shared} == {name: mine[name] for name in shared}
    other = tree(made(tmp_path / "other", "osx", seed=6))
    assert all(other[name] != mine[name] for name in mine if name.endswith((".pkl", ".json")))


def test_oddities_leave_a_gap_in_a_longer_track(tmp_path: Path) -> None:
    root = made(tmp_path / "long", "official", frames=7)
    frames: dict[str, list[int]] = {}
    for person in people(root):
        if not person.rejected:
            frames.setdefault(person.columns["track_id"], []).append(person.columns["frame"])
    assert frames == {
        f"{PORTRAIT}_0": [0, 1, 2, 3],
        f"{PORTRAIT}_1": [0, 2, 3],
        f"{LANDSCAPE}_0": [0, 1, 2],
    }


def test_one_image_and_one_person(tmp_path: Path) -> None:
    root = made(tmp_path / "one", "osx", frames=1, people=1)
    (person,) = people(root)
    assert which(person) == (PORTRAIT, 0, 0)
    assert [path.name for path in (root / "sequenceFiles/test").iterdir()] == [f"{PORTRAIT}.pkl"]
    assert sequence(root, PORTRAIT)["genders"] == ["m"]


def test_what_can_be_made(tmp_path: Path) -> None:
    assert LAYOUT.splits == LAYOUT.default_splits == ("train", "validation", "test")
    assert LAYOUT.variants == ("official", "osx", "neuralannot")
    for count in (0, 3):
        with pytest.raises(UsageError, match=f"people must be 1 to 2, got {count}"):
            made(tmp_path / "no", "official", people=count)


def test_pictures_for_eyes(tmp_path: Path) -> None:
    root = made(tmp_path / "eyes", "official", frames=2, render=True)
    for image in read_truth(root).images:
        assert not image.colour
        shown: Any = cv2.imread(str(root / image.file))
        assert shown.shape == (image.height, image.width, 3)
        assert shown.std() > 20
