"""Figures are whole, stand-in bodies, inside the image and left-handed where they should be."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.humandata.keypoints import convention
from hmtools.synth.actors import Posed, make_actors, pose_actors
from hmtools.synth.scene import BODY, FACE, FEET, LEFT_HAND, RIGHT_HAND, Figure, make_figure, paint

PEOPLE = 20


@cache
def bodies(*, vertices: bool) -> list[Posed]:
    actors = make_actors(np.random.default_rng(0), PEOPLE, 1, up="-y")
    for actor in actors:
        actor.transl[:] = 0
    return pose_actors(actors, vertices=vertices)


def figure(
    seed: int = 0, width: int = 640, height: int = 480, *, vertices: bool = False, **where: Any
) -> Figure:
    posed = bodies(vertices=vertices)[seed % PEOPLE]
    return make_figure(np.random.default_rng(seed), posed, width, height, **where)


def tall(made: Figure) -> float:
    return float(np.ptp(made.outline[:, 1]))


@given(
    seed=st.integers(0, 10_000),
    width=st.integers(64, 1000),
    height=st.integers(64, 1000),
    slots=st.integers(1, 50),
    vertices=st.booleans(),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_whole_figure_is_inside(
    seed: int, width: int, height: int, slots: int, vertices: bool, data: st.DataObject
) -> None:
    slot = data.draw(st.integers(0, slots - 1))
    made = figure(seed, width, height, vertices=vertices, slot=slot, slots=slots)
    assert made.points.shape == (133, 2)
    for pixels in (made.points, made.outline, made.view.pixels):
        assert (pixels >= 0).all()
        assert (pixels <= [width - 1, height - 1]).all()
    middle = made.outline.min(axis=0) / 2 + made.outline.max(axis=0) / 2
    wide = np.ptp(made.outline[:, 0])
    assert abs(middle[0] - (slot + 0.5) / slots * width) < 0.2 * width / slots + 0.5 * wide + 0.05 * width


def test_same_seed_same_figure() -> None:
    np.testing.assert_array_equal(figure(3).points, figure(3).points)
    assert not np.array_equal(figure(3).points, figure(4).points)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("vertices", [True, False])
def test_overhang_is_the_part_beyond_the_left_edge(seed: int, vertices: bool) -> None:
    x = figure(seed, vertices=vertices, overhang=0.35).outline[:, 0]
    assert -x.min() / np.ptp(x) == pytest.approx(0.35, abs=0.01)  # nearer parts grow more
    assert (x >= 0).any()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("vertices", [True, False])
def test_the_pinhole_sees_the_body_there(seed: int, vertices: bool) -> None:
    made, posed = figure(seed, vertices=vertices), bodies(vertices=vertices)[seed]
    for here, seen, body in (
        (made.view.joints, made.view.joints2d, posed.joints[0]),
        (made.view.vertices, made.view.pixels, posed.vertices[0]),
    ):
        np.testing.assert_allclose(here, body + made.transl)
        pixels = here[:, :2] / here[:, 2:] * made.focal_length + made.principal_point
        np.testing.assert_allclose(seen, pixels)
    names, joints = convention("coco_wholebody_133").names, convention("smplx_144")
    for number in (0, 9, 11, 17, 23, 50, 95, 132):
        np.testing.assert_array_equal(made.points[number], made.view.joints2d[joints.index(names[number])])
    # As fits on crops have it: a focal length that goes with the person's size, tens of metres away.
    assert 20 < made.view.joints[0, 2] < 80
    assert made.focal_length.mean() > 10 * tall(made)
    assert abs(made.focal_length[0] / made.focal_length[1] - 1) < 0.03
    box = np.array([made.outline.min(axis=0), made.outline.max(axis=0)])
    assert (abs(made.principal_point - box.mean(axis=0)) < 0.05 * np.ptp(box, axis=0)).all()
    np.testing.assert_array_equal(made.transl, made.transl.round(6))


def test_joints_alone_give_nearly_the_same_figure() -> None:
    for seed in range(PEOPLE):
        whole, bare = (figure(seed, vertices=vertices) for vertices in (True, False))
        assert not len(bare.view.vertices)
        corners = (made.outline.min(axis=0) for made in (whole, bare))
        np.testing.assert_allclose(*corners, atol=0.12 * tall(whole))  # type: ignore[call-overload]
        assert np.ptp(whole.points[BODY][:, 1]) == pytest.approx(np.ptp(bare.points[BODY][:, 1]), rel=0.15)


@pytest.mark.parametrize("seed", range(20))
def test_left_is_left_and_the_head_is_up(seed: int) -> None:
    points = figure(seed).points
    body, feet, face = points[BODY], points[FEET], points[FACE]
    across = body[5] - body[6]  # right to left shoulder
    assert across[0] > 0
    for left, right in ((1, 2), (3, 4), (11, 12)):
        assert (body[left] - body[right]) @ across > 0
    assert (face[42:48].mean(axis=0) - face[36:42].mean(axis=0)) @ across > 0
    for leg, foot in ((15, feet[:3]), (16, feet[3:])):
        reach = np.linalg.norm(foot - body[leg], axis=1)
        assert (reach < 0.35 * np.linalg.norm(body[5] - body[leg])).all()
    assert body[0, 1] < body[11, 1] < body[15, 1]
    head = np.linalg.norm(face[8] - face[27])  # chin to the bridge of the nose
    assert np.linalg.norm(body[1] - face[42:48].mean(axis=0)) < 0.3 * head
    assert np.linalg.norm(body[0] - face[30]) < 0.5 * head


@pytest.mark.parametrize("seed", range(20))
def test_hands_hang_on_wrists(seed: int) -> None:
    points = figure(seed).points
    for hand, wrist in ((points[LEFT_HAND], points[BODY][9]), (points[RIGHT_HAND], points[BODY][10])):
        np.testing.assert_array_equal(hand[0], wrist)
        fingers = hand[1:].reshape(5, 4, 2)
        along = np.linalg.norm(np.diff(fingers, axis=1), axis=-1)
        assert (along < 0.06 * tall(figure(seed))).all()  # the points of a finger follow one another


def test_left_and_right_hand_are_mirror_images() -> None:
    (actor,) = make_actors(np.random.default_rng(1), 1, 1)
    rest = {name: np.zeros_like(value) for name, value in actor.pose.items()}
    (posed,) = pose_actors([replace(actor, pose=rest)], vertices=False)
    joints, names = posed.joints[0], convention("smplx_144")
    turns = {}
    for side in ("left", "right"):
        wrist, index, pinky = (joints[names.index(f"{side}_{n}")] for n in ("wrist", "index_1", "pinky_1"))
        turns[side] = np.cross(index - wrist, pinky - wrist)[1]
    assert turns["left"] * turns["right"] < 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("vertices", [True, False])
def test_outline_holds_every_point(seed: int, vertices: bool) -> None:
    made = figure(seed, vertices=vertices)
    polygon = made.outline.astype(np.float32)
    everything = np.concatenate([made.points, made.view.joints2d, made.view.pixels])
    depth = [cv2.pointPolygonTest(polygon, point.tolist(), True) for point in everything]
    assert min(depth) > -0.01


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("vertices", [True, False])
def test_painting_marks_the_body_only(seed: int, vertices: bool) -> None:
    made = figure(seed, vertices=vertices)
    plane = np.full((480, 640), 12, np.uint8)
    paint(plane, [made], 240)
    assert set(np.unique(plane)) == {12, 240}
    pixels = np.rint(made.points).astype(int)
    assert (plane[pixels[:, 1], pixels[:, 0]] == 240).mean() > 0.99
    polygon = np.rint(made.outline).astype(np.int32)
    hull = cv2.dilate(cv2.fillConvexPoly(np.zeros_like(plane), polygon, 1), np.ones((5, 5), np.uint8))
    assert (hull[plane == 240] == 1).all()
    assert 0.2 < (plane == 240).sum() / (hull == 1).sum() < 0.9  # between the limbs one sees through
    rows, columns = np.nonzero(plane == 240)
    low, high = made.outline.min(axis=0), made.outline.max(axis=0)
    np.testing.assert_allclose([columns.min(), rows.min()], low, atol=3)
    np.testing.assert_allclose([columns.max(), rows.max()], high, atol=3)


def test_a_mesh_is_painted_without_holes() -> None:
    made = figure(2, 900, 1200, vertices=True)
    plane = np.zeros((1200, 900), np.uint8)
    paint(plane, [made], 1)
    back = np.zeros_like(plane)
    for triangle in np.rint(made.view.pixels[made.faces]).astype(np.int32):  # every side of the body
        cv2.fillConvexPoly(back, triangle, 1)
    assert (plane != back).sum() < 1e-3 * back.sum()
