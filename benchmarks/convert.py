"""Conversion of COCO-like images to crops, against the bare image work that it cannot avoid.

Bare: for every image read the file, decode it, and for each of its people cut the same window and encode it
with the same settings; nothing is checked, recorded or written. Conversion: plan, units (labels, checks,
images, tar, npz, json, Arrow, checksums, fsync) and finalise. Both run in workers of the local engine,
512 images at a time; the clock starts when every worker has done a few images already. Best of the rounds.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from _coco import HEIGHT, SPLIT, WIDTH, make_coco
from _report import Figure, arguments, report, scratch

from hmtools.convert.finalise import finalise_split
from hmtools.convert.run import make_plans
from hmtools.convert.unit import ConvertTask, convert_unit
from hmtools.datasets.base import Rejected
from hmtools.datasets.coco import IMAGES_PER_UNIT
from hmtools.engine.job import Job, Result, Unit
from hmtools.engine.local import run_local
from hmtools.geometry.crop import crop_window

Call = Callable[[], Result]
"""The work of one unit, picklable."""
Images = list[tuple[str, list[list[float]]]]
"""Paths of images, each with the boxes x, y, w, h of its people in pixels."""

_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
_WARM_IMAGES = 8
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Wall time, and processor time of this process and its workers, in seconds."""

    wall: float
    cpu: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.wall + other.wall, self.cpu + other.cpu)


def measure(calls: Sequence[Call], warm: Call, out: Path, workers: int) -> tuple[Cost, list[Result]]:
    """Do the calls in warm workers; the wall time runs from the start of the first to the end of the last."""
    together = out / ".warm"
    together.mkdir(parents=True)
    payloads = [warm] * workers + list(calls)
    job = Job(
        name="benchmark",
        out=out,
        units=[Unit(index=index, name="call", payload=call) for index, call in enumerate(payloads)],
        fn=partial(_timed, together, workers),
    )
    outcome = run_local(job, workers=workers, progress=False)
    if not outcome.ok:
        sys.exit(f"the run failed: {outcome.failed}")
    results = outcome.results[workers:]
    spans = [result.data["span"] for result in results]
    wall = max(span["ended"] for span in spans) - min(span["began"] for span in spans)
    return Cost(wall, sum(span["cpu"] for span in spans)), results


def _timed(together: Path, workers: int, unit: Unit) -> Result:
    """Do a call and note when; after a warm-up, wait until every worker has done one."""
    began, cpu = time.monotonic(), time.process_time()
    result: Result = unit.payload()
    span = {"began": began, "ended": time.monotonic(), "cpu": time.process_time() - cpu}
    if unit.index >= workers:
        return replace(result, unit=unit.id, data={**result.data, "span": span})
    (together / unit.id).touch()
    while len(list(together.iterdir())) < workers:
        if time.monotonic() - began > _PATIENCE_S:
            raise TimeoutError("the other workers never came up")
        time.sleep(0.01)
    return Result(unit=unit.id)


def bare_unit(images: Images, file: Path | None) -> Result:
    """Decode, crop and encode the boxes of each image; with ``file``, into that one file, synced."""
    cv2.setNumThreads(0)
    size = 0
    with (file or Path(os.devnull)).open("wb") as sink:
        for path, boxes in images:
            image = cv2.imdecode(np.frombuffer(Path(path).read_bytes(), np.uint8), cv2.IMREAD_COLOR)
            for box in boxes:
                window = crop_window(box, WIDTH, HEIGHT, box_ratio=1.2)
                assert image is not None
                assert window is not None
                crop = image[window.y0 : window.y1, window.x0 : window.x1]
                stored = window.stored_size()
                if stored != (window.width, window.height):
                    crop = cv2.resize(crop, stored, interpolation=cv2.INTER_AREA)
                encoded = cv2.imencode(".jpg", crop, _JPEG)[1]
                size += len(encoded)
                if file is not None:
                    sink.write(encoded.data)
        if file is not None:
            sink.flush()
            os.fsync(sink.fileno())
    return Result(unit="bare", counts={"bytes": size})


