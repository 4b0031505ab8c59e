"""From rows of converted splits to batches: per person one decode, one warp and cheap numpy.

Nothing here poses a body: targets are made for the whole batch on the device, by
:class:`hmtools.models.smplerx.targets.TargetMaker`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hmtools.bodies.model import Gender
from hmtools.core.errors import SchemaError
from hmtools.core.image import ImageError, decode_rgb
from hmtools.geometry.crop import compose_affine, invert_affine, network_box
from hmtools.geometry.warp import warp
from hmtools.humandata.keypoints import KeypointMap
from hmtools.models.smplerx.target_input import posing_gender
from hmtools.train.augment import CROP, Augmentation, augmentations, augmented_affine
from hmtools.train.batches import Batch, Layout, Rows
from hmtools.train.images import TarFiles
from hmtools.train.mixture import Order
from hmtools.train.recipe import AugmentSpec
from hmtools.train.splits import TrainSplit

__all__ = ["BatchMaker"]

_SUBSTITUTES = 100  # in a row: then something is wrong with the set, not with a row
_MAPPED = frozenset({"keypoints2d_137", "keypoints3d_137", "rotation", "crop_affine", "focal_length"})


class _Unusable(Exception):  # noqa: N818 # a verdict on a row, never shown to anybody
    """A row that no sample can be made of; its text is the reason."""


@dataclass(frozen=True, slots=True)
class _Person:
    """What of one sample is not a number: the rest is written into the batch."""

    key: str
    gender: Gender
    smplx_gender: Gender


class BatchMaker:
    """Makes the batches of a mixture; one serves one process.

    Args:
        splits: the sets, in the order of the mixture.
        order: which row stands where.
        augment: how crops vary.
        seed: of the run.
        step: 2: only every second pixel of a crop is made, which is what SMPLer-X looks at; 1: all.
    """

    def __init__(
        self, splits: Sequence[TrainSplit], order: Order, augment: AugmentSpec, seed: int, step: int = 2
    ) -> None:
        self._splits, self._order, self._augment = tuple(splits), order, augment
        self._seed, self._step = seed, step
        self._tars = TarFiles()
        families = {family for split in splits for family in split.families}
        self._layout = Layout.of(families, kids=any(split.kind.kids for split in splits))
        self._direct = [name for name in self._layout.numbers if name not in _MAPPED]
        self._flags = [name for name in self._layout.flags if name != "flip"]
        self._size = (CROP[0] // step, CROP[1] // step)

    def make(self, epoch: int, positions: npt.NDArray[np.int64]) -> Batch:
        """The samples at some positions of an epoch.

        A row without an image (a frame of a video that was rejected), or whose box shares no two pixels with
        its image, is replaced by another one of its set: which one follows from the position, too.

        Raises:
            ImageError: for an image that is damaged, naming its key and place.
            SchemaError: for a tar that is missing or too short, or a set of which no row can be used.
        """
        sets, rows = self._order.draw(epoch, positions)
        varied = augmentations(self._augment, self._seed, epoch, positions)
        images = np.empty((len(positions), 3, self._size[1], self._size[0]), np.float32)
        batch = self._layout.rows(len(positions))
        people: list[_Person] = []
        chosen: list[int] = []
        substituted: list[str] = []
        for place, position in enumerate(positions.tolist()):
            number, row = int(sets[place]), int(rows[place])
            attempt = 0
            while True:
                split = self._splits[number]
                record = split.row(row)
                try:
                    people.append(self._person(split, record, varied[place], batch, images, place))
                    break
                except _Unusable as reason:
                    substituted.append(f"{record['key']}: {reason}")
                attempt += 1
                if attempt > _SUBSTITUTES:
                    raise SchemaError(
                        f"{split.path}: {attempt} rows in a row cannot be trained on, the last one: "
                        f"{substituted[-1]}; run `hmtools validate {split.path}`"
                    )
                number, row = self._order.substitute(epoch, position, attempt)
            chosen.append(number)
        return self._batch(images, batch, people, chosen, positions, substituted)

    def _batch(
        self,
        images: npt.NDArray[np.float32],
        rows: Rows,
        people: Sequence[_Person],
        sets: Sequence[int],
        positions: npt.NDArray[np.int64],
        substituted: Sequence[str],
    ) -> Batch:
        return Batch(
            images=torch.from_numpy(images),
            keys=tuple(person.key for person in people),
            positions=torch.from_numpy(positions.copy()),
            substituted=tuple(substituted),
            step=self._step,
            numbers=torch.from_numpy(rows.numbers),
            flags=torch.from_numpy(rows.flags),
            whole=torch.from_numpy(rows.whole),
            layout=self._layout,
            labels={
                "rules": tuple(self._splits[number].kind.rule for number in sets),
                "gender": tuple(person.gender for person in people),
                "smplx_gender": tuple(person.smplx_gender for person in people),
            },
        )

    def _person(
        self,
        split: TrainSplit,
        record: dict[str, Any],
        varied: Augmentation,
        batch: Rows,
        images: npt.NDArray[np.float32],
        place: int,
    ) -> _Person:
        """Write one person into a batch.

        Raises:
            _Unusable: before anything is written.
        """
        if record["shard"] is None:
            raise _Unusable("it has no image")
        box = record["bbox_xywh"]
        if box is None or not np.isfinite(box).all():
            raise _Unusable("it has no box")
        found = network_box(box, record["width"], record["height"], split.kind.box_ratio)
        if found is None:
            raise _Unusable("its box lies outside of its image")
        affine = augmented_affine(found, varied)
        self._image(split, record, affine, varied, images[place])
        self._write(split, record, affine, varied, batch, place)
        gender: Gender = record["gender"] or "neutral"
        return _Person(
            key=record["key"],
            gender=gender,
            smplx_gender=posing_gender(
                gender,
                has_smplx=record["smplx_body_pose"] is not None and record["valid_smplx"] is not False,
                has_betas_neutral=record["betas_neutral"] is not None,
            ),
        )

    def _image(
        self,
        split: TrainSplit,
        record: dict[str, Any],
        affine: npt.NDArray[np.float64],
        varied: Augmentation,
        out: npt.NDArray[np.float32],
    ) -> None:
        """Decode and warp: upright to stored pixels, undone, then the augmented crop, in one affine.

        Images stored as their file has them, not upright, need no turning: their affine says how they lie.
        """
        path: Path = split.path / split.tar(record["shard"])
        data = self._tars.read(path, record["offset"], record["nbytes"])
        try:
            image = decode_rgb(data)
        except ImageError as error:
            where = f"{record['key']} at byte {record['offset']} of {path}"
            advice = f"run `hmtools validate {split.path}`, then convert or copy what it names again"
            raise ImageError(error.reason, f"{error.detail}, {where}; {advice}") from error
        stored = record["image_affine"]
        if stored is not None:
            affine = compose_affine(affine, invert_affine(stored))
        pixels = warp(image, affine / self._step, self._size)
        colour = np.asarray(varied.colour, np.float32)[:, None, None] / 255
        np.multiply(pixels.transpose(2, 0, 1), colour, out=out)
        np.minimum(out, 1.0, out=out)

    def _write(
        self,
        split: TrainSplit,
        record: dict[str, Any],
        affine: npt.NDArray[np.float64],
        varied: Augmentation,
        batch: Rows,
        place: int,
    ) -> None:
        """Copy the columns of a record; what is null stays NaN, or True."""
        columns = batch.columns
        for name in self._direct:
            value = record[name]
            if value is not None:
                cells = columns[name]
                if cells.ndim == 1:
                    cells[place] = value
                else:  # betas and expressions may be longer or shorter than ten
                    width = min(len(value), cells.shape[1])
                    cells[place, :width] = value[:width]
                    cells[place, width:] = 0.0
        for name in self._flags:
            value = record[name]
            if value is not None:
                columns[name][place] = value
        if record["camera_kind"] == "virtual":
            # It may not supervise, its depth being made up; in the camera it was made up with, it projects.
            columns["valid_transl"][place] = True
        if record["camera_model"] in (None, "pinhole") and record["focal_length"] is not None:
            columns["focal_length"][place] = record["focal_length"]
        for solid, mapped in (("2d", columns["keypoints2d_137"]), ("3d", columns["keypoints3d_137"])):
            _write_joints(split.joint_maps(solid), record, mapped[place])
        columns["rotation"][place], columns["flip"][place] = varied.rotation, varied.flip
        columns["crop_affine"][place] = affine
        columns["width"][place], columns["height"][place] = record["width"], record["height"]


def _write_joints(
    maps: Sequence[tuple[str, KeypointMap]], record: dict[str, Any], out: npt.NDArray[np.float32]
) -> None:
    """The joints of the first column that the person has, by name; zeros where it has no such joint."""
    for column, named in maps:
        joints = record[column]
        if joints is not None:
            out[:] = 0.0
            out[named.dst] = joints[named.src]
            return
