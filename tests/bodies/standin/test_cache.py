from __future__ import annotations

import fcntl
import json
import logging
import os
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest

from hmtools.bodies.standin import cache
from hmtools.core.errors import AssetError

FAKE_FILES = """
import sys, time, types
from pathlib import Path

def write_standin(out):
    with (Path(sys.argv[1]) / "calls").open("a") as calls:
        calls.write("made\\n")
    (out / "first").write_text("half")
    time.sleep(0.7)
    (out / "STANDIN.json").write_text("{}")

fake = types.ModuleType("hmtools.bodies.standin.files")
fake.write_standin = write_standin
sys.modules["hmtools.bodies.standin.files"] = fake
from hmtools.bodies.standin.cache import standin_dir
found = standin_dir()
assert (found / "first").exists() and (found / "STANDIN.json").exists()
print(found)
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "hmtools"


def fake_files(monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> list[Path]:
    """Put a quick generator in the place of the real one; returns the list of its calls."""
    made: list[Path] = []

    def write_standin(out: Path) -> None:
        made.append(out)
        (out / "part").write_text("x")
        if error is not None:
            raise error
        (out / cache.MARK_FILE).write_text("{}")

    module = types.ModuleType("hmtools.bodies.standin.files")
    module.__dict__["write_standin"] = write_standin
    monkeypatch.setitem(sys.modules, "hmtools.bodies.standin.files", module)
    return made


def test_made_once_under_a_name_of_its_own(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = fake_files(monkeypatch)
    first = cache.standin_dir()
    assert first == root / f"standin-{cache.standin_hash()[:12]}"
    assert cache.standin_dir() == first
    assert len(made) == 1
    assert made[0] != first
    assert not made[0].exists()
    assert first.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in root.iterdir() if path.name.endswith(".tmp")] == []


def test_the_hash_is_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = cache.standin_hash()
    assert len(whole) == 64
    assert int(whole, 16) >= 0
    monkeypatch.setattr(cache, "FORMAT_VERSION", cache.FORMAT_VERSION + 1)
    cache.standin_hash.cache_clear()
    try:
        assert cache.standin_hash() != whole
    finally:
        monkeypatch.undo()
        cache.standin_hash.cache_clear()
    assert cache.standin_hash() == whole


def test_a_relative_cache_home_counts_as_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "relative/place"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache.cache_root() == tmp_path / ".cache" / "hmtools"


def test_nothing_half_made_is_left_behind(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_files(monkeypatch, error=RuntimeError("broken"))
    with pytest.raises(RuntimeError, match="broken"):
        cache.standin_dir()
    assert [path.name for path in root.iterdir() if not path.name.endswith(".lock")] == []
    fake_files(monkeypatch)
    assert (cache.standin_dir() / "part").exists()


def test_a_full_disk_is_explained(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_files(monkeypatch, error=OSError(28, "No space left on device"))
    with pytest.raises(AssetError, match=r"XDG_CACHE_HOME.*room"):
        cache.standin_dir()
    assert not any(root.glob("standin-*"))


def test_leftovers_of_the_dead_are_swept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_files(monkeypatch)
    name = f".standin-{cache.standin_hash()[:12]}"
    old, young = root / f"{name}.aaa.tmp", root / f"{name}.bbb.tmp"
    for folder in (old, young):
        folder.mkdir(parents=True)
        (folder / "part").write_text("x")
    os.utime(old, (time.time() - 7200.0,) * 2)
    cache.standin_dir()
    assert not old.exists()
    assert young.exists()


def test_whoever_comes_second_takes_what_is_there(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    final = root / f"standin-{cache.standin_hash()[:12]}"

    def write_standin(out: Path) -> None:
        (out / cache.MARK_FILE).write_text("mine")
        final.mkdir()  # as if locks meant nothing here and another process was faster
        (final / cache.MARK_FILE).write_text("theirs")

    module = types.ModuleType("hmtools.bodies.standin.files")
    module.__dict__["write_standin"] = write_standin
    monkeypatch.setitem(sys.modules, "hmtools.bodies.standin.files", module)
    assert (cache.standin_dir() / cache.MARK_FILE).read_text() == "theirs"
    assert [path.name for path in root.iterdir() if path.name.endswith(".tmp")] == []


def test_file_systems_without_locks_do(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    made = fake_files(monkeypatch)
    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert cache.standin_dir().is_dir()
    assert len(made) == 1


def test_two_processes_at_once_make_one(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", FAKE_FILES, str(tmp_path)]
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    printed = [process.communicate(timeout=60)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(set(printed)) == 1
    assert (tmp_path / "calls").read_text() == "made\n"


def test_waiting_is_said(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = fake_files(monkeypatch)
    monkeypatch.setattr(cache, "_MESSAGE_AFTER_S", 0.05)
    monkeypatch.setattr(cache, "_POLL_S", 0.02)
    root.mkdir(parents=True)
    lock = (root / f".standin-{cache.standin_hash()[:12]}.lock").open("a")
    fcntl.flock(lock.fileno(), fcntl.LOCK_EX)
    timer = threading.Timer(0.4, lock.close)
    timer.start()
    with caplog.at_level(logging.WARNING, logger="hmtools"):
        cache.standin_dir()
    timer.join()
    assert len(made) == 1
    assert [
        record.message for record in caplog.records if "waiting for another process" in record.message
    ] != []
    assert len(caplog.records) == 1


def test_the_real_one_is_marked() -> None:
    mark = json.loads((cache.standin_dir() / cache.MARK_FILE).read_text())
    assert mark["generator"] == cache.standin_hash()
