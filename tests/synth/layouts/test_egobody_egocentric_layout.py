"""The miniature has EgoBody's files and oddities, each where its table says."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from hmtools.core.errors import UsageError
from hmtools.core.safe_pickle import load_pickle
from hmtools.synth import read_truth
from hmtools.synth.geometry_image import decode_affine, decode_frame
from hmtools.synth.layouts import Layout
from hmtools.synth.layouts.egobody_egocentric import LAYOUT
from tests.synth.layouts.egobody_files import (
    FRAMES,
    SIZE,
    body,
    detections,
    folder_of,
    images,
    info,
    kept,
    make,
    picture,
    pixels,
    poses,
    table,
    timestamp,
    to_holo,
    tree,
)

QUIRKS = {
    "before_start": True,
    "no_body": True,
    "singular_pose": True,
    "no_pv_line": True,
    "no_image": True,
    "after_end": True,
    "partly_outside": False,
}
"""Oddity -> whether the person must be left out."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("train") / "EgoBody"
    make(root)
    return root


def test_lists(world: Path) -> None:
    names = [row["train"] for row in table(world / "data_splits.csv")]
    assert {(row["val"], row["test"]) for row in table(world / "data_splits.csv")} == {("", "")}
    assert sorted(names) == [path.name for path in sorted((world / "egocentric_color").iterdir())]
    assert len(names) == 2
    interactees = []
    for name in names:
        assert re.fullmatch(r"recording_20\d{6}_S\d\d_S\d\d_\d\d", name)
        row = info(world, name)
        assert list(row) == [
            *("recording_name", "scene_name", "body_idx_0", "body_idx_1", "body_idx_fpv"),
            *("start_frame", "end_frame"),
        ]
        assert row["body_idx_fpv"] in (row["body_idx_0"], row["body_idx_1"])
        interactees.append(row["body_idx_fpv"])
    assert interactees == ["1 female", "0 male"]


def test_columns_of_the_split_list_differ_in_length(tmp_path: Path) -> None:
    make(tmp_path, frames=2, size=(64, 64), splits=LAYOUT.splits)
    rows = table(tmp_path / "data_splits.csv")
    assert {split: sum(bool(row[split]) for row in rows) for split in ("train", "val", "test")} == {
        **{"train": 2, "val": 1, "test": 2}
    }
    assert [len(images(tmp_path, split)) for split in ("train", "val", "test")] == [2, 2, 2]
    assert len(table(tmp_path / "data_info_release.csv")) == 5


def test_every_oddity_is_there_once(world: Path) -> None:
    found = {quirk: person.rejected for person in read_truth(world).people for quirk in person.quirks}
    assert sum(len(person.quirks) for person in read_truth(world).people) == len(found)
    assert {quirk: reason is not None for quirk, reason in found.items()} == QUIRKS
    assert len(kept(world)) == 8
    assert len(images(world, "train")) == FRAMES


def test_why_people_are_left_out(world: Path) -> None:
    for person in read_truth(world).people:
        recording, frame = person.columns["sequence"], person.columns["frame"]
        row, (_, lines) = info(world, recording), poses(world, recording)
        outside = not int(row["start_frame"]) <= frame <= int(row["end_frame"])
        where = world / f"smplx_interactee_train/{recording}/body_idx_{row['body_idx_fpv'][0]}"
        faults = {
            "before_start": frame < int(row["start_frame"]),
            "after_end": frame > int(row["end_frame"]),
            "no_body": not (where / f"results/frame_{frame:05d}/000.pkl").exists(),
            "no_pv_line": timestamp(person) not in lines,
            "singular_pose": not any(lines.get(timestamp(person), [1.0] * 18)[2:]),
            "no_image": not (world / person.file).exists(),
        }
        assert {quirk for quirk, wrong in faults.items() if wrong} == {
            quirk for quirk in person.quirks if QUIRKS[quirk]
        }
        assert (person.rejected is not None) == any(faults.values())
        assert outside == bool({"before_start", "after_end"} & set(person.quirks))


def test_both_limits_of_the_range_are_inside(world: Path) -> None:
    for recording, _ in detections(world):
        frames = [p.columns["frame"] for p in kept(world) if p.columns["sequence"] == recording]
        row = info(world, recording)
        assert int(row["start_frame"]) == min(frames)
        # The last of the first recording is a picture in which nobody was detected.
        assert int(row["end_frame"]) - max(frames) == (row["body_idx_fpv"] == "1 female")


def test_calibrations(world: Path) -> None:
    parents = []
    for recording, _ in detections(world):
        path, matrix = to_holo(world, recording)
        parents.append(path.parent.relative_to(world / "calibrations" / recording).as_posix())
        np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-8)
        assert np.linalg.det(matrix) == pytest.approx(1)
        others = [p for p in path.parent.rglob("*.json") if p != path]
        assert {p.name for p in others} >= {f"kinect_{n}to12_color.json" for n in (11, 13, 14, 15)}
        assert (path.parent / f"kinect12_to_world/{info(world, recording)['scene_name']}.json") in others
        assert all(np.abs(np.array(json.loads(p.read_text())["trans"]) - matrix).max() > 0.1 for p in others)
    assert parents == ["cal_trans", "."]


