"""What a miniature knows about itself: two hidden files beside the official tree.

``.hmtools-miniature.json`` marks the folder as synthetic; ``.hmtools-truth.json`` holds what a conversion of
it must give. Readers of the dataset never look at the second one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hmtools.core.errors import LayoutError, SchemaError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["MARKER", "TRUTH", "ImageTruth", "PersonTruth", "Truth", "read_truth"]

MARKER = ".hmtools-miniature.json"
"""Name of the marker file at the root of every miniature."""
TRUTH = ".hmtools-truth.json"
"""Name of the file with the exact truth."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTruth:
    """One image of a miniature.

    Attributes:
        split: official split name.
        file: path below the root.
        image_id: the release's number of the image.
        frame: position in the release's list of images; the blue channel codes it.
        width: width in pixels of the stored image, in which the labels are.
        height: height in pixels.
        colour: false for a grayscale file, whose positions cannot be decoded.
        orientation: EXIF orientation tag in the file (1 = none); the labels ignore it.
        people: annotations of this image, rejected ones and crowd regions included.
    """

    split: str
    file: str
    image_id: int
    frame: int
    width: int
    height: int
    colour: bool
    orientation: int
    people: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonTruth:
    """One annotation of a miniature, numbers exactly as in the official files.

    Attributes:
        split: official split name.
        file: path of the image below the root.
        image_id: the release's number of the image.
        annotation_id: the release's number of the annotation.
        person: 0-based position among the annotations of its image, in the order of the release's list,
            before any filter.
        bbox_xywh: body box in pixels, unclipped.
        keypoints2d: (133, 3) float64 x, y, v; unlabelled points are 0, 0, 0; v may be a fraction in feet,
            face and hands.
        num_keypoints: labelled body points.
        face_bbox_xywh: as in the file; zeros when the face is invalid.
        lhand_bbox_xywh: likewise for the left hand.
        rhand_bbox_xywh: likewise for the right hand.
        face_valid: the flag in the file.
        lhand_valid: the flag in the file.
        rhand_valid: the flag in the file.
        foot_valid: the flag in the file.
        face_usable: the flag is set and the box has an area: the confidence that a converter must give.
        lhand_usable: likewise for the left hand.
        rhand_usable: likewise for the right hand.
        rejected: why a converter must leave the person out, in plain words; None when it must be kept.
        quirks: names of the oddities this person was made for.
    """

    split: str
    file: str
    image_id: int
    annotation_id: int
    person: int
    bbox_xywh: Box
    keypoints2d: NDArray[np.float64]
    num_keypoints: int
    face_bbox_xywh: Box
    lhand_bbox_xywh: Box
    rhand_bbox_xywh: Box
    face_valid: bool
    lhand_valid: bool
    rhand_valid: bool
    foot_valid: bool
    face_usable: bool
    lhand_usable: bool
    rhand_usable: bool
    rejected: str | None
    quirks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Everything a miniature knows about itself; images and people in the release's order, split by split."""

    layout: str
    seed: int
    images: tuple[ImageTruth, ...]
    people: tuple[PersonTruth, ...]


def read_truth(root: Path) -> Truth:
    """Read the truth of the miniature at ``root``.

    Raises:
        LayoutError: if ``root`` is no finished miniature.
        SchemaError: if its truth file is damaged or of another version.
    """
    path = root / TRUTH
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise LayoutError(
            f"{root} is no finished miniature: {TRUTH} is missing. Make one with "
            f"`hmtools synth mscoco --out DIR`"
        ) from None
    except ValueError as error:
        raise SchemaError(f"{path} is no valid JSON ({error}); make the miniature again") from error
    try:
        return Truth(
            layout=data["layout"],
            seed=data["seed"],
            images=tuple(ImageTruth(**row) for row in data["images"]),
            people=tuple(_person(row) for row in data["people"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SchemaError(
            f"{path} does not hold what this version of hmtools writes ({error!r}); make the miniature again"
        ) from error


def _person(row: dict[str, Any]) -> PersonTruth:
    row = dict(row)
    row["keypoints2d"] = np.array(row["keypoints2d"], dtype=np.float64).reshape(-1, 3)
    row["quirks"] = tuple(row["quirks"])
    for name in ("bbox_xywh", "face_bbox_xywh", "lhand_bbox_xywh", "rhand_bbox_xywh"):
        row[name] = tuple(row[name])
    return PersonTruth(**row)
