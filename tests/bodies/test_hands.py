"""Hands: relative, absolute and PCA, as the smplx package has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import smplx
import torch

from hmtools.bodies.assets import load_model
from hmtools.bodies.hands import Side, absolute_hand, hand_from_pca, relative_hand
from hmtools.bodies.layers import BodyLayer
from hmtools.bodies.params import BodyParams
from hmtools.core.errors import AssetError, UsageError


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("components", [6, 12, 45])
def test_pca_hands_equal_the_smplx_package(golden: Path, components: int, flat: bool) -> None:
    rng = np.random.default_rng(0)
    coefficients = {side: rng.normal(size=(2, components)) for side in ("left", "right")}
    theirs = smplx.create(
        str(golden), model_type="smplx", gender="male", use_pca=True, num_pca_comps=components,
        flat_hand_mean=flat, batch_size=2, dtype=torch.float64,
    )(**{f"{side}_hand_pose": torch.as_tensor(value) for side, value in coefficients.items()})  # fmt: skip
    model = load_model("smplx", "male", roots=(golden,))
    sides: tuple[Side, Side] = ("left", "right")
    absolute = {
        f"{s}_hand_pose": hand_from_pca(coefficients[s], model, s, flat_hand_mean=flat) for s in sides
    }
    params = BodyParams.of(absolute, dtype=torch.float64)
    ours = BodyLayer(model, dtype=torch.float64)(params)
    assert (ours.vertices - theirs.vertices).abs().max() <= 1e-6


@pytest.mark.parametrize("side", ["left", "right"])
def test_absolute_and_relative_are_inverse(golden: Path, side: Side) -> None:
    model = load_model("smplx", "neutral", roots=(golden,))
    assert model.hand_mean is not None
    pose = np.random.default_rng(1).normal(size=(4, 45))
    absolute = absolute_hand(pose, model, side)
    assert np.allclose(absolute - pose, model.hand_mean[0 if side == "left" else 1])
    assert np.allclose(relative_hand(absolute, model, side), pose)


def test_more_coefficients_than_components(golden: Path) -> None:
    model = load_model("smplx", "neutral", roots=(golden,))
    with pytest.raises(UsageError, match="45 PCA components, found 46"):
        hand_from_pca(np.zeros(46), model, "left", flat_hand_mean=True)


def test_smpl_has_no_hands(golden: Path) -> None:
    model = load_model("smpl", "neutral", roots=(golden,))
    with pytest.raises(AssetError, match="smpl has no hand poses"):
        absolute_hand(np.zeros(45), model, "left")
