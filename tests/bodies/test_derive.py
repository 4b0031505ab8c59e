"""Derived cells: what they are, what stays empty, and that nothing that was there changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hmtools.bodies.derive import BOX_PADDING, Deriver, derived_columns
from hmtools.bodies.mixed import BodyLayers
from hmtools.bodies.model import Family
from hmtools.bodies.neutral import NeutralBetas
from hmtools.geometry.projection import project
from hmtools.humandata.keypoints import part
from hmtools.humandata.record import Record, columns
from tests.bodies.bodies import random_body

LENS = [-0.2, 0.05, 0.001, 0, 0]
FOCAL, CENTRE, SIZE = (900.0, 910.0), (500.0, 380.0), (1000, 760)


def record(family: Family = "smplx", seed: int = 0, **changes: Any) -> Record:
    """A person four metres in front of the camera, as a converter yields it."""
    params = random_body(family, 1, seed)
    values: dict[str, Any] = {
        f"{family}_{name}": value[0].numpy().astype(np.float32) for name, value in params.given().items()
    }
    values[f"{family}_transl"] = np.array([0.1, -0.2, 4.0], np.float32)
    values |= {"gender": "neutral", "width": SIZE[0], "height": SIZE[1]}
    values |= {
        "focal_length": np.array(FOCAL, np.float32),
        "principal_point": np.array(CENTRE, np.float32),
        "camera_model": "pinhole",
    }
    return Record(**(values | changes))


@pytest.fixture(scope="module")
def derive(golden: Path) -> Deriver:
    return Deriver((golden,))


def posed(golden: Path, family: Family, person: Record) -> np.ndarray:
    from hmtools.bodies.params import BodyParams

    names = {c.name for c in columns() if c.name.startswith(f"{family}_")}
    values = {n.removeprefix(f"{family}_"): getattr(person, n) for n in names}
    params = BodyParams.of({n: v[None] for n, v in values.items() if v is not None}, dtype=torch.float64)
    layers = BodyLayers(family, roots=(golden,), dtype=torch.float64)
    with torch.no_grad():
        return layers(params, person.gender or "neutral").joints[0].numpy()  # type: ignore[arg-type]


@pytest.mark.parametrize(("family", "count"), [("smplx", 144), ("smpl", 45)])
def test_joints_and_their_projection(golden: Path, derive: Deriver, family: Family, count: int) -> None:
    person = record(family)
    derive.fill([person])
    joints = posed(golden, family, person)
    found3d, found2d = (getattr(person, f"keypoints{d}_{family}") for d in ("3d", "2d"))
    assert found3d.shape == (count, 4)
    assert found3d.dtype == found2d.dtype == np.float32
    assert np.array_equal(found3d, np.hstack([joints, np.ones((count, 1))]).astype(np.float32))
    assert np.allclose(found2d[:, :2], project(joints, FOCAL, CENTRE), atol=1e-3)
    assert (found2d[:, 2] == 1).all()


def test_the_camera_model_is_used(derive: Deriver) -> None:
    plain, bent = (
        record(),
        record(camera_model="opencv5", distortion=np.array(LENS, np.float32)),
    )
    derive.fill([plain, bent])
    moved = np.abs(plain.keypoints2d_smplx - bent.keypoints2d_smplx)[:, :2].max()
    assert 0.5 < moved < 100


def test_batches_of_mixed_families_and_genders_equal_single_people(derive: Deriver) -> None:
    def people() -> list[Record]:
        families: list[Family] = ["smplx", "smpl", "smplx", "smplx", "smpl"]
        genders = ["male", "female", "neutral", "male", "neutral"]
        return [record(f, i, gender=g) for i, (f, g) in enumerate(zip(families, genders, strict=True))]

    together, alone = people(), people()
    derive.fill(together)
    for person in alone:
        derive.fill([person])
    for one, other in zip(together, alone, strict=True):
        for name in derived_columns(("smplx", "smpl")):
            a, b = getattr(one, name), getattr(other, name)
            assert (a is None) == (b is None), name
            assert a is None or np.allclose(a, b, atol=1e-4), name


def test_boxes_are_extents_of_their_joints(derive: Deriver) -> None:
    person = record()
    derive.fill([person])
    points = person.keypoints2d_smplx[:, :2].astype(np.float64)
    for name, rows in (
        ("bbox_xywh", range(144)),
        ("lhand_bbox_xywh", part("smplx_144", "left_hand")),
        ("rhand_bbox_xywh", part("smplx_144", "right_hand")),
        ("face_bbox_xywh", part("smplx_144", "head")),
    ):
        own = points[list(rows)]
        low, high = own.min(0), own.max(0)
        middle, half = (low + high) / 2, (high - low) / 2 * BOX_PADDING[name]
        first = np.maximum(middle - half, -0.5)
        last = np.minimum(middle + half, np.array(SIZE) - 0.5)
        assert np.allclose(getattr(person, name), [*first, *(last - first), 1], atol=1e-3), name


def test_what_is_there_stays(derive: Deriver) -> None:
    marks: dict[str, Any] = {
        "bbox_xywh": np.array([1, 2, 3, 4, 1], np.float32),
        "lhand_bbox_xywh": np.array([1, 2, 3, 4, 0.5], np.float32),
        "keypoints2d_smplx": np.full((144, 3), 7, np.float32),
        "betas_neutral": np.full(10, 8, np.float32),
    }
    person = record(gender="male", **{name: value.copy() for name, value in marks.items()})
    derive.fill([person])
    for name, value in marks.items():
        assert np.array_equal(getattr(person, name), value), name
    assert person.keypoints3d_smplx is not None
    assert person.rhand_bbox_xywh is None  # a set with boxes of its own leaves out hands that it cannot see


EMPTY: dict[str, dict[str, Any]] = {
    "no translation": {"smplx_transl": None},
    "no shape": {"smplx_betas": None},
    "no pose": {"smplx_body_pose": None},
    "not to be used": {"valid_smplx": False},
}


@pytest.mark.parametrize("case", EMPTY)
def test_stays_empty(derive: Deriver, case: str) -> None:
    person = record(**EMPTY[case])
    derive.fill([person])
    assert all(getattr(person, name) is None for name in derived_columns(("smplx",)))


def test_without_a_camera_there_are_joints_but_no_pixels(derive: Deriver) -> None:
    person = record(focal_length=None)
    derive.fill([person])
    assert person.keypoints3d_smplx is not None
    assert person.keypoints2d_smplx is None
    assert person.bbox_xywh is None


@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        ({"smplx_left_hand_pose": None}, part("smplx_144", "left_hand")),
        ({"valid_rhand": False}, part("smplx_144", "right_hand")),
        ({"valid_face": False}, range(76, 144)),
        ({"smplx_jaw_pose": None, "smplx_expression": None}, range(76, 144)),
    ],
)
def test_unknown_joints_have_no_confidence(derive: Deriver, changes: dict[str, Any], rows: Any) -> None:
    person = record(**changes)
    derive.fill([person])
    unknown = np.zeros(144, bool)
    unknown[list(rows)] = True
    for name in ("keypoints2d_smplx", "keypoints3d_smplx"):
        assert np.array_equal(getattr(person, name)[:, -1] == 0, unknown), name


def test_points_behind_the_camera_have_no_pixel(derive: Deriver) -> None:
    person = record(smplx_transl=np.array([0, 0, 0.1], np.float32))
    derive.fill([person])
    behind = person.keypoints3d_smplx[:, 2] <= 0
    assert 0 < behind.sum() < 144
    assert np.array_equal(person.keypoints2d_smplx[:, 2] == 0, behind)
    assert np.isfinite(person.keypoints2d_smplx).all()


def test_people_out_of_the_image_get_no_box(derive: Deriver) -> None:
    person = record(smplx_transl=np.array([40, 0, 4], np.float32))
    derive.fill([person])
    assert person.bbox_xywh is None


def test_smplh_gives_boxes_only(derive: Deriver) -> None:
    person = record("smplh")
    derive.fill([person])
    assert person.bbox_xywh is not None
    assert person.lhand_bbox_xywh is not None
    assert person.keypoints3d_smplx is None


def test_betas_of_the_neutral_model(golden: Path, derive: Deriver) -> None:
    male, neutral, kid = record(gender="male"), record(), record(gender="male", kid=0.5)
    derive.fill([male, neutral, kid])
    expected = NeutralBetas(roots=(golden,)).fit("smplx", "male", male.smplx_betas).betas
    assert np.array_equal(male.betas_neutral, expected.astype(np.float32))
    assert neutral.betas_neutral is None  # they are its betas
    assert kid.betas_neutral is None  # the neutral ten say nothing about a child
    assert not np.allclose(kid.keypoints3d_smplx, replace(male).keypoints3d_smplx)


def test_missing_models_are_noted_and_leave_the_rest(golden: Path, tmp_path: Path) -> None:
    (tmp_path / "SMPLX_NEUTRAL.npz").symlink_to(golden / "smplx/SMPLX_NEUTRAL.npz")
    derive = Deriver((tmp_path,))
    male, neutral = record(gender="male"), record()
    derive.fill([male, neutral])
    assert neutral.keypoints3d_smplx is not None
    assert male.keypoints3d_smplx is None
    assert male.bbox_xywh is None
    assert list(derive.needs) == ["smplx_male"]


def test_a_child_without_its_template_costs_nobody_else_theirs(golden: Path, tmp_path: Path) -> None:
    (tmp_path / "SMPLX_MALE.npz").symlink_to(golden / "smplx/SMPLX_MALE.npz")
    derive = Deriver((tmp_path,))
    people = [record(gender="male"), record(gender="male", kid=0.5), record(gender="male", seed=1)]
    derive.fill(people)
    derive.fill(later := [record(gender="male", seed=2)])
    assert [p.keypoints3d_smplx is not None for p in (*people, *later)] == [True, False, True, True]
    assert sorted(derive.needs) == ["smplx_kid_template", "smplx_neutral"]


def test_longer_betas_than_the_model_has_are_noted_and_leave_the_rest(golden: Path) -> None:
    derive = Deriver((golden,))
    long, short = record("smpl", smpl_betas=np.zeros(16, np.float32)), record("smpl")
    derive.fill([long, short])
    assert long.keypoints3d_smpl is None
    assert short.keypoints3d_smpl is not None
    assert list(derive.needs) == ["smpl_neutral_betas"]
    assert derive.needs["smpl_neutral_betas"].startswith("the data has 16 betas, SMPL_NEUTRAL.pkl has 10:")


def test_bodies_that_may_not_supervise_have_no_neutral_shape(derive: Deriver) -> None:
    person = record(gender="male", valid_smplx=False)
    derive.fill([person])
    assert person.betas_neutral is None


def test_same_records_same_bytes_whatever_the_threads(golden: Path) -> None:
    found = []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        people = [record(seed=i) for i in range(30)]
        Deriver((golden,)).fill(people)
        assert torch.get_num_threads() == threads
        found.append(b"".join(p.keypoints2d_smplx.tobytes() + p.keypoints3d_smplx.tobytes() for p in people))
    torch.set_num_threads(before)
    assert found[0] == found[1]
