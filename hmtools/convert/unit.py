"""Converts one unit: records → checks → images → parts; in any worker, with the same bytes."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import groupby, islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hmtools.convert.bodies import Bodies, deriver
from hmtools.convert.images import ImageLoader
from hmtools.core.errors import UnitError, UnsafeFileError
from hmtools.core.image import ImageError, encode_jpeg, encode_png, opencv
from hmtools.datasets.base import Dataset, Rejected, safe_path
from hmtools.engine.job import Result, Unit
from hmtools.geometry.crop import crop_window, image_op_affine, undo_image_op
from hmtools.humandata.agreement import agreement
from hmtools.humandata.checks import box_defect, health_counts, number_defect
from hmtools.humandata.keys import key_encode
from hmtools.humandata.record import Record
from hmtools.humandata.schema import RecordSpec
from hmtools.humandata.table import normalise
from hmtools.shards.sidecar import mesh_array
from hmtools.shards.writer import PartWriter

__all__ = ["EXAMPLES", "ConvertTask", "convert_unit"]

log = logging.getLogger(__name__)

EXAMPLES = 10
"""Rejections that are listed with their source; all are counted."""

_BLOCK = 16  # frames

Image = npt.NDArray[np.uint8]
Stored = tuple[list[Record], bytes | None, str]  # people that share an encoded image, and its extension


@dataclass(frozen=True, kw_only=True)
class ConvertTask:
    """What every unit of one split has in common; picklable.

    Attributes:
        dataset: the set with its options chosen.
        root: the download.
        split: official split name.
        out: folder that gets the parts.
        images: ``crop``, ``full`` or ``none``.
        every: keep records whose ``source_index`` is a multiple of this.
        only: keep sequences that match one of these names or globs (empty: all).
        take: unit index → images to convert at most; units that are not in it are converted whole.
        strict: the first defect fails the unit.
        bodies: models to derive joints and boxes with; None derives nothing.
    """

    dataset: Dataset
    root: Path
    split: str
    out: Path
    images: str
    every: int = 1
    only: tuple[str, ...] = ()
    take: Mapping[int, int] = field(default_factory=dict)
    strict: bool = False
    bodies: Bodies | None = None


class _Tally:
    """Counts what was stored and why people were not."""

    def __init__(self, strict: bool) -> None:
        self.agreement: dict[str, Counter[int]] = {}
        self.strict = strict
        self.rejected: Counter[str] = Counter()
        self.filtered: Counter[str] = Counter()
        self.health: Counter[str] = Counter()
        self.examples: list[dict[str, str]] = []
        self.images = 0

    def count(self, record: Record, spec: RecordSpec) -> None:
        self.health.update(health_counts(record))
        for name, bins in agreement(record, spec).items():
            self.agreement.setdefault(name, Counter()).update(bins)

    def reject(self, found: Rejected) -> None:
        if found.by_rule:
            self.filtered[found.reason] += 1
            return
        self.rejected[found.reason] += 1
        log.info(
            "rejected %s: %s %s", found.reason, found.source, found.detail
        )  # all of them, in the unit's log
        if len(self.examples) < EXAMPLES:
            self.examples.append({"reason": found.reason, "source": found.source, "detail": found.detail})
        if self.strict:
            raise UnitError(f"{found.reason}: {found.source} {found.detail}".rstrip() + " (--strict)")


def convert_unit(task: ConvertTask, unit: Unit) -> Result:
    """Write the parts of one unit.

    Returns:
        The files written, counts (``records, images, rejected, filtered``) and, as data, the reasons, the
        first ten examples and the health counts.

    Raises:
        UnitError: for the first defect when ``task.strict``.
        SchemaError: if the dataset yields what its declaration does not allow (a bug in its file).
    """
    spec = task.dataset.spec(task.root, task.split)
    tally = _Tally(task.strict)
    stored = task.images != "none"
    with (
        PartWriter(task.out, spec, unit.id, full=task.images == "full", images=stored) as writer,
        ImageLoader(task.dataset, task.root) as loader,
    ):
        frames = _boxed(task, islice(_frames(task, unit, spec, tally), task.take.get(unit.index)), tally)
        # Labels, then images, then output, each for some frames at once: switching between an image codec and
        # Python for every person makes a conversion to crops up to a tenth slower (benchmarks/convert.py).
        # Full frames need no codec for output, and are too large to hold several.
        size = _BLOCK if task.images == "crop" else 1
        while block := list(islice(frames, size)):
            for sample in [sample for people in block for sample in _samples(task, people, loader, tally)]:
                writer.add(*sample)
                for record in sample[0]:
                    tally.count(record, spec)
    return Result(
        unit=unit.id,
        files=tuple(writer.files),
        counts={
            "records": tally.health["records"],
            "images": tally.images,
            "rejected": tally.rejected.total(),
            "filtered": tally.filtered.total(),
        },
        data={
            "rejected": dict(tally.rejected),
            "filtered": dict(tally.filtered),
            "examples": tally.examples,
            "health": dict(tally.health),
            "agreement": {name: sorted(bins.items()) for name, bins in tally.agreement.items()},
            "needs": deriver(task.bodies).needs if task.bodies else {},
        },
    )


def _frames(task: ConvertTask, unit: Unit, spec: RecordSpec, tally: _Tally) -> Iterator[list[Record]]:
    """The people of each image whose numbers are sound, in order."""
    kept = _kept(task, unit, tally)
    keys: set[str] = set()
    for _, group in groupby(kept, key=lambda r: (r.sequence, r.frame, r.image_path)):
        people = [record for record in group if _accept(task, record, spec, keys, tally)]
        if people:
            yield people


def _kept(task: ConvertTask, unit: Unit, tally: _Tally) -> Iterator[Record]:
    for found in task.dataset.read(task.root, unit):
        if task.every > 1 and (found.source_index or 0) % task.every:
            tally.filtered["every"] += 1
        elif task.only and not _is_wanted(task, found):
            tally.filtered["only"] += 1
        elif isinstance(found, Rejected):
            tally.reject(found)
        else:
            yield found


def _is_wanted(task: ConvertTask, found: Record | Rejected) -> bool:
    if isinstance(found, Rejected) and found.sequence is None:
        return True  # nobody knows: not to be kept quiet
    return any(fnmatchcase(found.sequence or "", name) for name in task.only)


def _accept(task: ConvertTask, record: Record, spec: RecordSpec, keys: set[str], tally: _Tally) -> bool:
    record.dataset, record.split = spec.dataset, spec.split
    record.key = key_encode(
        spec.dataset, spec.split, record.sequence or "", _int(record.frame), _int(record.person)
    )
    problem = "duplicate_key" if record.key in keys else number_defect(normalise(record, spec))
    problem = problem or _mesh_defect(record, spec)
    if problem is None and task.bodies is None:
        problem = box_defect(record)
    detail = record.key
    try:  # also where no image is stored: readers follow the name
        safe_path(task.root, record.image_path or "")
    except UnsafeFileError as error:
        problem, detail = "unsafe_path", str(error)
    if problem:
        tally.reject(Rejected(problem, _source(record), detail))
        return False
    keys.add(record.key)
    return True


def _mesh_defect(record: Record, spec: RecordSpec) -> str | None:
    """``not_finite:mesh`` or None; brings the mesh into the form that is stored."""
    if record.mesh is None:
        return None
    record.mesh = mesh_array(record.mesh, spec)
    return None if np.isfinite(record.mesh).all() else "not_finite:mesh"


def _boxed(task: ConvertTask, frames: Iterator[list[Record]], tally: _Tally) -> Iterator[list[Record]]:
    """Derive what the body models give, boxes among it; then drop people without a sound box."""
    if task.bodies is None:
        yield from frames
        return
    derive = deriver(task.bodies)
    for block in _blocks(frames, derive.batch):
        derive.fill([record for people in block for record in people])
        for people in block:
            if kept := [record for record in people if _has_box(task, record, tally)]:
                yield kept


def _blocks(frames: Iterator[list[Record]], size: int) -> Iterator[list[list[Record]]]:
    """Whole frames, as many as make one batch of the deriver."""
    block: list[list[Record]] = []
    for people in frames:
        if block and sum(map(len, block)) + len(people) > size:
            yield block
            block = []
        block.append(people)
    if block:
        yield block


def _has_box(task: ConvertTask, record: Record, tally: _Tally) -> bool:
    problem = None if _box_to_come(task, record) else box_defect(record)
    if problem:
        tally.reject(Rejected(problem, _source(record), record.key or ""))
    return problem is None


def _box_to_come(task: ConvertTask, record: Record) -> bool:
    """Whether the box waits for a body model that is not here, as the body does; crops cannot wait."""
    if record.bbox_xywh is not None or not task.dataset.boxes_from_bodies or task.images == "crop":
        return False
    return record.valid_smplx is not False and record.keypoints3d_smplx is None


def _int(value: int | None) -> int:
    return -1 if value is None else value  # a key of it is refused with a message


def _source(record: Record) -> str:
    return f"{record.image_path} {record.source_id or record.person}"


def _samples(task: ConvertTask, people: list[Record], loader: ImageLoader, tally: _Tally) -> Iterator[Stored]:
    """What is stored of one frame, as the image policy says."""
    if task.images == "none":
        yield people, None, ""
        return
    try:
        data, kind, image = loader.load(people[0])
    except ImageError as error:
        yield from _without_image(task, people, error, tally)
        return
    tally.images += 1
    if task.images == "full":
        yield _full(people, data, kind, image)
    else:
        yield from _crops(task, people, undo_image_op(image, people[0].image_op or "none"), tally)


def _without_image(
    task: ConvertTask, people: list[Record], error: ImageError, tally: _Tally
) -> Iterator[Stored]:
    """Reject the people of an unusable image; sets used for video keep the rows, so tracks have no gap."""
    for record in people:
        tally.reject(Rejected(error.reason, _source(record), error.detail))
    if task.dataset.video:
        for record in people:
            record.meta = _with_reason(record.meta, error.reason)
        yield people, None, ""


def _with_reason(meta: str | None, reason: str) -> str:
    return json.dumps(
        json.loads(meta or "{}") | {"image_rejected": reason}, separators=(",", ":"), sort_keys=True
    )


def _full(people: list[Record], data: bytes, kind: str, image: Image) -> Stored:
    """Original bytes as they are; formats that not every tar reader knows and frames of videos become PNG."""
    if kind == "other":
        data, kind = encode_png(image, bgr=True), "png"
    for record in people:
        operation = record.image_op or "none"
        if operation != "none":
            record.image_affine = image_op_affine(operation, record.width or 0, record.height or 0).astype(
                np.float32
            )
    return people, data, kind


def _crops(task: ConvertTask, people: Sequence[Record], upright: Image, tally: _Tally) -> Iterator[Stored]:
    height, width = upright.shape[:2]
    for record in people:
        window = crop_window(record.bbox_xywh[:4], width, height, box_ratio=task.dataset.box_ratio)
        if window is None:
            tally.reject(Rejected("box_outside", _source(record), record.key or ""))
            continue
        crop = upright[window.y0 : window.y1, window.x0 : window.x1]
        stored = window.stored_size()
        if stored != (window.width, window.height):
            crop = opencv().resize(crop, stored, interpolation=opencv().INTER_AREA)
        untouched = (window.x0, window.y0, *stored) == (0, 0, window.width, window.height)
        record.image_affine = None if untouched else window.affine(stored).astype(np.float32)
        yield [record], encode_jpeg(crop, bgr=True), "jpg"
