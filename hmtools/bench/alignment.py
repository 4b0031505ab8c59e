"""Distances between two sets of points after an alignment: by a root, or by the best similarity.

float32 is enough if nothing is multiplied 25 m away from the origin: points are first taken relative to one
of their own, which rounds nothing, and 3 x 3 matrices are decomposed in float64. Coordinates stand in front,
(..., 3, N): along them memory is read in one go, five times faster than (..., N, 3).

Degenerate cases are answers, not errors. With the scale s, rotation R and translation t of "PA":

- A mirror image never fits: det R = +1, the direction of the smallest singular value gives way.
- Points in a plane have one answer. On a line, or in one place, R is open but the distances are not.
- All predicted points in one place (100 000 times closer together than the target's) have no scale: s = 0,
  they are taken to the middle of the target.
- All target points in one place: s = 0, the distances are 0.
- A point that is NaN or infinite makes all distances of its set NaN; one beyond 1e18 makes them infinite.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hmtools.core.errors import UsageError

__all__ = ["centred", "lengths", "masked_mean", "pa_distances", "pa_lengths", "root_distances"]

_COLLAPSED = 1e5  # a scale that only points in one place ask for, but for the rounding of their joints


def root_distances(
    predicted: Float[Tensor, "b n 3"],
    target: Float[Tensor, "_b _n 3"],
    predicted_root: Float[Tensor, "b 3"],
    target_root: Float[Tensor, "b 3"],
) -> Float[Tensor, "b n"]:
    """``|(x - x_root) - (y - y_root)|``: distances once the roots coincide, (B, N), in the unit given.

    Args:
        predicted: (B, N, 3) points, any unit and frame.
        target: (B, N, 3) points in the same unit and axes.
        predicted_root: (B, 3) what is moved onto ``target_root``.
        target_root: (B, 3).

    Raises:
        UsageError: if the shapes differ.
    """
    _check(predicted, target)
    moved = (predicted - predicted_root[:, None]) - (target - target_root[:, None])
    return lengths(moved.mT)


def pa_distances(predicted: Float[Tensor, "b n 3"], target: Float[Tensor, "_b _n 3"]) -> Float[Tensor, "b n"]:
    """``|s R x + t - y|`` with the similarity of least squares (Umeyama 1991), (B, N), in the target's unit.

    What is fitted is exactly what is measured. Degenerate points: see the module.

    Args:
        predicted: (B, N, 3) points.
        target: (B, N, 3) points.

    Raises:
        UsageError: if the shapes differ.
    """
    _check(predicted, target)
    return pa_lengths([(centred(predicted.mT)[0], centred(target.mT)[0])])[0]


def masked_mean(values: Float[Tensor, "*b n"], counted: Bool[Tensor, "*b n"] | None) -> Float[Tensor, "*b"]:
    """Mean over the last axis of the values that count; NaN where none does. None counts all."""
    if counted is None:
        return values.mean(-1)
    return torch.where(counted, values, 0.0).sum(-1) / counted.sum(-1)


def centred(points: Float[Tensor, "b 3 n"]) -> tuple[Float[Tensor, "b 3 n"], Float[Tensor, "b 3 1"]]:
    """Points about their own middle, contiguous, and the point (B, 3, 1) that they were moved by.

    The moved points have a mean of zero; none of them is finite where one was not.
    """
    origin = points[:, :, :1]
    local = torch.empty_like(points, memory_format=torch.contiguous_format)
    torch.sub(points, origin, out=local)
    middle = local.mean(-1, keepdim=True)
    return local.sub_(middle), origin + middle


def lengths(difference: Float[Tensor, "*b 3 n"]) -> Float[Tensor, "*b n"]:
    """Euclidean norm over the axis of coordinates."""
    # Written out: torch's own norm over an axis that is not the last one takes eighty times as long.
    x, y, z = difference.unbind(-2)
    return (x * x).addcmul_(y, y).addcmul_(z, z).sqrt_()


def pa_lengths(
    pairs: Sequence[tuple[Float[Tensor, "... 3 _"], Float[Tensor, "... 3 _"]]],
) -> list[Float[Tensor, "... _"]]:
    """Distances after the best similarity, for several sets of points at once: one decomposition for all.

    Args:
        pairs: (predicted, target) of shapes (..., 3, N), one shape per pair, each about its own middle.

    Returns:
        Per pair, (..., N) distances, in the target's unit.
    """
    crosses = [target @ predicted.mT for predicted, target in pairs]
    spreads = [predicted.square().sum((-2, -1)) for predicted, _ in pairs]
    sizes = [cross.shape[:-2] for cross in crosses]
    flat = _scaled_rotations(
        torch.cat([cross.reshape(-1, 3, 3) for cross in crosses]), torch.cat([s.reshape(-1) for s in spreads])
    )
    maps = torch.split(flat, [size.numel() for size in sizes])
    found = []
    for (predicted, target), size, linear in zip(pairs, sizes, maps, strict=True):
        shape = (size.numel(), 3, predicted.shape[-1])
        moved = torch.baddbmm(target.reshape(shape), linear, predicted.reshape(shape), beta=-1)
        found.append(lengths(moved.reshape(predicted.shape)))
    return found


def _scaled_rotations(cross: Float[Tensor, "b 3 3"], spread: Float[Tensor, " b"]) -> Float[Tensor, "b 3 3"]:
    """Scale times rotation, from the sums of target x predicted and of squared predicted coordinates."""
    finite = cross.isfinite().all(-1).all(-1) & spread.isfinite()
    # One NaN would fail the decomposition of the whole batch.
    sums = torch.where(finite[:, None, None], cross, 0.0).double()
    u, singular, vh = torch.linalg.svd(sums)
    signs = torch.ones_like(singular)
    signs[:, 2] = torch.linalg.det(u @ vh).sign()
    scale = (singular * signs).sum(-1) / spread.double()
    scale = torch.where(scale < _COLLAPSED, scale, 0.0)
    linear = scale[:, None, None] * (u * signs[:, None]) @ vh
    return torch.where(finite[:, None, None], linear, torch.nan).to(cross.dtype)


def _check(predicted: Tensor, target: Tensor) -> None:
    if predicted.shape != target.shape or predicted.ndim != 3 or predicted.shape[-1] != 3:
        raise UsageError(
            f"expected predicted and true points of one shape (B, N, 3), found {tuple(predicted.shape)} and "
            f"{tuple(target.shape)}"
        )
