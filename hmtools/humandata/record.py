"""The record: one person in one image.

This dataclass is the single source of the schema: each field says its cell type, unit, frame and meaning, and
:mod:`hmtools.humandata.schema` makes the Arrow schema and the published contract from it.

Cell types: ``str``, ``bool``, ``i32``, ``i64``, ``f32``, ``enum:a|b`` (a closed vocabulary), arrays
``f32[5]``, ``f32[K2,3]`` (K2 and K3 are the joint counts of the set's 2D and 3D source convention),
``f32[B16]`` (width declared by the set, at most 16) and ``f32[*]`` (variable length).

What is too large for a row of a table travels with the record without being a column of it, and is stored in
a sidecar of the part: ``mesh``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

__all__ = ["FAMILIES", "Column", "Record", "columns"]

FAMILIES = ("smplx", "smpl", "smplh")
"""Body-model families; a column whose name starts with one of these exists only where a set has it."""

_CAMERA = "OpenCV camera (x right, y down, z forward)"
_PARENT = "parent joint"
_PIXELS = "upright original pixels, pixel centres at integers"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the record schema."""

    name: str
    cell: str
    doc: str
    unit: str = ""
    frame: str = ""
    common: bool = False  # filled by common code, never by a converter


def _column(cell: str, doc: str, unit: str = "", frame: str = "", *, common: bool = False) -> Any:
    return field(default=None, metadata={"column": (cell, doc, unit, frame, common)})


def _rotation(cell: str, doc: str, frame: str = _PARENT) -> Any:
    return _column(cell, f"{doc}, axis-angle", "rad", frame)


