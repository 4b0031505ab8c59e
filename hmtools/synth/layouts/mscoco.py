"""MSCOCO 2017 with COCO-WholeBody labels, in miniature.

Where the oddities are (people are numbered through the images of a split; oddities come again every 40):

==========================  ==================================================================================
image 0                     a crowd region, first in the image's list, with an id beyond 32 bits (from six
                            people per split on)
image 1                     EXIF orientation 6, which the labels ignore
image 2                     one-channel JPEG
image 3                     nobody
image 1, 6, 11 ...          portrait
image 4, 11, 18 ...         smaller
person 1                    invalid left hand; the visibility of face and right hand is a fraction
person 2                    no labelled body point, first in its image's list
person 3                    invalid face; the right hand is valid but its box has no area
person 4                    a third lies beyond the left edge; the box is not clipped
person 5                    the box has no width
==========================  ==================================================================================

Person 0 and every 40th are fully labelled; all others mix v = 0, 1 and 2. Ids are neither dense nor sorted,
and the annotations of one image do not stand together in the list.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from hmtools.core.atomic import write_bytes
from hmtools.synth.coco_labels import PARTS, crowd_label, person_label
from hmtools.synth.geometry_image import FIGURE_BLUE, MIN_SIDE, encode, encode_jpeg
from hmtools.synth.layouts import Layout, Request
from hmtools.synth.scene import make_figure, paint
from hmtools.synth.truth import TRUTH, ImageTruth

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["LAYOUT"]

_EVERY = 40
_QUIRKS = {
    1: ("invalid_lefthand", "fractional_visibility"),
    2: ("no_keypoints",),
    3: ("invalid_face", "zero_area_hand"),
    4: ("partly_outside",),
    5: ("empty_box",),
}
_CROWD_ID = 900_100_000_000  # plus the image id: crowd annotations have the only ids beyond 32 bits
_SPLITS = {"train2017": "train", "val2017": "val"}  # official split -> its word in the whole-body file's name
_KEYPOINT_KEYS = frozenset(
    ("segmentation", "num_keypoints", "area", "iscrowd", "keypoints", "image_id", "bbox", "category_id", "id")
)
_JOINTS = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
_CATEGORY = {
    "supercategory": "person",
    "id": 1,
    "name": "person",
    "keypoints": ["nose", *(f"{side}_{joint}" for joint in _JOINTS for side in ("left", "right"))],
    "skeleton": [
        *([16, 14], [14, 12], [17, 15], [15, 13], [12, 13], [6, 12], [7, 13], [6, 7], [6, 8], [7, 9]),
        *([8, 10], [9, 11], [2, 3], [1, 2], [1, 3], [2, 4], [3, 5], [4, 6], [5, 7]),
    ],
}
_LICENCE = {
    "url": "https://creativecommons.org/publicdomain/zero/1.0/",
    "id": 1,
    "name": "CC0 1.0 (synthetic)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    """One planned image: everything but its pixels and labels."""

    truth: ImageTruth
    first_person: int
    people: int
    crowd: bool


def _write(request: Request) -> None:
    images: list[str] = []
    people: list[str] = []
    (request.root / "annotations").mkdir()
    for split in request.splits:
        plan = _plan(request, split)
        (request.root / plan[0].truth.file).parent.mkdir(parents=True)
        people += _write_split(request, split, plan)
        images += [json.dumps(asdict(image.truth)) for image in plan]
    head = f'"layout": "{LAYOUT.name}", "seed": {request.seed}'
    _write_rows(request.root / TRUTH, head, {"images": images, "people": people})


def _plan(request: Request, split: str) -> list[_Image]:
    folder = f"images/{split}" if request.variant == "images" else split
    plan = []
    first_person = 0
    for number, image_id in enumerate(_ids(_rng(request, split, 0), split, request.frames)):
        step = number % _EVERY
        people = 0 if step == 3 else request.people
        crowd = step == 0 and people > 0 and request.frames * request.people >= 6
        width, height = _size(number, request.width, request.height)
        truth = ImageTruth(
            split=split,
            file=f"{folder}/{image_id:012d}.jpg",
            image_id=image_id,
            frame=number,
            width=width,
            height=height,
            colour=step != 2,
            orientation=6 if step == 1 else 1,
            people=people + crowd,
        )
        plan.append(_Image(truth=truth, first_person=first_person, people=people, crowd=crowd))
        first_person += people
    return plan


def _rng(request: Request, split: str, *purpose: int) -> np.random.Generator:
    """Independent of which other splits are made, so that a split is always the same."""
    return np.random.default_rng([request.seed, list(_SPLITS).index(split), *purpose])


def _ids(rng: np.random.Generator, split: str, count: int) -> list[int]:
    """Neither dense nor sorted; even in one split and odd in the other, so that none occurs twice."""
    drawn = rng.choice(max(300_000, 4 * count), count, replace=False)
    return [2 * int(number) + 2 + list(_SPLITS).index(split) for number in drawn]


def _size(number: int, width: int, height: int) -> tuple[int, int]:
    if number % 7 == 4:
        width, height = (max(MIN_SIDE, round(0.78 * side)) for side in (width, height))
    if number % 5 == 1:
        width, height = sorted((width, height))
        if width == height:
            width = max(MIN_SIDE, round(0.75 * width))
    return width, height


def _write_split(request: Request, split: str, plan: list[_Image]) -> list[str]:
    """Write images and both official files; return the truth of all people as JSON in the files' order."""
    rng = _rng(request, split, 2)
    shuffled = rng.permutation(len(plan)).tolist()
    # First everybody's first annotation, then the second ones: an image's annotations never stand together.
    most = max(image.truth.people for image in plan)
    order = [
        (index, person) for person in range(most) for index in shuffled if person < plan[index].truth.people
    ]
    place = {who: number for number, who in enumerate(order)}
    ids = _ids(rng, split, len(order))
    people, wholebody, keypoints = ([""] * len(order) for _ in range(3))
    for index, image in enumerate(plan):
        # Text at once: as Python numbers the labels of a large miniature would need gigabytes.
        for person, label in enumerate(_image(request, image)):
            at = place[index, person]
            label["image_id"] = image.truth.image_id
            label["id"] = _CROWD_ID + image.truth.image_id if label["iscrowd"] else ids[at]
            people[at] = json.dumps(_person_truth(image.truth, person, label))
            official = {key: value for key, value in label.items() if key not in ("quirks", "rejected")}
            wholebody[at] = json.dumps(official)
            keypoints[at] = json.dumps({key: value for key, value in label.items() if key in _KEYPOINT_KEYS})
        request.advance()
    images = [json.dumps(_image_row(image.truth)) for image in plan]
    _write_official(request.root, f"coco_wholebody_{_SPLITS[split]}_v1.0", "2026", images, wholebody)
    _write_official(request.root, f"person_keypoints_{split}", 2026, images, keypoints)
    return people


