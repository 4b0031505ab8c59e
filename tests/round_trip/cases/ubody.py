"""UBody: annotations of images that users extract from videos, so that frames have to be found again."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest

from hmtools.bodies.pending import hold_hand
from hmtools.datasets import coco, coco_wholebody, neural_annot, ubody, ubody_people, ubody_scenes
from hmtools.datasets.base import Source
from hmtools.datasets.ubody import UBody
from hmtools.datasets.ubody_frames import FPS
from hmtools.datasets.ubody_people import read_videos
from hmtools.datasets.ubody_scenes import Video
from hmtools.datasets.video import nearest_frames, timestamps
from hmtools.humandata.record import Record
from tests.round_trip.case import Case, Mutation, changed

__all__ = ["CASE"]


def _frames_by(index: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Mutation:
    """Another rule for which picture an image shows: times of pictures, numbers of images -> index."""

    def decoded(video: Path, frames: np.ndarray) -> dict[int, int]:
        found = index(timestamps(video), frames)
        return dict(zip(frames.tolist(), found.tolist(), strict=True))

    return lambda monkeypatch: monkeypatch.setattr(ubody_people, "decoded_frames", decoded)


def _nearest_in_time(times: np.ndarray, frames: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(times[None] - frames[:, None] / FPS).argmin(axis=1))


def _retimed(times: np.ndarray, frames: np.ndarray) -> np.ndarray:
    return nearest_frames(times, FPS, frames)


def _last_for_those_beyond(times: np.ndarray, frames: np.ndarray) -> np.ndarray:
    found = _retimed(times, frames)
    return np.where(found < 0, len(times) - 1, found)


def _slash_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ubody_scenes, "_FRAME", re.compile(r"(.*)/0*([1-9]\d*)\.png"))


def _trim_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Video, "name", property(lambda self: PurePosixPath(self.folder).name))


def _other_list(monkeypatch: pytest.MonkeyPatch) -> None:
    other = {"intra": "inter", "inter": "intra"}
    monkeypatch.setattr(
        UBody,
        "_list",
        lambda self, split: Source((f"splits/{other[split.partition('_')[0]]}_scene_test_list.npy",), ""),
    )


def _images_by_position(monkeypatch: pytest.MonkeyPatch) -> None:
    """The image ids of an annotation taken for a place in ``images``."""

    def find(self: Any, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.array(self._rows, np.int64).reshape(-1, 5)
        return rows[ids % len(rows), 1:], np.ones(len(ids), np.bool_)

    monkeypatch.setattr(ubody_scenes._Images, "find", find)


def _parts(*order: int) -> Mutation:
    parts = tuple(coco_wholebody._PARTS[part] for part in order)
    return lambda monkeypatch: monkeypatch.setattr(coco_wholebody, "_PARTS", parts)


def _hand_boxes_swapped(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = (("lhand", "righthand"), ("rhand", "lefthand"), ("face", "face"))
    monkeypatch.setattr(coco_wholebody, "_BOXES", boxes)


def _certain_boxes(record: Record) -> None:
    for column in ("lhand_bbox_xywh", "rhand_bbox_xywh", "face_bbox_xywh"):
        if (box := getattr(record, column)) is not None:
            setattr(record, column, [*box[:4], 1.0])


def _hands_shrunk(record: Record) -> None:
    """As OSX does in training."""
    for column in ("lhand_bbox_xywh", "rhand_bbox_xywh"):
        if (box := getattr(record, column)) is not None:
            x, y, w, h, valid = box
            setattr(record, column, [x + 0.175 * w, y + 0.175 * h, 0.65 * w, 0.65 * h, valid])


def _crowds_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco, "_left_out", lambda found, where: None)


def _labels_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    left_out = ubody_people._left_out

    def usable(record: Record, *rest: Any) -> Any:
        record.valid_smplx = True
        return left_out(record, *rest)

    monkeypatch.setattr(ubody_people, "_left_out", usable)


def _people_without_fit_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    left_out = ubody_people._left_out
    monkeypatch.setattr(
        ubody_people,
        "_left_out",
        lambda record, fitted, trouble: left_out(record, {record.source_id}, trouble),
    )
    monkeypatch.setattr(neural_annot, "without_fit", lambda record, family: None)


def _hands_relative(monkeypatch: pytest.MonkeyPatch) -> None:
    def hold(record: Record, family: str, side: str, relative: Any) -> None:
        setattr(record, f"{family}_{side}_hand_pose", relative)

    monkeypatch.setattr(neural_annot, "hold_hand", hold)


def _fit_hands_swapped(monkeypatch: pytest.MonkeyPatch) -> None:
    def swapped(record: Record, family: Any, side: str, relative: Any) -> None:
        hold_hand(record, family, "left" if side == "right" else "right", relative)

    monkeypatch.setattr(neural_annot, "hold_hand", swapped)


def _fits_of_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    real = neural_annot._of

    def of(fits: Any, ids: Any) -> Any:
        own = real(fits, ids).copy()
        own[:, 1:3] = np.roll(own[:, 1:3], 1, axis=0)
        return own

    monkeypatch.setattr(neural_annot, "_of", of)


def _positions_of_the_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted over the people that are kept, as an interval after the filters would."""

    def counted(*arguments: Any) -> Any:
        kept = 0
        for found in read_videos(*arguments):
            if isinstance(found, Record):
                kept += 1
                found.source_index = kept
            yield found

    monkeypatch.setattr(ubody, "read_videos", counted)


