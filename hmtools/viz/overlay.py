"""Boxes and skeletons over an image.

One description, two renderers: :func:`box_marks` and :func:`skeleton_marks` say *what* is drawn (where, in
whose colour, how strongly), the ``draw_*`` functions here paint it into pixels and :mod:`hmtools.viz.page`
writes it as SVG, so that a picture and a page never disagree.

Colours are by the **person's own** side: a left hand is blue whichever way the person faces.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from hmtools.core.errors import UsageError
from hmtools.geometry.box import xywh_to_xyxy
from hmtools.geometry.crop import apply_affine

__all__ = [
    "COLOURS",
    "LOW_CONFIDENCE",
    "Mark",
    "box_marks",
    "check_image",
    "draw_boxes",
    "draw_skeleton",
    "seen_joints",
    "skeleton_marks",
]

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating[Any]]
Shape = Literal["box", "bone", "joint"]
Tone = Literal["left", "right", "middle", "body"]

COLOURS: Mapping[Tone, tuple[int, int, int]] = {
    # Blue and orange stay apart for every common kind of colour blindness, and on skin, grass and sky.
    "left": (58, 160, 255),
    "right": (255, 140, 26),
    "middle": (250, 240, 150),
    "body": (61, 220, 132),
}
"""RGB of the person's left, right and middle, and of the body box."""

LOW_CONFIDENCE = 0.5
"""Confidences in (0, 0.5] are drawn dimmed: occluded joints and doubtful boxes."""

_DIM_OPACITY = 0.45
_SUBPIXEL_BITS = 4  # cv2 takes fixed-point coordinates; a sixteenth of a pixel is finer than its antialiasing
_FARTHEST = 1 << 20  # px; cv2's fixed point overflows far outside the image, where nothing is visible anyway

