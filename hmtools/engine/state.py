"""Everything a job keeps about itself, under ``<job.out>/.job/``.

::

    job.json           name, command, unit count, expected records, times
    fingerprint.json   what decides the bytes; a rerun with another one is refused
    lease.json         who writes now (see lease.py)
    done/u00012.json   the unit's Result: present = done
    failed/u00012.json why the unit's last attempt failed
    logs/u00012.log    what the unit's last attempt said
    finalised.json     all units are done and finalise ran to its end
    slurm/0001/        what was submitted to Slurm, and what came of it (see slurm_store.py)

Only the holder of the lease writes here (a unit's own log apart). All files but logs are atomic.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hmtools.core import atomic
from hmtools.core.errors import LayoutError, UsageError
from hmtools.engine.job import Job, Result
from hmtools.engine.lease import Owner, read_owner
from hmtools.engine.slurm_watch import with_submission

__all__ = [
    "FINALISE",
    "JobFailure",
    "JobState",
    "JobStatus",
    "State",
    "failure_of",
    "find_jobs",
    "job_status",
]

FINALISE = "finalise"  # stands where a unit's id stands when finalise fails
FOLDER = ".job"
_INPUTS = "inputs."  # of the fingerprint: {file: size and time}
_TAIL_LINES = 15
_TAIL_BYTES = 16384

JobState = Literal["queued", "running", "finished", "failed", "interrupted", "pending"]

log = logging.getLogger(__name__)


class State:
    """Reads and writes the state of the job that writes to ``out``."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.root = out / FOLDER
        self.logs = self.root / "logs"
        self._done = self.root / "done"
        self._failed = self.root / "failed"
        self._finalised = self.root / "finalised.json"
        self._fingerprint = self.root / "fingerprint.json"

    def create(self) -> None:
        """Make the folders.

        Raises:
            UsageError: if that is not possible.
        """
        try:
            for folder in (self._done, self._failed, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"cannot make {self.root}: {error.strerror}; choose another output folder"
            ) from error
        if not os.access(self.root, os.W_OK):
            raise UsageError(f"cannot write to {self.root}; choose another output folder")

    def log_path(self, unit: str) -> Path:
        """Return the path of the unit's log (present only if it said something)."""
        return self.logs / f"{unit}.log"

    def sweep(self) -> None:
        """Remove temporary files of writers that are gone; only the holder of the lease may."""
        removed = [
            path
            for folder in (self.out, self.root, self._done, self._failed)
            for path in atomic.sweep(folder)
        ]
        if removed:
            log.info("%s: removed %d temporary files of an earlier run", self.out, len(removed))

    # Units.

    def read_done(self, unit: str) -> Result | None:
        """Return the unit's result if its marker is there and its files are as recorded, else None."""
        value = _read_json(self._done / f"{unit}.json")
        if value is None:
            return None
        try:
            result = Result.from_json(value)
        except ValueError as error:
            log.warning("%s: the marker of %s is damaged (%s); the unit runs again", self.out, unit, error)
            return None
        if problem := self.missing(result):
            log.warning("%s: %s runs again: %s", self.out, unit, problem)
            return None
        return result

    def missing(self, result: Result) -> str:
        """Say which listed file is absent or has another size ("" when all are as recorded)."""
        for file in result.files:
            try:
                found = (self.out / file.name).stat().st_size
            except FileNotFoundError:
                return f"{file.name} is not there"
            if found != file.nbytes:
                return f"{file.name} has {found} bytes, recorded are {file.nbytes}"
        return ""

    def write_done(self, result: Result) -> None:
        """Mark a unit as done."""
        atomic.write_json(self._done / f"{result.unit}.json", result.to_json())

    def write_failed(self, unit: str, name: str, reason: str) -> None:
        """Mark a unit (or :data:`FINALISE`) as failed."""
        value = {"unit": unit, "name": name, "reason": reason, "time": now()}
        atomic.write_json(self._failed / f"{unit}.json", value)

    def clear(self, unit: str) -> None:
        """Forget how the unit ended before, and what it said."""
        (self._done / f"{unit}.json").unlink(missing_ok=True)
        (self._failed / f"{unit}.json").unlink(missing_ok=True)
        self.log_path(unit).unlink(missing_ok=True)

    # The job.

    def read_job(self) -> dict[str, Any]:
        """Return ``job.json`` ({} when there is none)."""
        return _read_json(self.root / "job.json") or {}

    def write_job(self, job: Job, *, started: str, seconds: float) -> None:
        """Write ``job.json``; ``seconds`` is the wall time of all runs so far."""
        value = {
            "name": job.name,
            "command": job.command,
            "units": len(job.units),
            "expected": job.expected,
            "started": started,
            "updated": now(),
            "seconds": round(seconds, 3),
        }
        atomic.write_json(self.root / "job.json", value)

    def claim_fingerprint(self, job: Job) -> None:
        """Record what decides the job's bytes, or compare with what is recorded.

        Raises:
            UsageError: if the folder holds work made with something else; names the differing keys.
        """
        wanted: dict[str, Any] = json.loads(json.dumps(_fingerprint(job)))
        if not self._fingerprint.exists() and not any(self._done.glob("*.json")):
            atomic.write_json(self._fingerprint, wanted)
            return
        if (found := _read_json(self._fingerprint)) != wanted:
            changes = _differences(found or {}, wanted)
            raise UsageError(
                f"{self.out} holds work of {self.read_job().get('name', 'a job')!r} made with other inputs "
                f"or options: {'; '.join(changes)}. Use the same ones, another output folder, or --overwrite "
                f"to start again"
            )

    def overwrite(self, job: Job) -> None:
        """Remove the job's state and every file it owns.

        The fingerprint goes last: killed in the middle, the folder still refuses other options.
        """
        self.invalidate()
        for folder in (self._done, self._failed, self.logs):
            for path in folder.iterdir():
                path.unlink()
        for path in owned_files(job):
            path.unlink(missing_ok=True)
        (self.root / "job.json").unlink(missing_ok=True)
        self._fingerprint.unlink(missing_ok=True)

    # The end.

    @property
    def finalised(self) -> bool:
        """Whether finalise ran to its end and no unit ran since."""
        return self._finalised.exists()

    def write_finalised(self, files: Sequence[str]) -> None:
        """Mark the job as finished; ``files`` are what finalise wrote, relative to the job's folder."""
        atomic.write_json(self._finalised, {"time": now(), "files": sorted(files)})

    def invalidate(self) -> None:
        """Unfinish the job: what finalise wrote goes with its marker, because it describes what was."""
        value = _read_json(self._finalised)
        for name in (value or {}).get("files", []):
            (self.out / name).unlink(missing_ok=True)
        if self._finalised.exists():
            self._finalised.unlink()
            atomic.fsync_dir(self.root)


