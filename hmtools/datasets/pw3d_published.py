"""The rows of ``3DPW_<split>.json``: which people of 3DPW others train and evaluate on, and their boxes.

The file is of another project (COCO style) and does not say which person of a sequence file a row is. They
are joined by sequence, frame and pose: the 69 numbers of the body pose are the same in both files, as only
the root is in another frame there. One pass finds where each row stands; a unit parses its own.
"""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from scipy.spatial.transform import Rotation

from hmtools.core.errors import LayoutError
from hmtools.core.json_stream import Broken, iter_elements, read_element
from hmtools.datasets.base import Rejected
from hmtools.datasets.coco_values import numbers, text
from hmtools.datasets.pw3d_sequences import Recording, Subject

__all__ = [
    "POSE_TOLERANCE",
    "Published",
    "Row",
    "Stray",
    "Table",
    "match_rows",
    "read_rows",
    "scan_published",
]

Table: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"
Stray: TypeAlias = tuple[int, str, str]
"""A row that belongs to no image of a sequence: its position, the word it is counted under, what is wrong."""

POSE_TOLERANCE = 0.01
"""Largest difference of any number of the body pose, radians: both files print the same float, two people
never agree in all 69 numbers."""

_IMAGE = re.compile(r"image_(\d{5,6})\.jpg")
_NO_ID = -(2**63)


@dataclass(frozen=True, slots=True)
class Published:
    """Where the rows of a file stand.

    Attributes:
        rows: sequence -> (R, 5) frame, position in the file, first byte, end, annotation id (-2**63: none
            that is an integer), by frame and position.
        strays: rows that belong to no image of a sequence, by position.
    """

    rows: Mapping[str, Table]
    strays: tuple[Stray, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One row, parsed: ``root`` (3,) in the camera frame and ``body_pose`` (69,) in radians."""

    frame: int
    source_index: int
    source_id: str
    bbox_xywh: Sequence[float]
    root: np.ndarray[Any, np.dtype[np.float64]]
    body_pose: np.ndarray[Any, np.dtype[np.float64]]


def scan_published(file: Path, sequences: Collection[str]) -> Published:
    """Scan the file once; its floats are not parsed.

    Raises:
        LayoutError: if it is no JSON, or no row is of one of these sequences.
    """
    images: dict[int, tuple[str, int] | str] = {}
    annotations = array("q")
    strays: list[Stray] = []
    for element in iter_elements(file):
        if element.key == "images" and (number := _whole(element.value, "id")) is not None:
            images.setdefault(number, _image(element.value))
        elif element.key == "annotations":
            number, own = _whole(element.value, "image_id"), _whole(element.value, "id")
            if number is None:
                broken = isinstance(element.value, Broken)
                problem = element.value.problem if broken else "no integer image_id"
                strays.append((element.index, "broken_row", problem))
                continue
            place = (element.index, element.start, element.end)
            annotations.extend((number, *place, _NO_ID if own is None else own))
    rows: dict[str, list[tuple[int, ...]]] = {name: [] for name in sequences}
    for image_id, *where in np.array(annotations, np.int64).reshape(-1, 5).tolist():
        image = images.get(image_id, "image_id that `images` does not have")
        if isinstance(image, str):
            strays.append((where[0], "broken_row", image))
        elif image[0] in rows:
            rows[image[0]].append((image[1], *where))
        else:
            strays.append((where[0], "no_sequence_file", f"{image[0]:.60}.pkl is not in this split"))
    if not any(rows.values()):
        raise LayoutError(
            f"{file}: none of its {len(strays)} annotations is of a sequence of this split; expected "
            "{images: [{id, sequence, file_name}], annotations: [{id, image_id, bbox, smpl_param}]}. Take "
            "the file away to convert everybody whose camera is valid, with boxes about their joints"
        )
    tables = {name: np.array(sorted(found), np.int64).reshape(-1, 5) for name, found in rows.items()}
    return Published(tables, tuple(sorted(strays)))


def _whole(value: Any, name: str) -> int | None:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) and abs(found) < 2**63 else None


def _image(value: Mapping[str, Any]) -> tuple[str, int] | str:
    """Sequence and frame of an image, or what is wrong with it."""
    name, sequence = value.get("file_name"), value.get("sequence")
    found = _IMAGE.fullmatch(name) if isinstance(name, str) else None
    if found is None or not isinstance(sequence, str):
        return f"its image is {name!r:.40} of sequence {sequence!r:.40}, not image_NNNNN.jpg of a sequence"
    return sequence, int(found[1])


def read_rows(file: Path, rows: Table) -> Iterator[Row | Rejected]:
    """Parse rows that were planned, in their order."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        for frame, position, start, end, _ in rows.tolist():
            try:
                yield _row(read_element(descriptor, start, end), frame, position)
            except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
                problem = f"has no {error}" if isinstance(error, KeyError) else str(error)
                yield Rejected("broken_row", f"{file.name} annotations[{position}]", problem)
    finally:
        os.close(descriptor)


def _row(annotation: Any, frame: int, position: int) -> Row:
    if not isinstance(annotation, dict) or not isinstance(annotation["smpl_param"], dict):
        raise TypeError("expected an object with an object smpl_param")
    pose = np.array(numbers(annotation["smpl_param"]["pose"], 72))
    box = numbers(annotation["bbox"], 4)
    return Row(frame, position, text(annotation, "id"), box, pose[:3], pose[3:])


def match_rows(rows: Sequence[Row], recording: Recording, file: str) -> tuple[dict[int, Row], list[Rejected]]:
    """Find the person that each row of one frame is.

    Of several whose pose fits (people who stand alike), it is the one whose root turns the same way in the
    camera; nobody is taken twice.

    Args:
        rows: of one frame, in the file's order.
        recording: of their sequence.
        file: its name, for messages.

    Returns:
        Person -> row, and the rows that are nobody's.
    """
    found: dict[int, Row] = {}
    lost = []
    for row in rows:
        where = f"{file} annotations[{row.source_index}]"
        if row.frame >= len(recording):
            problem = f"frame {row.frame} of a sequence that has {len(recording)}"
            lost.append(Rejected("no_such_frame", where, problem))
            continue
        away = _differences(row, recording)
        fitting = {number for number, (pose, _) in away.items() if pose <= POSE_TOLERANCE}
        if free := fitting - found.keys():
            found[min(free, key=lambda number: away[number][1])] = row
        elif fitting:
            lost.append(Rejected("duplicate_annotation", where, "another row has the same pose"))
        else:
            nearest = min((pose for pose, _ in away.values()), default=np.inf)
            problem = (
                f"no pose within {POSE_TOLERANCE} rad in frame {row.frame}; the nearest is {nearest:.3g} off"
            )
            lost.append(Rejected("no_such_pose", where, problem))
    return found, lost


@np.errstate(over="ignore", invalid="ignore")  # of a pose that is not finite: nobody's
def _differences(row: Row, recording: Recording) -> dict[int, tuple[float, float]]:
    """Person -> how far the body pose is off, and the angle between the roots; radians."""
    found = {}
    turn = recording.world_to_cam[row.frame, :, :3]
    row_root = Rotation.from_rotvec(row.root).as_matrix()
    for number, person in enumerate(recording.people):
        if isinstance(person, Subject):
            pose = person.poses[row.frame]
            root = turn @ Rotation.from_rotvec(pose[:3]).as_matrix()
            angle = np.arccos(np.clip((np.sum(root * row_root) - 1) / 2, -1, 1))
            found[number] = (float(np.abs(pose[3:] - row.body_pose).max()), float(angle))
    return found
