from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hmtools.bodies.model import FAMILIES, GENDERS, Family, Gender
from hmtools.bodies.standin.anatomy import joint_names, rest_skeleton
from hmtools.bodies.standin.cache import standin_dir
from hmtools.bodies.standin.regressors import FEET, WHAM, joint_regressor, point_regressor, targets
from hmtools.bodies.standin.shapes import DIRECTIONS, displace
from hmtools.humandata.conventions import CONVENTIONS
from tests.bodies.standin.from_files import model, person, regressor, vertex_ids


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("gender", GENDERS)
def test_rows_are_sparse_weights(family: Family, gender: Gender) -> None:
    rows = regressor(family, gender)
    assert rows.min() >= 0.0
    assert np.abs(rows.sum(axis=1) - 1.0).max() < 1e-12
    used = (rows > 0).sum(axis=1)
    assert used.min() >= 6
    assert used.max() <= 90
    assert 15 <= np.median(used) <= 60


@pytest.mark.parametrize("family", FAMILIES)
def test_neutral_skeleton_is_met(family: Family) -> None:
    skeleton, parents = rest_skeleton(family)
    vertices = model(family)["v_template"]
    assert np.linalg.norm(regressor(family) @ vertices - skeleton, axis=1).max() < 0.001
    assert np.array_equal(person(family).parents, parents)


@pytest.mark.parametrize("family", FAMILIES)
def test_joints_follow_every_shape_direction(family: Family) -> None:
    who = person(family)
    for direction in DIRECTIONS:
        moved, shift = displace(who, direction)
        miss = np.linalg.norm(regressor(family) @ moved - shift, axis=1)
        worst = int(miss.argmax())
        assert miss[worst] < 0.002, (direction.name, joint_names(family)[worst])


def test_a_joint_lies_inside_its_ring() -> None:
    rows, who = regressor("smplx"), person("smplx")
    for joint, name in enumerate(joint_names("smplx")):
        ring = who.vertices[rows[joint] > 0]
        assert np.all(ring.min(axis=0) < who.joints[joint]), name
        assert np.all(ring.max(axis=0) > who.joints[joint]), name


def test_expression_moves_no_joint() -> None:
    expressions = model("smplx")["shapedirs"][:, :, 300:].astype(np.float64)
    moved = np.einsum("jv,vck->jck", regressor("smplx"), expressions)
    assert np.abs(moved).max() < 1e-9


def test_joint_regressor_can_be_made_again() -> None:
    again = joint_regressor(person("smpl"))
    assert np.linalg.norm(again @ person("smpl").vertices - person("smpl").joints, axis=1).max() < 1e-5


J19 = (
    *("right_ankle", "right_knee", "right_hip_extra", "left_hip_extra", "left_knee", "left_ankle"),
    *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
    *("neck_extra", "headtop", "pelvis_extra", "thorax_extra", "spine_extra", "jaw_extra", "head_extra"),
)
FILES: tuple[tuple[str, Family, tuple[str, ...]], ...] = (
    ("smpl/J_regressor_h36m.npy", "smpl", CONVENTIONS["h36m_mmpose"].names),
    ("smplx/J_regressor_h36m_smplx.npy", "smplx", CONVENTIONS["h36m_mmpose"].names),
    ("smpl/J_regressor_extra.npy", "smpl", CONVENTIONS["smpl_54"].names[45:]),
    ("smpl/J_regressor_wham.npy", "smpl", WHAM),
    ("smpl/J_regressor_feet.npy", "smpl", FEET),
    ("smpl/SMPL_to_J19.pkl", "smpl", J19),
    ("smplx/SMPLX_to_J14.pkl", "smplx", J19[:14]),
)


@pytest.mark.parametrize(("name", "family", "points"), FILES, ids=[row[0] for row in FILES])
def test_files_give_the_points_in_their_order(name: str, family: Family, points: tuple[str, ...]) -> None:
    path: Path = standin_dir() / name
    rows = np.load(path, allow_pickle=path.suffix == ".pkl")
    assert rows.min() >= 0.0
    assert np.abs(rows.sum(axis=1) - 1.0).max() < 1e-6
    at = targets(person(family))
    surface = vertex_ids(family)
    found = rows @ model(family)["v_template"]
    for point, place in zip(points, found, strict=True):
        # a landmark may lie some millimetres beside the vertex that stands for it
        assert np.linalg.norm(place - at[point]) < (0.016 if point in surface else 0.001), point


def test_right_and_left_are_on_their_sides() -> None:
    at = targets(person("smpl"))
    for name, place in at.items():
        if name.startswith("left_"):
            assert place[0] > 0.01
            assert at[name.replace("left_", "right_")][0] < -0.01
    assert at["headtop"][1] > at["head_extra"][1] > at["jaw_extra"][1] > at["neck_extra"][1]
    assert at["neck_extra"][1] > at["thorax_extra"][1] > at["spine_extra"][1] > at["pelvis_extra"][1]


def test_points_of_the_surface_use_one_face() -> None:
    rows = point_regressor(person("smpl"), ["nose", "left_heel"])
    assert (rows > 0).sum(axis=1).max() <= 3
    assert rows[0, vertex_ids("smpl")["nose"]] == pytest.approx(1.0, abs=1e-6)
