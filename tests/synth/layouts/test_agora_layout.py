"""The miniature has AGORA's files and oddities, and a truth that agrees with what the files say."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from hmtools.bodies.assets import load_model, standin_dir
from hmtools.bodies.mixed import BodyLayers
from hmtools.bodies.params import BodyParams
from hmtools.core.safe_pickle import load_pickle
from hmtools.synth import read_truth
from hmtools.synth.geometry_image import FIGURE_BLUE, decode_affine, decode_frame
from hmtools.synth.layouts.agora import LAYOUT
from tests.synth.layouts.agora_rows import make, name_of, people, rows, tree

# By the release: focal length in mm, camera in cm, yaw and pitch in degrees.
CAMERAS: dict[str, tuple[float, list[float], float, float]] = {
    "hdri": (50, [0, 0, 170], 0, 0),
    "cam00": (18, [400, -275, 265], 135, 30),
    "cam01": (18, [400, 225, 265], -135, 30),
    "cam02": (18, [-490, 170, 265], -45, 30),
    "cam03": (18, [-490, -275, 265], 45, 30),
    "ag2": (28, [0, 0, 170], 0, 15),
}
PARTS = {
    "bbox_xywh": list(range(127)),
    "lhand_bbox_xywh": [*range(25, 40), *range(66, 71)],
    "rhand_bbox_xywh": [*range(40, 55), *range(71, 76)],
    "face_bbox_xywh": list(range(76, 127)),
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("720p") / "AGORA")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("4k") / "AGORA", variant="4k", frames=2, splits=("train",))


def rotation(x: float = 0, y: float = 0) -> Any:
    return cv2.Rodrigues(np.radians([x, y, 0.0]))[0]


def unreal(x: float, y: float, z: float) -> Any:
    return np.array([y, -z, x]) / 100


def seen(points: Any, cells: dict[str, Any]) -> Any:
    """Points of a fit in the camera frame, by the words of the release."""
    word = next((word for word in CAMERAS if word in cells["imgPath"]), None)
    if word is None:
        camera, yaw, pitch = [cells["camX"], cells["camY"], cells["camZ"]], cells["camYaw"], 0.0
    else:
        _, camera, yaw, pitch = CAMERAS[word]
    centre = unreal(*camera) - np.array([0, 0 if word else 1.7, 0])
    world = points * [1, -1, -1] @ rotation(y=cells["Yaw"] - 90).T
    world = world + unreal(cells["X"], cells["Y"], cells["Z"]) - centre
    return world @ rotation(y=-yaw).T @ rotation(x=pitch).T


def pixels(points: Any, name: str) -> Any:
    """Pixels of 3840 x 2160."""
    focal = next((mm for word, (mm, *_) in CAMERAS.items() if word in name), 28.0) / 36 * 3840
    return points[:, :2] / points[:, 2:] * focal + [1920, 1080]


@cache
def layers(family: Any) -> BodyLayers:
    return BodyLayers(family, roots=(standin_dir(),), dtype=torch.float64)


def body(root: Path, cells: dict[str, Any], family: Any) -> tuple[Any, Any]:
    """Vertices and joints of a fit's file, in the frame of the fit."""
    path = (root / cells[f"gt_path_{family}"]).with_suffix(".pkl")
    values = {name: np.asarray(value, np.float64) for name, value in load_pickle(path).items()}
    values = {{"root_pose": "global_orient", "translation": "transl"}.get(n, n): v for n, v in values.items()}
    girl = cells["kid"] and cells["gender"] == "female"
    gender: Any = "neutral" if girl or family == "smpl" else cells["gender"]
    if cells["kid"]:
        values["kid"] = values["betas"][:, 10]
    values["betas"] = values["betas"][:, :10]
    if family == "smplx":
        mean = load_model("smplx", gender, roots=(standin_dir(),)).hand_mean
        assert mean is not None
        values["left_hand_pose"] += mean[0]
        values["right_hand_pose"] += mean[1]
    with torch.inference_mode():
        output = layers(family)(BodyParams.of(values, dtype=torch.float64), [gender])
    vertices: Any = output.vertices
    return vertices[0].numpy(), output.joints[0].numpy()


def test_names(small: Path) -> None:
    files = Counter(str(Path(name).parent) for name in tree(small) if name[0] != ".")
    assert files == {
        **{f"{s}_{f}/{f}": 2 for f in ("SMPLX", "SMPL") for s in ("train", "validation")},
        **{f"{f}_gt/{s}set_figures_adults": 4 for f in ("smplx", "smpl") for s in ("train", "validation")},
        **{f"{f}_gt/{s}set_figures_kids": 2 for f in ("smplx", "smpl") for s in ("train", "validation")},
        **{"1280x720/train_0": 4, "1280x720/train_1": 3, "1280x720/validation": 7, "1280x720/test": 7},
        ".": 1,
    }
    frames = {path.name for path in small.glob("*_SMPLX/SMPLX/*")}
    assert frames == {f"{s}_{part}_withjv.pkl" for s in ("train", "validation") for part in (0, 1)}
    assert frames == {path.name for path in small.glob("*_SMPL/SMPL/*")}


