from __future__ import annotations

import numpy as np
import pytest

from hmtools.bodies.model import FAMILIES, JOINTS, Family
from hmtools.bodies.standin.anatomy import (
    ARM_FACTOR,
    PELVIS,
    PROPORTIONS,
    STATURE,
    bone_radii,
    hop_distance,
    joint_names,
    landmarks,
    origin_shift,
    rest_skeleton,
)
from hmtools.humandata.conventions import CONVENTIONS, SMPL_VERTEX_IDS, SMPLX_VERTEX_IDS


def _joints(family: Family) -> dict[str, np.ndarray]:
    """Joints by name in the floor frame."""
    joints = rest_skeleton(family)[0] - origin_shift(family)
    return dict(zip(joint_names(family), joints, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_counts_names_and_tree(family: Family) -> None:
    joints, parents = rest_skeleton(family)
    names = joint_names(family)
    assert len(joints) == len(parents) == len(names) == len(set(names)) == JOINTS[family]
    assert len(bone_radii(family)) == JOINTS[family]
    assert parents[0] == -1
    assert (parents[1:] < np.arange(1, len(parents))).all()
    body = [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19]
    assert parents[1:22].tolist() == body
    for name in (n for n in names if n.split("_")[-1] in ("2", "3") and not n.startswith("spine")):
        before = f"{name[:-1]}{int(name[-1]) - 1}"
        assert names[parents[names.index(name)]] == before
    if family == "smpl":
        assert parents[22:].tolist() == [20, 21]
        assert names == CONVENTIONS["smpl_24"].names
    if family == "smplx":
        assert parents[22:25].tolist() == [15, 15, 15]
        assert names == CONVENTIONS["smplx_144"].names[:55]


def test_the_table_is_the_published_one() -> None:
    heights = {"ankle": 0.039, "knee": 0.285, "hip": 0.530, "shoulder": 0.818, "chin": 0.870, "eye": 0.936}
    assert {f"{n}_height": v for n, v in heights.items()}.items() <= PROPORTIONS.items()
    others = {
        "upper_arm": 0.186,
        "forearm": 0.146,
        "hand": 0.108,
        "foot_length": 0.152,
        "foot_breadth": 0.055,
    }
    assert others.items() <= PROPORTIONS.items()
    assert PROPORTIONS["shoulder_half_breadth"] * 2 == pytest.approx(0.258, abs=0.002)
    assert PROPORTIONS["hip_half_breadth"] * 2 == pytest.approx(0.191)
    assert 0.95 <= ARM_FACTOR <= 1


@pytest.mark.parametrize("family", FAMILIES)
def test_pelvis_is_not_the_origin(family: Family) -> None:
    pelvis = rest_skeleton(family)[0][0]
    assert pelvis == pytest.approx(PELVIS[family])
    assert np.linalg.norm(pelvis) > 0.2


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("joint", ["ankle", "knee", "hip", "shoulder"])
def test_joint_heights_follow_the_table(family: Family, joint: str) -> None:
    wanted = PROPORTIONS[f"{joint}_height"] * STATURE
    for side in ("left", "right"):
        assert _joints(family)[f"{side}_{joint}"][1] == pytest.approx(wanted, rel=0.05)


def test_arms_follow_the_table_and_lie_level() -> None:
    joints = _joints("smplx")
    shoulder, elbow, wrist = (joints[f"left_{n}"] for n in ("shoulder", "elbow", "wrist"))
    tip = landmarks("smplx")["left_middle"] - origin_shift("smplx")
    assert np.linalg.norm(elbow - shoulder) == pytest.approx(PROPORTIONS["upper_arm"] * STATURE, rel=0.05)
    assert np.linalg.norm(wrist - elbow) == pytest.approx(PROPORTIONS["forearm"] * STATURE, rel=0.05)
    assert np.linalg.norm(tip - wrist) == pytest.approx(PROPORTIONS["hand"] * STATURE, rel=0.05)
    assert np.ptp([shoulder[1], elbow[1], wrist[1]]) < 0.01


def test_fingers_run_from_thumb_to_little_finger_towards_the_back() -> None:
    joints = _joints("smplx")
    depth = [joints[f"left_{finger}_1"][2] for finger in ("index", "middle", "ring", "pinky")]
    assert depth == sorted(depth, reverse=True)
    assert joints["left_thumb_3"][2] > depth[0]
    assert joints["left_thumb_3"][1] < joints["left_wrist"][1]


@pytest.mark.parametrize("family", FAMILIES)
def test_left_and_right_mirror_each_other(family: Family) -> None:
    joints = _joints(family)
    pairs = [n for n in joints if n.startswith("left_")]
    assert len(pairs) >= 9
    for name in pairs:
        assert joints[name] * [-1, 1, 1] == pytest.approx(joints[name.replace("left_", "right_")])
        assert joints[name][0] > 0.01


def test_landmarks_are_the_joints_that_smplx_picks() -> None:
    assert set(landmarks("smplx")) == set(SMPLX_VERTEX_IDS) == set(SMPL_VERTEX_IDS)
    moved = landmarks("smpl")["nose"] - landmarks("smplx")["nose"]
    assert moved == pytest.approx(origin_shift("smpl") - origin_shift("smplx"))


def test_hops_count_bones_both_ways() -> None:
    hops = hop_distance(np.array([-1, 0, 1, 1, 0]))
    assert hops.tolist() == [
        [0, 1, 2, 2, 1],
        [1, 0, 1, 1, 2],
        [2, 1, 0, 2, 3],
        [2, 1, 2, 0, 3],
        [1, 2, 3, 3, 0],
    ]
