"""Full disks, at every step: nothing half-written under a final name; a rerun gives the same bytes."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hmtools.core import atomic
from hmtools.datasets import coco
from hmtools.engine.state import job_status
from tests.convert.aftermath import SPLIT, check_finals, finals, leftovers, small
from tests.datasets.coco_tree import contents, run


class Fault:
    """Fails the n-th call of what it wraps, and all later ones when the disk stays full."""

    def __init__(self, at: int, lasting: bool) -> None:
        self.at, self.lasting, self.calls = at, lasting, 0

    def __call__(self) -> None:
        self.calls += 1
        if self.at and (self.calls == self.at or (self.lasting and self.calls > self.at)):
            raise OSError(errno.ENOSPC, "No space left on device (injected)")


def _in_write(monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    write = atomic.AtomicFile.write

    def failing(self: atomic.AtomicFile, data: Any) -> int:
        try:
            fault()
        except OSError:
            self._file.write(bytes(data)[: len(data) // 2])  # a part of it fits
            raise
        return write(self, data)

    monkeypatch.setattr(atomic.AtomicFile, "write", failing)


class _Flaky:
    """A buffered file whose flush may fail."""

    def __init__(self, file: Any, fault: Fault) -> None:
        self._file, self._fault = file, fault

    def flush(self) -> None:
        self._fault()
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _in_flush(monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    init = atomic.AtomicFile.__init__

    def wrapping(self: atomic.AtomicFile, path: Path) -> None:
        init(self, path)
        monkeypatch.setattr(self, "_file", _Flaky(self._file, fault))

    monkeypatch.setattr(atomic.AtomicFile, "__init__", wrapping)


class _Os:
    """The module ``os`` with an ``fsync`` that may fail."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault

    def fsync(self, descriptor: int) -> None:
        self._fault()
        os.fsync(descriptor)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


def _in_fsync(monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    monkeypatch.setattr(atomic, "os", _Os(fault))


def _in_rename(monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    replace = Path.replace

    def failing(self: Path, target: Path) -> Path:
        fault()
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)


def _in_open(monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    init = atomic.AtomicFile.__init__

    def failing(self: atomic.AtomicFile, path: Path) -> None:
        fault()
        init(self, path)

    monkeypatch.setattr(atomic.AtomicFile, "__init__", failing)


STEPS: dict[str, Callable[[pytest.MonkeyPatch, Fault], None]] = {
    "write": _in_write,
    "flush": _in_flush,
    "fsync": _in_fsync,
    "rename": _in_rename,
    "open": _in_open,
}


class TestFullDisk:
    def calls(self, step: str, root: Path, out: Path) -> int:
        """How often an undisturbed conversion takes a step."""
        fault = Fault(0, lasting=False)
        with pytest.MonkeyPatch.context() as patch:
            STEPS[step](patch, fault)
            run(root, out)
        return fault.calls

    def check(self, root: Path, tmp_path: Path, step: str, numbers: range, lasting: bool) -> None:
        reference = run(root, tmp_path / "calm")
        for number in numbers:
            out = tmp_path / f"{step} {number}"
            fault = Fault(number, lasting)
            with pytest.MonkeyPatch.context() as patch, suppress(OSError, AssertionError):
                STEPS[step](patch, fault)
                run(root, out)  # AssertionError: a unit failed
            folder = out / SPLIT
            assert fault.calls >= number, "it was reached"
            assert leftovers(folder) == []
            check_finals(folder, reference)
            run(root, out)
            assert contents(folder) == contents(reference), f"after a full disk at {step} {number}"
            assert job_status(folder).state == "finished"
            assert leftovers(folder) == []
            shutil.rmtree(out)

    @pytest.mark.parametrize("lasting", [False, True])
    def test_some_writes(self, tmp_path: Path, lasting: bool) -> None:
        root = small(tmp_path / "coco")
        count = self.calls("write", root, tmp_path / "count")
        assert count > 200
        self.check(root, tmp_path, "write", range(1 + lasting, count + 1, 17), lasting)

    @pytest.mark.slow
    @pytest.mark.parametrize("lasting", [False, True])
    def test_every_write(self, tmp_path: Path, lasting: bool) -> None:
        root = small(tmp_path / "coco")
        count = self.calls("write", root, tmp_path / "count")
        self.check(root, tmp_path, "write", range(1, count + 1), lasting)

    @pytest.mark.parametrize("step", ["flush", "fsync", "rename", "open"])
    @pytest.mark.parametrize("lasting", [False, True])
    def test_every_other_step(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, lasting: bool
    ) -> None:
        monkeypatch.setattr(coco, "IMAGES_PER_UNIT", 1)
        root = small(tmp_path / "coco", images=2)
        count = self.calls(step, root, tmp_path / "count")
        assert count > 8
        self.check(root, tmp_path, step, range(1, count + 1), lasting)

    def test_a_real_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(coco, "IMAGES_PER_UNIT", 2)
        root = small(tmp_path / "coco", images=6)
        reference = run(root, tmp_path / "calm")
        size = sum(path.stat().st_size for path in finals(reference)) // 1024
        disk = tmp_path / "disk"
        disk.mkdir()
        if (
            os.geteuid()
            or subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
            ).returncode
        ):
            pytest.skip("mounting a small tmpfs needs root")
        failed = 0
        try:
            for share in (0.2, 0.4, 0.6, 0.8, 0.9, 1.0):
                self.resize(disk, int(size * share) // 4 * 4)
                with suppress(OSError, AssertionError):
                    run(root, disk / "out")
                failed += not (disk / "out" / SPLIT / "manifest.json").exists()
                check_finals(disk / "out" / SPLIT, reference)
            assert failed > 2
            self.resize(disk, 4 * size)
            folder = run(root, disk / "out")
            assert contents(folder) == contents(reference)
            assert leftovers(folder) == []
        finally:
            subprocess.run(["umount", "-l", disk], check=True)  # also when a failure left files open

    def resize(self, disk: Path, kilobytes: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", disk], check=True)
