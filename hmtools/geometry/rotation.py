"""Rotations: axis-angle, matrix, quaternion and the three layouts of 6D.

Every function takes torch tensors of any float type, device and leading axes, and returns the same. First
and second derivatives are finite and right at angle 0 and near pi (at exactly pi the axis has two signs, and
one of them is taken). Values are not looked at, as that would stall a GPU: what is no rotation (a zero
quaternion, NaN) gives NaN. Only :func:`nearest_rotation` and wrong shapes raise.

Quaternions are **w, x, y, z** (Hamilton); SciPy's and ROS's x, y, z, w has conversions of its own.
Matrices act on columns: ``v' = R v``.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from hmtools.core.errors import UsageError, nearest
from hmtools.geometry.arrays import refuse

__all__ = [
    "LAYOUTS_6D",
    "Layout6D",
    "axis_angle_to_matrix",
    "axis_angle_to_quaternion",
    "geodesic_angle",
    "matrix_to_axis_angle",
    "matrix_to_quaternion",
    "matrix_to_rotation_6d",
    "nearest_rotation",
    "quaternion_from_xyzw",
    "quaternion_to_axis_angle",
    "quaternion_to_matrix",
    "quaternion_to_xyzw",
    "rotation_6d_to_matrix",
]

Layout6D = Literal["columns", "rows", "interleaved"]
LAYOUTS_6D: dict[Layout6D, str] = {
    "columns": "R00 R10 R20 R01 R11 R21: the first column, then the second (HMR2)",
    "rows": "R00 R01 R02 R10 R11 R12: the first row, then the second (PyTorch3D, WHAM)",
    "interleaved": "R00 R01 R10 R11 R20 R21: the first two columns as a 3 x 2 matrix, row by row (SMPLer-X)",
}
"""What six numbers mean, by the name of their layout. Taken for each other, they still look plausible."""

# Taylor coefficients, constant term first, of cos(sqrt(u) / 2), sin(sqrt(u) / 2) / sqrt(u) and
# atan(sqrt(u)) / sqrt(u). The closed forms divide by sqrt(u), and lose a digit of every derivative for each
# digit that it is short of 1: series take over well before that matters in float64.
_COS = (1.0, -1 / 8, 1 / 384, -1 / 46080, 1 / 10321920, -1 / 3715891200)
_SIN = (0.5, -1 / 48, 1 / 3840, -1 / 645120, 1 / 185794560, -1 / 81749606400)
_ATAN = tuple((-1) ** i / (2 * i + 1) for i in range(9))
_SMALL_ANGLE_SQUARED = 0.05
_SMALL_TAN_SQUARED = 0.01


def axis_angle_to_quaternion(axis_angle: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 4"]:
    """Rotation vectors (radians) to unit quaternions w, x, y, z; w < 0 beyond pi.

    Raises:
        UsageError: if the last axis is not 3.
    """
    _expect(axis_angle, (3,), "axis-angle")
    square = (axis_angle * axis_angle).sum(-1, keepdim=True)
    small = square < _SMALL_ANGLE_SQUARED
    # The branch not taken is fed harmless numbers: its gradient would be NaN times zero, which is NaN.
    near, half = torch.where(small, square, 0.0), torch.where(small, 1.0, square).sqrt() / 2
    w = torch.where(small, _series(_COS, near), half.cos())
    factor = torch.where(small, _series(_SIN, near), half.sin() / (2 * half))
    return torch.cat([w, factor * axis_angle], dim=-1)


def quaternion_to_axis_angle(quaternion: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3"]:
    """Quaternions w, x, y, z of any length > 0 to rotation vectors, radians, angle in [0, pi].

    Raises:
        UsageError: if the last axis is not 4.
    """
    _expect(quaternion, (4,), "quaternion w, x, y, z")
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)  # the turn below pi
    w, vector = quaternion[..., :1], quaternion[..., 1:]
    square = (vector * vector).sum(-1, keepdim=True)
    small = square < _SMALL_TAN_SQUARED * w * w
    near_w = torch.where(small, w, 1.0)
    ratio = torch.where(small, square, 0.0) / (near_w * near_w)
    sine = torch.where(small, 1.0, square).sqrt()
    far_w = torch.where(small, 1.0, w)
    factor = torch.where(small, _series(_ATAN, ratio) / near_w, torch.atan2(sine, far_w) / sine)
    # A zero quaternion reaches the far branch with sine 0, and becomes 0 / 0 as it should.
    return 2 * factor * vector


def quaternion_to_matrix(quaternion: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Quaternions w, x, y, z of any length > 0 to rotation matrices.

    Raises:
        UsageError: if the last axis is not 4.
    """
    _expect(quaternion, (4,), "quaternion w, x, y, z")
    w, x, y, z = quaternion.unbind(-1)
    double = 2 / (quaternion * quaternion).sum(-1)
    entries = [
        1 - double * (y * y + z * z),
        double * (x * y - w * z),
        double * (x * z + w * y),
        double * (x * y + w * z),
        1 - double * (x * x + z * z),
        double * (y * z - w * x),
        double * (x * z - w * y),
        double * (y * z + w * x),
        1 - double * (x * x + y * y),
    ]
    return torch.stack(entries, -1).reshape(*quaternion.shape[:-1], 3, 3)


