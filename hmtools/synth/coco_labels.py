"""Annotations in COCO-WholeBody form, with the oddities real ones have.

Labels are plain dictionaries with the official keys in the official types (a body point is whole numbers, a
face point is not), plus two of ours that the writer of a file takes out again: ``quirks`` and ``rejected``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hmtools.core.atomic import write_bytes
from hmtools.synth.scene import BODY, FACE, FEET, LEFT_HAND, RIGHT_HAND, Figure

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["KEYPOINT_KEYS", "PARTS", "REJECTED", "crowd_label", "person_label", "write_coco"]

PARTS = {"foot": FEET, "face": FACE, "lefthand": LEFT_HAND, "righthand": RIGHT_HAND}
"""Name of a part in the official keys -> its points among the 133, in their order after the body."""

KEYPOINT_KEYS = frozenset(
    ("segmentation", "num_keypoints", "area", "iscrowd", "keypoints", "image_id", "bbox", "category_id", "id")
)
"""Keys of a label that a file with body keypoints alone has."""
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

REJECTED = {
    "crowd": "crowd region (iscrowd is 1)",
    "no_keypoints": "no labelled body keypoint (num_keypoints is 0)",
    "empty_box": "the box has no area inside the image",
}
"""Quirk -> why a converter must leave such a person out, in plain words."""


def person_label(
    rng: np.random.Generator,
    figure: Figure,
    width: int,
    height: int,
    quirks: Sequence[str],
    *,
    complete: bool,
) -> dict[str, Any]:
    """Annotate one figure.

    Args:
        rng: decides what is labelled and how well.
        figure: the person, in pixels of the upright image.
        width: image width in pixels.
        height: image height in pixels.
        quirks: any of ``invalid_face``, ``invalid_lefthand``, ``fractional_visibility``, ``zero_area_hand``
            (right), ``partly_outside`` (the box is not clipped), ``no_keypoints``, ``empty_box``.
        complete: label every point as visible instead of a mixture; the feet are then whole numbers.

    Returns:
        The label, all but its two ids.
    """
    room = np.array([width, height], dtype=np.float64)
    hull = np.round(figure.outline, 2)
    clipped = hull.clip(0, room)
    shape = hull if "partly_outside" in quirks else clipped
    corner, far = shape.min(axis=0), shape.max(axis=0)
    label = _blank(quirks, [*corner.tolist(), *np.round(far - corner, 2).tolist()])
    label.update(segmentation=[clipped.ravel().tolist()], area=_area(clipped))
    if "empty_box" in quirks:
        label["bbox"][2] = 0.0
    if "no_keypoints" in quirks:
        return label
    visible = np.repeat([2.0, 1.0], [23, 110]) if complete else _visibility(rng)
    if "fractional_visibility" in quirks:
        visible[23:] *= rng.uniform(0.15, 0.45, 110).round(3)
    body = _labelled(figure.points[BODY], visible[BODY], 0, room)
    label["keypoints"] = [int(value) for value in body.ravel()]
    label["num_keypoints"] = int((body[:, 2] > 0).sum())
    for part, at in PARTS.items():
        if f"invalid_{part}" not in quirks:
            digits = {"foot": 0 if complete else 1, "face": 4}.get(part, 3)
            label.update(_part_label(part, _labelled(figure.points[at], visible[at], digits, room), room))
    if "zero_area_hand" in quirks:
        label["righthand_box"][3] = 0.0
    return label


def crowd_label(mask: NDArray[np.uint8]) -> dict[str, Any]:
    """Annotate a region with many people: run lengths down the columns, background first.

    Args:
        mask: (H, W) uint8, 1 in the region.

    Returns:
        The label, all but its two ids; its box is whole numbers.
    """
    flat = mask.ravel(order="F")
    borders = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *borders.tolist(), flat.size]).tolist()
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = [int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
    label = _blank(["crowd"], box)
    label.update(
        segmentation={"counts": [0, *counts] if flat[0] else counts, "size": list(mask.shape)},
        area=int(mask.sum()),
        iscrowd=1,
    )
    return label


def write_coco(path: Path, year: str | int, images: Sequence[str], annotations: Sequence[str]) -> None:
    """Write an annotation file in COCO form.

    Args:
        path: the file.
        year: as its ``info`` has it.
        images: rows that are JSON already.
        annotations: likewise.
    """
    info = {
        "description": f"synthetic miniature in the layout of {path.stem}",
        "url": "https://example.invalid/hmtools-miniature",
        "version": "1.0",
        "year": year,
        "date_created": "2026/01/01",
    }
    fixed = {"info": info, "licenses": [_LICENCE], "categories": [_CATEGORY]}
    parts = [f'"{key}": {json.dumps(value)}' for key, value in fixed.items()]
    for name, rows in (("images", images), ("annotations", annotations)):
        parts.append(f'"{name}": [\n' + ",\n".join(rows) + "\n]")
    write_bytes(path, ("{" + ",\n".join(parts) + "}\n").encode())


def _blank(quirks: Sequence[str], box: list[Any]) -> dict[str, Any]:
    """An annotation without any labelled point, in the order and types of the official file."""
    return {
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
        **{f"{part}_kpts": [0.0] * 3 * (at.stop - at.start) for part, at in PARTS.items()},
        **{f"{part}_valid": False for part in PARTS},
        "quirks": list(quirks),
        "rejected": next((REJECTED[quirk] for quirk in quirks if quirk in REJECTED), None),
    }


def _visibility(rng: np.random.Generator) -> NDArray[np.float64]:
    """(133,) flags: body 0, 1 or 2, feet 0 or 2, face 0 or 1, hands 0, 1 or 2."""
    body = rng.choice([2.0, 1.0, 0.0], 17, p=[0.8, 0.12, 0.08])
    body[rng.choice(17, 2, replace=False)] = 1.0, 0.0  # by chance alone a small miniature might lack them
    feet_face = np.repeat([2.0, 1.0], [6, 68])
    hands = rng.choice([2.0, 1.0], 42, p=[0.2, 0.8])
    rest = np.concatenate([feet_face, hands]) * (rng.random(116) > 0.03)
    return np.concatenate([body, rest])


def _labelled(
    points: NDArray[np.float64], visible: NDArray[np.float64], digits: int, room: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(K, 3) rounded x, y, v; zeros where a point is unlabelled or outside the image."""
    rounded = np.round(points, digits)
    inside = (rounded >= 0).all(axis=1) & (rounded <= room - 1).all(axis=1)
    kept = (visible > 0) & inside
    return np.where(kept[:, None], np.column_stack([rounded, visible]), 0.0)


