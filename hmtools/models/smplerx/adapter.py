"""From the numbers of the network to those of a record: the rows of a table of predictions.

The network speaks of a crop, through a virtual camera, with hands relative to the mean hand. Everybody else
speaks of the whole upright image, with absolute hands. Besides the targets, this is the only place that knows
both.

The virtual camera is a camera of the whole image as well: its focal length and principal point in the crop,
taken back through the affine that made the crop, see the same points of the camera frame at the same pixels
(what the published demo writes beside its predictions). So bodies need not be moved. For a known camera of
the image, :func:`hmtools.geometry.camera.switch_intrinsics` moves them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hmtools.core.errors import GeometryError, UsageError
from hmtools.geometry.arrays import ArrayLike
from hmtools.geometry.camera import crop_to_full_intrinsics
from hmtools.models.smplerx.joint_sets import NATIVE
from hmtools.models.smplerx.outputs import Prediction
from hmtools.models.smplerx.units import CELL, FOCAL_LENGTH, IMAGE_SIZE, SUBSAMPLING

__all__ = ["Predicted", "predicted"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predicted:
    """B predicted people, under the names of the record: **neutral** SMPL-X, float32.

    Metres, radians, OpenCV camera frame (x right, y down, z forward), absolute hands; pixels are those of the
    upright image.

    Attributes:
        smplx_global_orient: (B, 3).
        smplx_body_pose: (B, 63).
        smplx_transl: (B, 3) in the camera of ``focal_length`` and ``principal_point``.
        smplx_left_hand_pose: (B, 45) absolute.
        smplx_right_hand_pose: (B, 45) absolute.
        smplx_jaw_pose: (B, 3).
        smplx_leye_pose: (B, 3) zeros: the network has no gaze, its bodies look straight ahead.
        smplx_reye_pose: (B, 3) zeros.
        smplx_betas: (B, 10).
        smplx_expression: (B, 10).
        focal_length: (B, 2) of the whole image, pixels; of each person's own virtual camera.
        principal_point: (B, 2) pixels.
        virtual_transl: (B, 3) the translation in the network's camera of the crop. The same numbers as
            ``smplx_transl``, until that is moved to another camera.
        crop_affine: (B, 2, 3) pixels of the image to pixels of the crop.
        joints2d: (B, 144, 2) joints of the body, pixels, as the network projects them: with 0.1 mm added to
            their depth.
        joints3d: (B, 144, 3) the same joints, ``smplx_transl`` added.
        convention: name of the joints' order.
        vertices: (B, 10475, 3), ``smplx_transl`` added; None unless the network was asked for them.
    """

    smplx_global_orient: Float[Tensor, "b 3"]
    smplx_body_pose: Float[Tensor, "b 63"]
    smplx_transl: Float[Tensor, "b 3"]
    smplx_left_hand_pose: Float[Tensor, "b 45"]
    smplx_right_hand_pose: Float[Tensor, "b 45"]
    smplx_jaw_pose: Float[Tensor, "b 3"]
    smplx_leye_pose: Float[Tensor, "b 3"]
    smplx_reye_pose: Float[Tensor, "b 3"]
    smplx_betas: Float[Tensor, "b 10"]
    smplx_expression: Float[Tensor, "b 10"]
    focal_length: Float[Tensor, "b 2"]
    principal_point: Float[Tensor, "b 2"]
    virtual_transl: Float[Tensor, "b 3"]
    crop_affine: Float[Tensor, "b 2 3"]
    joints2d: Float[Tensor, "b 144 2"]
    joints3d: Float[Tensor, "b 144 3"]
    convention: str
    vertices: Float[Tensor, "b v 3"] | None


def predicted(
    prediction: Prediction,
    crop_affine: ArrayLike,
    hand_means: Float[Tensor, "2 45"],
    *,
    image_size: tuple[int, int] = IMAGE_SIZE,
) -> Predicted:
    """Say of a prediction what a record says of a person.

    Args:
        prediction: of B crops.
        crop_affine: (B, 2, 3) pixels of the upright image to pixels of the crop, as the crops were made. For
            official weights, :func:`hmtools.geometry.crop.crop_affine` with ``corners``.
        hand_means: (2, 45) left and right mean hand of the body model the network has
            (``RelativeHandsBody.hand_means``), radians.
        image_size: height and width of the network image, pixels.

    Returns:
        The people, on the device of ``prediction``.

    Raises:
        UsageError: if there is not one affine per person.
        GeometryError: if an affine turns, mirrors, shears or flattens: no camera sees the whole image that
            way; or if it has NaN.
    """
    like, batch = prediction.transl, len(prediction.transl)
    affines = np.asarray(crop_affine.cpu() if isinstance(crop_affine, Tensor) else crop_affine, np.float64)
    if affines.shape != (batch, 2, 3):
        raise UsageError(f"crop_affine: expected {(batch, 2, 3)}, one per person, got {affines.shape}")
    if not np.isfinite(affines).all():
        raise GeometryError(f"crop_affine: not finite for {(~np.isfinite(affines)).any((1, 2)).sum()} people")
    focal, principal, back = (_tensor(array, like) for array in _cameras(affines, image_size))
    crop_pixels = prediction.projected_144 * (CELL * SUBSAMPLING)
    return Predicted(
        smplx_global_orient=prediction.root_pose,
        smplx_body_pose=prediction.body_pose,
        smplx_transl=prediction.transl,
        smplx_left_hand_pose=prediction.left_hand_pose + hand_means[0],
        smplx_right_hand_pose=prediction.right_hand_pose + hand_means[1],
        smplx_jaw_pose=prediction.jaw_pose,
        smplx_leye_pose=torch.zeros_like(prediction.jaw_pose),
        smplx_reye_pose=torch.zeros_like(prediction.jaw_pose),
        smplx_betas=prediction.betas,
        smplx_expression=prediction.expression,
        focal_length=focal,
        principal_point=principal,
        virtual_transl=prediction.transl,
        crop_affine=_tensor(affines, like),
        joints2d=crop_pixels * back[:, None, :, 0] + back[:, None, :, 1],
        joints3d=prediction.joints_144,
        convention=NATIVE,
        vertices=prediction.vertices,
    )


def _cameras(
    affines: np.ndarray, image_size: tuple[int, int]
) -> tuple[Float[np.ndarray, "b 2"], Float[np.ndarray, "b 2"], Float[np.ndarray, "b 2 2"]]:
    """Focal lengths and principal points of the image; per axis, factor and shift from crop to image."""
    height, width = image_size
    middle = np.array([width, height]) * SUBSAMPLING / 2
    cameras = [crop_to_full_intrinsics(FOCAL_LENGTH * SUBSAMPLING, middle, affine) for affine in affines]
    focal, principal = (np.stack(arrays) for arrays in zip(*cameras, strict=True))
    factor = 1 / np.stack([affines[:, 0, 0], affines[:, 1, 1]], axis=-1)
    return focal, principal, np.stack([factor, -affines[:, :, 2] * factor], axis=-1)


def _tensor(array: np.ndarray, like: Tensor) -> Tensor:
    return torch.tensor(array, dtype=like.dtype, device=like.device)
