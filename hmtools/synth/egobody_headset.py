"""The HoloLens of EgoBody: where its camera looks from, and the files that say so.

The headset's world has y up and begins anywhere. Its camera has OpenGL's axes (x right, y up, z backward),
looks about as its wearer moves their head, and focuses anew in every frame. Metres and pixels, pixel centres
at integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from hmtools.core.atomic import AtomicFile, write_text
from hmtools.synth.cameras import Camera, look_at

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["Glance", "Headset", "write_detections", "write_poses"]

_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])
_WIDTH, _HEIGHT, _FOCAL = 1920, 1080, 1450.0
_ZOOM, _ZOOMS_PER_SECOND = 0.02, 0.5
_SWAY = np.array([0.06, 0.03, 0.05])  # metres
_LEAN = 0.1  # of the head to a shoulder, radians
_DIGITS = 8  # of a pose, as a file has them


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Glance:
    """One line of ``_pv.txt``, with the numbers that stand there.

    Attributes:
        timestamp: 18 digits, in 100 ns.
        focal_length: (2,) pixels.
        cam_to_world: (4, 4) from the camera, OpenGL axes, to the HoloLens' world.
    """

    timestamp: int
    focal_length: Array
    cam_to_world: Array

    def world_to_cam(self) -> Array:
        """(4, 4) from the HoloLens' world to the camera with OpenCV's axes."""
        found: Array = _FLIP @ np.linalg.inv(self.cam_to_world)
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Headset:
    """A HoloLens during one recording.

    Attributes:
        eye: (3,) middle of its way, frame of the master Kinect.
        up: (3,) unit vector against gravity, frame of the master Kinect.
        holo_to_kinect: (4, 4) from the HoloLens' world to the master Kinect, as its file says.
        principal_point: (2,) pixels.
        width: of the pictures, pixels.
        height: of the pictures, pixels.
        phase: what sets one recording's movements apart from another's, radians.
    """

    eye: Array
    up: Array
    holo_to_kinect: Array
    principal_point: Array
    width: int
    height: int
    phase: float

    def look(self, points: Array, seconds: float, timestamp: int, *, outside: float = 0.0) -> Glance:
        """Look at somebody.

        Args:
            points: (N, 3) of the person, frame of the master Kinect.
            seconds: time since the motion began.
            timestamp: of the picture.
            outside: part of the person's width to leave beyond the left edge of the picture.

        Raises:
            GeometryError: if the person stands right above or below the eye.
        """
        swing = self.phase + seconds * np.array([1.1, 1.7, 0.9])
        eye = self.eye + _SWAY * np.sin(swing)
        centre = (points.min(axis=0) + points.max(axis=0)) / 2 + 0.04 * np.cos(swing)
        matrix = look_at(eye, centre, self.up)
        matrix = _turn("z", _LEAN * np.sin(swing[2])) @ matrix
        zoom = 1 + _ZOOM * np.sin(2 * np.pi * _ZOOMS_PER_SECOND * seconds + self.phase)
        scale = min(self.width / _WIDTH, self.height / _HEIGHT)
        focal = np.round(_FOCAL * scale * zoom * np.array([1, 1.0007]), 6)
        if outside:
            matrix = self._aside(points, matrix, focal[0], outside)
        pose = np.linalg.inv(self.holo_to_kinect) @ np.linalg.inv(matrix) @ _FLIP
        return Glance(timestamp=timestamp, focal_length=focal, cam_to_world=pose.round(_DIGITS))

    def camera(self, glance: Glance) -> Camera:
        """The camera of one glance for points in the frame of the master Kinect, by inverses of its files."""
        return Camera(
            model="pinhole",
            focal_length=glance.focal_length,
            principal_point=self.principal_point,
            distortion=np.zeros(0),
            width=self.width,
            height=self.height,
            world_to_cam=(glance.world_to_cam() @ np.linalg.inv(self.holo_to_kinect))[None],
        )

    def _aside(self, points: Array, matrix: Array, focal: float, outside: float) -> Array:
        for _ in range(6):  # people look wider at the edge of a picture: each round leaves less of the error
            seen = points @ matrix[:3, :3].T + matrix[:3, 3]
            across = focal * seen[:, 0] / seen[:, 2] + self.principal_point[0]
            excess = across.min() + 0.5 + outside * np.ptp(across)
            matrix = _turn("y", -np.arctan(excess / focal)) @ matrix
        return matrix


def _turn(axis: str, angle: float) -> Array:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler(axis, angle).as_matrix()
    return matrix


def write_poses(path: Path, headset: Headset, glances: Iterable[Glance], *, separator: str) -> None:
    """Write ``<date>_pv.txt``: the camera once, then a line per glance in the order given."""
    head = [*headset.principal_point.tolist(), headset.width, headset.height]
    lines = ([g.timestamp, *g.focal_length.tolist(), *g.cam_to_world.ravel().tolist()] for g in glances)
    write_text(path, "".join(separator.join(map(repr, row)) + "\n" for row in (head, *lines)))


def write_detections(
    folder: Path,
    detections: Sequence[tuple[str, NDArray[np.float32]]],
    gender: str,
    pictures: Sequence[str],
) -> None:
    """Write ``keypoints.npz`` and ``valid_frame.npz``.

    Args:
        folder: of the recording's pictures and poses.
        detections: path of the picture below the root, and (25, 3) x, y and confidence; row by row.
        gender: of the person in them.
        pictures: paths below the root of all pictures.
    """
    names = [name for name, _ in detections]
    points = np.array([found for _, found in detections], np.float32).reshape(-1, 25, 3)
    boxes = np.array([_extent(found) for found in points], np.float64).reshape(-1, 2, 2)
    rows = {
        "imgname": np.array(names, np.str_),
        "center": boxes.mean(axis=1),
        "scale": 1.2 * np.ptp(boxes, axis=1).max(axis=1, initial=0) / 200,
        "keypoints": points,
        "gender": np.full(len(points), gender),
    }
    frames = {
        "imgname": np.array(pictures, np.str_),
        "valid": np.isin(np.array(pictures, np.str_), rows["imgname"]),
    }
    for name, arrays in {"keypoints": rows, "valid_frame": frames}.items():
        with AtomicFile(folder / f"{name}.npz") as file:
            np.savez(file, **arrays)


def _extent(points: NDArray[np.float32]) -> Array:
    """(2, 2) least and greatest x and y of what was found; zeros when nothing was."""
    seen = points[points[:, 2] > 0, :2].astype(np.float64)
    return np.stack([seen.min(axis=0), seen.max(axis=0)]) if len(seen) else np.zeros((2, 2))
