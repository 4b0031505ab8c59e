"""Body models and the files around them: found, read safely, checked, cached.

>>> CATALOGUE["smplx_to_j14"].shape
(14, 10475)

What is looked for and who needs it is a table (:data:`CATALOGUE`); where it is looked for is the setting
``body_models``, which may also be a checkout of SMPLer-X. Nothing of a file is ever run.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hmtools.bodies.catalogue import CATALOGUE, Asset, model_key
from hmtools.bodies.model import BodyModel, Family, Gender
from hmtools.bodies.raw_file import marked_standin, read_raw
from hmtools.bodies.read_array import array_from_raw, read_array
from hmtools.bodies.read_model import model_from_raw, read_model
from hmtools.bodies.search import Found, asset, find, find_all, missing, require, search_roots
from hmtools.core.atomic import file_sha256
from hmtools.core.errors import HmtoolsError, LayoutError, UsageError

__all__ = [
    "CATALOGUE",
    "Asset",
    "AssetStatus",
    "Found",
    "asset",
    "body_hash",
    "check",
    "copy_standin",
    "find",
    "find_all",
    "load_array",
    "load_model",
    "missing",
    "read_array",
    "read_model",
    "search_roots",
    "standin_dir",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetStatus:
    """What became of reading one file: its ``facts`` when it is in order, else the ``problem``."""

    asset: Asset
    path: Path
    sha256: str
    standin: bool = False
    facts: tuple[str, ...] = ()
    problem: str | None = None


def load_model(family: Family, gender: Gender, *, roots: Sequence[Path] | None = None) -> BodyModel:
    """The body model of a family and gender; read once per process and file.

    Takes the regular release: the locked-head and 2020 releases of SMPL-X are other models, to be read with
    :func:`find` and :func:`read_model`.

    Args:
        family: smpl, smplh or smplx.
        gender: neutral, male or female.
        roots: folders to search (default: the setting ``body_models``).

    Raises:
        AssetError: if there is none, with file names, folders and the official page; or if the file is not
            what it should be.
        UnsafeFileError: if a pickle asks for more than data.
        UsageError: for an unknown family or gender.
    """
    path = require(model_key(family, gender), roots).path.resolve()
    return _model(path, *_state(path), family, gender)


def load_array(key: str, *, roots: Sequence[Path] | None = None) -> Any:
    """A template, index list, regressor, transfer matrix or parameter vector; read once per process and file.

    Args:
        key: a key of :data:`CATALOGUE` that is no model.
        roots: folders to search (default: the setting ``body_models``).

    Returns:
        What :func:`~hmtools.bodies.read_array.read_array` returns: a read-only NumPy array, for transfer
        matrices a SciPy CSR matrix.

    Raises:
        AssetError, UnsafeFileError: as :func:`load_model`.
        UsageError: if ``key`` is unknown or a model.
    """
    if asset(key).kind == "model":
        raise UsageError(f"{key} is a body model; load_model reads it")
    path = require(key, roots).path.resolve()
    return _array(path, *_state(path), key)


def body_hash(model: BodyModel) -> str:
    """Hex sha256 of what a model holds; the same for a pickle and the clean npz made of it.

    It covers family and every array with dtype and shape; not the file, its name or the gender asked for.
    """
    digest = hashlib.sha256(model.family.encode())
    for name in BodyModel.__dataclass_fields__:
        value = getattr(model, name)
        if name == "joint_regressor":
            parts = {
                "data": value.data,
                "indices": value.indices.astype("<i8"),
                "indptr": value.indptr.astype("<i8"),
            }
        elif isinstance(value, np.ndarray):
            parts = {"": value}
        else:
            continue
        for part, array in parts.items():
            plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            digest.update(f"|{name}.{part} {plain.dtype.str} {plain.shape}|".encode())
            digest.update(plain.data)
    return digest.hexdigest()


def check(row: Asset, path: Path) -> AssetStatus:
    """Read ``path`` as ``row`` and say what it is or what is wrong with it; raises nothing of ours."""
    digest, standin = "", False
    try:
        digest = file_sha256(path)
        raw = read_raw(path)
        standin = marked_standin(raw)
        if row.kind == "model" and row.gender is not None:
            facts = _model_facts(model_from_raw(raw, path, row.family, row.gender))
        else:
            found = array_from_raw(raw, path, row)
            facts = (" x ".join(map(str, found.shape)), str(found.dtype))
    except (HmtoolsError, OSError) as error:
        return AssetStatus(asset=row, path=path, sha256=digest, standin=standin, problem=str(error))
    return AssetStatus(asset=row, path=path, sha256=digest, standin=standin, facts=facts)


def standin_dir() -> Path:
    """The folder of the licence-free stand-in body, made on first use (under a lock, seconds)."""
    from hmtools.bodies.standin.cache import standin_dir as cached

    return cached()


def copy_standin(out: Path) -> None:
    """Copy the stand-in body into a new or empty folder; the folder appears when it is whole.

    Raises:
        LayoutError: if something is there: a stand-in is never mixed with other files.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise LayoutError(f"{out}: exists and is not empty; a stand-in is never mixed with other files")
    source = standin_dir()
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.absolute().parent) as folder:
        copy = Path(folder) / "standin"
        shutil.copytree(source, copy)
        copy.rename(out)  # an empty folder of that name gives way


def _model_facts(model: BodyModel) -> tuple[str, ...]:
    facts = [f"{model.shapedirs.shape[2]} betas"]
    if model.expression_dirs.shape[2]:
        facts.append(f"{model.expression_dirs.shape[2]} expressions")
    facts.append(str(model.v_template.dtype))
    if model.family == "smplh" and model.hand_mean is None:
        facts.append("no hand PCA")
    return tuple(facts)


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=12)
def _model(path: Path, _mtime: int, _size: int, family: Family, gender: Gender) -> BodyModel:
    return read_model(path, family, gender)


@functools.lru_cache(maxsize=64)
def _array(path: Path, _mtime: int, _size: int, key: str) -> Any:
    return read_array(path, asset(key))
