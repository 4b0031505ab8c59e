"""Files of weights: what is read, what is refused, and that nothing inside runs."""

from __future__ import annotations

import contextlib
import io
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from hmtools.core.atomic import file_sha256
from hmtools.core.errors import CheckpointError, UnsafeFileError
from hmtools.models.weight_files import open_weights, write_safetensors
from tests.models.weight_samples import Attack


def saved(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_under_a_key_with_numpy_numbers_beside(tmp_path: Path, zipped: bool) -> None:
    weights = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(5)}
    numbers = {
        "lr": np.float64(0.5),
        "big": np.dtype(">f4").type(2),
        "on": np.bool_(True),
        "half": np.float16(1),
    }
    content = {"network": weights, "epoch": np.int32(4), "optimizer": numbers, "best": np.uint8(3)}
    file = open_weights(saved(tmp_path / "x.pth.tar", content, _use_new_zipfile_serialization=zipped))
    assert (file.kind, file.epoch, file.beside) == ("torch", 4, ("best", "optimizer"))
    assert set(file.state) == {"a", "b"}
    assert torch.equal(file.state["a"], weights["a"])


def test_weights_alone_and_the_epoch_of_mmpose(tmp_path: Path) -> None:
    alone = open_weights(saved(tmp_path / "a.pth", {"x": torch.ones(2)}))
    assert (alone.epoch, alone.beside) == (None, ())
    meta = {"state_dict": {"x": torch.ones(2)}, "meta": {"epoch": 210}}
    assert open_weights(saved(tmp_path / "b.pth", meta)).epoch == 210
    for odd in (-1, 10**9, "9", 1.5):
        content = {"state_dict": {"x": torch.ones(2)}, "epoch": odd}
        assert open_weights(saved(tmp_path / "c.pth", content)).epoch is None


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["network", "optimizer"])
def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path: Path, zipped: bool, place: str) -> None:
    canary = tmp_path / "canary"
    content: dict[str, Any] = {"network": {"x": torch.ones(2)}, "optimizer": {}}
    content[place] = Attack(canary)
    path = saved(tmp_path / "evil.pth.tar", content, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnsafeFileError, match=r"evil\.pth\.tar: asks for (posix|os)\.system"):
        open_weights(path)
    assert not canary.exists()


def test_objects_are_refused_by_name(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.pth", {"network": {"x": torch.ones(2)}, "config": Path("x")})
    with pytest.raises(UnsafeFileError, match=r"asks for pathlib\.\w*Path, which is no data"):
        open_weights(path)
    path = saved(tmp_path / "y.pth", {"network": {"x": torch.ones(2)}, "arrays": np.zeros(3)})
    with pytest.raises(UnsafeFileError, match=r"asks for numpy\._?core\.multiarray\._reconstruct"):
        open_weights(path)


def archive(name: str) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz" if name == "gz" else "w") as tar:
        tar.addfile(tarfile.TarInfo("weights.pth"))
    return target.getvalue()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
        (b"\n<!DOCTYPE html><html>Sign in", "a web page"),
        (b"<HTML>", "a web page"),
        ("Übung macht".encode(), "text that begins 'Übung macht'"),
        (archive("tar"), "a tar archive"),
        (archive("gz"), "a gzip archive"),
        (b"\x00\x01\x02", "bytes that begin 00 01 02"),
    ],
    ids=("empty", "pointer", "doctype", "html", "text", "tar", "gzip", "bytes"),  # a gzip holds the time
)
def test_files_of_another_kind_are_told(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "smpler_x_h32.pth.tar"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=expected) as error:
        open_weights(path)
    assert str(path) in str(error.value)


def test_absent_files_and_folders(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere.pth"):
        with pytest.raises(CheckpointError, match="no such file"):
            open_weights(path)


@pytest.mark.parametrize("kind", ["zip", "old", "safetensors"])
def test_a_file_cut_short_anywhere_is_an_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    state = {"a": torch.ones(50), "b": torch.ones(3, 4)}
    if kind == "safetensors":
        write_safetensors(path, state)
    else:
        saved(path, {"network": state}, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    for length in range(1, len(whole), 73):
        path.write_bytes(whole[:length])
        # Cut inside a name, the old format asks for another name: refused, which is as good.
        error = (CheckpointError, UnsafeFileError) if kind == "old" else CheckpointError
        with pytest.raises(error, match=r"cut short|cannot be read|begin|asks for torch"):
            open_weights(path)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**6), value=st.integers(0, 255), kind=st.sampled_from(["zip", "old", "st"]))
def test_a_changed_byte_is_data_or_a_typed_error(tmp_path: Path, place: int, value: int, kind: str) -> None:
    path = tmp_path / kind
    if kind == "st":
        write_safetensors(path, {"a": torch.ones(5)})
    else:
        content = {"network": {"a": torch.ones(5)}, "epoch": np.int64(3)}
        saved(path, content, _use_new_zipfile_serialization=kind == "zip")
    data = bytearray(path.read_bytes())
    data[place % len(data)] = value
    path.write_bytes(data)
    with contextlib.suppress(CheckpointError, UnsafeFileError):
        open_weights(path)


