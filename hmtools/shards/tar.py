"""Tar archives: a deterministic writer that knows the offset of every member, and a careful reader."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from hmtools.core.atomic import AtomicFile
from hmtools.core.errors import SchemaError, UnsafeFileError

__all__ = ["TarWriter", "iter_members"]

_BLOCK = 512
_ZEROS = bytes(_BLOCK)
_NAME, _OCTAL_LIMIT = 100, 8**11  # what fits into the fields of a header
_PLAIN = tarfile.TarInfo().tobuf(tarfile.GNU_FORMAT)
_TEMPLATE = (
    _PLAIN[:148] + b" " * 8 + _PLAIN[156:]
)  # the checksum is that of a header with blanks in its place
# What tarfile raises on hostile headers.
_DAMAGE = (tarfile.TarError, ValueError, OverflowError, RecursionError)


class TarWriter:
    """Appends members with fixed metadata (mode 0644, no owner, time 0) to an atomic file."""

    def __init__(self, file: AtomicFile) -> None:
        self.file = file

    def add(self, name: str, data: bytes) -> int:
        """Append one member and return the offset of its first data byte."""
        self.file.write(_header(name, len(data)))
        offset = self.file.size
        self.file.write(data)
        if len(data) % _BLOCK:
            self.file.write(_ZEROS[: -len(data) % _BLOCK])
        return offset

    def size_with(self, members: Sequence[tuple[str, bytes]]) -> int:
        """Bytes that the finished archive has at most if these (name, data) are added."""
        # Besides data: a header, a block of padding, and two blocks and its own bytes for a long name.
        room = sum(4 * _BLOCK + 4 * len(name) + len(data) for name, data in members)
        return self.file.size + room + 2 * _BLOCK

    def finish(self) -> None:
        """Append the two zero blocks that end an archive."""
        self.file.write(_ZEROS * 2)


def _header(name: str, size: int) -> bytes:
    """The header of a plain file, as tarfile makes it."""
    encoded = name.encode("utf-8", "surrogateescape")
    if len(encoded) > _NAME or size >= _OCTAL_LIMIT:
        info = tarfile.TarInfo(name)
        info.size = size
        # GNU format: long names need one extra header, and every tar reader of the last 30 years knows it
        return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    # Three fields differ between plain files, and filling them in takes a fifth of tarfile's time.
    header = bytearray(_TEMPLATE)
    header[: len(encoded)] = encoded
    header[124:135] = b"%011o" % size
    header[148:155] = b"%06o\0" % sum(header)
    return bytes(header)


def iter_members(path: Path) -> Iterator[tuple[str, int, bytes]]:
    """Yield (name, offset of the data, data) of every member, in order.

    Raises:
        UnsafeFileError: for a link, a device, a sparse file or a name that leaves the archive's folder.
        SchemaError: for a truncated or damaged archive; at the latest when the members are used up.
    """
    size, end = path.stat().st_size, 0
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                _refuse_unsafe(path, member)
                end = member.offset_data + -(-member.size // _BLOCK) * _BLOCK
                if not member.offset_data <= end <= size:
                    raise SchemaError(f"{path}: ends inside member {member.name!r}; copy or convert it again")
                stream = archive.extractfile(member)
                yield member.name, member.offset_data, stream.read() if stream is not None else b""
    except _DAMAGE as error:
        raise SchemaError(f"{path}: damaged tar archive ({error}); copy or convert it again") from error
    _check_end(path, end)


def _refuse_unsafe(path: Path, member: tarfile.TarInfo) -> None:
    name = PurePosixPath(member.name)
    plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and member.sparse is None
    if not plain or name.is_absolute() or ".." in name.parts or "\\" in member.name:
        raise UnsafeFileError(
            f"{path}: member {member.name!r} is not a plain file inside the archive; "
            "the tar was not written by hmtools and is refused"
        )


def _check_end(path: Path, end: int) -> None:
    """Refuse an archive without its end marker: tarfile ends at a damaged or absent header as well."""
    rest = zeros = 0
    with path.open("rb") as file:
        file.seek(end)
        while piece := file.read(1 << 20):
            rest += len(piece)
            zeros += piece.count(0)
    if zeros != rest or rest < 2 * _BLOCK:
        raise SchemaError(
            f"{path}: the archive does not end at byte {end} as it should, members are missing or damaged; "
            "copy or convert it again"
        )
