"""What the annotation files of a UBody scene list, found in one pass without parsing coordinates.

A scene is one json of hundreds of megabytes. The pass keeps of each annotation where it stands in the file
and which frame of which video it is of; people are parsed where they are read, video by video.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import numpy as np

from hmtools.core.errors import LayoutError
from hmtools.core.json_stream import Broken, Element, iter_elements, read_element
from hmtools.core.safe_pickle import load_npy
from hmtools.datasets.coco import IMAGES_PER_UNIT
from hmtools.engine.job import Unit

__all__ = ["Scene", "Table", "Video", "VideoUnit", "pack_videos", "read_test_list", "scan_scene"]

Table: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"

# <folders>/<frame>.png; frames count from 1; no character that no file name can have
_FRAME = re.compile(r"/*([^\x00-\x1f\ud800-\udfff]+)/0*([1-9]\d{0,8})\.\w+")
_NO_ID = -(2**63)


@dataclass(frozen=True, slots=True)
class Video:
    """The annotated frames of one video.

    Attributes:
        sequence: ``<Scene>/<folder>``.
        folder: folder of its images, relative to that of the scene; the last part is the name of the video.
        frames: (F, 3) frame from 0, first byte and end of its row of ``images``.
        people: (N, 7) row of ``frames``, person, position in ``annotations``, first byte, end, 1 where an
            earlier annotation has the same id, that id (-2**63: no integer); by frame and person.
        source: the folder of its images or its video file, relative to the root; empty: neither is there.
    """

    sequence: str
    folder: str
    frames: Table
    people: Table
    source: str = ""

    @property
    def name(self) -> str:
        """What the lists of test videos call it: without what follows ``_Trim``."""
        return PurePosixPath(self.folder).name.partition("_Trim")[0]


@dataclass(frozen=True, slots=True)
class Scene:
    """One scene: ``videos`` by sequence, the ids of all its people, and rows that are of no frame.

    ``strays``: (position in ``annotations``, what is wrong).
    """

    videos: tuple[Video, ...]
    ids: Table
    strays: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class VideoUnit:
    """Payload of a unit: whole videos of one scene, and rows of its file that are of no video."""

    scene: str
    videos: tuple[Video, ...]
    strays: tuple[tuple[int, str], ...] = ()


def read_test_list(file: Path) -> frozenset[str]:
    """Names of the videos that are for testing.

    Raises:
        LayoutError: unless the file holds an array of names.
        AssetError, UnsafeFileError: as :func:`~hmtools.core.safe_pickle.load_npy`.
    """
    names = load_npy(file, pickled=True).ravel().tolist()
    if len(names) == 1 and isinstance(names[0], list | tuple | set):
        names = list(names[0])  # a list that was saved as one object
    if not names or not all(isinstance(name, str) for name in names):
        raise LayoutError(f"{file}: expected an array of names of videos, found {names!r:.60}")
    return frozenset(names)


def scan_scene(file: Path, scene: str) -> Scene:
    """Scan ``keypoint_annotation.json`` of a scene once.

    Raises:
        LayoutError: if it is not JSON, or no annotation is of a frame of a video.
    """
    images, annotations, strays = _Images(), array("q"), []
    seen: set[int | str] = set()
    with file.open("rb") as opened:
        for element in iter_elements(file):
            if element.key == "images":
                images.add(element, opened.fileno())
            elif element.key == "annotations":
                if isinstance(row := _row(element, seen), str):
                    strays.append((element.index, row))
                else:
                    annotations.extend(row)
    rows = np.array(annotations, np.int64).reshape(-1, 6)
    image, known = images.find(rows[:, 0])
    strays += [
        (int(row), "its image is not in `images` as <video>/<frame>.png, counted from 1")
        for row in rows[~known, 1]
    ]
    if not known.any():
        raise LayoutError(
            f"{file}: none of its {len(strays)} annotations is of a frame of a video; expected "
            "{images: [{id, file_name: <video>/<frame>.png}], annotations: [{id, image_id, bbox, ...}]}"
        )
    videos = _videos(scene, list(images.folders), image[known], rows[known])
    return Scene(tuple(videos), rows[:, 5], tuple(sorted(strays)))


def _row(element: Element, seen: set[int | str]) -> tuple[int, ...] | str:
    """Image id, position, first byte, end, whether the id was seen, id; or what is wrong."""
    if isinstance(element.value, Broken):
        return element.value.problem
    image, own = _whole(element.value, "image_id"), _whole(element.value, "id")
    if image is None:
        return "no integer image_id"
    name = element.value.get("id")
    repeated = isinstance(name, int | str) and name in seen
    if isinstance(name, int | str):
        seen.add(name)
    return image, element.index, element.start, element.end, repeated, _NO_ID if own is None else own


def _whole(value: Any, name: str) -> int | None:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) and abs(found) < 2**63 else None


class _Images:
    """Rows of ``images``: id, number of the folder, frame, first byte, end."""

    def __init__(self) -> None:
        self.folders: dict[str, int] = {}
        self._rows = array("q")

    def add(self, element: Element, descriptor: int) -> None:
        number = _whole(element.value, "id")
        name = element.value.get("file_name") if isinstance(element.value, dict) else None
        if number is None or not isinstance(name, str):
            return
        if not name.isascii():  # a scan keeps bytes apart, not characters
            name = _exact_name(descriptor, element)
        if found := _FRAME.fullmatch(name):
            folder = self.folders.setdefault(found[1], len(self.folders))
            self._rows.extend((number, folder, int(found[2]) - 1, element.start, element.end))

    def find(self, ids: Table) -> tuple[Table, np.ndarray[Any, np.dtype[np.bool_]]]:
        """Rows (folder, frame, first byte, end) of these ids, and which of the ids are known."""
        rows = np.array(self._rows, np.int64).reshape(-1, 5)
        if not len(rows):
            return np.zeros((len(ids), 4), np.int64), np.zeros(len(ids), np.bool_)
        rows = rows[np.argsort(rows[:, 0], kind="stable")]  # where an id occurs twice, the first row has it
        place = np.minimum(np.searchsorted(rows[:, 0], ids), len(rows) - 1)
        return rows[place, 1:], rows[place, 0] == ids


def _exact_name(descriptor: int, element: Element) -> str:
    try:
        return str(read_element(descriptor, element.start, element.end)["file_name"])
    except ValueError:
        return ""  # bytes that are no UTF-8


def _videos(scene: str, folders: Sequence[str], images: Table, rows: Table) -> Iterator[Video]:
    """Videos by sequence; the people of a frame in the order of the file, counted over all rows of it."""
    rank = np.empty(len(folders), np.int64)
    rank[sorted(range(len(folders)), key=folders.__getitem__)] = np.arange(len(folders))
    order = np.lexsort((images[:, 1], rank[images[:, 0]]))  # stable
    images, rows = images[order], rows[order]
    cuts = np.flatnonzero(np.diff(images[:, 0], prepend=-1, append=-1))
    for start, end in pairwise(cuts.tolist()):
        part, own = images[start:end, 1:], rows[start:end]
        firsts = np.flatnonzero(np.diff(part[:, 0], prepend=-1))
        person = np.arange(len(part)) - np.repeat(firsts, np.diff([*firsts, len(part)]))
        frames, place = np.unique(part, axis=0, return_inverse=True)
        folder = folders[int(images[start, 0])]
        people = np.column_stack([place.reshape(-1), person, own[:, 1:]])
        yield Video(f"{scene}/{folder}", folder, frames, people)


def pack_videos(scene: str, videos: Sequence[Video], strays: tuple[tuple[int, str], ...]) -> list[Unit]:
    """Units of whole videos, about 512 annotated images each; ``strays`` go into the first."""
    packs: list[list[Video]] = []
    images = 0
    for video in videos:
        images += len(video.frames)
        if not packs or images > IMAGES_PER_UNIT:
            packs.append([])
            images = len(video.frames)
        packs[-1].append(video)
    return [
        _unit(number, VideoUnit(scene, tuple(pack), () if number else strays))
        for number, pack in enumerate(packs)
    ]


def _unit(index: int, payload: VideoUnit) -> Unit:
    first, last = payload.videos[0].sequence, payload.videos[-1].sequence
    return Unit(
        index=index,
        name=first if first == last else f"{first} to {last}",
        payload=payload,
        expected=sum(len(video.people) for video in payload.videos),
        images=sum(len(np.unique(video.frames[:, 0])) for video in payload.videos),
        sequences=tuple(video.sequence for video in payload.videos),
    )
