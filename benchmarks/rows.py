"""Reading records: time of one row in random order, and memory that grows with the number of rows.

A row is ``hmtools.open(split).row(i)``: a dict of every column. A whole-body MS COCO record fills 28 of them;
"all but SMPL" has something in each column of the schema except those of SMPL and SMPL-H. Each split is read
in a process of its own: all rows once in order (warm), then single rows in random order. The baseline is the
same row by pyarrow, ``table.slice(i, 1).to_pylist()``.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _report import Figure, arguments, report, scratch

import hmtools

TARGET_US = 10.0
TARGET_MB = 20.0
_READS = 20_000
_ROUNDS = 3
_SLOW_READS = 300


def measure(split: Path) -> dict[str, Any]:
    """Median microseconds of a row (the best of three rounds), and anonymous memory in MB."""
    began = time.perf_counter()
    shards = hmtools.open(split)
    size = len(shards)
    opened = time.perf_counter() - began
    for index in range(size):
        shards.row(index)
    rng = np.random.default_rng(0)
    rounds = [_times(shards.row, rng.integers(0, size, _READS).tolist()) for _ in range(_ROUNDS)]
    memory = _anonymous_mb()
    best = min(rounds, key=statistics.median)
    table = shards.table
    slow = _times(
        lambda index: table.slice(index, 1).to_pylist(), rng.integers(0, size, _SLOW_READS).tolist()
    )
    return {
        "rows": size,
        "cells": sum(value is not None for value in shards.row(size // 2).values()),
        "open_ms": opened * 1e3,
        "median_us": statistics.median(best),
        "p99_us": float(np.percentile(best, 99)),
        "pyarrow_us": statistics.median(slow),
        "anonymous_mb": memory,
    }


def _times(read: Callable[[int], Any], indices: list[int]) -> list[float]:
    times = []
    for index in indices:
        began = time.perf_counter_ns()
        read(index)
        times.append((time.perf_counter_ns() - began) / 1e3)
    return times


def _anonymous_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1e3


def in_own_process(split: Path, file: Path) -> dict[str, Any]:
    """Run :func:`measure` in a fresh interpreter, where nothing but hmtools has been loaded."""
    subprocess.run([sys.executable, __file__, str(split), "--json", str(file)], check=True)
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def compare(sizes: list[int]) -> list[Figure]:
    """Splits of each size, with and without bodies."""
    from _split import converted_split, make_split

    figures = []
    with scratch() as folder:
        template = converted_split(folder / "template", images=128)
        for bodies in ((), ("smplx",)):
            found = []
            for size in sizes:
                split = folder / "split"
                make_split(template, split, size, bodies)
                found.append(in_own_process(split, folder / "measured.json"))
                (split / "index.arrow").unlink()
            figures += _figures(found, "all but SMPL" if bodies else "MS COCO")
    return figures


def _figures(found: list[dict[str, Any]], what: str) -> list[Figure]:
    binding = what == "MS COCO"
    figures = [
        Figure(
            name=f"{what}: row of {each['rows']:,} ({each['cells']} cells)",
            baseline=each["pyarrow_us"],
            value=each["median_us"],
            unit="us",
            ratio=each["pyarrow_us"] / each["median_us"],
            target=f"<= {TARGET_US:g}" if binding else "",
            met=each["median_us"] <= TARGET_US if binding else None,
        )
        for each in found
    ]
    growth = found[-1]["anonymous_mb"] - found[0]["anonymous_mb"]
    figures.append(
        Figure(
            name=f"{what}: RssAnon at {found[-1]['rows']:,} rows, growth in ratio",
            baseline=found[0]["anonymous_mb"],
            value=found[-1]["anonymous_mb"],
            unit="MB",
            ratio=growth,
            target=f"< +{TARGET_MB:g}",
            met=growth < TARGET_MB,
        )
    )
    return figures


def main() -> int:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("split", type=Path, nargs="?", help="measure this converted split only")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 300_000], help="sizes to compare")
    args = parser.parse_args()
    if args.split is None:
        return report(compare(sorted(args.rows)), {"reads": _READS, "rounds": _ROUNDS}, args.json)
    found = measure(args.split)
    if args.json is None:
        print(json.dumps(found, indent=1))
    else:
        args.json.write_text(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