_SIDES: tuple[tuple[Tone, re.Pattern[str]], ...] = (
    ("left", re.compile(r"(^|[_ ])(left|l)([_ ]|$)", re.IGNORECASE)),
    ("right", re.compile(r"(^|[_ ])(right|r)([_ ]|$)", re.IGNORECASE)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One thing to draw.

    Attributes:
        shape: ``box`` (4 corners, closed), ``bone`` (2 ends) or ``joint`` (1 point).
        tone: key of :data:`COLOURS`.
        fine: part of a hand or a face, drawn thinner.
        dim: low confidence, drawn fainter.
        points: (4 | 2 | 1, 2) float64, pixels of the image that is drawn on, pixel centres at integers.
    """

    shape: Shape
    tone: Tone
    fine: bool
    dim: bool
    points: Floats


class _Anatomy(NamedTuple):
    """Of a convention: tone and fineness of each joint, and the bones as pairs of joints."""

    tones: tuple[Tone, ...]
    fine: tuple[bool, ...]
    bones: tuple[tuple[int, int], ...]


def box_marks(boxes: Mapping[str, npt.ArrayLike], affine: npt.ArrayLike | None = None) -> list[Mark]:
    """Describe the boxes of one person.

    Args:
        boxes: name → (5,) ``[x, y, w, h, conf]`` in upright original pixels. ``body`` has its own colour,
            every other name (``left hand``, ``face`` ...) counts as a part and takes the colour of its side.
        affine: (2, 3), upright original pixel centres → pixel centres of the image; None is the identity.

    Returns:
        A mark per box with confidence > 0, finite numbers and positive width and height.

    Raises:
        UsageError: if a box is not five numbers.
    """
    marks = []
    for name, value in boxes.items():
        box = np.asarray(value, np.float64)
        if box.shape != (5,):
            raise UsageError(f"box {name!r}: expected (5,) x, y, w, h, conf; found shape {box.shape}")
        if not np.isfinite(box).all() or (box[2:] <= 0).any():  # nothing to draw without w, h and conf
            continue
        x1, y1, x2, y2 = xywh_to_xyxy(box[:4])
        corners = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
        whole = name == "body"
        marks.append(
            Mark(
                shape="box",
                tone="body" if whole else _tone(name),
                fine=not whole,
                dim=bool(box[4] <= LOW_CONFIDENCE),
                points=_placed(corners, affine),
            )
        )
    return marks


def skeleton_marks(
    keypoints: npt.ArrayLike, convention: str | None, affine: npt.ArrayLike | None = None
) -> list[Mark]:
    """Describe the skeleton of one person: bones first, joints after them.

    Args:
        keypoints: (K, 3) x, y, conf in upright original pixels; rows with confidence 0 or NaN are left out,
            and so are the bones that end there.
        convention: name in :mod:`hmtools.humandata.keypoints`; None draws joints alone, all in one colour.
        affine: (2, 3), upright original pixel centres → pixel centres of the image; None is the identity.

    Returns:
        Marks in drawing order.

    Raises:
        UsageError: if the array is not (K, 3) with the K of the convention, or the convention is unknown.
    """
    points = np.asarray(keypoints, np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise UsageError(f"keypoints: expected (K, 3) x, y, conf; found shape {points.shape}")
    tones, fine, bones = _anatomy(convention, len(points))
    seen, dim = seen_joints(points), points[:, 2] <= LOW_CONFIDENCE
    placed = _placed(np.where(seen[:, None], points[:, :2], 0.0), affine)
    marks = [
        Mark(
            shape="bone",
            tone=_bone_tone(tones[a], tones[b]),
            fine=fine[a] or fine[b],
            dim=bool(dim[a] or dim[b]),
            points=placed[[a, b]],
        )
        for a, b in bones
        if seen[a] and seen[b]
    ]
    marks += [
        Mark(shape="joint", tone=tones[i], fine=fine[i], dim=bool(dim[i]), points=placed[i : i + 1])
        for i in np.flatnonzero(seen).tolist()
    ]
    return marks


def seen_joints(keypoints: Floats) -> npt.NDArray[np.bool_]:
    """Which rows of (K, 3) x, y, conf are drawn: finite, with confidence > 0; bool (K,)."""
    return np.isfinite(keypoints).all(axis=1) & (keypoints[:, 2] > 0)


def draw_boxes(
    image: Image, boxes: Mapping[str, npt.ArrayLike], affine: npt.ArrayLike | None = None
) -> Image:
    """Paint the boxes of one person on a copy of an image.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes: as for :func:`box_marks`.
        affine: (2, 3), upright original pixel centres → pixel centres of ``image``; None is the identity.

    Returns:
        A new (H, W, 3) uint8 RGB image.

    Raises:
        UsageError: if an argument has the wrong shape or type.
    """
    return _paint(image, box_marks(boxes, affine))


def draw_skeleton(
    image: Image, keypoints: npt.ArrayLike, convention: str | None, affine: npt.ArrayLike | None = None
) -> Image:
    """Paint the skeleton of one person on a copy of an image.

    Args:
        image: (H, W, 3) uint8 RGB.
        keypoints: (K, 3) x, y, conf in upright original pixels.
        convention: name in :mod:`hmtools.humandata.keypoints`, or None for joints without bones.
        affine: (2, 3), upright original pixel centres → pixel centres of ``image``; None is the identity.

    Returns:
        A new (H, W, 3) uint8 RGB image.

    Raises:
        UsageError: if an argument has the wrong shape or type, or the convention is unknown.
    """
    return _paint(image, skeleton_marks(keypoints, convention, affine))


def check_image(image: npt.NDArray[Any]) -> None:
    """Refuse anything but a non-empty (H, W, 3) uint8 array.

    Raises:
        UsageError: with the shape and dtype that were found.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise UsageError(f"image: expected (H, W, 3) uint8 RGB; found shape {image.shape} {image.dtype}")


def _tone(name: str) -> Tone:
    return next((tone for tone, pattern in _SIDES if pattern.search(name)), "middle")


def _bone_tone(a: Tone, b: Tone) -> Tone:
    """A bone is of one side when an end is and the other does not disagree (nose to left eye: left)."""
    sides: set[Tone] = {a, b} - {"middle"}
    return sides.pop() if len(sides) == 1 else "middle"


@lru_cache(maxsize=64)
def _anatomy(convention: str | None, count: int) -> _Anatomy:
    if convention is None:
        plain: Tone = "middle"
        return _Anatomy(tones=(plain,) * count, fine=(False,) * count, bones=())
    from hmtools.humandata import keypoints as conventions

    found = conventions.convention(convention)
    if found.count != count:
        raise UsageError(
            f"keypoints: convention {convention!r} has {found.count} joints, the array has {count} rows"
        )
    # HumanData names: a convention's own (Face_12) need not tell the side.
    fine = {*conventions.part(convention, "hand"), *conventions.part(convention, "face")}
    return _Anatomy(
        tones=tuple(_tone(key) for key in found.keys),
        # A hand root is the wrist as the hand's annotator saw it; it is hidden and shown with the hand.
        fine=tuple(i in fine or key.endswith("hand_root") for i, key in enumerate(found.keys)),
        bones=conventions.bones(convention),
    )


def _placed(points: Floats, affine: npt.ArrayLike | None) -> Floats:
    if affine is None:
        return points
    matrix = np.asarray(affine, np.float64)
    if matrix.shape != (2, 3):
        raise UsageError(f"affine: expected shape (2, 3), upright → image pixels; found {matrix.shape}")
    return apply_affine(matrix, points)


def _paint(image: Image, marks: Iterable[Mark]) -> Image:
    """Faint marks below, clear ones on top, boxes before bones before joints."""
    check_image(image)
    marks = list(marks)
    canvas = np.ascontiguousarray(image).copy()
    faint = canvas.copy()
    _stroke_all(faint, [mark for mark in marks if mark.dim])
    canvas = cv2.addWeighted(faint, _DIM_OPACITY, canvas, 1 - _DIM_OPACITY, 0).astype(np.uint8, copy=False)
    _stroke_all(canvas, [mark for mark in marks if not mark.dim])
    return canvas


def _stroke_all(canvas: Image, marks: list[Mark]) -> None:
    """Colour over a dark casing that keeps it legible on any ground.

    All casings of a shape come first: between the dense joints of a hand they would cover the colour.
    """
    unit = max(1, round(max(canvas.shape[:2]) / 640))  # line width that reads the same at any image size
    for shape in ("box", "bone", "joint"):
        alike = [mark for mark in marks if mark.shape == shape]
        for mark in alike:
            _stroke(canvas, mark, (1 if mark.fine else 2) * unit, unit, (0, 0, 0))
        for mark in alike:
            _stroke(canvas, mark, (1 if mark.fine else 2) * unit, 0, COLOURS[mark.tone])


def _stroke(canvas: Image, mark: Mark, width: int, rim: int, colour: tuple[int, int, int]) -> None:
    """One mark, ``width`` px wide (a joint: three times as wide) and ``rim`` px more on every side."""
    near = np.clip(mark.points, -_FARTHEST, _FARTHEST)
    fixed = np.rint(near * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    if mark.shape == "joint":
        radius = (3 * width // 2 + rim) << _SUBPIXEL_BITS
        cv2.circle(canvas, fixed[0].tolist(), radius, colour, -1, cv2.LINE_AA, _SUBPIXEL_BITS)
    else:
        closed = mark.shape == "box"
        cv2.polylines(canvas, [fixed], closed, colour, width + 2 * rim, cv2.LINE_AA, _SUBPIXEL_BITS)
