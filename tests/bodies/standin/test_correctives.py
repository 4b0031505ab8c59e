from __future__ import annotations

import numpy as np
import pytest
import scipy.spatial
from scipy.spatial.transform import Rotation

from hmtools.bodies.model import FAMILIES, Family
from hmtools.bodies.standin.anatomy import hop_distance, joint_names
from hmtools.bodies.standin.correctives import corrective_directions, share_beyond
from hmtools.bodies.standin.mesh import volume
from tests.bodies.standin.from_files import Array, flipped, model, person, pose, posed

LIMITS: dict[str, dict[str, tuple[float, float, float]]] = {
    "sitting": {
        **{"left_hip": (-1.5, 0.0, 0.1), "right_hip": (-1.5, 0.0, -0.1)},
        **{"left_knee": (1.6, 0.0, 0.0), "right_knee": (1.6, 0.0, 0.0)},
    },
    "squat": {
        **{"left_hip": (-2.0, 0.0, 0.3), "right_hip": (-2.0, 0.0, -0.3), "spine_1": (0.4, 0.0, 0.0)},
        **{"left_knee": (2.3, 0.0, 0.0), "right_knee": (2.3, 0.0, 0.0)},
        **{"left_ankle": (-0.5, 0.0, 0.0), "right_ankle": (-0.5, 0.0, 0.0)},
    },
    "arms bent": {"left_elbow": (0.0, -2.3, 0.0), "right_elbow": (0.0, 2.3, 0.0)},
    "arms down": {"left_shoulder": (0.0, 0.0, -1.3), "right_shoulder": (0.0, 0.0, 1.3)},
    "arms up": {"left_shoulder": (0.0, 0.0, 1.3), "right_shoulder": (0.0, 0.0, -1.3)},
    "bowing": {"spine_1": (0.6, 0.0, 0.0), "spine_2": (0.5, 0.0, 0.0), "spine_3": (0.3, 0.0, 0.0)},
    "looking back": {"spine_2": (0.0, 0.4, 0.0), "spine_3": (0.0, 0.4, 0.0), "neck": (0.0, 0.6, 0.0)},
    "kicking": {"left_hip": (-1.9, 0.0, 0.0), "left_ankle": (0.6, 0.0, 0.0), "right_hip": (0.5, 0.0, 0.0)},
}


# Radians about x, y, z, from and to, that a limber person reaches; the right side mirrors the left.
RANGES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "left_hip": ((-2.0, 0.4), (-0.4, 0.6), (-0.2, 0.7)),
    "left_knee": ((0.0, 2.3), (-0.1, 0.1), (0.0, 0.0)),
    "left_ankle": ((-0.4, 0.7), (-0.3, 0.3), (-0.2, 0.2)),
    "spine_1": ((-0.2, 0.5), (-0.3, 0.3), (-0.3, 0.3)),
    "spine_2": ((-0.2, 0.4), (-0.3, 0.3), (-0.2, 0.2)),
    "spine_3": ((-0.2, 0.3), (-0.3, 0.3), (-0.2, 0.2)),
    "neck": ((-0.5, 0.6), (-0.7, 0.7), (-0.4, 0.4)),
    "left_shoulder": ((-0.7, 0.7), (-1.3, 0.5), (-1.4, 1.2)),
    "left_elbow": ((-0.8, 0.8), (-2.3, 0.0), (0.0, 0.0)),
    "left_wrist": ((-0.3, 0.3), (-0.4, 0.4), (-1.0, 1.0)),
}


def limit_pose(seed: int) -> Array:
    """(24, 3) axis-angle with every joint at one of its limits or near it."""
    rng = np.random.default_rng(seed)
    turns = {}
    for name, ranges in RANGES.items():
        for side, sign in (("left_", 1.0), ("right_", -1.0)) if name.startswith("left_") else (("", 1.0),):
            ends = np.array([limits[rng.integers(2)] for limits in ranges]) * rng.uniform(0.7, 1.0, 3)
            turns[side + name.removeprefix("left_")] = tuple(ends * [1.0, sign, sign])
    return pose("smpl", turns)


def test_volume_over_fifty_limit_poses() -> None:
    who, moves = person("smpl"), directions("smpl")
    rest = volume(who.vertices, who.faces)
    change = np.array(
        [volume(posed(who, limit_pose(seed), moves), who.faces) / rest - 1.0 for seed in range(50)]
    )
    plain = np.array([volume(posed(who, limit_pose(seed)), who.faces) / rest - 1.0 for seed in range(50)])
    assert np.abs(change).max() < 0.08
    assert np.abs(change).mean() < 0.8 * np.abs(plain).mean()


