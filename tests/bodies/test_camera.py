"""Parameters moved into the camera give the moved vertices, for every family, gender and kid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from hmtools.bodies.camera import transform_to_camera
from hmtools.bodies.mixed import BodyLayers
from hmtools.bodies.model import FAMILIES, GENDERS, Family
from hmtools.core.errors import GeometryError
from tests.bodies.bodies import random_body

TOLERANCE = 1e-6  # metres


def cameras(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rotation = Rotation.random(count, rng=rng).as_matrix()
    return np.concatenate([rotation, rng.normal(0, 3, (count, 3, 1))], axis=2)


@pytest.mark.parametrize("family", FAMILIES)
def test_vertices_and_joints_are_r_v_plus_t(golden: Path, family: Family) -> None:
    layers = BodyLayers(family, roots=(golden,), dtype=torch.float64)
    genders, camera = [*GENDERS, "neutral", "male"], cameras(5)
    params = random_body(family, 5)
    if family != "smplh":
        params = replace(params, kid=torch.tensor([0, 0, 0, 0.5, 1], dtype=torch.float64))
    assert params.global_orient is not None
    assert params.transl is not None
    pelvis = layers.rest_pelvis(params, genders).numpy()
    orient, transl = transform_to_camera(params.global_orient, params.transl, pelvis, camera)
    moved = replace(params, global_orient=torch.as_tensor(orient), transl=torch.as_tensor(transl))
    with torch.no_grad():
        before, after = layers(params, genders), layers(moved, genders)
    assert before.vertices is not None
    assert after.vertices is not None
    for name, world, found in (
        ("vertices", before.vertices, after.vertices),
        ("joints", before.joints[:, :127], after.joints[:, :127]),  # the jaw contour is not rigid
    ):
        expected = np.einsum("bij,bnj->bni", camera[:, :, :3], world.numpy()) + camera[:, None, :, 3]
        assert np.abs(found.numpy() - expected).max() <= TOLERANCE, name
    # What forgetting the pelvis would cost, so that this test is known to see it.
    wrong = np.einsum("bij,bj->bi", camera[:, :, :3], params.transl.numpy()) + camera[:, :, 3]
    assert np.linalg.norm(wrong - transl, axis=1).min() > 0.002


def test_accepts_4x4_and_one_camera_for_many() -> None:
    camera = np.eye(4)
    camera[:3] = cameras(1)[0]
    rng = np.random.default_rng(1)
    orient, transl, pelvis = rng.normal(size=(3, 7, 3))
    whole = transform_to_camera(orient, transl, pelvis, camera)
    for row in range(7):
        alone = transform_to_camera(orient[row], transl[row], pelvis[row], camera[:3])
        assert np.allclose(whole[0][row], alone[0])
        assert np.allclose(whole[1][row], alone[1])


@given(st.integers(0, 2**31))
def test_there_and_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    orient, transl, pelvis = rng.normal(size=(3, 3))
    camera = cameras(1, seed)[0]
    back = np.concatenate([camera[:, :3].T, -camera[:, :3].T @ camera[:, 3:]], axis=1)
    there = transform_to_camera(orient, transl, pelvis, camera)
    again = transform_to_camera(there[0], there[1], pelvis, back)
    assert np.allclose(Rotation.from_rotvec(again[0]).as_matrix(), Rotation.from_rotvec(orient).as_matrix())
    assert np.allclose(again[1], transl)


@pytest.mark.parametrize("damage", ["mirror", "scale", "nan"])
def test_refuses_what_is_no_rotation(damage: str) -> None:
    camera = cameras(1)[0]
    if damage == "mirror":
        camera[0] *= -1
    else:
        camera[:, :3] *= 1.01 if damage == "scale" else np.nan
    with pytest.raises(GeometryError, match=r"world_to_cam: expected a rotation"):
        transform_to_camera(np.zeros(3), np.zeros(3), np.zeros(3), camera)
