from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core.errors import UnsafeFileError
from hmtools.shards import npz
from hmtools.shards.npz import npz_arrays, npz_bytes

ARRAYS: dict[str, Any] = {
    "box": np.arange(5, dtype=np.float32),
    "matrix": np.eye(2, 3, dtype=np.float32),
    "flags": np.array([True, False, True]),
    "nothing": np.zeros((3, 0), np.float32),
}


def archive(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as written:
        for name, data in entries.items():
            written.writestr(zipfile.ZipInfo(name), data, compression)
    return buffer.getvalue()


def npy(array: Any, *, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=allow_pickle)
    return buffer.getvalue()


def test_round_trip_is_exact() -> None:
    found = npz_arrays(npz_bytes(ARRAYS), "x.npz")
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_entries_are_what_numpy_saves() -> None:
    views = {"turned": np.eye(3)[:, ::-1], "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3))}
    arrays = {**ARRAYS, **views, "scalar": np.array(2.5), "wide": np.zeros((2, 1), ">i2")}
    with zipfile.ZipFile(io.BytesIO(npz_bytes(arrays))) as written:
        assert written.testzip() is None
        for name, array in arrays.items():
            assert written.read(f"{name}.npy") == npy(np.ascontiguousarray(array).reshape(array.shape))


def test_no_arrays_make_a_readable_archive() -> None:
    assert npz_arrays(npz_bytes({}), "x.npz") == {}


def test_anybody_can_read_it_and_it_holds_nothing_else() -> None:
    with np.load(io.BytesIO(npz_bytes(ARRAYS)), allow_pickle=False) as loaded:
        assert loaded.files == list(ARRAYS)  # and no entry that an option of some numpy left behind


def test_bytes_hold_no_time() -> None:
    with zipfile.ZipFile(io.BytesIO(npz_bytes(ARRAYS))) as written:
        assert {entry.date_time for entry in written.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {entry.compress_type for entry in written.infolist()} == {zipfile.ZIP_STORED}
    assert npz_bytes(ARRAYS) == npz_bytes(ARRAYS)


def test_object_arrays_are_never_written() -> None:
    with pytest.raises(ValueError, match=r"[Oo]bject"):
        npz_bytes({"bad": np.array([{}], object)})


def test_pickles_are_refused(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Touch:
        def __reduce__(self) -> tuple[Any, ...]:
            return marker.touch, ()

    hostile = archive({"a.npy": npy(np.array([Touch()], object), allow_pickle=True)})
    with pytest.raises(UnsafeFileError, match=r"s/0\.npz.*pickle"):
        npz_arrays(hostile, "s/0.npz")
    assert not marker.exists()


def test_oversized_is_refused_before_it_inflates(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = archive({"a.npy": npy(np.zeros(1 << 20, np.uint8))}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 10_000
    monkeypatch.setattr(npz, "_LIMIT", 1 << 20)
    with pytest.raises(UnsafeFileError, match=r"x\.npz: inflates to 10\d+ bytes, at most 1048576"):
        npz_arrays(bomb, "x.npz")


@pytest.mark.parametrize("shape", [(1 << 40,), (1 << 62,), (1 << 40, 1 << 40), (-1,)])
def test_a_header_that_claims_too_much(shape: tuple[int, ...]) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    data = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header.ljust(117).encode() + b"\n"
    with pytest.raises(UnsafeFileError, match=r"x\.npz"):
        npz_arrays(archive({"a.npy": data}), "x.npz")


@pytest.mark.parametrize(("entry", "data"), [("readme.txt", b"hello"), ("a", b"hello"), ("a.npy", b"")])
def test_entries_that_are_no_arrays(entry: str, data: bytes) -> None:
    with pytest.raises(UnsafeFileError, match=r"x\.npz"):
        npz_arrays(archive({entry: data}), "x.npz")


@pytest.mark.parametrize("data", [b"", b"PK", b"{}", npy(np.ones(3))])
def test_not_an_archive(data: bytes) -> None:
    with pytest.raises(UnsafeFileError, match=r"x\.npz: not a plain npz"):
        npz_arrays(data, "x.npz")


def test_truncated_anywhere() -> None:
    whole = npz_bytes(ARRAYS)
    for size in range(0, len(whole), 7):
        with pytest.raises(UnsafeFileError):
            npz_arrays(whole[:size], "x.npz")


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_damage_is_one_kind_of_error(data: st.DataObject) -> None:
    """A damaged archive gives arrays or UnsafeFileError, never anything else."""
    compression = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    whole = bytearray(archive({"a.npy": npy(ARRAYS["box"]), "b.npy": npy(ARRAYS["flags"])}, compression))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = npz_arrays(bytes(whole), "x.npz")
    except UnsafeFileError:
        return
    assert all(isinstance(array, np.ndarray) for array in found.values())
