"""What the views of EgoBody share: two lists of recordings, rigid calibrations, and the fits of each frame.

``data_splits.csv`` has one column per split (ragged: short columns end in empty cells),
``data_info_release.csv`` one row per recording, where cells like ``1 female`` say a body index and its
gender. A fit is one pickle per person and frame, in the frame of the master Kinect's colour camera (OpenCV
axes, metres).
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from hmtools.core.errors import AssetError, CountedError, LayoutError, UnsafeFileError
from hmtools.core.safe_pickle import load_pickle
from hmtools.datasets.body_dict import body_parts

__all__ = [
    "CALIBRATIONS",
    "INFO",
    "INTERACTEE",
    "SPLITS",
    "Fit",
    "Recording",
    "calibration_paths",
    "count_fits",
    "fit_file",
    "fit_folder",
    "read_calibration",
    "read_fit",
    "read_recordings",
    "rigid",
]

SPLITS = "data_splits.csv"
"""Name of the file with the recordings of each split."""
INFO = "data_info_release.csv"
"""Name of the file with what is known of each recording."""
CALIBRATIONS = "calibrations"
"""Name of the folder with the calibrations of each recording."""
INTERACTEE = "interactee"
"""The person seen by the HoloLens, in names of folders; the other is ``camera_wearer``."""

_COLUMNS = ("recording_name", "scene_name", "body_idx_fpv", "start_frame", "end_frame")
_NAME = re.compile(r"recording_[0-9]+_(?P<wearer>S[0-9]+)_(?P<interactee>S[0-9]+)_[0-9]+")
_GENDERS = ("female", "male", "neutral")
_EMPTY = ("", "nan")  # of a cell below the end of its column
_FAR = 1e9  # metres; float32 holds what becomes of anything nearer
_NOT_RIGID = 1e-3  # |R R^T - I|: what rounding to 4 digits leaves; more is another matrix
_SIZES: Mapping[str, int] = {
    "global_orient": 3,
    "transl": 3,
    "betas": 10,
    "body_pose": 63,
    "left_hand_pose": 12,
    "right_hand_pose": 12,
    "jaw_pose": 3,
    "leye_pose": 3,
    "reye_pose": 3,
    "expression": 10,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One recording of two people, of whom one wears the HoloLens.

    Attributes:
        name: ``recording_YYYYMMDD_S<wearer>_S<interactee>_NN``.
        scene: name of the room.
        interactee: body index, 0 or 1, of the person whom the wearer sees; the wearer has the other.
        gender: of the interactee, as the list says.
        start: first frame whose labels are good.
        end: the last one, inclusive.
        wearer_id: subject, ``S<wearer>``; None where the name has another form.
        interactee_id: likewise.
    """

    name: str
    scene: str
    interactee: int
    gender: str
    start: int
    end: int
    wearer_id: str | None = None
    interactee_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """SMPL-X of one person in one frame, as the pickle has it: master Kinect camera, radians, metres.

    Attributes:
        parts: part -> (n,) float64; the hands are (12,) PCA coefficients against the mean hand.
        gender: of the model they belong to.
    """

    parts: Mapping[str, Float[np.ndarray, " n"]]
    gender: str


def read_recordings(root: Path, split: str) -> tuple[list[Recording], list[str]]:
    """The recordings of a split by name, and those of which ``data_info_release.csv`` knows nothing.

    Raises:
        LayoutError: if one of the two lists is not what the release has.
    """
    names = _split_names(root / SPLITS, split)
    rows = {row["recording_name"]: (line, row) for line, row in _rows(root / INFO, _COLUMNS)}
    known = [_recording(root / INFO, *rows[name]) for name in names if name in rows]
    return known, [name for name in names if name not in rows]


def _split_names(path: Path, split: str) -> list[str]:
    cells = (row[split] for _, row in _rows(path, (split,)))
    names = sorted({cell for cell in cells if cell.lower() not in _EMPTY})
    if not names:
        raise LayoutError(f"{path}: expected the names of recordings in column {split!r}, found none")
    for name in names:
        if "/" in name or "\\" in name or name in (".", ".."):
            raise LayoutError(f"{path}: expected names of recordings, found {name!r:.80}")
    return names


