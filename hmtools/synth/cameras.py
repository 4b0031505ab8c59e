"""Cameras of the synthetic world, and what they see of its people: exact vertices, joints and pixels.

A camera is a 4 x 4 matrix of its own making that moves points; nothing here knows how parameters move.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hmtools.core.errors import GeometryError, UsageError
from hmtools.geometry.projection import project

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["LENSES", "Camera", "View", "look_at", "make_camera", "see"]

LENSES: Mapping[str, tuple[float, ...]] = {
    "pinhole": (),
    "opencv5": (-0.12, 0.03, 0.0007, -0.0005, 0.001),
    "opencv8": (-0.1, 0.02, 0.0006, -0.0004, 0.001, 0.004, 0.001, 0.0003),
    "imar5": (-0.11, 0.025, -0.001, 0.0006, -0.0005),
}
"""Camera model -> coefficients of a lens that bends by some pixels in an ordinary picture."""

_SWAYS_PER_SECOND = 0.3
_NEAREST = 0.05  # metres


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Camera:
    """A camera over T frames.

    Attributes:
        model: a key of :data:`LENSES`.
        focal_length: (2,) pixels.
        principal_point: (2,) pixels, centres at integers.
        distortion: coefficients of ``model``.
        width: pixels.
        height: pixels.
        world_to_cam: (T, 4, 4), metres.
    """

    model: str
    focal_length: Array
    principal_point: Array
    distortion: Array
    width: int
    height: int
    world_to_cam: Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """Points in the camera frame, metres, and their pixels (NaN where the lens has none).

    Attributes:
        vertices: (V, 3).
        joints: (K, 3).
        pixels: (V, 2) of the vertices.
        joints2d: (K, 2).
    """

    vertices: Array
    joints: Array
    pixels: Array
    joints2d: Array


def look_at(eye: Array, target: Array, up: Array) -> Array:
    """(4, 4) world-to-camera matrix of an OpenCV camera (x right, y down, z forward) at ``eye``.

    Raises:
        GeometryError: if the line of sight is parallel to ``up``, or eye and target coincide.
    """
    forward = np.asarray(target, np.float64) - eye
    right = np.cross(forward, up)
    if np.linalg.norm(right) < 1e-9:
        raise GeometryError(f"a camera at {eye} that looks at {target} has no horizon: up is {up}")
    forward, right = forward / np.linalg.norm(forward), right / np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = right, np.cross(forward, right), forward
    matrix[:3, 3] = -matrix[:3, :3] @ eye
    return matrix


def make_camera(
    rng: np.random.Generator,
    frames: int,
    *,
    width: int,
    height: int,
    up: Array,
    front: Array,
    target: Array,
    distance: float,
    model: str = "pinhole",
    moving: bool = False,
    fps: float = 30.0,
) -> Camera:
    """A camera some metres in front of the people, a little off to one side and above.

    Args:
        rng: source of its place and of its way when it moves.
        frames: T.
        width: image width in pixels.
        height: image height in pixels.
        up: (3,) unit vector of the world.
        front: (3,) unit vector from the people towards the camera.
        target: (3,) point in the world that it looks at, metres.
        distance: metres from ``target``.
        model: camera model.
        moving: it sways and pans about its place, smoothly.
        fps: frames per second, which says how far it gets from one frame to the next.

    Raises:
        UsageError: for an unknown model.
        GeometryError: as :func:`look_at`.
    """
    if model not in LENSES:
        raise UsageError(f"camera model: expected one of {', '.join(LENSES)}, found {model!r}")
    side = np.cross(up, front)
    place = target + distance * front + rng.uniform(-0.4, 0.4) * side + rng.uniform(0.0, 0.5) * up
    time = _SWAYS_PER_SECOND * np.arange(frames)[:, None] / fps * moving
    sway = 0.4 * np.sin(2 * np.pi * time + rng.uniform(0, 6)) * side + 0.2 * np.sin(4 * np.pi * time) * up
    pan = 0.1 * np.sin(2 * np.pi * time + rng.uniform(0, 6)) * side
    matrices = [look_at(place + s, target + p, up) for s, p in zip(sway, pan, strict=True)]
    focal = rng.uniform(0.95, 1.15) * max(width, height)
    return Camera(
        model=model,
        focal_length=focal * np.array([1.0, rng.uniform(0.99, 1.01)]),
        principal_point=np.array([width - 1, height - 1]) / 2 + rng.uniform(-0.02, 0.02, 2) * width,
        distortion=np.array(LENSES[model]),
        width=width,
        height=height,
        world_to_cam=np.stack(matrices),
    )


def see(vertices: Array, joints: Array, camera: Camera, frame: int = 0) -> View:
    """What a camera sees of points in the world in one frame.

    Args:
        vertices: (V, 3) metres, world; V may be 0.
        joints: (K, 3) metres, world.
        camera: the camera.
        frame: index into its poses.

    Raises:
        GeometryError: if somebody stands behind the camera: a world like that has no picture.
    """
    points = np.concatenate([vertices, joints])
    matrix = camera.world_to_cam[frame]
    near = points @ matrix[:3, :3].T + matrix[:3, 3]
    if not near[:, 2].min() > _NEAREST:  # NaN is not in front of it either
        raise GeometryError(
            f"a person reaches z = {near[:, 2].min():.2f} m in front of the camera (frame {frame}); all "
            f"must be more than {_NEAREST} m in front of it: put it further away, or have it look elsewhere"
        )
    distortion = camera.distortion if len(camera.distortion) else None
    pixels = project(
        near, camera.focal_length, camera.principal_point, camera.model, distortion, behind="nan"
    )
    count = len(vertices)
    return View(vertices=near[:count], joints=near[count:], pixels=pixels[:count], joints2d=pixels[count:])
