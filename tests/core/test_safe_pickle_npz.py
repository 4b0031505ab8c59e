"""npz and npy files: plain arrays, object arrays through the guard, bombs, lies and damage."""

from __future__ import annotations

import errno
import io
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.core.errors import AssetError, UnsafeFileError
from hmtools.core.safe_pickle import load_npy, load_npz

ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    "float32": np.arange(12, dtype="f4").reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "big endian": np.arange(5, dtype=">f8"),
    "strided": np.arange(10)[::3],
    "zero-d": np.array(3.0),
    "empty": np.zeros((0, 3)),
    "empty fortran": np.zeros((3, 0, 2), order="F"),
    "unicode": np.array(["ab", "c\xe9"]),
    "times": np.array(["2020-01-01", "NaT"], dtype="M8[s]"),
    "record": np.zeros(3, [("a", "<f4"), ("b", ">i2", (3,)), ("e", [("f", "u1")])]),
    "bool": np.array([True, False]),
}


def assert_same(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> None:
    assert (a.dtype, a.shape, a.flags.writeable) == (b.dtype, b.shape, b.flags.writeable)
    assert a.flags.f_contiguous == b.flags.f_contiguous
    assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_round_trip(tmp_path: Path, save: Any) -> None:
    path = tmp_path / "x.npz"
    save(path, **ARRAYS)
    found = load_npz(path)
    assert list(found) == list(ARRAYS)
    with np.load(path) as expected:
        for name in ARRAYS:
            assert_same(found[name], expected[name])


def test_npy_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    for array in (ARRAYS["float32"], ARRAYS["fortran"], ARRAYS["record"], np.zeros((3, 0)), np.array(1)):
        np.save(path, array)
        assert_same(load_npy(path), np.load(path))


def test_object_arrays_need_to_be_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "human.npz"
    meta = {"gender": ["f", "m"], "n": 2}
    np.savez(path, pose=np.zeros(3), meta=np.array(meta), names=np.array(["a", None], dtype=object))
    with pytest.raises(UnsafeFileError, match=r"human\.npz\[meta\.npy\]: holds pickled objects"):
        load_npz(path)
    found = load_npz(path, pickled=True)
    assert found["meta"].shape == ()
    assert found["meta"].item() == meta
    assert found["names"].tolist() == ["a", None]
    np.save(tmp_path / "x.npy", np.array(meta))
    with pytest.raises(UnsafeFileError, match=r"x\.npy: holds pickled objects"):
        load_npy(tmp_path / "x.npy")
    assert load_npy(tmp_path / "x.npy", pickled=True).item() == meta


def test_an_npz_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, a=np.zeros(1_000_000), b=np.zeros(1_000_000))
    assert path.stat().st_size < 30_000
    with pytest.raises(
        UnsafeFileError, match=r"bomb\.npz: unpacks to 16,000,256 bytes, the bound is 9,000,000"
    ):
        load_npz(path, max_bytes=9_000_000)
    assert load_npz(path, max_bytes=17_000_000)["b"].shape == (1_000_000,)


def npz_with(path: Path, member: bytes, *, name: str = "a.npy", method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, member)
    return path


def npy(header: str, data: bytes = b"") -> bytes:
    padded = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded.encode() + data


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        (
            npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }", b"x" * 8),
            "its data is 8",
        ),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", b"x" * 8), "its data is 8"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -1), }", b"x" * 8), "its data is 8"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", b"x" * 9), "its data is 9"),
        (
            npy("{'descr': '|O', 'fortran_order': False, 'shape': (3,), }", pickle.dumps([1, 2, 3])),
            "holds list",
        ),
        (
            npy("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", pickle.dumps(np.array([None]))),
            "reshape",
        ),
        (npy("{'descr': __import__('os'), 'fortran_order': False, 'shape': (3,), }"), "header"),
        (b"\x93NUMPY\x09\x00" + bytes(60), "version"),
        (b"no numpy here", "magic"),
        (b"", "an npz member"),
    ],
)
def test_a_member_whose_header_lies(tmp_path: Path, member: bytes, expected: str) -> None:
    path = npz_with(tmp_path / "lies.npz", member)
    with pytest.raises(AssetError, match=r"lies\.npz\[a\.npy\]: cannot be read") as error:
        load_npz(path, pickled=True)
    assert expected in str(error.value)


def test_members_that_are_no_arrays(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"x\.npz: 'readme\.txt' is not an \.npy member"):
        load_npz(npz_with(tmp_path / "x.npz", b"hello", name="readme.txt"))
    with pytest.raises(AssetError, match=r"y\.npz: cannot be read as an npz file \('a' is compressed"):
        load_npz(npz_with(tmp_path / "y.npz", b"hello" * 9, method=zipfile.ZIP_BZIP2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile tells us what we are doing
        with zipfile.ZipFile(tmp_path / "z.npz", "w") as archive:
            stream = io.BytesIO()
            np.save(stream, np.zeros(2))
            archive.writestr("a.npy", stream.getvalue())
            archive.writestr("a.npy", stream.getvalue())
    with pytest.raises(AssetError, match=r"z\.npz: 'a\.npy' occurs twice"):
        load_npz(tmp_path / "z.npz")


@pytest.mark.parametrize("compress", [np.savez, np.savez_compressed])
def test_a_cut_or_changed_npz_is_refused_with_its_name(tmp_path: Path, compress: Any) -> None:
    whole, path = tmp_path / "whole.npz", tmp_path / "cut.npz"
    compress(whole, a=np.random.default_rng(0).normal(size=50), b=np.array({"x": 1}))
    data = whole.read_bytes()
    for end in range(0, len(data), 7):
        path.write_bytes(data[:end])
        with pytest.raises(AssetError, match=r"cut\.npz"):
            load_npz(path, pickled=True)
    middle = data.index(b"a.npy") + 200
    path.write_bytes(data[:middle] + bytes(x ^ 0xFF for x in data[middle : middle + 8]) + data[middle + 8 :])
    with pytest.raises(AssetError, match=r"cut\.npz\[a\.npy\]"):
        load_npz(path, pickled=True)


def test_a_member_that_states_more_than_it_holds(tmp_path: Path) -> None:
    """Header and zip directory agree on 400 MB, the checksum is right, 80 bytes are there."""
    member = npy("{'descr': '<f8', 'fortran_order': False, 'shape': (50_000_000,), }", bytes(80))
    path = npz_with(tmp_path / "x.npz", member, method=zipfile.ZIP_DEFLATED)
    data, stated = path.read_bytes(), len(member) - 80 + 400_000_000
    at = data.rindex(len(member).to_bytes(4, "little"))  # in the directory, which is what Python believes
    path.write_bytes(data[:at] + stated.to_bytes(4, "little") + data[at + 4 :])
    with pytest.raises(AssetError, match=r"x\.npz\[a\.npy\].*cut off"):
        load_npz(path)


def test_a_pickle_given_as_npz_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(AssetError, match=r"x\.npz: cannot be read as an npz file \(File is not a zip file\)"):
        load_npz(path)


@pytest.mark.parametrize(("number", "expected"), [(errno.EINVAL, AssetError), (errno.EIO, OSError)])
def test_a_failing_disk_is_not_called_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[Exception]
) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros(3))

    def fails(*_: object, **__: object) -> None:
        raise OSError(number, "it failed")

    monkeypatch.setattr(zipfile.ZipFile, "open", fails)
    with pytest.raises(expected, match="it failed"):
        load_npz(path)
