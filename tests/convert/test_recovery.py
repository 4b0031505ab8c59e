"""Killed drivers: nothing half-written under a final name; a rerun gives the same bytes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import hmtools
from hmtools.datasets import coco
from hmtools.engine.state import job_status
from tests.convert.aftermath import SPLIT, check_finals, leftovers, small
from tests.datasets.coco_tree import contents, image_row, person, run, write_tree

PROJECT = Path(hmtools.__file__).parents[1]
MARK = "CONVERSION_UNDER_TEST"
CONVERT = """
import sys
from pathlib import Path
from hmtools.convert.run import convert
from hmtools.datasets import coco

coco.IMAGES_PER_UNIT = 3
root, out, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
convert("mscoco", root=root, out=out, workers=workers, images="crop", progress=False)
"""
# Imports once, then forks a conversion that kills itself at its n-th write, for each n.
KILL_AT_WRITES = """
import os, signal, sys
from pathlib import Path
from hmtools.convert.run import convert
from hmtools.core import atomic
from hmtools.core.image import opencv

opencv()
root, out = Path(sys.argv[1]), Path(sys.argv[2])
write, left = atomic.AtomicFile.write, [0]

def counted(self, data):
    left[0] -= 1
    if left[0] == 0:
        self._file.write(bytes(data)[: len(data) // 2])
        self._file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    return write(self, data)

atomic.AtomicFile.write = counted
for number in sys.argv[3:]:
    if (child := os.fork()) == 0:
        left[0] = int(number)
        convert("mscoco", root=root, out=out / number, workers=0, progress=False)
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def ours(token: str) -> list[int]:
    """Processes that carry a token in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):  # gone, or not ours to look at
                if f"{MARK}={token}".encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
    return found


class Driver:
    """A conversion in a process of its own, which marks all its children."""

    def __init__(self, root: Path, out: Path, workers: int) -> None:
        self.token = uuid.uuid4().hex
        self.folder = out / SPLIT
        environment = os.environ | {"PYTHONPATH": str(PROJECT), MARK: self.token}
        self.process = subprocess.Popen(
            [sys.executable, "-c", CONVERT, str(root), str(out), str(workers)],
            env=environment,
            stderr=subprocess.PIPE,
        )

    def wait(self) -> None:
        _, errors = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, errors.decode()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    @property
    def done(self) -> int:
        return len(list((self.folder / ".job/done").glob("u*.json")))

    def run_until(self, point: float, units: int, start_s: float) -> bool:
        """Let it work up to a share of its way: starting up, the units, finalising; False if it ended."""
        while not (self.folder / ".job/fingerprint.json").exists() and self.process.poll() is None:
            time.sleep(0.002)
        stage, rest = divmod(point * (units + 2), 1)
        if stage == 0:
            time.sleep(rest * start_s)
        while self.done < min(stage, units) and self.process.poll() is None:
            time.sleep(0.001)
        time.sleep(rest * 0.03 * (stage > 0))
        return self.process.poll() is None


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
class TestKilled:
    @pytest.fixture
    def root(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Eight units of three images."""
        monkeypatch.setattr(coco, "IMAGES_PER_UNIT", 3)
        images = [image_row(1 + i, width=320, height=240) for i in range(24)]
        people = [person(100 + i, 1 + i % 24, bbox=[100.0, 60.0, 60.0, 120.0]) for i in range(48)]
        return write_tree(tmp_path / "coco", images, people)

    @pytest.fixture
    def drive(self) -> Iterator[Callable[..., Driver]]:
        drivers: list[Driver] = []

        def start(root: Path, out: Path, workers: int) -> Driver:
            drivers.append(Driver(root, out, workers))
            return drivers[-1]

        yield start
        for driver in drivers:
            if driver.process.poll() is None:
                driver.kill()

    def check(
        self, root: Path, tmp_path: Path, drive: Callable[..., Driver], points: list[float], workers: int
    ) -> None:
        reference = run(root, tmp_path / "calm", images="crop")
        began = time.monotonic()
        calm = drive(root, tmp_path / "calm, too", workers)
        calm.run_until(1 / 10, 8, 0.0)
        start_s = time.monotonic() - began
        calm.wait()
        assert contents(calm.folder) == contents(reference)
        unfinished = 0
        for number, point in enumerate(points):
            driver = drive(root, tmp_path / f"killed {number}", workers)
            alive = driver.run_until(point, 8, start_s)
            driver.kill()
            unfinished += alive and not (driver.folder / ".job/finalised.json").exists()
            if driver.folder.exists():
                check_finals(driver.folder, reference)
            folder = run(root, tmp_path / f"killed {number}", images="crop")  # at once, and by no force
            assert contents(folder) == contents(reference), f"killed at {point:.2f}"
            assert leftovers(folder) == []
            assert job_status(folder).state == "finished"
            limit = time.monotonic() + 5
            while (left := ours(driver.token)) and time.monotonic() < limit:
                time.sleep(0.01)
            assert left == [], "no process outlives the driver"
            assert contents(folder) == contents(reference), "and none has written since"
            shutil.rmtree(tmp_path / f"killed {number}")
        assert unfinished >= len(points) // 2, "most of them were killed at work"

    def test_at_three_points(self, root: Path, tmp_path: Path, drive: Callable[..., Driver]) -> None:
        chance = random.Random(3)
        self.check(root, tmp_path, drive, [chance.uniform(a, a + 0.3) for a in (0.05, 0.35, 0.6)], workers=2)

    @pytest.mark.slow
    @pytest.mark.parametrize("workers", [0, 1, 2])
    def test_at_ten_points(
        self, root: Path, tmp_path: Path, drive: Callable[..., Driver], workers: int
    ) -> None:
        chance = random.Random(10 + workers)
        self.check(root, tmp_path, drive, [(i + chance.random()) / 10 for i in range(10)], workers)

    def kill_at_writes(self, tmp_path: Path, numbers: range) -> None:
        """At the n-th write, half of which is still on its way to the disk."""
        root = small(tmp_path / "coco")
        reference = run(root, tmp_path / "calm")
        found = subprocess.run(
            [sys.executable, "-c", KILL_AT_WRITES, str(root), str(tmp_path), *map(str, numbers)],
            env=os.environ | {"PYTHONPATH": str(PROJECT)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert found.stdout.split() == [str(int(signal.SIGKILL))] * len(numbers), found.stderr
        for number in numbers:
            folder = tmp_path / str(number) / SPLIT
            check_finals(folder, reference)
            assert leftovers(folder) != []
            run(root, tmp_path / str(number))
            assert contents(folder) == contents(reference), f"killed at write {number}"
            assert leftovers(folder) == []
            shutil.rmtree(tmp_path / str(number))

    def test_at_some_writes(self, tmp_path: Path) -> None:
        self.kill_at_writes(tmp_path, range(1, 300, 19))

    @pytest.mark.slow
    def test_at_every_write(self, tmp_path: Path) -> None:
        self.kill_at_writes(tmp_path, range(1, 300))

    def test_a_second_driver_is_refused_while_the_first_lives(
        self, root: Path, tmp_path: Path, drive: Callable[..., Driver]
    ) -> None:
        from hmtools.core.errors import LockedError

        driver = drive(root, tmp_path / "out", 1)
        assert driver.run_until(0.1, 8, 0.0)
        with pytest.raises(LockedError, match=f"pid {driver.process.pid}, since .*--break-lock"):
            run(root, tmp_path / "out", images="crop")
        driver.wait()
        assert contents(driver.folder) == contents(run(root, tmp_path / "calm", images="crop"))
