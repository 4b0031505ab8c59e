"""What a conversion would cost, from converting a few images of it for real."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from hmtools.convert.run import Plan
from hmtools.convert.unit import convert_unit
from hmtools.core.errors import UnsafeFileError
from hmtools.datasets.base import Rejected
from hmtools.humandata.record import Record
from hmtools.shards.sidecar import MESH_SUFFIX

__all__ = ["Estimate", "estimate", "missing_images"]

_SAMPLE = 16  # images converted to a temporary folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Expected cost of one split; ``nbytes`` and ``seconds`` are extrapolated from ``sampled`` images."""

    units: int
    people: int
    images: int
    nbytes: int
    seconds: float
    sampled: int
    free_bytes: int


def estimate(plan: Plan, workers: int) -> Estimate:
    """Convert up to 16 images from the middle unit of a plan into a temporary folder and scale up.

    Args:
        plan: of one split.
        workers: processes that the conversion would use.
    """
    images, people = sum(unit.images for unit in plan.units), sum(unit.expected for unit in plan.units)
    nbytes, seconds, sampled = 0, 0.0, 0
    if plan.units:
        unit = plan.units[len(plan.units) // 2]
        with tempfile.TemporaryDirectory(prefix="hmtools-dry-run-") as folder, _quiet():
            sampled = min(_SAMPLE, unit.images)
            for images_taken in (1, sampled):  # the first one warms up: imports and caches do not scale
                task = replace(plan.task, out=Path(folder), take={unit.index: images_taken}, strict=False)
                began = time.perf_counter()
                result = convert_unit(task, unit)
                seconds = time.perf_counter() - began
        # by people and not by images: every Nth record, or one sequence, may leave few of them in most images
        scale = people / max(sum(result.counts[n] for n in ("records", "rejected", "filtered")), 1)
        # every row is stored twice, in its part and in the index
        parts = [f for f in result.files if f.name.endswith(".arrow") and not f.name.endswith(MESH_SUFFIX)]
        tables = sum(file.nbytes for file in parts)
        nbytes = round(scale * (sum(file.nbytes for file in result.files) + tables))
        seconds *= scale / max(1, min(workers, len(plan.units)))
    return Estimate(
        units=len(plan.units),
        people=people,
        images=images,
        nbytes=nbytes,
        seconds=seconds,
        sampled=sampled,
        free_bytes=shutil.disk_usage(_existing(plan.task.out)).free,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Who is rejected of a few images, and again of the same ones, is not what was asked."""
    logger = logging.getLogger(convert_unit.__module__)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def missing_images(plan: Plan, most: int = 1000) -> tuple[int, list[str]]:
    """Look for up to ``most`` images of a plan, from units spread over it.

    Returns:
        How many were looked for, and the paths (relative to the root) of those that are not there; with the
        other files of a person that reading found missing.
    """
    step = -(-len(plan.units) // 10) or 1
    units = plan.units[::step]
    share = -(-most // max(len(units), 1))
    checked: set[str] = set()
    lost: list[str] = []
    for unit in units:
        before = len(checked)
        for found in plan.task.dataset.read(plan.task.root, unit):
            name = found.image_path if isinstance(found, Record) else _missing_file(found)
            if name is None or name in checked:
                continue
            if len(checked) - before == share:
                break
            checked.add(name)
            if isinstance(found, Rejected) or not _is_there(plan, name):
                lost.append(name)
    return len(checked), lost


def _missing_file(found: Rejected) -> str | None:
    """The file (an image, a mesh) that a person was left out for, if it was for that."""
    if not found.reason.endswith("_missing"):
        return None
    path, colon, _ = found.detail.partition(":")
    return path if colon else found.source


def _is_there(plan: Plan, name: str) -> bool:
    try:
        return plan.task.dataset.has_image(plan.task.root, name)
    except (UnsafeFileError, OSError):
        return False


def _existing(path: Path) -> Path:
    """The nearest folder above ``path`` that exists: its disk will be written to."""
    return next(folder for folder in (path, *path.parents) if folder.exists())
