"""One person of AGORA: what any form of its labels says, and the record that becomes of it.

Fits are of gendered SMPL-X models (``flat_hand_mean`` false, hands as 45 angles), or of the neutral SMPL. A
child's shape has an eleventh number, the weight of the kid template; of the SMPL-X models with that template
only male and neutral exist, so a girl's numbers belong to the neutral one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, TypeAlias

import numpy as np

from hmtools.bodies.hands import Side
from hmtools.bodies.pending import hold_hand, hold_in_world
from hmtools.datasets.agora_camera import LABEL_SIZE, scene_camera
from hmtools.datasets.agora_tree import AgoraFamily, ImageFolder
from hmtools.datasets.base import json_text
from hmtools.datasets.body_dict import body_parts
from hmtools.geometry.box import bbox_from_keypoints
from hmtools.humandata.record import Record

__all__ = [
    "JOINTS",
    "VERTICES",
    "AgoraPerson",
    "agora_record",
    "image_record",
    "points",
]

Array: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"

JOINTS: Mapping[AgoraFamily, int] = {"smplx": 127, "smpl": 45}
"""Family -> joints that the labels have."""
VERTICES: Mapping[AgoraFamily, int] = {"smplx": 10475, "smpl": 6890}
"""Family -> vertices that the labels have."""

_BOX_PADDING = 1.2
# column stem -> joints that its box is about; the 45 of SMPL have no hands and no face
_PARTS: Mapping[AgoraFamily, Mapping[str, list[int]]] = {
    "smplx": {
        "lhand": [*range(25, 40), *range(66, 71)],
        "rhand": [*range(40, 55), *range(71, 76)],
        "face": [*range(76, 127)],
    },
    "smpl": {},
}
_SIZES: Mapping[AgoraFamily, Mapping[str, int | tuple[int, ...]]] = {
    "smplx": {
        **{"global_orient": 3, "body_pose": 63, "transl": 3, "betas": (10, 11), "expression": 10},
        **{"left_hand_pose": 45, "right_hand_pose": 45},
        **{"jaw_pose": 3, "leye_pose": 3, "reye_pose": 3},
    },
    "smpl": {"global_orient": 3, "body_pose": 69, "transl": 3, "betas": (10, 11)},
}
_OTHER_NAMES = {"global_orient": "root_pose", "transl": "translation"}  # in pickles of SMPL
_SIDES: tuple[Side, ...] = ("left", "right")
_GENDERS = ("male", "female", "neutral")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AgoraPerson:
    """A valid person, as labelled.

    Attributes:
        image: name of the image at 3840 x 2160, with its ending.
        sequence: folder of the image: ``train_0`` to ``train_9``, or ``validation``.
        frame: position of the image among those of the sequence.
        person: position among the people of the image, invalid ones included.
        source_index: position among the people of the sequence, likewise.
        joints2d: (J, 2) pixels of the image at 3840 x 2160.
        joints3d: (J, 3) metres, camera frame.
        mesh: (V, 3) metres, camera frame, or None.
        gender: of the person: male, female or neutral.
        kid: whether it is a child.
        occlusion: percent.
        fit: parameters of the body by name, as unpickled.
        betas_neutral: (10,) of the refit to the neutral model, or None.
        to_camera: (3, 4) from the frame of ``fit`` to the camera, or None where that is not known.
        in_camera: ``fit`` is in the camera frame.
        boxes: stems of box columns ("" is the body) -> x, y, w, h in pixels as of ``joints2d``; those that
            are not given are made of joints.
        meta: what no column holds.
    """

    image: str
    sequence: str
    frame: int
    person: int
    source_index: int
    joints2d: Array
    joints3d: Array
    gender: str
    kid: bool
    occlusion: float
    fit: Mapping[str, Any]
    mesh: Array | None = None
    betas_neutral: Array | None = None
    to_camera: Array | None = None
    in_camera: bool = False
    boxes: Mapping[str, list[float]] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)


def points(values: Any, count: int, width: int, name: str) -> Array:
    """``values`` as (count, width) float64.

    Raises:
        ValueError: for another shape, or no numbers; the message holds ``name``.
    """
    found = np.asarray(values)
    if found.shape != (count, width) or found.dtype.kind not in "fiu":
        raise ValueError(f"{name}: expected ({count}, {width}) numbers, found {found.dtype} {found.shape}")
    return found.astype(np.float64)


def image_record(image: str, stored: ImageFolder) -> Record:
    """What is known of a person from the image alone.

    Args:
        image: its name at 3840 x 2160.
        stored: where it is.
    """
    camera, size = scene_camera(image), stored.size
    return Record(
        source_frame=PurePosixPath(image).stem,
        image_path=stored.path(image),
        image_op="none",
        width=size[0],
        height=size[1],
        focal_length=camera.focal_length(*size),
        principal_point=camera.principal_point(*size),
        camera_model="pinhole",
        camera_kind="real",
    )


def agora_record(found: AgoraPerson, family: AgoraFamily, stored: ImageFolder) -> Record:
    """The record of a person.

    Args:
        found: the labels.
        family: which of the two fits they are.
        stored: where the image is.

    Raises:
        KeyError, TypeError, ValueError: for parameters that are not those of a body.
    """
    record = image_record(found.image, stored)
    record.sequence, record.frame, record.person = found.sequence, found.frame, found.person
    record.source_id = f"{record.source_frame}_personId_{found.person}"
    record.source_index = found.source_index
    _put_joints(record, found, family, stored.size[0] / LABEL_SIZE[0])
    record.occlusion = found.occlusion / 100 if 0 <= found.occlusion <= 100 else None
    record.mesh = found.mesh
    record.meta = json_text({"gender": found.gender, "kid": found.kid, **found.meta})
    _put_fit(record, found, family)
    return record


def _put_joints(record: Record, found: AgoraPerson, family: AgoraFamily, scale: float) -> None:
    flat = np.column_stack([found.joints2d * scale, np.ones(len(found.joints2d))])
    record.keypoints2d_original = flat
    record.keypoints3d_original = np.column_stack([found.joints3d, np.ones(len(found.joints3d))])
    record.valid_keypoints3d = True
    everything = list(range(JOINTS[family]))
    for stem, joints in {"": everything, **_PARTS[family]}.items():
        box: Any = bbox_from_keypoints(flat[joints], padding=_BOX_PADDING)[:4]
        if stem in found.boxes:
            box = np.array(found.boxes[stem]) * scale
        if np.isfinite(box).all() and box[2] > 0 and box[3] > 0:
            setattr(record, f"{stem}_bbox_xywh".lstrip("_"), [*box, 1.0])


def _put_fit(record: Record, found: AgoraPerson, family: AgoraFamily) -> None:
    if found.gender not in _GENDERS:
        raise ValueError(f"gender: expected {', '.join(_GENDERS)}, found {found.gender!r:.20}")
    parts = body_parts(_named(found.fit, family), _SIZES[family])
    betas = parts.pop("betas")
    if (len(betas) == 11) != found.kid:
        raise ValueError(f"betas: {len(betas)} numbers of {'a child' if found.kid else 'an adult'}")
    record.gender = _model_gender(found, family)
    record.kid = float(betas[10]) if found.kid else None
    setattr(record, f"{family}_betas", betas[:10])
    orient, transl = parts.pop("global_orient"), parts.pop("transl")
    for side in _SIDES:
        if (hand := parts.pop(f"{side}_hand_pose", None)) is not None:
            hold_hand(record, family, side, hand)
    for part, values in parts.items():
        setattr(record, f"{family}_{part}", values)
    if found.to_camera is not None:
        record.world_to_cam = found.to_camera
        hold_in_world(record, family, orient, transl, found.to_camera)
    elif found.in_camera:
        setattr(record, f"{family}_global_orient", orient)
        setattr(record, f"{family}_transl", transl)
    record.betas_neutral = found.betas_neutral
    setattr(record, f"valid_{family}", True)
    record.valid_betas = True
    record.valid_global_orient = record.valid_transl = found.to_camera is not None or found.in_camera
    if family == "smplx":
        record.valid_face = record.valid_lhand = record.valid_rhand = True


def _model_gender(found: AgoraPerson, family: AgoraFamily) -> str:
    if family == "smpl" or (found.kid and found.gender == "female"):
        return "neutral"
    return found.gender


def _named(fit: Mapping[str, Any], family: AgoraFamily) -> Mapping[str, Any]:
    names = {name: _OTHER_NAMES.get(name, name) for name in _SIZES[family]}
    return {name: fit[name if name in fit else other] for name, other in names.items()}