def _image(request: Request, image: _Image) -> list[dict[str, Any]]:
    """Write one jpg; return its labels, still without ids, in the order they have in the list."""
    truth = image.truth
    rng = _rng(request, truth.split, 1, truth.frame)
    pixels = encode(truth.width, truth.height, truth.frame)
    blue = np.full(pixels.shape[:2], pixels[0, 0, 2], np.uint8)
    people = []
    for slot in range(image.people):
        number = image.first_person + slot
        quirks = _QUIRKS.get(number % _EVERY, ())
        figure = make_figure(
            rng,
            truth.width,
            truth.height,
            slot=slot,
            slots=image.people,
            overhang=0.35 if "partly_outside" in quirks else 0.0,
        )
        paint(blue, [figure], FIGURE_BLUE)
        complete = number % _EVERY == 0
        people.append(person_label(rng, figure, truth.width, truth.height, quirks, complete=complete))
    labels = [_crowd(blue)] if image.crowd else []
    # Rejected ones come first, so that counting before and after the filter gives different numbers.
    labels += sorted(people, key=lambda label: label["rejected"] is None)
    pixels[..., 2] = blue
    stored = pixels if truth.colour else _grey(pixels)
    (request.root / truth.file).write_bytes(encode_jpeg(stored, truth.orientation))
    return labels


