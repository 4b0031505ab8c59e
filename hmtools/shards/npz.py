"""The ``.npz`` member of a sample: numbers only, never a pickle."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hmtools.core.errors import UnsafeFileError

__all__ = ["npz_arrays", "npz_bytes"]

_LIMIT = 1 << 30  # bytes an archive may inflate to


def npz_bytes(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """A stored ``.npz`` archive; numpy dates entries 1980-01-01, so equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(arrays))
    return buffer.getvalue()


def npz_arrays(data: bytes, name: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an archive, never unpickling and never inflating beyond 1 GiB.

    Raises:
        UnsafeFileError: for object arrays, oversized entries or bytes that are no archive, naming ``name``.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            inflated = sum(entry.file_size for entry in archive.infolist())
        if inflated > _LIMIT:
            raise UnsafeFileError(f"{name}: inflates to {inflated} bytes, at most {_LIMIT} are read; refused")
        with np.load(io.BytesIO(data), allow_pickle=False) as loaded:
            return {key: loaded[key] for key in loaded.files}
    except (ValueError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise UnsafeFileError(
            f"{name}: not a plain npz archive ({error}); pickled arrays are refused"
        ) from error
