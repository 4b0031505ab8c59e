"""Pickle -> clean npz: the same numbers under the same keys, with nothing in the file but arrays.

Names and folders are those of the smplx package (``OUT/smplx/SMPLX_NEUTRAL.npz``), so that it, hmtools and
everything else can read the result without chumpy, SciPy or pickles.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hmtools.bodies.catalogue import CATALOGUE, Asset
from hmtools.bodies.raw_file import STANDIN_KEY, as_numbers, marked_standin, read_raw
from hmtools.bodies.read_array import array_from_raw, split_pieces
from hmtools.bodies.read_model import KEYS, model_from_raw
from hmtools.bodies.search import Found, find_all, identify
from hmtools.core.atomic import AtomicFile, write_bytes
from hmtools.core.errors import AssetError, LayoutError

__all__ = ["Cleaned", "Form", "clean_file", "clean_name", "plan_clean"]

Form = Literal["npz", "pkl"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # no time of day in the file: the same input gives the same bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """A written file: where from, where to, and the keys left out because they hold no arrays."""

    source: Path
    target: Path
    dropped: tuple[str, ...]


def plan_clean(
    source: Path, out: Path, form: Form = "npz", *, force: bool = False
) -> list[tuple[Found, Path]]:
    """What to write for a file, or for every file of the catalogue below a folder; writes nothing.

    Args:
        source: a file whose name the catalogue knows, or a folder.
        out: the folder to write to.
        form: the ending of models; see :func:`clean_file`.
        force: whether files that exist may be replaced.

    Raises:
        LayoutError: if ``source`` does not exist or holds nothing known, or targets exist and not ``force``.
        AssetError: if the name of a single file tells nothing.
    """
    if source.is_dir():
        found = find_all([source])
    elif source.is_file():
        one = identify(source)
        if one is None:
            names = sorted({name for row in CATALOGUE.values() for name in row.names if "*" not in name})
            raise AssetError(
                f"{source}: its name does not tell what it is; name it like one of {', '.join(names)}."
            )
        found = [one]
    else:
        raise LayoutError(f"{source}: no such file or folder")
    if not found:
        raise LayoutError(
            f"{source}: no body-model files at or below it; 'hmtools body list' has their names"
        )
    plan = [(item, out / clean_name(item.asset, form)) for item in found]
    there = [str(target) for _, target in plan if target.exists()]
    if there and not force:
        raise LayoutError("these files exist; --force replaces them:\n  " + "\n  ".join(there))
    return plan


def clean_name(row: Asset, form: Form = "npz") -> PurePath:
    """Where a clean file goes below the output folder, such as ``smplx/SMPLX_NEUTRAL.npz``."""
    name = PurePath(row.names[0])
    if row.kind == "model":
        name = name.with_suffix(f".{form}")
    return PurePath(*(["lockedhead"] if row.locked_head else []), row.family, name)


def clean_file(found: Found, target: Path) -> Cleaned:
    """Read and check one file, and write it as plain arrays; the target is whole or absent.

    Numbers keep their dtype and every bit; sparse regressors of models become dense, as the smplx package
    needs them in npz; transfer matrices are written as :func:`scipy.sparse.save_npz` does. Text is kept.

    Args:
        found: the file and what it is.
        target: the file to write; its folder is made. A model's may end in ``.pkl``: a pickle of plain arrays
            for programs that read nothing else, such as the smplx package for SMPL. It loads with NumPy 1
            and 2.

    Raises:
        AssetError, UnsafeFileError, LayoutError: as reading does; nothing is written then.
    """
    raw, row = read_raw(found.path), found.asset
    dropped: list[str] = []
    if row.kind == "model":
        model_from_raw(raw, found.path, row.family, row.gender or "neutral")
        content = _model_content(raw, found.path, dropped)
    else:
        content = _array_content(raw, found.path, row)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix == ".pkl":
        write_bytes(target, _pickled(content))
    elif target.suffix == ".npy":
        with AtomicFile(target) as file:
            np.lib.format.write_array(file, next(iter(content.values())), allow_pickle=False)
    else:
        _write_npz(target, content)
    return Cleaned(source=found.path, target=target, dropped=tuple(dropped))


def _model_content(raw: Mapping[str, Any], path: Path, dropped: list[str]) -> dict[str, NDArray[Any]]:
    content: dict[str, NDArray[Any]] = {}
    for key, value in raw.items():
        if not _NAME.fullmatch(key):
            dropped.append(key)
            continue
        try:
            content[key] = _text(value) if _is_text(value) else as_numbers(value, f"{path}: {key}")
        except AssetError:
            if key in KEYS:
                raise
            dropped.append(key)  # notes of the authors: dictionaries, chumpy expressions
    return content


def _array_content(raw: Any, path: Path, row: Asset) -> dict[str, NDArray[Any]]:
    found = array_from_raw(raw, path, row)
    if row.kind == "transfer":
        parts = {"data": found.data, "indices": found.indices, "indptr": found.indptr}
        content = {**parts, "shape": np.array(found.shape), "format": np.array(b"csr")}
    elif split_pieces(row):
        content = {name: as_numbers(raw[name], f"{path}: {name}") for name in row.entries}
    else:
        content = {row.entries[0] if row.entries else row.key: found}
    if marked_standin(raw):
        content[STANDIN_KEY] = _text(raw[STANDIN_KEY])
    return content


def _is_text(value: Any) -> bool:
    return isinstance(value, str | bytes) or (isinstance(value, np.ndarray) and value.dtype.kind in "US")


def _text(value: Any) -> NDArray[Any]:
    return np.asarray(value.decode("latin-1") if isinstance(value, bytes) else value)


def _write_npz(target: Path, content: Mapping[str, NDArray[Any]]) -> None:
    with AtomicFile(target) as file, zipfile.ZipFile(file, "w") as archive:
        for key, array in content.items():
            entry = zipfile.ZipInfo(f"{key}.npy", _EPOCH)
            with archive.open(entry, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _pickled(content: Mapping[str, NDArray[Any]]) -> bytes:
    """Plain arrays and text, under the module name that NumPy 1 knows; NumPy 2 reads it too.

    The name stands once: the pickler refers back to it for later arrays, and before any array's bytes.
    """
    plain = {key: array if array.dtype.kind not in "US" else array.tolist() for key, array in content.items()}
    data = pickle.dumps(plain, protocol=3)
    return data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n", 1)
