"""The content of a body-model file as plain arrays, whatever wrote it: npz, npy, Python 2, chumpy, SciPy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmtools.core.errors import AssetError
from hmtools.core.safe_pickle import ChumpyArray, load_npy, load_npz, load_pickle

__all__ = [
    "STANDIN_KEY",
    "as_indices",
    "as_numbers",
    "is_sparse",
    "is_whole",
    "keys_of",
    "marked_standin",
    "read_raw",
]

STANDIN_KEY = "standin"
"""The key by which a file says that it is no licensed model; its value is a line about its maker."""

_SELECT = "chumpy.reordering.Select"
_NESTED = 8
_MAX_DENSE = 1 << 28
_TOO_LARGE = 2.0**62


def read_raw(path: Path) -> Any:
    """Read a file of any form the field uses, without running anything in it.

    Args:
        path: an ``.npz``, ``.npy`` or ``.pkl`` file.

    Returns:
        A dict with text keys (arrays that were stored as 0-d objects unwrapped), or the single object of an
        npy file or of a pickle that holds no dict. Values are untouched: :func:`as_numbers` makes arrays.

    Raises:
        UnsafeFileError: if a pickle asks for more than data.
        AssetError: if the file is damaged or of another form.
        LayoutError: if it cannot be opened.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return load_npy(path)
    if suffix not in (".npz", ".pkl"):
        raise AssetError(f"{path}: is no .npz, .npy or .pkl file; body-model files are one of these.")
    content: Any = load_npz(path, pickled=True) if suffix == ".npz" else load_pickle(path)
    if not isinstance(content, dict):
        return content
    return {_text(key): _unwrapped(value) for key, value in content.items()}


def marked_standin(raw: Any) -> bool:
    """Whether the content says that it is not a licensed model: it has a key ``standin``."""
    return isinstance(raw, dict) and STANDIN_KEY in raw


def is_sparse(value: Any) -> bool:
    """Whether ``value`` is a SciPy sparse matrix; its indices are in range (the guard has checked them)."""
    return hasattr(value, "tocsr")


def as_numbers(value: Any, where: str) -> NDArray[Any]:
    """``value`` as an array of numbers in native byte order and C order; chumpy objects become their values.

    Args:
        value: an array, a number, a list of them, a SciPy matrix (made dense) or a :class:`ChumpyArray`.
        where: file and key, for the message.

    Raises:
        AssetError: if it holds anything but numbers.
    """
    found: Any = _chumpy_values(value, where) if isinstance(value, ChumpyArray) else value
    if is_sparse(found):
        if math.prod(found.shape) > _MAX_DENSE:  # a forged shape costs nothing in the file
            raise AssetError(f"{where}: a sparse matrix of {found.shape} is larger than any body model has.")
        found = found.toarray()
    try:
        array = np.asarray(found)
    except (ValueError, TypeError, OverflowError) as error:  # lists of unequal length, numbers beyond 64 bits
        raise AssetError(f"{where}: cannot be read as an array ({error}).") from error
    if array.dtype == object and array.size and all(isinstance(x, int | float) for x in array.flat):
        array = np.array(array.tolist())
    if array.dtype.kind not in "biuf":
        raise AssetError(f"{where}: expected an array of numbers, found {_described(value)}.")
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def is_whole(array: NDArray[Any]) -> bool:
    """Whether every number is a whole one that fits in 64 bits; some files store indices as floats."""
    if array.dtype.kind != "f":
        return True
    return bool((np.abs(array) < _TOO_LARGE).all() and np.array_equal(array, np.rint(array)))


def as_indices(array: NDArray[Any]) -> NDArray[np.int64]:
    """Whole numbers of any dtype as int64 (a copy); what does not fit becomes the largest int64."""
    limit = np.iinfo(np.int64).max  # wrapped around it would be -1, which is a valid index
    return np.minimum(array, limit).astype(np.int64) if array.dtype == np.uint64 else array.astype(np.int64)


def _chumpy_values(value: ChumpyArray, where: str, depth: int = 0) -> NDArray[Any]:
    """The numbers of a chumpy object.

    Besides plain ones there are files with ``Select``: some entries of another chumpy array, taken in flat
    order and given a shape (the first shape directions, cut out of all of them).
    """
    if depth > _NESTED:
        raise AssetError(f"{where}: chumpy objects are nested without end.")
    if value.kind != _SELECT:
        inner = value.state.get("x")
        if isinstance(inner, ChumpyArray) and inner.kind == _SELECT:
            return _chumpy_values(inner, where, depth + 1)
        try:
            return value.array
        except AssetError as error:
            raise AssetError(f"{where}: {error}") from error
    source, picked, shape = (value.state.get(name) for name in ("a", "idxs", "preferred_shape"))
    flat = _chumpy_values(source, where, depth + 1) if isinstance(source, ChumpyArray) else np.asarray(source)
    try:
        chosen: NDArray[Any] = flat.ravel()[np.asarray(picked)].reshape(tuple(np.asarray(shape).tolist()))
    except (IndexError, ValueError, TypeError) as error:
        raise AssetError(f"{where}: a chumpy selection that does not fit its array ({error}).") from error
    return chosen


def _described(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}"
    return f"{type(value).__name__}"


def _text(key: Any) -> str:
    return key.decode("latin-1") if isinstance(key, bytes) else str(key)


def _unwrapped(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 0:
        return value.item()
    return value


def keys_of(raw: Mapping[str, Any]) -> str:
    """The keys of a file for a message, the first twenty of them."""
    names = sorted(raw)
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
