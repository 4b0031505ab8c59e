"""One writer per job: a lease file with a heartbeat, made, taken over and freed by link and rename only.

``flock`` is not used: on network file systems it may be local to a node or silently do nothing. What holds
everywhere is that ``link`` to a name and ``rename`` of a name succeed for exactly one contender.

A lease is stale when its heartbeat is older than five minutes, or at once when it was written on this machine
(same host, boot and pid namespace) by a process that is gone; a pid that was given out again does not count,
because the process start time is compared too. So is the lease of an earlier run of the Slurm job that we run
in: Slurm starts a job again only when its last run is over.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from hmtools.core.errors import LockedError

__all__ = ["HEARTBEAT_S", "STALE_S", "Lease", "Owner", "acquire", "process_start", "read_owner"]

HEARTBEAT_S = 30.0
STALE_S = 300.0
_NAME = "lease.json"
_NBYTES = 1024  # content is padded to this: a heartbeat overwrites in place and never changes the length
_ATTEMPTS = 200
_PAUSE_S = 0.01
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
_FULL = {errno.ENOSPC, errno.EDQUOT}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who holds a lease: the content of ``lease.json``.

    Attributes:
        host: host name.
        boot_id: the kernel's id of this boot ("" where there is none).
        pid_namespace: tells containers on one machine apart ("" where there is none).
        pid: process id of the driver.
        start: start time of that process in clock ticks since boot (-1 where unknown).
        slurm_job: id of the Slurm job (``61``) or array task (``61_3``) it runs in ("" = in none).
        slurm_cluster: name of that job's cluster: only there its id is unique.
        slurm_restarts: how often Slurm had started that job again.
        token: unique to this holding of the lease.
        since: when it was acquired, ISO 8601, UTC.
        heartbeat: last sign of life, seconds since the epoch by the holder's clock.
    """

    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    start: int
    slurm_job: str
    slurm_cluster: str
    slurm_restarts: int
    token: str
    since: str
    heartbeat: float

    @classmethod
    def here(cls) -> Owner:
        """Describe this process, with a new token."""
        job, cluster, restarts = _slurm()
        return cls(
            host=socket.gethostname(),
            boot_id=_boot_id(),
            pid_namespace=_pid_namespace(),
            pid=os.getpid(),
            start=-1 if (start := process_start(os.getpid())) is None else start,
            slurm_job=job,
            slurm_cluster=cluster,
            slurm_restarts=restarts,
            token=uuid.uuid4().hex,
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            heartbeat=time.time(),
        )

    def stale(self) -> bool:
        """Whether the holder is gone: silent for :data:`STALE_S`, or known to be dead."""
        job, cluster, restarts = _slurm()
        ours = job and (job, cluster) == (self.slurm_job, self.slurm_cluster)
        if time.time() - self.heartbeat > STALE_S or (ours and restarts > self.slurm_restarts):
            return True
        here = (socket.gethostname(), _boot_id(), _pid_namespace())
        return (self.host, self.boot_id, self.pid_namespace) == here and process_start(self.pid) != self.start

    @property
    def place(self) -> str:
        """Host, pid and Slurm job for a message: ``hm1, pid 4711, Slurm job 61_3``."""
        return f"{self.host}, pid {self.pid}" + (f", Slurm job {self.slurm_job}" if self.slurm_job else "")

    def describe(self) -> str:
        """Return place, start and last sign of life for a message."""
        if not self.token:
            return "an unknown writer (its lease file is unreadable)"
        age = max(0.0, time.time() - self.heartbeat)
        return f"host {self.place}, since {self.since} (last sign of life {age:.0f} s ago)"


