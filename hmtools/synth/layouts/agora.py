"""AGORA in miniature: several people per image, placed in Unreal scenes and seen by cameras of every rule.

Where the oddities are, in train and validation (images and people are numbered through a split; oddities
come again every 40):

===============  ===========================================================================================
image 0          train: taken by ``hdri``, then ``cam00``, the image's own camera (``else``), ``ag2``,
                 ``cam01`` to ``cam03``; validation: the same from ``else`` on
image 1          ``4k``: no picture of 1280 x 720 pixels
image 2          test: nobody detected
person 0         hidden behind a board: ``isValid`` is false, first in the image's lists
person 1         the files of the fit hold tensors that lay on a GPU
person 2         half behind a board; a boy: 11 betas, the last of which is the weight of the kid template
person 3         a girl: also 11, of the *neutral* model; tensors as above
person 4         half beyond the left edge; points and boxes are not clipped; a neutral adult
person 1, 3 ...  the SMPL fit says ``root_pose`` and ``translation``
===============  ===========================================================================================

Scans come again after six people (or as many as an image has), at another place. Train and validation have
two data frames each. ``train_1`` was filtered: the labels of its rows are neither dense nor from 0. The data
frames of SMPL lie beside those of SMPL-X under the same names. Pictures have 1280 x 720 pixels, whatever size
is asked for, and in ``4k`` also 3840 x 2160: labels are those of the larger ones, so no other size means
anything. The truth is in pixels of the largest picture that is there. ``4k`` also has the fits with the
neutral model. ``osx`` has lists and no data frames, so nothing says where a training person's body stands but
the joints: bodies of validation are proven by their meshes and the joints that lie on them; the others are
NaN in the truth. So is the jaw contour, always: it depends on the heading in the camera's frame, and AGORA's
joints do not have it.

Sequences are the folders of pictures; frames count the rows of all their data frames. People are named
``<stem of imgPath>_personId_<k>`` as in the official evaluation. ``osx`` gives the same names and numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hmtools.core.atomic import write_bytes
from hmtools.humandata.record import columns
from hmtools.synth.agora_files import Picture, box, label_boxes, write_fit, write_frame, write_lists
from hmtools.synth.agora_scene import FULL, RULES, Person, Scan, lens, make_scans, take_shot
from hmtools.synth.geometry_image import FIGURE_BLUE, encode, encode_png
from hmtools.synth.layouts import Layout, Request
from hmtools.synth.truth import ImageTruth, PersonTruth, write_truth

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hmtools.bodies.model import Family
    from hmtools.synth.cameras import View

    Array = NDArray[np.float64]
    Pixels = NDArray[np.uint8]
    _Size = tuple[int, int]

__all__ = ["LAYOUT"]

_EVERY = 40
_QUIRKS: Mapping[int, tuple[str, ...]] = {0: ("invalid",), 2: ("half_hidden",), 4: ("partly_outside",)}
_BEHIND = {"invalid": 0.98, "half_hidden": 0.4}  # share of the width or height
_SMALL = 1280, 720
_SIZES = {"720p": (_SMALL,), "4k": (FULL, _SMALL), "osx": (_SMALL,)}
_WORDS = {"train": "trainset", "validation": "validationset", "test": "testset"}
_ORDER = "hdri", "cam00", "else", "ag2", "cam01", "cam02", "cam03"
_FIRST = {"train": 0, "validation": 2, "test": 1}
_NAMES = {
    "hdri": "ag_{0}_figures_adults_bfh_hdri_50mm_5_10_{1:05d}.png",
    "ag2": "ag2_{0}_figures_kids_forest_5_15_{1:05d}.png",
    "else": "ag_{0}_figures_adults_flowers_5_15_{1:05d}.png",
}
_INSIDE = "ag_{0}_figures_adults_archviz_5_10_{2}_{1:05d}.png"
_SCANS = 6
_NO_SMALL, _UNDETECTED = 1, 2
_SKELETON = 55  # joints of SMPL-X that do not lie on its surface


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Image:
    """One image with its place in the release."""

    split: str
    number: int  # through the split
    frame: int  # in the sequence, which is the picture's folder
    table: str  # the data frame that it is a row of
    picture: Picture


def _write(request: Request) -> None:
    below = "data/" if request.variant == "osx" else ""
    (request.root / below).mkdir(exist_ok=True)
    images: list[ImageTruth] = []
    people: list[PersonTruth] = []
    for split in request.splits:
        scans = make_scans(_rng(request, split, 0), max(_SCANS, request.people), _WORDS[split])
        refits = _rng(request, split, 3).normal(0, 0.8, (len(scans), 10)) if request.variant == "4k" else None
        made = [_image(request, split, number, scans) for number in range(request.frames)]
        for image in made:
            size = _write_pictures(request, below, image)
            file = below + image.picture.file("x".join(map(str, size)))
            truths = list(_truths(request, image, file, size, refits))
            images.append(_image_truth(image, file, size, len(truths), colour=not request.render))
            people += truths
            request.advance()
        _write_labels(request, request.root / below, made, scans, refits)
    write_truth(request.root, LAYOUT.name, request.seed, images, people)


def _rng(request: Request, split: str, *purpose: int) -> np.random.Generator:
    """Independent of which other splits are made, so that a split is always the same."""
    return np.random.default_rng([request.seed, list(_WORDS).index(split), *purpose])


def _image(request: Request, split: str, number: int, scans: Sequence[Scan]) -> _Image:
    rule = RULES[_ORDER[(number + _FIRST[split]) % len(_ORDER)]]
    numbers = [number * request.people + slot for slot in range(request.people)]
    odd = [_QUIRKS.get(person % _EVERY, ()) for person in numbers]
    behind = {slot: _BEHIND[quirk] for slot, quirks in enumerate(odd) for quirk in quirks if quirk in _BEHIND}
    shot = take_shot(
        _rng(request, split, 1, number),
        rule,
        [scans[person % len(scans)] for person in numbers],
        hidden=behind,
        outside=[slot for slot, quirks in enumerate(odd) if "partly_outside" in quirks],
    )
    name = _NAMES.get(rule.word, _INSIDE).format(_WORDS[split], number, rule.word)
    part, row = divmod(number, (request.frames + 1) // 2)
    table = f"{split}_{part}"
    own = split == "train"  # only its data frames have a folder each
    return _Image(
        split=split,
        number=number,
        frame=row if own else number,
        table=table,
        picture=Picture(name=name, folder=table if own else split, shot=shot),
    )


def _write_pictures(request: Request, below: str, image: _Image) -> _Size:
    """Write an image in every size it has; return the largest."""
    sizes = list(_SIZES[request.variant])
    if len(sizes) > 1 and image.number % _EVERY == _NO_SMALL:
        sizes.remove(_SMALL)
    painted = _rendered(request, image) if request.render else None
    for width, height in sizes:
        path = request.root / below / image.picture.file(f"{width}x{height}")
        path.parent.mkdir(parents=True, exist_ok=True)
        if painted is None:
            pixels = _coded(image, width, height)
        else:
            pixels = np.repeat(np.repeat(painted, width // _SMALL[0], axis=1), height // _SMALL[1], axis=0)
        write_bytes(path, encode_png(pixels))
    return sizes[0]


def _coded(image: _Image, width: int, height: int) -> Pixels:
    import cv2

    pixels = encode(width, height, image.frame)
    blue = np.ascontiguousarray(pixels[..., 2])
    for person in image.picture.shot.people:
        places = person.views["smplx"].pixels * (width / FULL[0])
        for triangle in np.rint(places[person.scan.bodies["smplx"].faces]).astype(np.int32):
            cv2.fillConvexPoly(blue, triangle, FIGURE_BLUE)
    pixels[..., 2] = blue
    return pixels


def _rendered(request: Request, image: _Image) -> Pixels:
    from hmtools.synth.picture import backdrop, paint_people

    shot = image.picture.shot
    focal, centre = lens(shot.rule, *_SMALL)
    people = [
        (person.views["smplx"].vertices, person.scan.bodies["smplx"].faces, focal, centre)
        for person in shot.people
    ]
    people += [(board.vertices, board.faces, focal, centre) for board in shot.boards]
    return paint_people(backdrop(_rng(request, image.split, 2, image.number), *_SMALL), people)


def _write_labels(
    request: Request, root: Path, images: Sequence[_Image], scans: Sequence[Scan], refits: Array | None
) -> None:
    split = images[0].split
    pictures = [image.picture for image in images]
    if split == "test":
        found = {image.picture.name: [{"bbox": b} for b in _detections(request, image)] for image in images}
        write_bytes(root / "AGORA_test_bbox.json", json.dumps(found).encode())  # in this order
        return
    families: tuple[Family, ...] = ("smplx", "smpl")
    for number in range(min(len(scans), request.frames * request.people)):
        for family in families:
            write_fit(root, scans[number], family)
        if refits is not None:
            write_fit(root, scans[number], "smplx", refit=refits[number])
    if request.variant == "osx":
        before = request.frames if split == "validation" else 0
        write_lists(root, split, pictures, before, before * request.people)
        return
    for table in dict.fromkeys(image.table for image in images):
        rows = [image.picture for image in images if image.table == table]
        for family, word in (("smplx", "SMPLX"), ("smpl", "SMPL")):
            path = root / f"{split}_{word}" / word / f"{table}_withjv.pkl"
            write_frame(path, rows, family, filtered=table == "train_1")


def _detections(request: Request, image: _Image) -> list[list[float]]:
    """Boxes of a detector, xywh: of nobody in one image, a little off in the others."""
    if image.number % _EVERY == _UNDETECTED:
        return []
    rng = _rng(request, image.split, 2, image.number)
    people = image.picture.shot.people
    boxes = [np.array(box(person.views["smplx"].joints2d[:127])) + rng.normal(0, 8, 4) for person in people]
    return [[round(number, 2) for number in numbers.tolist()] for numbers in boxes]


def _image_truth(image: _Image, file: str, size: _Size, people: int, *, colour: bool) -> ImageTruth:
    return ImageTruth(
        split=image.split,
        file=file,
        source_id=image.picture.name.removesuffix(".png"),
        frame=image.frame,
        width=size[0],
        height=size[1],
        colour=colour,
        people=people,
    )


def _truths(
    request: Request, image: _Image, file: str, size: _Size, refits: Array | None
) -> Iterator[PersonTruth]:
    shared = {
        **_CONSTANT,
        "sequence": image.picture.folder,
        "frame": image.frame,
        "image_path": file,
        "width": size[0],
        "height": size[1],
    }
    stem, scale = image.picture.name.removesuffix(".png"), size[0] / FULL[0]
    if image.split == "test":
        for place, numbers in enumerate(_detections(request, image)):
            cells = {**shared, **_UNKNOWN, "person": place, "bbox_xywh": _scaled(numbers, scale)}
            name = f"{stem}_personId_{place}"
            yield PersonTruth(split=image.split, file=file, source_id=name, columns=cells)
        return
    focal, centre = lens(image.picture.shot.rule, *size)
    shared |= {"focal_length": focal, "principal_point": centre}
    for place, person in enumerate(image.picture.shot.people):
        number = image.number * request.people + place
        cells = {**shared, "person": place, **dict(_labels(person, size))}
        if refits is not None and not person.scan.kid:
            cells["betas_neutral"] = refits[number % max(_SCANS, request.people)]
        truth = PersonTruth(
            split=image.split,
            file=file,
            source_id=f"{stem}_personId_{place}",
            columns=cells,
            rejected=None if person.valid else "isValid is false: nearly everything is hidden",
            quirks=(*_QUIRKS.get(number % _EVERY, ()), *_traits(person)),
        )
        yield _with_body(truth, person.views["smplx"], listed=request.variant == "osx")


def _with_body(truth: PersonTruth, view: View, *, listed: bool) -> PersonTruth:
    if listed and truth.split == "train":
        return truth
    joints = view.joints.copy()
    joints[127:] = np.nan
    if listed:
        joints[:_SKELETON] = np.nan
    vertices, mesh = view.vertices.astype(np.float32), truth.split == "validation"
    return replace(truth, family="smplx", joints=joints, vertices=vertices, mesh=mesh)


def _labels(person: Person, size: _Size) -> Iterator[tuple[str, Any]]:
    """Columns that say something of one person."""
    view, scale, actor = person.views["smplx"], size[0] / FULL[0], person.scan.actors["smplx"]
    yield "keypoints2d_original", np.pad(scale * view.joints2d[:127], ((0, 0), (0, 1)), constant_values=1.0)
    yield "keypoints3d_original", np.pad(view.joints[:127], ((0, 0), (0, 1)), constant_values=1.0)
    for name, numbers in label_boxes(view).items():
        x, y, width, height = numbers
        # A part that is not in the picture has a box in the lists; whether to keep it is not proven here.
        if x < FULL[0] and y < FULL[1] and x + width > 0 and y + height > 0:
            yield f"{name}_xywh", _scaled(numbers, scale)
    yield "gender", actor.gender
    yield "kid", actor.kid if person.scan.kid else None
    yield "occlusion", person.occlusion / 100
    yield "smplx_betas", actor.betas
    yield "smplx_expression", actor.expression[0]
    yield from (("valid_smplx", True), ("valid_keypoints3d", True))


def _scaled(numbers: Sequence[float], scale: float) -> list[float]:
    return [*(scale * number for number in numbers), 1.0]


def _traits(person: Person) -> Iterator[str]:
    scan = person.scan
    traits = {"kid": scan.kid, "girl": scan.kid and scan.gender == "female", "cuda": scan.cuda}
    return (name for name, there in traits.items() if there)


_CONSTANT = {
    "image_op": "none",
    "camera_model": "pinhole",
    "camera_kind": "real",
    **dict.fromkeys(("fps", "track_id", "video_frame", "distortion")),
}
_UNKNOWN = {
    "valid_smplx": False,
    "valid_keypoints3d": False,
    **dict.fromkeys(("keypoints2d_original", "keypoints3d_original", "gender", "kid", "occlusion")),
    **dict.fromkeys(("lhand_bbox_xywh", "rhand_bbox_xywh", "face_bbox_xywh", "betas_neutral")),
    **dict.fromkeys(column.name for column in columns() if column.name.startswith("smplx_")),
}
"""Columns of a test person: a detected box is all there is."""

LAYOUT = Layout(
    name="agora",
    title="AGORA",
    splits=tuple(_WORDS),
    default_splits=("train", "validation"),
    variants=tuple(_SIZES),
    write=_write,
)
"""AGORA. The variant ``4k`` has pictures of both sizes and the fits with the neutral model, ``osx`` the lists
``AGORA_<split>.json`` in ``data/`` instead of data frames."""
