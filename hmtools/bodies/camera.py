"""Moving a body into the camera frame by its parameters alone.

A body turns about its pelvis, not about the origin of ``transl``: with ``o`` the pelvis of the shaped rest
body, vertices are ``R_go (v - o) + o + transl``. For ``x_cam = R x + t`` the parameters that give exactly the
moved vertices are therefore::

    global_orient' = R R_go
    transl'        = R (o + transl) + t - o

Leaving ``o`` out is wrong by ``(R - I) o``, up to twice its length. ``o`` depends on gender, betas, kid
weight and (in a few files) expression, so it is asked for: ``BodyLayers.rest_pelvis``. The same holds for
SMPL, SMPL-H and SMPL-X. The 17 points of SMPL-X's jaw contour are the exception among the joints: they depend
on the heading in the current frame.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from hmtools.core.errors import GeometryError
from hmtools.geometry.arrays import ArrayLike

__all__ = ["transform_to_camera"]

_TOLERANCE = 1e-4
"""Largest entry of |R R^T - I|: cameras stored with 4 or 5 digits pass, a scaled or mirrored one does not."""


def transform_to_camera(
    global_orient: ArrayLike, transl: ArrayLike, rest_pelvis: ArrayLike, world_to_cam: ArrayLike
) -> tuple[Float[np.ndarray, "*batch 3"], Float[np.ndarray, "*batch 3"]]:
    """Express root orientation and translation in the camera frame.

    Args:
        global_orient: (..., 3) axis-angle in the world, radians.
        transl: (..., 3) metres, world.
        rest_pelvis: (..., 3) metres, pelvis of the shaped rest body (``BodyLayers.rest_pelvis``).
        world_to_cam: (..., 3, 4) or (..., 4, 4), rotation and translation, ``x_cam = R x + t``, metres.

    Returns:
        ``global_orient`` and ``transl`` of the same body in the camera frame, float64; vertices and skeleton
        joints made from them equal ``R v + t`` to rounding.

    Raises:
        GeometryError: if R is no rotation (scaled, mirrored, NaN).
    """
    orient, pelvis = np.asarray(global_orient, np.float64), np.asarray(rest_pelvis, np.float64)
    matrix = np.asarray(world_to_cam, np.float64)
    rotation, shift = _rotation(matrix[..., :3, :3]), matrix[..., :3, 3]
    batch = np.broadcast_shapes(orient.shape[:-1], matrix.shape[:-2])
    turned = rotation @ Rotation.from_rotvec(orient.reshape(-1, 3)).as_matrix().reshape(*orient.shape, 3)
    new_orient = Rotation.from_matrix(turned.reshape(-1, 3, 3)).as_rotvec().reshape(*batch, 3)
    moved = (rotation @ (pelvis + np.asarray(transl, np.float64))[..., None])[..., 0] + shift - pelvis
    return new_orient, moved


def _rotation(matrix: NDArray[Any]) -> NDArray[Any]:
    off = np.abs(matrix @ np.swapaxes(matrix, -1, -2) - np.eye(3)).max(initial=0)
    # Orthonormal up to the tolerance: the sign of the determinant is that of a triple product.
    handed = np.einsum("...i,...i->...", np.cross(matrix[..., 0, :], matrix[..., 1, :]), matrix[..., 2, :])
    if not (off <= _TOLERANCE and np.all(handed > 0)):
        raise GeometryError(
            "world_to_cam: expected a rotation (orthonormal, determinant +1), found R R^T off the identity "
            f"by {off:.3g} and determinants down to {np.min(handed, initial=np.inf):.3g}; a mirrored axis or "
            "a scale belongs to the source's own convention and is undone before"
        )
    return matrix
