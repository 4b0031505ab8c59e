from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core.errors import UsageError
from hmtools.geometry.crop import apply_affine
from hmtools.humandata.keypoints import CONVENTIONS, bones, convention, flip_pairs
from hmtools.viz.overlay import COLOURS, Mark, box_marks, draw_boxes, draw_skeleton, skeleton_marks

Image = npt.NDArray[np.uint8]


def grey(height: int = 120, width: int = 160) -> Image:
    return np.full((height, width, 3), 128, np.uint8)


def figure(name: str = "coco_17", confidence: float = 1.0, seed: int = 0) -> npt.NDArray[np.float32]:
    count = convention(name).count
    xy = np.random.default_rng(seed).uniform(10, 110, (count, 2))
    return np.concatenate([xy, np.full((count, 1), confidence)], axis=1).astype(np.float32)


def of(marks: list[Mark], shape: str) -> list[Mark]:
    return [mark for mark in marks if mark.shape == shape]


def test_a_box_is_drawn_where_it_says() -> None:
    black = np.zeros((120, 160, 3), np.uint8)
    drawn = draw_boxes(black, {"face": np.array([30.5, 20.25, 80, 60, 1.0])})
    row, column = drawn[50, :, 0].astype(float), drawn[:, 70, 0].astype(float)
    for profile, expected in ((row, (30.5, 110.5)), (column, (20.25, 80.25))):
        index, middle = np.arange(profile.size), sum(expected) / 2
        for half, place in ((index < middle, expected[0]), (index > middle, expected[1])):
            assert np.average(index[half], weights=profile[half]) == pytest.approx(place, abs=0.15)


@settings(max_examples=50, deadline=None)
@given(
    affine=st.lists(st.floats(-3, 3), min_size=6, max_size=6).map(lambda v: np.array(v).reshape(2, 3)),
    seed=st.integers(0, 99),
)
def test_an_affine_moves_every_mark(affine: npt.NDArray[np.float64], seed: int) -> None:
    boxes = {"body": np.array([5, 6, 70, 80, 1.0]), "face": np.array([9, 9, 5, 5, 0.4])}
    keypoints = figure(seed=seed)
    still = box_marks(boxes) + skeleton_marks(keypoints, "coco_17")
    moved = box_marks(boxes, affine) + skeleton_marks(keypoints, "coco_17", affine)
    for a, b in zip(still, moved, strict=True):
        assert (a.shape, a.tone, a.fine, a.dim) == (b.shape, b.tone, b.fine, b.dim)
        np.testing.assert_allclose(b.points, apply_affine(affine, a.points), atol=1e-9)


@pytest.mark.parametrize("name", sorted(CONVENTIONS))
def test_every_convention_is_drawn_whole(name: str) -> None:
    marks = skeleton_marks(figure(name), name)
    keys = convention(name).keys
    assert len(of(marks, "joint")) == len(keys)
    assert len(of(marks, "bone")) == len(bones(name))
    joints = of(marks, "joint")
    for i, j in flip_pairs(name):
        assert {joints[i].tone, joints[j].tone} == {"left", "right"}
        assert joints[i].fine is joints[j].fine
    assert all("left" not in key or joint.tone == "left" for joint, key in zip(joints, keys, strict=True))


def test_sides_parts_and_strength() -> None:
    keypoints = figure("coco_wholebody_133")
    keypoints[9, 2] = 0.5  # left wrist
    names = convention("coco_wholebody_133").names
    marks = skeleton_marks(keypoints, "coco_wholebody_133")
    looks = dict(zip(names, ((m.tone, m.fine, m.dim) for m in of(marks, "joint")), strict=True))
    assert looks["nose"] == ("middle", False, False)
    assert looks["left_wrist"] == ("left", False, True)
    assert looks["right_wrist"] == ("right", False, False)
    assert looks["left_hand_root"] == ("left", True, False)
    assert looks["right_middle_2"] == ("right", True, False)
    assert looks["left_eye"] == ("left", False, False)
    assert looks["left_eye_2"] == ("left", True, False)
    assert looks["contour_middle"] == ("middle", True, False)
    assert looks["left_bigtoe"] == ("left", False, False)
    ends = {m.points.tobytes(): m for m in of(marks, "bone")}

    def bone(a: str, b: str) -> Mark:
        points = keypoints[[names.index(a), names.index(b)], :2].astype(np.float64)
        return ends.get(points.tobytes()) or ends[points[::-1].tobytes()]

    assert bone("left_elbow", "left_wrist").tone == "left"
    assert bone("left_elbow", "left_wrist").dim
    assert bone("left_shoulder", "right_shoulder").tone == "middle"
    assert bone("nose", "right_eye").tone == "right"
    assert bone("right_hand_root", "right_thumb_1").fine


