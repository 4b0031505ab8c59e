"""Annotated joints: what of them is known, relative to the pelvis, with or without a depth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hmtools.humandata.keypoints import convention
from hmtools.models.smplerx.joint_sets import PELVIS, SUPERVISED
from hmtools.models.smplerx.target_input import TargetInput
from hmtools.models.smplerx.target_joints import ROOT_OF, picked

__all__ = ["Labels", "read_labels"]

_KEYS, _PUBLISHED = convention(SUPERVISED).keys, convention("smplerx_137_published").keys
_ONE, _OTHER = (row for row, key in enumerate(_KEYS) if key != _PUBLISHED[row])
_EYES_SWAPPED = tuple({_ONE: _OTHER, _OTHER: _ONE}.get(row, row) for row in range(len(_KEYS)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labels:
    """Annotated joints of B people before any augmentation; what is not known is zero.

    Attributes:
        pixels: (B, 137, 2) x, y, upright original pixels.
        seen: (B, 137) whether ``pixels`` are known.
        joints: (B, 137, 3) metres, from the pelvis, axes of the camera frame.
        known: (B, 137) whether ``joints`` are known.
        rooted: (B, 137) whether they are known and so is the root of their part.
        has_depth: (B,) whether there are 3D joints at all, the pelvis among them.
    """

    pixels: Float[Tensor, "b 137 2"]
    seen: Bool[Tensor, "b 137"]
    joints: Float[Tensor, "b 137 3"]
    known: Bool[Tensor, "b 137"]
    rooted: Bool[Tensor, "b 137"]
    has_depth: Bool[Tensor, " b"]


def read_labels(people: TargetInput, published_eyes: Bool[Tensor, " b"]) -> Labels:
    """Read the annotated joints.

    Args:
        people: the batch.
        published_eyes: (B,) whose eyeballs among the face change places (fault ``face_eyes``).
    """
    eyes = published_eyes[:, None, None]
    flat, solid = (
        torch.where(eyes, picked(points, _EYES_SWAPPED), points)
        for points in (people.keypoints2d_137, people.keypoints3d_137)
    )
    seen = (flat[..., 2] > 0) & flat.isfinite().all(-1)
    known = (solid[..., 3] > 0) & solid.isfinite().all(-1) & people.valid_keypoints3d[:, None]
    has_depth = known[:, PELVIS]  # without the pelvis nothing says where the rest is relative to
    known = known & has_depth[:, None]
    joints = solid[..., :3] - solid[:, PELVIS : PELVIS + 1, :3]
    return Labels(
        pixels=torch.where(seen[..., None], flat[..., :2], 0.0),
        seen=seen,
        joints=torch.where(known[..., None], joints, 0.0),
        known=known,
        rooted=known & picked(known, ROOT_OF),
        has_depth=has_depth,
    )
