"""The HoloLens view of an EgoBody recording: which frames OpenPose found, and the camera of each.

A recording has one folder ``egocentric_color/<REC>/<date>/``. Its ``*_pv.txt`` says the camera: the first
line ``cx, cy, width, height``, then per frame ``timestamp, fx, fy`` and 16 numbers of a matrix, camera to
HoloLens world, row by row. The axes of that camera are OpenGL's: x right, y up, z backward. Focal lengths
change from frame to frame (the lens focuses), and where the HoloLens lost its place the matrix is singular.

``keypoints.npz`` has a row for each image in which somebody was detected, in no order to rely on. Images are
``PV/<timestamp>_frame_<id>.jpg``: the timestamp finds the camera, the id is that of the Kinects' frames.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from hmtools.core.errors import AssetError, LayoutError
from hmtools.core.safe_pickle import load_npz
from hmtools.datasets.egobody_release import calibration_paths, rigid
from hmtools.geometry.projection import invert_extrinsics

__all__ = [
    "COLOUR",
    "Detections",
    "PvCamera",
    "PvFrame",
    "ViewFiles",
    "find_view",
    "read_detections",
    "read_pv",
]

COLOUR = "egocentric_color"
"""Name of the folder with the images of each recording."""

_DETECTIONS = "keypoints.npz"
_CALIBRATION = "holo_to_kinect12"
_IMAGE = re.compile(r"(?:.*/)?PV/(?P<timestamp>[0-9]{1,18})_frame_(?P<frame>[0-9]{1,9})\.jpg")
_JOINTS = 25
_LARGEST = 1e6  # pixels: no image is so wide, nor any focal length so long
_OPENGL_TO_OPENCV = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True, slots=True)
class ViewFiles:
    """What is read of a recording: its folder, and three files."""

    folder: Path
    detections: Path
    pv: Path
    calibration: Path


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PvFrame:
    """The camera in one frame.

    Attributes:
        focal_length: (2,) fx, fy in pixels.
        world_to_cam: (3, 4) float64, HoloLens world to OpenCV camera, metres.
    """

    focal_length: Float[np.ndarray, 2]
    world_to_cam: Float[np.ndarray, "3 4"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PvCamera:
    """The camera of a recording.

    Attributes:
        path: the file it is from.
        principal_point: (2,) cx, cy in pixels.
        width: of the images.
        height: likewise.
        lines: timestamp -> the rest of its line.
    """

    path: Path
    principal_point: Float[np.ndarray, 2]
    width: int
    height: int
    lines: Mapping[int, str]

    def at(self, timestamp: int) -> PvFrame:
        """The camera of one frame.

        Raises:
            KeyError: if the file has no such timestamp.
            ValueError: if its line does not say a focal length and a rigid motion.
        """
        numbers = np.array([float(word) for word in self.lines[timestamp].split(",")])
        if numbers.shape != (18,) or not ((numbers[:2] > 0) & (numbers[:2] < _LARGEST)).all():
            raise ValueError(f"expected fx, fy above 0 and 16 numbers, found {self.lines[timestamp]!r:.80}")
        back = invert_extrinsics(rigid(numbers[2:].reshape(4, 4)))
        return PvFrame(focal_length=numbers[:2], world_to_cam=_OPENGL_TO_OPENCV @ back)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Detections:
    """What OpenPose found, sorted by frame and timestamp.

    Attributes:
        images: (F) paths relative to the root, as the file has them.
        frames: (F,) frame id; -1, and first, where the path is not one of an image.
        timestamps: (F,) likewise.
        keypoints: (F, 25, 3) x, y in pixels and confidence, in the order ``openpose_25``.
    """

    images: tuple[str, ...]
    frames: Int[np.ndarray, " F"]
    timestamps: Int[np.ndarray, " F"]
    keypoints: Float[np.ndarray, "F 25 3"]


def find_view(root: Path, recording: str) -> tuple[ViewFiles | None, list[str]]:
    """The files of a recording, or None and what is missing, relative to the root."""
    above = root / COLOUR / recording
    folders = sorted(path for path in above.iterdir() if path.is_dir()) if above.is_dir() else []
    # A recording was made in one go: of several folders only one has the images.
    folder = next((path for path in folders if (path / _DETECTIONS).is_file()), None)
    pv = next(iter(sorted(folder.glob("*_pv.txt"))), None) if folder else None
    paths = calibration_paths(recording, _CALIBRATION)
    calibration = next((root / path for path in paths if (root / path).is_file()), None)
    if folder and pv and calibration:
        return ViewFiles(folder, folder / _DETECTIONS, pv, calibration), []
    wanted = {
        f"{COLOUR}/{recording}/<date>/{_DETECTIONS}": folder,
        f"{COLOUR}/{recording}/<date>/<date>_pv.txt": pv,
        " or ".join(paths): calibration,
    }
    return None, [name for name, path in wanted.items() if path is None]


def read_pv(path: Path) -> PvCamera:
    """Read a ``*_pv.txt``; lines of frames are looked at when they are asked for.

    Raises:
        LayoutError: if it cannot be read, or its first line is not ``cx, cy, width, height``.
    """
    try:
        head, *rest = path.read_text(encoding="ascii").splitlines() or [""]
        numbers = [float(word) for word in head.split(",")]
        cx, cy, width, height = numbers
        sound = (np.abs(numbers) < _LARGEST).all() and min(width, height) >= 1
        if not sound or (width % 1, height % 1) != (0, 0):
            raise ValueError(f"found {head!r:.80}")
    except (OSError, ValueError) as error:
        raise LayoutError(
            f"{path}: expected `cx, cy, width, height` in its first line ({error}); copy it again from the "
            "release"
        ) from error
    lines = {}
    for line in rest:
        timestamp, _, numbers_of = line.partition(",")
        if timestamp.strip().isdecimal():  # nothing else can be asked for
            lines[int(timestamp)] = numbers_of
    return PvCamera(
        path=path,
        principal_point=np.array([cx, cy]),
        width=int(width),
        height=int(height),
        lines=lines,
    )


def read_detections(path: Path) -> Detections:
    """Read a ``keypoints.npz``.

    Raises:
        AssetError: if it is damaged or lacks what is needed.
        LayoutError: if it cannot be opened.
        UnsafeFileError: if it holds anything but data.
    """
    arrays = load_npz(path, pickled=True)
    names, keypoints = arrays.get("imgname", np.zeros(0)), arrays.get("keypoints", np.zeros(0))
    texts = names.ndim == 1 and all(isinstance(name, str) for name in names.tolist())
    if not texts or keypoints.shape != (len(names), _JOINTS, 3) or keypoints.dtype.kind not in "fiu":
        raise AssetError(
            f"{path}: expected imgname (F,) of text and keypoints (F, {_JOINTS}, 3) of numbers, found "
            + (", ".join(f"{name} {a.shape} {a.dtype}" for name, a in arrays.items())[:200] or "no arrays")
            + "; copy it again from the release"
        )
    images = [str(name) for name in names.tolist()]
    found = [_IMAGE.fullmatch(name) for name in images]
    frames = np.array([int(one["frame"]) if one else -1 for one in found], np.int64)
    timestamps = np.array([int(one["timestamp"]) if one else -1 for one in found], np.int64)
    order = np.lexsort((timestamps, frames))
    return Detections(
        images=tuple(images[place] for place in order),
        frames=frames[order],
        timestamps=timestamps[order],
        keypoints=keypoints[order].astype(np.float64),
    )
