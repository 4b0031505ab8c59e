"""How long a command keeps its user waiting before it does anything: fresh processes, one after the other."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from _report import Figure, arguments, report

TARGET_S = 0.3
_SCRIPT = Path(sys.executable).with_name("hmtools")
_PYTHON = [sys.executable, "-c", "pass"]
_COMMANDS: dict[str, list[str]] = {
    "import hmtools": [sys.executable, "-c", "import hmtools"],
    "hmtools --help": [str(_SCRIPT), "--help"],
    "hmtools convert --help": [str(_SCRIPT), "convert", "--help"],
    "hmtools --version": [str(_SCRIPT), "--version"],
}


def seconds(command: Sequence[str], times: int) -> list[float]:
    """Wall times of a command, ascending; the first run, which reads files from disk, is not counted."""
    found = []
    for _ in range(times + 1):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found.append(time.perf_counter() - began)
    return sorted(found[1:])


def main() -> int:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--times", type=int, default=10, help="processes per command (default 10)")
    args = parser.parse_args()
    bare = seconds(_PYTHON, args.times)
    figures = []
    for name, command in _COMMANDS.items():
        found = seconds(command, args.times)
        median, empty = statistics.median(found), statistics.median(bare)
        figures += [
            Figure(
                name=f"{name}, median (baseline: python -c pass)",
                baseline=empty,
                value=median,
                unit="s",
                ratio=median / empty,
                target=f"< {TARGET_S}",
                met=median < TARGET_S,
            ),
            Figure(
                name=f"{name}, best", baseline=bare[0], value=found[0], unit="s", ratio=found[0] / bare[0]
            ),
        ]
    return report(figures, {"processes": args.times}, args.json)


if __name__ == "__main__":
    sys.exit(main())