def now() -> str:
    """Return the time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def owned_files(job: Job) -> list[Path]:
    """Return the files inside the job's folder that its ``owns`` patterns match, state apart."""
    found = {path for pattern in job.owns for path in job.out.glob(pattern)}
    return sorted(
        path
        for path in found
        if FOLDER not in path.relative_to(job.out).parts and (path.is_file() or path.is_symlink())
    )


def _fingerprint(job: Job) -> dict[str, Any]:
    return {"job": {"name": job.name, "units": len(job.units)}, **job.fingerprint}


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], limit: int = 8) -> list[str]:
    """Return ``key: old -> new`` for the leaves that differ, the first ``limit`` of them; inputs in one line.

    What a user chose comes first: of an updated download thousands of files differ.
    """
    a, b = dict(_leaves(old)), dict(_leaves(new))
    keys = [key for key in {**a, **b} if a.get(key, "(none)") != b.get(key, "(none)")]
    files = [key.removeprefix(_INPUTS) for key in keys if key.startswith(_INPUTS)]
    keys = [key for key in keys if not key.startswith(_INPUTS)]
    lines = [
        f"{key}: {_short(a.get(key, '(none)'))} -> {_short(b.get(key, '(none)'))}" for key in keys[:limit]
    ]
    lines += [f"and {len(keys) - limit} more"] if len(keys) > limit else []
    if files:
        example = ", ".join(_short(name) for name in files[:2])
        many = f"{len(files)} input files differ, e.g. {example}"
        lines.append(many if len(files) > 1 else f"input file differs: {example}")
    return lines


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _leaves(item, f"{prefix}{key}.")
        else:
            yield prefix + key, json.dumps(item, sort_keys=True)


