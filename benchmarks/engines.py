"""What the engines cost: time per empty unit, and how much of two workers short units use.

Overhead: a job of empty units, from the begin of its first to the end of its last, by the number of units.
Efficiency: 200 units that sleep 50 ms, against the 5 s that two workers need at least. Both include what the
driver does for each unit (lease, log, marker); the start of the workers (and of a Ray cluster) is reported on
its own. Slurm is measured where `--slurm PARTITION` names one, in one round and without a target: 32 tasks
share the units, two at a time, and the start of a task (Slurm, Python, a look at the node) takes seconds
that units of 50 ms cannot make up for.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from _report import Figure, arguments, report, scratch

from hmtools.core.settings import load_settings
from hmtools.engine.job import Job, Outcome, Result, Unit
from hmtools.engine.launch import EngineChoice, engine_session, run_job

WORKERS = 2
UNITS, SECONDS = 200, 0.05
EFFICIENCY = 0.8


def do(unit: Unit) -> Result:
    """Sleep as long as the unit says, and note when."""
    began = time.time()
    time.sleep(unit.payload)
    return Result(unit=unit.id, data={"began": began, "ended": time.time()})


def run(out: Path, engine: EngineChoice, seconds: Sequence[float]) -> Outcome:
    """Run a job of units that take so long."""
    units = [Unit(index=i, name="unit", payload=value) for i, value in enumerate(seconds)]
    job = Job(name="benchmark", out=out, units=units, fn=do)
    outcome = run_job(job, engine, progress=False)
    if not outcome.ok:
        sys.exit(f"the run failed: {outcome.failed}")
    return outcome


def span(outcome: Outcome) -> float:
    """Seconds from the begin of the first unit to the end of the last."""
    data = [result.data for result in outcome.results]
    return float(max(item["ended"] for item in data) - min(item["began"] for item in data))


def measure(folder: Path, engine: EngineChoice, empty: int, rounds: int) -> list[Figure]:
    """All figures of one engine; the best of the rounds counts."""
    began = time.monotonic()
    with engine_session(engine):
        session = time.monotonic() - began
        first = run(folder / "first", engine, [0.0] * WORKERS)
        started = session + first.seconds
        overhead = [
            span(run(folder / f"empty {i}", engine, [0.0] * empty)) / empty * 1000 for i in range(rounds)
        ]
        short = [run(folder / f"short {i}", engine, [SECONDS] * UNITS) for i in range(rounds)]
    ideal = UNITS * SECONDS / WORKERS
    best, whole = min(map(span, short)), min(outcome.seconds for outcome in short)
    wanted = engine.name != "slurm"
    return [
        Figure(name=f"{engine.name}: empty unit", value=min(overhead), unit="ms"),
        Figure(
            name=f"{engine.name}: {UNITS} units of {SECONDS * 1000:.0f} ms, {WORKERS} workers",
            baseline=ideal, value=best, unit="s", ratio=ideal / best,
            target=f">= {EFFICIENCY}" if wanted else "", met=ideal / best >= EFFICIENCY if wanted else None,
        ),
        Figure(
            name=f"{engine.name}: the same, with the start of its workers",
            baseline=ideal, value=whole, unit="s", ratio=ideal / whole,
        ),
        Figure(name=f"{engine.name}: start, to the end of {WORKERS} empty units", value=started, unit="s"),
    ]  # fmt: skip


def main() -> int:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--empty", type=int, default=400, help="empty units (default 400)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts (default 3)")
    parser.add_argument("--slurm", metavar="PARTITION", help="measure Slurm too, with this partition")
    args = parser.parse_args()
    chosen = EngineChoice.of(load_settings(), workers=WORKERS)
    engines = [replace(chosen, name="local"), replace(chosen, name="ray")]
    if args.slurm:
        slurm = replace(chosen.slurm, partition=args.slurm)
        engines.append(replace(chosen, name="slurm", slurm=slurm, wait=True))
    figures: list[Figure] = []
    with scratch() as folder:
        for engine in engines:
            rounds = 1 if engine.name == "slurm" else args.rounds
            figures += measure(folder / engine.name, engine, args.empty, rounds)
    return report(figures, {"empty units": args.empty, "rounds": args.rounds}, args.json)


if __name__ == "__main__":
    sys.exit(main())
