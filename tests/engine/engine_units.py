"""Units for the engine's tests, importable by worker processes; as a script: a driver that runs them.

A unit's payload is a dict: ``rows``, and ``do``, which names how it behaves.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hmtools.core import atomic
from hmtools.core.errors import LockedError
from hmtools.core.settings import RaySettings
from hmtools.engine.job import Job, Outcome, OutFile, Result, Unit
from hmtools.engine.lease import acquire
from hmtools.engine.local import run_local
from hmtools.engine.ray_units import run_ray
from hmtools.engine.state import State

COMMAND = "hmtools test --again"


def content(unit: Unit) -> bytes:
    rows = unit.payload["rows"]
    return b"".join(hashlib.sha256(f"{unit.index}/{row}".encode()).digest() for row in range(rows))


def say(unit: Unit) -> None:
    """Write a line by every way a program has."""
    sys.stdout.write("from print\n")
    sys.stderr.write("from stderr\n")
    os.write(2, b"from descriptor 2\n")
    libc = ctypes.CDLL(None)
    libc.printf(b"from printf\n")  # stays in the C library's buffer
    logging.getLogger("hmtools.test").info("from logging")
    warnings.warn("from warnings", stacklevel=1)


def fall(unit: Unit) -> None:
    raise ValueError("a row with\nNaN")


def exit_by_library(unit: Unit) -> None:
    sys.exit("no licence")


def die(unit: Unit) -> None:
    sys.stdout.write("last words\n")
    os.kill(os.getpid(), signal.SIGKILL)


def leave(unit: Unit) -> None:
    os._exit(7)


def crash(unit: Unit) -> None:
    ctypes.string_at(0)


def fork_and_die(unit: Unit) -> None:
    """Die while a child of our own holds the pipes open."""
    child = os.fork()
    if child == 0:
        time.sleep(3)
        os._exit(0)
    Path(unit.payload["note"]).write_text(str(child))
    os._exit(9)


def stuck(unit: Unit) -> None:
    time.sleep(30)


def slow(unit: Unit) -> None:
    time.sleep(unit.payload.get("seconds", 0.05))


def meet(unit: Unit) -> None:
    """Wait for the other unit."""
    note = Path(unit.payload["note"])
    (note / unit.id).touch()
    deadline = time.monotonic() + 20
    while len(list(note.iterdir())) < 2:
        if time.monotonic() > deadline:
            raise TimeoutError("nobody came")
        time.sleep(0.01)


def hold(unit: Unit) -> None:
    """Keep the interpreter locked inside a C function: no other thread of Python runs."""
    ctypes.PyDLL(None).sleep(20)


def wait(unit: Unit) -> None:
    """Wait until the test says that it may go on."""
    wait_for(Path(unit.payload["note"]).exists, seconds=60)


def survive_signals(unit: Unit) -> None:
    """A cluster signals the workers, too."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        os.kill(os.getpid(), number)


def signal_driver(unit: Unit) -> None:
    """Only for inline runs, where this process is the driver."""
    os.kill(os.getpid(), signal.SIGUSR2)


def ask_setup(unit: Unit) -> None:
    sys.stdout.write(f"threads {os.environ.get('OMP_NUM_THREADS')}\n")
    sys.stdout.write(f"blocked {sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))}\n")


DO: dict[str, Callable[[Unit], None]] = {
    f.__name__: f
    for f in (
        say, fall, exit_by_library, die, leave, crash, fork_and_die, stuck, slow, hold, meet, survive_signals,
        signal_driver, ask_setup, wait,
    )
}  # fmt: skip


def make(out: Path, notes: Path, unit: Unit) -> Result:
    """Write the unit's file in two pieces, with whatever the payload wants to happen between them."""
    (notes / f"pid-{os.getpid()}").touch()
    with (notes / "runs").open("a") as runs:
        runs.write(f"{unit.id}\n")
    note = notes / f".at-{unit.id}-{os.getpid()}"  # not by our own atomic files: tests make those fail
    note.write_text(f"{os.getpid()} {os.getppid()}")
    note.replace(notes / f"at-{unit.id}")
    data, name = content(unit), f"part-{unit.id}.bin"
    with atomic.AtomicFile(out / name) as file:
        file.write(data[:16])
        file.flush()
        if do := unit.payload.get("do"):
            DO[do](unit)
        file.write(data[16:])
    rows = unit.payload["rows"]
    counts = {"records": rows, "rejected": unit.index % 2}
    done = OutFile(name=name, sha256=file.sha256, nbytes=file.size, rows=rows)
    return Result(unit=unit.id, files=(done,), counts=counts, data={"pair": (1, unit.index)})


def bad_result(kind: str, unit: Unit) -> Any:
    return {
        "none": None,
        "other": Result(unit="u00099"),
        "nan": Result(unit=unit.id, data={"x": float("nan")}),
        "set": Result(unit=unit.id, data={"x": {1}}),
        "file": Result(unit=unit.id, files=(OutFile(name="nowhere.bin", sha256="", nbytes=1),)),
    }[kind]


