"""Files that are whole or absent: write to a temporary name, fsync, rename.

Temporary names are ``.<name>.<host>.<pid>.tmp`` in the target's own folder: a rename never crosses file
systems, processes of several nodes never share one, and a later run can sweep what a dead process left
(:func:`sweep`).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import re
import socket
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["AtomicFile", "file_sha256", "fsync_dir", "sweep", "write_bytes", "write_json", "write_text"]

_HOST = socket.gethostname().partition(".")[0] or "localhost"
_TEMPORARY = re.compile(r"^\..+\.(?P<pid>\d+)\.tmp$")
_BUFFER = 1 << 20


class AtomicFile(io.RawIOBase):
    """A binary, write-only file that appears under ``path`` only when :meth:`commit` succeeds.

    Used as a context manager it commits on a clean exit and removes the temporary file on an exception.
    ``sha256`` and ``size`` describe what was written; hashing runs along with the writing, so a shard is
    never read back for its checksum.

    Raises:
        OSError: as the file system raises it. Nothing new is under the final name then, unless it was the
            last step that failed, making the rename durable: then the whole file is.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.temporary = self.path.with_name(f".{self.path.name}.{_HOST}.{os.getpid()}.tmp")
        self._hash = hashlib.sha256()
        self.size = 0
        self._file = self.temporary.open("wb", buffering=_BUFFER)

    def writable(self) -> bool:
        """Always true: this file is for writing."""
        return True

    def write(self, data: Any) -> int:  # any bytes-like object
        """Append ``data`` (bytes-like) and return its length in bytes."""
        view = memoryview(data)
        view = view.cast("B") if view.nbytes else memoryview(b"")  # a shape with a zero in it cannot be cast
        self._file.write(view)
        self._hash.update(view)
        self.size += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        """Bytes written so far."""
        return self.size

    def flush(self) -> None:
        """Hand buffered bytes to the operating system."""
        if not self._file.closed:
            self._file.flush()

    @property
    def sha256(self) -> str:
        """Hex digest of everything written so far."""
        return self._hash.hexdigest()

    def commit(self) -> None:
        """Make the bytes durable, then visible under the final name."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self.temporary.replace(self.path)
        except BaseException:
            self.discard()
            raise
        fsync_dir(self.path.parent)
        super().close()

    def discard(self) -> None:
        """Drop the temporary file; the final name is untouched."""
        with contextlib.suppress(
            OSError
        ):  # closing flushes: on a full disk that raises, and closes all the same
            self._file.close()
        self.temporary.unlink(missing_ok=True)
        super().close()

    def close(self) -> None:
        """Close without committing (what is left over counts as discarded)."""
        file = getattr(self, "_file", None)  # absent when it could not be opened
        if file is not None and not self.closed and not file.closed:
            self.discard()

    def __enter__(self) -> AtomicFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.discard()


def write_bytes(path: str | Path, data: bytes) -> str:
    """Write ``data`` atomically; return its sha256."""
    with AtomicFile(path) as file:
        file.write(data)
    return file.sha256


def write_text(path: str | Path, text: str) -> str:
    """Write UTF-8 ``text`` atomically; return its sha256."""
    return write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any) -> str:
    """Write ``value`` as sorted, indented JSON with a final newline; NaN is refused (ValueError)."""
    return write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def fsync_dir(folder: Path) -> None:
    """Make renames inside ``folder`` durable where the file system supports it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}:
            raise
    finally:
        os.close(descriptor)


def file_sha256(path: str | Path) -> str:
    """Hex sha256 of a file, read in 1 MiB pieces."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sweep(folder: Path) -> list[Path]:
    """Remove the temporary files below ``folder`` (not in it recursively) and return them.

    Only the holder of the job's lease may call this: it does not ask whether a process still lives, because
    that cannot be asked of another host. A writer that lost its right to write and does so all the same, on a
    node that was given up, finds its file gone and cannot rename it over a newer one.
    """
    removed = []
    for path in sorted(folder.glob(".*.tmp")):
        if _TEMPORARY.match(path.name):
            path.unlink(missing_ok=True)
            removed.append(path)
    return removed
