"""Hand poses: PCA coefficients, relative to the mean hand, absolute.

Records hold **absolute** hands: 15 axis-angle rotations a side against the flat rest hand, ``flat_hand_mean``
true. Files written with ``flat_hand_mean`` false hold the difference from the model's mean hand, and most
fits hold PCA coefficients of that difference. Mixing them up bends every finger by the mean hand and is hard
to see in a picture. The sum is one of axis-angle numbers, not of rotations: that is how the models define it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float

from hmtools.bodies.model import BodyModel
from hmtools.core.errors import AssetError, UsageError
from hmtools.geometry.arrays import ArrayLike

__all__ = ["Side", "absolute_hand", "hand_from_pca", "relative_hand"]

Side = Literal["left", "right"]


def absolute_hand(relative: ArrayLike, model: BodyModel, side: Side) -> Float[np.ndarray, "*batch 45"]:
    """Add the mean hand: ``flat_hand_mean`` false to true.

    Args:
        relative: (..., 45) axis-angle against the mean hand, radians.
        model: SMPL-H or SMPL-X of the gender the pose was fitted with.
        side: which hand.

    Returns:
        (..., 45) float64, absolute.
    """
    pose: np.ndarray = np.asarray(relative, np.float64) + _mean(model, side)
    return pose


def relative_hand(absolute: ArrayLike, model: BodyModel, side: Side) -> Float[np.ndarray, "*batch 45"]:
    """Take the mean hand off, (..., 45) float64: the inverse of :func:`absolute_hand`."""
    pose: np.ndarray = np.asarray(absolute, np.float64) - _mean(model, side)
    return pose


def hand_from_pca(
    coefficients: ArrayLike, model: BodyModel, side: Side, *, flat_hand_mean: bool
) -> Float[np.ndarray, "*batch 45"]:
    """Absolute hand from PCA coefficients.

    Args:
        coefficients: (..., C) of the first C components; C is 6, 12, 24 or 45 in practice.
        model: SMPL-H or SMPL-X of the gender the pose was fitted with; its basis is the gender's own.
        side: which hand.
        flat_hand_mean: how the source ran its model: false adds the mean hand.

    Returns:
        (..., 45) float64 axis-angle, radians, absolute.

    Raises:
        UsageError: for more coefficients than the model has components.
        AssetError: if the model has no hands.
    """
    values = np.asarray(coefficients, np.float64)
    mean = _mean(model, side)
    if model.hand_components is None:
        raise _no_hands(model)
    basis = np.asarray(model.hand_components[_row(side)], np.float64)
    if values.shape[-1] > len(basis):
        raise UsageError(
            f"{side} hand: {model.path.name} has {len(basis)} PCA components, found {values.shape[-1]} "
            "coefficients; 45 absolute angles need no PCA"
        )
    pose: np.ndarray = values @ basis[: values.shape[-1]]
    return pose if flat_hand_mean else pose + mean


def _row(side: Side) -> int:
    return 0 if side == "left" else 1


def _mean(model: BodyModel, side: Side) -> Float[np.ndarray, 45]:
    if model.hand_mean is None:
        raise _no_hands(model)
    return np.asarray(model.hand_mean[_row(side)], np.float64)


def _no_hands(model: BodyModel) -> AssetError:
    return AssetError(
        f"{model.path}: {model.family} has no hand poses; use the SMPL-H or SMPL-X file of the same gender"
    )
