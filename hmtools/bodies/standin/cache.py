"""The stand-in body in the user's cache: made once, found again by a hash of the code that makes it."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hmtools.core.errors import AssetError

__all__ = ["FORMAT_VERSION", "MARK_FILE", "cache_root", "standin_dir", "standin_hash"]

FORMAT_VERSION = 1
"""Raised when the files change though this package's code does not, e.g. for a change elsewhere."""

MARK_FILE = "STANDIN.json"
"""Written last: a folder that has it is whole."""

_POLL_S = 0.2
_MESSAGE_AFTER_S = 5.0
_LEFTOVER_AFTER_S = 3600.0

log = logging.getLogger(__name__)


@functools.cache
def standin_hash() -> str:
    """Hash of the code that makes the stand-in.

    Returns:
        Hex sha256 over the format version and the source files of this package; it does not depend on the
        versions of NumPy and SciPy, nor on the machine.
    """
    digest = hashlib.sha256(f"{FORMAT_VERSION}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(f"\0{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def cache_root() -> Path:
    """Folder of all that hmtools keeps for the user: ``$XDG_CACHE_HOME/hmtools`` or ``~/.cache/hmtools``."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(named) if Path(named).is_absolute() else Path.home() / ".cache"
    return base / "hmtools"


def standin_dir() -> Path:
    """Folder of the stand-in body, made in the user's cache if it is not there yet (under a minute, 0.5 GB).

    Several processes may call it at once: one makes it, the others wait and say so after 5 s. Nobody ever
    sees half a folder, for it is made under another name and renamed.

    Returns:
        A folder with ``smplx/``, ``smpl/``, ``smplh/`` and ``transfer/``. Do not write into it.

    Raises:
        AssetError: the cache cannot be written.
    """
    final = cache_root() / f"standin-{standin_hash()[:12]}"
    if (final / MARK_FILE).is_file():
        return final
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(final):
            if not (final / MARK_FILE).is_file():
                _make(final)
    except OSError as error:
        raise AssetError(
            f"the stand-in body could not be made in {final.parent} ({error}); it needs 0.6 GB there. Set "
            "XDG_CACHE_HOME to a folder with room that you may write"
        ) from error
    return final


@contextlib.contextmanager
def _one_at_a_time(final: Path) -> Iterator[None]:
    """Hold a lock file while the folder is made.

    ``flock`` is enough although it means nothing on some network file systems: it goes away with its process,
    and it only saves work. What keeps the folder whole is the rename; two makers at once would write the same
    bytes, and the second one's rename fails.
    """
    lock = final.with_name(f".{final.name}.lock")
    with lock.open("a") as file:
        began, told = time.monotonic(), False
        while not _try_lock(file.fileno()):
            if not told and time.monotonic() - began > _MESSAGE_AFTER_S:
                log.warning("waiting for another process to make the stand-in body in %s", final)
                told = True
            time.sleep(_POLL_S)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks: see above
    return True


def _make(final: Path) -> None:
    from hmtools.bodies.standin.files import write_standin

    for old in final.parent.glob(f".{final.name}.*.tmp"):
        if time.time() - old.stat().st_mtime > _LEFTOVER_AFTER_S:
            shutil.rmtree(old, ignore_errors=True)
    log.info("making the stand-in body in %s", final)
    began = time.monotonic()
    temporary = Path(tempfile.mkdtemp(prefix=f".{final.name}.", suffix=".tmp", dir=final.parent))
    try:
        temporary.chmod(0o755)
        write_standin(temporary)
        if not (final / MARK_FILE).is_file():
            temporary.rename(final)
    except OSError:
        if not (final / MARK_FILE).is_file():
            raise  # otherwise somebody else was faster
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    log.info("the stand-in body took %.0f s", time.monotonic() - began)
