"""Cameras of AGORA: a word in the name of an image says which one took it, its row where people stand.

Three frames meet. Unreal, in which the rows say where people and cameras are: centimetres, degrees, z up.
The frame of a fit, in which the pickles hold a person: metres, y up, facing +z. The camera, as everywhere:
OpenCV, metres. ``U(x, y, z) = (y, -z, x) / 100`` brings a place in Unreal's axes into OpenCV's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

__all__ = ["LABEL_SIZE", "SceneCamera", "person_to_camera", "scene_camera"]

Array: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"

LABEL_SIZE = (3840, 2160)
"""Width and height of the images that all published pixels are of; the smaller ones are a third of it."""

_SENSOR = (36.0, 20.25)  # mm


@dataclass(frozen=True, slots=True)
class SceneCamera:
    """A camera of Unreal.

    Attributes:
        millimetres: focal length on a sensor of 36 x 20.25 mm.
        position: x, y, z in cm, Unreal's axes; None where only the row of the image says it.
        yaw: degrees.
        pitch: degrees.
        ground: metres, OpenCV's axes, added to the position.
    """

    millimetres: float
    position: tuple[float, float, float] | None = None
    yaw: float = 0.0
    pitch: float = 0.0
    ground: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def focal_length(self, width: int, height: int) -> Array:
        """fx, fy (2,) in pixels of an image of that size."""
        across, up = _SENSOR
        return np.array([self.millimetres / across * width, self.millimetres / up * height])

    def principal_point(self, width: int, height: int) -> Array:
        """cx, cy (2,): W / 2 and H / 2, the numbers that the published joints were projected with."""
        return np.array([width / 2, height / 2])


# word in the name of the image -> camera; the first that occurs counts
_NAMED = {
    "hdri": SceneCamera(50, (0, 0, 170)),
    "cam00": SceneCamera(18, (400, -275, 265), 135, 30),
    "cam01": SceneCamera(18, (400, 225, 265), -135, 30),
    "cam02": SceneCamera(18, (-490, 170, 265), -45, 30),
    "cam03": SceneCamera(18, (-490, -275, 265), 45, 30),
    "ag2": SceneCamera(28, (0, 0, 170), 0, 15),  # pitch of the projection tool; the release script says 0
}
_PLACED_MM, _PLACED_GROUND = 28, (0.0, -1.7, 0.0)  # of the others, whose rows say where they stand


def scene_camera(image: str, placed: Sequence[float] | None = None) -> SceneCamera:
    """The camera of an image.

    Args:
        image: its ``imgPath``, or its name.
        placed: camX, camY, camZ (cm) and camYaw (degrees) of its row; read only where the name has no rule.
    """
    for word, camera in _NAMED.items():
        if word in image:
            return camera
    if placed is None:
        return SceneCamera(_PLACED_MM, ground=_PLACED_GROUND)
    x, y, z, yaw = placed
    return SceneCamera(_PLACED_MM, (x, y, z), yaw, ground=_PLACED_GROUND)


def person_to_camera(camera: SceneCamera, place: Sequence[float], yaw: float) -> Array:
    """From the frame of a person's fit to the camera.

    Args:
        camera: with a position.
        place: X, Y, Z of the person in cm, Unreal's axes.
        yaw: of the person, degrees.

    Returns:
        (3, 4) ``[A | b]``: a point p of the fit, its translation included, is seen at ``A p + b``, metres.

    Raises:
        ValueError: if the place of camera or person is not known, or not finite.
    """
    if camera.position is None:
        raise ValueError("camX, camY, camZ, camYaw: missing, and the name of the image says no camera")
    given = [*camera.position, camera.yaw, *place, yaw]
    if not np.isfinite(given).all():
        raise ValueError(f"place and yaw of camera and person: expected finite numbers, found {given}")
    view = _about_x(camera.pitch) @ _about_y(-camera.yaw)
    turn = view @ _about_y(yaw - 90) @ np.diag([1.0, -1.0, -1.0])
    shift = view @ (_opencv(place) - _opencv(camera.position) - np.array(camera.ground))
    return np.column_stack([turn, shift])


def _opencv(place: Sequence[float]) -> Array:
    x, y, z = place
    return np.array([y, -z, x]) / 100


def _about_x(degrees: float) -> Array:
    cos, sin = _cos_sin(degrees)
    return np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])


def _about_y(degrees: float) -> Array:
    cos, sin = _cos_sin(degrees)
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])


def _cos_sin(degrees: float) -> tuple[float, float]:
    angle = np.deg2rad(degrees)
    return float(np.cos(angle)), float(np.sin(angle))