def test_boxes_take_the_colour_of_their_side() -> None:
    box = np.array([1, 2, 3, 4, 1.0])
    names = ("body", "left hand", "right hand", "face")
    assert [m.tone for m in box_marks(dict.fromkeys(names, box))] == ["body", "left", "right", "middle"]
    assert [m.fine for m in box_marks(dict.fromkeys(names, box))] == [False, True, True, True]
    assert [m.dim for m in box_marks({"a": box, "b": box * [1, 1, 1, 1, 0.5]})] == [False, True]


@pytest.mark.parametrize(
    "box", [[1, 2, 3, 4, 0], [1, 2, 0, 4, 1], [1, 2, 3, -4, 1], [np.nan, 2, 3, 4, 1], [1, 2, np.inf, 4, 1]]
)
def test_boxes_that_are_not_there_are_not_drawn(box: list[float]) -> None:
    assert box_marks({"body": np.array(box)}) == []
    assert (draw_boxes(grey(), {"body": np.array(box)}) == grey()).all()


def test_joints_that_are_not_there_take_their_bones_along() -> None:
    keypoints = figure()
    keypoints[0, 2] = 0
    keypoints[5, 0] = np.nan
    keypoints[6, 1] = np.inf
    keypoints[7, 2] = np.nan
    gone = {0, 5, 6, 7}
    marks = skeleton_marks(keypoints, "coco_17", np.eye(2, 3))
    assert len(of(marks, "joint")) == 13
    assert len(of(marks, "bone")) == sum(not gone & set(bone) for bone in bones("coco_17"))
    assert np.isfinite(np.concatenate([mark.points for mark in marks])).all()


def test_painting_shows_the_side_and_the_strength() -> None:
    keypoints = figure(confidence=0)
    keypoints[9], keypoints[10] = (40, 60, 1.0), (100, 60, 0.3)  # left and right wrist
    ground = grey()
    drawn = draw_skeleton(ground, keypoints, "coco_17")
    assert (drawn[60, 40] == COLOURS["left"]).all()
    faint = drawn[60, 100].astype(float)
    full = np.array(COLOURS["right"], float)
    np.testing.assert_allclose((faint - 128) / (full - 128), 0.45, atol=0.15)
    assert (ground == 128).all()
    assert drawn.dtype == np.uint8
    assert (drawn != ground).any(axis=2).sum() < 400


def test_painting_reads_views_and_survives_points_far_away() -> None:
    keypoints = figure()
    keypoints[:, :2] += 1e12
    mirrored = grey()[:, ::-1]
    assert (draw_skeleton(mirrored, keypoints, "coco_17") == 128).all()
    huge = {"body": np.array([-1e12, -1e12, 3e12, 3e12, 1.0])}
    assert (draw_boxes(mirrored, huge) == 128).all()


def test_without_a_convention_there_are_joints_only() -> None:
    marks = skeleton_marks(figure()[:5], None)
    assert [(mark.shape, mark.tone) for mark in marks] == [("joint", "middle")] * 5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: box_marks({"body": np.zeros(4)}), r"box 'body': expected \(5,\)"),
        (lambda: box_marks({"body": np.ones(5)}, np.eye(3)), r"affine: expected shape \(2, 3\)"),
        (lambda: skeleton_marks(np.zeros((17, 2)), "coco_17"), r"expected \(K, 3\)"),
        (lambda: skeleton_marks(np.zeros((16, 3)), "coco_17"), "has 17 joints, the array has 16"),
        (lambda: skeleton_marks(np.zeros((17, 3)), "coco_71"), "coco_17"),
        (lambda: draw_boxes(np.zeros((4, 4), np.uint8), {}), r"found shape \(4, 4\) uint8"),
        (lambda: draw_boxes(np.zeros((0, 4, 3), np.uint8), {}), r"found shape \(0, 4, 3\)"),
        (lambda: draw_skeleton(np.zeros((4, 4, 3)), figure(), "coco_17"), "float64"),  # type: ignore[arg-type]
    ],
)
def test_wrong_arguments_say_what_was_found(call: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()