def test_poses_of_the_headset(world: Path) -> None:
    ordered = []
    for recording, _ in detections(world):
        head, lines = poses(world, recording)
        assert head[2:] == [*SIZE]
        focal = np.array([row[:2] for row in lines.values()])
        assert len(np.unique(focal[:, 0])) == len(lines)
        assert np.ptp(focal[:, 0]) > 0.3  # pixels
        assert (focal[:, 0] != focal[:, 1]).all()
        ordered.append(sorted(lines) == list(lines))
        assert all(re.fullmatch(r"\d{18}", f"{time}") for time in lines)
        for row in lines.values():
            pose = np.reshape(row[2:], (4, 4))
            if pose.any():
                np.testing.assert_allclose(pose[3], [0, 0, 0, 1])
                np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-7)
                assert pose[1, 1] > 0.8  # the camera's y axis is up, as the world's
    assert ordered == [False, True]
    pictures = {timestamp(image) for image in images(world, "train")}
    first = [next(iter(poses(world, recording)[1])) for recording, _ in detections(world)]
    assert [time in pictures for time in first] == [True, False]


def test_pictures_and_frames(world: Path) -> None:
    for image in images(world, "train"):
        number = int(re.fullmatch(r"\d{18}_frame_(\d{5})\.jpg", Path(image.file).name)[1])  # type: ignore[index]
        assert (number, image.width, image.height, image.people) == (
            *(image.frame, *SIZE),
            int(image.file in {person.file for person in read_truth(world).people}),
        )
        shown = picture(world / image.file)
        assert shown.shape == (SIZE[1], SIZE[0], 3)
        np.testing.assert_allclose(decode_affine(shown, *SIZE), np.eye(2, 3), atol=0.05)
        assert decode_frame(shown, *SIZE) == number % 50
    for recording, _ in detections(world):
        pictures = sorted((folder_of(world, recording) / "PV").iterdir())
        assert [p.relative_to(world).as_posix() for p in pictures] == [
            i.file for i in images(world, "train") if recording in i.file
        ]
        frames = [int(path.stem[-5:]) for path in pictures]
        times = [int(path.name[:18]) for path in pictures]
        assert frames == sorted(frames)
        rate = np.diff(frames) / np.diff(times) * 1e7
        np.testing.assert_allclose(rate, 30, rtol=0.02)
        bodies = world / f"smplx_interactee_train/{recording}"
        fitted = {int(path.parent.name[-5:]) for path in bodies.rglob("000.pkl")}
        gap = set(range(min(frames), max(frames))) - set(frames)
        assert len(gap & fitted) >= 4  # bodies were fitted where the camera has no picture


def test_valid_frames(world: Path) -> None:
    for recording, arrays in detections(world):
        with np.load(folder_of(world, recording) / "valid_frame.npz") as file:
            valid = dict(zip(file["imgname"].tolist(), file["valid"].tolist(), strict=True))
        assert list(valid) == [i.file for i in images(world, "train") if recording in i.file]
        assert all(found == (name in arrays["imgname"].tolist()) for name, found in valid.items())


def test_files_of_bodies(world: Path) -> None:
    shapes = {
        **{"transl": 3, "global_orient": 3, "betas": 10, "body_pose": 63, "left_hand_pose": 12},
        **{"right_hand_pose": 12, "jaw_pose": 3, "leye_pose": 3, "reye_pose": 3, "expression": 10},
        **{"pose_embedding": 32, "camera_translation": 3},
    }
    for person in kept(world):
        path = body(world, person)
        values = load_pickle(path)  # what reads the release must be able to
        assert sorted(values) == sorted([*shapes, "camera_rotation", "gender"])
        for name, size in shapes.items():
            assert values[name].shape == (1, size)
            assert values[name].dtype == np.float32
        row = info(world, person.columns["sequence"])
        assert f"{path.parts[-4][-1]} {values['gender']}" == row["body_idx_fpv"]
        assert b"numpy._core" not in path.read_bytes()
        wearer = pickle.loads(body(world, person, "camera_wearer").read_bytes())  # made here
        assert np.linalg.norm(wearer["transl"] - values["transl"]) > 2
        assert wearer["gender"] != values["gender"]
        assert body(world, person, "camera_wearer").parts[-4] != path.parts[-4]


def test_same_arguments_same_bytes(tmp_path: Path, world: Path) -> None:
    make(tmp_path / "same")
    make(tmp_path / "all", frames=4, splits=("val", "train"))
    make(tmp_path / "other", frames=1, seed=4)
    first, fewer, other = tree(world), tree(tmp_path / "all"), tree(tmp_path / "other")
    assert tree(tmp_path / "same") == first
    # A picture and a body depend neither on how many come after nor on other splits.
    same = [name for name in fewer if name.endswith(("jpg", "pkl")) and name in first]
    assert len(same) >= 20
    assert all(fewer[name] == first[name] for name in same)
    assert not {digest for name, digest in other.items() if name.endswith(("jpg", "pkl"))} & {*first.values()}


@pytest.mark.parametrize("size", [(64, 64), (96, 256), (400, 120)])
def test_pictures_of_any_shape(tmp_path: Path, size: tuple[int, int]) -> None:
    make(tmp_path, frames=1, size=size, splits=("test",))
    (person,) = read_truth(tmp_path).people
    places = pixels(person.vertices, person)
    assert ((places > 0) & (places < np.array(size) - 1)).all()
    assert (np.ptp(places, axis=0) / size).max() > 0.13


def test_rendered(tmp_path: Path) -> None:
    make(tmp_path, frames=1, render=True)
    (image,) = read_truth(tmp_path).images
    assert not image.colour
    shown = picture(tmp_path / image.file)
    with pytest.raises(UsageError):
        decode_affine(shown, *SIZE)
    assert shown.std() > 10


@pytest.mark.parametrize("people", [0, 2])
def test_one_interactee(tmp_path: Path, people: int) -> None:
    with pytest.raises(UsageError, match=rf"people must be 1, got {people}"):
        make(tmp_path, people=people)


def test_what_can_be_made() -> None:
    assert isinstance(LAYOUT, Layout)
    assert LAYOUT.name == "egobody_egocentric"
    assert LAYOUT.splits == ("train", "val", "test")