def summarise(out: Path, notes: Path, results: Sequence[Result]) -> None:
    with (notes / "finalised").open("a") as lines:
        lines.write("once\n")
    files = [file.sha256 for result in results for file in result.files]
    atomic.write_json(
        out / "manifest.json", {"files": files, "records": sum(r.counts["records"] for r in results)}
    )


def make_job(out: Path, units: Sequence[dict[str, Any]], **changes: Any) -> Job:
    """Return a job whose function notes beside ``out`` which units ran, in which processes."""
    notes = out.with_name(f"{out.name}-notes")
    notes.mkdir(exist_ok=True, parents=True)
    made = [
        Unit(index=i, name=f"unit {i}", payload={"rows": 3 + i, **payload}, expected=3 + i)
        for i, payload in enumerate(units)
    ]
    fields: dict[str, Any] = {
        "name": "test job",
        "out": out,
        "units": made,
        "fn": functools.partial(make, out, notes),
        "finalise": functools.partial(summarise, out, notes),
        "fingerprint": {"options": {"images": "crop", "every": 1}, "inputs": ["a", "b"]},
        "owns": ("part-*.bin", "manifest.json"),
        "command": COMMAND,
    }
    return Job(**(fields | changes))


def runs(out: Path) -> list[str]:
    """Return the ids of the units that ran, in order, also those that failed."""
    path = out.with_name(f"{out.name}-notes") / "runs"
    return path.read_text().split() if path.exists() else []


def finalised(out: Path) -> int:
    """Return how often the job was finalised."""
    path = out.with_name(f"{out.name}-notes") / "finalised"
    return len(path.read_text().split()) if path.exists() else 0


def pids(out: Path) -> list[int]:
    """Return the processes that ran units."""
    notes = out.with_name(f"{out.name}-notes")
    return [int(path.name.removeprefix("pid-")) for path in notes.glob("pid-*")]


def where(out: Path, unit: str) -> tuple[int, int]:
    """Return the process that ran the unit last, and its parent; (0, 0) while nobody did."""
    path = out.with_name(f"{out.name}-notes") / f"at-{unit}"
    pid, parent = path.read_text().split() if path.exists() else (0, 0)
    return int(pid), int(parent)


def load_once(notes: Path) -> str:
    """The set-up of a job: note that it ran, return something to work with."""
    with (notes / "loads").open("a") as lines:
        lines.write(f"{os.getpid()}\n")
    return f"loaded by {os.getpid()}"


def no_model() -> None:
    raise FileNotFoundError("no such checkpoint")


def make_loaded(out: Path, notes: Path, unit: Unit, loaded: str) -> Result:
    """Make the unit's file with what the set-up returned."""
    assert loaded == f"loaded by {os.getpid()}"
    return make(out, notes, unit)


def loading_job(out: Path, units: Sequence[dict[str, Any]], **changes: Any) -> Job:
    """Return a job with a set-up."""
    notes = out.with_name(f"{out.name}-notes")
    work = {"fn": functools.partial(make_loaded, out, notes), "setup": functools.partial(load_once, notes)}
    return make_job(out, units, **(work | changes))


def loads(out: Path) -> list[int]:
    """Return the processes that ran the set-up, once per time."""
    path = out.with_name(f"{out.name}-notes") / "loads"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def outputs(out: Path) -> dict[str, bytes]:
    """Return name -> content of everything in ``out``, state apart."""
    return {path.name: path.read_bytes() for path in sorted(out.iterdir()) if path.is_file()}


def go(out: Path, units: Sequence[dict[str, Any]], workers: int = 1, **changes: Any) -> Outcome:
    return run_local(make_job(out, units, **changes), workers=workers, progress=False)


def wait_for(true: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def log_of(out: Path, unit: str = "u00000") -> str:
    return State(out).log_path(unit).read_text()


def take_turns(folder: Path, count: int) -> None:
    """Count up in a file that only the holder of the lease may touch."""
    counter = folder / "counter"
    for _ in range(count):
        while True:
            try:
                held = acquire(folder)
                break
            except LockedError:
                time.sleep(0.002)
        value = int(counter.read_text())
        time.sleep(0.001)
        counter.write_text(str(value + 1))
        held.release()


def drive(arguments: list[str]) -> int:
    """Run a job whose plan is given as JSON, here or on the Ray cluster given last; print how it ended."""
    logging.basicConfig(format="%(message)s")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.default_int_handler)  # whatever the test's own parents had set
    out, workers, plan = Path(arguments[0]), int(arguments[1]), json.loads(arguments[2])
    if len(arguments) > 3:
        joined = RaySettings(address=arguments[3], runtime_env={})
        outcome = run_ray(make_job(out, plan), joined, workers=workers, progress=False)
    else:
        outcome = run_local(make_job(out, plan), workers=workers, progress=False)
    json.dump(
        {"done": len(outcome.results), "skipped": outcome.skipped, "failed": outcome.failed}, sys.stdout
    )
    return outcome.exit_code


if __name__ == "__main__":
    sys.exit(drive(sys.argv[1:]))
