"""One body-model file -> :class:`~hmtools.bodies.model.BodyModel`, checked; every form that circulates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmtools.bodies.catalogue import FAMILY_TITLES
from hmtools.bodies.model import JOINTS, VERTICES, BodyModel, Family, Gender
from hmtools.bodies.model_checks import model_problems
from hmtools.bodies.raw_file import (
    as_indices,
    as_numbers,
    is_sparse,
    is_whole,
    keys_of,
    marked_standin,
    read_raw,
)
from hmtools.core.atomic import file_sha256
from hmtools.core.errors import AssetError

__all__ = ["KEYS", "model_from_raw", "read_model", "shape_and_expression"]

KEYS: dict[str, tuple[int | str, ...]] = {
    "v_template": ("V", 3),
    "shapedirs": ("V", 3, "S"),
    "posedirs": ("V", 3, "P"),
    "J_regressor": ("J", "V"),
    "weights": ("V", "J"),
    "kintree_table": (2, "J"),
    "f": ("F", 3),
    "hands_meanl": (45,),
    "hands_meanr": (45,),
    "hands_componentsl": ("C", 45),
    "hands_componentsr": ("C", 45),
    "lmk_faces_idx": (51,),
    "lmk_bary_coords": (51, 3),
    "dynamic_lmk_faces_idx": (79, 17),
    "dynamic_lmk_bary_coords": (79, 17, 3),
}
"""The keys of a model file and their shapes; a letter is a size that the file decides, V and J its family."""

_BODY = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
_HANDS = ("hands_meanl", "hands_meanr", "hands_componentsl", "hands_componentsr")
_FACE = ("lmk_faces_idx", "lmk_bary_coords", "dynamic_lmk_faces_idx", "dynamic_lmk_bary_coords")
_INTEGERS = {"kintree_table", "f", "lmk_faces_idx", "dynamic_lmk_faces_idx"}
_MIN_SHAPE = 10
# A model of another kind is named by what it is. Vertices and joints -> name.
_KNOWN_SIZES: dict[tuple[int, int], str] = {
    **{(VERTICES[family], JOINTS[family]): FAMILY_TITLES[family] for family in FAMILY_TITLES},
    (778, 16): "MANO (a hand)",
    (5023, 5): "FLAME (a head)",
}
_NO_PARENT = (-1, 2**32 - 1, 2**64 - 1)  # -1, and what it became where files store unsigned numbers


def read_model(path: Path, family: Family, gender: Gender) -> BodyModel:
    """Read and check one model file.

    Args:
        path: npz, or pickle of Python 2 or 3 with NumPy, SciPy or chumpy objects inside.
        family: the family it must be of; SMPL and SMPL-H share their vertices, so joints are counted too.
        gender: goes into the result (no file says its own gender).

    Raises:
        AssetError: naming the file, the key, what was expected and what was found: another model, missing
            keys, wrong shapes, numbers that are not finite, weights that do not sum to 1, a broken tree.
        UnsafeFileError: if a pickle asks for more than data.
        LayoutError: if the file cannot be opened.
    """
    return model_from_raw(read_raw(path), path, family, gender)


def model_from_raw(raw: Any, path: Path, family: Family, gender: Gender) -> BodyModel:
    """Like :func:`read_model`, for content that has been read already."""
    if not isinstance(raw, dict):
        raise AssetError(
            f"{path}: expected a {FAMILY_TITLES[family]} model (a dict of arrays), found "
            f"{type(raw).__name__}."
        )
    _must_be(family, raw, path)
    arrays = _arrays(raw, path, family)
    shape, expression = shape_and_expression(arrays["shapedirs"], family, path)
    model = BodyModel(
        family=family,
        gender=gender,
        path=path,
        sha256=file_sha256(path),
        standin=marked_standin(raw),
        v_template=arrays["v_template"],
        shapedirs=shape,
        expression_dirs=expression,
        posedirs=arrays["posedirs"],
        joint_regressor=_regressor(raw["J_regressor"], path, family),
        weights=arrays["weights"],
        parents=_parents(arrays["kintree_table"], path),
        faces=as_indices(arrays["f"]),
        **_optional(arrays),
    )
    problems = model_problems(model)
    if problems:
        raise AssetError(_several(path, problems))
    _freeze(model)
    return model


def shape_and_expression(
    shapedirs: NDArray[np.floating[Any]], family: Family, path: Path
) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
    """Split the last axis of a file's ``shapedirs`` (V, 3, S) as the smplx package does.

    SMPL and SMPL-H have shape only. SMPL-X has both in one array: 400 columns are 300 of shape and 100 of
    expression, 20 are 10 and 10.
    """
    count = shapedirs.shape[2]
    if family != "smplx":
        split = count
        if count < _MIN_SHAPE:
            raise AssetError(f"{path}: shapedirs: expected {_MIN_SHAPE} columns or more, found {count}.")
    elif count in (20, 400):
        split = {20: 10, 400: 300}[count]
    else:
        raise AssetError(
            f"{path}: shapedirs: expected 400 columns (300 of shape, 100 of expression) or 20 (10 and 10), "
            f"found {count}. A file cut to fewer columns does not say which are which; take the original."
        )
    return np.ascontiguousarray(shapedirs[:, :, :split]), np.ascontiguousarray(shapedirs[:, :, split:])


def _must_be(family: Family, raw: Mapping[str, Any], path: Path) -> None:
    """Recognise a model of another family before its keys and shapes are complained about."""
    if "v_template" not in raw or "weights" not in raw:
        return
    template, weights = (as_numbers(raw[key], f"{path}: {key}") for key in ("v_template", "weights"))
    if template.ndim != 2 or weights.ndim != 2:
        return
    size, wanted = (template.shape[0], weights.shape[1]), (VERTICES[family], JOINTS[family])
    if size != wanted and size in _KNOWN_SIZES:
        raise AssetError(
            f"{path}: holds a model of {_KNOWN_SIZES[size]} ({size[0]} vertices, {size[1]} joints); expected "
            f"{FAMILY_TITLES[family]} ({wanted[0]} vertices, {wanted[1]} joints). Is it misnamed, or in the "
            "wrong place?"
        )


def _arrays(raw: Mapping[str, Any], path: Path, family: Family) -> dict[str, NDArray[Any]]:
    """The arrays of the file by their keys, with the shapes of :data:`KEYS`; the regressor is read apart."""
    wanted = [*_BODY, *(_HANDS if family != "smpl" else ()), *(_FACE if family == "smplx" else ())]
    absent = [key for key in wanted if key not in raw]
    if family == "smplh" and set(absent) == set(
        _HANDS
    ):  # so are they from MANO and AMASS: hands lie elsewhere
        wanted, absent = list(_BODY), []
    if absent:
        raise AssetError(
            f"{path}: lacks {', '.join(absent)}, which a {FAMILY_TITLES[family]} model has; its keys are "
            f"{keys_of(raw) or 'none'}."
        )
    arrays = {key: as_numbers(raw[key], f"{path}: {key}") for key in wanted if key != "J_regressor"}
    known: dict[str, int] = {"V": VERTICES[family], "J": JOINTS[family]}
    problems = [problem for key, array in arrays.items() if (problem := _misfit(key, array, known))]
    if problems:
        raise AssetError(_several(path, problems))
    return arrays


def _misfit(key: str, array: NDArray[Any], known: dict[str, int]) -> str | None:
    """Why ``array`` is not what :data:`KEYS` says about ``key``, or None; its letters enter ``known``."""
    expected = tuple(known.get(size, size) if isinstance(size, str) else size for size in KEYS[key])
    fits = array.ndim == len(expected) and all(
        isinstance(wanted, str) or wanted == found
        for wanted, found in zip(expected, array.shape, strict=True)
    )
    if not fits:
        return f"{key}: expected shape {_shape(expected)}, found {_shape(array.shape)}"
    known |= {
        wanted: found for wanted, found in zip(expected, array.shape, strict=True) if isinstance(wanted, str)
    }
    if key in _INTEGERS:
        return None if is_whole(array) else f"{key}: expected whole numbers, found {array.dtype}"
    if array.dtype not in (np.float32, np.float64):
        return f"{key}: expected float32 or float64, found {array.dtype}"
    return None


def _shape(shape: tuple[int | str, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"


def _several(path: Path, problems: list[str]) -> str:
    lines = "".join(f"\n  {problem}" for problem in problems)
    return f"{path}: is no intact body model:{lines}\nTake a fresh copy of the file."


def _regressor(value: Any, path: Path, family: Family) -> Any:
    import scipy.sparse

    expected = (JOINTS[family], VERTICES[family])
    found = value if is_sparse(value) else as_numbers(value, f"{path}: J_regressor")
    if found.shape != expected or found.dtype not in (np.float32, np.float64):
        raise AssetError(
            f"{path}: J_regressor: expected float32 or float64 of shape {expected}, found {found.dtype} of "
            f"{found.shape}."
        )
    matrix = scipy.sparse.csr_matrix(found)
    matrix.sum_duplicates()  # one form for one content: the hash of a model does not depend on who wrote it
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix


def _parents(kintree: NDArray[Any], path: Path) -> NDArray[np.int64]:
    parents, ids = kintree[0].tolist(), kintree[1].tolist()
    if ids != list(range(len(ids))):
        raise AssetError(f"{path}: kintree_table: expected joints 0 to {len(ids) - 1} in row 1, found {ids}.")
    limit = np.iinfo(np.int64).max
    clean = [-1 if int(parent) in _NO_PARENT else min(int(parent), limit) for parent in parents]
    return np.array(clean, dtype=np.int64)


def _optional(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Hands and face as BodyModel has them; nothing for what the file lacks."""
    made: dict[str, Any] = {}
    if "hands_meanl" in arrays:
        made["hand_mean"] = np.stack([arrays["hands_meanl"], arrays["hands_meanr"]])
        made["hand_components"] = np.stack([arrays["hands_componentsl"], arrays["hands_componentsr"]])
    if "lmk_faces_idx" in arrays:
        made["landmark_faces"] = as_indices(arrays["lmk_faces_idx"])
        made["landmark_bary"] = arrays["lmk_bary_coords"]
        made["contour_faces"] = as_indices(arrays["dynamic_lmk_faces_idx"])
        made["contour_bary"] = arrays["dynamic_lmk_bary_coords"]
    return made


def _freeze(model: BodyModel) -> None:
    """A cached model is shared: a write into it would change everybody's bodies."""
    values = (getattr(model, name) for name in BodyModel.__dataclass_fields__)
    for array in (value for value in values if isinstance(value, np.ndarray)):
        array.setflags(write=False)
    for part in (model.joint_regressor.data, model.joint_regressor.indices, model.joint_regressor.indptr):
        part.setflags(write=False)
