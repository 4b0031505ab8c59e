"""COCO-style keypoint files: the reader behind MS COCO, and your own data in that format.

Facts about the format: flat lists of images and annotations in one JSON object; boxes ``[x, y, w, h]`` in
pixels, origin top-left; keypoints K x (x, y, v) with v 0 not labelled, 1 labelled but hidden, 2 visible
(part flags of COCO-WholeBody may be floats; v > 0 is reliable). Ids are unique, neither dense nor sorted.

| source field | column, or why not |
| --- | --- |
| images[].file_name | image_path, source_frame (stem) |
| images[].width, images[].height | width, height |
| images[].id | meta.image_id |
| images[] (position) | frame |
| images[].license, images[].date_captured | not a column: no consumer needs them |
| images[].coco_url, images[].flickr_url | not a column: the file name says which image it is |
| annotations[].id | source_id, meta.ann_id |
| annotations[] (position) | source_index |
| annotations[].image_id | joins the image |
| annotations[].bbox | bbox_xywh, confidence 1 |
| annotations[].keypoints | keypoints2d_original, confidence 1 where v > 0; v itself in meta.visibility |
| annotations[].num_keypoints | 0 leaves the person out (no_keypoints) |
| annotations[].iscrowd | 1 leaves the person out (crowd) |
| annotations[].segmentation, annotations[].area | not a column: no consumer needs them |
| annotations[].category_id | not a column: keypoint files hold people only |
"""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, TypeAlias

import numpy as np

from hmtools.core.errors import LayoutError, UsageError
from hmtools.core.json_stream import Broken, iter_elements, read_element
from hmtools.datasets.base import Dataset, Option, Rejected, Source, json_text
from hmtools.datasets.coco_values import flag, joints, numbers, points, text, visibility, whole
from hmtools.datasets.registry import register
from hmtools.engine.job import Unit
from hmtools.humandata.keypoints import convention
from hmtools.humandata.record import Record
from hmtools.humandata.schema import RecordSpec

__all__ = [
    "IMAGES_PER_UNIT",
    "Coco",
    "Person",
    "coco_meta",
    "flag",
    "joints",
    "numbers",
    "plan_coco",
    "points",
    "read_coco",
    "visibility",
]

IMAGES_PER_UNIT = 512
"""Images of a unit: about 40 MB of crops, half a minute of work, 231 units for train2017."""

Table: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"


@dataclass(frozen=True, slots=True)
class Person:
    """One annotation as the file has it, with what the record needs from its surroundings."""

    annotation: Mapping[str, Any]
    image: Mapping[str, Any]
    frame: int
    person: int
    source_index: int
    sequence: str


@dataclass(frozen=True, slots=True)
class CocoUnit:
    """Payload of a unit: byte ranges of its images and annotations in one JSON file.

    ``frames`` rows: frame, start, end. ``people`` rows: row of ``frames``, person, source_index, start, end,
    1 where an earlier annotation has the same id, that id (-2**63: none that is an integer). ``strays`` are
    rows of the file that belong to no image: (position, what is wrong).
    """

    split: str
    frames: Table
    people: Table
    strays: tuple[tuple[int, str], ...] = ()


def plan_coco(file: Path, split: str) -> list[Unit]:
    """Scan an annotation file once and cut its annotated images into units, in the file's image order.

    Raises:
        LayoutError: if the file is not JSON or lists no images or no people.
    """
    if not file.is_file():
        raise LayoutError(f"{file}: not a file; expected a COCO annotation file")
    images, annotations, strays = _scan(file)
    if not len(images) or not len(annotations):
        raise LayoutError(
            f"{file}: no usable `images` and `annotations` lists; expected a COCO annotation file"
        )
    order = np.argsort(images[:, 0], kind="stable")  # where an id occurs twice, the first image has it
    ids = images[order, 0]
    place = np.minimum(np.searchsorted(ids, annotations[:, 1]), len(ids) - 1)
    known = ids[place] == annotations[:, 1]
    strays += [(int(row), "image_id that `images` does not have") for row in annotations[~known, 0]]
    annotations, image = annotations[known], order[place[known]]
    rows = np.argsort(image, kind="stable")  # by frame, then by position in the file
    annotations, image = annotations[rows], image[rows]
    used, first, counts = np.unique(image, return_index=True, return_counts=True)
    local = np.repeat(np.arange(len(used)) % IMAGES_PER_UNIT, counts)
    person = np.arange(len(image)) - np.repeat(first, counts)
    people = np.column_stack([local, person, annotations[:, [0, 2, 3, 4, 5]]])
    bounds = [*first[::IMAGES_PER_UNIT].tolist(), len(people)]
    units = [
        _unit(number, split, images[used[number * IMAGES_PER_UNIT :][:IMAGES_PER_UNIT], 1:], people[low:high])
        for number, (low, high) in enumerate(pairwise(bounds))
    ]
    units = units or [_unit(0, split, images[:0, 1:], people)]
    return [replace(units[0], payload=replace(units[0].payload, strays=tuple(sorted(strays)))), *units[1:]]


