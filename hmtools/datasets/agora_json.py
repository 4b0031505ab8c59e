"""AGORA in json: the labels that OSX, Hand4Whole and SMPLer-X make of the dataframes.

``AGORA_<split>.json`` is COCO style and names a small file for the joints, vertices and parameters of each
person. What it has not is where a person stands in the scene: the root of a fit in ``smplx_gt`` cannot be
brought into the camera then, and stays null. Parameters below ``smplx_params_cam`` are in the camera frame.
Boxes are in pixels at 3840 x 2160, as all published ones.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import numpy as np

from hmtools.core.errors import CountedError, LayoutError
from hmtools.core.json_stream import iter_elements, read_element
from hmtools.datasets.agora_fits import Refits, named_file, read_fit
from hmtools.datasets.agora_person import JOINTS, VERTICES, AgoraPerson, points
from hmtools.datasets.agora_tree import AgoraFamily, ImageFolder
from hmtools.datasets.base import Rejected
from hmtools.datasets.coco_values import flag, numbers, text
from hmtools.engine.job import Unit

__all__ = ["JsonUnit", "plan_json", "read_json"]

IMAGES_PER_UNIT = 256

Table: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"

_BOXES = {"": "bbox", "lhand": "lhand_bbox", "rhand": "rhand_bbox", "face": "face_bbox"}
_KEPT = ("age", "ethnicity", "id")
_IN_CAMERA = "smplx_params_cam"


@dataclass(frozen=True, slots=True)
class JsonUnit:
    """Payload of a unit: images of one folder and their people, as byte ranges of the json file.

    ``stored`` is where the images are. ``frames`` rows: frame, start, end. ``people`` rows: row of
    ``frames``, person, source_index, start, end. ``lost`` are rows that belong to no image, and folders of
    images that are not there, told by the first unit.
    """

    file: str
    folder: str
    stored: ImageFolder
    frames: Table
    people: Table
    mesh: bool = False
    lost: tuple[Rejected, ...] = ()


def _place(image: Any) -> PurePosixPath:
    """``<folder>/<name>`` of an image at 3840 x 2160, whatever folder stands before them."""
    path = PurePosixPath(text(image, "file_name_3840x2160").replace("\\", "/"))
    if len(path.parts) < 2:
        raise ValueError(f"file_name_3840x2160: expected <folder>/<name>, found {str(path)!r:.60}")
    return PurePosixPath(*path.parts[-2:])


def plan_json(
    root: Path, file: Path, find_images: Callable[[str], ImageFolder | Rejected], *, mesh: bool
) -> list[Unit]:
    """Scan a json file once and cut its images into units: folder by folder, in the file's order.

    Args:
        root: the download.
        file: the json file below it.
        find_images: of the name of a folder, where its images are, or what is told of one that is not there.
        mesh: take the vertices, too.

    Raises:
        LayoutError: if it is no JSON, or has no images and annotations that belong together.
    """
    images: dict[str, dict[int, list[int]]] = {}  # folder -> image id -> frame, start, end
    people: dict[int, list[list[int]]] = {}  # image id -> start, end of each
    known: set[int] = set()
    lost: list[Rejected] = []
    for element in iter_elements(file):
        where = f"{file.name} {element.key}[{element.index}]"
        try:
            if element.key == "images":
                folder, number = _place(element.value).parent.name, _new(element.value, known)
                own = images.setdefault(folder, {})
                own[number] = [len(own), element.start, element.end]
            elif element.key == "annotations":
                people.setdefault(_whole(element.value, "image_id"), []).append([element.start, element.end])
        except (KeyError, TypeError, ValueError) as error:
            lost.append(Rejected("broken_row", where, f"{type(error).__name__} {error}"))
    lost += [
        Rejected("broken_row", f"{file.name} image_id {number}", "`images` does not have it")
        for number in sorted(people.keys() - known)
        for _ in people[number]
    ]
    stored = {folder: find_images(folder) for folder in sorted(images)}
    lost += [place for place in stored.values() if isinstance(place, Rejected)]
    name = file.relative_to(root).as_posix()
    units: list[Unit] = []
    for folder, place in stored.items():
        if isinstance(place, Rejected):
            continue
        for block in _blocks(images[folder], people):
            payload = JsonUnit(name, folder, place, *block, mesh, () if units else tuple(lost))
            units.append(_unit(len(units), payload))
    if not sum(unit.expected for unit in units):
        raise LayoutError(
            f"{file}: no usable `images` and `annotations`; expected the json that OSX makes of AGORA"
        )
    return units


def _new(image: Any, known: set[int]) -> int:
    """The id of an image that was not listed before."""
    number = _whole(image, "id")
    if number in known:
        raise ValueError(f"id: {number} is listed twice; the first one counts")
    known.add(number)
    return number


def _blocks(
    images: Mapping[int, list[int]], people: Mapping[int, list[list[int]]]
) -> Iterator[tuple[Table, Table]]:
    """Images of one folder, 256 at a time: their rows, and those of their people."""
    entries, count = list(images.items()), 0
    for cut in range(0, len(entries), IMAGES_PER_UNIT):
        block, rows = entries[cut : cut + IMAGES_PER_UNIT], []
        for local, (number, _) in enumerate(block):
            for person, place in enumerate(people.get(number, ())):
                rows.append([local, person, count, *place])
                count += 1
        yield np.array([place for _, place in block], np.int64), np.array(rows, np.int64).reshape(-1, 5)


def _unit(index: int, payload: JsonUnit) -> Unit:
    return Unit(
        index=index,
        name=f"{payload.folder} images {payload.frames[0, 0]}-{payload.frames[-1, 0]}",
        payload=payload,
        expected=len(payload.people),
        images=len(payload.frames),
        sequences=(payload.folder,),
    )


def _whole(row: Any, name: str) -> int:
    value = row[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name}: expected an integer, found {value!r:.40}")
    return value


def read_json(
    root: Path, unit: JsonUnit, family: AgoraFamily, neutral: Path | None
) -> Iterator[AgoraPerson | Rejected]:
    """The people of a unit, by image and in the file's order.

    Args:
        root: the download.
        unit: made by :func:`plan_json`.
        family: whose joints, vertices and fits.
        neutral: folder with the refits to the neutral model, or None.
    """
    yield from unit.lost
    labels = _Labels(root / unit.file, family, neutral, unit.mesh)
    descriptor = os.open(root / unit.file, os.O_RDONLY)
    try:
        for row, person, source_index, start, end in unit.people.tolist():
            frame, first, last = unit.frames[row].tolist()
            where = f"{unit.file} {unit.folder} image {frame} person {person}"
            try:
                image = _place(read_element(descriptor, first, last))
                annotation = read_element(descriptor, start, end)
                if flag(annotation, "is_valid"):
                    yield labels.person(image, annotation, (frame, person, source_index))
                else:
                    yield Rejected("not_valid", where, "is_valid is false", by_rule=True)
            except CountedError as error:
                yield Rejected(error.reason, where, error.detail)
            except OSError as error:
                name = os.path.relpath(error.filename, root)
                yield Rejected("labels_missing", where, f"{name[:200]}: {error.strerror}")
            except KeyError as error:
                yield Rejected("broken_row", where, f"has no {error}")
            except (TypeError, ValueError, OverflowError, RecursionError) as error:
                yield Rejected("broken_row", where, str(error))
    finally:
        os.close(descriptor)


class _Labels:
    """Reads the files that annotations name, below the folder of the json."""

    def __init__(self, file: Path, family: AgoraFamily, neutral: Path | None, mesh: bool) -> None:
        self.folder, self.family, self.mesh = file.parent, family, mesh
        self.refits = Refits(neutral)
        self.fit = lru_cache(maxsize=4096)(read_fit)

    def path(self, own: Mapping[str, Any], what: str) -> str:
        """The name of a file; Hand4Whole's fields do not say the family."""
        name = f"{self.family}_{what}_path"
        return text(own, name if name in own else f"{what}_path")

    def points(self, own: Mapping[str, Any], what: str, count: int, width: int) -> Any:
        """(count, width) numbers of a small json file."""
        path = named_file(self.folder, self.path(own, what))
        return points(json.loads(path.read_bytes()), count, width, path.name)

    def person(self, image: PurePosixPath, own: Mapping[str, Any], numbered: tuple[int, ...]) -> AgoraPerson:
        """A valid person; ``numbered`` are frame, person and source_index."""
        name = self.path(own, "param")
        path = named_file(self.folder, name)
        kid = flag(own, "kid")
        joints = JOINTS[self.family]
        return AgoraPerson(
            image=image.name,
            sequence=image.parent.name,
            frame=numbered[0],
            person=numbered[1],
            source_index=numbered[2],
            joints2d=self.points(own, "joints_2d", joints, 2),
            joints3d=self.points(own, "joints_3d", joints, 3),
            mesh=self.points(own, "verts", VERTICES[self.family], 3) if self.mesh else None,
            gender=text(own, "gender"),
            kid=kid,
            occlusion=float(own["occlusion"]),
            fit=json.loads(path.read_bytes())
            if path.suffix == ".json"
            else self.fit(path.with_suffix(".pkl")),
            betas_neutral=self.refits.betas(name, kid=kid),
            in_camera=_IN_CAMERA in PurePosixPath(name).parts,
            boxes={stem: numbers(own[key], 4) for stem, key in _BOXES.items() if own.get(key) is not None},
            meta={"gt_path": name, **{key: str(own[key]) for key in _KEPT if key in own}},
        )