def _rows(path: Path, wanted: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """(line, cells by column) of a csv file, cells stripped and missing ones empty."""
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""))
        names = [str(name).strip() for name in reader.fieldnames or ()]
        rows = [
            (
                reader.line_num,
                dict(zip(names, (str(cell or "").strip() for cell in row.values()), strict=False)),
            )
            for row in reader
        ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LayoutError(
            f"{path}: cannot be read as csv ({error}); copy it again from the release"
        ) from error
    missing = [name for name in wanted if name not in names]
    if missing:
        raise LayoutError(
            f"{path}: expected columns {', '.join(wanted)}, found {', '.join(names)[:200] or 'none'}; "
            "copy it again from the release"
        )
    return rows


def _recording(path: Path, line: int, row: Mapping[str, str]) -> Recording:
    try:
        index, gender = row["body_idx_fpv"].split()
        if index not in ("0", "1") or gender not in _GENDERS:
            raise ValueError(f"body_idx_fpv: expected 0 or 1 and a gender, found {row['body_idx_fpv']!r}")
        start, end = int(row["start_frame"]), int(row["end_frame"])
    except ValueError as error:
        raise LayoutError(f"{path} line {line}: {error}; copy it again from the release") from error
    subjects = _NAME.fullmatch(row["recording_name"])
    return Recording(
        name=row["recording_name"],
        scene=row["scene_name"],
        interactee=int(index),
        gender=gender,
        start=start,
        end=end,
        wearer_id=subjects["wearer"] if subjects else None,
        interactee_id=subjects["interactee"] if subjects else None,
    )


def calibration_paths(recording: str, name: str) -> tuple[str, str]:
    """Where a calibration may lie, relative to the root: the release's code and its README differ."""
    folder = f"{CALIBRATIONS}/{recording}"
    return f"{folder}/cal_trans/{name}.json", f"{folder}/{name}.json"


def read_calibration(path: Path) -> Float[np.ndarray, "3 4"]:
    """The motion in a json file ``{"trans": 4 x 4}``.

    Returns:
        (3, 4) float64 ``x' = R x + t``, metres.

    Raises:
        LayoutError: if it cannot be read or is no rigid motion.
    """
    try:
        return rigid(json.loads(path.read_bytes())["trans"])
    except (OSError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise LayoutError(
            f'{path}: expected {{"trans": 4 x 4}}, a rotation and a translation ({error!r:.120}); copy it '
            "again from the release"
        ) from error


def rigid(matrix: Any) -> Float[np.ndarray, "3 4"]:
    """A rigid motion without the rounding of its text: the inverse of what is left is its transpose.

    Args:
        matrix: 4 x 4 numbers, row by row, metres.

    Returns:
        (3, 4) float64, its rotation exact.

    Raises:
        TypeError, ValueError, OverflowError: if it is anything else, or no rotation even for four digits.
    """
    found = np.asarray(matrix, np.float64)
    if found.shape != (4, 4) or not (np.abs(found) < _FAR).all():
        raise ValueError(f"expected 4 x 4 finite numbers, none of them huge, found shape {found.shape}")
    rotation = found[:3, :3]
    off = np.abs(rotation @ rotation.T - np.eye(3)).max()
    if off > _NOT_RIGID or np.linalg.det(rotation) < 0 or np.abs(found[3] - (0, 0, 0, 1)).max() > _NOT_RIGID:
        raise ValueError(
            f"expected a rotation and a translation, found R R^T off the identity by {off:.3g}, determinant "
            f"{np.linalg.det(rotation):.3g} and last row {found[3].tolist()}"
        )
    left, _, right = np.linalg.svd(rotation)
    return np.column_stack([left @ right, found[:3, 3]])


def fit_folder(root: Path, who: str, split: str, recording: str, index: int) -> Path:
    """The folder with the frames of one person; ``who`` is :data:`INTERACTEE` or ``camera_wearer``."""
    return root / f"smplx_{who}_{split}" / recording / f"body_idx_{index}" / "results"


def count_fits(folder: Path) -> int:
    """Frames in a :func:`fit_folder`, which may not be there; they are counted, not looked at."""
    try:
        with os.scandir(folder) as frames:
            return sum(entry.name.startswith("frame_") for entry in frames)
    except (FileNotFoundError, NotADirectoryError):
        return 0


def fit_file(folder: Path, frame: int) -> Path:
    """The pickle of one frame in a :func:`fit_folder`."""
    return folder / f"frame_{frame:05d}" / "000.pkl"


def read_fit(path: Path) -> Fit:
    """One fit, checked.

    Raises:
        FileNotFoundError: if there is none, which is ordinary.
        CountedError: ``broken_fit`` or ``unsafe_fit``, with what was expected and found.
    """
    try:
        data = path.read_bytes()
    except NotADirectoryError as error:
        raise FileNotFoundError(str(path)) from error
    except IsADirectoryError as error:
        raise CountedError("broken_fit", f"{path.parent.name}/{path.name}: is a folder") from error
    try:
        values = load_pickle(data)
        return Fit(parts=body_parts(values, _SIZES), gender=_gender(values["gender"]))
    except UnsafeFileError as error:
        raise CountedError("unsafe_fit", str(error)) from error
    except KeyError as error:
        raise CountedError("broken_fit", f"has no {error}") from error
    except (AssetError, TypeError, ValueError) as error:
        raise CountedError("broken_fit", str(error)) from error


def _gender(value: Any) -> str:
    found = np.asarray(value)
    word = str(found.reshape(-1)[0]) if found.dtype.kind == "U" and found.size == 1 else ""
    if word not in _GENDERS:
        raise ValueError(f"gender: expected {', '.join(_GENDERS)}, found {value!r:.40}")
    return word
