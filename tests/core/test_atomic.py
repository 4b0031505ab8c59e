from __future__ import annotations

import contextlib
import errno
import gc
import hashlib
import json
import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core import atomic
from hmtools.core.atomic import AtomicFile, file_sha256, fsync_dir, sweep, write_bytes, write_json, write_text

HOST = socket.gethostname().partition(".")[0]
DATA = b"0123456789" * 20


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def broken(number: int = errno.EIO) -> Any:
    def call(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    return call


def test_file_appears_with_commit_only(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with AtomicFile(path) as file:
        assert file.writable()
        assert file.write(DATA[:50]) == 50
        file.flush()
        assert names(tmp_path) == [f".a.bin.{HOST}.{os.getpid()}.tmp"]
        assert file.write(memoryview(DATA)[50:]) == 150
        assert file.tell() == 200
    assert names(tmp_path) == ["a.bin"]
    assert path.read_bytes() == DATA
    assert (file.size, file.sha256) == (200, hashlib.sha256(DATA).hexdigest())
    assert file.sha256 == file_sha256(path)
    assert file.closed


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=50), max_size=8))
def test_pieces_add_up(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    path = tmp_path_factory.getbasetemp() / "pieces.bin"
    with AtomicFile(path) as file:
        for piece in pieces:
            file.write(piece)
    whole = b"".join(pieces)
    assert path.read_bytes() == whole
    assert (file.size, file.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 3)])
def test_arrays_are_bytes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    with AtomicFile(tmp_path / "a") as file:
        assert file.write(array) == array.nbytes
    assert (tmp_path / "a").read_bytes() == array.tobytes()


def test_exception_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with contextlib.suppress(KeyboardInterrupt), AtomicFile(path) as file:
        file.write(DATA)
        raise KeyboardInterrupt
    assert names(tmp_path) == ["a.bin"]
    assert path.read_bytes() == b"old"


def fail_write(file: AtomicFile, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(AtomicFile, "write", broken(errno.ENOSPC))


def fail_fsync(file: AtomicFile, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(os, "fsync", broken())


def fail_rename(file: AtomicFile, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Path, "replace", broken(errno.EACCES))


@pytest.mark.parametrize("fail", [fail_write, fail_fsync, fail_rename])
@pytest.mark.parametrize("old", [None, b"old"])
def test_no_failing_step_leaves_a_partial_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: Any, old: bytes | None
) -> None:
    path = tmp_path / "a.bin"
    if old is not None:
        path.write_bytes(old)

    def write() -> None:
        with AtomicFile(path) as file:
            file.write(DATA[:10])
            fail(file, monkeypatch)
            file.write(DATA[10:])

    with pytest.raises(OSError, match=r"No space|Input/output|Permission"):
        write()
    monkeypatch.undo()
    assert names(tmp_path) == ([] if old is None else ["a.bin"])
    assert old is None or path.read_bytes() == old


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("size", [10, 3 << 20])
def test_full_disk(tmp_path: Path, size: int) -> None:
    """The real error: with few bytes the flush finds out, with many the write does."""
    (tmp_path / f".a.bin.{HOST}.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught, AtomicFile(tmp_path / "a.bin") as file:
        file.write(b"x" * size)
    assert caught.value.errno == errno.ENOSPC
    assert names(tmp_path) == []
    assert file.closed


def test_failing_commit_without_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = AtomicFile(tmp_path / "a.bin")
    file.write(DATA)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken())
        with pytest.raises(OSError, match="Input/output"):
            file.commit()
    assert names(tmp_path) == []


def test_folder_that_cannot_be_synced_is_an_error_unless_it_never_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (errno.EINVAL, errno.EOPNOTSUPP):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", broken(number))
            fsync_dir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken())
        with pytest.raises(OSError, match="Input/output"):
            fsync_dir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "fsync_dir", broken())
        with pytest.raises(OSError, match="Input/output"):
            write_bytes(tmp_path / "a.bin", DATA)
    assert (tmp_path / "a.bin").read_bytes() == DATA, "what is there is whole"
    assert names(tmp_path) == ["a.bin"]


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        AtomicFile(tmp_path / "no" / "a.bin")
    gc.collect()  # the half-made object must not complain when it goes


def test_close_without_commit_discards(tmp_path: Path) -> None:
    file = AtomicFile(tmp_path / "a.bin")
    file.write(DATA)
    file.close()
    file.close()
    file.flush()
    assert file.closed
    assert names(tmp_path) == []
    with pytest.raises(ValueError, match="closed"):
        file.commit()
    assert names(tmp_path) == []


def test_dropped_file_is_discarded(tmp_path: Path) -> None:
    file = AtomicFile(tmp_path / "a.bin")
    file.write(DATA)
    del file
    gc.collect()
    assert names(tmp_path) == []


def test_block_whose_file_was_closed_inside_is_an_error(tmp_path: Path) -> None:
    """A library that closes what it was given must not make a file vanish silently."""
    file = AtomicFile(tmp_path / "a.bin")
    with pytest.raises(ValueError, match="closed"), file:
        file.close()


def test_text_and_json(tmp_path: Path) -> None:
    assert write_text(tmp_path / "t", "ä\n") == file_sha256(tmp_path / "t")
    assert (tmp_path / "t").read_bytes() == "ä\n".encode()
    write_json(tmp_path / "j", {"b": 1, "a": [None]})
    text = (tmp_path / "j").read_text()
    assert json.loads(text) == {"a": [None], "b": 1}
    assert text.index('"a"') < text.index('"b"')
    assert text.endswith("}\n")
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "j", {"x": float("nan")})
    assert (tmp_path / "j").read_text() == text


def test_sweep_removes_temporary_files_of_this_folder_only(tmp_path: Path) -> None:
    inside = tmp_path / "sub"
    inside.mkdir()
    kept = [".a.tmp", ".a.b.tmp", "a.1.tmp", ".a.1.tmp2", "a", ".1.tmp"]
    for name in kept:
        (tmp_path / name).touch()
    for folder in (tmp_path, inside):
        (folder / ".a.tar.node-7.4711.tmp").touch()
    assert sweep(tmp_path) == [tmp_path / ".a.tar.node-7.4711.tmp"]
    assert names(tmp_path) == sorted([*kept, "sub"])
    assert names(inside) == [".a.tar.node-7.4711.tmp"]
    file = AtomicFile(tmp_path / "mine.bin")
    assert sweep(tmp_path) == [file.temporary]
    with contextlib.suppress(OSError):
        file.commit()
    assert not (tmp_path / "mine.bin").exists()
