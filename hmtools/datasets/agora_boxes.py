"""The test split of AGORA: images without truth, and boxes that a detector found on them.

``AGORA_test_bbox.json`` is ``{image name: [{"bbox": [x, y, w, h]}, ...]}`` in pixels at 3840 x 2160; the
place in the list is the number of the person.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hmtools.core.errors import LayoutError
from hmtools.datasets.agora_camera import LABEL_SIZE
from hmtools.datasets.agora_person import image_record
from hmtools.datasets.agora_tree import ImageFolder
from hmtools.datasets.base import Rejected
from hmtools.datasets.coco_values import numbers
from hmtools.engine.job import Unit
from hmtools.humandata.record import Record

__all__ = ["BoxUnit", "BoxedImage", "plan_boxes", "read_boxes"]

IMAGES_PER_UNIT = 256


@dataclass(frozen=True, slots=True)
class BoxedImage:
    """An image: its name at 3840 x 2160, its number, that of its first box, and its boxes as in the file."""

    image: str
    frame: int
    source_index: int
    boxes: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class BoxUnit:
    """Payload of a unit: where its images are, and what is known of each."""

    stored: ImageFolder
    rows: tuple[BoxedImage, ...]


def plan_boxes(file: Path, stored: ImageFolder) -> list[Unit]:
    """Units of 256 images, in the file's order.

    Raises:
        LayoutError: if the file is not what it should be.
    """
    try:
        found, rows, count = json.loads(file.read_bytes()), [], 0
        for number, (name, boxes) in enumerate(found.items()):
            image = f"{name.removesuffix('.png').removesuffix('_1280x720')}.png"
            rows.append(BoxedImage(image, number, count, tuple(boxes)))
            count += len(boxes)
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        raise LayoutError(
            f'{file}: expected {{image name: [{{"bbox": [x, y, w, h]}}, ...]}} ({error!r:.80}); copy it again'
        ) from error
    if not count:
        raise LayoutError(f"{file}: has no boxes; copy it again")
    blocks = [rows[cut : cut + IMAGES_PER_UNIT] for cut in range(0, len(rows), IMAGES_PER_UNIT)]
    return [
        Unit(
            index=index,
            name=f"test images {block[0].frame}-{block[-1].frame}",
            payload=BoxUnit(stored, tuple(block)),
            expected=sum(len(row.boxes) for row in block),
            images=len(block),
            sequences=("test",),
        )
        for index, block in enumerate(blocks)
    ]


def read_boxes(unit: BoxUnit) -> Iterator[Record | Rejected]:
    """A record for each box of a unit made by :func:`plan_boxes`."""
    stored = unit.stored
    scale = stored.size[0] / LABEL_SIZE[0]
    for row in unit.rows:
        for person, entry in enumerate(row.boxes):
            try:
                row.image.encode()  # JSON can escape what no file name and no column can hold
                box = [scale * value for value in numbers(entry["bbox"], 4)]
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                problem = f"has no {error}" if isinstance(error, KeyError) else str(error)
                image = row.image.encode(errors="backslashreplace").decode()
                yield Rejected("broken_row", f"{image} box {person}", problem)
                continue
            record = image_record(row.image, stored)
            record.sequence, record.frame, record.person = "test", row.frame, person
            record.source_id = f"{record.source_frame}_personId_{person}"
            record.source_index = row.source_index + person
            record.bbox_xywh = [*box, 1.0]
            record.valid_keypoints3d = False
            yield record
