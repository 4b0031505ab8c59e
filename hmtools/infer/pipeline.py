"""Photographs, folders and videos to a table of predictions: decode, detect, follow, crop, predict, write.

Every step is a stage with a thread of its own and a bounded queue in front of the next one: they overlap, and
memory does not grow with the length of a video. People are predicted in batches across frames and sources; a
person's numbers do not depend on who else is in the batch.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from hmtools.core.atomic import write_json
from hmtools.core.errors import UnitError, UsageError
from hmtools.core.image import ImageError
from hmtools.core.log import Progress
from hmtools.infer.batches import BatchSize, CropModel, Person, predicted_rows
from hmtools.infer.chosen import BELOW_MINIMUM, Limits, chosen
from hmtools.infer.crops import FREE_RATIO, person_crop
from hmtools.infer.detectors.base import AUTO, Detector, DetectorOptions, open_detector
from hmtools.infer.media import Frame, Media, Medium, Skips, Span, find_media, frames_of
from hmtools.infer.parts import PartedWriter
from hmtools.infer.predict import prediction_spec
from hmtools.infer.stages import ahead
from hmtools.infer.tracker import MAX_LOST, Tracker

__all__ = ["SUMMARY", "MediaOptions", "Summary", "run_media"]

log = logging.getLogger(__name__)

SUMMARY = "summary.json"
"""Beside the predictions: what was done and what was left out. It is written last."""

_FRAMES = 4  # that wait between two stages: 25 MB each at 4K


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaOptions:
    """How media are looked at.

    Attributes:
        span: frames of videos and sequences.
        sequences: whether the images of a folder are frames of one sequence, not pictures of their own.
        biggest: predict the largest person of each frame only, as SMPLer-X's demo does for one person.
        track: whether people of videos and sequences are followed; otherwise ``track_id`` is null, unless
            given boxes have one.
        max_lost: frames looked at without a box, behind which a person who comes back has another id.
        detector: name, or ``auto``: given boxes, a given model, else what needs no download.
        boxes: file of boxes, for the detector ``given``.
        detector_model: local file, for ``onnx`` and ``ultralytics``.
        confidence: 0 to 1, boxes below it are left out; None: 0.5 for detections, none of the given ones is.
        person_class: number of the detector's class that is people.
        min_size: width and height in pixels below which boxes are left out; None: 50 x 150 for detections, as
            SMPLer-X's demo has it, none for given ones.
        ratio: padding of boxes.
        batch: people at once; None: chosen.
        overwrite: whether there may be predictions in the folder already.
        progress: whether to show how far it is.
    """

    span: Span = field(default_factory=Span)
    sequences: bool = False
    biggest: bool = False
    track: bool = True
    max_lost: int = MAX_LOST
    detector: str = AUTO
    boxes: Path | None = None
    detector_model: Path | None = None
    confidence: float | None = None
    person_class: int = 0
    min_size: tuple[float, float] | None = None
    ratio: float = FREE_RATIO
    batch: int | None = None
    overwrite: bool = False
    progress: bool = False

    def __post_init__(self) -> None:
        if self.batch is not None and self.batch < 1:
            raise UsageError(f"batch: expected 1 or more, found {self.batch}")
        if not self.ratio > 0:
            raise UsageError(f"ratio: expected more than 0, found {self.ratio}")
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise UsageError(f"confidence: expected 0 to 1, found {self.confidence}")
        if self.min_size is not None and not min(self.min_size) >= 0:
            raise UsageError(f"min_size: expected 0 x 0 pixels or more, found {self.min_size}")
        for name in ("max_lost", "person_class"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name}: expected 0 or more, found {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a run did.

    Attributes:
        path: the table.
        detector: that found the people.
        sources: images, videos and sequences that were looked at.
        unread: those of which not one frame could be read.
        frames: that were read.
        empty_frames: of them, those without a person.
        people: rows.
        notes: what more to know of that, in words.
        skipped: reason -> how often something was left out.
        examples: the first ten of each reason, in words.
        seconds: that it took.
    """

    path: Path
    detector: str
    sources: int
    unread: int
    frames: int
    empty_frames: int
    people: int
    notes: tuple[str, ...]
    skipped: Mapping[str, int]
    examples: tuple[str, ...]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return plain | {
            "path": self.path.name,
            "notes": list(self.notes),
            "skipped": dict(self.skipped),
            "examples": list(self.examples),
        }


