"""What targets are made from: columns of records, stacked, and the augmentation each person got.

A column that is null in a record is **NaN** in every number of its row here, and a null flag is True: a
record says what must not supervise, and keeps silent about the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from hmtools.bodies.model import Gender
from hmtools.models.smplerx.target_rules import TargetRule

__all__ = ["TargetInput", "posing_gender"]


def posing_gender(gender: Gender | None, *, has_smplx: bool, has_betas_neutral: bool) -> Gender:
    """Gender of the SMPL-X model to pose a person with: the neutral one wherever its betas are known.

    Args:
        gender: as in the record.
        has_smplx: whether the record has a valid SMPL-X body; SMPL's and SMPL-H's pose the neutral one.
        has_betas_neutral: whether the record has ``betas_neutral`` (children have none).
    """
    return "neutral" if has_betas_neutral or not has_smplx or gender is None else gender


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TargetInput:
    """B people, B >= 1; one float dtype, one device. Names, units and frames are those of the record.

    Tuples are read by the host, without waiting for the device.

    Attributes:
        rules: B rules, one for each person's set.
        gender: B genders of the models that the bodies' numbers belong to (``neutral`` where null): SMPL
            joints are made with these.
        smplx_gender: B genders of the SMPL-X models to pose the bodies with, by :func:`posing_gender`.
        keypoints2d_137: (B, 137, 3) annotated joints x, y, confidence, upright original pixels; the source's
            columns mapped by name into ``smplerx_137`` (:func:`hmtools.humandata.keypoints.mapping`), with
            confidence 0 for joints it lacks. NaN where there are none.
        keypoints3d_137: (B, 137, 4) x, y, z, confidence, metres, camera frame, mapped likewise.
        smplx_global_orient: (B, 3) axis-angle, radians.
        smplx_body_pose: (B, 63).
        smplx_left_hand_pose: (B, 45) absolute.
        smplx_right_hand_pose: (B, 45) absolute.
        smplx_jaw_pose: (B, 3).
        smplx_betas: (B, 10 or more); the first ten count.
        smplx_expression: (B, 10 or more); the first ten count.
        smplx_transl: (B, 3) metres.
        betas_neutral: (B, 10); used instead of ``smplx_betas`` where it is there.
        kid: (B,) weight of the kid template, 0 for adults; None when all are.
        smpl_global_orient: (B, 3); this and the other SMPL and SMPL-H columns None when no set has them.
        smpl_body_pose: (B, 69).
        smpl_betas: (B, 10 or more); the first ten count.
        smpl_transl: (B, 3) metres.
        smplh_global_orient: (B, 3).
        smplh_body_pose: (B, 63).
        smplh_left_hand_pose: (B, 45) absolute.
        smplh_right_hand_pose: (B, 45) absolute.
        smplh_transl: (B, 3) metres.
        focal_length: (B, 2) pixels of a pinhole camera. Fits are projected by it; where it is NaN (no camera,
            or a lens that bends), x and y of ``keypoints2d_137`` are taken instead.
        principal_point: (B, 2) pixels.
        lhand_bbox_xywh: (B, 5) x, y, w, h, confidence, upright original pixels.
        rhand_bbox_xywh: (B, 5).
        face_bbox_xywh: (B, 5).
        valid_smplx: (B,) bool; so are the other flags.
        valid_smpl: (B,).
        valid_keypoints3d: (B,).
        valid_betas: (B,).
        valid_face: (B,).
        valid_lhand: (B,).
        valid_rhand: (B,).
        valid_global_orient: (B,).
        valid_transl: (B,).
        pose_valid: (B, 55) bool per SMPL-X joint; None when no set has it.
        width: (B,) columns of the upright image.
        height: (B,) rows of the upright image.
        flip: (B,) bool, whether the crop is mirrored.
        rotation: (B,) degrees of the augmentation, as :func:`hmtools.geometry.crop.crop_affine` takes them.
        crop_affine: (B, 2, 3) upright original pixels to pixels of the 512 x 384 crop, **the mirror
            included**, as ``crop_affine(..., flip=True, convention="corners")`` gives it.
    """

    rules: tuple[TargetRule, ...]
    gender: tuple[Gender, ...]
    smplx_gender: tuple[Gender, ...]
    keypoints2d_137: Tensor
    keypoints3d_137: Tensor
    smplx_global_orient: Tensor
    smplx_body_pose: Tensor
    smplx_left_hand_pose: Tensor
    smplx_right_hand_pose: Tensor
    smplx_jaw_pose: Tensor
    smplx_betas: Tensor
    smplx_expression: Tensor
    smplx_transl: Tensor
    betas_neutral: Tensor
    focal_length: Tensor
    principal_point: Tensor
    lhand_bbox_xywh: Tensor
    rhand_bbox_xywh: Tensor
    face_bbox_xywh: Tensor
    valid_smplx: Tensor
    valid_smpl: Tensor
    valid_keypoints3d: Tensor
    valid_betas: Tensor
    valid_face: Tensor
    valid_lhand: Tensor
    valid_rhand: Tensor
    valid_global_orient: Tensor
    valid_transl: Tensor
    width: Tensor
    height: Tensor
    flip: Tensor
    rotation: Tensor
    crop_affine: Tensor
    kid: Tensor | None = None
    smpl_global_orient: Tensor | None = None
    smpl_body_pose: Tensor | None = None
    smpl_betas: Tensor | None = None
    smpl_transl: Tensor | None = None
    smplh_global_orient: Tensor | None = None
    smplh_body_pose: Tensor | None = None
    smplh_left_hand_pose: Tensor | None = None
    smplh_right_hand_pose: Tensor | None = None
    smplh_transl: Tensor | None = None
    pose_valid: Tensor | None = None

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> TargetInput:
        """The same people on another device, in another float type; pinned memory copies without waiting."""
        values: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Tensor):
                wanted = dtype if value.is_floating_point() else None
                values[item.name] = value.to(device=device, dtype=wanted, non_blocking=True)
        return replace(self, **values)
