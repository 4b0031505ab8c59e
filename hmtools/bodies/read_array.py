"""Everything beside the body models: child templates, vertex ids, regressors, transfer matrices, means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmtools.bodies.catalogue import Asset, Kind
from hmtools.bodies.model import VERTICES
from hmtools.bodies.model_checks import SUM_TOLERANCE, size_problem
from hmtools.bodies.raw_file import as_indices, as_numbers, is_sparse, is_whole, keys_of, read_raw
from hmtools.core.errors import AssetError

__all__ = ["array_from_raw", "read_array", "split_pieces"]

_CSR_PARTS = ("data", "indices", "indptr", "shape")


def read_array(path: Path, row: Asset) -> Any:
    """Read and check one file that is no body model.

    Args:
        path: npz, npy or pickle.
        row: the row of the catalogue that says what it must hold.

    Returns:
        A read-only array of shape ``row.shape``, by kind: ``template`` (V, 3) float metres; ``ids`` (N,) or
        (2, N) int64 (first row: left hand); ``regressor`` (K, V) float, dense; ``parameters`` (N,) float, its
        pieces joined in the order of ``row.entries``. A ``transfer`` matrix is a SciPy CSR matrix, target
        vertices = matrix @ source vertices.

    Raises:
        AssetError: naming the file, what was expected and what was found.
        UnsafeFileError: if a pickle asks for more than data.
        LayoutError: if the file cannot be opened.
    """
    return array_from_raw(read_raw(path), path, row)


def array_from_raw(raw: Any, path: Path, row: Asset) -> Any:
    """Like :func:`read_array`, for content that has been read already."""
    return _READERS[row.kind](raw, path, row)


def split_pieces(row: Asset) -> bool:
    """Whether files of ``row`` hold the array in pieces, under all of ``row.entries``."""
    return row.kind in ("ids", "parameters") and bool(row.entries)


def _template(raw: Any, path: Path, row: Asset) -> NDArray[Any]:
    array = _floats(_single(raw, path, row), path, row)
    problem = size_problem(array)
    if problem:
        raise AssetError(f"{path}: the template {problem}. Take a fresh copy of the file.")
    return _frozen(array)


def _ids(raw: Any, path: Path, row: Asset) -> NDArray[np.int64]:
    pieces = _pieces(raw, path, row) if row.entries else {"": _single(raw, path, row)}
    arrays = [as_numbers(piece, f"{path}: {name}" if name else str(path)) for name, piece in pieces.items()]
    expected = row.shape[-1:] if row.shape else ()
    for name, array in zip(pieces, arrays, strict=True):
        if array.shape != expected or not is_whole(array):
            raise AssetError(
                f"{path}: {name or 'ids'}: expected whole numbers of shape {expected}, found "
                f"{array.dtype} of {array.shape}. Is this another file under the name of {row.key}?"
            )
        found, limit = as_indices(array), VERTICES[row.family]
        if found.min() < 0 or found.max() >= limit:
            raise AssetError(
                f"{path}: {name or 'ids'}: expected vertex indices below {limit}, found {found.min()} to "
                f"{found.max()}."
            )
    joined = np.stack([as_indices(array) for array in arrays]) if row.entries else as_indices(arrays[0])
    return _frozen(joined)


def _regressor(raw: Any, path: Path, row: Asset) -> NDArray[Any]:
    array = _floats(_single(raw, path, row), path, row)
    with np.errstate(all="ignore"):
        _sum_to_one(array.sum(axis=1), path, row)
    return _frozen(array)


def _transfer(raw: Any, path: Path, row: Asset) -> Any:
    """A CSR matrix (target V, source V).

    The official files have twice the columns: the second half moves a vertex along the normals of the source
    mesh, which is not used here (nor by the official converter unless asked).
    """
    import scipy.sparse

    target, source = row.shape or (0, 0)
    found = (
        _csr(raw, path) if isinstance(raw, dict) and set(_CSR_PARTS) <= set(raw) else _single(raw, path, row)
    )
    if not is_sparse(found):
        found = as_numbers(found, str(path))
    if found.shape not in ((target, source), (target, 2 * source)) or found.dtype.kind != "f":
        raise AssetError(
            f"{path}: expected a float matrix of {(target, source)} or {(target, 2 * source)}, found "
            f"{found.dtype} of {found.shape}. Is it the transfer in the other direction?"
        )
    matrix = scipy.sparse.csr_matrix(found)[:, :source]
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    matrix.sort_indices()
    _finite(matrix.data, path)
    with np.errstate(all="ignore"):
        _sum_to_one(np.asarray(matrix.sum(axis=1)).ravel(), path, row)
    for part in (matrix.data, matrix.indices, matrix.indptr):
        part.setflags(write=False)
    return matrix


def _parameters(raw: Any, path: Path, row: Asset) -> NDArray[Any]:
    pieces = _pieces(raw, path, row)
    joined = np.concatenate([as_numbers(piece, f"{path}: {name}").ravel() for name, piece in pieces.items()])
    return _frozen(_floats(joined, path, row))


_READERS: dict[Kind, Callable[[Any, Path, Asset], Any]] = {
    "template": _template,
    "ids": _ids,
    "regressor": _regressor,
    "transfer": _transfer,
    "parameters": _parameters,
}


def _single(raw: Any, path: Path, row: Asset) -> Any:
    """The one array of a file: bare, or under one of the entries, or under the only key there is."""
    if not isinstance(raw, dict):
        return raw
    for name in row.entries:
        if name in raw:
            return raw[name]
    values = [value for key, value in raw.items() if key != "standin"]
    if len(values) == 1:
        return values[0]
    raise AssetError(
        f"{path}: expected one array{f' under {_or(row.entries)}' if row.entries else ''} for {row.key}, "
        f"found the keys {keys_of(raw) or '(none)'}."
    )


def _pieces(raw: Any, path: Path, row: Asset) -> dict[str, Any]:
    if not isinstance(raw, dict) or any(name not in raw for name in row.entries):
        found = keys_of(raw) or "none" if isinstance(raw, dict) else type(raw).__name__
        raise AssetError(f"{path}: expected the keys {', '.join(row.entries)} for {row.key}, found {found}.")
    return {name: raw[name] for name in row.entries}


def _or(names: tuple[str, ...]) -> str:
    return " or ".join(map(repr, names))


def _floats(value: Any, path: Path, row: Asset) -> NDArray[Any]:
    if is_sparse(value) and value.shape != row.shape:
        raise AssetError(f"{path}: expected shape {row.shape} for {row.key}, found {value.shape}.")
    array = as_numbers(value, str(path))
    if array.shape != row.shape or array.dtype not in (np.float32, np.float64):
        raise AssetError(
            f"{path}: expected float32 or float64 of shape {row.shape} for {row.key}, found {array.dtype} of "
            f"{array.shape}. Is this another file under its name?"
        )
    _finite(array, path)
    return array


def _finite(array: NDArray[Any], path: Path) -> None:
    bad = int((~np.isfinite(array)).sum())
    if bad:
        raise AssetError(
            f"{path}: {bad} of {array.size} numbers are not finite. Take a fresh copy of the file."
        )


def _sum_to_one(sums: NDArray[Any], path: Path, row: Asset) -> None:
    off = ~(np.abs(sums - 1) <= SUM_TOLERANCE)
    if off.any():
        first = int(off.argmax())
        raise AssetError(
            f"{path}: the rows of {row.key} must sum to 1; {int(off.sum())} of {sums.size} do not (row "
            f"{first}: {float(sums[first]):.4g})."
        )


def _csr(raw: dict[str, Any], path: Path) -> Any:
    """A matrix from what :func:`scipy.sparse.save_npz` writes; SciPy's compiled code trusts the indices."""
    import scipy.sparse

    data, indices, indptr, shape = (as_numbers(raw[name], f"{path}: {name}") for name in _CSR_PARTS)
    try:
        if (
            not (is_whole(indices) and is_whole(indptr) and is_whole(shape))
            or raw.get("format", b"csr") != b"csr"
        ):
            raise ValueError("whole numbers and the format csr are expected")
        parts = (data, as_indices(indices), as_indices(indptr))
        matrix = scipy.sparse.csr_matrix(parts, shape=tuple(as_indices(shape).tolist()))
        matrix.check_format(full_check=True)
    except (ValueError, TypeError, IndexError) as error:
        raise AssetError(f"{path}: is no sparse matrix ({error}).") from error
    return matrix


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array
