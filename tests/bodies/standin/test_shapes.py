from __future__ import annotations

import numpy as np
import pytest
import scipy.spatial

from hmtools.bodies.model import FAMILIES, GENDERS, Family, Gender
from hmtools.bodies.standin.anatomy import joint_names
from hmtools.bodies.standin.shapes import DIRECTIONS, GROUPS, SMPL_MIXTURE, joint_groups
from tests.bodies.standin.from_files import Array, flipped, model, person, regressor


def dirs(family: Family, gender: Gender = "neutral") -> Array:
    return np.asarray(model(family, gender)["shapedirs"][:, :, :300].astype(np.float64))


def shaped(family: Family, beta: int, value: float) -> Array:
    return person(family).vertices + value * dirs(family)[:, :, beta]


def stature(vertices: Array) -> float:
    return float(np.ptp(vertices[:, 1]))


def joints(family: Family, beta: int, value: float) -> dict[str, Array]:
    found = regressor(family) @ shaped(family, beta, value)
    return dict(zip(joint_names(family), found, strict=True))


def length(at: dict[str, Array], first: str, second: str) -> float:
    return float(np.linalg.norm(at[first] - at[second]))


def test_every_joint_belongs_to_one_group() -> None:
    assert set(joint_groups("smplx")) == set(GROUPS)
    named = [joint for names in GROUPS.values() for joint in names]
    assert len(named) == len(set(named))


def test_one_unit_of_height_is_five_centimetres() -> None:
    gain = stature(shaped("smplx", 0, 1.0)) - stature(person("smplx").vertices)
    assert gain == pytest.approx(0.05, abs=0.002)
    at, rest = joints("smplx", 0, 1.0), joints("smplx", 0, 0.0)
    for pair in (("left_hip", "left_knee"), ("right_shoulder", "right_elbow"), ("neck", "spine_1")):
        assert length(at, *pair) / length(rest, *pair) == pytest.approx(1.0294, abs=2e-3)


def slice_size(vertices: Array, height: float, axis: int) -> float:
    """Extent of the trunk at a height."""
    near = (np.abs(vertices[:, 1] - height) < 0.02) & (np.abs(vertices[:, 0]) < 0.25)
    return float(np.ptp(vertices[near][:, axis]))


def test_girth_widens_the_waist_and_leaves_the_height() -> None:
    waist = person("smplx").joints[3, 1]
    before, after = person("smplx").vertices, shaped("smplx", 1, 1.0)
    assert slice_size(after, waist, 0) > slice_size(before, waist, 0) + 0.010
    assert slice_size(after, waist, 2) > slice_size(before, waist, 2) + 0.015
    assert stature(after) == pytest.approx(stature(before), abs=0.003)


@pytest.mark.parametrize(
    ("beta", "first", "second", "least"),
    [
        (2, "left_hip", "left_knee", 0.010),
        (3, "left_shoulder", "right_shoulder", 0.012),
        (4, "left_hip", "right_hip", 0.006),
        (6, "left_shoulder", "left_wrist", 0.015),
        (10, "left_wrist", "left_middle_3", 0.003),
        (14, "neck", "head", 0.003),
    ],
)
def test_lengths_that_a_beta_is_for(beta: int, first: str, second: str, least: float) -> None:
    gain = length(joints("smplx", beta, 1.0), first, second) - length(
        joints("smplx", beta, 0.0), first, second
    )
    assert gain > least, DIRECTIONS[beta].name


def test_arm_length_and_leg_girth_leave_the_rest_alone() -> None:
    names = joint_names("smplx")
    spine = person("smplx").weights[:, [names.index(n) for n in ("pelvis", "spine_1", "neck", "head")]].sum(1)
    for beta in (6, 7):
        moved = np.linalg.norm(dirs("smplx")[:, :, beta], axis=1)
        assert moved[spine > 0.95].max() < 0.002, DIRECTIONS[beta].name


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("gender", GENDERS)
def test_extreme_betas_turn_no_face_inside_out(family: Family, gender: Gender) -> None:
    rest, faces, moves = person(family, gender).vertices, person(family).faces, dirs(family, gender)
    for beta in range(10):
        for value in (-3.0, 3.0):
            assert flipped(rest, rest + value * moves[:, :, beta], faces) == 0, (beta, value)


@pytest.mark.parametrize("seed", range(4))
def test_many_betas_at_once_turn_no_face_inside_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rest, faces = person("smplx").vertices, person("smplx").faces
    betas = np.clip(rng.standard_normal(300), -3.0, 3.0)
    assert flipped(rest, rest + dirs("smplx") @ betas, faces) == 0
    assert flipped(rest, rest + dirs("smplx")[:, :, :10] @ rng.uniform(-3, 3, 10), faces) == 0


def test_small_directions_are_small_smooth_and_never_zero() -> None:
    moved = np.linalg.norm(dirs("smplx")[:, :, 16:], axis=1).max(axis=0)
    assert moved.shape == (284,)
    assert moved.min() > 0.0003
    assert moved.max() < 0.0021
    a, b = person("smplx").faces[:, 0], person("smplx").faces[:, 1]
    edge = np.linalg.norm(person("smplx").vertices[a] - person("smplx").vertices[b], axis=1)
    change = np.linalg.norm(dirs("smplx")[a, :, 16:] - dirs("smplx")[b, :, 16:], axis=1)
    assert (change / edge[:, None]).max() < 0.06


def test_directions_are_independent() -> None:
    flat = dirs("smplx").reshape(-1, 300)
    flat = flat / np.linalg.norm(flat, axis=0)
    assert np.linalg.svd(flat[:, :16], compute_uv=False)[-1] > 0.05
    overlap = np.abs(flat.T @ flat - np.eye(300))
    assert overlap.max() < 0.98


def test_directions_keep_the_symmetry_of_the_mesh() -> None:
    who = person("smplx")
    left, right = np.flatnonzero(who.vertices[:, 0] > 0.05), np.flatnonzero(who.vertices[:, 0] < -0.05)
    mirrored = who.vertices[left] * [-1.0, 1.0, 1.0]
    distance, twin = scipy.spatial.cKDTree(who.vertices[right]).query(mirrored)
    assert np.max(distance) < 1e-5
    for beta in (*range(16), 20, 150, 299):
        moves = dirs("smplx")[:, :, beta]
        assert np.abs(moves[left] * [-1.0, 1.0, 1.0] - moves[right[twin]]).max() < 4e-4, beta


def test_smpl_means_other_things_by_its_numbers() -> None:
    assert stature(shaped("smpl", 0, 1.0)) - stature(person("smpl").vertices) == pytest.approx(
        0.05, abs=0.004
    )
    shoulders = length(joints("smpl", 2, 1.0), "left_shoulder", "right_shoulder")
    assert shoulders - length(joints("smpl", 2, 0.0), "left_shoulder", "right_shoulder") > 0.010
    for beta, row in enumerate(SMPL_MIXTURE[:10]):
        assert row.get(beta) != 1.0 or len(row) > 1, f"beta {beta} is the same in both families"
    assert np.abs(dirs("smpl") - dirs("smplh")[:, :, :10]).max() < 2e-4
