"""People of a report as pictures: what a model predicted and what is true, each over the image.

A prediction is drawn through the camera it came with, as its author would; the truth through the set's. What
cannot be drawn (no image, no prediction, no body model) is said in words: a page that shows less beats none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from hmtools.bench.people import Choice, Drawer
from hmtools.bodies.model import GENDERS
from hmtools.core.errors import HmtoolsError, LayoutError
from hmtools.geometry.camera import crop_to_full_intrinsics
from hmtools.geometry.crop import compose_affine
from hmtools.humandata.predictions import iter_predictions, prediction_facts
from hmtools.shards.mesh_view import with_mesh
from hmtools.shards.reader import Shards, find_splits
from hmtools.viz.page import Tile, about_person, thumbnail_uri

if TYPE_CHECKING:
    from hmtools.bench.bodies import BenchBodies
    from hmtools.bodies.model import Gender

__all__ = ["RUN_COLOURS", "SIDE", "Pictures", "reduced"]

SIDE = 288
"""Longest side of a picture, pixels."""

RUN_COLOURS: tuple[tuple[int, int, int], ...] = (
    (40, 126, 255),
    (255, 112, 16),
    (20, 200, 130),
    (232, 66, 188),
    (130, 96, 255),
    (214, 190, 0),
)
"""RGB of the bodies of each run: the hues of its name on the page, as vivid as other predictions are."""

_TRUE = (222, 222, 216)
_PARTS = (
    *(
        "global_orient",
        "body_pose",
        "left_hand_pose",
        "right_hand_pose",
        "jaw_pose",
        "leye_pose",
        "reye_pose",
    ),
    *("betas", "expression", "transl"),
)
_NEEDED = ("global_orient", "body_pose", "betas", "transl")
_CAMERA = ("focal_length", "principal_point", "crop_affine")
_CROP_FOCAL, _CROP_MIDDLE = 10000.0, np.array([192.0, 256.0])  # virtual camera of SMPLer-X's 384 x 512 crop

Row = Mapping[str, Any]
_OPENED: dict[str, BenchBodies] = {}  # by split: one set of body models serves all pictures of it


class Pictures:
    """Draws people of converted test sets.

    Args:
        shards: folders of converted splits, or folders of such folders.
        predictions: files or folders of each run, in the order of the page.
        labels: of the runs.

    Raises:
        LayoutError: if a folder holds no converted split, or a path no predictions.
    """

    def __init__(
        self, shards: Sequence[Path], predictions: Sequence[Sequence[Path]], labels: Sequence[str]
    ) -> None:
        self._splits: dict[tuple[str, str], Shards] = {}
        for root in shards:
            found = find_splits(root)
            if not found:
                raise LayoutError(f"{root}: no converted split at or below it; see `hmtools convert`")
            for folder in found:
                split = Shards(folder)
                self._splits[split.manifest.dataset, split.manifest.split] = split
        for path in chain.from_iterable(predictions):
            prediction_facts(path)  # what is no table of predictions is refused before anything is drawn
        self._predictions, self._labels = list(predictions), list(labels)

    def prepare(self, choices: Sequence[Choice]) -> Drawer:
        """Look up what will be drawn, reading each table once, and return what draws it.

        Args:
            choices: everybody on the page.
        """
        keys = sorted({choice.key for choice in choices})
        rows = {key: place for split in self._splits.values() for key, place in _places(split, keys)}
        found = []
        for run, paths in enumerate(self._predictions):
            wanted = {choice.key for choice in choices if run in dict(choice.errors)}
            found.append(_predicted(paths, wanted))
        return _Drawing(rows, found, self._labels)


@dataclass(frozen=True, slots=True, eq=False)
class _Drawing:
    rows: Mapping[str, tuple[Shards, int]]
    predicted: Sequence[Mapping[str, Row]]
    labels: Sequence[str]

    def __call__(self, choice: Choice) -> tuple[tuple[tuple[str, str], ...], str]:
        if choice.key not in self.rows:
            return (), "its test set is not among the shards given"
        shards, row = self.rows[choice.key]
        try:
            tile = _tile(shards, row)
        except HmtoolsError as error:
            return (), str(error)
        if tile.image is None:
            return (), "converted without images"
        pictures, notes = [], []
        for run, _ in choice.errors:
            drawn, note = self._drawn(run, tile.image, tile, shards)
            if drawn is not None:
                pictures.append((self.labels[run], thumbnail_uri(drawn)))
            notes += [f"{self.labels[run]}: {note}"] * bool(note)
        truth = with_mesh(tile, shards, row, colour=_TRUE)
        if truth.image is not None and truth.image is not tile.image:
            pictures.append(("truth", thumbnail_uri(truth.image)))
        else:
            pictures.append(("image", thumbnail_uri(tile.image)))
        return tuple(pictures), "; ".join(notes)

    def _drawn(self, run: int, image: npt.NDArray[np.uint8], tile: Tile, shards: Shards) -> tuple[Any, str]:
        """A picture and no remark, or None and the reason."""
        person = self.predicted[run].get(tile.key)
        if person is None:
            return None, "prediction not at hand"
        try:
            return _overlay(person, image, tile.affine, shards, RUN_COLOURS[run % len(RUN_COLOURS)]), ""
        except HmtoolsError as error:
            return None, str(error)


def _places(split: Shards, keys: Sequence[str]) -> list[tuple[str, tuple[Shards, int]]]:
    """Where the wanted keys are in a split."""
    import pyarrow as pa
    from pyarrow import compute

    wanted = pa.array(keys, pa.string())
    at = compute.index_in(split.table.column("key"), value_set=wanted).combine_chunks()
    rows = np.flatnonzero(np.asarray(at.is_valid()))
    return [(keys[at[int(row)].as_py()], (split, int(row))) for row in rows]


def _predicted(paths: Sequence[Path], keys: set[str]) -> dict[str, Row]:
    """The predictions of the wanted keys: SMPL-X parameters, of whom, camera; of a key twice, the first."""
    names = ["key", "gender", "kid", *_CAMERA, *(f"smplx_{part}" for part in _PARTS)]
    found: dict[str, Row] = {}
    for batch in chain.from_iterable(iter_predictions(path, names) for path in paths):
        column = batch["key"]
        for i, key in enumerate([] if column is None else column):
            if key in keys and key not in found:
                found[key] = {name: None if batch[name] is None else batch[name][i] for name in names}
    return found


def _tile(shards: Shards, row: int) -> Tile:
    """The person's surroundings, no side longer than :data:`SIDE`."""
    sample = shards[row]
    record = sample.record
    boxes = {} if record["bbox_xywh"] is None else {"body": record["bbox_xywh"]}
    tile = Tile(
        key=record["key"],
        image=sample.image,
        affine=sample.affine,
        boxes=boxes,
        keypoints=None,
        convention=None,
        caption={},
    )
    return reduced(about_person(tile))


