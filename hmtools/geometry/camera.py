"""Cameras of crops and of whole images, and the way from one to the other.

Networks see a crop and answer with a **weak-perspective camera** ``s, tx, ty``: the crop reaches from -1 to 1
in both axes, and a point ``X, Y`` of the body (metres) is seen at ``s (X + tx), s (Y + ty)``. Given a focal
length, that is a perspective camera with the body's origin at ``tx, ty, 2 f / (size s)``.

Tensors and arrays: :mod:`hmtools.geometry`. Numbers without an answer raise for NumPy arrays; the values of
tensors are not looked at, as that would stall a GPU, and become infinite or NaN.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from hmtools.core.errors import GeometryError
from hmtools.geometry.arrays import ArrayLike, floats, namespace, refuse

__all__ = [
    "box_intrinsics",
    "crop_to_full_intrinsics",
    "crop_to_full_translation",
    "full_to_crop_intrinsics",
    "full_to_crop_translation",
    "switch_intrinsics",
    "translation_to_weak",
    "weak_to_translation",
]

Array = TypeVar("Array")  # a NumPy array or a torch tensor


def weak_to_translation(
    camera: Float[Array, "*#batch 3"], focal_length: ArrayLike, size: ArrayLike
) -> Float[Array, "*#batch 3"]:
    """Where the body's origin stands in the camera of a crop: ``tx, ty, 2 f / (size s)``.

    Args:
        camera: (..., 3) s, tx, ty; s without unit per metre, tx and ty in metres.
        focal_length: of the crop's virtual camera, pixels of the crop: one number, or (...) of them. HMR2 and
            the weak projection of WHAM: 5000.
        size: side of the square crop, pixels. HMR2: 256; WHAM: 224.

    Returns:
        (..., 3) metres, camera frame.

    Raises:
        GeometryError: for s = 0 in a NumPy array.
    """
    cam = floats(camera)
    scale = cam[..., 0]
    _refuse(scale == 0, cam, "weak-perspective cameras have scale 0, and stand at infinity")
    depth = 2 * floats(focal_length, cam) / (floats(size, cam) * scale)
    return _stack(camera, cam[..., 1], cam[..., 2], depth)


def translation_to_weak(
    translation: Float[Array, "*#batch 3"], focal_length: ArrayLike, size: ArrayLike
) -> Float[Array, "*#batch 3"]:
    """The inverse of :func:`weak_to_translation`: (..., 3) s, tx, ty.

    Raises:
        GeometryError: for z = 0 in a NumPy array.
    """
    t = floats(translation)
    depth = t[..., 2]
    _refuse(depth == 0, t, "translations have depth 0, where no camera sees anything")
    return _stack(translation, 2 * floats(focal_length, t) / (floats(size, t) * depth), t[..., 0], t[..., 1])


def crop_to_full_translation(
    camera: Float[Array, "*#batch 3"],
    box_centre: ArrayLike,
    box_side: ArrayLike,
    focal_length: ArrayLike,
    principal_point: ArrayLike,
) -> Float[Array, "*#batch 3"]:
    """Where the body's origin stands in the camera of the whole image (the formula of HMR2 and WHAM).

    ``tx + 2 (cx - px) / (b s), ty + 2 (cy - py) / (b s), 2 F / (b s)``. The size of the crop cancels. Points
    in the plane through the origin, parallel to the image, keep their pixels; nearer and farther ones are
    seen from another direction.

    Args:
        camera: (..., 3) s, tx, ty of the crop.
        box_centre: (..., 2) cx, cy of the square box that was cropped, pixels of the whole image.
        box_side: (...) its side b, pixels. WHAM stores b / 200 (:data:`hmtools.geometry.box.WHAM_UNIT`).
        focal_length: F of the whole image, pixels: one number or (...). HMR2's demo without a known camera:
            5000 / 256 times the longer side of the image; WHAM: sqrt(W^2 + H^2).
        principal_point: (..., 2) px, py, pixels. Those projects take W / 2, H / 2.

    Returns:
        (..., 3) metres, camera frame.

    Raises:
        GeometryError: for s = 0 or b = 0 in a NumPy array.
    """
    cam = floats(camera)
    extent = floats(box_side, cam) * cam[..., 0]
    _refuse(extent == 0, cam, "crop cameras have scale 0 or an empty box")
    offset = 2 * (floats(box_centre, cam) - floats(principal_point, cam)) / extent[..., None]
    xy = cam[..., 1:] + offset
    return _stack(camera, xy[..., 0], xy[..., 1], 2 * floats(focal_length, cam) / extent)


def full_to_crop_translation(
    translation: Float[Array, "*#batch 3"],
    box_centre: ArrayLike,
    box_side: ArrayLike,
    focal_length: ArrayLike,
    principal_point: ArrayLike,
) -> Float[Array, "*#batch 3"]:
    """The inverse of :func:`crop_to_full_translation`: (..., 3) s, tx, ty of the crop.

    Raises:
        GeometryError: for z = 0 or b = 0 in a NumPy array.
    """
    t = floats(translation)
    side = floats(box_side, t)
    _refuse((t[..., 2] == 0) | (side == 0), t, "translations have depth 0 or an empty box")
    scale = 2 * floats(focal_length, t) / (side * t[..., 2])
    offset = 2 * (floats(box_centre, t) - floats(principal_point, t)) / (side * scale)[..., None]
    xy = t[..., :2] - offset
    return _stack(translation, scale, xy[..., 0], xy[..., 1])


def crop_to_full_intrinsics(
    focal_length: ArrayLike, principal_point: ArrayLike, affine: Float[np.ndarray, "2 3"]
) -> tuple[Float[np.ndarray, "*#batch 2"], Float[np.ndarray, "*#batch 2"]]:
    """The camera of the whole image under which a crop is seen through the given camera of the crop.

    Both see the same points of the camera frame, so a network's translation stays as it is.

    Args:
        focal_length: fx, fy of the crop's camera, pixels of the crop, (..., 2) or one number.
        principal_point: cx, cy, pixels of the crop, (..., 2).
        affine: (2, 3) pixels of the image to pixels of the crop, such as from
            :func:`hmtools.geometry.crop.crop_affine`.

    Returns:
        Focal lengths and principal point, float64 (..., 2) each, pixels of the image.

    Raises:
        GeometryError: if the affine turns, shears, mirrors or flattens: then no two focal lengths do it.
    """
    scale, shift = _scale_and_shift(affine)
    focal, centre = np.broadcast_arrays(
        np.asarray(focal_length, np.float64), np.asarray(principal_point, np.float64)
    )
    return focal / scale, (centre - shift) / scale


def full_to_crop_intrinsics(
    focal_length: ArrayLike, principal_point: ArrayLike, affine: Float[np.ndarray, "2 3"]
) -> tuple[Float[np.ndarray, "*#batch 2"], Float[np.ndarray, "*#batch 2"]]:
    """The inverse of :func:`crop_to_full_intrinsics`: the camera of the crop, from that of the image.

    Raises:
        GeometryError: if the affine turns, shears, mirrors or flattens.
    """
    scale, shift = _scale_and_shift(affine)
    focal, centre = np.broadcast_arrays(
        np.asarray(focal_length, np.float64), np.asarray(principal_point, np.float64)
    )
    return focal * scale, centre * scale + shift


def box_intrinsics(
    box: ArrayLike,
    focal_length: ArrayLike = 5000.0,
    principal_point: ArrayLike = (96.0, 128.0),
    size: ArrayLike = (192.0, 256.0),
) -> tuple[Float[np.ndarray, "*batch 2"], Float[np.ndarray, "*batch 2"]]:
    """The camera of the whole image that SMPLer-X writes beside its predictions.

    ``f (w, h) / size`` and ``p (w, h) / size + (x, y)``: :func:`crop_to_full_intrinsics` for the affine that
    takes the box to the crop in that project's counting (``corners`` of
    :func:`hmtools.geometry.crop.crop_affine`).

    Args:
        box: (..., 4) ``[x, y, w, h]`` of the cropped box, pixels: grown and padded, as the network saw it.
        focal_length: of the network's camera, pixels of the crop.
        principal_point: of the network's camera, pixels of the crop.
        size: width and height of the crop that these belong to.

    Returns:
        Focal lengths and principal points, float64 (..., 2) each, pixels of the image.

    Raises:
        GeometryError: for a box without area.
    """
    found = np.asarray(box, np.float64)
    refuse(np.atleast_1d(~(found[..., 2:] > 0).all(axis=-1)), "boxes have no area")
    scale = found[..., 2:] / np.asarray(size, np.float64)
    return scale * np.asarray(focal_length, np.float64), scale * np.asarray(
        principal_point, np.float64
    ) + found[..., :2]


def switch_intrinsics(
    translation: Float[Array, "*#batch 3"],
    from_focal: ArrayLike,
    from_principal: ArrayLike,
    to_focal: ArrayLike,
    to_principal: ArrayLike,
    *,
    reference: ArrayLike = (0.0, 0.0, 0.0),
) -> Float[Array, "*#batch 3"]:
    """A translation under another camera, such that a reference point keeps its pixel and its size.

    The reference point ``reference + translation`` moves along with the focal length: its depth is multiplied
    by the ratio of the (geometric mean) focal lengths, so that a metre there covers as many pixels as before.
    Points at other depths move a little, which is what a wrong focal length means.

    Args:
        translation: (..., 3) metres, camera frame, under the first camera.
        from_focal: fx, fy or one number of the first camera, pixels.
        from_principal: its cx, cy, pixels.
        to_focal: fx, fy or one number of the second camera.
        to_principal: its cx, cy.
        reference: (..., 3) what is kept, before translation, metres: the rotated pelvis, for instance.

    Returns:
        (..., 3) metres, under the second camera.
    """
    t = floats(translation)
    f1, f2 = _pair(from_focal, t), _pair(to_focal, t)
    fixed = floats(reference, t)
    old = fixed + t
    ratio = ((f2[..., :1] * f2[..., 1:]) / (f1[..., :1] * f1[..., 1:])) ** 0.5
    depth = old[..., 2:] * ratio
    shift = (floats(from_principal, t) - floats(to_principal, t)) / f2
    # f1 x / z + c1 = f2 x' / z' + c2, solved for x' with z' = ratio z
    xy = old[..., :2] * (f1 / f2) * ratio + shift * depth
    found: Array = _stack(t, xy[..., 0], xy[..., 1], depth[..., 0]) - fixed
    return found


def _pair(value: Any, like: Any) -> Any:
    return floats(value, like) + namespace(like).zeros_like(like[..., :2])


def _stack(like: Array, *parts: Any) -> Array:
    xp = namespace(like)
    broadcast = np.broadcast_arrays if xp is np else xp.broadcast_tensors
    found: Array = xp.stack(broadcast(*parts), -1)
    return found


def _refuse(bad: Any, like: Any, problem: str) -> None:
    if namespace(like) is np:
        refuse(np.atleast_1d(bad), problem)


def _scale_and_shift(affine: Any) -> tuple[Any, Any]:
    matrix = np.asarray(affine, np.float64)
    scale = np.diagonal(matrix)
    across = abs(matrix[0, 1]) + abs(matrix[1, 0])
    if not (scale > 0).all() or across > 1e-9 * scale.max():
        raise GeometryError(
            f"expected an affine that only scales and shifts, got {matrix.tolist()}: "
            "a turned or mirrored crop has no camera of two focal lengths and a principal point"
        )
    return scale, matrix[:, 2]
