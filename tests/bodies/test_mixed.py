"""Batches of mixed genders and kids are the single bodies, each in its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hmtools.bodies.mixed import BodyLayers
from hmtools.bodies.model import Gender
from hmtools.bodies.params import BodyParams
from hmtools.core.errors import AssetError, GeometryError, UsageError
from tests.bodies.bodies import random_body

GENDERS: list[Gender] = ["male", "neutral", "female", "male", "neutral"]


@pytest.fixture(scope="module")
def layers(golden: Path) -> BodyLayers:
    return BodyLayers("smplx", roots=(golden,), dtype=torch.float64)


@pytest.mark.parametrize("vertices", [True, False])
def test_mixed_batch_equals_single_bodies(layers: BodyLayers, vertices: bool) -> None:
    kid = torch.tensor([0, 0.4, 0, 1, 0], dtype=torch.float64)
    params = replace(random_body("smplx", 5), kid=kid)
    with torch.no_grad():
        mixed = layers(params, GENDERS, vertices=vertices)
        for row, gender in enumerate(GENDERS):
            alone = layers(params.select([row]), gender, vertices=vertices)
            assert torch.allclose(mixed.joints[row], alone.joints[0], atol=1e-12)
            assert torch.allclose(mixed.rest_pelvis[row], alone.rest_pelvis[0], atol=1e-12)
            if vertices:
                assert mixed.vertices is not None
                assert alone.vertices is not None
                assert torch.allclose(mixed.vertices[row], alone.vertices[0], atol=1e-12)


def test_one_shape_for_bodies_of_two_genders(layers: BodyLayers) -> None:
    params = replace(random_body("smplx", 3), betas=torch.ones(1, 10, dtype=torch.float64))
    with torch.no_grad():
        mixed = layers(params, ["male", "female", "male"], vertices=False)
        alone = layers(params.select([1]), "female", vertices=False)
    assert torch.allclose(mixed.joints[1], alone.joints[0], atol=1e-12)


def test_one_body_for_several_genders(layers: BodyLayers) -> None:
    with torch.no_grad():
        mixed = layers(BodyParams(), ["male", "male", "female"], vertices=False)
    assert mixed.joints.shape == (3, 144, 3)
    assert torch.equal(mixed.joints[0], mixed.joints[1])
    assert not torch.equal(mixed.joints[0], mixed.joints[2])


def test_rest_pelvis_follows_the_gender(layers: BodyLayers) -> None:
    params = random_body("smplx", 5)
    with torch.no_grad():
        assert torch.allclose(
            layers.rest_pelvis(params, GENDERS), layers(params, GENDERS).rest_pelvis, atol=1e-12
        )


def test_layers_without_a_surface_give_joints_alone(golden: Path, layers: BodyLayers) -> None:
    small = BodyLayers("smplx", roots=(golden,), dtype=torch.float64, surface=False)
    params = random_body("smplx", 2)
    with torch.no_grad():
        assert torch.equal(small(params, vertices=False).joints, layers(params, vertices=False).joints)
        with pytest.raises(UsageError, match=r"SMPLX_NEUTRAL\.npz was made with surface=False"):
            small(params)


def test_nan_is_refused_unless_the_check_is_left_out(layers: BodyLayers) -> None:
    params = BodyParams(transl=torch.full((1, 3), float("nan"), dtype=torch.float64))
    with pytest.raises(GeometryError, match="smplx transl"):
        layers(params)
    assert layers(params, vertices=False, check=False).joints.isnan().all()


def test_unknown_gender_names_the_known_ones(layers: BodyLayers) -> None:
    with pytest.raises(UsageError, match=r"expected neutral, male, female, found 'femal'.*did you mean"):
        BodyLayers.layer.__wrapped__(layers, "femal")  # type: ignore[attr-defined] # behind the type check of tests


def test_count_of_genders_must_fit(layers: BodyLayers) -> None:
    with pytest.raises(UsageError, match="one gender for each of 3 bodies, found 2"):
        layers(random_body("smplx", 3), ["male", "female"])


def test_missing_model_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=str(tmp_path)):
        BodyLayers("smpl", roots=(tmp_path,)).layer("male")