def reduced(tile: Tile) -> Tile:
    """The tile with its picture no longer than :data:`SIDE`, and the affine that fits.

    Meshes are drawn on the small picture: a hundred of them in seconds, not minutes.

    Args:
        tile: any tile.
    """
    if tile.image is None or max(tile.image.shape[:2]) <= SIDE:
        return tile
    height, width = tile.image.shape[:2]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(tile.image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    x, y = size[0] / width, size[1] / height
    shrink = np.array([[x, 0, 0.5 * x - 0.5], [0, y, 0.5 * y - 0.5]])  # pixel centres are integers
    affine = shrink if tile.affine is None else compose_affine(shrink, tile.affine)
    return replace(tile, image=small, affine=affine)


def _overlay(
    person: Row, image: npt.NDArray[np.uint8], affine: Any, shards: Shards, colour: tuple[int, int, int]
) -> npt.NDArray[np.uint8]:
    from hmtools.viz.mesh import Camera, Mesh
    from hmtools.viz.mesh_overlay import overlay_mesh
    from hmtools.viz.shade import render

    values = {part: person[f"smplx_{part}"] for part in _PARTS if _known(person[f"smplx_{part}"])}
    lacking = [part for part in _NEEDED if part not in values]
    if lacking:
        raise LayoutError(f"not drawn, its row has no smplx_{lacking[0]}")
    focal, principal = _camera(person)
    bodies = _bodies(shards)
    gender: Gender = next((own for own in GENDERS if own == person["gender"]), "neutral")
    cells = {part: np.asarray(value, np.float32)[None] for part, value in values.items()}
    if _known(person["kid"]) and person["kid"]:  # adults need no template
        cells["kid"] = np.array([person["kid"]], np.float32)
    vertices = bodies.pose("smplx", cells, gender).vertices[0].cpu().numpy().astype(np.float64)
    height, width = image.shape[:2]
    camera = Camera(focal_length=focal, principal_point=principal, width=width, height=height, affine=affine)
    faces = bodies.layers("smplx").layer(gender).model.faces
    mesh = Mesh(vertices=vertices, faces=faces, colour=colour)
    return overlay_mesh(image, render([mesh], camera, supersampling=2))


def _known(value: Any) -> bool:
    return value is not None and bool(np.isfinite(value).all())


def _camera(person: Row) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Focal length and principal point of the whole image that the prediction was made with."""
    if _known(person["focal_length"]) and _known(person["principal_point"]):
        return np.asarray(person["focal_length"], np.float64), np.asarray(
            person["principal_point"], np.float64
        )
    if _known(person["crop_affine"]):
        affine = np.asarray(person["crop_affine"], np.float64)
        focal, principal = crop_to_full_intrinsics(_CROP_FOCAL, _CROP_MIDDLE, affine)
        return np.asarray(focal), np.asarray(principal)
    raise LayoutError("not drawn, its row has neither a camera of the image nor a crop")


def _bodies(shards: Shards) -> BenchBodies:
    from hmtools.bench.bodies import bodies_of

    path = str(shards.path)
    if path not in _OPENED:
        _OPENED[path] = bodies_of([shards.manifest], ["smplx"])
    return _OPENED[path]
