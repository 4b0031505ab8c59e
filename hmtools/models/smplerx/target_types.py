"""What SMPLer-X is trained towards: the targets of a batch, and which of them count.

Two spaces occur. **Heat-map units**: x in [0, 12), y in [0, 16) over the 384 x 512 crop of the network, z in
[0, 16) over the depth of a part (2 m of body, 0.3 m of a hand or the face, 8 = the depth of the part's root).
**Metres**: OpenCV camera axes (x right, y down, z forward), origin at the pelvis, the image's augmentation
(mirror, rotation) applied; no person's distance is in them.

Joints are the 137 of the convention ``smplerx_137``; the first 65 are those of the position nets. Poses are
53 joints of axis-angle: root, 21 body, 15 left hand, 15 right hand, jaw; **hands relative to the mean hand of
the model**, unlike everywhere else in this package.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Masks", "Targets"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Targets:
    """What the losses compare with, for B people; floating point, one dtype and device.

    Where the mask of an entry is 0 its value means nothing (it is finite, mostly 0).

    Attributes:
        joint_img: (B, 137, 3) annotated joints, heat-map units (of the fit, where the set's rule says so).
        smplx_joint_img: (B, 137, 3) joints of the SMPL-X fit, heat-map units.
        joint_cam: (B, 137, 3) annotated joints, metres, all relative to the pelvis ("wo ra").
        smplx_joint_cam: (B, 137, 3) joints of the fit, metres, relative to the root of their part: body to
            the pelvis, hands to their wrists, face to the neck ("ra").
        smplx_pose: (B, 159) axis-angle of 53 joints, radians: root 3, body 63, left hand 45, right hand 45,
            jaw 3; hands relative.
        smplx_shape: (B, 10) betas of the neutral model.
        smplx_expr: (B, 10) expression.
        lhand_bbox_center: (B, 2) x, y of the left-hand box, heat-map units.
        lhand_bbox_size: (B, 2) width, height of the left-hand box, heat-map units.
        rhand_bbox_center: (B, 2) the same of the right hand.
        rhand_bbox_size: (B, 2) the same of the right hand.
        face_bbox_center: (B, 2) the same of the face.
        face_bbox_size: (B, 2) the same of the face.
    """

    joint_img: Tensor
    smplx_joint_img: Tensor
    joint_cam: Tensor
    smplx_joint_cam: Tensor
    smplx_pose: Tensor
    smplx_shape: Tensor
    smplx_expr: Tensor
    lhand_bbox_center: Tensor
    lhand_bbox_size: Tensor
    rhand_bbox_center: Tensor
    rhand_bbox_size: Tensor
    face_bbox_center: Tensor
    face_bbox_size: Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Masks:
    """Which targets count: 1 or 0, in the dtype and on the device of the targets.

    Attributes:
        joint_valid: (B, 137, 1) for ``joint_cam`` (together with ``is_3d``).
        joint_trunc: (B, 137, 1) for ``joint_img`` and the projected joints: valid and inside the crop.
        smplx_joint_valid: (B, 137, 1) for ``smplx_joint_cam``.
        smplx_joint_trunc: (B, 137, 1) for ``smplx_joint_img``.
        smplx_pose_valid: (B, 159) for ``smplx_pose``: 53 flags, each three times.
        smplx_shape_valid: (B,) for ``smplx_shape``.
        smplx_expr_valid: (B,) for ``smplx_expr``.
        is_3d: (B,) whether ``joint_cam`` and the depth of ``joint_img`` count.
        lhand_bbox_valid: (B,) for the left-hand box.
        rhand_bbox_valid: (B,) for the right-hand box.
        face_bbox_valid: (B,) for the face box.
    """

    joint_valid: Tensor
    joint_trunc: Tensor
    smplx_joint_valid: Tensor
    smplx_joint_trunc: Tensor
    smplx_pose_valid: Tensor
    smplx_shape_valid: Tensor
    smplx_expr_valid: Tensor
    is_3d: Tensor
    lhand_bbox_valid: Tensor
    rhand_bbox_valid: Tensor
    face_bbox_valid: Tensor
