"""Actors obey the limits of their joints, move smoothly, stand the right way up, and are always the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core.errors import UsageError
from hmtools.humandata.keypoints import convention
from hmtools.synth.actors import _BODY, _limits, make_actors, pose_actor, pose_actors

Array = np.ndarray[Any, np.dtype[np.float64]]
AXES = {"+y": ([0, 1, 0], [0, 0, 1]), "+z": ([0, 0, 1], [0, -1, 0]), "-y": ([0, -1, 0], [0, 0, -1])}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def joint(joints: Array, name: str) -> Array:
    return np.asarray(joints[..., convention("smplx_144").index(name), :])


@given(seed=st.integers(0, 2**32), fps=st.sampled_from([1.0, 10.0, 30.0]))
@settings(max_examples=40, deadline=None)
def test_every_angle_stays_within_its_range(seed: int, fps: float) -> None:
    (actor,) = make_actors(rng(seed), 1, 40, fps=fps)
    body = actor.pose["body_pose"].reshape(40, 21, 3)
    for number, name in enumerate(_BODY):
        low, high = np.array(_limits(name)).T
        assert (body[:, number] >= low - 1e-12).all(), name
        assert (body[:, number] <= high + 1e-12).all(), name
    # Hinges, said once more without the table: knees bend one way, elbows towards each other.
    assert (body[:, [3, 4], 0] >= 0).all()
    assert (body[:, 17, 1] < 0).all()
    assert (body[:, 18, 1] > 0).all()
    assert (actor.pose["jaw_pose"][:, 0] >= 0).all()
    assert (abs(actor.expression) <= 1).all()
    assert (abs(actor.betas) <= 2).all()
    np.testing.assert_array_equal(actor.pose["leye_pose"], actor.pose["reye_pose"])


def test_right_is_a_mirror_image_of_left() -> None:
    for name in ("hip", "elbow", "wrist", "collar"):
        left, right = np.array(_limits(f"left_{name}")), np.array(_limits(f"right_{name}"))
        np.testing.assert_array_equal(left[0], right[0])
        np.testing.assert_array_equal(left[1:], -right[1:, ::-1])


def test_limbs_bend_the_way_limbs_do() -> None:
    """Every joint in turn goes to each end of its range; the T-pose has x left, y up, z forward."""
    (actor,) = make_actors(rng(), 1, 1)
    rest = {name: np.zeros_like(value) for name, value in actor.pose.items()}
    bent = []
    for number, name in enumerate(_BODY):
        for end in (0, 1):
            body = np.zeros((1, 21, 3))
            body[0, number] = [limits[end] for limits in _limits(name)]
            bent.append(replace(actor, pose={**rest, "body_pose": body.reshape(1, 63)}))
    hands = {name: actor.pose[name] for name in ("left_hand_pose", "right_hand_pose")}
    *poses, curled, flat = pose_actors(
        [*bent, replace(actor, pose={**rest, **hands}), replace(actor, pose=rest)], vertices=False
    )
    at = {(name, end): poses[2 * _BODY.index(name) + end].joints[0] for name in _BODY for end in (0, 1)}
    for side, out in (("left", 1), ("right", -1)):

        def moved(joints: Array, name: str, side: str = side) -> Array:
            name = f"{side}_{name}"
            return joint(joints, name) - joint(flat.joints[0], name)

        assert moved(at[f"{side}_knee", 1], "ankle")[2] < -0.3  # backwards
        assert abs(moved(at[f"{side}_knee", 0], "ankle")).max() < 0.01  # and never forwards
        assert moved(at[f"{side}_hip", 0], "knee")[2] > 0.3  # a leg is lifted forwards
        elbow = {"left": 0, "right": 1}[side]  # a mirrored range begins at the other end
        assert moved(at[f"{side}_elbow", elbow], "wrist")[2] > 0.1
        assert moved(at[f"{side}_shoulder", elbow], "elbow")[1] < -0.1  # arms go down and to the front
        assert moved(at[f"{side}_shoulder", elbow], "elbow")[2] > 0.05
        tip, knuckle = (moved(curled.joints[0], f"middle{end}") for end in ("", "_1"))
        assert tip[1] - knuckle[1] < -0.01  # fingers curl towards the palm, which looks down
        assert out * tip[0] < 0


def test_motion_has_no_jumps() -> None:
    (actor,) = make_actors(rng(3), 1, 60)
    joints = pose_actor(actor, vertices=False).joints
    step = np.diff(joints, axis=0)
    assert np.linalg.norm(step, axis=-1).max() < 0.2  # 6 m/s, a hand at its fastest
    assert np.linalg.norm(step, axis=-1).max(axis=1).min() > 1e-4  # never still
    skeleton = np.diff(step, axis=0)[:, :55]  # the jaw's contour slides in degrees
    assert np.linalg.norm(skeleton, axis=-1).max() < 0.03
    slow = pose_actor(make_actors(rng(3), 1, 2, fps=120.0)[0], vertices=False).joints
    assert abs(np.diff(slow, axis=0)).max() < 0.6 * abs(step).max()


@pytest.mark.parametrize("up", AXES)
def test_people_stand_up_and_face_the_front(up: str) -> None:
    above, front = (np.array(axis, np.float64) for axis in AXES[up])
    actors = make_actors(rng(5), 3, 1, up=up)
    for posed in pose_actors(actors, vertices=False):
        (joints,) = posed.joints
        assert (joint(joints, "head") - joint(joints, "pelvis")) @ above > 0.4
        assert (joint(joints, "pelvis") - joint(joints, "left_ankle")) @ above > 0.1
        nose = joint(joints, "nose") - (joint(joints, "left_ear") + joint(joints, "right_ear")) / 2
        assert nose @ front > 0.05
        assert (joint(joints, "left_hip") - joint(joints, "right_hip")) @ np.cross(above, front) > 0.05
    places = np.array([actor.transl[0] for actor in actors]) @ np.cross(above, front)
    assert np.diff(places) == pytest.approx(1.1, abs=0.25)


def test_same_seed_same_people_on_any_number_of_cores() -> None:
    first, again = (make_actors(rng(8), 2, 3) for _ in range(2))
    one = pose_actors(first)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        other = pose_actors(again)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine.vertices, theirs.vertices)
        np.testing.assert_array_equal(mine.joints, theirs.joints)
    assert not np.array_equal(make_actors(rng(9), 1, 1)[0].betas, first[0].betas)


def test_a_batch_is_its_people() -> None:
    actors = [*make_actors(rng(1), 2, 5), *make_actors(rng(2), 1, 20)]
    actors[1] = replace(actors[1], betas=np.r_[actors[1].betas, 0.5, -0.5])
    actors[2] = replace(actors[2], pose={k: v for k, v in actors[2].pose.items() if "eye" not in k})
    together = pose_actors(actors)
    assert [len(posed.joints) for posed in together] == [5, 5, 20]
    for actor, posed in zip(actors, together, strict=True):
        alone, bare = pose_actor(actor), pose_actor(actor, vertices=False)
        np.testing.assert_allclose(posed.vertices, alone.vertices, atol=1e-12)
        np.testing.assert_allclose(posed.joints, bare.joints, atol=1e-12)
        assert posed.vertices.shape == (len(actor.transl), 10475, 3)
        assert bare.vertices.shape == (len(actor.transl), 0, 3)
        assert posed.faces.max() == 10474
    moved = pose_actor(replace(actors[0], transl=actors[0].transl + np.array([0, 0, 2])))
    np.testing.assert_allclose(moved.vertices - [0, 0, 2], together[0].vertices, atol=1e-12)
    assert pose_actors([]) == []


def test_genders_take_turns_and_have_bodies_of_their_own() -> None:
    actors = make_actors(rng(4), 3, 1, genders=("female", "male"))
    assert [actor.gender for actor in actors] == ["female", "male", "female"]
    swapped = replace(actors[0], gender="male")
    female, male = (pose_actor(actor).vertices for actor in (actors[0], swapped))
    assert abs(female - male).max() > 0.01


@pytest.mark.parametrize(("family", "joints", "vertices"), [("smpl", 45, 6890), ("smplh", 73, 6890)])
def test_other_families(family: Any, joints: int, vertices: int) -> None:
    (actor,) = make_actors(rng(6), 1, 2, family=family)
    (same,) = make_actors(rng(6), 1, 2)
    posed = pose_actor(actor)
    assert posed.joints.shape == (2, joints, 3)
    assert posed.vertices.shape == (2, vertices, 3)
    assert not actor.expression.any()
    np.testing.assert_array_equal(actor.pose["body_pose"][:, :63], same.pose["body_pose"])
    child = pose_actor(replace(actor, kid=1.0)) if family == "smpl" else None
    assert child is None or np.ptp(child.vertices[0, :, 1]) < 0.9 * np.ptp(posed.vertices[0, :, 1])


def test_families_do_not_mix() -> None:
    with pytest.raises(UsageError, match="smpl, smplx"):
        pose_actors([*make_actors(rng(), 1, 1), *make_actors(rng(), 1, 1, family="smpl")])


@pytest.mark.parametrize(
    ("people", "frames", "options", "message"),
    [
        (1, 1, {"up": "x"}, r"up axis: expected one of \+y, \+z, -y, found 'x'"),
        (-1, 1, {}, "found -1 over 1"),
        (1, 0, {}, "found 1 over 0"),
        (1, 1, {"fps": 0.0}, "fps: expected more than 0, found 0"),
        (1, 1, {"genders": ()}, "genders: expected at least one"),
        (-2, 1, {"up": "x", "fps": -1.0}, "up axis.*; expected.*; fps"),
    ],
)
def test_impossible_worlds(people: int, frames: int, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_actors(rng(), people, frames, **options)
    assert make_actors(rng(), 0, 1) == []