def _part_label(part: str, points: NDArray[np.float64], room: NDArray[np.float64]) -> dict[str, Any]:
    """Keys of the feet, the face or a hand; none when no point of it is labelled."""
    shown = points[points[:, 2] > 0, :2]
    if not len(shown):
        return {}
    values: list[Any] = points.ravel().tolist()
    # As in the official file: feet may be whole numbers throughout, hands have whole v if they can.
    if part == "foot" and (points == points.round()).all():
        values = [int(value) for value in values]
    elif part.endswith("hand") and (points[:, 2] == points[:, 2].round()).all():
        values[2::3] = [int(value) for value in values[2::3]]
    label: dict[str, Any] = {f"{part}_kpts": values, f"{part}_valid": True}
    if part != "foot":
        margin = 1 + 0.1 * np.ptp(shown, axis=0)
        corner = np.round((shown.min(axis=0) - margin).clip(0, room), 2)
        far = np.round((shown.max(axis=0) + margin).clip(0, room), 2)
        label[f"{part}_box"] = [*corner.tolist(), *(far - corner).tolist()]
    return label


def _area(polygon: NDArray[np.float64]) -> float:
    """Area of a simple polygon (M, 2) in square pixels."""
    x, y = polygon.T
    return float(np.round(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2, 4))