def _crowd(blue: NDArray[np.uint8]) -> dict[str, Any]:
    """Paint a patch that stands for many people and label it."""
    import cv2

    height, width = blue.shape
    mask = np.zeros(blue.shape, np.uint8)
    centre, axes = (round(0.8 * width), round(0.12 * height)), (width // 8, height // 14)
    cv2.ellipse(mask, centre, axes, 0, 0, 360, 1, -1)
    blue[mask > 0] = FIGURE_BLUE
    return crowd_label(mask)


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2

    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.uint8)


def _person_truth(image: ImageTruth, person: int, label: dict[str, Any]) -> dict[str, Any]:
    row = {
        "split": image.split,
        "file": image.file,
        "image_id": image.image_id,
        "annotation_id": label["id"],
        "person": person,
        "bbox_xywh": label["bbox"],
        "keypoints2d": label["keypoints"]
        + list(chain.from_iterable(label[f"{part}_kpts"] for part in PARTS)),
        "num_keypoints": label["num_keypoints"],
        "foot_valid": label["foot_valid"],
        "rejected": label["rejected"],
        "quirks": label["quirks"],
    }
    for name, part in (("face", "face"), ("lhand", "lefthand"), ("rhand", "righthand")):
        box = label[f"{part}_box"]
        row[f"{name}_bbox_xywh"] = box
        row[f"{name}_valid"] = label[f"{part}_valid"]
        row[f"{name}_usable"] = label[f"{part}_valid"] and box[2] * box[3] > 0
    return row


def _image_row(truth: ImageTruth) -> dict[str, Any]:
    name = f"{truth.image_id:012d}.jpg"
    return {
        "license": 1,
        "file_name": name,
        "coco_url": f"https://example.invalid/{truth.split}/{name}",
        "height": truth.height,
        "width": truth.width,
        "date_captured": "2026-01-01 00:00:00",
        "flickr_url": f"https://example.invalid/{truth.image_id}",
        "id": truth.image_id,
    }


def _write_official(
    root: Path, name: str, year: str | int, images: list[str], annotations: list[str]
) -> None:
    """Write one annotation file; the year is text in one of the official files and a number in the other."""
    info = {
        "description": f"synthetic miniature in the layout of {name}",
        "url": "https://example.invalid/hmtools-miniature",
        "version": "1.0",
        "year": year,
        "date_created": "2026/01/01",
    }
    parts = {"info": info, "licenses": [_LICENCE], "categories": [_CATEGORY]}
    head = ",\n".join(f'"{key}": {json.dumps(value)}' for key, value in parts.items())
    _write_rows(root / "annotations" / f"{name}.json", head, {"images": images, "annotations": annotations})


def _write_rows(path: Path, head: str, lists: dict[str, list[str]]) -> None:
    """Write a JSON object: ``head``, then lists whose rows are JSON already, one per line."""
    parts = [head, *(f'"{name}": [\n' + ",\n".join(rows) + "\n]" for name, rows in lists.items())]
    write_bytes(path, ("{" + ",\n".join(parts) + "}\n").encode())


LAYOUT = Layout(
    name="mscoco",
    title="MSCOCO 2017 + COCO-WholeBody",
    splits=tuple(_SPLITS),
    default_splits=("val2017",),
    variants=("images", "flat"),
    write=_write,
)
"""MSCOCO; the variant ``flat`` has the image folders directly below the root."""
