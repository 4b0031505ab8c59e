from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from hmtools.bodies.standin.anatomy import joint_names
from hmtools.bodies.standin.hands import COMPONENTS, FINGERS, hand_components, hand_mean
from tests.bodies.standin.from_files import Array, model, person, posed, vertex_ids

WithHands = Literal["smplh", "smplx"]
HANDS: tuple[WithHands, ...] = ("smplh", "smplx")


def with_hands(family: WithHands, left: Array, right: Array) -> dict[str, Array]:
    """Places of the finger tips after a hand pose."""
    turns = np.zeros((len(joint_names(family)), 3))
    turns[-30:] = np.concatenate([left, right]).reshape(30, 3)
    vertices = posed(person(family), turns)
    return {name: vertices[k] for name, k in vertex_ids(family).items()}


@pytest.mark.parametrize("family", HANDS)
def test_mean_curls_the_fingers_to_the_palm(family: WithHands) -> None:
    entries, who = model(family), person(family)
    tips = with_hands(family, entries["hands_meanl"], entries["hands_meanr"])
    for side, out in (("left", 1.0), ("right", -1.0)):
        for finger in FINGERS[:4]:
            name = f"{side}_{finger}"
            move = tips[name] - who.landmarks[name]
            assert move[1] < -0.02, name  # the palm looks down in the T-pose
            assert out * move[0] < -0.005, name
        thumb = tips[f"{side}_thumb"] - who.landmarks[f"{side}_thumb"]
        assert thumb[1] < -0.002
        assert thumb[2] < -0.002


@pytest.mark.parametrize("family", HANDS)
def test_right_hand_is_the_mirror_of_the_left(family: WithHands) -> None:
    entries = model(family)
    tips = with_hands(family, entries["hands_meanl"], entries["hands_meanr"])
    for finger in FINGERS:
        assert np.allclose(tips[f"right_{finger}"], tips[f"left_{finger}"] * [-1, 1, 1], atol=1e-3)


@pytest.mark.parametrize("family", HANDS)
def test_bases_are_orthonormal(family: WithHands) -> None:
    for key in ("hands_componentsl", "hands_componentsr"):
        basis = model(family)[key]
        assert basis.shape == (45, 45)
        assert np.abs(basis @ basis.T - np.eye(45)).max() < 1e-10


def test_components_do_what_their_names_say() -> None:
    left = model("smplx")["hands_componentsl"]
    rest = person("smplx").landmarks
    nothing = np.zeros(45)

    def moved(component: int) -> dict[str, Array]:
        tips = with_hands("smplx", 1.5 * left[component], nothing)
        return {finger: tips[f"left_{finger}"] - rest[f"left_{finger}"] for finger in FINGERS}

    curl, spread, thumb = moved(0), moved(1), moved(2)
    assert all(curl[finger][1] < -0.01 for finger in FINGERS[:4])
    assert np.linalg.norm(curl["thumb"]) < 1e-3
    assert spread["index"][2] > 0.01
    assert spread["pinky"][2] < -0.01
    assert np.linalg.norm(thumb["thumb"]) > 0.01 > np.linalg.norm(thumb["index"])
    assert moved(7)["thumb"][0] < -0.02  # back to the wrist
    for k, finger in enumerate(FINGERS[:3]):
        single = moved(3 + k)
        others = [f for f in FINGERS[:4] if f != finger]
        assert single[finger][1] < -0.015
        assert all(single[other][1] > single[finger][1] + 0.01 for other in others), COMPONENTS[3 + k]


def test_pose_stays_within_what_fingers_can_do() -> None:
    mean = hand_mean(person("smplx"))
    assert np.linalg.norm(mean.reshape(2, 15, 3), axis=2).max() < 0.6
    assert np.linalg.norm(mean.reshape(2, 15, 3), axis=2).min() > 0.05


def test_both_families_agree() -> None:
    assert np.abs(model("smplh")["hands_meanl"] - model("smplx")["hands_meanl"]).max() < 0.1
    again = hand_components(person("smplx"))[1, : len(COMPONENTS)]
    assert np.abs(again - model("smplx")["hands_componentsr"][: len(COMPONENTS)]).max() < 0.2
