"""Joints in the augmented crop, from each of the places that a rule may name: labels, the fit, SMPL."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hmtools.humandata.keypoints import mapping
from hmtools.models.smplerx.body import part_aligned
from hmtools.models.smplerx.joint_sets import SUPERVISED
from hmtools.models.smplerx.target_body import pixels_of
from hmtools.models.smplerx.target_input import TargetInput
from hmtools.models.smplerx.target_joints import (
    Augmentation,
    Shown,
    body_depth,
    constant,
    image_joints,
    part_depth,
    picked,
)
from hmtools.models.smplerx.target_labels import Labels

__all__ = ["ImageJoints", "chosen", "shown_fit", "shown_labels", "smpl_image"]

_SMPL = "smpl_24"
_SLOTS = 22  # SMPL joints that the fault pw3d_slots writes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageJoints:
    """Joints of B people in the augmented crop.

    Attributes:
        cells: (B, 137, 3) x, y, z in cells; zero where unknown.
        seen: (B, 137) whether a joint is known and in the volume.
    """

    cells: Float[Tensor, "b 137 3"]
    seen: Bool[Tensor, "b 137"]


def chosen(which: Bool[Tensor, " b"], one: ImageJoints, other: ImageJoints) -> ImageJoints:
    """``one`` for the people of ``which``, ``other`` for the rest."""
    return ImageJoints(
        cells=torch.where(which[:, None, None], one.cells, other.cells),
        seen=torch.where(which[:, None], one.seen, other.seen),
    )


def shown_labels(labels: Labels, part_relative: Bool[Tensor, " b"], needs_depth: Bool[Tensor, " b"]) -> Shown:
    """Annotated joints.

    Args:
        labels: of B people.
        part_relative: (B,) whether depth is counted in each part, else in the body.
        needs_depth: (B,) whose joints without a depth are not seen (fault ``depthless_2d_masked``).
    """
    part, depthless = part_relative[:, None], ~labels.has_depth[:, None]
    in_part = part_depth(part_aligned(labels.joints)[..., 2])
    depth = torch.where(part, in_part, body_depth(labels.joints[..., 2]))
    placed = torch.where(part, labels.rooted, labels.known)
    return Shown(
        pixels=labels.pixels,
        depth=torch.where(depthless | ~placed, 0.0, depth),
        in_front=torch.where(depthless, ~needs_depth[:, None], placed & (depth > 0)),
        known=labels.seen,
    )


def shown_fit(
    people: TargetInput,
    joints: Float[Tensor, "b 137 3"],
    known: Bool[Tensor, "b 137"],
    projected: Bool[Tensor, " b"],
    labels: Shown,
) -> Shown:
    """Joints of the fit: x and y of its projection, or else of the labels, with the fit's own depth.

    Args:
        people: the batch.
        joints: (B, 137, 3) metres, camera frame.
        known: (B, 137) which of them are known.
        projected: (B,) whose joints are to be projected.
        labels: the annotated joints.
    """
    by_camera = projected[:, None]
    return Shown(
        pixels=torch.where(by_camera[..., None], pixels_of(people, joints), labels.pixels),
        depth=part_depth(part_aligned(joints)[..., 2]),
        in_front=torch.where(by_camera, joints[..., 2] > 0, labels.in_front),
        known=known & (by_camera | labels.known),
    )


def smpl_image(
    people: TargetInput,
    joints: Float[Tensor, "b 24 3"],
    known: Bool[Tensor, " b"],
    augmentation: Augmentation,
    unswapped: Bool[Tensor, " b"],
) -> tuple[ImageJoints, Float[Tensor, "b 137 3"]]:
    """Joints of the SMPL fit, projected: by name, and as the fault ``pw3d_slots`` places them.

    Args:
        people: the batch.
        joints: (B, 24, 3) metres, camera frame.
        known: (B,) whether they are known.
        augmentation: of the B images.
        unswapped: (B,) who gets the fault ``unswapped_masks``.

    Returns:
        The 137 joints, of which SMPL knows 15, and (B, 137, 3) the cells of the fault.
    """
    shown = Shown(
        pixels=pixels_of(people, joints),
        depth=body_depth(joints[..., 2] - joints[:, :1, 2]),
        in_front=joints[..., 2] > 0,
        known=known[:, None].expand(joints.shape[:2]),
    )
    cells, seen = image_joints(shown, augmentation, unswapped, _SMPL)
    names = mapping(_SMPL, SUPERVISED)
    rows, smpl_rows = constant(tuple(names.dst.tolist()), cells.device), tuple(names.src.tolist())
    shape = (len(cells), names.target.count)
    by_name = ImageJoints(
        cells=cells.new_zeros((*shape, 3)).index_copy(1, rows, picked(cells, smpl_rows)),
        seen=seen.new_zeros(shape).index_copy(1, rows, picked(seen, smpl_rows)),
    )
    slots = torch.zeros_like(by_name.cells)
    slots[:, :_SLOTS] = cells[:, :_SLOTS]
    return by_name, slots
