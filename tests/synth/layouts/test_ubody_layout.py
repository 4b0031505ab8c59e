"""The miniature has UBody's files and oddities, and a truth that agrees with what the files say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch

from hmtools.bodies.assets import standin_dir
from hmtools.bodies.mixed import BodyLayers
from hmtools.bodies.params import BodyParams
from hmtools.core.safe_pickle import load_npy
from hmtools.humandata.keypoints import convention
from hmtools.synth import PersonTruth, make_miniature, read_truth
from hmtools.synth.geometry_image import FIGURE_BLUE, decode_affine, decode_frame
from hmtools.synth.layouts.ubody import LAYOUT

SCENES = ("ConductMusic", "Speech")
VIDEOS = {
    "ConductMusic/Podium": 7,
    "ConductMusic/Symphony_Trim1": 4,
    "ConductMusic/Symphony_Trim2": 5,
    "Speech/2019/Lectern_Trim1": 9,
    "Speech/Debate_Trim2": 10,
}
"""Video -> pictures in it."""
PARTS = ("keypoints", "foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")


def made(folder: Path, variant: str = "videos", **changes: Any) -> Path:
    arguments = {"frames": 6, "people": 2, "seed": 5, "size": (160, 120), **changes}
    make_miniature("ubody", folder, variant=variant, **arguments)
    return folder


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("official") / "UBody")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("both") / "UBody", "both", frames=4)


def tree(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def labels(root: Path, scene: str) -> tuple[dict[int, Any], list[dict[str, Any]], dict[str, Any]]:
    """Images by id, annotations in their order, fits by annotation id."""
    folder = root / "annotations" / scene
    points = json.loads((folder / "keypoint_annotation.json").read_text())
    fits = json.loads((folder / "smplx_annotation.json").read_text())
    return {image["id"]: image for image in points["images"]}, points["annotations"], fits


def people(root: Path, *splits: str) -> list[PersonTruth]:
    """Annotated people; the fit of nobody is none."""
    return [p for p in read_truth(root).people if p.columns and (not splits or p.split in splits)]


def scene_of(person: PersonTruth) -> str:
    return str(person.columns["sequence"]).partition("/")[0]


def pictures(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def rows(root: Path) -> Iterator[tuple[PersonTruth, dict[str, Any], dict[str, Any], Any]]:
    """Every person of the truth with their image, annotation and fit."""
    for scene in SCENES:
        images, annotations, fits = labels(root, scene)
        own = {str(row["id"]): row for row in annotations}
        for person in people(root):
            if scene_of(person) == scene:
                row = own[person.source_id]
                yield person, images[row["image_id"]], row, fits.get(person.source_id)


def test_names(official: Path, both: Path, tmp_path: Path) -> None:
    mine = {name for name in tree(official) if not name.startswith(".")}
    shared = {
        f"annotations/{scene}/{kind}_annotation.json" for scene in SCENES for kind in ("keypoint", "smplx")
    }
    shared |= {f"splits/{kind}_scene_test_list.npy" for kind in ("intra", "inter")}
    videos = {f"videos/{name}.mp4" for name in VIDEOS}
    assert mine == shared | videos
    extracted = {name for name in tree(made(tmp_path / "images", "images", frames=4)) if name[0] != "."}
    images = {name for name in extracted if name.startswith("images/")}
    assert extracted == shared | images
    assert {name for name in tree(both) if name[0] != "."} == shared | videos | images
    assert {name.rpartition("/")[0] for name in images} == {f"images/{name}" for name in VIDEOS}
    assert {f"images/Speech/2019/Lectern_Trim1/{number:06d}.png" for number in range(1, 9)} <= images


def test_lists(official: Path) -> None:
    intra = load_npy(official / "splits/intra_scene_test_list.npy")
    inter = load_npy(official / "splits/inter_scene_test_list.npy", pickled=True)
    assert (intra.dtype.kind, inter.dtype.kind) == ("U", "O")
    for kind, names in (("intra", intra.tolist()), ("inter", inter.tolist())):
        found = {
            person.columns["sequence"].rpartition("/")[2].partition("_Trim")[0]
            for person in people(official, f"{kind}_test")
        }
        assert found < set(names)
        others = {person.columns["sequence"] for person in people(official, f"{kind}_train")}
        assert others
        assert all(name not in other for name in names for other in others)


def test_every_annotation_is_in_two_splits(official: Path) -> None:
    split = {s: {p.source_id for p in people(official, s)} for s in LAYOUT.splits}
    everybody = {str(row["id"]) for scene in SCENES for row in labels(official, scene)[1]}
    assert len(everybody) == 24
    for kind in ("intra", "inter"):
        train, test = split[f"{kind}_train"], split[f"{kind}_test"]
        assert train | test == everybody
        assert not train & test
        assert len(train) == len(test) == 12
    assert len({frozenset(ids) for ids in split.values()}) == 4


def test_order_of_the_files(official: Path) -> None:
    ids = []
    for scene in SCENES:
        images, annotations, fits = labels(official, scene)
        ids.append(set(images))
        places = [images[row["image_id"]]["file_name"] for row in annotations]
        for videos in (("",), ("Podium", "Debate")):
            order = [place for place in places if any(video in place for video in videos)]
            assert len(list(groupby(order))) > len(set(order))  # images come again later
            assert order != sorted(order)
        own = [row["id"] for row in annotations]
        assert own != sorted(own)
        position = {str(row["id"]): (at, row["image_id"]) for at, row in enumerate(annotations)}
        for split in LAYOUT.splits:
            mine = [person for person in people(official, split) if scene_of(person) == scene]
            at_rows = [position[person.source_id][0] for person in mine]
            assert at_rows == sorted(at_rows)
            assert [person.columns["source_index"] for person in mine] == [at + 1 for at in at_rows]
            for person in mine:
                at, image = position[person.source_id]
                before = sum(row["image_id"] == image for row in annotations[:at])
                assert person.columns["person"] == before
        assert set(fits) - set(position)
    assert ids[0] & ids[1]
    every = [row["id"] for scene in SCENES for row in labels(official, scene)[1]]
    assert len(set(every)) == len(every)


def test_columns(official: Path) -> None:
    for person, image, row, _ in rows(official):
        columns = person.columns
        folder, _, name = image["file_name"].removeprefix("/").rpartition("/")
        number = int(name.removesuffix(".png"))
        assert columns["sequence"] == f"{scene_of(person)}/{folder}"
        assert columns["image_path"] == person.file == f"videos/{columns['sequence']}.mp4"
        assert (columns["frame"], columns["source_frame"]) == (number - 1, f"{number:06d}")
        assert columns["fps"] == 30
        assert (columns["width"], columns["height"]) == (image["width"], image["height"]) == (160, 120)
        assert columns["bbox_xywh"].tolist() == [*row["bbox"], 1]
        points = np.concatenate([row[part] for part in PARTS]).reshape(133, 3)
        np.testing.assert_array_equal(columns["keypoints2d_original"][:, :2], points[:, :2])
        np.testing.assert_array_equal(columns["keypoints2d_original"][:, 2], points[:, 2] > 0)
        for part, word in (("lhand", "lefthand"), ("rhand", "righthand"), ("face", "face")):
            box, valid = row[f"{word}_box"], row[f"{word}_valid"]
            assert columns[f"valid_{part}"] is valid
            stored = columns[f"{part}_bbox_xywh"]
            assert (stored if stored is None else stored.tolist()) == ([*box, valid] if any(box) else None)


def test_videos(official: Path) -> None:
    truth = read_truth(official)
    for name, count in VIDEOS.items():
        shown = pictures(official / f"videos/{name}.mp4")
        assert len(shown) == count
        assert [decode_frame(picture, 160, 120) for picture in shown] == list(range(count))
        np.testing.assert_allclose(decode_affine(shown[0], 160, 120), np.eye(2, 3), atol=0.02)
        for image in truth.images:
            if image.file == f"videos/{name}.mp4":
                assert image.people == 2
                mine = [p for p in truth.people if (p.split, p.file) == (image.split, image.file)]
                mine = [p for p in mine if p.columns and p.columns["video_frame"] == image.frame]
                assert (image.frame < count) == bool(mine)
                for person in mine:
                    assert_painted(person, shown[image.frame][..., 2])


def assert_painted(person: PersonTruth, blue: Any) -> None:
    """The person is where the truth says, and partly below the picture."""
    if person.vertices is None:
        return
    focal, centre = (person.columns[key] for key in ("focal_length", "principal_point"))
    flat = person.vertices[:, :2] / person.vertices[:, 2:] * focal + centre
    inside = np.rint(flat[((flat > 0) & (flat < [159, 119])).all(axis=1)]).astype(int)
    assert (blue[inside[:, 1], inside[:, 0]] == FIGURE_BLUE).mean() > 0.95
    assert (flat[:, 1] > 120).any()


def test_frames_of_other_rates(official: Path) -> None:
    def seen(name: str) -> list[tuple[int, Any]]:
        mine = [p for p in people(official, "intra_test") if name in p.columns["sequence"]]
        return sorted({(p.columns["frame"], p.columns["video_frame"]) for p in mine})

    assert seen("Podium") == [(3, 3), (4, 3), (5, 4)]
    assert seen("Debate") == [(3, 3), (4, 5), (5, 7)]
    with av.open(str(official / "videos/ConductMusic/Podium.mp4")) as container:
        assert container.streams.video[0].average_rate == 25


def test_fits_are_the_bodies_of_the_truth(official: Path) -> None:
    """Read as the release is read: hands relative to the mean, camera frame, a pinhole each."""
    layers = BodyLayers("smplx", roots=(standin_dir(),), dtype=torch.float64)
    left, right = np.asarray(layers.layer("neutral").model.hand_mean, np.float64)
    whole, joints = convention("coco_wholebody_133").names, convention("smplx_144")
    checked = 0
    for person, _, row, entry in rows(official):
        if entry is None or not row["valid_label"]:
            assert person.joints is None
            assert person.rejected
            continue
        fit = {key: np.array(value) for key, value in entry["smplx_param"].items()}
        values = {
            "global_orient": fit["root_pose"],
            "body_pose": fit["body_pose"],
            "left_hand_pose": fit["lhand_pose"] + left,
            "right_hand_pose": fit["rhand_pose"] + right,
            "jaw_pose": fit["jaw_pose"],
            "betas": fit["shape"],
            "expression": fit["expr"],
            "transl": fit["trans"],
        }
        posed = layers(BodyParams.of({k: v[None] for k, v in values.items()}, dtype=torch.float64))
        assert person.joints is not None
        np.testing.assert_allclose(person.joints, posed.joints[0].numpy(), atol=1e-9)
        if person.vertices is not None:
            assert posed.vertices is not None
            np.testing.assert_allclose(person.vertices, posed.vertices[0].numpy(), atol=1e-5)
        camera, columns = entry["cam_param"], person.columns
        flat = person.joints[:, :2] / person.joints[:, 2:] * camera["focal"] + camera["princpt"]
        for number, (x, y, confidence) in enumerate(columns["keypoints2d_original"]):
            if confidence:
                error = abs(flat[joints.index(whole[number].replace("hand_root", "wrist"))] - [x, y]).max()
                assert error < (0.51 if number < 23 else 2e-3), (number, error)
                checked += 1
        np.testing.assert_array_equal(columns["focal_length"], camera["focal"])
        np.testing.assert_array_equal(columns["principal_point"], camera["princpt"])
        np.testing.assert_array_equal(columns["smplx_betas"], fit["shape"])
        np.testing.assert_array_equal(columns["smplx_expression"], fit["expr"])
        assert (columns["gender"], columns["camera_kind"]) == ("neutral", "virtual")
    assert checked > 1000


def test_oddities(official: Path) -> None:
    found: dict[str, list[tuple[PersonTruth, dict[str, Any], Any]]] = {}
    for person, _, row, entry in rows(official):
        for quirk in person.quirks:
            found.setdefault(quirk, []).append((person, row, entry))
        assert (person.rejected is not None) == bool(
            {"crowd", "no_keypoints", "beyond_the_end", "unusable", "without_fit"} & set(person.quirks)
        )
        assert (person.columns["video_frame"] is None) == ("beyond_the_end" in person.quirks)
    assert {p.split for p, _, _ in found["beyond_the_end"]} == {"intra_train", "inter_test"}
    assert all(row["iscrowd"] == 1 and row["num_keypoints"] for _, row, _ in found["crowd"])
    assert all(row["iscrowd"] == row["num_keypoints"] == 0 for _, row, _ in found["no_keypoints"])
    assert all(row["valid_label"] == 0 and entry for _, row, entry in found["unusable"])
    for quirk in ("without_fit", "no_keypoints"):
        for person, row, entry in found[quirk]:
            assert entry is None
            assert row["valid_label"]
            assert "smplx_betas" not in person.columns
    for person, row, _ in found["kept_box"]:
        assert not row["lefthand_valid"]
        assert person.columns["lhand_bbox_xywh"][2:].tolist() == [*row["lefthand_box"][2:], 0.0]
    assert all("lhand_valid" in entry["smplx_param"] for _, _, entry in found["fit_flags"])
    plain = [entry for person, _, _, entry in rows(official) if entry and "fit_flags" not in person.quirks]
    assert not any("lhand_valid" in entry["smplx_param"] for entry in plain)
    assert all(row["bbox"][1] + row["bbox"][3] > 120 for _, row, _ in found["partly_outside"])
    assert all(not row["face_valid"] for _, row, _ in found["fractional_visibility"])
    wide = [
        person for person, _, _, entry in rows(official) if entry and max(entry["smplx_param"]["shape"]) > 3
    ]
    assert {person.columns["sequence"] for person in wide} == {"ConductMusic/Symphony_Trim2"}
    names = [image["file_name"] for scene in SCENES for image in labels(official, scene)[0].values()]
    assert sum(name.startswith("/") for name in names) == 2


def test_fits_of_nobody_are_left_out_of_every_split_of_their_scene(official: Path) -> None:
    extra = [p for p in read_truth(official).people if not p.columns]
    stray = {}
    for scene in SCENES:
        _, annotations, fits = labels(official, scene)
        (stray[scene],) = set(fits) - {str(row["id"]) for row in annotations}
    music, speech = (stray[scene] for scene in SCENES)
    of = {kind: [music, speech] for kind in ("intra_train", "intra_test")}
    of |= {"inter_train": [music], "inter_test": [speech]}
    assert sorted((p.split, p.source_id) for p in extra) == sorted(
        (split, number) for split, numbers in of.items() for number in numbers
    )
    assert all(p.rejected and p.quirks == ("fit_of_nobody",) for p in extra)


def test_extracted_images_show_other_frames_than_the_videos_beside_them(both: Path) -> None:
    truth = read_truth(both)
    for image in truth.images:
        mine = [p for p in people(both, image.split) if p.file == image.file]
        assert mine
        for person in mine:
            assert person.columns["frame"] == image.frame == int(Path(image.file).stem) - 1
            assert person.columns["video_frame"] is None
            assert person.columns["image_path"] == image.file
            assert image.file.startswith(f"images/{person.columns['sequence']}/")
        if any("beyond_the_end" in person.quirks for person in mine):
            assert not (both / image.file).exists()
            continue
        shown: Any = cv2.imread(str(both / image.file), cv2.IMREAD_COLOR_RGB)
        assert decode_frame(shown, 160, 120) == image.frame
    podium = pictures(both / "videos/ConductMusic/Podium.mp4")
    assert [decode_frame(shown, 160, 120) for shown in podium] == list(range(25, 25 + len(podium)))


def test_same_arguments_same_bytes_whichever_splits(official: Path, tmp_path: Path) -> None:
    mine = tree(official)
    assert tree(made(tmp_path / "again")) == mine
    one = made(tmp_path / "one", splits=("inter_test",))
    truth = tuple(name for name in mine if name.startswith("."))
    assert {k: v for k, v in tree(one).items() if k not in truth} == {
        k: v for k, v in mine.items() if k not in truth
    }
    assert {p.split for p in read_truth(one).people} == {"inter_test"}
    own = [p for p in read_truth(official).people if p.split == "inter_test"]
    assert [(p.source_id, p.rejected) for p in read_truth(one).people] == [
        (p.source_id, p.rejected) for p in own
    ]
    other = tree(made(tmp_path / "other", seed=6))
    assert all(other[name] != mine[name] for name in mine if name.endswith(".json") and "/" in name)


def test_one_image_one_person_odd_sides(tmp_path: Path) -> None:
    seen: list[None] = []
    root = made(
        tmp_path / "one",
        frames=1,
        people=1,
        size=(101, 97),
        splits=("intra_test",),
        progress=lambda: seen.append(None),
    )
    (person,) = people(root)
    (image,) = read_truth(root).images
    assert (image.width, image.height, len(seen)) == (100, 96, 1)
    assert person.columns["sequence"] == "Speech/Debate_Trim2"
    assert pictures(root / person.file)[0].shape == (96, 100, 3)


def test_pictures_for_eyes(tmp_path: Path) -> None:
    root = made(tmp_path / "eyes", frames=1, people=1, render=True)
    for image in read_truth(root).images:
        assert not image.colour
        assert pictures(root / image.file)[image.frame].std() > 20
