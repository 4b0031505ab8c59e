from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from hmtools.core.errors import SchemaError
from hmtools.humandata.manifest import read_manifest
from hmtools.train import staging
from hmtools.train.loader import TrainData, TrainSource
from hmtools.train.staging import staged
from tests.train.written_splits import write_boxes


@pytest.fixture
def split(tmp_path: Path) -> Path:
    return write_boxes(tmp_path / "store/train", "bedlam", 5)


def test_rows_come_from_the_copy(split: Path, tmp_path: Path) -> None:
    data = TrainData([TrainSource(path=split)], staging=tmp_path / "local")
    (split / "index.arrow").write_bytes(b"gone")
    assert data.splits[0].row(4)["frame"] == 4


def test_a_copy_is_made_once(split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, folder = read_manifest(split), tmp_path / "local"
    first = staged(split, manifest, folder)
    assert first.read_bytes() == (split / "index.arrow").read_bytes()
    monkeypatch.setattr(staging, "_copy", lambda *_: pytest.fail("copied again"))
    assert staged(split, manifest, folder) == first


def test_a_damaged_copy_is_made_again(split: Path, tmp_path: Path) -> None:
    manifest, folder = read_manifest(split), tmp_path / "local"
    first = staged(split, manifest, folder)
    first.write_bytes(b"half")
    assert staged(split, manifest, folder).read_bytes() == (split / "index.arrow").read_bytes()


def test_what_is_not_the_index_is_refused(split: Path, tmp_path: Path) -> None:
    index = split / "index.arrow"
    index.write_bytes(index.read_bytes()[:-1] + b"x")
    with pytest.raises(SchemaError, match="its checksum is not the one in the manifest"):
        staged(split, read_manifest(split), tmp_path / "local")
    assert not list((tmp_path / "local").glob("*.arrow"))
    assert not list((tmp_path / "local").glob("*.tmp"))


def test_a_folder_of_somebody_else_is_no_obstacle(
    split: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "local").touch()
    assert staged(split, read_manifest(split), tmp_path / "local") == split / "index.arrow"
    assert "it is read in place" in caplog.text


def test_a_full_disk_is_no_obstacle(
    split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usage: Any = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with caplog.at_level(logging.WARNING):
        assert staged(split, read_manifest(split), tmp_path / "local") == split / "index.arrow"
    assert "it is read in place" in caplog.text
