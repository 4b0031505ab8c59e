"""How many rows each record batch of an Arrow file has, without opening the batches.

pyarrow tells it of opened batches only: 20 microseconds each, and whole pages of the file are mapped, so that
millions of rows take seconds and gigabytes of address space to open. What is needed stands in a few bytes of
each batch's header. Offsets are those of the Arrow columnar format, version 5 (File.fbs, Message.fbs), in
the encoding of FlatBuffers.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from hmtools.core.errors import SchemaError

__all__ = ["batch_lengths"]

_MAGIC = b"ARROW1"
_TAIL = 4 + len(_MAGIC)  # size of the footer, magic
_BLOCKS = 3  # field of Footer: recordBatches
_BLOCK = struct.Struct("<qi4xq")  # offset, metaDataLength, bodyLength
_HEADER = 2  # field of Message: header, here a RecordBatch
_LENGTH = 0  # field of RecordBatch
_CONTINUATION = 0xFFFFFFFF


def batch_lengths(path: Path) -> list[int]:
    """Rows of each record batch, in their order.

    Raises:
        SchemaError: if it is not a complete Arrow file.
        OSError: if it cannot be read.
    """
    file = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        return [_length(os.pread(file, size, offset)) for offset, size in _blocks(file)]
    except (struct.error, ValueError) as error:
        raise SchemaError(f"{path}: not a complete Arrow file ({error}); copy or convert it again") from error
    finally:
        os.close(file)


def _blocks(file: int) -> list[tuple[int, int]]:
    """Where the header of each batch lies, and its length in bytes."""
    end = os.fstat(file).st_size
    tail = os.pread(file, _TAIL, max(0, end - _TAIL))
    if tail[4:] != _MAGIC:
        raise ValueError("it does not end as Arrow files do")
    (size,) = struct.unpack_from("<i", tail)
    if not 0 < size <= end - _TAIL:
        raise ValueError(f"a footer of {size} bytes")
    footer = os.pread(file, size, end - _TAIL - size)
    place = _field(footer, _root(footer), _BLOCKS)
    if place is None:
        return []
    start = place + int(struct.unpack_from("<I", footer, place)[0])
    (count,) = struct.unpack_from("<I", footer, start)
    listed = footer[start + 4 : start + 4 + count * _BLOCK.size]
    return [(offset, length) for offset, length, _ in _BLOCK.iter_unpack(listed)]


def _length(message: bytes) -> int:
    mark, _ = struct.unpack_from("<II", message)
    flat = message[8:] if mark == _CONTINUATION else message[4:]
    header = _field(flat, _root(flat), _HEADER)
    if header is None:
        raise ValueError("a record batch without a header")
    place = _field(flat, header + int(struct.unpack_from("<I", flat, header)[0]), _LENGTH)
    return 0 if place is None else int(struct.unpack_from("<q", flat, place)[0])


def _root(flat: bytes) -> int:
    return int(struct.unpack_from("<I", flat)[0])


def _field(flat: bytes, table: int, number: int) -> int | None:
    """Where a field of a table lies; None where it has its default."""
    vtable = table - int(struct.unpack_from("<i", flat, table)[0])
    (size,) = struct.unpack_from("<H", flat, vtable)
    entry = 4 + 2 * number
    if entry >= size:
        return None
    (offset,) = struct.unpack_from("<H", flat, vtable + entry)
    return table + int(offset) if offset else None
