"""Neutral betas against numpy's own least squares, and on bodies whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hmtools.bodies.assets import load_model
from hmtools.bodies.model import Gender
from hmtools.bodies.neutral import NeutralBetas
from hmtools.core.errors import AssetError, GeometryError, UsageError


@pytest.mark.parametrize("gender", ["male", "female"])
def test_is_the_least_squares_answer(golden: Path, gender: Gender) -> None:
    betas = np.random.default_rng(0).normal(size=(3, 16))
    fit = NeutralBetas(roots=(golden,)).fit("smplx", gender, betas)
    neutral, gendered = (load_model("smplx", g, roots=(golden,)) for g in ("neutral", gender))
    basis = neutral.shapedirs[..., :10].astype(np.float64).reshape(-1, 10)
    shift = np.tile(np.eye(3), (len(neutral.v_template), 1))
    for row in range(3):
        rest = gendered.v_template + gendered.shapedirs[..., :16].astype(np.float64) @ betas[row]
        wanted = (rest - neutral.v_template).reshape(-1)
        both = np.hstack([basis, shift])
        answer = np.linalg.lstsq(both, wanted, rcond=None)[0]
        assert np.allclose(fit.betas[row], answer[:10], atol=1e-8)
        left = (wanted - both @ answer).reshape(-1, 3)
        assert fit.rms[row] == pytest.approx(np.sqrt((left**2).sum(1).mean()), rel=1e-9)


def test_neutral_bodies_keep_their_betas(golden: Path) -> None:
    betas = np.random.default_rng(1).normal(size=(2, 4, 10))
    fit = NeutralBetas(roots=(golden,)).fit("smpl", "neutral", betas)
    assert fit.betas.shape == (2, 4, 10)
    assert np.allclose(fit.betas, betas, atol=1e-10)
    assert fit.rms.shape == (2, 4)
    assert np.all(fit.rms < 1e-6)


def test_one_body_gives_one_answer(golden: Path) -> None:
    fit = NeutralBetas(roots=(golden,)).fit("smpl", "male", np.zeros(10))
    assert fit.betas.shape == (10,)
    assert fit.rms.shape == ()


def test_refuses_nan_and_too_many(golden: Path, tmp_path: Path) -> None:
    neutral = NeutralBetas(roots=(golden,))
    with pytest.raises(GeometryError, match="betas of a male smpl"):
        neutral.fit("smpl", "male", [np.nan] * 10)
    with pytest.raises(UsageError, match="the male smpl has 10 components, found 11"):
        neutral.fit("smpl", "male", np.zeros(11))
    with pytest.raises(AssetError, match=str(tmp_path)):
        NeutralBetas(roots=(tmp_path,)).fit("smpl", "male", np.zeros(10))
