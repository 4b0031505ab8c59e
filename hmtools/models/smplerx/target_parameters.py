"""The numbers of each fitted body as the network is to say them, and which of them are known.

Records hold absolute hands. Here the mean hand of the neutral model is taken off, so that the targets are
what the network's own body model adds it to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hmtools.bodies.params import pose_slices
from hmtools.geometry.rotation import axis_angle_to_matrix, matrix_to_axis_angle
from hmtools.humandata.keypoints import convention
from hmtools.models.smplerx.joint_sets import POSE
from hmtools.models.smplerx.target_input import TargetInput
from hmtools.models.smplerx.target_joints import Augmentation, mirror_rows, picked, rotation_about_z, times

__all__ = ["Parameters", "augmented_pose", "column", "parameters", "pose_known", "rule_flags"]

_BETAS = 10
_BODY_WIDTHS = {"global_orient": 3, "body_pose": 63, "left_hand_pose": 45, "right_hand_pose": 45, "transl": 3}
_SLICES_55 = pose_slices("smplx")
_ROWS_55 = tuple(  # of SMPL-X's 55 rotations, in the order of the 53: no eyes
    row
    for name in ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose")
    for row in range(_SLICES_55[name].start, _SLICES_55[name].stop)
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parameters:
    """B bodies before any augmentation, from whichever family has them; what is not known is zero.

    Attributes:
        global_orient: (B, 3) axis-angle, radians, camera frame.
        body_pose: (B, 63).
        left_hand_pose: (B, 45) **relative** to the mean hand.
        right_hand_pose: (B, 45) relative likewise.
        jaw_pose: (B, 3).
        betas: (B, 10).
        expression: (B, 10).
        transl: (B, 3) metres, camera frame.
        body_known: (B,) whether there is a body at all; what follows implies it.
        left_known: (B,) left hand.
        right_known: (B,) right hand.
        face_known: (B,) jaw and expression.
        betas_known: (B,) whether the betas are the neutral model's (of children: as near as there is).
        transl_known: (B,) translation.
    """

    global_orient: Float[Tensor, "b 3"]
    body_pose: Float[Tensor, "b 63"]
    left_hand_pose: Float[Tensor, "b 45"]
    right_hand_pose: Float[Tensor, "b 45"]
    jaw_pose: Float[Tensor, "b 3"]
    betas: Float[Tensor, "b 10"]
    expression: Float[Tensor, "b 10"]
    transl: Float[Tensor, "b 3"]
    body_known: Bool[Tensor, " b"]
    left_known: Bool[Tensor, " b"]
    right_known: Bool[Tensor, " b"]
    face_known: Bool[Tensor, " b"]
    betas_known: Bool[Tensor, " b"]
    transl_known: Bool[Tensor, " b"]

    def pose(self) -> Float[Tensor, "b 159"]:
        """Root, body, left hand, right hand, jaw."""
        hands = [self.left_hand_pose, self.right_hand_pose]
        return torch.cat([self.global_orient, self.body_pose, *hands, self.jaw_pose], dim=1)


def rule_flags(flags: Sequence[bool], like: Tensor) -> Bool[Tensor, " b"]:
    """B facts that the host knows, on the device of ``like``."""
    return torch.tensor(list(flags), dtype=torch.bool).to(like.device, non_blocking=True)


def column(people: TargetInput, name: str, width: int) -> Float[Tensor, "b width"]:
    """The first ``width`` numbers of a column; NaN where no set of the batch has it."""
    value: Tensor | None = getattr(people, name, None)
    if value is None:
        like = people.smplx_global_orient
        return like.new_full((len(like), width), torch.nan)
    return value[:, :width]


def parameters(
    people: TargetInput, mean_hands: Float[Tensor, "2 45"], same_hands: Bool[Tensor, " b"]
) -> Parameters:
    """Choose the family that has a body, SMPL-X, then SMPL, then SMPL-H, and read its numbers.

    SMPL and SMPL-H give root, 21 body joints, translation and (SMPL-H) hands; their betas belong to another
    model and are left out.

    Args:
        people: the batch.
        mean_hands: (2, 45) of the neutral SMPL-X model, radians.
        same_hands: (B,) whose right hand takes the pose of the left one (fault ``talkshow_hands``).
    """
    is_smplx, known, values = _body(people)
    left, right = values["left_hand_pose"] - mean_hands[0], values["right_hand_pose"] - mean_hands[1]
    left_known = known & people.valid_lhand & _finite(left)
    right_known = known & people.valid_rhand & _finite(right)
    right = torch.where(same_hands[:, None], left, right)
    right_known = torch.where(same_hands, left_known, right_known)
    jaw, expression = people.smplx_jaw_pose, people.smplx_expression[:, :_BETAS]
    face_known = is_smplx & people.valid_face & _finite(jaw) & _finite(expression)
    betas, betas_known = _betas(people, is_smplx)
    transl_known = known & people.valid_transl & _finite(values["transl"])
    return Parameters(
        global_orient=_kept(values["global_orient"], known),
        body_pose=_kept(values["body_pose"], known),
        left_hand_pose=_kept(left, left_known),
        right_hand_pose=_kept(right, right_known),
        jaw_pose=_kept(jaw, face_known),
        betas=betas,
        expression=_kept(expression, face_known),
        transl=_kept(values["transl"], transl_known),
        body_known=known,
        left_known=left_known,
        right_known=right_known,
        face_known=face_known,
        betas_known=betas_known,
        transl_known=transl_known,
    )


def _finite(values: Float[Tensor, "b n"]) -> Bool[Tensor, " b"]:
    return values.isfinite().all(-1)


def _kept(values: Float[Tensor, "b n"], known: Bool[Tensor, " b"]) -> Float[Tensor, "b n"]:
    return torch.where(known[:, None], values, 0.0)


def _body(people: TargetInput) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Whether it is SMPL-X, whether it is anything, and the numbers of :data:`_BODY_WIDTHS`."""
    families = {"smplx": people.valid_smplx, "smpl": people.valid_smpl, "smplh": None}
    known, is_smplx = torch.zeros_like(people.valid_smplx), people.valid_smplx
    values: dict[str, Tensor] = {}
    for family, valid in families.items():
        own = {name: column(people, f"{family}_{name}", width) for name, width in _BODY_WIDTHS.items()}
        usable = _finite(own["global_orient"]) & _finite(own["body_pose"])
        new = (usable if valid is None else usable & valid) & ~known
        values = {k: torch.where(new[:, None], v, values[k]) for k, v in own.items()} if values else own
        is_smplx, known = (new, new) if family == "smplx" else (is_smplx, known | new)
    return is_smplx, known, values


