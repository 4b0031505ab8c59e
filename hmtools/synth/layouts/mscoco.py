"""MSCOCO 2017 with COCO-WholeBody labels, in miniature.

Where the oddities are (people are numbered through the images of a split, oddities come again every 40):

==========================  ==================================================================================
image 0                     a crowd region, first in the image's list, with an id beyond 32 bits (6 people up)
image 1                     EXIF orientation 6, which the labels ignore
image 2                     one-channel JPEG
image 3                     nobody
image 1, 6, 11 ...          portrait
image 4, 11, 18 ...         smaller
person 1                    invalid left hand; face, feet and right hand have fractional visibility
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
from hmtools.synth.geometry_image import FIGURE_BLUE, MIN_SIDE, encode, encode_jpeg
from hmtools.synth.layouts import Layout, Request
from hmtools.synth.scene import BODY, FACE, FEET, LEFT_HAND, RIGHT_HAND, Figure, make_figure, outline, paint
from hmtools.synth.truth import TRUTH, ImageTruth

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["LAYOUT"]

_EVERY = 40
_QUIRKS = {
    1: ("invalid_left_hand", "fractional_visibility"),
    2: ("no_keypoints",),
    3: ("invalid_face", "zero_area_hand"),
    4: ("partly_outside",),
    5: ("empty_box",),
}
_REJECTED = {
    "crowd": "crowd region (iscrowd is 1)",
    "no_keypoints": "no labelled body keypoint (num_keypoints is 0)",
    "empty_box": "the box has no area inside the image",
}
_CROWD_ID = 900_100_000_000  # plus the image id: crowd annotations have the only ids beyond 32 bits
_SPLITS = {"train2017": "train", "val2017": "val"}  # official split -> its word in the whole-body file's name
_PARTS = {"foot": FEET, "face": FACE, "lefthand": LEFT_HAND, "righthand": RIGHT_HAND}
_KEYPOINT_KEYS = (
    "segmentation",
    "num_keypoints",
    "area",
    "iscrowd",
    "keypoints",
    "image_id",
    "bbox",
    "category_id",
    "id",
)
_CATEGORY = {
    "supercategory": "person",
    "id": 1,
    "name": "person",
    "keypoints": ["nose"]
    + [
        f"{side}_{joint}"
        for joint in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
        for side in ("left", "right")
    ],
    "skeleton": [
        *([16, 14], [14, 12], [17, 15], [15, 13], [12, 13], [6, 12], [7, 13], [6, 7], [6, 8], [7, 9]),
        *([8, 10], [9, 11], [2, 3], [1, 2], [1, 3], [2, 4], [3, 5], [4, 6], [5, 7]),
    ],
}
_LICENCE = {"url": "https://creativecommons.org/publicdomain/zero/1.0/", "id": 1, "name": "CC0 1.0 (synthetic)"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    """One planned image: everything but its pixels and labels."""

    truth: ImageTruth
    first_person: int
    people: int
    crowd: bool


def _write(request: Request) -> None:
    truths: list[str] = []
    images: list[str] = []
    (request.root / "annotations").mkdir()
    for split in request.splits:
        plan = _plan(request, split)
        (request.root / plan[0].truth.file).parent.mkdir(parents=True)
        labels = [_image(request, image) for image in plan]
        truths += _write_annotations(request, split, plan, labels)
        images += [json.dumps(asdict(image.truth)) for image in plan]
    text = (
        f'{{"layout": "{LAYOUT.name}", "seed": {request.seed},\n'
        f'"images": [\n{_lines(images)}],\n"people": [\n{_lines(truths)}]}}\n'
    )
    write_bytes(request.root / TRUTH, text.encode())


def _rng(request: Request, split: str, *purpose: int) -> np.random.Generator:
    """Independent of which other splits are made, so that a split is always the same."""
    return np.random.default_rng([request.seed, list(_SPLITS).index(split), *purpose])


def _ids(rng: np.random.Generator, split: str, count: int) -> list[int]:
    """Distinct, neither dense nor sorted; even in one split and odd in the other, so that none occurs twice."""
    drawn = rng.choice(max(300_000, 4 * count), count, replace=False)
    return [2 * int(number) + 2 + list(_SPLITS).index(split) for number in drawn]


def _plan(request: Request, split: str) -> list[_Image]:
    folder = f"images/{split}" if request.variant == "images" else split
    ids = _ids(_rng(request, split, 0), split, request.frames)
    plan = []
    first_person = 0
    for number, image_id in enumerate(ids):
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


def _size(number: int, width: int, height: int) -> tuple[int, int]:
    if number % 7 == 4:
        width, height = (max(MIN_SIDE, round(0.78 * side)) for side in (width, height))
    if number % 5 == 1:
        width, height = sorted((width, height))
        if width == height:
            width = max(MIN_SIDE, round(0.75 * width))
    return width, height


def _image(request: Request, image: _Image) -> list[dict[str, Any]]:
    """Write one jpg; return its annotations, still without their own ids, in the order of the list."""
    truth = image.truth
    rng = _rng(request, truth.split, 1, truth.frame)
    pixels = encode(truth.width, truth.height, truth.frame)
    plane = np.full(pixels.shape[:2], pixels[0, 0, 2], np.uint8)
    labels = []
    if image.crowd:
        labels.append(_crowd(plane))
    people = []
    for slot in range(image.people):
        number = image.first_person + slot
        quirks = _QUIRKS.get(number % _EVERY, ())
        overhang = 0.35 if "partly_outside" in quirks else 0.0
        figure = make_figure(
            rng, truth.width, truth.height, slot=slot, slots=image.people, overhang=overhang
        )
        paint(plane, [figure], FIGURE_BLUE)
        people.append(_person(rng, figure, number, quirks, truth.width, truth.height))
    # Rejected ones come first, so that counting before and after the filter gives different numbers.
    labels += sorted(people, key=lambda label: label["rejected"] is None)
    for label in labels:
        label["image_id"] = truth.image_id
    pixels[..., 2] = plane
    if not truth.colour:
        pixels = _luma(pixels)
    (request.root / truth.file).write_bytes(encode_jpeg(pixels, truth.orientation))
    request.advance()
    return labels


def _luma(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2

    grey: NDArray[np.uint8] = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.uint8)
    return grey


def _crowd(plane: NDArray[np.uint8]) -> dict[str, Any]:
    """A region of many people, run-length encoded down the columns; painted into ``plane`` as a patch."""
    import cv2

    height, width = plane.shape
    mask = np.zeros(plane.shape, np.uint8)
    cv2.ellipse(mask, (round(0.8 * width), round(0.12 * height)), (width // 8, height // 14), 0, 0, 360, 1, -1)
    plane[mask > 0] = FIGURE_BLUE
    flat = mask.ravel(order="F")
    borders = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *borders.tolist(), flat.size])
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = [int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
    label = _blank(("crowd",), box)
    label.update(
        segmentation={"counts": counts.tolist(), "size": [height, width]}, area=int(mask.sum()), iscrowd=1
    )
    return label


def _blank(quirks: tuple[str, ...], box: list[Any]) -> dict[str, Any]:
    """An annotation without any labelled point, in the types of the official file."""
    label: dict[str, Any] = {
        "segmentation": [],
        "num_keypoints": 0,
        "area": 0.0,
        "iscrowd": 0,
        "keypoints": [0] * 51,
        "image_id": 0,
        "bbox": box,
        "category_id": 1,
        "id": 0,
        **{f"{part}_box": [0.0] * 4 for part in ("face", "lefthand", "righthand")},
        **{f"{part}_kpts": [0.0] * 3 * (at.stop - at.start) for part, at in _PARTS.items()},
        **{f"{part}_valid": False for part in _PARTS},
    }
    label["quirks"] = list(quirks)
    label["rejected"] = next((_REJECTED[quirk] for quirk in quirks if quirk in _REJECTED), None)
    return label


def _person(
    rng: np.random.Generator,
    figure: Figure,
    number: int,
    quirks: tuple[str, ...],
    width: int,
    height: int,
) -> dict[str, Any]:
    """The annotation of one figure, all but its ids."""
    room = np.array([width, height], dtype=np.float64)
    hull = np.round(outline(figure), 2)
    inside = hull if "partly_outside" in quirks else hull.clip(0, room)
    corner, far = inside.min(axis=0), inside.max(axis=0)
    label = _blank(quirks, [*corner.tolist(), *np.round(far - corner, 2).tolist()])
    polygon = hull.clip(0, room)
    label["segmentation"] = [polygon.ravel().tolist()]
    label["area"] = _area(polygon)
    if "empty_box" in quirks:
        label["bbox"][2] = 0.0
    if "no_keypoints" in quirks:
        return label
    visible = _visibility(rng, number)
    body = _kept(figure.points[BODY], visible[BODY], 0, room)
    label["keypoints"] = [int(value) for value in body.ravel()]
    label["num_keypoints"] = int((body[:, 2] > 0).sum())
    for part, at in _PARTS.items():
        if f"invalid_{part.replace('hand', '_hand')}" in quirks:
            continue
        fractions = "fractional_visibility" in quirks
        seen = visible[at] * np.round(rng.uniform(0.15, 0.45, at.stop - at.start), 3 if fractions else 0)
        label.update(_part(part, figure.points[at], seen if fractions else visible[at], number, room))
    if "zero_area_hand" in quirks:
        label["righthand_box"][3] = 0.0
    return label


def _visibility(rng: np.random.Generator, number: int) -> NDArray[np.float64]:
    """(133,) flags of 0, 1 and 2; everything but the body knows labelled (1; feet: 2) or not (0) only."""
    body = rng.choice([2.0, 1.0, 0.0], 17, p=[0.8, 0.12, 0.08])
    rest = rng.random(116) > 0.03
    if number % _EVERY == 0:
        body[:], rest[:] = 2.0, True
    else:  # by chance alone a small miniature might lack one of the two
        body[(5 * number + 3) % 17], body[(5 * number + 4) % 17] = 1.0, 0.0
    return np.concatenate([body, rest * np.repeat([2.0, 1.0], [6, 110])])


def _kept(
    points: NDArray[np.float64], visible: NDArray[np.float64], digits: int, room: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(K, 3) rounded x, y, v; zeros where a point is unlabelled or outside the image."""
    rounded = np.round(points, digits)
    labelled = (visible > 0) & (rounded >= 0).all(axis=1) & (rounded <= room - 1).all(axis=1)
    return np.where(labelled[:, None], np.column_stack([rounded, visible]), 0.0)