@dataclass(slots=True)
class _Seen:
    """Counters of the stage that looks for people."""

    frames: int = 0
    empty: int = 0
    sources: set[str] = field(default_factory=set)
    fps: dict[str, float] = field(default_factory=dict)


def run_media(
    inputs: Sequence[Path], model: CropModel, out: Path, options: MediaOptions | None = None
) -> Summary:
    """Predict the people of images, folders and videos.

    Args:
        inputs: files and folders.
        model: predicts people from crops.
        out: folder; gets ``predictions.parquet`` and then ``summary.json``, and while it works ``partial/``
            with what is done already. It stays when the run does not end well.
        options: how.

    Returns:
        What was done. A table without rows is one, if frames were read and nobody was found.

    Raises:
        UsageError: for options that do not fit, or predictions that are there already.
        LayoutError: for inputs, boxes or detection models that are not there.
        ImageError: if nothing at all could be read.
        UnitError: if the disk is full.
    """
    options, began = options or MediaOptions(), time.monotonic()
    media = find_media(inputs, sequences=options.sequences)
    detector = open_detector(options.detector, _detector_options(options, model))
    detector.prepare(media.media)
    limits = Limits.of(trusted=detector.trusted, min_size=options.min_size, confidence=options.confidence)
    facts = {**model.facts, **_about(media, detector, options, limits)}
    writer = PartedWriter(out, prediction_spec(), facts, overwrite=options.overwrite)
    skips, seen = Skips(), _Seen()
    people = _people(media, detector, options, limits, skips, seen)
    size = BatchSize(model.device, options.batch)
    crops = ahead(people, size.most, "crop")
    rows = ahead(predicted_rows(crops, model, size), 2, "predict")
    try:
        count = _written(rows, writer, seen, len(media.media), options.progress)
    except BaseException as error:
        _interrupted(error, writer)
        raise
    finally:
        crops.close()
    unread = len(media.media) - len(seen.sources)
    if not seen.frames and skips.counts:
        writer.discard()
        raise ImageError(
            next(iter(skips.counts)), f"none of {len(media.media)} inputs could be read; {skips.examples[0]}"
        )
    summary = Summary(
        path=writer.finish({"fps": seen.fps}),
        detector=detector.name,
        sources=len(media.media),
        unread=unread,
        frames=seen.frames,
        empty_frames=seen.empty,
        people=count,
        notes=_notes(skips, limits, count),
        skipped=dict(sorted(skips.counts.items())),
        examples=tuple(skips.examples),
        seconds=round(time.monotonic() - began, 3),
    )
    _told(summary)
    write_json(out / SUMMARY, summary.as_json())
    return summary


def _detector_options(options: MediaOptions, model: CropModel) -> DetectorOptions:
    return DetectorOptions(
        boxes=options.boxes,
        model=options.detector_model,
        **({} if options.confidence is None else {"confidence": options.confidence}),
        person_class=options.person_class,
        device=model.device,
    )


def _about(media: Media, detector: Detector, options: MediaOptions, limits: Limits) -> dict[str, Any]:
    span = options.span
    return {
        "media_root": str(media.root),
        "detector": detector.name,
        "box_ratio": options.ratio,
        "min_size": list(limits.min_size),
        "span": {"start": span.start, "end": span.end, "stride": span.stride},
        "biggest": options.biggest,
    }


def _written(
    rows: Generator[list[dict[str, Any]], None, None],
    writer: PartedWriter,
    seen: _Seen,
    sources: int,
    show: bool,
) -> int:
    count = 0
    with closing(rows), Progress("infer", units=sources, enabled=show) as progress:
        for batch in rows:
            writer.write(batch)
            count += len(batch)
            progress.records, progress.units_done = count, max(0, len(seen.sources) - 1)
            progress.tick()
        progress.units_done = sources
    return count


def _interrupted(error: BaseException, writer: PartedWriter) -> None:
    """Save what was predicted before something else went wrong."""
    if isinstance(error, UnitError):  # the disk is what went wrong
        return
    try:
        writer.keep()
    except UnitError as second:
        log.error("%s", second)
    else:
        log.error("stopped by %s; %s", type(error).__name__, writer.kept)


def _notes(skips: Skips, limits: Limits, people: int) -> tuple[str, ...]:
    """What nobody would guess from a count: SMPLer-X's limits suit large pictures."""
    count = skips.counts[BELOW_MINIMUM]
    if not count:
        return ()
    width, height = limits.min_size
    such = next(example for example in skips.examples if f": {BELOW_MINIMUM}: " in example)
    begin = "" if people else "nobody is left: "
    return (
        f"{begin}{count} boxes are narrower than {width:g} or lower than {height:g} pixels and were left "
        f"out, such as {such.replace(f'{BELOW_MINIMUM}: ', '')}; a smaller min_size (--min-size) takes "
        "them, 0x0 all",
    )


