"""The people of UBody's videos as records, without bodies: a video at a time, so that tracks are whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from hmtools.core.image import ImageError
from hmtools.core.json_stream import read_element
from hmtools.datasets.base import Rejected, json_text
from hmtools.datasets.box_tracks import link_boxes
from hmtools.datasets.coco import CocoUnit, Person, read_coco
from hmtools.datasets.coco_values import flag, numbers, points, whole
from hmtools.datasets.coco_wholebody import part_boxes, wholebody_joints
from hmtools.datasets.ubody_frames import FPS, decoded_frames
from hmtools.datasets.ubody_scenes import Video, VideoUnit
from hmtools.humandata.record import Record

__all__ = ["hands_in_corners", "read_videos"]

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"

_ENOUGH = 100  # people, to see what the boxes of hands are


def read_videos(
    root: Path, labels: Path, unit: VideoUnit, fitted: Collection[int]
) -> Iterator[Record | Rejected]:
    """Read the people of a unit by (sequence, frame, person).

    Args:
        root: the download.
        labels: ``keypoint_annotation.json`` of the scene.
        unit: what to read.
        fitted: ids of the annotations that have a fit; the others are left out by the rule of the reference.
    """
    ids, strays = {str(number) for number in fitted}, unit.strays
    for video in unit.videos:
        decoded, trouble = _decoded(root, video)
        people = CocoUnit(video.sequence, video.frames, video.people, strays)
        fill = _filler(labels, unit.scene, video, decoded)
        for found in read_coco(labels, people, _path(unit.scene, video), fill):
            yield (_left_out(found, ids, trouble) or found) if isinstance(found, Record) else found
        strays = ()


def _decoded(root: Path, video: Video) -> tuple[dict[int, int], ImageError | None]:
    """Image -> decoded frame, nothing where the images are there; and why the video cannot be read."""
    if not video.source:
        return {}, ImageError(
            "video_missing", "there is neither a folder of its images nor a video of its name"
        )
    if not _is_file(video):
        return {}, None
    try:
        return decoded_frames(root / video.source, video.frames[:, 0]), None
    except ImageError as error:
        return {}, error


def _is_file(video: Video) -> bool:
    return video.source.startswith("videos/")


def _path(scene: str, video: Video) -> Callable[[str], str]:
    """Name as annotated -> image or video, relative to the root."""
    if _is_file(video):
        return lambda name: video.source
    return lambda name: f"images/{scene}/{name.lstrip('/')}"


def _filler(
    labels: Path, scene: str, video: Video, decoded: dict[int, int]
) -> Callable[[Person, Record], None]:
    frame = video.frames[video.people[:, 0], 0]
    tracks = link_boxes(frame, _boxes(labels, video))
    places = zip(frame.tolist(), video.people[:, 1].tolist(), strict=True)
    track = dict(zip(places, tracks.tolist(), strict=True))

    def fill(found: Person, record: Record) -> None:
        record.source_index = found.source_index + 1  # the reference counts from 1
        record.fps = FPS
        record.video_frame = decoded.get(found.frame)
        record.track_id = str(track[found.frame, found.person])
        _fill(found, record, scene)

    return fill


def _boxes(labels: Path, video: Video) -> Floats:
    """(N, 4) boxes of everybody in the video, NaN where a row has none."""
    boxes = np.full((len(video.people), 4), np.nan)
    for box, row in zip(boxes, _rows(labels, video), strict=True):
        try:
            box[:] = numbers(row["bbox"], 4)
        except (KeyError, TypeError, ValueError, OverflowError):
            continue  # whoever reads the row counts it
    return boxes


def _rows(labels: Path, video: Video) -> Iterator[Any]:
    """Annotations of a video as the file has them, None for one that is no JSON."""
    descriptor = os.open(labels, os.O_RDONLY)
    try:
        for start, end in video.people[:, 3:5].tolist():
            try:
                yield read_element(descriptor, start, end)
            except (ValueError, RecursionError):
                yield None
    finally:
        os.close(descriptor)


def hands_in_corners(labels: Path, video: Video) -> bool:
    """Whether boxes of hands seem to be x1, y1, x2, y2: most labelled points of hands lie between those."""
    inside, total = 0, 0
    for row in islice(_rows(labels, video), _ENOUGH):
        for side in ("lefthand", "righthand"):
            try:
                box = np.array(numbers(row[f"{side}_box"], 4))
                hand = points(row[f"{side}_kpts"], 21)
            except (KeyError, TypeError, ValueError, OverflowError):
                continue
            hand = hand[hand[:, 2] > 0, :2]
            inside += int(((hand >= box[:2] - 1) & (hand <= box[2:] + 1)).all(axis=1).sum())
            total += len(hand)
    return inside > 0.9 * total


def _fill(found: Person, record: Record, scene: str) -> None:
    annotation = found.annotation
    record.keypoints2d_original = wholebody_joints(annotation)
    for column, valid, box in part_boxes(annotation):
        setattr(record, f"valid_{column}", valid)
        if box is not None:
            setattr(record, f"{column}_bbox_xywh", [*box, float(valid)])
    label = whole(annotation, "valid_label")
    record.valid_smplx = label != 0
    record.valid_keypoints3d = True
    flags = {name: flag(annotation, name) for name in ("lefthand_valid", "righthand_valid")}
    ids = {"ann_id": annotation["id"], "image_id": found.image["id"]}
    record.meta = json_text({"scene": scene, **ids, "valid_label": label, **flags})


def _left_out(record: Record, fitted: Collection[str], trouble: ImageError | None) -> Rejected | None:
    """The rules of the reference loader, then what cannot be shown."""
    where = f"{record.sequence}/{record.source_frame} annotation {record.source_id}"
    place = record.source_index
    if not record.valid_smplx:
        return Rejected("invalid_label", where, by_rule=True, source_index=place)
    if record.source_id not in fitted:
        return Rejected("no_fit", where, by_rule=True, source_index=place)
    if trouble is not None:
        return Rejected(trouble.reason, where, trouble.detail, source_index=place)
    if record.video_frame == -1:
        detail = f"{record.image_path} ends before at {FPS:g} fps"
        return Rejected("frame_missing", where, detail, source_index=place)
    return None