def _part(
    part: str, points: NDArray[np.float64], visible: NDArray[np.float64], number: int, room: NDArray[np.float64]
) -> dict[str, Any]:
    """Points, box and flag of the feet, the face or a hand; empty when none of its points is labelled."""
    digits = {"foot": number % 2, "face": 4}.get(part, 3)
    kept = _kept(points, visible, digits, room)
    shown = kept[kept[:, 2] > 0, :2]
    if not len(shown):
        return {}
    whole = np.array_equal(kept[:, 2], kept[:, 2].round())
    values: list[Any] = kept.ravel().tolist()
    if part == "foot" and digits == 0 and whole:
        values = [int(value) for value in values]  # the official file has feet of whole and of broken numbers
    elif part.endswith("hand") and whole:
        values[2::3] = [int(value) for value in values[2::3]]
    label: dict[str, Any] = {f"{part}_kpts": values, f"{part}_valid": True}
    if part != "foot":
        margin = 1 + 0.1 * np.ptp(shown, axis=0)
        corner = np.round((shown.min(axis=0) - margin).clip(0, room), 2)
        far = np.round((shown.max(axis=0) + margin).clip(0, room), 2)
        label[f"{part}_box"] = [*corner.tolist(), *(far - corner).tolist()]
    return label


def _area(polygon: NDArray[np.float64]) -> float:
    x, y = polygon.T
    return float(np.round(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2, 4))