def _short(text: str, width: int = 60) -> str:
    return text if len(text) <= width else f"{text[: width - 13]}...{text[-10:]}"


def _read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in ``path``; None when it is absent or damaged."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        log.warning("%s is damaged: %s", path, error)
        return None
    return value if isinstance(value, dict) else None


class JobFailure(NamedTuple):
    """A failed unit: its id, the reason, the path of its log and the log's last lines."""

    unit: str
    reason: str
    log: Path
    tail: list[str]


@dataclass(kw_only=True)
class JobStatus:
    """A job as its folder shows it, also while it runs elsewhere.

    Attributes:
        name: the job's name.
        out: its folder.
        state: queued (on Slurm), running (a live lease, or on Slurm), finished, failed, interrupted (it
            stopped, a rerun continues) or pending (made, not begun).
        owner: who holds the lease; with state interrupted the holder that is gone.
        total: number of units.
        done: units that are done.
        failed: units whose last attempt failed.
        records: sum of ``counts["records"]``.
        expected: records expected over all units.
        rejected: sum of ``counts["rejected"]``.
        seconds: wall time of all runs.
        failures: the failed units, in unit order.
        command: what continues or retries it.
        started: first start, ISO 8601, UTC.
        updated: last change, ISO 8601, UTC.
        slurm: what Slurm says about an open submission ("" = there is none).
        left_s: seconds left on Slurm at the speed so far, where that can be said.
    """

    name: str
    out: Path
    state: JobState
    owner: Owner | None = None
    total: int = 0
    done: int = 0
    failed: int = 0
    records: int = 0
    expected: int = 0
    rejected: int = 0
    seconds: float = 0.0
    failures: list[JobFailure] = field(default_factory=list)
    command: str = ""
    started: str = ""
    updated: str = ""
    slurm: str = ""
    left_s: float | None = None


def find_jobs(path: Path) -> list[JobStatus]:
    """Return the status of every job whose folder is ``path`` or lies below it, sorted by folder.

    Raises:
        LayoutError: if ``path`` is not a folder.
    """
    if not path.is_dir():
        raise LayoutError(f"{path} is not a folder; give the output folder of a job, or one above it")
    found = []
    for folder, names, _ in os.walk(path):
        if FOLDER in names:
            names.remove(FOLDER)
            found.append(Path(folder))
    return [job_status(out) for out in sorted(found)]


def job_status(out: Path) -> JobStatus:
    """Return the status of the job that writes to ``out``."""
    state = State(out)
    job, owner = state.read_job(), read_owner(state.root)
    done = [value for path in sorted((state.root / "done").glob("u*.json")) if (value := _read_json(path))]
    failed = [value for path in sorted((state.root / "failed").glob("*.json")) if (value := _read_json(path))]
    counts = [value.get("counts", {}) for value in done]
    status = JobStatus(
        name=job.get("name", "?"),
        out=out,
        state=_job_state(state, owner, begun=bool(done or job.get("seconds")), failed=bool(failed)),
        owner=owner,
        total=job.get("units", 0),
        done=len(done),
        failed=sum(value.get("unit") != FINALISE for value in failed),
        records=sum(c.get("records", 0) for c in counts),
        expected=job.get("expected", 0),
        rejected=sum(c.get("rejected", 0) for c in counts),
        seconds=job.get("seconds", 0.0),
        failures=[
            failure_of(state.root, value.get("unit", "?"), value.get("reason", "?")) for value in failed
        ],
        command=job.get("command", ""),
        started=job.get("started", ""),
        updated=job.get("updated", ""),
    )
    return with_submission(status, state.root)


def _job_state(state: State, owner: Owner | None, *, begun: bool, failed: bool) -> JobState:
    if owner is not None and not owner.stale():
        return "running"
    if state.finalised:
        return "finished"
    if owner is not None:
        return "interrupted"  # a holder that is gone without a word
    if failed:
        return "failed"
    return "interrupted" if begun else "pending"


def failure_of(root: Path, unit: str, reason: str) -> JobFailure:
    """Return a failed unit of the job whose state lies in ``root``, with the end of its log."""
    path = State(root.parent).log_path(unit)
    return JobFailure(unit, reason, path, _tail(path))


def _tail(path: Path) -> list[str]:
    """Return the last lines of a log, [] when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return file.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]
    except FileNotFoundError:
        return []