def _unit(index: int, split: str, frames: Table, people: Table) -> Unit:
    span = f"{frames[0, 0]}-{frames[-1, 0]}" if len(frames) else "none"
    return Unit(
        index=index,
        name=f"{split} images {span}",
        payload=CocoUnit(split, frames, people),
        expected=len(people),
        images=len(frames),
        sequences=(split,),
    )


def _scan(file: Path) -> tuple[Table, Table, list[tuple[int, str]]]:
    """Images (id, position, start, end), annotations (position, image, start, end, repeated, id), strays."""
    images, annotations = array("q"), array("q")
    strays: list[tuple[int, str]] = []
    seen: set[int | str] = set()
    for element in iter_elements(file):
        if element.key == "images" and _number(element.value, "id") is not None:
            images.extend((element.value["id"], element.index, element.start, element.end))
        elif element.key == "annotations":
            number = _number(element.value, "image_id")
            if number is None:
                broken = isinstance(element.value, Broken)
                strays.append((element.index, element.value.problem if broken else "no integer image_id"))
                continue
            name = element.value.get("id")
            repeated = isinstance(name, int | str) and name in seen
            if isinstance(name, int | str):
                seen.add(name)
            own = _number(element.value, "id")
            rest = (repeated, -(2**63) if own is None else own)
            annotations.extend((element.index, number, element.start, element.end, *rest))
    return _table(images, 4), _table(annotations, 6), strays


def _number(value: Any, name: str) -> int | None:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) and abs(found) < 2**63 else None


def _table(numbers: array[int], width: int) -> Table:
    return np.frombuffer(numbers, np.int64).reshape(-1, width) if numbers else np.zeros((0, width), np.int64)


def read_coco(
    file: Path, unit: CocoUnit, image_path: Callable[[str], str], fill: Callable[[Person, Record], None]
) -> Iterator[Record | Rejected]:
    """Read the people of a unit in (frame, person) order.

    Args:
        file: the annotation file that was planned.
        unit: payload made by :func:`plan_coco`.
        image_path: file name as annotated → path relative to the root.
        fill: adds to a record what the annotation holds beyond its box; raises KeyError, TypeError,
            ValueError or OverflowError for a malformed row.
    """
    for position, problem in unit.strays:
        yield Rejected("broken_row", f"{file.name} annotations[{position}]", problem)
    descriptor = os.open(file, os.O_RDONLY)
    try:
        for row, person, source_index, start, end, repeated, _ in unit.people.tolist():
            frame, first, last = unit.frames[row].tolist()
            where = f"{file.name} annotations[{source_index}]"
            try:
                image = read_element(descriptor, first, last)
                annotation = read_element(descriptor, start, end)
                where = f"{text(image, 'file_name')} annotation {text(annotation, 'id')}"
                if repeated:
                    yield Rejected("duplicate_annotation", where, "its id occurs twice")
                    continue
                found = Person(annotation, image, frame, person, source_index, unit.split)
                yield _left_out(found, where) or _record(found, image_path, fill)
            except KeyError as error:
                yield Rejected("broken_row", where, f"has no {error}")
            except (TypeError, ValueError, OverflowError) as error:
                yield Rejected("broken_row", where, str(error))
    finally:
        os.close(descriptor)


