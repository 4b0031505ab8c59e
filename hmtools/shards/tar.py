"""Tar archives: a deterministic writer that knows the offset of every member, and a careful reader."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from hmtools.core.atomic import AtomicFile
from hmtools.core.errors import SchemaError, UnsafeFileError

__all__ = ["TarWriter", "iter_members"]

_BLOCK = 512
_ZEROS = bytes(_BLOCK)


class TarWriter:
    """Appends members with fixed metadata (mode 0644, no owner, time 0) to an atomic file."""

    def __init__(self, file: AtomicFile) -> None:
        self.file = file

    def add(self, name: str, data: bytes) -> int:
        """Append one member and return the offset of its first data byte."""
        info = tarfile.TarInfo(name)
        info.size = len(data)
        # GNU format: long names need one extra header, and every tar reader of the last 30 years knows it
        self.file.write(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
        offset = self.file.size
        self.file.write(data)
        if len(data) % _BLOCK:
            self.file.write(_ZEROS[: -len(data) % _BLOCK])
        return offset

    def finish(self) -> None:
        """Append the two zero blocks that end an archive."""
        self.file.write(_ZEROS * 2)


def iter_members(path: Path) -> Iterator[tuple[str, int, bytes]]:
    """Yield (name, offset of the data, data) of every member, in order.

    Raises:
        UnsafeFileError: for a link, a device or a name that leaves the archive's folder.
        SchemaError: for a truncated or damaged archive.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                if not member.isreg() or name.is_absolute() or ".." in name.parts or "\\" in member.name:
                    raise UnsafeFileError(
                        f"{path}: member {member.name!r} is not a plain file inside the archive; "
                        "the tar was not written by hmtools and is refused"
                    )
                stream = archive.extractfile(member)
                data = stream.read() if stream is not None else b""
                if len(data) != member.size:
                    raise SchemaError(f"{path}: ends inside member {member.name!r}; copy or convert it again")
                yield member.name, member.offset_data, data
    except tarfile.TarError as error:
        raise SchemaError(f"{path}: damaged tar archive ({error}); copy or convert it again") from error
