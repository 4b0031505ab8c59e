"""Betas of the neutral model that come closest to a gendered body.

Training on one shape space needs every body in it: SMPLer-X trains on ``betas_neutral``, which its authors
made with networks they did not publish. Here they are the least-squares answer on the rest mesh: neutral
template plus ten directions plus a free shift against the gendered rest mesh, each vertex counted alike. The
answer is linear in the gendered betas, so it is one small matrix a gender.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from hmtools.bodies import assets
from hmtools.bodies.model import BodyModel, Family, Gender
from hmtools.core.errors import GeometryError, UsageError
from hmtools.geometry.arrays import ArrayLike

__all__ = ["NUM_BETAS", "NeutralBetas", "NeutralFit"]

NUM_BETAS = 10
"""Length of ``betas_neutral``."""


@dataclass(frozen=True, slots=True, eq=False)
class NeutralFit:
    """Betas of the neutral model, and how far its rest mesh stays away.

    Attributes:
        betas: (..., 10) float64.
        rms: (...,) metres, root mean square distance over the vertices of the two rest meshes, after the
            shift.
    """

    betas: Float[np.ndarray, "*batch 10"]
    rms: Float[np.ndarray, "*batch"]


@dataclass(frozen=True, slots=True, eq=False)
class _Map:
    """``betas_neutral = offset + matrix @ betas`` and the Gram matrix of what is left of the mesh."""

    offset: Float[np.ndarray, 10]
    matrix: Float[np.ndarray, "10 s"]
    gram: Float[np.ndarray, "t t"]
    vertices: int


class NeutralBetas:
    """Fits of the neutral shape; one small matrix is made for each family and gender when first needed.

    Args:
        roots: folders to look for model files in; the setting ``body_models`` by default.
    """

    def __init__(self, *, roots: Sequence[Path] | None = None) -> None:
        self._roots = roots
        self._maps: dict[tuple[Family, Gender], _Map] = {}

    def fit(self, family: Family, gender: Gender, betas: ArrayLike) -> NeutralFit:
        """The neutral shape nearest to gendered ones.

        Args:
            family: smpl, smplh or smplx.
            gender: of the model that ``betas`` belong to.
            betas: (..., S), at most as many as that model has.

        Returns:
            Neutral betas and the distance that remains.

        Raises:
            AssetError: if a model file is missing.
            UsageError: for more betas than the model has.
            GeometryError: for NaN or infinity.
        """
        values = np.asarray(betas, np.float64)
        if not np.isfinite(values).all():
            raise GeometryError(
                f"betas of a {gender} {family}: expected finite numbers, found NaN or infinity"
            )
        if (family, gender) not in self._maps:
            neutral = assets.load_model(family, "neutral", roots=self._roots)
            self._maps[family, gender] = _solve(neutral, assets.load_model(family, gender, roots=self._roots))
        own = self._maps[family, gender]
        count = values.shape[-1]
        if count > own.matrix.shape[1]:
            raise UsageError(
                f"betas: the {gender} {family} has {own.matrix.shape[1]} components, found {count}"
            )
        extended = np.concatenate([np.ones((*values.shape[:-1], 1)), values], axis=-1)
        gram = own.gram[: count + 1, : count + 1]
        square = np.einsum("...i,ij,...j->...", extended, gram, extended)
        rms = np.sqrt(np.maximum(square, 0) / own.vertices)
        return NeutralFit(own.offset + values @ own.matrix[:, :count].T, np.asarray(rms))


def _solve(neutral: BodyModel, gendered: BodyModel) -> _Map:
    def centred(directions: ArrayLike) -> Float[np.ndarray, "n c"]:
        array = np.asarray(directions, np.float64)
        array = array.reshape(len(array), 3, -1)
        free: np.ndarray = array - array.mean(0)  # of any shift
        return free.reshape(len(array) * 3, -1)

    basis = centred(neutral.shapedirs[..., :NUM_BETAS])
    difference = np.asarray(gendered.v_template, np.float64) - np.asarray(neutral.v_template, np.float64)
    wanted = np.hstack([centred(difference), centred(gendered.shapedirs)])
    answer = np.linalg.lstsq(basis, wanted, rcond=None)[0]
    left = wanted - basis @ answer
    return _Map(answer[:, 0], answer[:, 1:], left.T @ left, len(gendered.v_template))
