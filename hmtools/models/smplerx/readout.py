"""What is read off maps and numbers: soft-argmax, samples of a map, boxes, rotations.

All of it is computed in float32 at least, also where the rest of the network runs in bfloat16: a coordinate
of 16 cells in bfloat16 is off by a whole pixel of the network image.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from hmtools.geometry.rotation import quaternion_to_axis_angle, rotation_6d_to_matrix
from hmtools.models.smplerx.units import CELL

__all__ = [
    "full_precision",
    "restore_boxes",
    "rotations_from_6d",
    "sample_at",
    "soft_argmax",
    "volume_softmax",
]

_Result = TypeVar("_Result")


def full_precision(forward: Callable[..., _Result]) -> Callable[..., _Result]:
    """Run a module's ``forward`` without autocast, on tensors of float32 or more."""

    @wraps(forward)
    def run(module: Any, *inputs: Tensor, **options: Any) -> _Result:
        device = inputs[0].device.type
        inputs = tuple(x.float() if x.dtype in (torch.bfloat16, torch.float16) else x for x in inputs)
        if not torch.amp.is_autocast_available(device):  # meta
            return forward(module, *inputs, **options)
        with torch.autocast(device, enabled=False):
            return forward(module, *inputs, **options)

    return run


def volume_softmax(logits: Float[Tensor, "b j *cells"]) -> Float[Tensor, "b j *cells"]:
    """Softmax over all cells of each joint's map or volume."""
    return logits.flatten(2).softmax(-1).reshape(logits.shape)


def soft_argmax(heatmap: Float[Tensor, "b j *cells"]) -> Float[Tensor, "b j d"]:
    """Expected index along each axis.

    Args:
        heatmap: (B, J, [D,] H, W), each map or volume sums to 1.

    Returns:
        (B, J, 2 or 3) x, y[, z] in cells, cell centres at integers.
    """
    axes = range(heatmap.dim() - 1, 1, -1)  # x is the last axis
    expected = []
    for axis in axes:
        others = [other for other in axes if other != axis]
        index = torch.arange(heatmap.shape[axis], dtype=heatmap.dtype, device=heatmap.device)
        expected.append((heatmap.sum(others) * index).sum(-1))
    return torch.stack(expected, dim=-1)


def sample_at(features: Float[Tensor, "b c h w"], points: Float[Tensor, "b n 2"]) -> Float[Tensor, "b n c"]:
    """Bilinear samples of a map; zeros outside.

    Args:
        features: (B, C, H, W).
        points: (B, N, 2) x, y in cells, cell centres at integers.

    Returns:
        (B, N, C).
    """
    # The weights are a product of one hat per axis. The gradient of torch's own grid_sample depends, on a
    # GPU, on the order in which its threads end.
    x, y = (
        (1 - (points[..., axis, None] - torch.arange(cells, dtype=points.dtype, device=points.device)).abs())
        for axis, cells in enumerate(features.shape[:-3:-1])
    )
    weights = (y.clamp(min=0)[..., :, None] * x.clamp(min=0)[..., None, :]).flatten(2)
    return weights.to(features.dtype) @ features.flatten(2).transpose(1, 2)


def restore_boxes(
    centers: Float[Tensor, "*batch 2"], sizes: Float[Tensor, "*batch 2"], extension: float
) -> Float[Tensor, "*batch 4"]:
    """Square, extended boxes from what the box net says.

    Args:
        centers: (..., 2) x, y in cells of the body.
        sizes: (..., 2) width, height in cells; the longer one counts.
        extension: how many times longer the side becomes.

    Returns:
        (..., 4) x0, y0, x1, y1 in pixels of the network image, not clipped; a box whose sizes are both
        negative comes out inside out, as in the published code.
    """
    half = sizes.amax(-1, keepdim=True) * (extension / 2)
    return torch.cat([centers - half, centers + half], dim=-1) * CELL


def rotations_from_6d(numbers: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3"]:
    """Six numbers (layout ``interleaved``) to axis-angle, radians, angle in [0, pi].

    Zero or parallel columns determine no rotation. They end as in the published network: with a half turn
    about x or y, from the way the quaternion's largest component is guessed from three diagonal entries.
    NaN gives zeros.
    """
    matrix = rotation_6d_to_matrix(numbers, "interleaved")
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = matrix.flatten(-2).unbind(-1)
    # Rows of four times q q': each is a multiple of the quaternion, and the one chosen is at least 1 long.
    w = torch.stack([1 + r00 + r11 + r22, r21 - r12, r02 - r20, r10 - r01], -1)
    x = torch.stack([r21 - r12, 1 + r00 - r11 - r22, r10 + r01, r02 + r20], -1)
    y = torch.stack([r02 - r20, r10 + r01, 1 - r00 + r11 - r22, r21 + r12], -1)
    z = torch.stack([r10 - r01, r02 + r20, r21 + r12, 1 - r00 - r11 + r22], -1)
    low = torch.where((r00 > r11)[..., None], x, y)
    high = torch.where((r00 < -r11)[..., None], z, w)
    axis_angle = quaternion_to_axis_angle(torch.where((r22 < 1e-6)[..., None], low, high))
    return torch.where(axis_angle.isnan(), 0.0, axis_angle)
