"""Pickles, npz and npy files from strangers, opened without running what is inside.

Datasets and body models come as pickles, and ``pickle.load`` runs whatever a pickle says. Here a pickle is
read by :mod:`hmtools.core.pickle_machine`, which knows data only, and may ask for nothing but the names
in :mod:`hmtools.core.pickle_globals` (numbers, text, containers, NumPy, SciPy matrices, inert chumpy),
:mod:`hmtools.core.pickle_pandas` (dataframes) and :mod:`hmtools.core.pickle_torch` (tensors), where it is
written why each is safe. Everything else is an UnsafeFileError with the name that was asked for. Memory
is bounded by the size of the file; time is not (a forged pickle may still be slow).
"""

from __future__ import annotations

import errno
import io
import math
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from hmtools.core.errors import AssetError, HmtoolsError, LayoutError, UnsafeFileError
from hmtools.core.pickle_globals import ALLOWED, ChumpyArray
from hmtools.core.pickle_machine import GuardedUnpickler, SizedReader
from hmtools.core.pickle_pandas import PANDAS, PickledFrame
from hmtools.core.pickle_torch import TORCH

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MAX_NPZ_BYTES", "ChumpyArray", "PickledFrame", "load_npy", "load_npz", "load_pickle"]

MAX_NPZ_BYTES = 16 << 30
"""Default bound for what one npz may unpack to: four times the largest annotation file we know of."""

_NAMES = ALLOWED | PANDAS | TORCH
_MAX_HEADER = 1 << 16
_PIECE = 1 << 24
# What a damaged or forged stream makes Python and NumPy raise while it is read.
_DAMAGE = (
    pickle.UnpicklingError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    NotImplementedError,  # a compression method or a zip feature that Python lacks
    RuntimeError,  # an encrypted member; too deep recursion
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    SyntaxError,
    SystemError,  # NumPy, about forged text
)


def load_pickle(path_or_bytes: str | Path | bytes, *, encoding: str = "latin1") -> Any:
    """Read one pickle of any protocol, from Python 2 or 3, allowing data only.

    Args:
        path_or_bytes: a file, or the pickle itself.
        encoding: how 8-bit strings of Python 2 are decoded; ``"latin1"`` keeps arrays right, ``"bytes"``
            leaves such strings (also dictionary keys) as bytes.

    Returns:
        The object: numbers, text, containers, arrays in their pickled dtype, SciPy matrices,
        :class:`~hmtools.core.pickle_pandas.PickledFrame` where the pickle holds a pandas dataframe, an array
        where it holds a torch tensor, and :class:`~hmtools.core.pickle_globals.ChumpyArray` where it holds
        chumpy objects.

    Raises:
        UnsafeFileError: if the pickle asks for anything else; the message has the file and the name.
        AssetError: if it is truncated, empty, no pickle, or does not fit itself.
        LayoutError: if the file cannot be opened.
    """
    if isinstance(path_or_bytes, bytes):
        return _unpickle(io.BytesIO(path_or_bytes), len(path_or_bytes), "<bytes>", encoding)
    path = Path(path_or_bytes)
    with _opened(path) as (file, size):
        return _unpickle(file, size, str(path), encoding)


def load_npz(
    path: str | Path, *, pickled: bool = False, max_bytes: int = MAX_NPZ_BYTES
) -> dict[str, NDArray[Any]]:
    """Read every array of an npz file.

    Args:
        path: the file, as ``numpy.savez`` or ``numpy.savez_compressed`` write it.
        pickled: also read object arrays, through the guard of :func:`load_pickle`.
        max_bytes: bound for the unpacked size of all members together.

    Returns:
        Member name (without ``.npy``) -> array, in its stored shape and dtype, in file order.

    Raises:
        UnsafeFileError: naming the member, if it holds objects and ``pickled`` is false, if the guard refuses
            what it holds, or if the file would unpack to more than ``max_bytes``.
        AssetError: if the file or a member is truncated, empty or no npz.
        LayoutError: if the file cannot be opened.
    """
    path = Path(path)
    arrays: dict[str, NDArray[Any]] = {}
    with _opened(path) as (file, _), _named(str(path), "an npz file"), zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        total = sum(member.file_size for member in members)
        if total > max_bytes:
            raise UnsafeFileError(
                f"{path}: unpacks to {total:,} bytes, the bound is {max_bytes:,}. If the file is what you "
                "expect, read it with a larger max_bytes."
            )
        for member in members:
            where, name = f"{path}[{member.filename}]", member.filename.removesuffix(".npy")
            if name == member.filename or name in arrays:
                what = "occurs twice" if name in arrays else "is not an .npy member"
                raise AssetError(f"{path}: {member.filename!r} {what}; expected an npz file of arrays.")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise NotImplementedError(f"{name!r} is compressed in a way that NumPy does not write")
            with _named(where, "an npz member"), archive.open(member) as data:
                arrays[name] = _read_array(data, member.file_size, where, pickled)
    return arrays


def load_npy(path: str | Path, *, pickled: bool = False) -> NDArray[Any]:
    """Read an npy file; see :func:`load_npz` for ``pickled`` and what is raised."""
    path = Path(path)
    with _opened(path) as (file, size), _named(str(path), "an npy file"):
        return _read_array(file, size, str(path), pickled)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise LayoutError(f"{path}: cannot be opened ({error.strerror}).") from error
    with file:
        yield file, path.stat().st_size


@contextmanager
def _named(where: str, kind: str, hint: str = "") -> Iterator[None]:
    try:
        yield
    except HmtoolsError:
        raise
    except (*_DAMAGE, OSError) as error:
        # A place before the beginning of the file is damage; a disk or network that fails is not.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        reason = str(error) or type(error).__name__
        raise AssetError(
            f"{where}: cannot be read as {kind} ({reason}){hint}. It is damaged, cut off or something else; "
            "compare its size with the original and fetch it again."
        ) from error


def _unpickle(file: IO[bytes], size: int, where: str, encoding: str) -> Any:
    with _named(where, "a pickle", f"; it has {size:,} bytes" if size else "; it is empty"):
        reader = SizedReader(file, size)
        return GuardedUnpickler(reader, where=where, encoding=encoding, names=_NAMES).load()


def _read_array(file: IO[bytes], size: int, where: str, pickled: bool) -> NDArray[Any]:
    """Read one npy stream of ``size`` bytes; nothing is reserved before header and size agree."""
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"npy version {version}")
    shape, fortran, dtype = header(file, max_header_size=_MAX_HEADER)
    left = size - file.tell()
    count = math.prod(shape)
    if dtype.hasobject:
        if not pickled:
            raise UnsafeFileError(
                f"{where}: holds pickled objects where plain arrays were expected. Save it again with a "
                "plain dtype, or, if this file is known to hold objects, read it with pickled=True."
            )
        found = _unpickle(file, left, where, "latin1")
        if not isinstance(found, np.ndarray):
            raise ValueError(f"its header says {shape} objects, its pickle holds {type(found).__name__}")
        return found.reshape(shape)
    if count * dtype.itemsize != left or min(shape, default=0) < 0:
        raise ValueError(f"its header says {shape} {dtype}, its data is {left} bytes")
    data = np.empty(left, np.uint8)  # memory is taken up only as far as bytes really arrive
    for start in range(0, left, _PIECE):
        piece = file.read(min(_PIECE, left - start))
        data[start : start + len(piece)] = np.frombuffer(piece, np.uint8)
        if len(piece) < min(_PIECE, left - start):
            raise EOFError("its data is cut off")
    return np.ndarray(shape, dtype=dtype, buffer=data.data, order="F" if fortran else "C")
