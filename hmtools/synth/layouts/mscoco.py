"""MSCOCO 2017 with COCO-WholeBody labels and NeuralAnnot bodies, in miniature.

Where the oddities are (people are numbered through the images of a split; oddities come again every 40):

==========================  ==================================================================================
image 0                     a crowd region, first in the image's list, with an id beyond 32 bits (from six
                            people per split on)
image 1                     EXIF orientation 6, which the labels ignore
image 2                     one-channel JPEG
image 3                     nobody
image 1, 6, 11 ...          portrait
image 4, 11, 18 ...         smaller
person 0                    labelled throughout; the fit's lists stand in lists of one element
person 1                    invalid left hand; the visibility of face and right hand is a fraction; the fit
                            has no valid flags, so those of the annotation count
person 2                    no labelled body point, first in its image's list; no fit
person 3                    invalid face; the right hand is valid but its box has no area; the fit's flags
                            contradict the annotation's, and its shape goes beyond 3
person 4                    a third lies beyond the left edge; the box is not clipped; no fit
person 5                    the box has no width
==========================  ==================================================================================

All others mix v = 0, 1 and 2. Ids are neither dense nor sorted, and the annotations of one image do not stand
together in the list. Fits are those of train2017 alone, as in the release; labels of points and fit agree as
far as rounding lets them, which real ones do not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from hmtools.core.atomic import write_bytes
from hmtools.synth.actors import Actor, make_actors, pose_actors
from hmtools.synth.coco_labels import KEYPOINT_KEYS, PARTS, crowd_label, person_label, write_coco
from hmtools.synth.geometry_image import FIGURE_BLUE, MIN_SIDE, encode, encode_jpeg, grey
from hmtools.synth.layouts import Layout, Request
from hmtools.synth.neural_annot_labels import as_written, fit_label, standin_hand_mean
from hmtools.synth.scene import Figure, make_figure, paint
from hmtools.synth.truth import MESHES, ImageTruth, PersonTruth, write_truth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hmtools.synth.actors import Posed

__all__ = ["LAYOUT"]

_EVERY = 40
_GREY = 2  # the image with one channel
_QUIRKS = {
    1: ("invalid_lefthand", "fractional_visibility"),
    2: ("no_keypoints",),
    3: ("invalid_face", "zero_area_hand"),
    4: ("partly_outside",),
    5: ("empty_box",),
}
_FIT_QUIRKS = {
    0: ("nested_lists",),
    1: ("no_fit_flags",),
    3: ("contradicting_flags", "wide_betas"),
    4: ("without_fit",),
}
_WIDE = 3.4  # a beta that no trainer believes
_FITTED = "train2017"
_FIT_FILES = {"osx": "MSCOCO_train_SMPLX.json"}
_FIT_FILE = "MSCOCO_train_SMPLX_all_NeuralAnnot.json"
_SIDES = {"lhand": "lefthand", "rhand": "righthand", "face": "face"}  # ours, and fits' -> the annotation's
_BODY_COLUMNS = (
    *("smplx_global_orient", "smplx_body_pose", "smplx_transl", "smplx_left_hand_pose", "smplx_betas"),
    *("smplx_right_hand_pose", "smplx_jaw_pose", "smplx_leye_pose", "smplx_reye_pose", "smplx_expression"),
    *("gender", "focal_length", "principal_point", "camera_model", "camera_kind"),
    *("keypoints2d_smplx", "keypoints3d_smplx", "betas_neutral"),
)
_NO_COLUMNS = ("fps", "track_id", "video_frame", "distortion", "world_to_cam", "keypoints3d_original")
_IMAGES_AT_ONCE = 64
_CROWD_ID = 900_100_000_000  # plus the image id: crowd annotations have the only ids beyond 32 bits
_SPLITS = {"train2017": "train", "val2017": "val"}  # official split -> its word in the whole-body file's name


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    """One planned image: everything but its pixels and labels."""

    truth: ImageTruth
    image_id: int
    first_person: int
    people: int
    crowd: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Person:
    """One posed person of an image; numbers run through the split."""

    number: int
    actor: Actor
    posed: Posed
    quirks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Row:
    """One annotation, whose fit stands in another file; a crowd has neither person nor figure."""

    label: dict[str, Any]
    person: _Person | None = None
    figure: Figure | None = None
    fit: dict[str, Any] | None = None


def _write(request: Request) -> None:
    images: list[ImageTruth] = []
    people: list[PersonTruth] = []
    (request.root / "annotations").mkdir()
    for split in request.splits:
        plan = _plan(request, split)
        (request.root / plan[0].truth.file).parent.mkdir(parents=True)
        people += _write_split(request, split, plan)
        images += [image.truth for image in plan]
    write_truth(request.root, LAYOUT.name, request.seed, images, people)


def _plan(request: Request, split: str) -> list[_Image]:
    folder = split if request.variant == "flat" else f"images/{split}"
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
            source_id=str(image_id),
            frame=number,
            width=width,
            height=height,
            colour=step != _GREY and not request.render,
            orientation=6 if step == 1 else 1,
            people=people + crowd,
        )
        plan.append(
            _Image(truth=truth, image_id=image_id, first_person=first_person, people=people, crowd=crowd)
        )
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


def _write_split(request: Request, split: str, plan: list[_Image]) -> list[PersonTruth]:
    """Write images and the split's official files; return the truth of all people in the files' order."""
    rng = _rng(request, split, 2)
    shuffled = rng.permutation(len(plan)).tolist()
    # First everybody's first annotation, then the second ones: an image's annotations never stand together.
    most = max(image.truth.people for image in plan)
    order = [
        (index, person) for person in range(most) for index in shuffled if person < plan[index].truth.people
    ]
    place = {who: number for number, who in enumerate(order)}
    ids = _ids(rng, split, len(order))
    people: list[Any] = [None] * len(order)
    # Text at once: as Python numbers the labels of a large miniature would need gigabytes.
    wholebody, keypoints, fits = ([""] * len(order) for _ in range(3))
    for index, (image, rows) in enumerate(_images(request, split, plan)):
        for person, row in enumerate(rows):
            at, label = place[index, person], row.label
            label["image_id"] = image.image_id
            label["id"] = _CROWD_ID + image.image_id if label["iscrowd"] else ids[at]
            people[at] = _person_truth(image.truth, person, row)
            official = {key: value for key, value in label.items() if key not in ("quirks", "rejected")}
            wholebody[at] = json.dumps(official)
            keypoints[at] = json.dumps({key: value for key, value in label.items() if key in KEYPOINT_KEYS})
            fits[at] = f'"{label["id"]}": {json.dumps(row.fit)}' if row.fit else ""
        request.advance()
    images = [json.dumps(_image_row(image)) for image in plan]
    folder = request.root / "annotations"
    # The year is text in one of the official files and a number in the other.
    write_coco(folder / f"coco_wholebody_{_SPLITS[split]}_v1.0.json", "2026", images, wholebody)
    write_coco(folder / f"person_keypoints_{split}.json", 2026, images, keypoints)
    if split == _FITTED:
        text = ",\n".join(fit for fit in reversed(fits) if fit)  # in an order of its own
        write_bytes(folder / _FIT_FILES.get(request.variant, _FIT_FILE), f"{{{text}}}\n".encode())
    return people


def _images(request: Request, split: str, plan: list[_Image]) -> Iterator[tuple[_Image, list[_Row]]]:
    """Write the images; give each with its annotations, still without ids, in the order of the list."""
    meshes = MESHES
    for start in range(0, len(plan), _IMAGES_AT_ONCE):
        block = plan[start : start + _IMAGES_AT_ONCE]
        first = block[0].first_person
        rngs = [_rng(request, split, 1, image.truth.frame) for image in block]
        drawn = [
            actor
            for image, rng in zip(block, rngs, strict=True)
            for actor in make_actors(rng, image.people, 1, up="-y")
        ]
        quirks = [_quirks(split, first + at) for at in range(len(drawn))]
        actors = [_shaped(actor, odd) for actor, odd in zip(drawn, quirks, strict=True)]
        shown = len(actors) if request.render else meshes
        seen = pose_actors(actors[:shown]) + pose_actors(actors[shown:], vertices=False)
        meshes = max(0, meshes - len(actors))
        people = [
            _Person(number=first + at, actor=actor, posed=posed, quirks=odd)
            for at, (actor, posed, odd) in enumerate(zip(actors, seen, quirks, strict=True))
        ]
        for image, rng in zip(block, rngs, strict=True):
            begin = image.first_person - first
            yield image, _image(request, image, rng, people[begin : begin + image.people])


def _quirks(split: str, number: int) -> tuple[str, ...]:
    fit = _FIT_QUIRKS.get(number % _EVERY, ()) if split == _FITTED else ()
    return _QUIRKS.get(number % _EVERY, ()) + fit


def _shaped(drawn: Actor, quirks: tuple[str, ...]) -> Actor:
    actor = as_written(drawn, standin_hand_mean())
    if "wide_betas" not in quirks:
        return actor
    return replace(actor, betas=np.where(np.arange(len(actor.betas)) == 1, _WIDE, actor.betas))


def _image(request: Request, image: _Image, rng: np.random.Generator, people: list[_Person]) -> list[_Row]:
    """Write one jpg; return its annotations."""
    truth = image.truth
    width, height = truth.width, truth.height
    pixels = encode(width, height, truth.frame)
    blue = np.full(pixels.shape[:2], pixels[0, 0, 2], np.uint8)
    rows: list[_Row] = []
    for slot, person in enumerate(people):
        overhang = 0.35 if "partly_outside" in person.quirks else 0.0
        figure = make_figure(
            rng, person.posed, width, height, slot=slot, slots=len(people), overhang=overhang
        )
        paint(blue, [figure], FIGURE_BLUE)
        label = person_label(rng, figure, width, height, person.quirks, complete=person.number % _EVERY == 0)
        fit = _fit(truth.split, label, person, figure)
        rows.append(_Row(label=label, person=person, figure=figure, fit=fit))
    crowd = [_Row(label=_crowd(blue))] if image.crowd else []
    pixels[..., 2] = blue
    if request.render:
        pixels = _rendered(rng, truth, rows)
    stored = grey(pixels) if truth.frame % _EVERY == _GREY else pixels
    (request.root / truth.file).write_bytes(encode_jpeg(stored, truth.orientation))
    # Rejected ones come first, so that counting before and after the filter gives different numbers.
    return crowd + sorted(rows, key=lambda row: row.label["rejected"] is None)


def _rendered(rng: np.random.Generator, truth: ImageTruth, rows: list[_Row]) -> NDArray[np.uint8]:
    from hmtools.synth.picture import backdrop, paint_people

    figures = [row.figure for row in rows if row.figure is not None]
    people = [(f.view.vertices, f.faces, f.focal_length, f.principal_point) for f in figures]
    return paint_people(backdrop(rng, truth.width, truth.height), people)


def _fit(split: str, label: dict[str, Any], person: _Person, figure: Figure) -> dict[str, Any] | None:
    if split != _FITTED or {"without_fit", "no_keypoints"} & set(person.quirks):
        return None
    against = "contradicting_flags" in person.quirks
    flags = {part: label[f"{name}_valid"] != against for part, name in _SIDES.items()}
    valid = None if "no_fit_flags" in person.quirks else flags
    return fit_label(person.actor, figure, standin_hand_mean(), valid, person.quirks)


def _crowd(blue: NDArray[np.uint8]) -> dict[str, Any]:
    """Paint a patch that stands for many people and label it."""
    import cv2

    height, width = blue.shape
    mask = np.zeros(blue.shape, np.uint8)
    centre, axes = (round(0.8 * width), round(0.12 * height)), (width // 8, height // 14)
    cv2.ellipse(mask, centre, axes, 0, 0, 360, 1, -1)
    blue[mask > 0] = FIGURE_BLUE
    return crowd_label(mask)


def _person_truth(image: ImageTruth, person: int, row: _Row) -> PersonTruth:
    label = row.label
    points = [label["keypoints"], *(label[f"{part}_kpts"] for part in PARTS)]
    keypoints = np.array(list(chain.from_iterable(points)), np.float64).reshape(-1, 3)
    keypoints[:, 2] = keypoints[:, 2] > 0
    columns: dict[str, Any] = {
        "sequence": image.split,
        "frame": image.frame,
        "person": person,
        "image_path": image.file,
        "width": image.width,
        "height": image.height,
        "bbox_xywh": [*label["bbox"], 1.0],
        "keypoints2d_original": keypoints,
        "valid_keypoints3d": False,
        **dict.fromkeys(_NO_COLUMNS),
    }
    given = row.fit["smplx_param"] if row.fit else {}
    for part, name in _SIDES.items():
        box, valid = label[f"{name}_box"], label[f"{name}_valid"]
        columns[f"{part}_bbox_xywh"] = [*box, 1.0] if valid and box[2] * box[3] > 0 else None
        columns[f"valid_{part}"] = given.get(f"{part}_valid", valid)
    columns |= _body_columns(row)
    truth = PersonTruth(
        split=image.split,
        file=image.file,
        source_id=str(label["id"]),
        columns=columns,
        rejected=label["rejected"],
        quirks=tuple(label["quirks"]),
    )
    if row.fit is None or row.figure is None:
        return truth
    view = row.figure.view
    vertices = view.vertices.astype(np.float32) if len(view.vertices) else None
    return replace(truth, family="smplx", joints=view.joints, vertices=vertices)


def _body_columns(row: _Row) -> dict[str, Any]:
    if row.fit is None or row.person is None or row.figure is None:
        return {**dict.fromkeys(_BODY_COLUMNS), "valid_smplx": False, "valid_betas": False}
    actor, figure = row.person.actor, row.figure
    return {
        "gender": "neutral",
        "focal_length": figure.focal_length,
        "principal_point": figure.principal_point,
        "camera_model": "pinhole",
        "camera_kind": "virtual",
        "smplx_betas": actor.betas,
        "smplx_expression": actor.expression[0],
        "smplx_leye_pose": None,
        "smplx_reye_pose": None,
        "valid_smplx": True,
        "valid_betas": True,  # betas beyond 3 are what trainers leave out, not what converters do
    }


def _image_row(image: _Image) -> dict[str, Any]:
    truth = image.truth
    name = f"{image.image_id:012d}.jpg"
    return {
        "license": 1,
        "file_name": name,
        "coco_url": f"https://example.invalid/{truth.split}/{name}",
        "height": truth.height,
        "width": truth.width,
        "date_captured": "2026-01-01 00:00:00",
        "flickr_url": f"https://example.invalid/{image.image_id}",
        "id": image.image_id,
    }


LAYOUT = Layout(
    name="mscoco",
    title="MSCOCO 2017 + COCO-WholeBody + NeuralAnnot",
    splits=tuple(_SPLITS),
    default_splits=("val2017",),
    variants=("images", "flat", "osx"),
    write=_write,
)
"""MSCOCO. The variant ``flat`` has the image folders directly below the root, ``osx`` the fits under the name
that OSX's download page has them."""
