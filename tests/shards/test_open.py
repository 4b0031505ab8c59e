from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import hmtools
from hmtools.core.errors import LayoutError
from hmtools.humandata.record import Record
from hmtools.shards.reader import find_splits


@pytest.fixture(scope="module")
def crop(
    tmp_path_factory: pytest.TempPathFactory,
    make_split: Callable[..., Path],
    make_record: Callable[..., Record],
) -> Path:
    return make_split(tmp_path_factory.mktemp("crop"), [[make_record(0)]])


def test_open_finds_the_only_split(tmp_path: Path, crop: Path) -> None:
    shutil.copytree(crop, tmp_path / "out" / "mini" / "val")
    for path in (tmp_path / "out", tmp_path / "out" / "mini", str(tmp_path / "out" / "mini" / "val")):
        assert hmtools.open(path).path == tmp_path / "out" / "mini" / "val"


def test_open_does_not_choose_between_splits(tmp_path: Path, crop: Path) -> None:
    out = tmp_path / "out"
    for split in ("val", "train"):
        shutil.copytree(crop, out / "mini" / split)
    assert find_splits(out) == find_splits(out / "mini") == [out / "mini" / "train", out / "mini" / "val"]
    for path in (out, out / "mini"):
        with pytest.raises(LayoutError, match=r"several splits(.|\n)*mini/train(.|\n)*mini/val"):
            hmtools.open(path)
    assert hmtools.open(out / "mini" / "train").path == out / "mini" / "train"


def test_open_refuses_what_is_not_finished(tmp_path: Path, crop: Path) -> None:
    with pytest.raises(LayoutError, match="no such folder"):
        hmtools.open(tmp_path / "nowhere")
    with pytest.raises(LayoutError, match="expected a converted split"):
        hmtools.open(tmp_path)
    folder = tmp_path / "out" / "mini" / "val"
    shutil.copytree(crop, folder)
    (folder / "manifest.json").unlink()
    (folder / ".job").mkdir()
    with pytest.raises(LayoutError, match=r"unfinished conversion \(no manifest\.json\)"):
        hmtools.open(folder)
    shutil.copytree(crop, tmp_path / "out" / "mini" / "train")
    assert hmtools.open(tmp_path / "out").path == tmp_path / "out" / "mini" / "train"