def _from_zero(record: Record) -> None:
    record.source_index = (record.source_index or 0) - 1


def _next_frame(record: Record) -> None:
    record.frame = (record.frame or 0) + 1


def _person_from_one(record: Record) -> None:
    record.person = (record.person or 0) + 1


def _last_folder(record: Record) -> None:
    scene, *_, name = (record.sequence or "").split("/")
    record.sequence = f"{scene}/{name}"


def _rate_of_the_file(record: Record) -> None:
    record.fps = 25.0


def _boxes_clipped(record: Record) -> None:
    x, y, w, h, conf = record.bbox_xywh
    record.bbox_xywh = [x, y, w, min(h, (record.height or 0) - y), conf]


def _large_betas_zeroed(record: Record) -> None:
    if record.smplx_betas is not None and np.abs(record.smplx_betas).max() > 3:
        record.smplx_betas = np.zeros(10)


def _focal_of_the_crop(record: Record) -> None:
    if record.focal_length is not None:
        record.focal_length = np.array([5000.0, 5000.0])


CASE = Case(
    synth={"frames": 4, "people": 2, "size": (320, 240), "splits": ("intra_test", "intra_train")},
    every=1,
    mutations={
        "frame counted from 1": changed(UBody, _next_frame),
        "images of videos counted from 0": _frames_by(lambda times, frames: _retimed(times, frames + 1)),
        "numbers of images taken for those of pictures": _frames_by(lambda times, frames: frames),
        "pictures nearest in time": _frames_by(_nearest_in_time),
        "last picture for images beyond the end": _frames_by(_last_for_those_beyond),
        "rate of the file": changed(UBody, _rate_of_the_file),
        "leading slash kept": _slash_kept,
        "names not cut at _Trim": _trim_not_cut,
        "sequence by the last folder": changed(UBody, _last_folder),
        "the other list": _other_list,
        "images by position instead of id": _images_by_position,
        "face after the hands": _parts(0, 1, 3, 4, 2),
        "right hand before the left": _parts(0, 1, 2, 4, 3),
        "hand boxes swapped": _hand_boxes_swapped,
        "boxes of invalid hands certain": changed(UBody, _certain_boxes),
        "hands shrunk as in training": changed(UBody, _hands_shrunk),
        "boxes clipped": changed(UBody, _boxes_clipped),
        "crowds kept": _crowds_kept,
        "valid_label ignored": _labels_ignored,
        "people without a fit kept": _people_without_fit_kept,
        "hands left relative to the mean hand": _hands_relative,
        "hands of the fit swapped": _fit_hands_swapped,
        "fits of other people": _fits_of_neighbours,
        "large betas zeroed": changed(UBody, _large_betas_zeroed),
        "focal length of the crop": changed(UBody, _focal_of_the_crop),
        "person counted from 1": changed(UBody, _person_from_one),
        "positions counted from 0": changed(UBody, _from_zero),
        "positions counted after the filters": _positions_of_the_split,
    },
    elsewhere={
        "last picture for images beyond the end": "intra_train",
        "sequence by the last folder": "intra_train",
        "large betas zeroed": "intra_train",
    },
)