@dataclass(slots=True, kw_only=True)
class Record:
    """One person in one image; a field that is not known is ``None``, never zeros.

    Arrays are anything ``numpy.asarray(…, float32)`` takes; shapes are those of the cell types above.

    Attributes:
        mesh: (V, 3) vertices of the person's body in the topology of one of the set's families, metres,
            camera frame; None when the source has no mesh. No column: see :mod:`hmtools.shards.sidecar`.
    """

    # identity
    key: str | None = _column(
        "str", "dataset/split/sequence/frame_person, see hmtools.humandata.keys", common=True
    )
    dataset: str | None = _column("str", "dataset name", common=True)
    split: str | None = _column("str", "official split name", common=True)
    sequence: str | None = _column("str", "sequence; for stills the official split folder")
    frame: int | None = _column("i32", "0-based position in the source video or list")
    source_frame: str | None = _column("str", "the release's own frame number or name")
    fps: float | None = _column("f32", "frame rate of the source; null for stills", "1/s")
    person: int | None = _column("i32", "index of the person in the image before any filter")
    source_id: str | None = _column("str", "the release's own name of the person (annotation id, subject)")
    track_id: str | None = _column("str", "identity over time within a sequence; null for stills")
    source_index: int | None = _column("i64", "position in the reference pipeline's row order, for intervals")
    # image
    image_path: str | None = _column("str", "image or video file, relative to the download's root")
    video_frame: int | None = _column("i32", "decoded frame index inside image_path; null for stills")
    image_op: str | None = _column(
        "enum:none|rot90cw|rot90ccw|hflip", "what makes the file upright as labelled"
    )
    height: int | None = _column("i32", "height of the upright image", "px")
    width: int | None = _column("i32", "width of the upright image", "px")
    image_affine: Any = _column(
        "f32[2,3]", "upright pixel centres to stored pixel centres; null = identity", "px", common=True
    )
    shard: str | None = _column("str", "tar file in the same folder that holds the image", common=True)
    offset: int | None = _column("i64", "first byte of the encoded image in the tar", "byte", common=True)
    nbytes: int | None = _column("i64", "length of the encoded image", "byte", common=True)
    # boxes
    bbox_xywh: Any = _column("f32[5]", "body box x, y, w, h, confidence", "px", _PIXELS)
    lhand_bbox_xywh: Any = _column("f32[5]", "left-hand box x, y, w, h, confidence", "px", _PIXELS)
    rhand_bbox_xywh: Any = _column("f32[5]", "right-hand box x, y, w, h, confidence", "px", _PIXELS)
    face_bbox_xywh: Any = _column("f32[5]", "face box x, y, w, h, confidence", "px", _PIXELS)
    # keypoints
    keypoints2d_original: Any = _column("f32[K2,3]", "source joints x, y, confidence", "px", _PIXELS)
    keypoints3d_original: Any = _column("f32[K3,4]", "source joints x, y, z, confidence", "m", _CAMERA)
    keypoints2d_smplx: Any = _column(
        "f32[144,3]", "projected SMPL-X joints x, y, confidence", "px", _PIXELS, common=True
    )
    keypoints3d_smplx: Any = _column(
        "f32[144,4]", "SMPL-X joints x, y, z, confidence", "m", _CAMERA, common=True
    )
    keypoints2d_smpl: Any = _column(
        "f32[45,3]", "projected SMPL joints x, y, confidence", "px", _PIXELS, common=True
    )
    keypoints3d_smpl: Any = _column("f32[45,4]", "SMPL joints x, y, z, confidence", "m", _CAMERA, common=True)
    # bodies; hands are absolute (flat_hand_mean true)
    smplx_global_orient: Any = _rotation("f32[3]", "SMPL-X root orientation", _CAMERA)
    smplx_body_pose: Any = _rotation("f32[63]", "SMPL-X body pose, 21 joints")
    smplx_transl: Any = _column("f32[3]", "SMPL-X translation", "m", _CAMERA)
    smplx_left_hand_pose: Any = _rotation("f32[45]", "SMPL-X left hand, 15 joints, absolute")
    smplx_right_hand_pose: Any = _rotation("f32[45]", "SMPL-X right hand, 15 joints, absolute")
    smplx_jaw_pose: Any = _rotation("f32[3]", "SMPL-X jaw")
    smplx_leye_pose: Any = _rotation("f32[3]", "SMPL-X left eye")
    smplx_reye_pose: Any = _rotation("f32[3]", "SMPL-X right eye")
    smplx_betas: Any = _column("f32[B16]", "SMPL-X shape")
    smplx_expression: Any = _column("f32[B16]", "SMPL-X expression")
    smpl_global_orient: Any = _rotation("f32[3]", "SMPL root orientation", _CAMERA)
    smpl_body_pose: Any = _rotation("f32[69]", "SMPL body pose, 23 joints")
    smpl_transl: Any = _column("f32[3]", "SMPL translation", "m", _CAMERA)
    smpl_betas: Any = _column("f32[B16]", "SMPL shape")
    smplh_global_orient: Any = _rotation("f32[3]", "SMPL-H root orientation", _CAMERA)
    smplh_body_pose: Any = _rotation("f32[63]", "SMPL-H body pose, 21 joints")
    smplh_transl: Any = _column("f32[3]", "SMPL-H translation", "m", _CAMERA)
    smplh_left_hand_pose: Any = _rotation("f32[45]", "SMPL-H left hand, 15 joints, absolute")
    smplh_right_hand_pose: Any = _rotation("f32[45]", "SMPL-H right hand, 15 joints, absolute")
    smplh_betas: Any = _column("f32[B16]", "SMPL-H shape")
    gender: str | None = _column("enum:neutral|male|female", "gender of the model the numbers belong to")
    kid: float | None = _column("f32", "weight of the kid template (AGORA's 11th number)")
    betas_neutral: Any = _column(
        "f32[10]", "shape of the neutral model that fits the gendered one", common=True
    )
    # camera
    focal_length: Any = _column("f32[2]", "fx, fy", "px", _PIXELS)
    principal_point: Any = _column("f32[2]", "cx, cy", "px", _PIXELS)
    camera_model: str | None = _column(
        "enum:pinhole|opencv5|opencv8|imar5", "projection; pixels stay distorted"
    )
    distortion: Any = _column("f32[*]", "coefficients of camera_model; null for pinhole")
    camera_kind: str | None = _column("enum:real|virtual", "calibrated, or made up by a fit")
    world_to_cam: Any = _column("f32[3,4]", "world to camera, rotation and translation", "m", _CAMERA)
    # validity
    valid_smplx: bool | None = _column("bool", "SMPL-X parameters may supervise")
    valid_smpl: bool | None = _column("bool", "SMPL parameters may supervise")
    valid_keypoints3d: bool | None = _column("bool", "3D joints are metric")
    valid_betas: bool | None = _column("bool", "shape may supervise")
    valid_face: bool | None = _column("bool", "jaw, expression and face joints may supervise")
    valid_lhand: bool | None = _column("bool", "left hand may supervise")
    valid_rhand: bool | None = _column("bool", "right hand may supervise")
    valid_global_orient: bool | None = _column("bool", "root orientation may supervise")
    valid_transl: bool | None = _column("bool", "translation may supervise")
    pose_valid: Any = _column("bool[55]", "per SMPL-X joint: the rotation may supervise")
    occlusion: float | None = _column("f32", "occluded share of the person, 0 to 1")
    meta: str | None = _column("str", "anything else, a JSON object")
    # in a sidecar
    mesh: Any = None


@cache
def columns() -> tuple[Column, ...]:
    """Every column of the record, in schema order."""
    return tuple(
        Column(item.name, cell, doc, unit, frame, common)
        for item in fields(Record)
        if "column" in item.metadata
        for cell, doc, unit, frame, common in [item.metadata["column"]]
    )
