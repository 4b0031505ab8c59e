"""Acceleration of joints along a track, and how far it is from the true one."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hmtools.core.errors import UsageError

__all__ = ["acceleration", "acceleration_error"]

_MM = 1000.0


def acceleration(
    joints: Float[Tensor, "t j 3"], frames: Int[Tensor, " _t"], fps: float
) -> Float[Tensor, " t"]:
    """``mean_j |x(t - 1) - 2 x(t) + x(t + 1)| fps^2``: how much one track jerks; mm / s^2.

    In metres: divide by 1000. Per frame squared, as some papers have it: divide by ``fps^2``.

    Args:
        joints: (T, J, 3) metres, in a frame that does not move, not aligned.
        frames: (T,) numbers of the frames, rising.
        fps: frames per second of ``frames``; with every n-th frame kept, number them on and divide by n.

    Returns:
        (T,) the value of each frame; NaN where one of its two neighbours is not there: at both ends and
        beside gaps.

    Raises:
        UsageError: if the frames do not rise, or there is not one per pose.
    """
    return _length(_second_difference(joints, frames), fps)


def acceleration_error(
    predicted: Float[Tensor, "t j 3"],
    target: Float[Tensor, "_t _j 3"],
    frames: Int[Tensor, " _t"],
    fps: float,
) -> Float[Tensor, " t"]:
    """``mean_j |a_predicted - a_true|`` with ``a(t) = (x(t - 1) - 2 x(t) + x(t + 1)) fps^2``; mm / s^2.

    Joints are those of the protocol (on 3DPW the 14 of the common one, 30 frames per second), not aligned, or
    about their roots as the protocol says. Source: HMMR (Kanazawa et al. 2019), with the factor of WHAM.

    Args:
        predicted: (T, J, 3) metres.
        target: (T, J, 3) metres.
        frames: (T,) as for :func:`acceleration`.
        fps: frames per second of ``frames``.

    Returns:
        (T,), NaN where a neighbour is not there.

    Raises:
        UsageError: as :func:`acceleration`, or if the shapes differ.
    """
    if predicted.shape != target.shape:
        raise UsageError(
            f"expected predicted and true joints of one shape, found {tuple(predicted.shape)} and "
            f"{tuple(target.shape)}"
        )
    apart = _second_difference(predicted, frames) - _second_difference(target, frames)
    return _length(apart, fps)


def _length(change: Tensor, fps: float) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(change, dim=-1)
    return _MM * fps**2 * lengths.mean(-1)


def _second_difference(joints: Tensor, frames: Tensor) -> Tensor:
    """(T, J, 3), NaN where a neighbour is missing."""
    if joints.ndim != 3 or joints.shape[0] != len(frames):
        raise UsageError(f"expected one frame number per pose, found {len(frames)} for {tuple(joints.shape)}")
    if bool((frames.diff() <= 0).any()):
        raise UsageError("expected the frame numbers of one track, rising; sort them and take one track")
    found = torch.full_like(joints, torch.nan)
    if len(joints) > 2:
        steps = joints.diff(dim=0)
        whole = (frames[2:] - frames[:-2]) == 2
        found[1:-1] = torch.where(whole[:, None, None], steps[1:] - steps[:-1], torch.nan)
    return found