def _betas(people: TargetInput, is_smplx: Tensor) -> tuple[Tensor, Tensor]:
    refit = _finite(people.betas_neutral)
    betas = torch.where(refit[:, None], people.betas_neutral, people.smplx_betas[:, :_BETAS])
    found = is_smplx & _finite(betas)
    neutral = rule_flags([gender == "neutral" for gender in people.smplx_gender], is_smplx)
    if people.kid is not None:  # nobody refits children: their own betas are the best there is
        neutral = neutral | (people.kid > 0)
    return _kept(betas, found), found & neutral & people.valid_betas


def pose_known(people: TargetInput, found: Parameters) -> Bool[Tensor, "b 53"]:
    """Which of the 53 rotations may supervise, before any augmentation."""
    counts = {"root": 1, "body": 21, "left": 15, "right": 15, "jaw": 1}
    root = found.body_known & people.valid_global_orient
    parts = [root, found.body_known, found.left_known, found.right_known, found.face_known]
    each = [part[:, None].expand(-1, n) for part, n in zip(parts, counts.values(), strict=True)]
    known = torch.cat(each, dim=1)
    if people.pose_valid is not None:
        known = known & picked(people.pose_valid, _ROWS_55)
    names = convention(POSE).names
    loose = {rule: [name in rule.invalid_rotations for name in names] for rule in set(people.rules)}
    return known & ~torch.tensor([loose[rule] for rule in people.rules]).to(known.device, non_blocking=True)


def augmented_pose(
    pose: Float[Tensor, "b 159"], known: Bool[Tensor, "b 53"], augmentation: Augmentation
) -> tuple[Float[Tensor, "b 159"], Bool[Tensor, "b 53"]]:
    """The pose seen in the augmented image: mirrored, and the root turned with the image.

    The angle of the root comes out in [0, pi], also where nothing was augmented.
    """
    flip = augmentation.flip
    joints = mirror_rows(pose.reshape(len(pose), -1, 3), flip, POSE)
    sign = torch.where(flip, -1.0, 1.0).to(pose)
    joints = joints * torch.stack([torch.ones_like(sign), sign, sign], dim=-1)[:, None]
    columns = axis_angle_to_matrix(joints[:, 0]).transpose(1, 2)
    turned = times(rotation_about_z(-augmentation.rotation.to(pose))[:, None], columns).transpose(1, 2)
    joints = torch.cat([matrix_to_axis_angle(turned)[:, None], joints[:, 1:]], dim=1)
    return joints.flatten(1), mirror_rows(known, flip, POSE)
