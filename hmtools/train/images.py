"""Encoded images for training: one ``pread`` from a tar.

A process keeps at most 64 tar files open, of all sets together, and none that it got from its parent.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

from hmtools.core.errors import SchemaError

__all__ = ["MAX_HANDLES", "TarFiles"]

MAX_HANDLES = 64
"""Tar files that a process keeps open."""


class TarFiles:
    """Reads pieces of tar files, the last :data:`MAX_HANDLES` of which stay open.

    Pickles and forks safely: every process opens its own.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[Path, int] = OrderedDict()
        self._owner = os.getpid()

    def read(self, path: Path, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset``.

        Raises:
            SchemaError: if the file is missing or ends before.
        """
        data = os.pread(self._handle(path), size, offset)
        if len(data) != size:
            raise SchemaError(f"{path}: ends before byte {offset + size}, where its index says an image ends")
        return data

    def _handle(self, path: Path) -> int:
        if self._owner != os.getpid():  # inherited descriptors are the parent's to close
            self._open, self._owner = OrderedDict(), os.getpid()
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        try:
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except FileNotFoundError as error:
            raise SchemaError(f"{path}: missing, but its index names it; copy it again") from error
        self._open[path] = handle
        if len(self._open) > MAX_HANDLES:
            os.close(self._open.popitem(last=False)[1])
        return handle

    def close(self) -> None:
        """Close what this process opened."""
        if self._owner == os.getpid():
            for handle in self._open.values():
                os.close(handle)
        self._open = OrderedDict()

    def __del__(self) -> None:
        if "_open" in self.__dict__:
            self.close()

    def __reduce__(self) -> tuple[type[TarFiles], tuple[()]]:
        return TarFiles, ()
