from __future__ import annotations

import errno
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from hmtools.core.errors import LockedError
from hmtools.engine import lease
from hmtools.engine.lease import Lease, Owner, acquire, process_start, read_owner
from tests.engine import engine_units


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "out" / ".job"
    made.mkdir(parents=True)
    return made


@pytest.fixture
def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


@pytest.fixture
def zombie() -> Iterator[int]:
    """A process that ended and that nobody has asked about yet."""
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.read()  # the end of file comes a moment before the end of the process
    stat = Path(f"/proc/{process.pid}/stat")
    deadline = time.monotonic() + 5
    while stat.exists() and ") Z " not in stat.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    yield process.pid
    process.stdout.close()
    process.wait()


def put(folder: Path, **changes: Any) -> Owner:
    """Write a lease as another process would have."""
    owner = replace(Owner.here(), **changes)
    (folder / "lease.json").write_text(json.dumps(asdict(owner)))
    return owner


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_acquire_and_release(folder: Path) -> None:
    with acquire(folder) as held:
        owner = read_owner(folder)
        assert owner is not None
        assert owner.token == held.owner.token
        assert (owner.pid, owner.start) == (os.getpid(), process_start(os.getpid()))
        assert not owner.stale()
        assert held.took_over is None
        assert leftovers(folder) == ["lease.json"]
        held.check()
    assert leftovers(folder) == []
    assert read_owner(folder) is None


def test_live_lease_is_refused_with_host_pid_and_time(folder: Path) -> None:
    with acquire(folder) as held, pytest.raises(LockedError) as caught:
        acquire(folder)
    message = str(caught.value)
    for part in (held.owner.host, f"pid {os.getpid()}", held.owner.since, "--break-lock", str(folder.parent)):
        assert part in message
    assert leftovers(folder) == []