def boxes_of_images(raw: Path) -> list[Images]:
    """The images and boxes that the conversion reads, unit by unit."""
    (plan,) = make_plans("mscoco", root=raw, out=raw, splits=[SPLIT])
    units = []
    for unit in plan.units:
        images: dict[str, list[list[float]]] = {}
        for found in plan.task.dataset.read(raw, unit):
            assert not isinstance(found, Rejected)
            images.setdefault(str(raw / str(found.image_path)), []).append(found.bbox_xywh[:4])
        units.append(list(images.items()))
    return units


def bare(units: Sequence[Images], out: Path, workers: int, *, write: bool = False) -> Cost:
    """Cost of the bare work."""
    files = [out / f"{number}.bin" if write else None for number in range(len(units))]
    calls = [partial(bare_unit, images, file) for images, file in zip(units, files, strict=True)]
    return measure(calls, partial(bare_unit, units[0][:_WARM_IMAGES], None), out, workers)[0]


def convert(raw: Path, out: Path, workers: int) -> Cost:
    """Cost of planning, all units and finalising."""
    began, cpu = time.monotonic(), time.process_time()
    (plan,) = make_plans("mscoco", root=raw, out=out, splits=[SPLIT])
    planning = Cost(time.monotonic() - began, time.process_time() - cpu)
    task: ConvertTask = plan.task
    warm = partial(convert_unit, replace(task, take={plan.units[0].index: _WARM_IMAGES}), plan.units[0])
    calls = [partial(convert_unit, task, unit) for unit in plan.units]
    units, results = measure(calls, warm, task.out, workers)
    began, cpu = time.monotonic(), time.process_time()
    finalise_split(task, plan.options, "benchmarks/convert.py", results)
    return planning + units + Cost(time.monotonic() - began, time.process_time() - cpu)


def ways(raw: Path, out: Path) -> dict[str, Callable[[], Cost]]:
    """What is measured, by name; each writes below ``out``, if anything."""
    units = boxes_of_images(raw)
    return {
        "bare": partial(bare, units, out, 1),
        "convert": partial(convert, raw, out, 1),
        "bare, written": partial(bare, units, out, 1, write=True),
        "bare, 2 workers": partial(bare, units, out, 2),
        "convert, 2 workers": partial(convert, raw, out, 2),
    }


def main() -> int:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument(
        "--images", type=int, default=2048, help="640x480 images, 2 people each (default 2048)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts (default 3)")
    args = parser.parse_args()
    if args.images <= IMAGES_PER_UNIT:
        parser.error(f"--images: two workers need more than one unit, so more than {IMAGES_PER_UNIT}")
    best: dict[str, Cost] = {}
    with scratch() as folder:
        size = make_coco(folder / "raw", args.images)
        measured = ways(folder / "raw", folder / "out")
        for _ in range(args.rounds):
            for name, way in measured.items():
                cost = way()
                best[name] = min(best.get(name, cost), cost, key=lambda c: c.wall)
                shutil.rmtree(folder / "out")
    settings = {
        "images": args.images,
        "kB per image": round(size / args.images / 1000),
        "rounds": args.rounds,
    }
    return report(figures(best), settings, args.json)


def figures(best: dict[str, Cost]) -> list[Figure]:
    """What the costs say; ratios are speeds: the time of the baseline over the time of the value."""

    def against(baseline: str, name: str, target: float | None = None, title: str = "") -> Figure:
        ratio = best[baseline].wall / best[name].wall
        return Figure(
            name=title or f"{name} (baseline: {baseline})",
            baseline=best[baseline].wall,
            value=best[name].wall,
            unit="s",
            ratio=ratio,
            target=f">= {target}" if target else "",
            met=ratio >= target if target else None,
        )

    one = best["convert"]
    return [
        against("bare", "convert", 0.7),
        against("convert", "convert, 2 workers", 1.6),
        against("bare", "bare, 2 workers", title="what this machine gives two bare workers"),
        against("bare, written", "convert", title="convert (baseline: bare, written to one synced file)"),
        Figure(
            name="convert (baseline: bare), processor time",
            baseline=best["bare"].cpu,
            value=one.cpu,
            unit="s",
            ratio=best["bare"].cpu / one.cpu,
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
