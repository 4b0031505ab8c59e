"""Mirror images: what happens to everything that is attached to an image when left and right change places.

The mirror maps a column x of a W-pixel image to ``W - 1 - x`` and the x of the camera frame to ``-x``.
(WHAM's flip evaluation maps to ``W - x``: give it a width larger by 1.) Each function is its own inverse.
What has a left and a right takes a ``permutation``: entry i of the result is the input's
``permutation[i]``.

NumPy arrays and torch tensors alike: :mod:`hmtools.geometry`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from hmtools.core.errors import UsageError
from hmtools.geometry.arrays import ArrayLike, floats, namespace
from hmtools.geometry.projection import lens

__all__ = [
    "mirror_axis_angle",
    "mirror_distortion",
    "mirror_extrinsics",
    "mirror_matrix",
    "mirror_pixels",
    "mirror_points",
    "mirror_pose",
    "mirror_xywh",
    "permutation_from_pairs",
]

Array = TypeVar("Array")  # a NumPy array or a torch tensor


def permutation_from_pairs(pairs: Iterable[tuple[int, int]], count: int) -> tuple[int, ...]:
    """The permutation of ``count`` entries that swaps each pair and leaves the rest.

    Raises:
        UsageError: for an index out of range, or one that occurs twice.
    """
    found = list(range(count))
    for left, right in pairs:
        if not (0 <= left < count and 0 <= right < count):
            raise UsageError(f"pair ({left}, {right}): expected indices from 0 to {count - 1}")
        if found[left] != left or found[right] != right or left == right:
            raise UsageError(f"pair ({left}, {right}): each index may occur once, in one pair")
        found[left], found[right] = right, left
    return tuple(found)


def mirror_axis_angle(axis_angle: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3"]:
    """The mirrored rotation: y and z of the rotation vector change sign. Radians."""
    return _signed(axis_angle, [1, -1, -1])


def mirror_matrix(matrix: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch 3 3"]:
    """The mirrored rotation ``M R M`` with ``M = diag(-1, 1, 1)``: a rotation again."""
    return _signed(matrix, [[1, -1, -1], [-1, 1, 1], [-1, 1, 1]])


def mirror_pose(
    pose: Float[Array, "*batch joints 3"], permutation: Sequence[int]
) -> Float[Array, "*batch joints 3"]:
    """The mirrored pose of a body: rotations mirrored, left and right joints swapped.

    The mirrored image shows exactly this pose as far as the body itself is its own mirror image.

    Args:
        pose: (..., J, 3) axis-angle, radians; relative to the parents, or the root in the camera frame.
        permutation: (J,) from :func:`permutation_from_pairs`.

    Raises:
        UsageError: if ``permutation`` is none of J entries.
    """
    return _signed(_permuted(pose, permutation), [1, -1, -1])


def mirror_pixels(
    points: Float[Array, "*batch n channels"], width: int, permutation: Sequence[int] | None = None
) -> Float[Array, "*batch n channels"]:
    """Keypoints of the mirrored image.

    Principal points are mirrored likewise: pass them as (..., 1, 2).

    Args:
        points: (..., N, 2 or more) x, y in pixels; further channels, such as a confidence, go along.
        width: image width in pixels.
        permutation: (N,) swaps left and right; None keeps the order.

    Raises:
        UsageError: if ``permutation`` is none of N entries.
    """
    found = floats(points if permutation is None else _permuted(points, permutation))
    mirrored: Array = namespace(found).concatenate([width - 1 - found[..., :1], found[..., 1:]], -1)
    return mirrored


def mirror_points(
    points: Float[Array, "*batch n 3"], permutation: Sequence[int] | None = None
) -> Float[Array, "*batch n 3"]:
    """Points or translations of the camera frame, mirrored: x changes sign. Metres.

    A translation of a body model is right for a model whose rest pelvis lies at x = 0 (elsewhere, mirror the
    position of the pelvis), in a camera whose principal point is mirrored as well.

    Args:
        points: (..., N, 3), or (N, 3) translations.
        permutation: (N,) swaps left and right; None keeps the order.

    Raises:
        UsageError: if ``permutation`` is none of N entries.
    """
    return _signed(points if permutation is None else _permuted(points, permutation), [-1, 1, 1])


def mirror_xywh(box: Float[Array, "*batch 4"], width: int) -> Float[Array, "*batch 4"]:
    """Boxes ``[x, y, w, h]`` of the mirrored image, pixels."""
    found = floats(box)
    left = width - 1 - found[..., :1] - found[..., 2:3]
    mirrored: Array = namespace(found).concatenate([left, found[..., 1:]], -1)
    return mirrored


def mirror_distortion(model: str, distortion: ArrayLike) -> Float[np.ndarray, "*batch k"]:
    """Coefficients, float64 (..., k), of the mirrored lens: p2 changes sign.

    Args:
        model: a key of :data:`hmtools.geometry.projection.CAMERA_MODELS`.
        distortion: (..., k) coefficients in the order of that model.

    Raises:
        UsageError: for an unknown model or a wrong number of coefficients.
    """
    found = np.asarray(distortion, np.float64)
    names = lens(model, found.shape[-1] if found.ndim else 1).coefficients
    return np.where([name == "p2" for name in names], -found, found)


def mirror_extrinsics(world_to_cam: Float[Array, "*batch 3 4"]) -> Float[Array, "*batch 3 4"]:
    """``[M R M | M t]``: the camera of the mirrored image in the mirrored world (x of the world negated too).

    A mirrored camera in the world as it was would be a left-handed one.
    """
    return _signed(world_to_cam, [[1, -1, -1, -1], [-1, 1, 1, 1], [-1, 1, 1, 1]])


def _signed(array: Array, signs: Any) -> Array:
    found: Array = floats(array) * floats(signs, array)
    return found


def _permuted(array: Array, permutation: Sequence[int]) -> Array:
    entries = floats(array)
    count = entries.shape[-2]
    if sorted(permutation) != list(range(count)):
        raise UsageError(f"expected a permutation of {count} entries, got {list(permutation)}")
    found: Array = entries[..., list(permutation), :]
    return found
