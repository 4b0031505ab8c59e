"""Conversion of COCO-like images to crops against the bare image work it cannot avoid.

Bare work: for every image read the file, decode it, and for each person cut the same window and encode it with
the same settings; nothing is checked, nothing is written. Conversion: plan, all units (labels, checks, images,
tar, npz, json, Arrow, checksums, fsync) and finalise. Both run in worker processes of the local engine, one
unit of 512 images at a time; the clock starts when every worker has converted a few images already.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from _coco import HEIGHT, SPLIT, WIDTH, make_coco
from _report import Figure, arguments, report, scratch

from hmtools.convert.finalise import finalise_split
from hmtools.convert.run import Plan, make_plans
from hmtools.convert.unit import ConvertTask, convert_unit
from hmtools.engine.job import Job, Result, Unit
from hmtools.engine.local import run_local
from hmtools.geometry.crop import crop_window

_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
_WARM_IMAGES = 8
_PATIENCE_S = 120.0

Work = Callable[[Unit], Result]


@dataclass(frozen=True, slots=True)
class Span:
    """Wall time from the first unit's start to the last one's end, and the processor time of all units."""

    wall_s: float
    cpu_s: float


def measure(work: Work, units: Sequence[Unit], warm: Unit, out: Path, workers: int) -> tuple[Span, list[Result]]:
    """Run units in warm workers; returns the span and the results under their own unit ids."""
    warm_ups = [Unit(index=i, name="warm-up", payload=warm) for i in range(workers)]
    real = [Unit(index=workers + i, name=unit.name, payload=unit) for i, unit in enumerate(units)]
    out.mkdir(parents=True)
    together = out / ".warm"
    together.mkdir()
    fn = partial(_timed, work, together, workers)
    outcome = run_local(Job(name="bench", out=out, units=[*warm_ups, *real], fn=fn), workers=workers, progress=False)
    if not outcome.ok:
        sys.exit(f"the run failed: {outcome.failed}")
    results = outcome.results[workers:]
    times = [result.data.pop("times") for result in results]
    wall = max(t["ended"] for t in times) - min(t["began"] for t in times)
    done = [replace(result, unit=unit.id) for result, unit in zip(results, units, strict=True)]
    return Span(wall, sum(t["cpu"] for t in times)), done


def _timed(work: Work, together: Path, workers: int, unit: Unit) -> Result:
    """Do the unit in the payload and note when; a warm-up waits until every worker has done one."""
    began, cpu = time.monotonic(), time.process_time()
    result = work(unit.payload)
    times = {"began": began, "ended": time.monotonic(), "cpu": time.process_time() - cpu}
    if unit.index < workers:
        (together / unit.id).touch()
        while len(list(together.iterdir())) < workers:
            if time.monotonic() - began > _PATIENCE_S:
                raise TimeoutError("the other workers never came up")
            time.sleep(0.01)
        return Result(unit=unit.id)
    return replace(result, unit=unit.id, data={**result.data, "times": times})


def bare(written: Path | None, unit: Unit) -> Result:
    """Decode, crop and encode the people of (path, boxes) pairs; with ``written``, into one synced file."""
    cv2.setNumThreads(0)
    encoded = []
    for path, boxes in unit.payload:
        image = cv2.imdecode(np.frombuffer(Path(path).read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(path)
        for box in boxes:
            window = crop_window(box, WIDTH, HEIGHT, box_ratio=1.2)
            if window is None:
                raise ValueError(box)
            crop = image[window.y0 : window.y1, window.x0 : window.x1]
            stored = window.stored_size()
            if stored != (window.width, window.height):
                crop = cv2.resize(crop, stored, interpolation=cv2.INTER_AREA)
            encoded.append(cv2.imencode(".jpg", crop, _JPEG)[1])
    size = sum(len(data) for data in encoded)
    if written is not None:
        _write_synced(written / unit.id, encoded)
    return Result(unit=unit.id, counts={"records": len(encoded), "bytes": size})


def _write_synced(path: Path, parts: Sequence[Any]) -> None:
    import os

    with path.open("wb") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())


def bare_units(plan: Plan) -> list[Unit]:
    """The same images and boxes, unit by unit, as the conversion reads them."""
    task, units = plan.task, []
    for unit in plan.units:
        images: dict[str, list[list[float]]] = {}
        for record in task.dataset.read(task.root, unit):
            images.setdefault(str(task.root / record.image_path), []).append(list(record.bbox_xywh[:4]))
        units.append(replace(unit, payload=list(images.items())))
    return units


def converted(raw: Path, out: Path, workers: int) -> tuple[Span, int]:
    """Plan, convert and finalise; the span of all three, and the bytes of all crops and their samples."""
    began, cpu = time.monotonic(), time.process_time()
    (plan,) = make_plans("mscoco", root=raw, out=out, splits=[SPLIT])
    planned = Span(time.monotonic() - began, time.process_time() - cpu)
    task = plan.task
    units, results = measure(
        partial(_converted, task), plan.units, plan.units[0], task.out, workers
    )
    began, cpu = time.monotonic(), time.process_time()
    finalise_split(task, plan.options, "benchmarks/convert.py", results)
    finalised = Span(time.monotonic() - began, time.process_time() - cpu)
    parts = (planned, units, finalised)
    size = sum(file.nbytes for result in results for file in result.files)
    return Span(sum(part.wall_s for part in parts), sum(part.cpu_s for part in parts)), size