def process_start(pid: int) -> int | None:
    """Return the start time of process ``pid`` in clock ticks since boot, or None when it is gone.

    A zombie is gone: it writes nothing any more, and where nobody reaps it would stay for ever.
    Without ``/proc`` the answer is -1 for a process that exists.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None if Path("/proc/self/stat").exists() else _probe(pid)
    state, *rest = stat[stat.rindex(")") + 2 :].split()  # the name in brackets may hold blanks and brackets
    return None if state in "ZX" else int(rest[18])


def _probe(pid: int) -> int | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return -1  # it exists and belongs to somebody else
    return -1


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _slurm() -> tuple[str, str, int]:
    """Job or array task, cluster and restarts of the Slurm job that this process runs in."""
    array, job, task, cluster, restarts = (
        os.environ.get(f"SLURM_{name}", "")
        for name in ("ARRAY_JOB_ID", "JOB_ID", "ARRAY_TASK_ID", "CLUSTER_NAME", "RESTART_COUNT")
    )
    return f"{array}_{task}" if array and task else job, cluster, int(restarts or 0)


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def read_owner(folder: Path) -> Owner | None:
    """Return the holder, live or stale, of the lease in ``folder`` (a ``.job`` folder); None = free."""
    return _read(folder / _NAME)


def _read(path: Path) -> Owner | None:
    for _ in range(5):
        try:
            raw, seen = path.read_bytes(), path.stat().st_mtime
        except FileNotFoundError:
            return None
        if (owner := _decode(raw)) is not None:
            return owner
        time.sleep(0.02)  # being written by a file system without links, see _publish
    # Unreadable and staying so: nobody can be told, so only time can make it stale.
    return Owner(
        host="", boot_id="?", pid_namespace="?", pid=0, start=-1, slurm_job="", slurm_cluster="",
        slurm_restarts=0, token="", since="?", heartbeat=seen,
    )  # fmt: skip


def _encode(owner: Owner) -> bytes:
    return json.dumps(asdict(owner)).encode().ljust(_NBYTES - 1) + b"\n"


def _decode(raw: bytes) -> Owner | None:
    try:
        value = json.loads(raw)
    except ValueError:
        return None
    if not isinstance(value, dict) or set(value) != {f.name for f in fields(Owner)} or not value["token"]:
        return None
    return Owner(**value)


class Lease:
    """A lease that this process holds; a daemon thread renews it until :meth:`release`.

    ``lost`` is empty while the lease is ours, else it says who took it. The thread finds out within
    :data:`HEARTBEAT_S`; :meth:`check` finds out now.
    """

    def __init__(self, folder: Path, owner: Owner, *, took_over: Owner | None = None) -> None:
        self.folder = folder
        self.owner = owner
        self.took_over = took_over
        self.lost = ""
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="hmtools-lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Return if the lease is still ours.

        Raises:
            LockedError: if it was broken or removed; the caller must stop writing.
        """
        self.renew()
        if self.lost:
            raise LockedError(self.lost)

    def renew(self) -> None:
        """Write a new heartbeat, or set ``lost`` when the file is no longer ours."""
        if self.lost:
            return
        path = self.folder / _NAME
        try:
            with path.open("r+b", buffering=0) as file:
                found = _decode(file.read(_NBYTES))
                if found is not None and found.token == self.owner.token:
                    # Through the handle whose token was just read: should the name be taken over in this
                    # moment, the bytes go to the old, nameless file and not over the new holder's.
                    file.seek(0)
                    file.write(_encode(replace(self.owner, heartbeat=time.time())))
                    return
            taker = found or _read(path)
        except FileNotFoundError:
            taker = None
        except OSError as error:
            log.warning("cannot renew the lease of %s: %s", self.folder.parent, error)
            return
        what = f"was taken by {taker.describe()}" if taker else f"({path}) was removed"
        self.lost = f"the lease of {self.folder.parent} {what}; stopped"

    def _beat(self) -> None:
        while not self._released.wait(HEARTBEAT_S) and not self.lost:
            self.renew()

    def release(self) -> None:
        """Stop the heartbeat and free the lease, if it is still ours."""
        self._released.set()
        self._thread.join()
        while not self.lost and (found := read_owner(self.folder)) and found.token == self.owner.token:
            try:
                with _claimed(self.folder, self.owner.token, self.owner) as ours:
                    if ours:
                        (self.folder / _NAME).unlink()
                        return
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                # no room for a claim: neither for ours nor for that of anybody who would take this lease away
                (self.folder / _NAME).unlink(missing_ok=True)
                return
            time.sleep(_PAUSE_S)  # somebody is breaking it, or died while doing so

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def acquire(folder: Path, *, break_lock: bool = False) -> Lease:
    """Take the lease in ``folder``, from its holder too when that one is gone.

    Args:
        folder: an existing ``.job`` folder.
        break_lock: take it from the holder found now even if that one looks alive.

    Raises:
        LockedError: if another live writer holds it; the message names host, pid and since when.
    """
    mine, path = Owner.here(), folder / _NAME
    breakable = holder.token if break_lock and (holder := _read(path)) else None
    for _ in range(_ATTEMPTS):
        found = _read(path)
        if found is None:
            if _create(path, mine):
                _clean(folder)
                return Lease(folder, mine)
        elif not found.stale() and found.token != breakable:
            raise LockedError(_refusal(folder, found))
        elif _replace(folder, found, mine):
            log.warning("taking over %s from %s", folder.parent, found.describe())
            _clean(folder)
            return Lease(folder, mine, took_over=found)
        time.sleep(_PAUSE_S)
    raise LockedError(f"{folder.parent}: too many processes want this job at once; start one of them")


