"""Sequence files of 3DPW: pickles of Python 2 with every person of a recording, checked as they are read.

Per-image arrays have N rows, row i is that of ``image_%05d.jpg``. The ``_60Hz`` arrays have more rows than
there are images, and are not read; ``img_frame_ids`` says which of them an image shows. Textures and clothed
templates, most of a file, are let go once it is parsed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from hmtools.core.errors import LayoutError
from hmtools.core.safe_pickle import load_pickle

__all__ = ["Recording", "Subject", "read_recording", "up_axis"]

Array: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"

_GENDERS = {"m": "male", "f": "female"}
_BETAS = 10
_FAR = 2**31
_HEAD, _ANKLES = 15, (7, 8)  # of the 24 SMPL joints


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """One person of a recording; N images, world frame, radians and metres.

    Attributes:
        gender: male or female, of the SMPL model the numbers belong to.
        betas: (10,) shape; what a file holds beyond that is cut.
        clothed: the file has a second shape for the body with clothes, which is not read.
        poses: (N, 72) axis-angle, root first.
        transl: (N, 3).
        joints: (N, 24, 3) SMPL joints.
        points: (N, 18, 3) x, y in pixels and confidence, in the order ``pw3d_18``.
        valid_camera: (N,) bool, false where the camera is wrong for this person.
    """

    gender: str
    betas: Array
    clothed: bool
    poses: Array
    transl: Array
    joints: Array
    points: Array
    valid_camera: np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """One sequence file.

    Attributes:
        focal_length: (2,) pixels.
        principal_point: (2,) pixels.
        world_to_cam: (N, 3, 4) ``x_cam = R x + t``, metres.
        frames_60hz: (N,) row of each image in the 60 Hz arrays, or None.
        people: in the order of the file; text that says what is wrong stands for a person that is broken.
    """

    focal_length: Array
    principal_point: Array
    world_to_cam: Array
    frames_60hz: np.ndarray[Any, np.dtype[np.int64]] | None
    people: tuple[Subject | str, ...]

    def __len__(self) -> int:
        """N, the number of images."""
        return len(self.world_to_cam)


def read_recording(path: Path) -> Recording:
    """Read ``<sequence>.pkl``.

    Raises:
        AssetError, UnsafeFileError: if the guard of :func:`hmtools.core.safe_pickle.load_pickle` refuses it.
        LayoutError: if it is no sequence file: cameras or the list of people are missing or of another form.
    """
    data = load_pickle(path, encoding="latin1")
    try:
        return _recording(data, path.stem)
    except (KeyError, TypeError, ValueError) as error:
        problem = f"has no {error}" if isinstance(error, KeyError) else str(error)
        raise LayoutError(f"{path}: expected a sequence file of 3DPW ({problem}); fetch it again") from error


def up_axis(recording: Recording) -> str | None:
    """The axis of the world along which people stand: from their ankles to their heads, on average.

    Returns:
        ``+x``, ``-x``, ``+y`` ...; None when there is nobody, or nobody stands.
    """
    found = [
        p.joints[:, _HEAD] - p.joints[:, _ANKLES].mean(axis=1)
        for p in recording.people
        if isinstance(p, Subject)
    ]
    if not found:
        return None
    mean = np.concatenate(found).mean(axis=0)
    axis = int(np.abs(mean).argmax())
    if not abs(mean[axis]) > 0.7 * np.linalg.norm(mean):
        return None
    return f"{'+' if mean[axis] > 0 else '-'}{'xyz'[axis]}"


def _recording(data: Any, name: str) -> Recording:
    if not isinstance(data, Mapping):
        raise TypeError(f"holds {type(data).__name__}, not a dictionary")
    if _text(data["sequence"]) != name:
        raise ValueError(f"says it is of sequence {_text(data['sequence'])!r:.60}")
    poses = _numbers("cam_poses", data["cam_poses"])
    count = len(poses)
    if poses.shape != (count, 4, 4) or not count:
        raise ValueError(f"has cam_poses of shape {poses.shape}, not (N, 4, 4)")
    camera = _numbers("cam_intrinsics", data["cam_intrinsics"], (3, 3))
    focal = np.array([camera[0, 0], camera[1, 1]])
    if not (np.isfinite(camera).all() and (focal > 0).all()):
        raise ValueError(f"has cam_intrinsics {camera.tolist()}, not those of a camera")
    genders = list(data["genders"])
    if not genders:
        raise ValueError("genders: expected one for each person, found nobody")
    frames = None
    if "img_frame_ids" in data:
        numbers = _numbers("img_frame_ids", data["img_frame_ids"], (count,))
        if not (np.abs(numbers) < _FAR).all():
            raise ValueError("img_frame_ids: expected frame numbers, found NaN or huge ones")
        frames = numbers.astype(np.int64)
    people = tuple(_person(data, number, count) for number in range(len(genders)))
    return Recording(focal, camera[:2, 2].copy(), poses[:, :3], frames, people)


def _person(data: Mapping[str, Any], number: int, count: int) -> Subject | str:
    def rows(field: str, *shape: int) -> Array:
        return _numbers(field, data[field][number], (count, *shape))

    try:
        gender = _text(data["genders"][number])
        betas = _numbers("betas", data["betas"][number])
        if gender not in _GENDERS:
            raise ValueError(f"genders: expected m or f, found {gender!r:.40}")
        if betas.ndim != 1 or len(betas) < _BETAS:
            raise ValueError(f"betas: expected {_BETAS} numbers or more, found shape {betas.shape}")
        valid = rows("campose_valid")
        if not np.isin(valid, (0, 1)).all():
            raise ValueError(f"campose_valid: expected 0 and 1, found {np.unique(valid)[:5].tolist()}")
        return Subject(
            gender=_GENDERS[gender],
            betas=betas[:_BETAS],
            clothed=_has(data.get("betas_clothed"), number),
            poses=rows("poses", 72),
            transl=rows("trans", 3),
            joints=rows("jointPositions", 72).reshape(count, 24, 3),
            points=rows("poses2d", 3, 18).transpose(0, 2, 1),
            valid_camera=valid == 1,
        )
    except KeyError as error:
        return f"has no {error}"
    except (IndexError, TypeError, ValueError) as error:
        return str(error)


def _numbers(field: str, value: Any, shape: tuple[int, ...] | None = None) -> Array:
    found = np.asarray(value)
    if found.dtype == object:  # rows of lists, or of arrays of their own
        found = np.array(found.tolist())
    if found.dtype.kind not in "fiub":
        raise TypeError(f"{field}: expected numbers, found {value!r:.40}")
    if shape is not None and found.shape != shape:
        raise ValueError(f"{field}: expected shape {shape}, found {found.shape}")
    return found.astype(np.float64)


def _has(values: Sequence[Any] | None, number: int) -> bool:
    return values is not None and number < len(values) and values[number] is not None


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)