@pytest.mark.parametrize(
    ("changes", "live"),
    [
        pytest.param({}, True, id="our own process"),
        pytest.param({"pid": 1 << 30, "heartbeat": time.time() - 299 + 60}, False, id="gone pid here"),
        pytest.param({"start": 1}, False, id="pid given out again"),
        pytest.param({"host": "elsewhere", "pid": 1 << 30}, True, id="other host"),
        pytest.param({"boot_id": "another", "pid": 1 << 30}, True, id="other boot"),
        pytest.param({"pid_namespace": "pid:[1]", "pid": 1 << 30}, True, id="other container"),
        pytest.param({"host": "elsewhere", "heartbeat": time.time() - 400}, False, id="other host, silent"),
        pytest.param({"heartbeat": time.time() - 400}, False, id="silent"),
        pytest.param({"host": "elsewhere", "heartbeat": time.time() + 9e5}, True, id="clock ahead"),
    ],
)
def test_which_leases_are_stale(folder: Path, changes: dict[str, Any], live: bool) -> None:
    before = put(folder, **changes)
    if live:
        with pytest.raises(LockedError):
            acquire(folder)
        assert read_owner(folder) == before
        with acquire(folder, break_lock=True) as held:
            assert held.took_over == before
    else:
        with acquire(folder) as held:
            assert held.took_over == before
            assert leftovers(folder) == ["lease.json"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_processes_that_are_gone(dead_pid: int, zombie: int) -> None:
    assert process_start(dead_pid) is None
    assert process_start(zombie) is None
    assert process_start(os.getpid()) == process_start(os.getpid()) != -1
    assert process_start(os.getppid()) is not None


@pytest.mark.parametrize("content", [b"", b"[]"])
def test_unreadable_lease_is_live_until_it_is_old(folder: Path, content: bytes) -> None:
    path = folder / "lease.json"
    path.write_bytes(content)
    with pytest.raises(LockedError, match="unknown writer"):
        acquire(folder)
    old = time.time() - 400
    os.utime(path, (old, old))
    with acquire(folder) as held:
        assert held.took_over is not None


def test_heartbeat_renews_in_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_S", 0.02)
    with acquire(folder):
        before, size = read_owner(folder), (folder / "lease.json").stat().st_size
        assert before is not None
        deadline = time.monotonic() + 5
        while (found := read_owner(folder)) is not None and found.heartbeat <= before.heartbeat:
            assert time.monotonic() < deadline, "no heartbeat came"
            time.sleep(0.01)
        assert found is not None
        assert replace(found, heartbeat=0.0) == replace(before, heartbeat=0.0)
        assert (folder / "lease.json").stat().st_size == size


def test_owner_notices_a_broken_lock(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_S", 0.02)
    with acquire(folder) as first, acquire(folder, break_lock=True) as second:
        deadline = time.monotonic() + 5
        while not first.lost and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(LockedError, match="was taken by host"):
            first.check()
        second.check()
        first.release()  # must not free what is no longer ours
        second.check()
    assert leftovers(folder) == []


def test_owner_notices_a_removed_lock(folder: Path) -> None:
    with acquire(folder) as held:
        (folder / "lease.json").unlink()
        with pytest.raises(LockedError, match="was removed"):
            held.check()
    assert leftovers(folder) == []


def test_slow_contender_does_no_harm(folder: Path) -> None:
    """It judged a lease that another one has replaced in the meantime."""
    stale = put(folder, pid=1 << 30)
    with acquire(folder) as held:
        assert not lease._replace(folder, stale, Owner.here())
        held.check()
        assert leftovers(folder) == ["lease.json"]


def test_only_the_holder_that_was_found_is_broken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two that break a lock at once, the second does not break the first."""
    dead = Owner.here()
    answers = iter([dead])
    read = lease._read
    with acquire(folder) as held:
        monkeypatch.setattr(lease, "_read", lambda path: next(answers, None) or read(path))
        with pytest.raises(LockedError):
            acquire(folder, break_lock=True)
        held.check()


def claim(folder: Path, token: str, **changes: Any) -> Path:
    """Claim a lease as another process would have."""
    path = folder / f"lease.{token}.claim"
    path.write_text(json.dumps(asdict(replace(Owner.here(), **changes))))
    return path


def test_only_one_contender_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_ATTEMPTS", 3)
    stale = put(folder, pid=1 << 30)
    path = claim(folder, stale.token)
    with pytest.raises(LockedError, match="too many processes"):
        acquire(folder)
    assert read_owner(folder) == stale
    path.unlink()
    acquire(folder).release()


def test_contender_that_died_is_no_obstacle(folder: Path) -> None:
    claim(folder, put(folder, pid=1 << 30).token, pid=1 << 30)
    with acquire(folder) as held:
        claim(folder, held.owner.token, pid=1 << 30)
    assert leftovers(folder) == []


def test_claim_that_changed_hands_is_put_back(folder: Path) -> None:
    path = claim(folder, "t")
    lease._remove_claim(path, "of another one", "me")
    assert leftovers(folder) == ["lease.t.claim"]
    lease._remove_claim(path.with_name("lease.gone.claim"), "t", "me")


def test_late_heartbeat_does_not_write_over_a_new_holder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between reading the token and writing the heartbeat the lease changes hands."""
    with acquire(folder) as first:
        taken: list[Lease] = []

        def encode(owner: Owner) -> bytes:
            monkeypatch.undo()
            taken.append(acquire(folder, break_lock=True))
            return lease._encode(owner)

        monkeypatch.setattr(lease, "_encode", encode)
        first.renew()
        (second,) = taken
        second.check()
        with pytest.raises(LockedError):
            first.check()
        second.release()


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_file_system_without_links(folder: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    put(folder, pid=1 << 30)
    with acquire(folder) as held:
        held.check()
        with pytest.raises(LockedError):
            acquire(folder)
        assert not lease._create(folder / "lease.json", Owner.here())
    assert leftovers(folder) == []


def test_link_made_but_reported_as_failed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(self: Path, target: Path) -> None:
        os.link(target, self)  # fails where the name is taken, as it should
        raise FileExistsError(errno.EEXIST, "sent again by the network file system")

    monkeypatch.setattr(Path, "hardlink_to", link)
    with acquire(folder) as held:
        held.check()


def test_other_errors_of_link_are_raised(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with pytest.raises(OSError, match="broken disk"):
        acquire(folder)
    assert leftovers(folder) == []


def test_renewal_that_fails_is_no_loss(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with acquire(folder) as held:
        with monkeypatch.context() as patch:

            def refuse(self: Path, *_: Any, **__: Any) -> None:
                raise OSError(errno.EIO, "server away")

            patch.setattr(Path, "open", refuse)
            held.check()
        assert held.lost == ""


def test_old_drafts_are_removed(folder: Path) -> None:
    old, new = folder / "lease.a.new", folder / "lease.b.old"
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    with acquire(folder):
        assert leftovers(folder) == ["lease.b.old", "lease.json"]


def contend(folder: Path, count: int, break_lock: bool) -> int:
    """Let ``count`` threads take the lease at the same time; return how many hold it."""
    barrier = threading.Barrier(count)
    held: list[Lease] = []

    def run() -> None:
        barrier.wait()
        try:
            held.append(acquire(folder, break_lock=break_lock))
        except LockedError:
            return

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ours = 0
    for one in held:
        one.renew()
        ours += not one.lost
        one.release()
    if not break_lock:
        assert len(held) == ours, "somebody held the lease and lost it"
    return ours


@pytest.mark.parametrize("stale", [False, True])
def test_one_of_many_contenders_wins(folder: Path, stale: bool) -> None:
    for _ in range(15):
        if stale:
            put(folder, pid=1 << 30)
        assert contend(folder, 6, break_lock=False) == 1
        assert leftovers(folder) == []


def test_one_of_many_breakers_wins(folder: Path) -> None:
    for _ in range(10):
        put(folder, host="elsewhere")
        assert contend(folder, 4, break_lock=True) == 1
        assert leftovers(folder) == []


def test_processes_exclude_each_other(folder: Path) -> None:
    (folder / "counter").write_text("0")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=engine_units.take_turns, args=(folder, 20)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    assert (folder / "counter").read_text() == "60"


def test_systems_without_proc(folder: Path, dead_pid: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(self: Path, *_: Any, **__: Any) -> str:
        raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "read_text", absent)
    monkeypatch.setattr(Path, "readlink", absent)
    monkeypatch.setattr(Path, "exists", lambda self: False)
    assert process_start(os.getpid()) == -1
    assert process_start(dead_pid) is None
    owner = Owner.here()
    assert (owner.boot_id, owner.pid_namespace, owner.start) == ("", "", -1)
    assert not owner.stale()
    assert replace(owner, pid=dead_pid).stale()

    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert process_start(1) == -1, "it exists and belongs to somebody else"