def _write_annotations(
    request: Request, split: str, plan: list[_Image], labels: list[list[dict[str, Any]]]
) -> list[str]:
    """Number the annotations, write both official files, return the truth of everybody as JSON lines."""
    rng = _rng(request, split, 2)
    shuffled = [(plan[index].truth, labels[index]) for index in rng.permutation(len(plan))]
    # First everybody's first annotation, then the second ones: an image's annotations never stand together.
    rounds = [
        [(truth, own, person) for truth, own in shuffled if person < len(own)]
        for person in range(max(map(len, labels)))
    ]
    listed = list(chain.from_iterable(rounds))
    truths, wholebody, keypoints = [], [], []
    for annotation_id, (truth, own, person) in zip(_ids(rng, split, len(listed)), listed, strict=True):
        label = dict(own[person])
        label["id"] = _CROWD_ID + truth.image_id if label["iscrowd"] else annotation_id
        quirks, rejected = label.pop("quirks"), label.pop("rejected")
        truths.append(json.dumps(_person_truth(truth, person, label, quirks, rejected)))
        wholebody.append(json.dumps(label))
        keypoints.append(json.dumps({key: label[key] for key in _KEYPOINT_KEYS}))
    images = [json.dumps(_image_row(image.truth)) for image in plan]
    word = _SPLITS[split]
    for name, year, rows in (
        (f"coco_wholebody_{word}_v1.0.json", "2026", wholebody),
        (f"person_keypoints_{split}.json", 2026, keypoints),
    ):
        info = {
            "description": f"synthetic miniature in the layout of {name}",
            "url": "https://example.invalid/hmtools-miniature",
            "version": "1.0",
            "year": year,
            "date_created": "2026/01/01",
        }
        _write_file(request.root / "annotations" / name, info, images, rows)
    return truths