def _left_out(found: Person, where: str) -> Rejected | None:
    """The rules of every COCO consumer: crowds and people without a labelled body joint are not stored."""
    if whole(found.annotation, "iscrowd", 0):
        return Rejected("crowd", where, by_rule=True)
    if not whole(found.annotation, "num_keypoints", 1):
        return Rejected("no_keypoints", where, by_rule=True)
    return None


def _record(
    found: Person, image_path: Callable[[str], str], fill: Callable[[Person, Record], None]
) -> Record:
    annotation, image = found.annotation, found.image
    name = text(image, "file_name")
    record = Record(
        sequence=found.sequence,
        frame=found.frame,
        source_frame=PurePosixPath(name).stem,
        person=found.person,
        source_id=text(annotation, "id"),
        source_index=found.source_index,
        image_path=image_path(name),
        image_op="none",
        height=whole(image, "height"),
        width=whole(image, "width"),
        bbox_xywh=[*numbers(annotation["bbox"], 4), 1.0],
    )
    fill(found, record)
    return record


@register
class Coco(Dataset):
    """Your own data, in COCO's keypoint format: one json file and one folder of images."""

    name = "coco"
    title = "Your own data in COCO keypoint format"
    homepage = "https://cocodataset.org/#format-data"
    licence = "yours"
    commercial_use = False
    citation = "none: cite where your data come from"
    layout = """
X.json      images [{id, file_name, width, height}], annotations [{id, image_id, bbox, keypoints K x 3}]
DIR/        the images, named as images[].file_name says
"""
    splits: ClassVar[Mapping[str, str]] = {"train": "train", "val": "val", "test": "test"}
    options: ClassVar[Mapping[str, Option]] = {
        "annotations": Option("", "the COCO json file (or the flag --annotations)", location=True),
        "convention": Option("coco_17", "keypoint convention of the file (or the flag --convention)"),
        "name": Option("", "what to call the set (or the flag --name)"),
    }
    body = "2D keypoints"

    def __init__(self, options: Mapping[str, str] | None = None) -> None:
        super().__init__(options)
        self.joints = convention(self.chosen["convention"])
        name = self.chosen["name"]
        if name and not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
            raise UsageError(f"--name {name!r}: expected lower-case letters, digits, - and _, e.g. my_people")

    @property
    def stored_as(self) -> str:
        """The name the user gave."""
        return self.chosen["name"] or self.name

    def _file(self) -> Path:
        return Path(self.chosen["annotations"]).resolve()

    def sources(self, split: str) -> Sequence[Source]:
        """The json file; the root itself is the image folder."""
        if not self.chosen["annotations"]:
            raise UsageError(
                "convert coco needs your files, e.g.\n"
                "  hmtools convert coco --annotations X.json --images photos --convention coco_17 --name mine"
            )
        return [Source((str(self._file()),), "your own disk")]

    def found_splits(self, root: Path) -> list[str]:
        """``train`` unless another split is named: one file is one split."""
        return [] if self.missing(root, "train") else ["train"]

    def spec(self, root: Path, split: str) -> RecordSpec:
        """2D keypoints in the chosen convention, nothing else."""
        return RecordSpec(self.stored_as, split, self.joints.name)

    def plan(self, root: Path, split: str) -> list[Unit]:
        """One unit per 512 annotated images."""
        return plan_coco(self._file(), split)

    def read(self, root: Path, unit: Unit) -> Iterator[Record | Rejected]:
        """People with a box and K keypoints."""

        def fill(found: Person, record: Record) -> None:
            values = found.annotation["keypoints"]
            record.keypoints2d_original = points(values, self.joints.count)
            record.meta = coco_meta(found)

        return read_coco(self._file(), unit.payload, str, fill)


def coco_meta(found: Person) -> str:
    """What the columns do not hold: ids as the file has them, and the v of the body joints."""
    annotation = found.annotation
    return json_text(
        {
            "ann_id": annotation["id"],
            "image_id": found.image["id"],
            "visibility": visibility(annotation["keypoints"]),
        }
    )
