"""The grids and constants of SMPLer-X, and the way between the grid of a hand box and that of the body.

Three frames meet here. *Crop*: the picture that comes in, 512 x 384 pixels by default. *Network image*: every
second pixel of it, 256 x 192. *Cells*: the heat map, one cell = 16 pixels of the network image along x and
y; along z the 16 cells of a volume cover the part's depth (:data:`DEPTH_EXTENT`). Hands have a grid of their
own, 16 x 16 x 16 cells on the hand's box.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "BODY_DEPTH_CELLS",
    "BOX_EXTENSION",
    "CAMERA_DEPTH",
    "CELL",
    "DEPTH_EXTENT",
    "FOCAL_LENGTH",
    "HAND_CELLS",
    "IMAGE_SIZE",
    "SUBSAMPLING",
    "body_to_hand_box",
    "hand_box_to_body",
]

IMAGE_SIZE = (256, 192)
"""Height and width of the network image of the published weights, pixels."""
SUBSAMPLING = 2
"""Every how many pixels of the crop one is taken, from the first on: by index, never interpolated."""
CELL = 16
"""Pixels of the network image per cell, x and y."""
BODY_DEPTH_CELLS = 16
"""Cells along z of the body's volume."""
HAND_CELLS = 16
"""Cells along each axis of a hand's volume."""
FOCAL_LENGTH = 5000.0
"""Focal length of the virtual camera, pixels of the network image; its principal point is the middle."""
CAMERA_DEPTH = 2.5
"""Metres that fill the network image at the largest distance the camera head can say."""
DEPTH_EXTENT: Mapping[str, float] = MappingProxyType(
    {"body": 2.0, "left_hand": 0.3, "right_hand": 0.3, "face": 0.3}
)
"""Part -> metres that its 16 cells along z cover, around the part's root."""
BOX_EXTENSION: Mapping[str, float] = MappingProxyType({"left_hand": 2.0, "right_hand": 2.0, "face": 1.5})
"""Part -> how many times wider the box used is than the one predicted. Also the order of the boxes."""


def hand_box_to_body(joints: Float[Tensor, "b j 3"], boxes: Float[Tensor, "b 4"]) -> Float[Tensor, "b j 3"]:
    """Hand joints from cells of their box to cells of the body.

    Args:
        joints: (B, J, 3) x, y in cells of the hand's grid, z in cells.
        boxes: (B, 4) x0, y0, x1, y1, pixels of the network image.

    Returns:
        (B, J, 3) x, y in cells of the body; z is what it was.
    """
    corner, side = boxes[:, None, :2] / CELL, (boxes[:, None, 2:] - boxes[:, None, :2]) / CELL
    return torch.cat([joints[..., :2] * side / HAND_CELLS + corner, joints[..., 2:]], dim=-1)


def body_to_hand_box(points: Float[Tensor, "b j d"], boxes: Float[Tensor, "b 4"]) -> Float[Tensor, "b j d"]:
    """The inverse of :func:`hand_box_to_body`, for points with or without z; a box without area gives inf."""
    corner, side = boxes[:, None, :2] / CELL, (boxes[:, None, 2:] - boxes[:, None, :2]) / CELL
    return torch.cat([(points[..., :2] - corner) * HAND_CELLS / side, points[..., 2:]], dim=-1)