def _write_file(path: Path, info: dict[str, Any], images: list[str], annotations: list[str]) -> None:
    text = (
        f'{{"info": {json.dumps(info)},\n"licenses": {json.dumps([_LICENCE])},\n'
        f'"categories": {json.dumps([_CATEGORY])},\n"images": [\n{_lines(images)}],\n'
        f'"annotations": [\n{_lines(annotations)}]}}\n'
    )
    write_bytes(path, text.encode())


def _lines(rows: list[str]) -> str:
    return ",\n".join(rows) + "\n"


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


def _person_truth(
    image: ImageTruth, person: int, label: dict[str, Any], quirks: list[str], rejected: str | None
) -> dict[str, Any]:
    row = {
        "split": image.split,
        "file": image.file,
        "image_id": image.image_id,
        "annotation_id": label["id"],
        "person": person,
        "bbox_xywh": label["bbox"],
        "keypoints2d": label["keypoints"] + list(chain.from_iterable(label[f"{part}_kpts"] for part in _PARTS)),
        "num_keypoints": label["num_keypoints"],
        "foot_valid": label["foot_valid"],
        "rejected": rejected,
        "quirks": quirks,
    }
    for name, part in (("face", "face"), ("lhand", "lefthand"), ("rhand", "righthand")):
        box = label[f"{part}_box"]
        row[f"{name}_bbox_xywh"] = box
        row[f"{name}_valid"] = label[f"{part}_valid"]
        row[f"{name}_usable"] = label[f"{part}_valid"] and box[2] * box[3] > 0
    return row


LAYOUT = Layout(
    name="mscoco",
    title="MSCOCO 2017 + COCO-WholeBody",
    splits=tuple(_SPLITS),
    default_splits=("val2017",),
    variants=("images", "flat"),
    write=_write,
)
"""MSCOCO; the variant ``flat`` has the image folders directly below the root."""