def test_every_camera_is_there(small: Path) -> None:
    for split in ("train", "validation"):
        words = []
        for name in dict.fromkeys(row.cells["imgPath"] for row in rows(small, split)):
            found = [word for word in CAMERAS if word in name]
            assert len(found) < 2
            words += found or ["else"]
        assert sorted(words) == sorted([*CAMERAS, "else"])


@pytest.mark.parametrize("family", ["smplx", "smpl"])
def test_fits_placed_by_the_formula_are_the_stored_points(small: Path, family: str) -> None:
    count = {"smplx": 127, "smpl": 45}[family]
    fits: dict[str, Any] = {}  # a scan comes several times
    for row in [*rows(small, "train", family.upper()), *rows(small, "validation", family.upper())]:
        path = row.cells[f"gt_path_{family}"]
        vertices, joints = (
            fits[path] if path in fits else fits.setdefault(path, body(small, row.cells, family))
        )
        assert row.cells["gt_joints_2d"].shape == (count, 2)
        assert row.cells["gt_joints_3d"].shape == (count, 3)
        assert row.cells["gt_verts"].shape == vertices.shape
        np.testing.assert_allclose(seen(vertices, row.cells), row.cells["gt_verts"], atol=1e-5)
        camera = seen(joints[:count], row.cells)
        np.testing.assert_allclose(camera, row.cells["gt_joints_3d"], atol=1e-5)
        np.testing.assert_allclose(pixels(camera, row.cells["imgPath"]), row.cells["gt_joints_2d"], atol=0.02)


def test_the_truth_is_what_the_frames_say(small: Path) -> None:
    truth = read_truth(small)
    for split in ("train", "validation"):
        wanted = people(truth, split)
        found = list(rows(small, split))
        assert [name_of(row) for row in found] == list(wanted)
        for row in found:
            person, cells = wanted[name_of(row)], row.cells
            own = person.columns
            before = 4 if row.frame == "validation_1" else 0  # rows of validation_0: they share a folder
            assert own["sequence"] == (row.frame if split == "train" else split)
            assert (own["frame"], own["person"]) == (before + row.position, row.person)
            assert f"/{own['sequence']}/" in person.file
            assert (own["width"], own["height"]) == (1280, 720)
            np.testing.assert_allclose(
                own["keypoints2d_original"][:, :2], cells["gt_joints_2d"] / 3, atol=1e-3
            )
            np.testing.assert_allclose(own["keypoints3d_original"][:, :3], cells["gt_joints_3d"], atol=1e-6)
            assert (own["keypoints2d_original"][:, 2] == 1).all()
            assert (own["keypoints3d_original"][:, 3] == 1).all()
            assert person.joints is not None
            assert person.vertices is not None
            np.testing.assert_allclose(person.vertices, cells["gt_verts"], atol=1e-6)
            np.testing.assert_allclose(person.joints[:127], cells["gt_joints_3d"], atol=1e-6)
            assert person.mesh == (split == "validation")
            assert own["occlusion"] == pytest.approx(cells["occlusion"] / 100)
            assert (person.rejected is None) == cells["isValid"] == (cells["occlusion"] <= 90)
            fit = load_pickle((small / cells["gt_path_smplx"]).with_suffix(".pkl"))
            np.testing.assert_allclose(own["smplx_betas"], fit["betas"][0, :10], atol=1e-6)
            assert own["kid"] == (pytest.approx(fit["betas"][0, 10]) if cells["kid"] else None)
            assert own["gender"] == ("neutral" if "girl" in person.quirks else cells["gender"])
            assert np.isnan(person.joints[127:]).all()
            joints = person.joints[:127]
            near = pixels(joints, cells["imgPath"]) / 3
            again = joints[:, :2] / joints[:, 2:] * own["focal_length"] + own["principal_point"]
            np.testing.assert_allclose(again, near, atol=1e-6)


def test_boxes(small: Path) -> None:
    checked: Counter[str] = Counter()
    for person in read_truth(small).people:
        if person.split == "test":
            continue
        for name, joints in PARTS.items():
            points = person.columns["keypoints2d_original"][joints, :2]
            low, high = points.min(axis=0), points.max(axis=0)
            if name not in person.columns:
                assert "partly_outside" in person.quirks
                assert high[0] < 0
                continue
            x, y, width, height, confidence = person.columns[name]
            np.testing.assert_allclose([width, height], 1.2 * (high - low))
            np.testing.assert_allclose([x + width / 2, y + height / 2], (low + high) / 2)
            assert confidence == 1
            checked[name] += 1
    assert min(checked[name] for name in PARTS) > 20


def test_people_stand_upright_before_the_camera(small: Path) -> None:
    for person in read_truth(small).people:
        if person.joints is None:
            continue
        head, feet, pelvis = person.joints[15], person.joints[[10, 11]], person.joints[0]
        assert (feet[:, 1] > pelvis[1]).all()
        assert head[1] < pelvis[1] - 0.2
        assert 2 < pelvis[2] < 14
        points = person.columns["keypoints2d_original"][:, :2]
        inside = ((points > 0) & (points < [1280, 720])).all(axis=1).mean()
        assert (0.2 < inside < 0.8) if "partly_outside" in person.quirks else inside > 0.97
        assert person.columns["bbox_xywh"][3] > 100


