"""The similarity that takes one set of points closest to another (Umeyama 1991), batched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from hmtools.core.errors import GeometryError, UsageError
from hmtools.geometry.arrays import refuse

__all__ = ["Degenerate", "Similarity", "pa_align", "similarity"]

Degenerate = Literal["raise", "nan"]
_COINCIDE = 1e-12  # spread over size below which float64 points are one point


@dataclass(frozen=True, slots=True)
class Similarity:
    """``x -> scale R x + translation``, one per batch item.

    Attributes:
        scale: (...) float64, >= 0.
        rotation: (..., 3, 3) float64, determinant +1 always: mirror images are never made to fit.
        translation: (..., 3) float64, in the unit of the target.
    """

    scale: Float[Tensor, "*batch"]
    rotation: Float[Tensor, "*batch 3 3"]
    translation: Float[Tensor, "*batch 3"]

    def apply(self, points: Float[Tensor, "*batch n 3"]) -> Float[Tensor, "*batch n 3"]:
        """Move points (..., N, 3); computed in float64, returned in the dtype of ``points``."""
        turned = points.double() @ self.rotation.mT
        moved = self.scale[..., None, None] * turned + self.translation[..., None, :]
        return moved.to(points.dtype)


def similarity(
    source: Float[Tensor, "*batch n 3"],
    target: Float[Tensor, "*batch n 3"],
    weights: Float[Tensor, "*batch n"] | None = None,
    *,
    scale: bool = True,
    degenerate: Degenerate = "raise",
) -> Similarity:
    """The motion of ``source`` with the least (weighted) sum of squared distances to ``target``.

    Computed in float64 by an SVD per item. Points in a plane have one answer; points on a line leave the turn
    about it open, and one of the equally good answers is given. Gradients are not meant to flow through.

    Args:
        source: (..., N, 3), N >= 3, any unit.
        target: (..., N, 3).
        weights: (..., N) >= 0; points of weight 0 are ignored, and may be NaN. None weighs all alike.
        scale: whether to fit a scale; otherwise it is 1.
        degenerate: what items do that have no answer (fewer than 3 points of weight > 0, all source or all
            target points in one place, values that are not finite): ``raise``, or ``nan`` for the whole item.

    Returns:
        The similarities, one per batch item.

    Raises:
        GeometryError: for items without an answer, naming the first, if asked to raise; for N < 3.
        UsageError: if the shapes do not fit, or a weight is negative.
    """
    if source.shape != target.shape or source.ndim < 2 or source.shape[-1] != 3:
        raise UsageError(
            f"expected source and target of one shape (..., N, 3), got {tuple(source.shape)} and "
            f"{tuple(target.shape)}"
        )
    if source.shape[-2] < 3:
        raise GeometryError(f"expected at least 3 points to align, got {source.shape[-2]}")
    with torch.no_grad():
        w = _weights(source, weights)
        a, b = (torch.where(w[..., None] > 0, x.double(), 0.0) for x in (source, target))
        finite = a.isfinite().all(-1).all(-1) & b.isfinite().all(-1).all(-1)
        finite &= w.isfinite().all(-1)
        few = (w > 0).sum(-1) < 3
        usable = finite & ~few
        # Items without an answer go through the SVD as zeros: one NaN would fail the whole batch.
        a, b = (torch.where(usable[..., None, None], x, 0.0) for x in (a, b))
        w = torch.where(usable[..., None], w, 1.0)
        w = w / w.sum(-1, keepdim=True)
        centre_a, a, flat_a = _centred(a, w)
        centre_b, b, flat_b = _centred(b, w)
        if degenerate == "raise":
            refuse(~finite, "items have points or weights that are not finite")
            refuse(few, "items have fewer than 3 points of weight > 0")
            refuse(flat_a, "items have all source points in one place")
            refuse(flat_b, "items have all target points in one place")
        u, singular, vh = torch.linalg.svd((w[..., None] * b).mT @ a)
        sign = torch.ones_like(singular)
        sign[..., 2] = torch.linalg.det(u @ vh).sign()
        rotation = (u * sign[..., None, :]) @ vh
        spread = (w * a.square().sum(-1)).sum(-1)
        factor = (singular * sign).sum(-1) / spread if scale else torch.ones_like(spread)
        bad = ~usable | flat_a | flat_b
        factor = torch.where(bad, torch.nan, factor)
        rotation = torch.where(bad[..., None, None], torch.nan, rotation)
        turned = (rotation @ centre_a[..., None])[..., 0]
        return Similarity(factor, rotation, centre_b - factor[..., None] * turned)


def pa_align(
    source: Float[Tensor, "*batch n 3"],
    target: Float[Tensor, "*batch n 3"],
    weights: Float[Tensor, "*batch n"] | None = None,
    *,
    degenerate: Degenerate = "raise",
) -> Float[Tensor, "*batch n 3"]:
    """``source`` moved onto ``target`` by :func:`similarity`, in its own dtype: the "PA" of PA-MPJPE.

    Args:
        source: (..., N, 3) predicted points.
        target: (..., N, 3) true points.
        weights: as for :func:`similarity`.
        degenerate: as for :func:`similarity`.

    Raises:
        GeometryError: as :func:`similarity`.
        UsageError: as :func:`similarity`.
    """
    return similarity(source, target, weights, degenerate=degenerate).apply(source)


def _weights(source: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return torch.ones(source.shape[:-1], dtype=torch.float64, device=source.device)
    if weights.shape != source.shape[:-1]:
        raise UsageError(f"expected weights of shape {tuple(source.shape[:-1])}, got {tuple(weights.shape)}")
    if bool((weights < 0).any()):
        raise UsageError("expected weights >= 0, got negative ones")
    return weights.double()


def _centred(points: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted centre (..., 3), points about it, and whether (...) they are all in one place."""
    centre = (weights[..., None] * points).sum(-2)
    counts = weights[..., None] > 0
    about = torch.where(counts, points - centre[..., None, :], 0.0)
    size = torch.where(counts, points, 0.0).abs().amax((-2, -1))
    return centre, about, about.abs().amax((-2, -1)) <= _COINCIDE * size
