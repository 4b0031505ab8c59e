"""Whatever a value was stored as, it becomes plain numbers or a named error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from hmtools.bodies.raw_file import (
    as_indices,
    as_numbers,
    is_sparse,
    is_whole,
    keys_of,
    marked_standin,
    read_raw,
)
from hmtools.core.errors import AssetError, LayoutError
from hmtools.core.safe_pickle import ChumpyArray, load_pickle

from .model_files import save
from .python2 import Old, python2_pickle

X = np.arange(12.0).reshape(3, 4)


def chumpy(kind: str = "chumpy.ch.Ch", **state: Any) -> ChumpyArray:
    made = ChumpyArray(kind)
    made.state = state
    return made


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (X, X),
        (X.astype(">f4"), X.astype("f4")),
        (np.asfortranarray(X), X),
        (sparse.csc_matrix(X), X),
        (chumpy(x=X), X),
        (chumpy(x=chumpy(x=X)), X),
        ([[1, 2], [3, 4]], np.array([[1, 2], [3, 4]])),
        (np.array([1.5, 2], dtype=object), np.array([1.5, 2])),
        (7, np.array(7)),
    ],
)
def test_numbers_of_every_kind(value: Any, expected: Any) -> None:
    found = as_numbers(value, "here")
    assert found.dtype == expected.dtype
    assert found.flags.c_contiguous
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "value",
    ["lbs", b"x", None, {"a": 1}, [[1], [1, 2]], np.array(["a"]), np.array([None]), 1j, np.zeros(2, "M8[s]")],
)
def test_what_is_no_number_is_named(value: Any) -> None:
    with pytest.raises(AssetError, match=r"m\.pkl: key: (expected an array of numbers|cannot be read)"):
        as_numbers(value, "m.pkl: key")


def test_a_sparse_matrix_of_forged_size_reserves_nothing() -> None:
    with pytest.raises(AssetError, match="larger than any body model"):
        as_numbers(sparse.csr_matrix((1 << 30, 1 << 30)), "here")


def test_a_chumpy_selection_is_carried_out() -> None:
    """shapedirs[:, :, :10] of a chumpy array is stored as the whole array and flat positions."""
    whole = np.random.default_rng(0).normal(size=(5, 3, 20))
    flat = np.arange(whole.size).reshape(whole.shape)[:, :, :10].ravel()
    state = {"a": chumpy(x=whole), "idxs": flat, "preferred_shape": (5, 3, 10)}
    for value in (
        chumpy("chumpy.reordering.Select", **state),
        chumpy(x=chumpy("chumpy.reordering.Select", **state)),
    ):
        np.testing.assert_array_equal(as_numbers(value, "here"), whole[:, :, :10])


@pytest.mark.parametrize(
    "state",
    [
        {"a": X, "idxs": np.array([99]), "preferred_shape": (1,)},
        {"a": X, "idxs": np.array([1]), "preferred_shape": (2,)},
        {"a": X, "idxs": "x", "preferred_shape": (1,)},
        {"a": X, "idxs": np.array([1]), "preferred_shape": None},
        {},
    ],
)
def test_a_selection_that_does_not_fit_is_named(state: dict[str, Any]) -> None:
    with pytest.raises(AssetError, match="here: a chumpy selection that does not fit"):
        as_numbers(chumpy("chumpy.reordering.Select", **state), "here")


def test_chumpy_expressions_and_loops_are_named() -> None:
    with pytest.raises(AssetError, match=r"here: chumpy\.ch\.add holds an expression"):
        as_numbers(chumpy("chumpy.ch.add", a=1, b=2), "here")
    loop = chumpy("chumpy.reordering.Select")
    loop.state = {"a": loop, "idxs": np.array([0]), "preferred_shape": (1,)}
    with pytest.raises(AssetError, match="nested without end"):
        as_numbers(loop, "here")


@pytest.mark.parametrize("by_reconstructor", [False, True])
def test_a_python_2_pickle_with_chumpy_and_scipy(tmp_path: Path, by_reconstructor: bool) -> None:
    matrix = sparse.csc_matrix(X)
    old_matrix = {
        "_shape": (3, 4), "maxprint": 50, "indices": matrix.indices.astype("i4"),
        "indptr": matrix.indptr.astype("i4"), "data": matrix.data, "format": "csc",
    }  # fmt: skip
    content = {
        "shapedirs": Old("chumpy.ch", "Ch", {"x": X, "_dirty_vars": None}),
        "J_regressor": Old("scipy.sparse.csc", "csc_matrix", old_matrix),
        "bs_style": "lbs",
    }
    path = tmp_path / "m.pkl"
    path.write_bytes(python2_pickle(content, by_reconstructor=by_reconstructor))
    raw = read_raw(path)
    assert list(raw) == ["shapedirs", "J_regressor", "bs_style"]
    assert is_sparse(raw["J_regressor"])
    np.testing.assert_array_equal(as_numbers(raw["J_regressor"], "here"), X)
    np.testing.assert_array_equal(as_numbers(raw["shapedirs"], "here"), X)
    assert load_pickle(path, encoding="bytes")[b"bs_style"] == b"lbs"


def test_keys_become_text_and_stored_objects_are_unwrapped(tmp_path: Path) -> None:
    raw = read_raw(save(tmp_path / "a.pkl", {b"left_hand": X, 3: 1}))
    assert set(raw) == {"left_hand", "3"}
    raw = read_raw(save(tmp_path / "a.npz", {"a": np.array({"x": X}, dtype=object), "b": X}))
    assert isinstance(raw["a"], dict)
    assert raw["b"].shape == (3, 4)
    assert read_raw(save(tmp_path / "a.npy", X)).shape == (3, 4)
    assert read_raw(save(tmp_path / "b.pkl", X)).shape == (3, 4)


def test_files_that_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(AssetError, match=r"a\.txt: is no \.npz, \.npy or \.pkl file"):
        read_raw(tmp_path / "a.txt")
    with pytest.raises(LayoutError, match=r"none\.npz: cannot be opened"):
        read_raw(tmp_path / "none.npz")


def test_whole_numbers_and_indices() -> None:
    for good in (np.arange(3), np.array([1.0, -2.0]), np.array([2**64 - 1], np.uint64)):
        assert is_whole(good)
    for bad in ([0.5], [np.nan], [np.inf], [1e300]):
        assert not is_whole(np.array(bad))
    assert as_indices(np.array([2**64 - 1, 5], np.uint64)).tolist() == [2**63 - 1, 5]
    assert as_indices(np.array([3.0])).dtype == np.int64


def test_the_mark_of_the_stand_in() -> None:
    assert marked_standin({"standin": "hmtools stand-in 1"})
    assert not marked_standin({"f": X})
    assert not marked_standin(X)
    assert keys_of(dict.fromkeys(map(str, range(30)))).endswith(", ...")
