from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from hmtools.core.errors import SchemaError
from hmtools.train import images
from hmtools.train.images import TarFiles


@pytest.fixture
def tars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setattr(images, "MAX_HANDLES", 3)
    paths = [tmp_path / f"{i}.tar" for i in range(6)]
    for i, path in enumerate(paths):
        path.write_bytes(bytes([i]) * 100)
    return paths


def open_tars() -> set[str]:
    links = [Path(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
    return {link.readlink().name for link in links if link.is_symlink() and link.exists()} & {
        f"{i}.tar" for i in range(6)
    }


def test_few_tars_stay_open(tars: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    files, opened, open_file = TarFiles(), list[Path](), os.open

    def noted(path: Path, flags: int) -> int:
        opened.append(path)
        return open_file(path, flags)

    monkeypatch.setattr(os, "open", noted)
    for path in tars:
        assert files.read(path, 10, 5) == path.read_bytes()[:5]
        files.read(tars[0], 0, 1)  # in use all the time: it stays
    assert open_tars() == {"0.tar", "4.tar", "5.tar"}
    assert opened == tars
    files.close()
    assert open_tars() == set()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_opens_its_own(tars: list[Path]) -> None:
    files = TarFiles()
    files.read(tars[0], 0, 1)
    inherited = next(iter(files._open.values()))
    child = os.fork()
    if child == 0:
        files.read(tars[0], 0, 1)
        own = next(iter(files._open.values()))
        files.close()
        os._exit(0 if own != inherited else 1)  # the parent's descriptor is still taken in the child
    assert os.waitpid(child, 0)[1] == 0
    assert files.read(tars[0], 0, 1) == b"\0"
    assert pickle.loads(pickle.dumps(files)).read(tars[1], 0, 1) == b"\1"


def test_a_short_or_missing_tar_is_named(tars: list[Path]) -> None:
    with pytest.raises(SchemaError, match=r"0\.tar: ends before byte 101"):
        TarFiles().read(tars[0], 99, 2)
    with pytest.raises(SchemaError, match=r"9\.tar: missing"):
        TarFiles().read(tars[0].with_name("9.tar"), 0, 2)
