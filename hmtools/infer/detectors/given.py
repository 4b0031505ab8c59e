"""``given``: boxes from a file, by whatever found them.

=========================  ==================================================================================
file                       what is read
=========================  ==================================================================================
``*.parquet``, a folder    columns ``source``, ``frame``, ``bbox_xywh`` (5), ``track_id``, ``score`` of our
                           predictions
``*.json``                 a list of objects with ``bbox_xywh`` or ``bbox_xyxy`` (4, or 5 with a confidence),
                           and as known ``source``, ``frame``, ``track_id``, ``score``
``*.npz``, ours            ``bbox_xywh`` or ``bbox_xyxy`` (n, 4 or 5), and as known ``source``, ``frame``,
                           ``track_id``, ``score`` (n)
``*.npz`` as WHAM has it   one person: ``keypoints`` (T, J, 3) pixels and confidence, ``bboxes`` (T, 3) centre
                           and size / 200, or (T, 4) x1 y1 x2 y2, ``frame_ids`` (T), default 0 to T - 1
=========================  ==================================================================================

``source`` is the path of an image or video below the folder that holds all inputs, or its file name where
only one has that name; it may be left out when there is one input. ``frame`` is 0 where it is left out.

A square (T, 3) is 1.2 times the longer side of the person, and says nothing of the shorter one; where there
are keypoints, the box about those of confidence above 0.3, a tenth larger, is taken instead. A third number
that is beyond 20 is pixels, not size / 200.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float

from hmtools.core.errors import LayoutError, SchemaError, UsageError
from hmtools.core.safe_pickle import load_npz
from hmtools.geometry.box import WHAM_UNIT, bbox_from_keypoints, cxcys_to_xyxy, xyxy_to_xywh
from hmtools.humandata.predictions import iter_predictions
from hmtools.infer.detectors.base import Detections, Detector, DetectorOptions
from hmtools.infer.media import Frame, Medium

__all__ = ["Given", "GivenBox", "open_detector", "read_boxes"]

_SQUARE = 1.2  # times the longer side of a person: how WHAM makes its squares
_LARGEST_UNITS = 20.0  # a person of 4000 pixels; WHAM's boxes beyond that are in pixels
_MARGIN, _SEEN = 1.1, 0.3
_COLUMNS = ("source", "frame", "bbox_xywh", "track_id", "score")


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenBox:
    """One person in one frame.

    Attributes:
        source: as the file says it; None: the only input.
        frame: 0-based.
        box: x, y, w, h, confidence in upright pixels.
        track_id: None where not known.
    """

    source: str | None
    frame: int
    box: tuple[float, float, float, float, float]
    track_id: str | None


class Given:
    """Boxes that somebody else found.

    Args:
        path: the file, for messages.
        boxes: what it holds.
    """

    name = "given"
    trusted = True

    def __init__(self, path: Path, boxes: Iterable[GivenBox]) -> None:
        self._path = path
        self._frames: dict[tuple[str | None, int], list[GivenBox]] = {}
        self._names: dict[str, str | None] = {}
        for box in boxes:
            self._frames.setdefault((box.source, box.frame), []).append(box)
        self._said = {source for source, _ in self._frames}

    def prepare(self, media: Sequence[Medium]) -> None:
        """Find each source under the name that the file has for it.

        Raises:
            UsageError: if the file does not say which of several inputs it speaks of, or names none of them.
        """
        if None in self._said and len(media) > 1:
            raise UsageError(
                f"{self._path}: boxes without source, and {len(media)} inputs; name one input, or say source"
            )
        often: dict[str, int] = {}
        for medium in media:
            name = PurePosixPath(medium.source).name
            often[name] = often.get(name, 0) + 1
        for medium in media:
            name = PurePosixPath(medium.source).name
            if None in self._said:
                self._names[medium.source] = None
            elif medium.source in self._said:
                self._names[medium.source] = medium.source
            elif name in self._said and often[name] == 1:
                self._names[medium.source] = name
        if not self._names:
            known = ", ".join(sorted(str(source) for source in self._said)[:3])
            raise UsageError(
                f"{self._path}: has boxes for {known or 'nothing'}, none for {media[0].source} or another "
                "input; source must be its path below the folder of all inputs, or its file name"
            )

    def detect(self, frame: Frame) -> Detections:
        """The boxes of one frame, in the order of the file."""
        source = frame.medium.source
        there = source in self._names
        found = self._frames.get((self._names[source], frame.index), []) if there else []
        ids = [box.track_id for box in found]
        boxes = np.array([box.box for box in found], np.float64).reshape(-1, 5)
        return Detections(boxes, ids if any(one is not None for one in ids) else None)


def open_detector(options: DetectorOptions) -> Detector:
    """The boxes of ``options.boxes``.

    Raises:
        UsageError: if no file is named, or it does not hold what it should.
        LayoutError: if it is not there, or of a kind that is not read.
    """
    if options.boxes is None:
        raise UsageError("detector given: name a file of boxes (*.parquet, *.json or *.npz)")
    try:
        return Given(options.boxes, read_boxes(options.boxes))
    except SchemaError as error:  # a file that the user made for this run: wrong use, not broken data
        raise UsageError(str(error)) from error


def read_boxes(path: Path) -> list[GivenBox]:
    """Boxes of a file, see the head of this module.

    Raises:
        LayoutError: if it is not there, or of a kind that is not read.
        SchemaError: if it does not hold what it should; naming the row.
    """
    if path.suffix == ".npz" and path.is_file():
        arrays = load_npz(path)
        wham = "bboxes" in arrays or "keypoints" in arrays
        return _of_wham(arrays, path) if wham else _of_columns(_rows(arrays, path), path)
    if path.suffix == ".json" and path.is_file():
        return _of_columns(_of_json(path), path)
    if path.suffix == ".parquet" or path.is_dir():
        batches = iter_predictions(path, _COLUMNS)
        return _of_columns((row for batch in batches for row in _rows(batch, path)), path)
    what = "expected *.parquet, *.json or *.npz" if path.exists() else "no such file"
    raise LayoutError(f"{path}: {what}; expected a file of boxes")


def _of_json(path: Path) -> list[Any]:
    try:
        rows = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise SchemaError(f"{path}: no JSON: {error}") from error
    if not isinstance(rows, list):
        raise SchemaError(f"{path}: expected a list of objects with bbox_xywh, found {type(rows).__name__}")
    return rows


def _rows(columns: Mapping[str, Any], path: Path) -> list[dict[str, Any]]:
    there = {name: columns[name] for name in (*_COLUMNS, "bbox_xyxy") if columns.get(name) is not None}
    counts = {name: len(values) for name, values in there.items() if np.ndim(values)}
    if "bbox_xywh" not in counts and "bbox_xyxy" not in counts:
        raise SchemaError(f"{path}: neither bbox_xywh nor bbox_xyxy, found {', '.join(columns) or 'nothing'}")
    if len(set(counts.values())) > 1 or len(counts) < len(there):
        raise SchemaError(f"{path}: columns of different lengths: {counts}")
    count = next(iter(counts.values()))
    lists = {name: np.asarray(values).tolist() for name, values in there.items()}
    return [{name: values[i] for name, values in lists.items()} for i in range(count)]


def _of_columns(rows: Iterable[Any], path: Path) -> list[GivenBox]:
    found = []
    for number, row in enumerate(rows):
        try:
            found.append(_given(row))
        except (TypeError, ValueError, KeyError) as error:
            raise SchemaError(
                f"{path}: box {number}: {error}; expected bbox_xywh or bbox_xyxy of 4 or 5 numbers, and as "
                f"known source, frame, track_id, score; found {str(row)[:120]}"
            ) from error
    return found


def _given(row: Any) -> GivenBox:
    if not isinstance(row, Mapping):
        raise TypeError("no object")
    corners = row.get("bbox_xywh") is None
    box = np.asarray(row["bbox_xyxy"] if corners else row["bbox_xywh"], np.float64)
    if box.shape not in ((4,), (5,)):
        raise ValueError(f"a box of shape {box.shape}")
    score = row.get("score")
    if score is None or score != score:  # NaN: iter_predictions has it for null
        score = box[4] if len(box) == 5 and np.isfinite(box[4]) else 1.0
    x, y, w, h = (xyxy_to_xywh(box[:4]) if corners else box[:4]).tolist()
    source, track, frame = row.get("source"), row.get("track_id"), row.get("frame")
    return GivenBox(
        source=None if source is None else str(source),
        frame=max(0, int(frame)) if frame is not None else 0,
        box=(x, y, w, h, float(score)),
        track_id=None if track is None else str(track),
    )


def _of_wham(arrays: Mapping[str, Any], path: Path) -> list[GivenBox]:
    keypoints, given = arrays.get("keypoints"), arrays.get("bboxes")
    count = len(given if given is not None else keypoints if keypoints is not None else ())
    frames = arrays.get("frame_ids", np.arange(count))
    wanted = {"keypoints": (keypoints, 3, (3,)), "bboxes": (given, 2, (3, 4)), "frame_ids": (frames, 1, None)}
    for name, (array, axes, last) in wanted.items():
        if array is None:
            continue
        if array.ndim != axes or len(array) != count or (last and array.shape[-1] not in last):
            raise SchemaError(
                f"{path}: {name} of shape {array.shape}; expected keypoints (T, J, 3), bboxes (T, 3) or "
                f"(T, 4), frame_ids (T), here with T = {count}"
            )
    boxes = _wham_boxes(keypoints, given)
    return [
        GivenBox(source=None, frame=int(frame), box=tuple(box), track_id="0")
        for frame, box in zip(frames.tolist(), boxes.tolist(), strict=True)
        if np.isfinite(box).all()
    ]


def _wham_boxes(keypoints: np.ndarray | None, given: np.ndarray | None) -> Float[np.ndarray, "t 5"]:
    """Boxes of T frames; NaN where nobody is."""
    if given is not None and given.shape[1] == 4:
        return np.column_stack([xyxy_to_xywh(given), np.ones(len(given))])
    if given is None:
        return np.zeros((0, 5)) if keypoints is None else bbox_from_keypoints(keypoints, _SEEN, _MARGIN)
    unit = WHAM_UNIT if not len(given) or np.nanmedian(given[:, 2]) <= _LARGEST_UNITS else 1.0
    squares = given * [1, 1, 1 / _SQUARE]
    boxes = np.column_stack([xyxy_to_xywh(cxcys_to_xyxy(squares, unit=unit)), np.ones(len(given))])
    if keypoints is None:
        return boxes
    seen = bbox_from_keypoints(keypoints, _SEEN, _MARGIN)
    return np.where(np.isfinite(seen).all(axis=1, keepdims=True), seen, boxes)
