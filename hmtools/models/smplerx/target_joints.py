"""Joints as targets: into the cells of the heat map, through the augmentation, which of them are seen.

Cells and extents are those of :mod:`hmtools.models.smplerx.units`; part roots those of ``joint_sets``. The
functions are exact translations of SMPLer-X's rules (its description, section on preprocessing) to batches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hmtools.humandata.keypoints import flip_permutation
from hmtools.models.smplerx.joint_sets import JOINT_PARTS, PART_ROOTS, PELVIS, SUPERVISED
from hmtools.models.smplerx.units import BODY_DEPTH_CELLS, CELL, DEPTH_EXTENT, IMAGE_SIZE, SUBSAMPLING

__all__ = [
    "ROOT_OF",
    "Augmentation",
    "Shown",
    "body_depth",
    "constant",
    "image_joints",
    "in_volume",
    "mirror_rows",
    "part_depth",
    "picked",
    "rotation_about_z",
    "times",
    "to_cells",
    "turn",
]

_VOLUME = (IMAGE_SIZE[1] / CELL, IMAGE_SIZE[0] / CELL, float(BODY_DEPTH_CELLS))


def _by_part(values: dict[str, float], count: int) -> list[float]:
    rows = [0.0] * count
    for name, span in JOINT_PARTS.items():
        rows[span] = [values[name]] * (span.stop - span.start)
    return rows


_COUNT = JOINT_PARTS["face"].stop
_EXTENTS = tuple(_by_part(dict(DEPTH_EXTENT), _COUNT))
ROOT_OF: tuple[int, ...] = tuple(
    int(row)
    for row in _by_part({"body": float(PELVIS), **{k: float(v) for k, v in PART_ROOTS.items()}}, _COUNT)
)
"""Row of the root of each of the 137 joints: pelvis, wrists, neck."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Augmentation:
    """What happened to the images of B people.

    Attributes:
        flip: (B,) bool, mirrored.
        rotation: (B,) degrees by which the box was turned; what the crop shows is turned by the negative.
        crop_affine: (B, 2, 3) upright original pixels to pixels of the 512 x 384 crop, mirror included.
    """

    flip: Bool[Tensor, " b"]
    rotation: Float[Tensor, " b"]
    crop_affine: Float[Tensor, "b 2 3"]


@cache
def constant(
    values: tuple[float, ...], device: torch.device, dtype: torch.dtype = torch.long
) -> Float[Tensor, " n"] | Int[Tensor, " n"]:
    """Numbers that are the same in every batch; copied to a device once, since each copy waits for it."""
    return torch.tensor(values, dtype=dtype, device=device)


def picked(values: Tensor, rows: tuple[int, ...]) -> Tensor:
    """Rows of (B, J, ...) by their place in J."""
    return values.index_select(1, constant(rows, values.device))


def to_cells(pixels: Float[Tensor, "b n 2"], crop_affine: Float[Tensor, "b 2 3"]) -> Float[Tensor, "b n 2"]:
    """(B, N, 2) upright original pixels to cells of the heat map."""
    matrix = crop_affine.to(pixels)[:, None]
    return (times(matrix[..., :2], pixels) + matrix[..., 2]) / (CELL * SUBSAMPLING)


def body_depth(z: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Metres behind the pelvis to cells along z, over the body's extent."""
    return (z / (DEPTH_EXTENT["body"] / 2) + 1) / 2 * BODY_DEPTH_CELLS


def part_depth(z: Float[Tensor, "b 137"]) -> Float[Tensor, "b 137"]:
    """Metres behind the root of each joint's part to cells along z, over that part's extent."""
    return (z / (constant(_EXTENTS, z.device, z.dtype) / 2) + 1) / 2 * BODY_DEPTH_CELLS


def in_volume(cells: Float[Tensor, "b n 3"]) -> Bool[Tensor, "b n"]:
    """Whether x, y, z in cells lie in the volume: from 0 on, below 12, 16, 16. False for NaN."""
    return ((cells >= 0) & (cells < constant(_VOLUME, cells.device, cells.dtype))).all(-1)


def mirror_rows(values: Tensor, flip: Bool[Tensor, " b"], convention: str = SUPERVISED) -> Tensor:
    """Left and right change places in the rows (B, J, ...) of mirrored people."""
    swapped = picked(values, tuple(flip_permutation(convention).tolist()))
    return torch.where(flip.reshape(-1, *[1] * (values.dim() - 1)), swapped, values)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shown:
    """Joints of B people in the image, before any augmentation.

    Attributes:
        pixels: (B, N, 2) x, y, upright original pixels; not finite where there is no pixel.
        depth: (B, N) cells.
        in_front: (B, N) whether the depth of a joint, in whatever unit it was given, is > 0.
        known: (B, N) whether the joint may supervise.
    """

    pixels: Float[Tensor, "b n 2"]
    depth: Float[Tensor, "b n"]
    in_front: Bool[Tensor, "b n"]
    known: Bool[Tensor, "b n"]


def image_joints(
    shown: Shown, augmentation: Augmentation, unswapped: Bool[Tensor, " b"], convention: str = SUPERVISED
) -> tuple[Float[Tensor, "b n 3"], Bool[Tensor, "b n"]]:
    """Joints of the image as joints of the heat map.

    Args:
        shown: the joints.
        augmentation: of the B images.
        unswapped: (B,) who gets the fault ``unswapped_masks``.
        convention: of the joints; says which change places in a mirrored image.

    Returns:
        (B, N, 3) cells, zero where unknown, and (B, N) whether a joint is seen: known, right of and below the
        first pixel of the image, in front, and inside the volume. What lies beyond the image's other borders
        counts while it is in the volume: so SMPLer-X has it.
    """
    at = to_cells(shown.pixels, augmentation.crop_affine)
    cells = torch.cat([at, shown.depth[..., None]], dim=-1)
    known = shown.known & cells.isfinite().all(-1)
    before, after = (shown.pixels > 0).all(-1) & shown.in_front, in_volume(cells) & known
    cells = torch.where(known[..., None], cells, 0.0)
    cells, swapped, after = (
        mirror_rows(values, augmentation.flip, convention) for values in (cells, before, after)
    )
    return cells, after & torch.where(unswapped[:, None], before, swapped)


def turn(points: Float[Tensor, "b 137 3"], augmentation: Augmentation) -> Float[Tensor, "b 137 3"]:
    """Joints (B, 137, 3) in metres, from the camera frame to that of the augmented image."""
    flip = augmentation.flip
    points = mirror_rows(points, flip)
    sign = torch.where(flip, -1.0, 1.0).to(points)
    points = points * torch.stack([sign, torch.ones_like(sign), torch.ones_like(sign)], -1)[:, None]
    return times(rotation_about_z(-augmentation.rotation.to(points))[:, None], points)


def times(
    matrix: Float[Tensor, "*#batch i j"], vector: Float[Tensor, "*#batch j"]
) -> Float[Tensor, "*batch i"]:
    """Matrix times vector in full precision: a product on tensor cores may round pixels to ten bits."""
    return (matrix * vector[..., None, :]).sum(-1)


def rotation_about_z(degrees: Float[Tensor, " b"]) -> Float[Tensor, "b 3 3"]:
    """Matrices that turn x towards y: in the camera frame, clockwise as seen in the image."""
    angle = degrees * (math.pi / 180)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = [cos, -sin, zero, sin, cos, zero, zero, zero, zero + 1]
    return torch.stack(rows, dim=-1).reshape(-1, 3, 3)
