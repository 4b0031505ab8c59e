"""The ``.npz`` member of a sample: numbers only, never a pickle."""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
from numpy.lib import format as npy

from hmtools.core.errors import UnsafeFileError

__all__ = ["npz_arrays", "npz_bytes"]

_LIMIT = 1 << 30  # bytes an archive may inflate to
# What zipfile and numpy raise on bytes that nobody wrote on purpose; found by damaging archives at random.
_DAMAGE = (
    ArithmeticError,
    EOFError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
)


def npz_bytes(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """A stored ``.npz`` archive as :func:`numpy.savez` writes it; equal arrays give equal bytes.

    Raises:
        ValueError: for object arrays, which only a pickle could hold.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            # A ZipInfo made by hand is dated 1980-01-01: no entry holds the time of writing.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                # not numpy.savez: before 2.1 it takes allow_pickle=False for an array to store
                npy.write_array(entry, array, allow_pickle=False)
    return buffer.getvalue()


def npz_arrays(data: bytes, name: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an archive, never unpickling and never inflating beyond 1 GiB.

    Raises:
        UnsafeFileError: for object arrays, oversized or foreign entries, or bytes that are no archive, naming
            ``name``.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            inflated = sum(entry.file_size for entry in archive.infolist())
            if inflated > _LIMIT:
                raise UnsafeFileError(
                    f"{name}: inflates to {inflated} bytes, at most {_LIMIT} are read; refused"
                )
            return {
                entry.filename.removesuffix(".npy"): npy.read_array(
                    io.BytesIO(archive.read(entry)), allow_pickle=False
                )
                for entry in archive.infolist()
            }
    except _DAMAGE as error:
        raise UnsafeFileError(
            f"{name}: not a plain npz archive ({error}); pickled arrays are refused"
        ) from error
