"""How fine the stand-in's mesh is where: sizes of triangles and vertices of head, hands and the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from hmtools.bodies.standin.body_shape import floor_joints

__all__ = ["BODY", "DENSITIES", "HANDS", "HEAD", "Density", "region_of", "wanted_size"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

BODY, HEAD, HANDS = range(3)
_WRIST_X = float(floor_joints()[20, 0])
_HANDS_FROM = _WRIST_X + 0.001  # metres from the plane of symmetry
_HEAD_FROM = (
    1.462,
    0.24,
)  # height at z = 0 and rise per metre towards the face: collar line to below the chin


@dataclass(frozen=True, slots=True)
class Density:
    """Vertices of one mesh.

    Attributes:
        counts: vertices of the skin in :data:`BODY`, :data:`HEAD`, :data:`HANDS` (both hands).
        eyeball: vertices of each separate eyeball, 0 if the eyes belong to the surface.
        spots: rows (x, y, z, radius, factor): the wanted edge length is multiplied by the factor in the
            middle of a ball and by 1 outside it, metres in the floor frame.
    """

    counts: tuple[int, int, int]
    eyeball: int
    spots: tuple[tuple[float, float, float, float, float], ...]


# Feet, toes and joints that bend a lot.
_BODY_SPOTS = (
    (0.118, 0.02, 0.10, 0.17, 0.45),
    (0.122, 0.01, 0.15, 0.08, 0.55),
    (0.099, 0.4845, 0.0, 0.14, 0.75),
    (0.4725, 1.39, -0.02, 0.10, 0.75),
    (0.7138, 1.39, -0.02, 0.13, 0.55),
    (0.160, 1.37, -0.02, 0.13, 0.80),
    (0.0, 1.45, 0.0, 0.14, 0.70),
)
# Eye, mouth, nose, ear.
_FACE_SPOTS = (
    (0.0, 1.555, 0.085, 0.085, 0.50),
    (0.0315, 1.591, 0.08, 0.030, 0.48),
    (0.012, 1.5235, 0.084, 0.032, 0.38),
    (0.0, 1.550, 0.10, 0.024, 0.75),
    (0.080, 1.574, -0.014, 0.050, 0.42),
)
_FINGER_SPOTS = (
    (0.865, 1.383, -0.010, 0.10, 0.90),
    (0.812, 1.358, 0.056, 0.028, 0.65),
    *((0.878, 1.382, z, 0.020, 0.60) for z in (0.017, -0.042)),
    (0.887, 1.384, -0.011, 0.020, 0.60),
    (0.849, 1.380, -0.066, 0.020, 0.60),
)

DENSITIES: dict[str, Density] = {
    # The real SMPL-X has 9383 vertices of skin, 546 of each eyeball; 3931 of FLAME's 5023 are skin.
    "smplx": Density((3896, 3931, 1556), 546, (*_BODY_SPOTS, *_FACE_SPOTS, *_FINGER_SPOTS)),
    "smpl": Density((3334, 2000, 1556), 0, (*_BODY_SPOTS, *_FACE_SPOTS, *_FINGER_SPOTS)),
}
"""By mesh; SMPL-H uses SMPL's."""


def region_of(points: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, " n"]:
    """Region of (N, 3) points in the floor frame with x >= 0, (N,)."""
    head = points[:, 1] > _HEAD_FROM[0] + _HEAD_FROM[1] * np.clip(points[:, 2], -0.06, 0.06)
    head &= points[:, 0] < 0.12
    return np.where(points[:, 0] > _HANDS_FROM, HANDS, np.where(head, HEAD, BODY)).astype(np.int64)


def wanted_size(density: Density) -> Callable[[Array], Array]:
    """Function from (N, 3) points to the relative edge length wanted there, (N,)."""

    def size(points: Array) -> Array:
        wanted = np.ones(len(points))
        for *centre, radius, factor in density.spots:
            away = points - centre
            share = np.clip(1 - np.sqrt(np.einsum("ij,ij->i", away, away)) / radius, 0, 1)
            smooth = share * share * (3 - 2 * share)
            wanted *= 1 + (factor - 1) * smooth
        return wanted

    return size
