"""The truth of EgoBody's miniature agrees with what its files say: bodies, pixels, boxes and columns."""

from __future__ import annotations

import pickle
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from hmtools.bodies.assets import load_model, standin_dir
from hmtools.bodies.mixed import BodyLayers
from hmtools.bodies.params import BodyParams
from hmtools.synth import read_truth
from hmtools.synth.geometry_image import FIGURE_BLUE
from tests.synth.layouts.egobody_files import (
    SIZE,
    body,
    detections,
    info,
    kept,
    make,
    picture,
    pixels,
    poses,
    timestamp,
    to_holo,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("train") / "EgoBody"
    make(root)
    return root


@cache
def layers() -> BodyLayers:
    return BodyLayers("smplx", roots=(standin_dir(),), dtype=torch.float64)


def pose_by_hand(values: dict[str, Any]) -> tuple[Any, Any]:
    """Vertices and joints of a file in the Kinect's frame, hands by the gendered model's own components."""
    model = load_model("smplx", values["gender"], roots=(standin_dir(),))
    assert model.hand_components is not None
    assert model.hand_mean is not None
    numbers = {name: np.asarray(value, float) for name, value in values.items() if name != "gender"}
    for row, side in enumerate(("left", "right")):
        pose = np.array(model.hand_mean[row], float)
        for weight, component in zip(
            numbers[f"{side}_hand_pose"][0], model.hand_components[row][:12], strict=True
        ):
            pose += weight * np.asarray(component, float)
        numbers[f"{side}_hand_pose"] = pose[None]
    for name in ("pose_embedding", "camera_rotation", "camera_translation"):
        del numbers[name]
    with torch.inference_mode():
        output = layers()(BodyParams.of(numbers, dtype=torch.float64), values["gender"])
    vertices: Any = output.vertices
    return vertices.numpy()[0], output.joints.numpy()[0]


def test_detections(world: Path) -> None:
    people = {person.file: person for person in read_truth(world).people}
    orders, names = [], []
    for recording, arrays in detections(world):
        assert sorted(arrays) == ["center", "gender", "imgname", "keypoints", "scale"]
        count = len(arrays["imgname"])
        assert arrays["keypoints"].shape == (count, 25, 3)
        assert arrays["center"].shape == (count, 2)
        assert arrays["scale"].shape == (count,)
        assert {*arrays["gender"].tolist()} == {info(world, recording)["body_idx_fpv"][2:]}
        orders.append(sorted(arrays["imgname"]) == list(arrays["imgname"]))
        names += arrays["imgname"].tolist()
        for name, points in zip(arrays["imgname"].tolist(), arrays["keypoints"], strict=True):
            person = people[name]
            assert not points[points[:, 2] == 0].any()
            if person.rejected is None:
                np.testing.assert_array_equal(person.columns["keypoints2d_original"], points)
                # nose, wrists, hips, big toes of smplx_144 and of the 25
                mine, theirs = [0, 4, 7, 9, 12, 19, 22], [55, 21, 20, 2, 1, 60, 63]
                seen = points[mine, 2] > 0
                gap = np.linalg.norm(points[mine, :2] - pixels(person.joints, person)[theirs], axis=1)
                assert gap[seen].max() < 5 * 0.002 * SIZE[1]
                assert seen.sum() >= 3
    assert orders == [True, False]
    assert sorted(names) == sorted(people)


def test_vertices_are_those_of_the_files(world: Path) -> None:
    for person in kept(world):
        vertices, joints = pose_by_hand(pickle.loads(body(world, person).read_bytes()))
        _, lines = poses(world, person.columns["sequence"])
        row = lines[timestamp(person)]
        kinect_to_holo = np.linalg.inv(to_holo(world, person.columns["sequence"])[1])
        holo_to_pv = np.linalg.inv(np.reshape(row[2:], (4, 4)))
        assert person.joints is not None
        assert np.isnan(person.joints[127:]).all(), "the jaw contour is another one in each frame"
        for mine, theirs in ((vertices, person.vertices), (joints[:127], person.joints[:127])):
            assert theirs is not None
            inside = (np.c_[mine, np.ones(len(mine))] @ kinect_to_holo.T @ holo_to_pv.T)[:, :3]
            np.testing.assert_allclose(inside * [1, -1, -1], theirs, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(person.columns["focal_length"], row[:2])
        head, _ = poses(world, person.columns["sequence"])
        np.testing.assert_array_equal(person.columns["principal_point"], head[:2])
        np.testing.assert_allclose(
            person.columns["world_to_cam"], (holo_to_pv * [[1], [-1], [-1], [1]])[:3], atol=1e-12
        )


def test_hands_are_relative_to_the_mean(world: Path) -> None:
    for person in kept(world):
        values = pickle.loads(body(world, person).read_bytes())
        model = load_model("smplx", values["gender"], roots=(standin_dir(),))
        assert model.hand_components is not None
        assert model.hand_mean is not None
        for row, side in enumerate(("left", "right")):
            relative = values[f"{side}_hand_pose"][0].astype(float) @ model.hand_components[row][:12]
            absolute = person.columns[f"smplx_{side}_hand_pose"]
            np.testing.assert_allclose(relative + model.hand_mean[row], absolute, rtol=0, atol=1e-7)
            assert np.abs(relative - absolute).max() > 0.1
            assert np.abs(relative).max() > 0.1


def test_the_person_stands_in_the_picture(world: Path) -> None:
    for person in kept(world):
        places = pixels(person.vertices, person)
        assert person.joints is not None
        flat = pixels(person.joints, person)
        head, feet = flat[15], flat[[7, 8]].mean(axis=0)
        assert feet[1] - head[1] > 0.25 * SIZE[1]
        assert abs(feet[0] - head[0]) < 0.5 * (feet[1] - head[1])
        assert flat[1, 0] > flat[2, 0]  # the left hip is to the right: they look at the camera
        outside = -(places[:, 0].min() + 0.5) / np.ptp(places[:, 0])
        if "partly_outside" in person.quirks:
            assert outside == pytest.approx(0.34, abs=0.03)
            assert not person.columns["keypoints2d_original"][flat[[0] * 25, 0] < -1, 2].any()
        else:
            assert ((places > 0) & (places < np.array(SIZE) - 1)).all()
        painted = picture(world / person.file)[..., 2] > (FIGURE_BLUE + 159) / 2
        shown = np.rint(places).astype(int)
        shown = shown[((shown >= 0) & (shown < SIZE)).all(axis=1)]
        assert painted[shown[:, 1], shown[:, 0]].mean() > 0.9
        hull = cv2.fillConvexPoly(
            np.zeros(painted.shape, np.uint8), cv2.convexHull(np.rint(places).astype(np.int32)), 1
        )
        assert (painted & (cv2.dilate(hull, np.ones((7, 7), np.uint8)) == 0)).sum() == 0


def test_boxes(world: Path) -> None:
    for person in kept(world):
        flat, box = pixels(person.joints, person), person.columns["bbox_xywh"]
        assert flat.shape == (144, 2)
        flat = flat[:127]
        middle, half = (flat.max(0) + flat.min(0)) / 2, (flat.max(0) - flat.min(0)) * 0.6
        low, high = np.maximum(middle - half, -0.5), np.minimum(middle + half, np.array(SIZE) - 0.5)
        np.testing.assert_allclose(box, [*low, *(high - low), 1], atol=1e-6)


def test_columns(world: Path) -> None:
    for person in read_truth(world).people:
        columns, frame = person.columns, person.columns["frame"]
        assert columns["source_frame"] == f"{frame:05d}"
        assert person.source_id == f"{columns['sequence']}/frame_{frame:05d}"
        assert columns["image_path"] == person.file
        assert columns["sequence"] in person.file
        assert (columns["fps"], columns["person"], columns["track_id"]) == (30, 0, "interactee")
    for person in kept(world):
        values = pickle.loads(body(world, person).read_bytes())
        for name in ("betas", "expression", "body_pose", "jaw_pose", "leye_pose", "reye_pose"):
            np.testing.assert_array_equal(person.columns[f"smplx_{name}"], values[name][0])
        assert "smplx_global_orient" not in person.columns
        assert "smplx_transl" not in person.columns
        assert person.columns["gender"] == values["gender"]
        assert (person.columns["width"], person.columns["height"]) == SIZE
    ids = [person.source_id for person in read_truth(world).people]
    assert len(set(ids)) == len(ids)


def test_the_motion_is_smooth(world: Path) -> None:
    people = kept(world)
    for before, after in pairwise(people):
        if before.columns["sequence"] != after.columns["sequence"]:
            continue
        steps = after.columns["frame"] - before.columns["frame"]
        turn = Rotation.from_rotvec(np.reshape(before.columns["smplx_body_pose"], (21, 3))).inv()
        turn *= Rotation.from_rotvec(np.reshape(after.columns["smplx_body_pose"], (21, 3)))
        assert 0.005 < turn.magnitude().max() < 0.25 * steps