def directions(family: Family) -> Array:
    return np.asarray(model(family)["posedirs"].astype(np.float64))


@pytest.mark.parametrize("name", LIMITS)
def test_volume_is_kept_better_than_by_skinning_alone(name: str) -> None:
    who, turns = person("smpl"), pose("smpl", LIMITS[name])
    rest = volume(who.vertices, who.faces)
    plain = volume(posed(who, turns), who.faces) / rest - 1.0
    corrected = volume(posed(who, turns, directions("smpl")), who.faces) / rest - 1.0
    assert abs(corrected) < 0.05
    assert abs(corrected) < abs(plain) + 0.002, (plain, corrected)


def test_sitting_loses_less_than_half_of_what_skinning_loses() -> None:
    who, turns = person("smplx"), pose("smplx", LIMITS["sitting"])
    rest = volume(who.vertices, who.faces)
    plain = volume(posed(who, turns), who.faces) - rest
    corrected = volume(posed(who, turns, directions("smplx")), who.faces) - rest
    assert plain < -0.01 * rest
    assert abs(corrected) < 0.5 * abs(plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_correctives_are_local(family: Family) -> None:
    who = person(family)
    hops = hop_distance(who.parents)
    moved = np.abs(directions(family).reshape(len(who.vertices), 3, -1, 9)).max(axis=(1, 3))
    for joint in range(1, len(who.parents)):
        touched = np.flatnonzero(moved[:, joint - 1] > 0)
        near = hops[joint] <= 1
        assert who.weights[touched][:, near].sum(axis=1).min(initial=1.0) > 0.0, joint_names(family)[joint]
        much = np.flatnonzero(moved[:, joint - 1] > 0.001)
        assert hops[joint, who.bone[much]].max(initial=0) <= 2, joint_names(family)[joint]
        far = np.linalg.norm(who.vertices[touched] - who.joints[joint], axis=1).max(initial=0.0)
        assert far < 0.40, joint_names(family)[joint]


@pytest.mark.parametrize("family", FAMILIES)
def test_correctives_are_there_and_of_a_plausible_size(family: Family) -> None:
    names = joint_names(family)
    size = np.abs(directions(family).reshape(-1, 3, len(names) - 1, 9)).max(axis=(0, 1, 3))
    still = {"jaw", "left_eyeball", "right_eyeball"}
    for joint, name in enumerate(names[1:]):
        assert (size[joint] == 0.0) == (name in still), name
    assert size.max() < 0.025
    for name in ("left_elbow", "right_knee", "left_hip", "right_shoulder", "left_wrist"):
        assert 0.003 < size[names.index(name) - 1] < 0.025, name


def test_rest_pose_and_small_turns_change_next_to_nothing() -> None:
    who = person("smpl")
    turns = pose("smpl", dict.fromkeys(joint_names("smpl"), (0.1, 0.05, -0.1)))
    change = posed(who, turns, directions("smpl")) - posed(who, turns)
    assert np.linalg.norm(change, axis=1).max() < 0.001
    assert np.array_equal(posed(who, 0 * turns, directions("smpl")), posed(who, 0 * turns))


def test_sides_are_mirrored() -> None:
    who = person("smpl")
    bent = {"left_elbow": (0.0, -1.5, 0.0), "left_knee": (1.5, 0.0, 0.0)}
    other = {"right_elbow": (0.0, 1.5, 0.0), "right_knee": (1.5, 0.0, 0.0)}
    moves = directions("smpl")
    first = posed(who, pose("smpl", bent), moves)
    second = posed(who, pose("smpl", other), moves)
    twin = scipy.spatial.cKDTree(who.vertices).query(who.vertices * [-1.0, 1.0, 1.0])[1]
    assert np.abs(second[twin] * [-1.0, 1.0, 1.0] - first).max() < 0.002  # the pelvis is not in the middle


def test_elbow_at_a_right_angle_folds_nothing_over() -> None:
    who, turns = person("smpl"), pose("smpl", {"left_elbow": (0.0, -1.2, 0.0)})
    shift = directions("smpl")
    features = (Rotation.from_rotvec(turns).as_matrix()[1:] - np.eye(3)).ravel()
    assert flipped(who.vertices, who.vertices + shift @ features, who.faces) == 0


def test_share_beyond_counts_everything_at_the_root() -> None:
    share = share_beyond(person("smpl"))
    assert np.allclose(share[:, 0], 1.0)
    assert share.min() >= 0.0


def test_directions_can_be_made_again() -> None:
    assert np.abs(corrective_directions(person("smpl")) - directions("smpl")).max() < 1e-6
