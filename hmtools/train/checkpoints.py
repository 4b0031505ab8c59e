"""Checkpoints of a run: a folder of safetensors and a JSON file each, whole or absent, made beside training.

::

    checkpoints/step-000000500/weights.safetensors   the network
                               optimiser.safetensors Adam's moments, by the names of the parameters
                               average.safetensors   the moving average of the weights, if the recipe has one
                               state.json            step, epoch, recipe, sha256 of each file

A checkpoint is copied to the CPU at once and written by a thread, so that training goes on. Its folder gets
its name only when all of it is on disk. Nothing in it is pickled.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hmtools.core.atomic import file_sha256, fsync_dir, write_json
from hmtools.core.errors import CheckpointError
from hmtools.models.weight_files import write_safetensors
from hmtools.train.parallel import gathered

__all__ = ["STATE", "Checkpoint", "Checkpoints", "read_state"]

STATE = "state.json"
"""What else a checkpoint stores, beside its tensors."""
_FORMAT = 1
_NAME = re.compile(r"step-(\d{9})")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was read from a checkpoint.

    Attributes:
        path: its folder.
        step: optimiser steps taken.
        tensors: file's stem -> name -> tensor on the CPU.
        facts: what else was stored.
    """

    path: Path
    step: int
    tensors: dict[str, dict[str, Tensor]]
    facts: dict[str, Any]


@dataclass
class Checkpoints:
    """The checkpoints of one run; all processes save side by side, the first one writes.

    Attributes:
        folder: ``checkpoints`` of the run.
        keep: how many of the newest stay.
        writes: whether this process writes; else it only hands over its pieces of tensors.
    """

    folder: Path
    keep: int = 2
    writes: bool = True
    _thread: threading.Thread | None = field(default=None, repr=False)
    _failure: BaseException | None = field(default=None, repr=False)

    def paths(self) -> list[Path]:
        """Whole checkpoints, the newest first."""
        if not self.folder.is_dir():
            return []
        found = [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name)]
        return sorted((path for path in found if (path / STATE).is_file()), reverse=True)

    def save(
        self,
        step: int,
        tensors: Mapping[str, Mapping[str, Tensor]],
        facts: Mapping[str, Any],
        *,
        spare: frozenset[int] = frozenset(),
    ) -> Path:
        """Copy tensors to the CPU and begin to write them; waits first for the one that is being written.

        Args:
            step: optimiser steps taken.
            tensors: file's stem -> name -> tensor, which may be in pieces.
            facts: what else to store, JSON.
            spare: steps whose checkpoints stay however old they are, such as the last of an epoch.

        Returns:
            Where the checkpoint will be.

        Raises:
            OSError: that ended the writing of the one before.
        """
        self.wait()
        copies = {stem: gathered(state, keeps=self.writes) for stem, state in tensors.items()}
        if not self.writes:
            return self.folder / _name(step)
        content = {**facts, "format": _FORMAT, "step": step}
        self._thread = threading.Thread(
            target=self._write, args=(step, copies, content, spare), name=f"checkpoint-{step}"
        )
        self._thread.start()
        return self.folder / _name(step)

    def wait(self) -> None:
        """Return when nothing is being written any more.

        Raises:
            OSError: that ended the writing.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _write(
        self,
        step: int,
        tensors: Mapping[str, Mapping[str, Tensor]],
        facts: dict[str, Any],
        spare: frozenset[int],
    ) -> None:
        unfinished = self.folder / f".{_name(step)}.{os.getpid()}.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for old in self.folder.glob(".step-*.tmp"):  # of a process that is gone: a run has one writer
                shutil.rmtree(old)
            unfinished.mkdir()
            facts["sha256"] = {
                f"{stem}.safetensors": write_safetensors(unfinished / f"{stem}.safetensors", state)
                for stem, state in tensors.items()
                if state
            }
            write_json(unfinished / STATE, facts)
            target = self.folder / _name(step)
            if target.exists():  # the same step, once more after a resume
                shutil.rmtree(target)
            unfinished.replace(target)
            fsync_dir(self.folder)
            self._thin_out(step, spare)
        except BaseException as error:  # noqa: BLE001 - raised by wait() in the thread that trains
            shutil.rmtree(unfinished, ignore_errors=True)
            self._failure = error

    def _thin_out(self, step: int, spare: frozenset[int]) -> None:
        spared = {_name(other) for other in spare}
        # Later ones are there after a resume that passed over them: they are damaged, and count for nothing.
        older = [path for path in self.paths() if path.name <= _name(step)]
        for path in older[self.keep :]:
            if path.name not in spared:
                shutil.rmtree(path)

    def latest(self) -> Checkpoint | None:
        """Read the newest checkpoint that is not damaged, None when there is none.

        Raises:
            CheckpointError: if there are checkpoints and all of them are damaged.
        """
        problems = []
        for path in self.paths():
            try:
                return read_state(path)
            except CheckpointError as error:
                log.warning("%s; trying the one before", error)
                problems.append(str(error))
        if problems:
            raise CheckpointError("no checkpoint of this run can be read:\n  " + "\n  ".join(problems))
        return None

    def at(self, step: int) -> Checkpoint:
        """Read the checkpoint of a step.

        Raises:
            CheckpointError: if it is not there, or damaged.
        """
        return read_state(self.folder / _name(step))


def read_state(path: Path) -> Checkpoint:
    """Read a checkpoint, every byte compared with its sha256.

    Raises:
        CheckpointError: if a file is missing, damaged or of a format that this version does not know.
    """
    try:
        facts = json.loads((path / STATE).read_text(encoding="utf-8"))
        if facts["format"] != _FORMAT:
            raise CheckpointError(
                f"{path}: expected a checkpoint of format {_FORMAT}, found {facts['format']}"
            )
        tensors = {}
        for name, sha256 in facts.pop("sha256").items():
            if "/" in name or file_sha256(path / name) != sha256:
                raise CheckpointError(f"{path / name}: not what was written (sha256); the file is damaged")
            tensors[name.removesuffix(".safetensors")] = load_file(path / name)
        return Checkpoint(path, int(facts["step"]), tensors, facts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read as a checkpoint of a run: {error!r}") from error


def _name(step: int) -> str:
    return f"step-{step:09d}"
