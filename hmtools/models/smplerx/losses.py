"""What SMPLer-X is trained to make small (Cai et al. 2023; names and weights of its published configs).

Every term is an absolute difference per number, times a mask of 0 and 1, times the term's weight, and **each
term is averaged over all its numbers**: those that are masked out count as zeros, so a batch with few labels
has small losses. The loss is the sum of the averages.

The three terms in the image meet targets half way. Hand joints are compared on the grid of the **predicted**
hand box, which is where the hand's position net finds them: targets and projected joints are taken there, and
what falls outside the box does not count. Projected hands and faces are then moved as a whole onto the mean
of their targets: these terms teach their pose, not their place. All of this is switched by the batch, as
published: hands once any hand box of the batch is valid, faces once any face box is.

No sample is looked at from Python, so nothing here waits for a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

from hmtools.core.errors import UsageError
from hmtools.models.smplerx.body import part_aligned, project, root_aligned
from hmtools.models.smplerx.joint_sets import JOINT_PARTS, POSE_PARTS, POSITION_JOINTS
from hmtools.models.smplerx.outputs import BOX_PARTS, Forward
from hmtools.models.smplerx.target_types import Masks, Targets
from hmtools.models.smplerx.units import HAND_CELLS, IMAGE_SIZE, body_to_hand_box

__all__ = ["LossWeights", "into_hand_boxes", "loss_terms", "losses"]

_HANDS = ("left_hand", "right_hand")
_BOX_NAMES = MappingProxyType({"left_hand": "lhand", "right_hand": "rhand", "face": "face"})
_EMPTY = 1e-3  # pixels; nothing lies inside a box this thin, and its inverse is still far from infinite
_ROOT = POSE_PARTS["root"]

_SHAPES = MappingProxyType(
    {
        **dict.fromkeys(("joint_img", "smplx_joint_img", "joint_cam", "smplx_joint_cam"), (137, 3)),
        **dict.fromkeys(("joint_valid", "joint_trunc"), (137, 1)),
        **dict.fromkeys(("smplx_joint_valid", "smplx_joint_trunc"), (137, 1)),
        **dict.fromkeys(("smplx_pose", "smplx_pose_valid"), (159,)),
        **dict.fromkeys(("smplx_shape", "smplx_expr"), (10,)),
        **dict.fromkeys(("smplx_shape_valid", "smplx_expr_valid", "is_3d"), ()),
        **{f"{part}_bbox_{number}": (2,) for part in _BOX_NAMES.values() for number in ("center", "size")},
        **{f"{part}_bbox_valid": () for part in _BOX_NAMES.values()},
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """How much each term counts, and two choices; the defaults are those of all published configs.

    Attributes:
        smplx_pose: axis-angle of all 53 joints.
        smplx_orient: the root's three numbers once more, as a term of their own; at 0 there is no such term.
        smplx_shape: betas.
        smplx_expr: expression.
        joint_cam: 137 joints from the pelvis, metres.
        smplx_joint_cam: 137 joints from the root of their part, metres.
        bbox: centre and size of the boxes of both hands and the face.
        joint_proj: 137 projected joints.
        joint_img: 65 joints of the position nets against the annotation.
        smplx_joint_img: the same against the fit.
        supervise_root: whether ``smplx_pose`` has the root among its numbers; for labels whose root is not
            in the camera's frame (the config's ``agora_fix_global_orient_transl``).
        camera_only: let ``joint_proj`` train the camera alone, not the body. So it was done when AGORA was
            the only set with 3D and no 2D sets were there, that is, in the fine-tuning on AGORA.
    """

    smplx_pose: float = 10.0
    smplx_orient: float = 0.0
    smplx_shape: float = 1.0
    smplx_expr: float = 1.0
    joint_cam: float = 100.0
    smplx_joint_cam: float = 100.0
    bbox: float = 1.0
    joint_proj: float = 1.0
    joint_img: float = 1.0
    smplx_joint_img: float = 1.0
    supervise_root: bool = True
    camera_only: bool = False


def losses(
    forward: Forward,
    targets: Targets,
    masks: Masks,
    weights: LossWeights = LossWeights(),
    *,
    image_size: tuple[int, int] = IMAGE_SIZE,
) -> dict[str, Tensor]:
    """The loss of a batch, term by term: what :func:`loss_terms` gives, each term averaged.

    Returns:
        Name -> mean (no axes), weight included; what is trained on is their sum.

    Raises:
        UsageError: as :func:`loss_terms`.
    """
    terms = loss_terms(forward, targets, masks, weights, image_size=image_size)
    return {name: term.mean() for name, term in terms.items()}


def loss_terms(
    forward: Forward,
    targets: Targets,
    masks: Masks,
    weights: LossWeights = LossWeights(),
    *,
    image_size: tuple[int, int] = IMAGE_SIZE,
) -> dict[str, Tensor]:
    """Every number of every term, for B people.

    A box term whose boxes are all invalid is 0; the published code leaves it out, with the same sum.

    Args:
        forward: what the network says.
        targets: what it should say.
        masks: which of it counts.
        weights: of the terms.
        image_size: height and width of the network image, pixels; needed for ``camera_only``.

    Returns:
        Name -> differences times mask times weight, not averaged: ``smplx_pose`` (B, 159), or (B, 156)
        without the root; ``smplx_orient`` (B, 3) if it has a weight; ``smplx_shape``, ``smplx_expr`` (B, 10);
        ``joint_cam``, ``smplx_joint_cam`` (B, 137, 3); ``lhand_bbox``, ``rhand_bbox``, ``face_bbox`` (B, 2);
        ``joint_proj`` (B, 137, 2); ``joint_img``, ``smplx_joint_img`` (B, 65, 3).

    Raises:
        UsageError: if an entry of targets or masks has another shape than it should for the batch of
            ``forward``.
    """
    _check(targets, masks, forward.pose.shape[0])
    return {
        **_pose_terms(forward, targets, masks, weights),
        **_joint_terms(forward, targets, masks, weights),
        **_box_terms(forward, targets, masks, weights),
        **_image_terms(forward, targets, masks, weights, image_size),
    }


def into_hand_boxes(
    forward: Forward, targets: Targets, masks: Masks
) -> tuple[Targets, Masks, Float[Tensor, "b 137 2"]]:
    """Take all hand joints onto the grids of the predicted hand boxes, if any hand box of the batch is valid.

    Args:
        forward: for its boxes and its projected joints; no gradient goes to the boxes.
        targets: hand joints in cells of the body.
        masks: which of them count.

    Returns:
        Targets whose hand joints are in cells of their predicted box (``joint_img``, ``smplx_joint_img``);
        masks that drop those outside of it (``joint_trunc``, ``smplx_joint_trunc``); and the projected
        joints, where also the hands are in cells of their box. A box without area holds nothing. Where no
        hand box is valid, all of it as it came.
    """
    wanted = ((masks.lhand_bbox_valid + masks.rhand_bbox_valid) > 0).any()
    names = (("joint_img", "joint_trunc"), ("smplx_joint_img", "smplx_joint_trunc"))
    points = {name: getattr(targets, name) for name, _ in names} | {"projected": forward.projected}
    counted = {name: getattr(masks, name) for _, name in names}
    for part in _HANDS:
        rows, boxes = JOINT_PARTS[part], forward.boxes_xyxy[:, BOX_PARTS.index(part)]
        empty = ((boxes[:, 2:] - boxes[:, :2]).abs() < _EMPTY).any(-1)
        # A box one cell wide stands in: a division by nothing would reach the gradients past any mask.
        whole = boxes.new_tensor([0.0, 0.0, HAND_CELLS, HAND_CELLS])
        boxes = torch.where(empty[:, None], whole, boxes)
        for name, joints in points.items():
            points[name] = _replaced(joints, rows, wanted, body_to_hand_box(joints[:, rows], boxes))
        for point, name in names:
            xy = points[point][:, rows, :2]
            inside = ((xy >= 0) & (xy < HAND_CELLS)).all(-1, keepdim=True) & ~empty[:, None, None]
            mask = counted[name]
            counted[name] = _replaced(mask, rows, wanted, mask[:, rows] * inside.to(mask.dtype))
    projected = points.pop("projected")
    return replace(targets, **points), replace(masks, **counted), projected


def _pose_terms(forward: Forward, targets: Targets, masks: Masks, weights: LossWeights) -> dict[str, Tensor]:
    pose = _apart(forward.pose, targets.smplx_pose, masks.smplx_pose_valid)
    numbers = pose if weights.supervise_root else pose[:, _ROOT.stop :]
    found = {"smplx_pose": weights.smplx_pose * numbers}
    if weights.smplx_orient:
        found["smplx_orient"] = weights.smplx_orient * pose[:, _ROOT]
    shape = _apart(forward.betas, targets.smplx_shape, masks.smplx_shape_valid[:, None])
    expression = _apart(forward.expression, targets.smplx_expr, masks.smplx_expr_valid[:, None])
    return {
        **found,
        "smplx_shape": weights.smplx_shape * shape,
        "smplx_expr": weights.smplx_expr * expression,
    }


def _joint_terms(forward: Forward, targets: Targets, masks: Masks, weights: LossWeights) -> dict[str, Tensor]:
    annotated = masks.joint_valid * masks.is_3d[:, None, None]
    joints = _apart(root_aligned(forward.joints), targets.joint_cam, annotated)
    parts = _apart(part_aligned(forward.joints), targets.smplx_joint_cam, masks.smplx_joint_valid)
    return {"joint_cam": weights.joint_cam * joints, "smplx_joint_cam": weights.smplx_joint_cam * parts}


def _box_terms(forward: Forward, targets: Targets, masks: Masks, weights: LossWeights) -> dict[str, Tensor]:
    found = {}
    for place, part in enumerate(BOX_PARTS):
        name = f"{_BOX_NAMES[part]}_bbox"
        center, size = getattr(targets, f"{name}_center"), getattr(targets, f"{name}_size")
        valid = getattr(masks, f"{name}_valid")[:, None]
        term = _apart(forward.box_centers[:, place], center, valid)
        found[name] = weights.bbox * (term + _apart(forward.box_sizes[:, place], size, valid))
    return found


def _image_terms(
    forward: Forward, targets: Targets, masks: Masks, weights: LossWeights, image_size: tuple[int, int]
) -> dict[str, Tensor]:
    if weights.camera_only:
        projected = project(forward.joints.detach(), forward.transl, image_size)
        forward = replace(forward, projected=projected)
    any_hand = ((masks.lhand_bbox_valid + masks.rhand_bbox_valid) > 0).any()
    any_face = (masks.face_bbox_valid > 0).any()
    targets, masks, projected = into_hand_boxes(forward, targets, masks)
    for part in (*_HANDS, "face"):
        rows, wanted = JOINT_PARTS[part], any_face if part == "face" else any_hand
        joints, goal, mask = projected[:, rows], targets.joint_img[:, rows, :2], masks.joint_trunc[:, rows]
        shift = (mask * (goal - joints)).sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)
        projected = _replaced(projected, rows, wanted, joints + shift)
    found = torch.cat([forward.body_joints, forward.left_hand_joints, forward.right_hand_joints], dim=1)
    first = slice(POSITION_JOINTS)
    flat, deep = masks.joint_trunc[:, first], masks.joint_trunc[:, first] * masks.is_3d[:, None, None]
    annotated = torch.cat([flat, flat, deep], dim=-1)
    fitted = masks.smplx_joint_trunc[:, first]
    return {
        "joint_proj": weights.joint_proj * _apart(projected, targets.joint_img[..., :2], masks.joint_trunc),
        "joint_img": weights.joint_img * _apart(found, targets.joint_img[:, first], annotated),
        "smplx_joint_img": weights.smplx_joint_img * _apart(found, targets.smplx_joint_img[:, first], fitted),
    }


def _apart(found: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
    """Absolute differences where the mask is 1, else 0."""
    return (found - wanted).abs() * mask


def _replaced(whole: Tensor, rows: slice, wanted: Tensor, part: Tensor) -> Tensor:
    """``whole`` (B, J, D) with other numbers in some rows, if ``wanted`` (a truth value without axes)."""
    part = torch.where(wanted, part, whole[:, rows])
    return torch.cat([whole[:, : rows.start], part, whole[:, rows.stop :]], dim=1)


def _check(targets: Targets, masks: Masks, batch: int) -> None:
    # A mask of (B, 1) in place of (B,) would broadcast to all pairs of samples, and train on them.
    for name, shape in _SHAPES.items():
        value: Tensor = getattr(targets, name) if hasattr(targets, name) else getattr(masks, name)
        if tuple(value.shape) != (batch, *shape):
            raise UsageError(
                f"{name}: expected shape {(batch, *shape)} for {batch} people, got {tuple(value.shape)}"
            )
