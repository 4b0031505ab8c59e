"""From what a set's targets are made: one row of data per kind of set, no code.

The rows are the sets' ways in SMPLer-X's training (the table of targets per data set in its description).
``train/sets.py`` names one of them, or a variation by :func:`dataclasses.replace`, for each set it mixes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, get_args

__all__ = ["REFERENCE_FAULTS", "RULES", "ReferenceFault", "TargetRule"]

ReferenceFault = Literal[
    "face_eyes", "pw3d_slots", "depthless_2d_masked", "talkshow_hands", "unswapped_masks"
]
"""Faults of the published targets that can be switched on for comparisons.

* ``face_eyes``: of annotated joints, the two eyeballs among the face (rows 67 and 68) change places.
* ``pw3d_slots``: the first 22 SMPL joints, regressed from the mesh, fill rows 0-21 of the 137 in SMPL's own
  order, where other joints belong; rows 22-24 are zeros; the mask is that of the SMPL-X joints.
* ``depthless_2d_masked``: annotated 2D joints without a depth supervise nothing in 2D.
* ``talkshow_hands``: the pose of the left hand is the target of the right one as well.
* ``unswapped_masks``: whether a joint of a mirrored image was right of and below the first pixel, and in
  front, is asked of its counterpart on the other side of the body.
"""

REFERENCE_FAULTS: tuple[ReferenceFault, ...] = get_args(ReferenceFault)
"""All of them."""
_EVERYWHERE: frozenset[ReferenceFault] = frozenset({"unswapped_masks"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRule:
    """How the targets of one person are made.

    Attributes:
        joints2d: where ``joint_img`` comes from. ``labels``: annotated joints, their depth from the annotated
            3D joints where there are any. ``fit``: the SMPL-X fit, projected. ``smpl``: the joints of the
            SMPL fit, projected, by name.
        smplx_joints2d: where ``smplx_joint_img`` comes from. Labels without a depth take that of the fit.
        joints3d: where ``joint_cam`` comes from. ``labels`` is also where ``smplx_joint_cam`` comes from when
            there are any 3D labels; it is the fit's otherwise.
        is_3d: whether ``joint_cam`` and the depth of ``joint_img`` may supervise; of labels, only those that
            have a depth do.
        part_relative_depth: the depth of annotated joints is that in their part (hand, face), over the
            part's extent; else it is that in the body, for all.
        shape: ``given``: the betas supervise, unless they are zero or beyond the limit. ``always``: betas of
            zero, also those beyond the limit, supervise towards the mean shape. ``none``: no shape.
        boxes: hand and face boxes. ``raw``: as they are. ``grown``: fitted into the image, grown to 3:4 and
            times 1.2. ``none``.
        invalid_joints: rows of the fit, by their ``smplerx_137`` names, that supervise nothing.
        invalid_rotations: rotations, by their ``smplerx_53`` names, that supervise nothing.
        faults: which of :data:`ReferenceFault` the published targets of such sets have.
    """

    joints2d: Literal["labels", "fit", "smpl"]
    smplx_joints2d: Literal["labels", "fit", "smpl"]
    joints3d: Literal["labels", "fit", "none"]
    is_3d: bool
    part_relative_depth: bool = False
    shape: Literal["given", "always", "none"] = "always"
    boxes: Literal["raw", "grown", "none"] = "none"
    invalid_joints: tuple[str, ...] = ()
    invalid_rotations: tuple[str, ...] = ()
    faults: frozenset[ReferenceFault] = _EVERYWHERE


# Fits without hands and feet in their data: where these joints point is made up.
_LOOSE_JOINTS = ("L_Big_toe", "L_Small_toe", "L_Heel", "R_Big_toe", "R_Small_toe", "R_Heel")
_LOOSE_ROTATIONS = ("left_ankle", "right_ankle", "left_wrist", "right_wrist")

_HUMANDATA = TargetRule(
    joints2d="labels",
    smplx_joints2d="labels",
    joints3d="labels",
    is_3d=True,
    shape="given",
    boxes="grown",
    faults=_EVERYWHERE | {"face_eyes", "depthless_2d_masked"},
)
_UBODY = TargetRule(joints2d="fit", smplx_joints2d="fit", joints3d="fit", is_3d=True, boxes="raw")
_MSCOCO = TargetRule(
    joints2d="labels",
    smplx_joints2d="fit",
    joints3d="none",
    is_3d=False,
    boxes="raw",
    faults=_EVERYWHERE | {"depthless_2d_masked"},
)

RULES: Mapping[str, TargetRule] = MappingProxyType(
    {
        "humandata": _HUMANDATA,
        "talkshow": replace(_HUMANDATA, faults=_HUMANDATA.faults | {"talkshow_hands"}),
        "renbody": replace(_HUMANDATA, joints3d="fit"),
        "agora": TargetRule(
            joints2d="labels",
            smplx_joints2d="labels",
            joints3d="labels",
            is_3d=True,
            part_relative_depth=True,
            boxes="raw",
        ),
        "ubody": _UBODY,
        "human36m": replace(
            _UBODY, boxes="none", invalid_joints=_LOOSE_JOINTS, invalid_rotations=_LOOSE_ROTATIONS
        ),
        "mscoco": _MSCOCO,
        "mpii": replace(
            _MSCOCO, boxes="none", invalid_joints=_LOOSE_JOINTS, invalid_rotations=_LOOSE_ROTATIONS
        ),
        "pw3d": TargetRule(
            joints2d="smpl",
            smplx_joints2d="smpl",
            joints3d="fit",
            is_3d=True,
            shape="none",
            faults=_EVERYWHERE | {"pw3d_slots"},
        ),
    }
)
"""Name of a kind of set -> its rule. ``humandata`` is the 26 sets that come as HumanData files."""
