"""Opening and querying a long split, and reading images with hmtools against plain webdataset."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import webdataset
from _report import Figure, arguments, report, scratch
from _split import converted_split, make_split

import hmtools
from hmtools.shards.reader import Shards

_QUERIES = (
    "width >= 640",
    'sequence ~ "^train" and not person = 0',
    'source_id in ("200001", "200010", "200100") or lhand_bbox_xywh = null',
    "every=10",
)
_REPEATS = 5


def best(work: Callable[[], Any]) -> float:
    """Shortest of five wall times, in seconds."""
    times = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def queries(template: Path, folder: Path, rows: int) -> list[Figure]:
    """Time to open a split of so many rows, and to answer queries about all of them."""
    make_split(template, folder, rows)
    figures = [
        Figure(name=f"open {rows:,} rows", value=best(lambda: len(hmtools.open(folder))) * 1e3, unit="ms")
    ]
    shards = hmtools.open(folder)
    for query in _QUERIES:
        kept = len(shards.select(query))
        taken = best(lambda query=query: shards.select(query))  # type: ignore[misc]
        figures.append(Figure(name=f"select {query!r} ({kept:,} rows)", value=taken * 1e3, unit="ms"))
    return figures


def reading(split: Path) -> list[Figure]:
    """Images per second of one process: webdataset's stream, then ours in order and at random."""
    shards = hmtools.open(split)
    size = len(shards)
    shuffled = np.random.default_rng(0).permutation(size).tolist()
    ways: dict[str, Callable[[], None]] = {
        "webdataset": lambda: _stream(split, size),
        "hmtools.open()[i], in order": lambda: _index(shards, range(size)),
        "hmtools.open()[i], at random": lambda: _index(shards, shuffled),
    }
    rates = {name: size / best(way) for name, way in ways.items()}
    stream = rates.pop("webdataset")
    return [
        Figure(
            name=f"{name} (baseline: webdataset)",
            baseline=stream,
            value=rate,
            unit="images/s",
            ratio=rate / stream,
        )
        for name, rate in rates.items()
    ]


def _stream(split: Path, size: int) -> None:
    urls = [str(path) for path in sorted(split.glob("*.tar"))]
    found = 0
    for sample in webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8"):
        assert sample["jpg"].ndim == 3
        assert "bbox_xywh" in sample["npz"]
        found += 1
    assert found == size


def _index(shards: Shards, indices: Any) -> None:
    for index in indices:
        assert shards[index].image is not None


def main() -> int:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=300_000, help="of the split that is queried")
    parser.add_argument(
        "--images", type=int, default=512, help="640x480 images, 2 people each, that are read"
    )
    args = parser.parse_args()
    with scratch() as folder:
        split = converted_split(folder / "template", args.images)
        figures = queries(split, folder / "split", args.rows) + reading(split)
    return report(figures, {"rows": args.rows, "images": args.images}, args.json)


if __name__ == "__main__":
    sys.exit(main())
