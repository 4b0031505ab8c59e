from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

from hmtools.bench.readers.arrays import ArrayReader, open_arrays
from hmtools.core.errors import AssetError, HmtoolsError, LayoutError, SchemaError

ANY = hn.arrays(
    st.sampled_from([np.dtype(kind) for kind in ("<f4", ">f8", "i8", "U3", "?")]),
    hn.array_shapes(min_dims=0, max_dims=3, max_side=4),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), ANY, min_size=1), st.booleans())
def test_mapped_arrays_are_those_of_numpy(
    tmp_path: Path, arrays: dict[str, np.ndarray], turned: bool
) -> None:
    stored = {name: np.asarray(array, order="F" if turned else "C") for name, array in arrays.items()}
    np.savez(tmp_path / "a.npz", **stored)  # type: ignore[arg-type]
    found = open_arrays(tmp_path / "a.npz")
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert np.array_equal(found[name], array, equal_nan=array.dtype.kind == "f")
        assert not found[name].flags.writeable


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.data())
def test_damaged_files_are_errors_of_ours(tmp_path: Path, data: st.DataObject) -> None:
    save = data.draw(st.sampled_from([np.savez, np.savez_compressed]))
    save(tmp_path / "a.npz", key=np.array(["a", "b"]), smpl_betas=np.ones((2, 10)))
    blob = bytearray((tmp_path / "a.npz").read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(blob) - 1), min_size=1, max_size=3)):
        blob[place] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(blob))) if data.draw(st.booleans()) else len(blob)
    (tmp_path / "a.npz").write_bytes(blob[:end])
    with contextlib.suppress(HmtoolsError):
        assert ArrayReader(tmp_path / "a.npz").read([0])["smpl_betas"].shape[0] == 1


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_text_that_is_none_is_refused(save: Any, tmp_path: Path) -> None:
    """A flipped bit in a stored key, which no checksum of a mapped file tells."""
    key = np.array([97, 0x110000], np.uint32).view("U1")
    save(tmp_path / "a.npz", key=key, smpl_betas=np.ones((2, 10)))
    with pytest.raises(AssetError, match="characters that do not exist; the file is damaged"):
        ArrayReader(tmp_path / "a.npz")


def test_several_files_are_one(tmp_path: Path) -> None:
    for part, numbers in enumerate(([5, 6], [7])):
        betas = np.array(numbers, float)[:, None].repeat(10, 1)
        np.savez(tmp_path / f"{part}.npz", source_index=np.array(numbers), smpl_betas=betas)
    reader = ArrayReader(tmp_path)
    assert len(reader.listed) == 3
    assert reader.listed.source_index is not None
    assert reader.listed.source_index.tolist() == [5, 6, 7]
    assert reader.read([2, 0, 1])["smpl_betas"][:, 0].tolist() == [7, 5, 6]
    np.savez(tmp_path / "2.npz", source_index=np.array([8]), smpl_betas=np.ones((1, 16)))
    with pytest.raises(SchemaError, match=r"smpl_betas \(10,\).* in 0.npz and smpl_betas \(16,\).* in 2.npz"):
        ArrayReader(tmp_path)
    np.savez(tmp_path / "2.npz", key=np.array(["k"]), smpl_betas=np.ones((1, 10)))
    with pytest.raises(SchemaError, match="whose they are"):
        ArrayReader(tmp_path)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="no "):
        ArrayReader(tmp_path)
    with pytest.raises(LayoutError, match="cannot be opened"):
        open_arrays(tmp_path / "a.npz")
    (tmp_path / "a.npz").write_bytes(b"")
    with pytest.raises(AssetError, match="no npz"):
        open_arrays(tmp_path / "a.npz")
