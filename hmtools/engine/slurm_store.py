"""What a submission to Slurm leaves in the job's folder, for its tasks, its end and whoever asks.

::

    .job/slurm/0001/submission.json   which units went into which array task, Slurm's ids
                    preflight.json    what the submitting machine expects of a node
                    work.pkl, job.pkl, units/00003.pkl     for tasks and the end
                    outcomes/u00012.json   how a unit ended: written by its task, which writes no markers
                    tasks/00003.json       sign of life of a task: node, running unit, trouble
                    settled.json           the outcomes are in the job's state; nothing here counts any more

At most one submission of a job, the newest, is not settled.
"""

from __future__ import annotations

import json
import re
import shutil
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hmtools.core import atomic
from hmtools.core.errors import HmtoolsError
from hmtools.engine.job import Result, Unit

__all__ = ["Submission", "task_name", "unsettled"]

_FOLDER = "slurm"
_FILE = "submission.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One submission: the content of ``submission.json``, and access to what lies beside it.

    Attributes:
        folder: where all of it lies, absolute.
        job: the job's name.
        command: what continues or retries the job.
        label: Slurm's name of the array and of the job that ends it; no other jobs have it.
        cluster: name of the Slurm cluster ("" = it did not say).
        since: when it was submitted, seconds since the epoch.
        tasks: for each array task its units, id -> expected records, in order.
        array: Slurm's id of the array (of a plain job where there is one task); None while not submitted.
        final: Slurm's id of the job that runs when the array is over.
    """

    folder: Path
    job: str
    command: str
    label: str
    cluster: str
    since: float
    tasks: tuple[dict[str, int], ...]
    array: int | None = None
    final: int | None = None

    @classmethod
    def create(
        cls, root: Path, tasks: Sequence[Sequence[Unit]], *, job: str, command: str, cluster: str
    ) -> Submission:
        """Make the next submission below ``root``, a ``.job`` folder; what older ones need no more goes."""
        below = root.absolute() / _FOLDER
        below.mkdir(exist_ok=True)
        before = _folders(root)
        for folder in before:
            _prune(folder)
        number = int(before[-1].name) + 1 if before else 1
        folder = below / f"{number:04d}"
        for name in ("units", "outcomes", "tasks", "slurm"):
            (folder / name).mkdir(parents=True)
        made = cls(
            folder=folder,
            job=job,
            command=command,
            label=f"hmtools-{re.sub('[^0-9A-Za-z]+', '-', job)}-{uuid.uuid4().hex[:8]}",
            cluster=cluster,
            since=time.time(),
            tasks=tuple({unit.id: unit.expected for unit in units} for units in tasks),
        )
        made.write()
        return made

    @classmethod
    def read(cls, folder: Path) -> Submission:
        """Read the submission in ``folder``.

        Raises:
            OSError: if it is not there.
            HmtoolsError: if it is damaged.
        """
        try:
            value = json.loads((folder / _FILE).read_bytes())
            return cls(**{**value, "folder": folder.absolute(), "tasks": tuple(value["tasks"])})
        except (ValueError, TypeError, KeyError) as error:
            raise HmtoolsError(
                f"{folder / _FILE} does not describe a submission ({error}); once squeue lists no job of it, "
                f"remove {folder} and rerun"
            ) from error

    def write(self) -> None:
        """Write ``submission.json``."""
        value = {key: item for key, item in asdict(self).items() if key != "folder"}
        atomic.write_json(self.folder / _FILE, value)

    def known_as(self, array: int, final: int | None = None) -> Submission:
        """Record ids that Slurm gave; return the submission with them."""
        changed = replace(self, array=array, final=final)
        changed.write()
        return changed

    # Where things are.

    @property
    def out(self) -> Path:
        """The job's folder."""
        return self.folder.parents[2]

    @property
    def units(self) -> dict[str, int]:
        """All units, id -> expected records, in order."""
        return {unit: expected for task in self.tasks for unit, expected in task.items()}

    @property
    def ids(self) -> list[int]:
        """Slurm's ids, as far as known."""
        return [number for number in (self.array, self.final) if number is not None]

    @property
    def work_path(self) -> Path:
        """The pickled :class:`~hmtools.engine.worker.WorkerSetup`."""
        return self.folder / "work.pkl"

    @property
    def job_path(self) -> Path:
        """The pickled :class:`~hmtools.engine.job.Job`."""
        return self.folder / "job.pkl"

    @property
    def facts_path(self) -> Path:
        """What :func:`~hmtools.engine.preflight.preflight_facts` found on the submitting machine."""
        return self.folder / "preflight.json"

    @property
    def slurm_folder(self) -> Path:
        """Batch scripts and logs of the Slurm jobs."""
        return self.folder / "slurm"

    def units_path(self, task: int) -> Path:
        """The pickled units of a task."""
        return self.folder / "units" / f"{task:05d}.pkl"

    def log_of(self, task: int) -> Path | None:
        """What a task said apart from its units, if Slurm wrote it."""
        name = task_name(self, task)
        return next(iter(sorted(self.slurm_folder.glob(f"{name}_*_log.out"))), None)

    # How units ended.

    def write_outcome(self, unit: str, outcome: Result | str) -> None:
        """Record how a unit ended: its result, or why it failed."""
        value = {"reason": outcome} if isinstance(outcome, str) else {"result": outcome.to_json()}
        atomic.write_json(self._outcome_path(unit), value)

    def outcome(self, unit: str) -> Result | str | None:
        """How a unit ended; None while it did not."""
        value = _read(self._outcome_path(unit))
        if value is None:
            return None
        try:
            return Result.from_json(value["result"]) if "result" in value else str(value["reason"])
        except (KeyError, ValueError):
            return None

    def ended(self) -> set[str]:
        """The units that ended, without reading how."""
        names = _names(self.folder / "outcomes")
        return {name.removesuffix(".json") for name in names if not name.startswith(".")}

    def _outcome_path(self, unit: str) -> Path:
        return self.folder / "outcomes" / f"{unit}.json"

    # Tasks.

    def write_note(self, task: int, note: dict[str, Any]) -> None:
        """Record a task's sign of life."""
        atomic.write_json(self._note_path(task), note)

    def note(self, task: int) -> dict[str, Any]:
        """The last sign of life of a task ({} = none)."""
        return _read(self._note_path(task)) or {}

    def notes(self) -> dict[int, dict[str, Any]]:
        """The last sign of life of every task that gave one."""
        found = {index: self.note(index) for index in range(len(self.tasks))} if self._any_note() else {}
        return {index: note for index, note in found.items() if note}

    def _any_note(self) -> bool:
        return bool(_names(self.folder / "tasks"))

    def _note_path(self, task: int) -> Path:
        return self.folder / "tasks" / f"{task:05d}.json"

    # The end.

    @property
    def settled(self) -> dict[str, Any] | None:
        """How it came to its end; None while it did not."""
        return _read(self.folder / "settled.json")

    @property
    def taken(self) -> bool:
        """Whether its tasks must not write any more: it is settled, or gone."""
        return (self.folder / "settled.json").exists() or not self.folder.exists()

    def settle(self, **how: Any) -> None:
        """Record that nothing of it counts any more."""
        if self.folder.exists():
            atomic.write_json(self.folder / "settled.json", {"time": time.time(), **how})


def task_name(submission: Submission, task: int) -> str:
    """Slurm's name of a task: an array of one is submitted as a plain job."""
    return f"{submission.array}_{task}" if len(submission.tasks) > 1 else f"{submission.array}"


def unsettled(root: Path) -> Submission | None:
    """The submission below ``root``, a ``.job`` folder, whose outcomes are not in the job's state yet."""
    for folder in reversed(_folders(root)):
        if (folder / "settled.json").exists():
            return None
        if (folder / _FILE).exists():
            return Submission.read(folder)
    return None


def _folders(root: Path) -> list[Path]:
    below = root.absolute() / _FOLDER
    return sorted(below / name for name in _names(below) if name.isdecimal())


def _prune(folder: Path) -> None:
    """Keep of an old submission what tells its tasks, should any still live, that they are not wanted."""
    for name in ("units", "outcomes", "tasks"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for path in folder.rglob("*.pkl"):
        path.unlink()


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []


def _read(path: Path) -> dict[str, Any] | None:
    """The JSON object in ``path``; None when it is absent or damaged."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return value if isinstance(value, dict) else None