def test_oddities_come_where_the_table_says(small: Path) -> None:
    for split in ("train", "validation"):
        numbered = list(people(read_truth(small), split).values())
        found = {number: set(person.quirks) for number, person in enumerate(numbered)}
        assert found[0] == {"invalid"}
        assert found[1] == {"cuda"}
        assert found[2] == {"half_hidden", "kid"}
        assert found[3] == {"kid", "girl", "cuda"}
        assert found[4] == {"partly_outside"}
        assert found[6] == found[12] == set()
        assert [number for number, person in enumerate(numbered) if person.rejected] == [0]
        assert numbered[0].columns["person"] == 0
        assert 0.05 < numbered[2].columns["occlusion"] < 0.9
        cells = [row.cells for row in rows(small, split)]
        assert cells[4]["gender"] == "neutral"
        assert not cells[4]["kid"]
        assert cells[0]["gt_path_smplx"] == cells[6]["gt_path_smplx"]  # the same scan, elsewhere
        assert cells[0]["X"] != cells[6]["X"]
    assert list(load_pickle(small / "train_SMPLX/SMPLX/train_1_withjv.pkl").index) == [1, 4, 7]


def test_files_of_the_fits(small: Path) -> None:
    shapes = {
        **dict.fromkeys(("global_orient", "jaw_pose", "leye_pose", "reye_pose", "transl"), (1, 3)),
        **dict.fromkeys(("left_hand_pose", "right_hand_pose"), (1, 45)),
        "body_pose": (1, 63),
        "expression": (1, 10),
    }
    for row in rows(small, "train"):
        path = (small / row.cells["gt_path_smplx"]).with_suffix(".pkl")
        assert row.cells["gt_path_smplx"].endswith(".obj")
        fit = load_pickle(path)
        kid = bool(row.cells["kid"])
        assert {name: value.shape for name, value in fit.items()} == {**shapes, "betas": (1, 10 + kid)}
        number = int(path.name.split("_")[1])
        assert (b"cuda:0" in path.read_bytes()) == (number in (1, 3, 5))
        other = load_pickle((small / row.cells["gt_path_smpl"]).with_suffix(".pkl"))
        names = {"root_pose", "translation"} if number % 2 else {"global_orient", "transl"}
        assert set(other) == names | {"body_pose", "betas"}
        assert other["body_pose"].shape == (1, 69)
        assert other["betas"].shape == (1, 10 + kid)


@pytest.mark.parametrize("variant", ["small", "full"])
def test_pictures(variant: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(variant)
    truth = read_truth(root)
    for image in truth.images[::6]:  # one of train_1 among them
        picture = cv2.imread(str(root / image.file), cv2.IMREAD_COLOR_RGB)
        assert picture is not None
        pixels: Any = picture
        assert pixels.shape == (image.height, image.width, 3)
        assert f"{image.width}x{image.height}" == image.file.split("/")[0]
        np.testing.assert_allclose(decode_affine(pixels, image.width, image.height), np.eye(2, 3), atol=0.02)
        assert decode_frame(pixels, image.width, image.height) == image.frame
        assert image.people == sum(person.file == image.file for person in truth.people)
        if image.split == "test":
            continue
        shown = pixels[..., 2] == FIGURE_BLUE
        for person in (person for person in truth.people if person.file == image.file):
            assert person.vertices is not None
            own = person.columns
            places = person.vertices[:, :2] / person.vertices[:, 2:] * own["focal_length"]
            places = np.rint(places + own["principal_point"]).astype(int)
            places = places[((places >= 0) & (places < (image.width, image.height))).all(axis=1)]
            assert shown[places[:, 1], places[:, 0]].mean() > 0.97


def test_a_split_is_the_same_without_the_others(small: Path, tmp_path: Path) -> None:
    alone = tree(make(tmp_path / "alone", splits=("validation",)))
    together = tree(small)
    mine = {name: digest for name, digest in alone.items() if name[0] != "."}
    assert mine == {name: together[name] for name in mine}
    assert mine


@pytest.mark.parametrize(("count", "frames"), [(0, 1), (1, 1), (9, 1)])
def test_other_numbers_of_people(count: int, frames: int, tmp_path: Path) -> None:
    root = make(tmp_path / "world", people=count, frames=frames, splits=("train",))
    assert len(list(rows(root, "train"))) == count * frames == len(read_truth(root).people)
    paths = [row.cells["gt_path_smplx"] for row in rows(root, "train")]
    assert len(set(paths)) == count  # nobody is twice in one image


def test_layout() -> None:
    assert (LAYOUT.name, LAYOUT.variants) == ("agora", ("720p", "4k", "osx"))
    assert LAYOUT.splits == ("train", "validation", "test")
