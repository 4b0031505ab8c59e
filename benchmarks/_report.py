"""What every benchmark shares: the machine in words, one table of figures, one JSON file."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hmtools

__all__ = ["Figure", "arguments", "machine", "report", "scratch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number.

    Attributes:
        name: what was measured.
        value: the measurement, in ``unit``.
        baseline: what it is compared with, in the same unit; None when there is nothing to compare with.
        ratio: how the two compare; the script says which is divided by which.
        target: what it has to be, in words; empty for figures that only inform.
        met: whether it is; None for figures that only inform.
    """

    name: str
    value: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None
    target: str = ""
    met: bool | None = None


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser that knows ``--json FILE``."""
    first_line = (description or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=first_line)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    return parser


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the disk that TMPDIR names, removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="hmtools-bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def machine() -> dict[str, Any]:
    """Where the figures come from, and how busy it is."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cores": cores,
        "cpu": _field("/proc/cpuinfo", "model name") or platform.processor(),
        "memory_gb": round(int((_field("/proc/meminfo", "MemTotal") or "0").split()[0]) / 1e6),
        "system": platform.platform(),
        "python": platform.python_version(),
        "hmtools": hmtools.__version__,
        "load_1min": round(os.getloadavg()[0], 2),
        "scratch_free_gb": round(shutil.disk_usage(tempfile.gettempdir()).free / 1e9),
    }


def _field(path: str, name: str) -> str | None:
    file = Path(path)
    lines = file.read_text().splitlines() if file.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)


def report(figures: Sequence[Figure], settings: dict[str, Any], file: Path | None) -> int:
    """Print the table, write the JSON; return the exit code: 1 when a target was missed."""
    where = machine()
    print(", ".join(f"{name} {value}" for name, value in where.items()))
    if settings:
        print(", ".join(f"{name} {value}" for name, value in settings.items()))
    rows = [("figure", "baseline", "value", "unit", "ratio", "target", ""), *map(_row, figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        # words to the left, numbers to the right
        cells = [
            cell.rjust(width) if column in (1, 2, 4) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
    if file is not None:
        file.write_text(json.dumps(_document(figures, settings, where), indent=1) + "\n")
    return int(any(figure.met is False for figure in figures))


def _row(figure: Figure) -> tuple[str, ...]:
    verdict = "" if figure.met is None else "pass" if figure.met else "FAIL"
    return (
        figure.name,
        _number(figure.baseline),
        _number(figure.value),
        figure.unit,
        _number(figure.ratio),
        figure.target,
        verdict,
    )


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _document(figures: Sequence[Figure], settings: dict[str, Any], where: dict[str, Any]) -> dict[str, Any]:
    return {
        "script": Path(sys.argv[0]).name,
        "arguments": sys.argv[1:],
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": where,
        "settings": settings,
        "figures": [asdict(figure) for figure in figures],
    }
