"""The errors of the 3DPW challenge: 24 SMPL joints, and the orientation of nine of them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from hmtools.bench.alignment import root_distances
from hmtools.bench.metrics import auc, pa_mpjpe, pck
from hmtools.core.errors import UsageError

__all__ = [
    "CHALLENGE_ORIENTATIONS",
    "CHALLENGE_PCK",
    "challenge_errors",
    "measure_challenge",
    "orientation_error",
    "world_rotations",
]

CHALLENGE_PCK: tuple[int, ...] = (1, 2, 4, 5, 7, 8, *range(16, 22))
"""SMPL joints that PCK and AUC are of: hips, knees, ankles, shoulders, elbows, wrists."""
CHALLENGE_ORIENTATIONS: tuple[int, ...] = (0, 1, 2, 4, 5, 16, 17, 18, 19)
"""SMPL joints whose orientation is measured: pelvis, hips, knees, shoulders, elbows."""


def measure_challenge(
    predicted: Float[Tensor, "b 24 3"],
    target: Float[Tensor, "b 24 3"],
    predicted_rotations: Float[Tensor, "b 24 3 3"] | None = None,
    target_rotations: Float[Tensor, "b 24 3 3"] | None = None,
) -> dict[str, Float[Tensor, " b"]]:
    """The challenge's numbers. Source: 3DPW challenge (von Marcard et al.), its evaluation as described.

    - ``mpjpe_body``: mm, 24 joints, once joints 0 coincide.
    - ``pa_mpjpe_body``: mm, 24 joints, after the similarity with scale.
    - ``pck50``, ``auc``: per cent, of the errors behind ``mpjpe_body`` at :data:`CHALLENGE_PCK`; thresholds
      of 50 mm, and 0 to 200 mm.
    - ``orientation``: degrees, see :func:`orientation_error`; only with both rotations.

    Args:
        predicted: (B, 24, 3) metres, SMPL's kinematic joints.
        target: (B, 24, 3) metres.
        predicted_rotations: (B, 24, 3, 3) from the rest pose to the camera frame: :func:`world_rotations`.
        target_rotations: (B, 24, 3, 3).

    Returns:
        Metric -> (B,).

    Raises:
        UsageError: if the shapes differ.
    """
    errors = challenge_errors(predicted, target)
    found = {
        "mpjpe_body": errors.mean(-1),
        "pa_mpjpe_body": pa_mpjpe(predicted, target),
        "pck50": pck(errors[:, list(CHALLENGE_PCK)], 50.0),
        "auc": auc(errors[:, list(CHALLENGE_PCK)], 200.0),
    }
    if predicted_rotations is not None and target_rotations is not None:
        parts = list(CHALLENGE_ORIENTATIONS)
        found["orientation"] = orientation_error(predicted_rotations[:, parts], target_rotations[:, parts])
    return found


def challenge_errors(
    predicted: Float[Tensor, "b 24 3"], target: Float[Tensor, "b 24 3"]
) -> Float[Tensor, "b 24"]:
    """Errors of the 24 joints once joints 0 coincide; mm, the pelvis is 0.

    Raises:
        UsageError: if the shapes differ.
    """
    return 1000 * root_distances(predicted, target, predicted[:, 0], target[:, 0])


def orientation_error(
    predicted: Float[Tensor, "b k 3 3"], target: Float[Tensor, "_b _k 3 3"]
) -> Float[Tensor, " b"]:
    """Mean angle of ``R_predicted R_true^T`` over K parts (MPJAE), degrees, 0 to 180.

    Args:
        predicted: (B, K, 3, 3) rotations from the rest pose to the camera frame.
        target: (B, K, 3, 3).

    Raises:
        UsageError: if the shapes differ.
    """
    if predicted.shape != target.shape:
        raise UsageError(
            f"expected rotations of one shape, found {tuple(predicted.shape)} and {tuple(target.shape)}"
        )
    between = predicted.double() @ target.double().mT
    trace = between.diagonal(dim1=-2, dim2=-1).sum(-1)
    skew = between - between.mT
    sine = torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], -1).norm(dim=-1)
    # The arc tangent is exact near 0 and 180 degrees, where the arc cosine loses half its digits.
    angles = torch.atan2(sine, trace - 1)
    return angles.rad2deg().mean(-1).to(predicted.dtype)


def world_rotations(relative: Float[Tensor, "b j 3 3"], parents: tuple[int, ...]) -> Float[Tensor, "b j 3 3"]:
    """Rotations from the rest pose to the camera frame, of joints turned relative to their parents.

    Args:
        relative: (B, J, 3, 3), the root first.
        parents: J parents, each before its children; the root's is -1.
    """
    chain = [relative[:, 0]]
    for joint, parent in enumerate(parents[1:], start=1):
        chain.append(chain[parent] @ relative[:, joint])
    return torch.stack(chain, dim=1)
