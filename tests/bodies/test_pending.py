"""Columns that wait for a model: held, settled all or none, and never over what is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from hmtools.bodies.camera import transform_to_camera
from hmtools.bodies.derive import Deriver
from hmtools.bodies.hands import absolute_hand, hand_from_pca
from hmtools.bodies.layers import BodyLayer
from hmtools.bodies.mixed import BodyLayers
from hmtools.bodies.model import Family, Gender
from hmtools.bodies.params import BodyParams
from hmtools.bodies.pending import (
    drop_pending,
    families_pending,
    hold_hand,
    hold_hand_pca,
    hold_in_world,
    settle,
)
from hmtools.core.errors import AssetError, GeometryError, SchemaError
from hmtools.humandata.record import Record

RELATIVE = np.linspace(-0.7, 0.7, 45)
WORLD_TO_CAM = np.hstack(
    [Rotation.from_rotvec([0.4, 2.0, -0.8]).as_matrix(), np.array([[0.5], [-1.5], [4.0]])]
)
ORIENT, TRANSL = np.array([0.1, 1.2, -0.3]), np.array([2.0, 0.4, -1.0])


@pytest.fixture(scope="module")
def layers(golden: Path) -> dict[tuple[Family, Gender], BodyLayer]:
    wanted: list[tuple[Family, Gender]] = [("smplx", "female"), ("smplh", "male"), ("smpl", "neutral")]
    return {
        (family, gender): BodyLayers(family, roots=(golden,), dtype=torch.float64).layer(gender)
        for family, gender in wanted
    }


@pytest.fixture(scope="module")
def deriver(golden: Path) -> Deriver:
    return Deriver((golden,))


def pelvis() -> np.ndarray[Any, Any]:
    return np.array([0.1, 0.2, 0.3])


@pytest.mark.parametrize(("family", "gender"), [("smplx", "female"), ("smplh", "male")])
def test_a_hand_becomes_absolute(layers: Any, family: Family, gender: Gender) -> None:
    model = layers[family, gender].model
    record = Record(gender=gender, meta='{"ann_id":4}')
    hold_hand(record, family, "left", RELATIVE)
    hold_hand(record, family, "right", -RELATIVE)
    assert getattr(record, f"{family}_left_hand_pose") is None
    assert families_pending(record) == [family]
    settle(record, family, model, pelvis)
    for side, relative in (("left", RELATIVE), ("right", -RELATIVE)):
        found = getattr(record, f"{family}_{side}_hand_pose")
        assert found.dtype == np.float32
        assert np.array_equal(found, absolute_hand(relative, model, side).astype(np.float32))  # type: ignore[arg-type]
        assert not np.allclose(found, relative, atol=1e-2), "the mean hand is not flat"
    assert record.meta == '{"ann_id":4}'
    assert families_pending(record) == []


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("count", [6, 12, 45])
def test_a_hand_in_pca_takes_the_basis_of_its_own_gender(layers: Any, count: int, flat: bool) -> None:
    model = layers["smplx", "female"].model
    record = Record(gender="female")
    coefficients = np.linspace(-2, 1, count)
    hold_hand_pca(record, "smplx", "right", coefficients, flat_hand_mean=flat)
    assert families_pending(record) == ["smplx"]
    settle(record, "smplx", model, pelvis)
    wanted = hand_from_pca(coefficients, model, "right", flat_hand_mean=flat)
    assert np.array_equal(record.smplx_right_hand_pose, wanted.astype(np.float32))
    assert record.meta is None


@pytest.mark.parametrize("values", [np.zeros(0), np.zeros(46), np.zeros((1, 12)), [np.nan] * 12])
def test_what_are_no_pca_coefficients_is_refused(values: Any) -> None:
    with pytest.raises(ValueError, match="1 to 45"):
        hold_hand_pca(Record(), "smplx", "left", values, flat_hand_mean=False)


@pytest.mark.parametrize(("family", "gender"), [("smplx", "female"), ("smplh", "male"), ("smpl", "neutral")])
def test_a_body_in_the_world_keeps_its_joints(
    deriver: Deriver, layers: Any, family: Family, gender: Gender
) -> None:
    """What the deriver fills puts every joint where the camera sees it."""
    betas = np.linspace(-2, 2, 10).astype(np.float32)
    record = Record(gender=gender)
    setattr(record, f"{family}_betas", betas)
    hold_in_world(record, family, ORIENT, TRANSL, WORLD_TO_CAM)
    oriented = getattr(record, f"{family}_global_orient")
    assert getattr(record, f"{family}_transl") is None
    deriver.fill([record])
    layer = layers[family, gender]

    def joints(orient: Any, transl: Any) -> np.ndarray[Any, Any]:
        values = {"global_orient": orient, "transl": transl, "betas": betas}
        params = BodyParams.of({n: np.array(v)[None] for n, v in values.items()}, dtype=torch.float64)
        with torch.no_grad():
            found: np.ndarray[Any, Any] = layer(params, vertices=False).joints[0, :22].numpy()
            return found

    found = getattr(record, f"{family}_transl")
    assert found.dtype == np.float32
    wanted = joints(ORIENT, TRANSL) @ WORLD_TO_CAM[:, :3].T + WORLD_TO_CAM[:, 3]
    np.testing.assert_allclose(joints(oriented, found), wanted, atol=1e-6)
    assert record.meta is None, "nothing is left of what waited"


@pytest.mark.parametrize("changes", [{"kid": 0.8}, {"smplx_expression": np.full(10, 3, np.float32)}])
def test_a_kid_and_an_expression_move_the_pelvis(
    deriver: Deriver, layers: Any, changes: dict[str, Any]
) -> None:
    found = []
    for more in ({}, changes):
        record = Record(gender="female", smplx_betas=np.zeros(10, np.float32), **more)
        hold_in_world(record, "smplx", ORIENT, TRANSL, WORLD_TO_CAM)
        deriver.fill([record])
        found.append(record.smplx_transl)
    names = {"kid": "kid", "smplx_expression": "expression"}
    params = BodyParams.of({names[n]: np.array([v]) for n, v in changes.items()}, dtype=torch.float64)
    own = layers["smplx", "female"].rest_pelvis(params)[0].numpy()
    _, wanted = transform_to_camera(ORIENT, TRANSL, own, WORLD_TO_CAM)
    np.testing.assert_allclose(found[1], wanted, atol=1e-6)
    assert np.abs(found[1] - found[0]).max() > 1e-3


def test_what_is_there_stays(layers: Any) -> None:
    record = Record(gender="female", smplx_left_hand_pose=np.ones(45, np.float32))
    hold_hand(record, "smplx", "left", RELATIVE)
    settle(record, "smplx", layers["smplx", "female"].model, pelvis)
    assert (record.smplx_left_hand_pose == 1).all()
    assert record.meta is None


def test_other_families_keep_waiting(layers: Any) -> None:
    record = Record(gender="female")
    hold_hand(record, "smplx", "left", RELATIVE)
    hold_hand(record, "smplh", "left", RELATIVE)
    assert set(families_pending(record)) == {"smplh", "smplx"}
    settle(record, "smplx", layers["smplx", "female"].model, pelvis)
    assert families_pending(record) == ["smplh"]
    assert record.smplh_left_hand_pose is None
    assert record.smplx_left_hand_pose is not None


def test_all_or_none(layers: Any) -> None:
    """The translation could be settled, the hand could not."""
    record = Record(gender="neutral")
    hold_in_world(record, "smpl", ORIENT, TRANSL, WORLD_TO_CAM)
    hold_hand(record, "smpl", "left", RELATIVE)
    before = record.meta
    with pytest.raises(AssetError, match="no hand poses"):
        settle(record, "smpl", layers["smpl", "neutral"].model, pelvis)
    assert (record.meta, record.smpl_transl) == (before, None)


def test_a_model_that_is_missing_is_a_need_and_nothing_changes(golden: Path, tmp_path: Path) -> None:
    (tmp_path / "SMPLX_NEUTRAL.npz").symlink_to(golden / "smplx/SMPLX_NEUTRAL.npz")
    people = [Record(gender=gender) for gender in ("male", "neutral", None, "male")]
    for person in people:
        hold_hand(person, "smplx", "right", RELATIVE)
    deriver = Deriver((tmp_path,))
    deriver.fill(people)
    assert list(deriver.needs) == ["smplx_male"]
    assert [person.smplx_right_hand_pose is not None for person in people] == [False, True, True, False]
    assert [person.meta is None for person in people] == [False, True, True, False]


def test_the_company_of_a_record_does_not_change_it(deriver: Deriver) -> None:
    def people() -> list[Record]:
        rng = np.random.default_rng(3)
        found = []
        for _ in range(7):
            record = Record(gender="male", smplx_betas=rng.standard_normal(10).astype(np.float32))
            hold_in_world(record, "smplx", rng.standard_normal(3), rng.standard_normal(3), WORLD_TO_CAM)
            found.append(record)
        return found

    together, alone = people(), people()
    deriver.fill(together)
    for record in alone:
        deriver.fill([record])
    for one, other in zip(together, alone, strict=True):
        assert one.smplx_transl.tobytes() == other.smplx_transl.tobytes()


@pytest.mark.parametrize("values", [np.zeros(44), np.zeros((3, 15)), np.full(45, np.nan), np.full(45, 1e39)])
def test_what_is_no_hand_is_refused(values: Any) -> None:
    record = Record()
    with pytest.raises(ValueError, match="smplx_left_hand_pose: expected"):
        hold_hand(record, "smplx", "left", values)
    assert record.meta is None


def test_what_is_no_camera_is_refused() -> None:
    record = Record()
    with pytest.raises(GeometryError, match="rotation"):
        hold_in_world(record, "smplx", ORIENT, TRANSL, 2 * WORLD_TO_CAM)
    with pytest.raises(ValueError, match="smplx_transl: expected"):
        hold_in_world(record, "smplx", ORIENT, TRANSL * np.nan, WORLD_TO_CAM)
    assert (record.meta, record.smplx_global_orient) == (None, None)


@pytest.mark.parametrize(
    "meta",
    [
        '"pending"',
        '{"pending"',
        '{"pending":3}',
        '{"pending":{"smplx_transl":3}}',
        '{"pending":{"smplx_transl":{}}}',
        '{"pending":{"smplx_transl":{"moved":[1,2],"rotation":[[1,0,0],[0,1,0],[0,0,1]]}}}',
        '{"pending":{"smplx_transl":{"moved":[1,2,"x"],"rotation":[[1,0,0],[0,1,0],[0,0,1]]}}}',
        '{"pending":{"smplx_left_hand_pose":{"relative":[NaN]}}}',
        '{"pending":{"smplx_left_hand_pose":{"moved":[1,2,3]}}}',
        '{"pending":{"smplx_betas":{"relative":[1,2,3]}}}',
        '{"pending":{"smplx_left_hand_pose":{"relative":' + json.dumps([float("nan")] * 45) + "}}}",
    ],
)
def test_meta_that_was_tampered_with(layers: Any, meta: str) -> None:
    record = Record(key="a/b/c/000001_0", gender="female", meta=meta)
    with pytest.raises(SchemaError, match="meta"):
        settle(record, "smplx", layers["smplx", "female"].model, pelvis)
    assert record.meta == meta


@pytest.mark.parametrize("meta", [None, "{}", '{"note":"pending"}', '{"x":{"pending":1}}'])
def test_meta_of_records_that_wait_for_nothing(layers: Any, meta: str | None) -> None:
    record = Record(meta=meta)
    assert families_pending(record) == []
    settle(record, "smplx", layers["smplx", "female"].model, pelvis)
    assert record.meta == meta


def test_dropping() -> None:
    record = Record(meta='{"b":1}')
    hold_hand(record, "smplx", "left", RELATIVE)
    hold_hand(record, "smplx", "right", RELATIVE)
    columns = ["smplx_left_hand_pose", "smplx_right_hand_pose"]
    assert drop_pending(record.meta, []) == record.meta
    assert drop_pending(record.meta, ["smplx_transl"]) == record.meta
    half = json.loads(drop_pending(record.meta, columns[:1]) or "")
    assert (list(half["pending"]), half["b"]) == (columns[1:], 1)
    assert drop_pending(record.meta, columns) == '{"b":1}'
    assert drop_pending(None, columns) is None


def test_huge_angles_are_refused_without_a_warning() -> None:
    with pytest.raises(ValueError, match="SVD"):
        hold_in_world(Record(), "smplx", np.full(3, 1e300), TRANSL, WORLD_TO_CAM)
