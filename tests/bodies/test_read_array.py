"""Templates, ids, regressors, transfers, parameters: read, checked, and named when wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from hmtools.bodies.catalogue import CATALOGUE
from hmtools.bodies.model import VERTICES
from hmtools.bodies.read_array import array_from_raw, read_array
from hmtools.core.errors import AssetError, UnsafeFileError

from .attacks import ATTACKS, attack
from .model_files import array_content, official_path, save, write_asset

ARRAYS = {key: row for key, row in CATALOGUE.items() if row.kind != "model"}
HERE = Path("here.pkl")


@pytest.mark.parametrize("key", ARRAYS)
def test_every_row_is_read(tmp_path: Path, key: str) -> None:
    row = ARRAYS[key]
    found = read_array(write_asset(tmp_path, key), row)
    assert found.shape == row.shape
    if row.kind == "transfer":
        assert found.format == "csr"
        np.testing.assert_allclose(np.asarray(found.sum(axis=1)), 1)
        parts = [found.data, found.indices, found.indptr]
    else:
        parts = [found]
        content = array_content(row)
        expected = list(content.values()) if isinstance(content, dict) else [content]
        joined = np.stack(expected) if row.kind == "ids" and row.entries else np.concatenate(expected)
        np.testing.assert_array_equal(found, joined.reshape(found.shape))
    assert not any(part.flags.writeable for part in parts)


def test_the_left_hand_comes_first() -> None:
    row = CATALOGUE["mano_smplx_vertex_ids"]
    raw = {"right_hand": np.arange(778), "left_hand": np.arange(778) + 9000}
    assert array_from_raw(raw, HERE, row)[:, 0].tolist() == [9000, 0]


def test_indices_stored_as_floats_are_indices() -> None:
    found = array_from_raw(np.arange(4010.0), HERE, CATALOGUE["body_verts_smpl"])
    assert found.dtype == np.int64


def test_a_transfer_keeps_the_half_that_takes_vertices() -> None:
    """The columns of the second half move along normals."""
    row = CATALOGUE["smplx_to_smpl"]
    near = sparse.csr_matrix((np.ones(6890), (np.arange(6890), np.arange(6890) + 7)), shape=(6890, 10475))
    both = sparse.hstack([near, near * 5])
    for raw in ({"mtx": both}, {"matrix": near}, near, {"matrix": near.toarray()}):
        found = array_from_raw(raw, HERE, row)
        assert found.shape == (6890, 10475)
        assert (found != near).nnz == 0


def _bad(key: str) -> list[tuple[Any, str]]:
    """Wrong contents of a row, with what is said about each."""
    row = ARRAYS[key]
    right = array_content(row)
    assert row.shape is not None
    if row.kind == "transfer":
        matrix = right["mtx"].tocsr()
        return [
            ({"mtx": matrix.T}, "other direction"),
            ({"mtx": matrix * 2}, "must sum to 1"),
            ({"mtx": matrix * np.nan}, "not finite"),
            ({"mtx": "text"}, "expected an array of numbers"),
            ({"a": 1, "b": 2}, "found the keys a, b"),
        ]
    if isinstance(right, dict):
        name = next(iter(right))
        return [
            ({k: v for k, v in right.items() if k != name}, f"expected the keys {', '.join(row.entries)}"),
            (right[name], "expected the keys"),
            (right | {name: right[name][:-1]}, "expected "),
            (right | {name: "text"}, "expected an array of numbers"),
        ]
    if row.kind == "ids":
        return [
            (right[:-1], r"expected whole numbers of shape"),
            (right + 0.5, "expected whole numbers"),
            (right + VERTICES[row.family], "expected vertex indices below"),
            (right - 20000, "expected vertex indices below"),
            (right.astype("u8") - np.uint64(20000), "expected vertex indices below"),
        ]
    nan = right.copy()
    nan[0, 0] = np.nan
    wrong = [
        (right[:-1], "of shape"),
        (right.T, "of shape"),
        (nan, "1 of .* not finite"),
        (right * 1000, "must sum to 1" if row.kind == "regressor" else "largest extent"),
        (np.ones(row.shape, int), "expected float32 or float64"),
        (sparse.coo_matrix((1 << 40, 1 << 40)), "expected shape"),
    ]
    return wrong


@pytest.mark.parametrize("key", ARRAYS)
def test_wrong_contents_are_named(key: str) -> None:
    for content, expected in _bad(key):
        with pytest.raises(AssetError, match=expected) as caught:
            array_from_raw(content, HERE, ARRAYS[key])
        assert "here.pkl" in str(caught.value)


def test_two_regressors_under_the_wrong_name() -> None:
    """J_regressor_extra (9 rows) and SMPL_to_J19 (19 rows) are mixed up easily."""
    extra = array_content(CATALOGUE["j_regressor_extra"])
    with pytest.raises(AssetError, match=r"shape \(19, 6890\) for smpl_to_j19, found float32 of \(9, 6890\)"):
        array_from_raw(extra, HERE, CATALOGUE["smpl_to_j19"])


@pytest.mark.parametrize(
    "change",
    [
        {"indices": np.array([99999] * 6890)},
        {"indptr": np.arange(6891)[::-1]},
        {"indptr": np.arange(3)},
        {"shape": np.array([6890, 10475, 1])},
        {"shape": np.array([-1, 10475])},
        {"indices": np.full(6890, 0.5)},
        {"format": np.array(b"csc")},
    ],
)
def test_forged_indices_of_a_clean_transfer_are_refused(change: dict[str, Any]) -> None:
    raw = {
        "data": np.ones(6890), "indices": np.arange(6890), "indptr": np.arange(6891),
        "shape": np.array([6890, 10475]), "format": np.array(b"csr"),
    }  # fmt: skip
    assert array_from_raw(raw, HERE, CATALOGUE["smplx_to_smpl"]).nnz == 6890
    with pytest.raises(AssetError, match=r"here\.pkl"):
        array_from_raw(raw | change, HERE, CATALOGUE["smplx_to_smpl"])


@pytest.mark.parametrize("key", [key for key in ARRAYS if official_path(ARRAYS[key]).endswith(".pkl")])
@pytest.mark.parametrize("name", ATTACKS)
def test_a_pickle_that_wants_to_run_something_is_refused(tmp_path: Path, key: str, name: str) -> None:
    canary, path = tmp_path / "canary", tmp_path / Path(official_path(ARRAYS[key])).name
    path.write_bytes(attack(name, canary))
    with pytest.raises(UnsafeFileError, match=path.name):
        read_array(path, ARRAYS[key])
    assert not canary.exists()


@pytest.mark.parametrize(
    "key", ["mano_smplx_vertex_ids", "smplx_flame_vertex_ids", "smpl_mean_params", "smplx_to_smpl"]
)
@settings(max_examples=40, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_named(
    tmp_path_factory: pytest.TempPathFactory, key: str, place: float
) -> None:
    whole = tmp_path_factory.getbasetemp() / "cut" / official_path(ARRAYS[key])
    if not whole.exists():
        save(whole, array_content(ARRAYS[key]))
    data = whole.read_bytes()
    cut = whole.with_name(f"cut_{whole.name}")
    cut.write_bytes(data[: int(place * len(data))])
    with pytest.raises(AssetError, match=cut.name):
        read_array(cut, ARRAYS[key])