def test_archives_that_torch_did_not_write(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w") as target:
        target.writestr("inner.pth", b"x")
    with pytest.raises(CheckpointError, match=r"without torch's data.pkl \(it holds inner.pth\)"):
        open_weights(path)
    source = saved(tmp_path / "plain.pth", {"network": {"a": torch.zeros(1000)}})
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in old.namelist():
            target.writestr(name, old.read(name))
    with pytest.raises(UnsafeFileError, match="compressed members"):
        open_weights(path)


def test_checksums_inside_are_compared_when_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.pth", {"network": {"a": torch.full((64,), 3.0)}})
    data = path.read_bytes()
    assert open_weights(path, verify=True).state["a"][5] == 3
    at = data.index(struct.pack("<f", 3.0) * 8) + 20
    path.write_bytes(data[:at] + b"\x55" + data[at + 1 :])
    open_weights(path)
    with pytest.raises(CheckpointError, match=r"x/data/0 inside it does not have its checksum: damaged"):
        open_weights(path, verify=True)


def forged(source: Path, old: bytes, new: bytes) -> Path:
    """The file with other bytes in its pickle."""
    target = source.with_name("forged.pth")
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w") as after:
        for name in before.namelist():
            data = before.read(name)
            if name.endswith("data.pkl"):
                assert old in data
                data = data.replace(old, new)
            after.writestr(name, data)
    return target


def test_a_forged_shape_does_not_take_memory(tmp_path: Path) -> None:
    source = saved(tmp_path / "plain.pth", {"network": {"a": torch.arange(4.0)}})
    huge = b"J" + struct.pack("<i", 2**31 - 1)
    with pytest.raises(CheckpointError, match="cannot be read"):
        open_weights(forged(source, b"K\x04\x85q\x0a", huge + b"\x85q\x0a"))


def test_numbers_of_both_numpy_versions_are_read(tmp_path: Path) -> None:
    source = saved(tmp_path / "plain.pth", {"network": {"a": torch.ones(2)}, "epoch": np.int64(4)})
    new, old = b"numpy._core.multiarray", b"numpy.core.multiarray"
    other = (new, old) if new in source.read_bytes() else (old, new)
    assert open_weights(source).epoch == open_weights(forged(source, *other)).epoch == 4


class ForgedNumber:
    """Pickles as a NumPy number with too few bytes, or of a type that is no number."""

    def __init__(self, dtype: str, data: bytes) -> None:
        self.parts = np.dtype(dtype), data

    def __reduce__(self) -> tuple[Any, Any]:
        return np.float64(1).__reduce__()[0], self.parts


@pytest.mark.parametrize(("dtype", "data"), [("i8", b"\x01"), ("i4", b"\x01" * 8), ("V8", b"\x01" * 8)])
def test_forged_numbers_are_none(tmp_path: Path, dtype: str, data: bytes) -> None:
    path = saved(tmp_path / "x.pth", {"network": {"a": torch.ones(2)}, "epoch": ForgedNumber(dtype, data)})
    assert open_weights(path).epoch is None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([torch.ones(2)], "expected a dict of weights, found list"),
        ({"epoch": 3, "model": {"a": torch.ones(2)}}, "'epoch' is no dense tensor. It holds: epoch, model"),
        ({"network": {}}, "there are none"),
        ({"network": {"a": 3}}, "'a' is no dense tensor"),
        ({"network": {"a": torch.eye(2).to_sparse()}}, "'a' is no dense tensor"),
        ({"network": {3: torch.ones(2)}}, "'3' is no dense tensor"),
    ],
)
def test_files_without_weights(tmp_path: Path, content: Any, expected: str) -> None:
    with pytest.raises(CheckpointError, match=expected):
        open_weights(saved(tmp_path / "x.pth", content))


def test_what_is_written_is_safetensors_to_everybody(tmp_path: Path) -> None:
    random = torch.Generator().manual_seed(3)
    state = {
        "z": torch.randn(3, 5, generator=random).T,
        "count": torch.tensor(3),
        "half": torch.randn(4, generator=random).to(torch.bfloat16),
        "double": torch.randn(2, generator=random, dtype=torch.float64),
        "mask": torch.tensor([True, False]),
        "none": torch.zeros(0, 3),
        "broadcast": torch.tensor([1.5]).expand(4),
    }
    path = tmp_path / "x.safetensors"
    assert write_safetensors(path, state) == file_sha256(path)
    assert int.from_bytes(path.read_bytes()[:8], "little") % 8 == 0  # what follows is aligned
    for read in (load_file(path), open_weights(path).state):
        assert set(read) == set(state)
        for name, tensor in state.items():
            assert read[name].dtype == tensor.dtype
            assert torch.equal(read[name], tensor)
    assert write_safetensors(tmp_path / "y", dict(reversed(state.items()))) == file_sha256(path)
    with pytest.raises(CheckpointError, match="complex64, which cannot be stored"):
        write_safetensors(tmp_path / "z", {"c": torch.zeros(1, dtype=torch.complex64)})
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.safetensors", "y"]


def test_safetensors_of_others_are_read(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2, 2)}, tmp_path / "x.bin", metadata={"made": "by somebody"})
    file = open_weights(tmp_path / "x.bin")
    assert (file.kind, file.epoch, file.beside) == ("safetensors", None, ())
    assert torch.equal(file.state["a"], torch.ones(2, 2))
    save_file({}, tmp_path / "empty")
    with pytest.raises(CheckpointError, match="without weights"):
        open_weights(tmp_path / "empty")


def test_a_header_whose_length_begins_like_a_pickle_is_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    for length in range(1, 64):  # of the name: one of them makes a header of 128, 384 ... bytes
        write_safetensors(path, {"x" * 8 * length: torch.ones(2)})
        if path.read_bytes()[:1] == b"\x80":
            break
    assert path.read_bytes()[:1] == b"\x80"
    assert open_weights(path).kind == "safetensors"
