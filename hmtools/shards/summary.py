"""What a converted split holds, in numbers: counts, null rates, sizes, visibility of each joint."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hmtools.humandata.keypoints import convention
from hmtools.humandata.manifest import read_manifest
from hmtools.shards.index import INDEX, TRACKS, iter_batches

__all__ = ["summarise"]

_PERCENTILES = (0, 5, 50, 95, 100)


def summarise(folder: Path) -> dict[str, Any]:
    """Numbers of one split, in a few bytes of memory a record.

    Returns:
        ``dataset, split, records, images, people_per_image, sequences, tracks, bytes``; ``images_stored``
        (crop, full or none); ``nulls``: column → share of null rows, without columns that the set never
        has; ``box_long_side_px`` and ``image_size_px``: percentiles 0, 5, 50, 95, 100; ``keypoints``:
        convention of the source's 2D joints, or None; ``visibility``: joint → share of records where it
        is labelled; ``health, agreement, rows, rejected, filtered`` of the manifest.

    Raises:
        LayoutError: if ``folder`` is not a finished split.
    """
    manifest = read_manifest(folder)
    nulls: Counter[str] = Counter()
    seen: np.ndarray[Any, Any] | None = None
    sides: list[np.ndarray[Any, Any]] = []
    sizes: list[np.ndarray[Any, Any]] = []
    sequences: set[str] = set()
    rows, images, last = 0, 0, None
    for batch in iter_batches(folder / INDEX):
        rows += len(batch)
        nulls.update({name: batch.column(name).null_count for name in _stored(batch.schema)})
        boxes = _floats(batch, "bbox_xywh")[np.asarray(batch.column("bbox_xywh").is_valid())]
        sides.append(boxes[:, 2:4].max(axis=1))
        sizes.append(np.maximum(_numbers(batch, "width"), _numbers(batch, "height")))
        names = batch.column("sequence").to_pylist()
        sequences.update(names)
        for frame in zip(names, batch.column("frame").to_pylist(), strict=True):
            images, last = images + (frame != last), frame  # rows are sorted: people of an image adjoin
        if manifest.spec["keypoints2d"]:
            labelled = (_floats(batch, "keypoints2d_original").reshape(len(batch), -1, 3)[..., 2] > 0).sum(
                axis=0
            )
            seen = labelled if seen is None else seen + labelled
    return {
        "dataset": manifest.dataset,
        "split": manifest.split,
        "records": rows,
        "images": images,
        "people_per_image": round(rows / images, 3) if images else 0.0,
        "sequences": len(sequences),
        "tracks": sum(len(batch) for batch in iter_batches(folder / TRACKS)),
        "images_stored": manifest.images,
        "bytes": sum(entry["nbytes"] for entry in manifest.files),
        "nulls": {name: round(count / rows, 4) for name, count in nulls.items()} if rows else {},
        "box_long_side_px": _percentiles(sides),
        "image_size_px": _percentiles(sizes),
        "keypoints": manifest.spec["keypoints2d"],
        "visibility": _visibility(manifest.spec["keypoints2d"], seen, rows),
        "body_model": manifest.body_words(),
        "needs": manifest.needs,
        "health": manifest.health,
        "agreement": manifest.agreement,
        "rows": manifest.rows,
        "rejected": manifest.rejected,
        "filtered": manifest.filtered,
    }


def _stored(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if not pa.types.is_null(field.type)]


def _floats(batch: pa.RecordBatch, name: str) -> np.ndarray[Any, Any]:
    """Fixed-size float cells as (rows, numbers)."""
    values = batch.column(name)
    while pa.types.is_fixed_size_list(values.type):
        values = values.values[: len(values) * values.type.list_size]
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(len(batch), -1)


def _numbers(batch: pa.RecordBatch, name: str) -> np.ndarray[Any, Any]:
    return np.asarray(batch.column(name).to_numpy(zero_copy_only=False))


def _percentiles(values: list[np.ndarray[Any, Any]]) -> dict[str, float]:
    if not any(map(len, values)):
        return {}
    found = np.percentile(np.concatenate(values), _PERCENTILES)
    return {f"p{p}": round(float(value), 1) for p, value in zip(_PERCENTILES, found, strict=True)}


def _visibility(name: str | None, seen: np.ndarray[Any, Any] | None, rows: int) -> dict[str, float]:
    if name is None or seen is None or not rows:
        return {}
    return {
        joint: round(int(count) / rows, 4) for joint, count in zip(convention(name).names, seen, strict=True)
    }
