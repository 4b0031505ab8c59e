"""What every engine runs: a :class:`Job` of :class:`Unit`; a :class:`Result` each, one :class:`Outcome`.

Nothing here knows how or where a unit runs, so the same job runs inline, in a local pool, or on a cluster.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

__all__ = ["Job", "OutFile", "Outcome", "Result", "Unit", "unit_id"]

_FORCE = re.compile(r" --(overwrite|break-lock)(?= |$)")


def unit_id(index: int) -> str:
    """Return the name of unit ``index`` in markers, logs and part names, e.g. ``u00012``."""
    return f"u{index:05d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A small, picklable description of work that is done whole or not at all.

    Attributes:
        index: position in plan order, from 0.
        name: for people, e.g. ``val2017 images 0-511``.
        payload: what the job's function needs to find its input; picklable and small.
        expected: records expected, for progress, ETA and dry runs (0 = unknown).
        images: images it reads, for limits and dry runs (0 = unknown).
        sequences: the sequences the unit covers.
    """

    index: int
    name: str
    payload: Any = None
    expected: int = 0
    images: int = 0
    sequences: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The unit's name in markers, logs and part names, e.g. ``u00012``."""
        return unit_id(self.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutFile:
    """A file that a unit wrote under its final name.

    Attributes:
        name: path relative to the job's folder, with forward slashes, never leaving it.
        sha256: hex digest of the content.
        nbytes: size in bytes.
        rows: records in it.
    """

    name: str
    sha256: str
    nbytes: int
    rows: int = 0

    def __post_init__(self) -> None:
        parts = PurePosixPath(self.name)
        if parts.is_absolute() or ".." in parts.parts or not parts.parts:
            raise ValueError(f"an output file is named relative to the job's folder, got {self.name!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one finished unit reports; kept as JSON in its done marker.

    Attributes:
        unit: the unit's id.
        files: the files it wrote.
        counts: numbers to add up over units; ``records`` and ``rejected`` drive progress and the job table.
        data: anything else that JSON can hold, for the job's ``finalise``.
        seconds: time spent; filled in by the engine when left at 0.
    """

    unit: str
    files: tuple[OutFile, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return a value of plain dicts, lists, strings and numbers."""
        files = [{"name": f.name, "sha256": f.sha256, "nbytes": f.nbytes, "rows": f.rows} for f in self.files]
        return {
            "unit": self.unit,
            "files": files,
            "counts": dict(self.counts),
            "data": dict(self.data),
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Result:
        """Build a result from :meth:`to_json`'s value.

        Raises:
            ValueError: if ``value`` does not have that form.
        """
        try:
            return cls(
                unit=str(value["unit"]),
                files=tuple(OutFile(**f) for f in value["files"]),
                counts={str(k): int(v) for k, v in value["counts"].items()},
                data=dict(value["data"]),
                seconds=float(value["seconds"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not the JSON of a unit's result: {type(error).__name__}: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Units, the function that does one of them, and where their outputs and state go.

    Attributes:
        name: for people and the job table, e.g. ``convert mscoco val2017``.
        out: the folder that gets the outputs, and the state under ``.job/``.
        units: in plan order, with unique indices.
        fn: does one unit. Picklable (a module-level function or a partial of one), idempotent, atomic. Called
            with the unit and, where there is a ``setup``, with its value as well.
        finalise: runs once in the driver when all units are done; gets the results in unit order.
        fingerprint: what decides the bytes (inputs, plan hash, options, versions); JSON-able. Never the
            engine, the number of workers or the location.
        owns: glob patterns inside ``out`` of everything the job writes; ``--overwrite`` removes what they
            match.
        command: the command line that continues or retries the job; without ``--overwrite`` and
            ``--break-lock``, which would do away with what is there.
        setup: runs once in every process that does units, before its first: loads a model, say. Picklable.
        resources: what one unit takes where an engine counts: ``cpu`` (1 if not named), ``gpu``, and any that
            the site has defined.
    """

    name: str
    out: Path
    units: Sequence[Unit]
    fn: Callable[..., Result]
    finalise: Callable[[Sequence[Result]], None] | None = None
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    owns: tuple[str, ...] = ()
    command: str = ""
    setup: Callable[[], Any] | None = None
    resources: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "command", _FORCE.sub("", self.command))
        indices = [unit.index for unit in self.units]
        if any(index < 0 for index in indices) or any(a >= b for a, b in itertools.pairwise(indices)):
            raise ValueError(f"job {self.name!r}: unit indices must be >= 0 and rise, got {indices[:10]} ...")
        for pattern in self.owns:
            if PurePosixPath(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts:
                raise ValueError(
                    f"job {self.name!r}: a pattern in owns must stay inside out, got {pattern!r}"
                )

    @property
    def expected(self) -> int:
        """Records expected over all units."""
        return sum(unit.expected for unit in self.units)


@dataclass(kw_only=True)
class Outcome:
    """How a run of a job ended.

    Attributes:
        results: of all units that are done, also in earlier runs, in unit order.
        failed: unit id -> one-line reason, for the units that failed in this run.
        skipped: how many units were already done when the run began.
        seconds: wall time of this run.
        interrupted: stopped by a signal; state is kept, a rerun continues.
        submitted: ids of the Slurm jobs that do what is left, and go on without us.
    """

    results: list[Result] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    submitted: tuple[int, ...] = ()

    @property
    def ok(self) -> bool:
        """All units are done and the job is finalised."""
        return not self.failed and not self.interrupted and not self.submitted

    @property
    def exit_code(self) -> int:
        """What the command line ends with: 0 done or submitted, 1 some units failed, 130 stopped."""
        if self.interrupted:
            return 130
        return 1 if self.failed else 0

    def count(self, name: str) -> int:
        """Return the sum of ``counts[name]`` over all results."""
        return sum(result.counts.get(name, 0) for result in self.results)
