"""What Slurm's own commands say about jobs, and the two things they are told: requeue and cancel.

Sites differ: accounting (``sacct``) may not exist, a host may have no Slurm at all, a finished job is
forgotten after a few minutes. Every answer here may therefore be "not known", and no call waits for ever.
"""

from __future__ import annotations

import logging
import re
import subprocess
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = ["TERMINAL", "Row", "cancel", "cluster_name", "end_states", "expand", "requeue", "rows_of"]

TERMINAL = frozenset((
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
    "REVOKED", "TIMEOUT",
))  # fmt: skip
"""States of a job that runs no more and will not run again."""

_ANSWER_S = 30.0
_MUTE_S = 60.0  # a command that gave no answer is let alone so long: many jobs may be asked about
_UNKNOWN = "Invalid job id"

log = logging.getLogger(__name__)

_mute_since: dict[str, float] = {}


class Row(NamedTuple):
    """A job or array task in the queue: its id (``61_3``), its state, and why it waits."""

    id: str
    state: str
    reason: str


def rows_of(ids: Sequence[int], label: str) -> list[Row] | None:
    """The jobs that Slurm knows, also those that ended a short while ago; None = it does not answer.

    Args:
        ids: Slurm's ids; empty where they were never recorded: then the label is searched.
        label: the name these jobs were given.
    """
    which = ["-j", ",".join(map(str, ids))] if ids else ["--name", label]
    done = _ask("squeue", "-h", "-r", "-t", "all", "-o", "%i|%T|%r", *which)
    if done is None or (done.returncode and _UNKNOWN not in done.stderr):
        return None
    rows = (line.split("|", 2) for line in done.stdout.splitlines() if line.count("|") >= 2)
    return [Row(*(cell.strip() for cell in row)) for row in rows]


def cluster_name() -> str:
    """Name of the cluster that commands here talk to ("" = no answer)."""
    done = _ask("scontrol", "show", "config")
    found = re.search(r"^ClusterName\s*=\s*(\S+)", done.stdout if done else "", re.MULTILINE)
    return found[1] if found else ""


def end_states(array: int) -> dict[int, str]:
    """How the tasks of an array ended, as accounting says or else the controller; without those unknown."""
    found: dict[int, str] = {}
    for command, parse in (
        (("scontrol", "show", "job", str(array), "-o"), _from_scontrol),
        (("sacct", "-j", str(array), "-n", "-P", "-X", "-o", "JobID,State"), _from_sacct),
    ):
        if (done := _ask(*command)) is not None:
            for tasks, state in parse(done.stdout):
                if state.split()[0] in TERMINAL:
                    found |= dict.fromkeys(tasks, state)
    return found


def _from_sacct(text: str) -> Iterable[tuple[list[int], str]]:
    for line in text.splitlines():
        name, _, state = line.partition("|")
        if state:
            yield expand(name.partition("_")[2].strip("[]") or "0"), state


def _from_scontrol(text: str) -> Iterable[tuple[list[int], str]]:
    for line in text.splitlines():
        fields = dict(part.split("=", 1) for part in line.split() if "=" in part)
        if state := fields.get("JobState"):
            yield expand(fields.get("ArrayTaskId", "0")), state


def expand(ranges: str) -> list[int]:
    """Return the tasks that Slurm lists as ``0-2,5%2``."""
    numbers: list[int] = []
    for part in ranges.partition("%")[0].split(","):
        if found := re.fullmatch(r"(\d+)(?:-(\d+))?", part):
            numbers += range(int(found[1]), int(found[2] or found[1]) + 1)
    return numbers


def cancel(ids: Sequence[int], label: str) -> None:
    """Cancel jobs; those that are over are no error."""
    which = [str(number) for number in ids] or ["--name", label]
    done = _ask("scancel", *which)
    if done is not None and done.returncode and _UNKNOWN not in done.stderr:
        log.warning("scancel %s: %s", " ".join(which), done.stderr.strip())


def requeue(job: str) -> str:
    """Put a running job back into the queue; return "" or why that was not done.

    Only while it is RUNNING: Slurm takes ``scontrol requeue`` of a job that is being cancelled for a wish to
    run it again, and one that is being requeued needs no help.
    """
    rows = rows_of_one(job)
    if rows != ["RUNNING"]:
        return f"its state is {' '.join(rows) or 'not known'}"
    done = _ask("scontrol", "requeue", job)
    if done is None:
        return "no answer from scontrol"
    return (done.stderr.strip() or f"scontrol ended with {done.returncode}") if done.returncode else ""


def rows_of_one(job: str) -> list[str]:
    """States of one job or task, as many as Slurm lists."""
    done = _ask("squeue", "-h", "-r", "-t", "all", "-o", "%T", "-j", job)
    return done.stdout.split() if done is not None else []


def _ask(*command: str) -> subprocess.CompletedProcess[str] | None:
    """Run one of Slurm's commands; None if it is not there, or gives no answer, or gave none a moment ago."""
    if time.monotonic() - _mute_since.get(command[0], -_MUTE_S) < _MUTE_S:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_ANSWER_S)
    except OSError as error:
        log.debug("%s: %s", command[0], error)
        return None
    except subprocess.TimeoutExpired:
        log.warning("%s gave no answer within %g s", command[0], _ANSWER_S)
        _mute_since[command[0]] = time.monotonic()
        return None
    if done.returncode:
        log.debug("%s: %s", " ".join(command), done.stderr.strip())
    return done