def _refusal(folder: Path, holder: Owner) -> str:
    look = f" (`squeue -j {holder.slurm_job}`)" if holder.slurm_job else ""
    return (
        f"{folder.parent} is being written by {holder.describe()}. Wait until it ends; if you are sure that "
        f"it is gone{look}, rerun with --break-lock"
    )


def _replace(folder: Path, old: Owner, new: Owner) -> bool:
    """Put ``new`` in the place of ``old``; exactly one of several contenders gets True."""
    draft = folder / f"lease.{new.token}.new"
    with _claimed(folder, old.token, new) as ours:
        if ours:
            _write_new(draft, _encode(replace(new, heartbeat=time.time())))
            draft.replace(folder / _NAME)
    return ours


@contextlib.contextmanager
def _claimed(folder: Path, token: str, by: Owner) -> Iterator[bool]:
    """Give the right to take away the lease with ``token``: True for one process at a time, if it is there.

    Without it a slow contender, who judged an old lease, could take away the one that has replaced it. Each
    lease has a claim of its own name, so who claims late finds the lease gone and does nothing.
    """
    path = folder / f"lease.{token or 'unreadable'}.claim"
    if not _create(path, by):
        if (holder := _read(path)) is not None and holder.stale():
            _remove_claim(path, holder.token, by.token)
        yield False
        return
    try:
        found = _read(folder / _NAME)
        yield found is not None and found.token == token
    finally:
        path.unlink(missing_ok=True)


def _remove_claim(path: Path, token: str, by: str) -> None:
    """Remove the claim of a process that died with it, unless it is another one by now."""
    moved = path.with_name(f"lease.{by}.old")
    with contextlib.suppress(FileNotFoundError):
        path.rename(moved)
        if (found := _read(moved)) is not None and found.token != token:
            _link(moved, path)
        moved.unlink()


def _create(path: Path, owner: Owner) -> bool:
    """Create a lease or claim if there is none of that name; one of several contenders gets True."""
    draft = path.with_name(f"lease.{owner.token}.new")
    try:
        _write_new(draft, _encode(replace(owner, heartbeat=time.time())))
        return _link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _link(source: Path, target: Path) -> bool:
    """Give ``source`` the additional name ``target``; False if that name is taken."""
    try:
        target.hardlink_to(source)
    except OSError as error:
        with contextlib.suppress(OSError):
            if target.samefile(source):  # a network file system may fail to report a link it made
                return True
        if isinstance(error, FileExistsError):
            return False
        if error.errno not in _NO_LINKS:
            raise
    else:
        return True
    try:  # no hard links here: readers may see the file while it is being written, and wait (see _read)
        _write_new(target, source.read_bytes())
    except FileExistsError:
        return False
    return True


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _clean(folder: Path) -> None:
    """Remove what contenders that were killed in the middle left behind."""
    for kind in ("new", "old", "claim"):
        for path in folder.glob(f"lease.*.{kind}"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > STALE_S:
                    path.unlink()