def _told(summary: Summary) -> None:
    for note in summary.notes:
        log.warning("%s", note)
    for reason, count in summary.skipped.items():
        if reason != BELOW_MINIMUM:
            log.warning("%d times %s, see %s", count, reason, SUMMARY)
    if not summary.people and not summary.notes:
        log.warning("nobody was found in %d frames by the detector %s", summary.frames, summary.detector)


def _people(
    media: Media, detector: Detector, options: MediaOptions, limits: Limits, skips: Skips, seen: _Seen
) -> Generator[Person, None, None]:
    """The stages up to the crops."""
    frames = ahead(frames_of(media.media, options.span, skips), _FRAMES, "decode")
    found = ahead(_found(frames, detector, options, limits, skips, seen), _FRAMES, "detect")
    with closing(frames), closing(found):  # the later stage ends first
        yield from _cropped(found, media, options.ratio, skips)


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    frame: Frame
    boxes: Float[np.ndarray, "n 5"]
    track_ids: Sequence[str | None]


def _found(
    frames: Iterator[Frame],
    detector: Detector,
    options: MediaOptions,
    limits: Limits,
    skips: Skips,
    seen: _Seen,
) -> Generator[_Found, None, None]:
    medium: Medium | None = None
    for frame in frames:
        if frame.medium is not medium:
            medium, tracker, due = frame.medium, Tracker(options.max_lost), frame.index
            first = replace(frame, image=frame.image[:0].copy())  # only its time is wanted later
            seen.sources.add(medium.source)
        _count(seen, first, frame)
        where = f"{medium.source} frame {frame.index}"
        detections = detector.detect(frame)
        kept = chosen(detections.boxes, limits, skips=skips, where=where)
        boxes, ids = detections.boxes[kept], detections.track_ids
        if ids is not None:
            who: Sequence[str | None] = [ids[number] for number in kept]
        elif options.track and medium.moves:
            for _ in range(due, frame.index, options.span.stride):  # frames that could not be read
                tracker.update(np.zeros((0, 5)))
            due = frame.index + options.span.stride
            who = tracker.update(boxes)
        else:
            who = [None] * len(boxes)
        seen.empty += not len(boxes)
        count = min(len(boxes), 1) if options.biggest else len(boxes)
        if count:
            yield _Found(frame, boxes[:count], who[:count])


def _count(seen: _Seen, first: Frame, frame: Frame) -> None:
    seen.frames += 1
    if first.time is not None and frame.time is not None and frame.time > first.time:
        rate = (frame.index - first.index) / (frame.time - first.time)
        seen.fps[frame.medium.source] = round(rate, 3)


def _cropped(
    found: Iterator[_Found], media: Media, ratio: float, skips: Skips
) -> Generator[Person, None, None]:
    """People in order, cut out by several threads."""
    threads = max(1, min(4, (os.cpu_count() or 1) - 1))
    waiting: deque[Future[Person | None]] = deque()
    with ThreadPoolExecutor(threads, "crop") as pool:
        for one in found:
            for number in range(len(one.boxes)):
                waiting.append(pool.submit(_person, one, number, media.root, ratio, skips))
                if len(waiting) > threads:
                    person = waiting.popleft().result()
                    if person is not None:
                        yield person
        while waiting:
            person = waiting.popleft().result()
            if person is not None:
                yield person


def _person(one: _Found, number: int, root: Path, ratio: float, skips: Skips) -> Person | None:
    frame, box = one.frame, one.boxes[number]
    width, height = frame.size
    crop = person_crop(frame.image, box[:4], (width, height), ratio=ratio)
    source = frame.medium.source
    if crop is None:
        reason = "box_too_small" if min(box[2:4]) <= 1 else "box_outside"
        skips.add(
            reason, f"{source} frame {frame.index}", f"{box[:4].round(1).tolist()} of {width} x {height}"
        )
        return None
    about = {
        "source": source,
        "frame": frame.index,
        "track_id": one.track_ids[number],
        "image_path": frame.file.relative_to(root).as_posix(),
        "width": width,
        "height": height,
        "bbox_xywh": box,
        "score": float(box[4]),
        "gender": "neutral",
    }
    return Person(about=about, crop=crop)