def matrix_to_quaternion(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Rotation matrices to unit quaternions w, x, y, z with w >= 0.

    A matrix that is only nearly a rotation gives a quaternion of a rotation nearby; the matrix of zeros gives
    the identity.

    Raises:
        UsageError: if the last axes are not 3 x 3.
    """
    _expect(matrix, (3, 3), "rotation matrix")
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = matrix.flatten(-2).unbind(-1)
    # Four times the outer product of the quaternion with itself, from sums of entries alone. Each row is a
    # multiple of the quaternion; that of the largest diagonal entry is at least 2 long, so nothing cancels.
    outer = [
        [1 + r00 + r11 + r22, r21 - r12, r02 - r20, r10 - r01],
        [r21 - r12, 1 + r00 - r11 - r22, r10 + r01, r02 + r20],
        [r02 - r20, r10 + r01, 1 - r00 + r11 - r22, r21 + r12],
        [r10 - r01, r02 + r20, r21 + r12, 1 - r00 - r11 + r22],
    ]
    rows = torch.stack([torch.stack(row, -1) for row in outer], -2)
    best = rows.diagonal(dim1=-2, dim2=-1).argmax(-1)[..., None, None].expand(*rows.shape[:-2], 1, 4)
    row = rows.gather(-2, best).squeeze(-2)
    row = torch.where(row[..., :1] < 0, -row, row)
    length: Tensor = torch.linalg.vector_norm(row, dim=-1, keepdim=True)
    return row / length


def quaternion_to_xyzw(quaternion: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """Quaternions w, x, y, z as SciPy and ROS store them: x, y, z, w."""
    return quaternion.roll(-1, -1)


def quaternion_from_xyzw(quaternion: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """Quaternions x, y, z, w (SciPy, ROS) as w, x, y, z."""
    return quaternion.roll(1, -1)


def axis_angle_to_matrix(axis_angle: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation vectors (radians, of any angle) to rotation matrices, by way of quaternions.

    Raises:
        UsageError: if the last axis is not 3.
    """
    return quaternion_to_matrix(axis_angle_to_quaternion(axis_angle))


def matrix_to_axis_angle(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Rotation matrices to rotation vectors, radians, angle in [0, pi]; accurate at 0, near pi and at pi.

    At exactly pi both signs of the axis are right, and the one whose largest component is positive is given.
    Angles above pi therefore do not survive the way through a matrix.

    Raises:
        UsageError: if the last axes are not 3 x 3.
    """
    return quaternion_to_axis_angle(matrix_to_quaternion(matrix))


def rotation_6d_to_matrix(
    numbers: Float[Tensor, "*batch 6"], layout: Layout6D
) -> Float[Tensor, "*batch 3 3"]:
    """Six numbers to a rotation matrix by Gram-Schmidt (Zhou et al. 2019).

    Vectors are divided by max(length, 1e-12).

    Args:
        numbers: the six numbers, of any scale.
        layout: what they mean: see :data:`LAYOUTS_6D`. There is no default, as every network has its own.

    Returns:
        Matrices. Zero or parallel vectors determine no rotation, and then the matrix is none, as in the
        published networks (its determinant is 0 or comes from rounding); :func:`nearest_rotation` makes one.

    Raises:
        UsageError: for an unknown layout, or if the last axis is not 6.
    """
    _expect(numbers, (6,), "6D rotation")
    _known(layout)
    if layout == "interleaved":
        first, second = numbers[..., 0::2], numbers[..., 1::2]
    else:
        first, second = numbers[..., :3], numbers[..., 3:]
    first = torch.nn.functional.normalize(first, dim=-1)
    second = second - (first * second).sum(-1, keepdim=True) * first
    second = torch.nn.functional.normalize(second, dim=-1)
    third = torch.linalg.cross(first, second, dim=-1)
    return torch.stack([first, second, third], dim=-2 if layout == "rows" else -1)


def matrix_to_rotation_6d(matrix: Float[Tensor, "*batch 3 3"], layout: Layout6D) -> Float[Tensor, "*batch 6"]:
    """The six numbers of a rotation matrix in a layout of :data:`LAYOUTS_6D`.

    Raises:
        UsageError: for an unknown layout, or if the last axes are not 3 x 3.
    """
    _expect(matrix, (3, 3), "rotation matrix")
    _known(layout)
    if layout == "rows":
        return matrix[..., :2, :].flatten(-2)
    columns = matrix[..., :2]
    return (columns if layout == "interleaved" else columns.mT).flatten(-2)


def geodesic_angle(
    one: Float[Tensor, "*batch 3 3"], other: Float[Tensor, "*batch 3 3"]
) -> Float[Tensor, "*batch"]:
    """Angle in [0, pi] radians of the rotation that takes ``one`` to ``other``.

    Accurate for tiny angles too, where the usual arc cosine of the trace gives 0 or NaN. The gradient at
    equal rotations is 0.
    """
    quaternion = matrix_to_quaternion(one.mT @ other)
    return 2 * torch.atan2(torch.linalg.vector_norm(quaternion[..., 1:], dim=-1), quaternion[..., 0])


def nearest_rotation(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation (determinant +1) nearest to a matrix in the Frobenius norm.

    The first derivative is right even for equal singular values, where that of an SVD is NaN; a second
    derivative is not available. Matrices with more than one nearest rotation (rank below 2) get one of them.

    Args:
        matrix: any finite matrices.

    Raises:
        GeometryError: for NaN or infinite entries, with the index of the first such matrix.
        UsageError: if the last axes are not 3 x 3.
    """
    _expect(matrix, (3, 3), "matrix")
    refuse(~matrix.isfinite().all(-1).all(-1), "matrices have entries that are not finite")
    with torch.no_grad():
        u, singular, vh = torch.linalg.svd(matrix)
        sign = torch.ones_like(singular)
        sign[..., 2] = torch.linalg.det(u @ vh).sign()
        rotation = (u * sign[..., None, :]) @ vh
        signed = singular * sign
        sums = signed[..., :, None] + signed[..., None, :]
        floor = torch.finfo(matrix.dtype).eps * singular[..., :1, None]
        weights = torch.where(sums.abs() > floor, 1 / torch.where(sums.abs() > floor, sums, 1.0), 0.0)
    # With M = R S and S symmetric, dR = R W where S W + W S = R'dM - dM'R. The right-hand side is zero for M
    # itself, so adding it to R changes nothing but the derivative, which becomes that of the projection.
    skew = rotation.mT @ matrix
    skew = vh @ (skew - skew.mT) @ vh.mT
    projected: Tensor = rotation + rotation @ (vh.mT @ (weights * skew) @ vh)
    return projected


def _series(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    total = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total


def _expect(array: Tensor, shape: tuple[int, ...], name: str) -> None:
    if array.shape[-len(shape) :] != shape:
        expected = ", ".join(map(str, shape))
        raise UsageError(f"{name}: expected a tensor of shape (..., {expected}), got {tuple(array.shape)}")


def _known(layout: str) -> None:
    if layout not in LAYOUTS_6D:
        names = ", ".join(LAYOUTS_6D)
        raise UsageError(f"unknown 6D layout {layout!r}{nearest(layout, LAYOUTS_6D)}; there are {names}")
