"""Which points of a person the test camera sees: only those are averaged in UBody's errors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hmtools.bench.parts import PART_ROWS, BodyParts
from hmtools.core.errors import UsageError

__all__ = ["CROP_SIZE", "Visible", "in_image", "visible"]

CROP_SIZE = (512, 384)
"""Height and width of the crop that ``crop_affine`` leads to, pixels."""
_FOCAL, _CENTRE, _DEPTH_SHIFT = 5000.0, (96.0, 128.0), 1e-4
_CAMERA_SIZE = (256.0, 192.0)  # height and width of the picture that focal length and centre are pixels of


@dataclass(frozen=True, slots=True, eq=False)
class Visible:
    """Which points count.

    Attributes:
        vertices: (B, 10475).
        body: (B, 14) joints of ``SMPLX_to_J14``.
        hands: (B, 2, 21) joints of the left and the right hand.
    """

    vertices: Bool[Tensor, "b v"]
    body: Bool[Tensor, "b 14"]
    hands: Bool[Tensor, "b 2 21"]

    def __getitem__(self, rows: slice) -> Visible:
        """The people at ``rows``."""
        return Visible(self.vertices[rows], self.body[rows], self.hands[rows])


def visible(
    target: Float[Tensor, "b v 3"],
    parts: BodyParts,
    crop_affine: Float[Tensor, "b 2 3"],
    height: Int[Tensor, " b"],
    width: Int[Tensor, " b"],
) -> Visible:
    """Vertices and joints of the **true** mesh that lie in the image (:func:`in_image`).

    Joints are regressed from the whole mesh.

    Args:
        target: (B, 10475, 3) metres, in the network's camera of the crop: with its translation, 25 m away.
        parts: whose joints.
        crop_affine: (B, 2, 3) upright image pixels to pixels of the crop.
        height: (B,) of the upright image, pixels.
        width: (B,) pixels.

    Raises:
        UsageError: for another number of vertices, or an affine that flattens.
    """
    joints = parts.joints(target)
    points = torch.cat([target, joints], dim=1)
    inside = in_image(points, crop_affine, height, width)
    found = inside[:, target.shape[1] :]
    hands = torch.stack([found[:, PART_ROWS[part]] for part in ("left_hand", "right_hand")], dim=1)
    return Visible(inside[:, : target.shape[1]], found[:, PART_ROWS["body"]], hands)


def in_image(
    points: Float[Tensor, "b n 3"],
    crop_affine: Float[Tensor, "b 2 3"],
    height: Int[Tensor, " b"],
    width: Int[Tensor, " b"],
) -> Bool[Tensor, "b n"]:
    """Whether ``0 < u < width`` and ``0 < v < height`` in the upright image, as the test camera projects.

    The camera of SMPLer-X: ``x = 5000 X / (Z + 1e-4) + 96``, ``y = 5000 Y / (Z + 1e-4) + 128`` in pixels of
    192 x 256, scaled to the crop of 384 x 512 and taken back to the image by the inverse of ``crop_affine``.
    A point behind the camera is projected all the same, as published. NaN is outside.

    Args:
        points: (B, N, 3) metres, in the network's camera of the crop.
        crop_affine: (B, 2, 3) upright image pixels to pixels of the crop.
        height: (B,) of the upright image, pixels.
        width: (B,) pixels.

    Raises:
        UsageError: if an affine flattens and cannot be undone, naming the first.
    """
    linear = crop_affine[:, :, :2].double()
    flat = ~(torch.linalg.det(linear).abs() > 0)
    if bool(flat.any()):
        first = int(flat.nonzero()[0])
        raise UsageError(
            f"crop_affine: {int(flat.sum())} of {len(flat)} cannot be undone, the first at row {first}: "
            f"{crop_affine[first].tolist()}"
        )
    factor = linear.new_tensor([size / camera for size, camera in zip(CROP_SIZE, _CAMERA_SIZE, strict=True)])
    factor = factor.flip(0)
    back = torch.linalg.inv(linear)
    # image = back (factor (5000 X / Z + centre) - shift): one matrix and one shift per person
    matrix = back * (_FOCAL * factor)
    middle = factor * linear.new_tensor(_CENTRE)
    shift = (back @ (middle - crop_affine[:, :, 2].double())[..., None])[:, :, 0]
    rays = points[..., :2] / (points[..., 2:] + _DEPTH_SHIFT)
    pixels = rays @ matrix.mT.to(points) + shift[:, None].to(points)
    size = torch.stack([width, height], dim=-1)[:, None].to(points)
    inside: Tensor = ((pixels > 0) & (pixels < size)).all(-1)
    return inside
