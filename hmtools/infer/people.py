"""People predicted in images of one's own, and the boxes they are asked for by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from hmtools.core.errors import UsageError
from hmtools.geometry.arrays import ArrayLike
from hmtools.models.smplerx.joint_sets import NATIVE

__all__ = ["COLUMNS", "PredictedPeople", "people_of"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PredictedPeople:
    """N people of some images, in the order of the boxes, under the names of the record: neutral SMPL-X.

    Float32; metres, radians, OpenCV camera frame (x right, y down, z forward), hands **absolute**. Pixels are
    those of the image that was given, centres at integers. Rows that are not ``found`` are NaN.

    Attributes:
        image: (N,) number of the image each person is of.
        bbox_xywh: (N, 5) the boxes: x, y of the top left corner, width, height, confidence (1 where none was
            given), pixels.
        found: (N,) False where nothing of the box is inside its image.
        smplx_global_orient: (N, 3) axis-angle of the pelvis, radians, in the camera frame.
        smplx_body_pose: (N, 63) 21 joints, each relative to its parent.
        smplx_transl: (N, 3) metres, in the camera of ``focal_length`` and ``principal_point``.
        smplx_left_hand_pose: (N, 45) 15 joints.
        smplx_right_hand_pose: (N, 45) 15 joints.
        smplx_jaw_pose: (N, 3).
        smplx_leye_pose: (N, 3) zeros: SMPLer-X has no gaze.
        smplx_reye_pose: (N, 3) zeros.
        smplx_betas: (N, 10) shape.
        smplx_expression: (N, 10).
        focal_length: (N, 2) fx, fy of the whole image, pixels: of each person's own virtual camera.
        principal_point: (N, 2) cx, cy, pixels.
        virtual_transl: (N, 3) metres, translation in the network's camera of the crop.
        crop_affine: (N, 2, 3) pixels of the image to pixels of the 384 x 512 crop.
        joints2d: (N, 144, 3) x, y in pixels and 1; joints of the body model.
        joints3d: (N, 144, 4) x, y, z in metres, translation included, and 1.
        convention: name of the joints' order, see :mod:`hmtools.humandata.keypoints`.
        vertices: (N, 10475, 3) metres, translation included; None unless asked for.
    """

    image: Int64[np.ndarray, " n"]
    bbox_xywh: Float32[np.ndarray, "n 5"]
    found: Bool[np.ndarray, " n"]
    smplx_global_orient: Float32[np.ndarray, "n 3"]
    smplx_body_pose: Float32[np.ndarray, "n 63"]
    smplx_transl: Float32[np.ndarray, "n 3"]
    smplx_left_hand_pose: Float32[np.ndarray, "n 45"]
    smplx_right_hand_pose: Float32[np.ndarray, "n 45"]
    smplx_jaw_pose: Float32[np.ndarray, "n 3"]
    smplx_leye_pose: Float32[np.ndarray, "n 3"]
    smplx_reye_pose: Float32[np.ndarray, "n 3"]
    smplx_betas: Float32[np.ndarray, "n 10"]
    smplx_expression: Float32[np.ndarray, "n 10"]
    focal_length: Float32[np.ndarray, "n 2"]
    principal_point: Float32[np.ndarray, "n 2"]
    virtual_transl: Float32[np.ndarray, "n 3"]
    crop_affine: Float32[np.ndarray, "n 2 3"]
    joints2d: Float32[np.ndarray, "n 144 3"]
    joints3d: Float32[np.ndarray, "n 144 4"]
    convention: str = NATIVE
    vertices: Float32[np.ndarray, "n v 3"] | None = None

    def __len__(self) -> int:
        return len(self.image)


COLUMNS: Mapping[str, tuple[int, ...]] = {
    **{f"smplx_{name}": (3,) for name in ("global_orient", "transl", "jaw_pose", "leye_pose", "reye_pose")},
    **{"smplx_body_pose": (63,), "smplx_left_hand_pose": (45,), "smplx_right_hand_pose": (45,)},
    **{"smplx_betas": (10,), "smplx_expression": (10,), "focal_length": (2,), "principal_point": (2,)},
    **{"virtual_transl": (3,), "crop_affine": (2, 3), "joints2d": (144, 3), "joints3d": (144, 4)},
}
"""Columns of the numbers of a person -> shape of a row."""


def people_of(
    images: Sequence[UInt8[np.ndarray, "h w 3"]], boxes: Sequence[ArrayLike] | None
) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, "n 5"]]:
    """Who is asked for: every person's image and box.

    Args:
        images: each (H, W, 3) uint8 RGB.
        boxes: for every image (n, 4) or (n, 5): x, y, w, h and a confidence, pixels; one box may be (4,).
            None: one person fills each image.

    Returns:
        (N,) number of the image and (N, 5) box of each person; the confidence is 1 where none was given.

    Raises:
        UsageError: for images or boxes of another kind, or not as many of both.
    """
    for number, image in enumerate(images):
        kind = getattr(image, "dtype", type(image).__name__)
        shape = tuple(getattr(image, "shape", ()))
        if kind != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
            raise UsageError(f"images[{number}]: expected RGB uint8 of shape (H, W, 3), got {kind} {shape}")
    if boxes is None:
        boxes = [[0, 0, image.shape[1], image.shape[0]] for image in images]
    if len(boxes) != len(images):
        raise UsageError(f"boxes: expected one list for each of {len(images)} images, got {len(boxes)}")
    found = [_boxes(number, own) for number, own in enumerate(boxes)]
    numbers = np.repeat(np.arange(len(found)), [len(own) for own in found])
    return numbers, np.concatenate([np.zeros((0, 5), np.float32), *found])


def _boxes(number: int, given: ArrayLike) -> Float32[np.ndarray, "n 5"]:
    wanted = f"boxes[{number}]: expected finite x, y, w, h of shape (n, 4) or (n, 5)"
    try:
        box = np.asarray(given, np.float32)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{wanted}; got {error}") from error
    if box.ndim == 1:
        box = box.reshape(-1, max(1, len(box)))
    if box.ndim != 2 or (box.shape[1] not in (4, 5) and len(box)) or not np.isfinite(box).all():
        raise UsageError(f"{wanted}, got {np.shape(given)}")
    whole = np.ones((len(box), 5), np.float32)
    whole[:, : box.shape[1]] = box
    return whole
