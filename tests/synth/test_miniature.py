"""Layouts are found by listing; impossible requests and unusable folders are refused before any work."""

from __future__ import annotations

import dataclasses
import doctest
import errno
import json
from pathlib import Path
from typing import Any

import pytest

import hmtools
from hmtools import synth
from hmtools.bodies.standin.cache import standin_hash
from hmtools.core.errors import LayoutError, UsageError
from hmtools.synth import MARKER, layout, layout_names, make_miniature
from hmtools.synth.layouts import Request, mscoco


def make(out: Path, **changes: Any) -> None:
    make_miniature("mscoco", out, **{"frames": 2, "people": 1, "seed": 0, "size": (100, 80), **changes})


def test_every_layout_is_found_under_its_own_name() -> None:
    assert "mscoco" in layout_names()
    for name in layout_names():
        found = layout(name)
        assert found.name == name
        assert set(found.default_splits) <= set(found.splits)


def test_unknown_layout_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"'mscoc'; did you mean 'mscoco'\?; known layouts: .*mscoco"):
        layout("mscoc")


def test_example_in_the_module() -> None:
    assert doctest.testmod(synth).failed == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 0}, "frames must be at least 1, got 0"),
        ({"people": -1}, "people must be 0 to 50, got -1"),
        ({"people": 51}, "people must be 0 to 50, got 51"),
        ({"seed": -3}, "seed must be at least 0, got -3"),
        ({"size": (63, 80)}, "width must be 64 to 4096, got 63"),
        ({"size": (64, 4097)}, "height must be 64 to 4096, got 4097"),
        (
            {"splits": ("val2018",)},
            "split 'val2018' is not one of train2017, val2017; did you mean 'val2017'",
        ),
        ({"splits": ()}, "at least one split is needed"),
        ({"variant": "zip"}, "variant 'zip' is not one of images, flat, osx"),
    ],
)
def test_impossible_requests(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        make(tmp_path / "out", **changes)
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--frames .*; --people .*; --seed .*; --size: width .*; split"):
        make(tmp_path, frames=0, people=99, seed=-1, size=(1, 100), splits=("x",))


def test_marker(tmp_path: Path) -> None:
    make(tmp_path / "deep/er", splits=("val2017", "train2017", "val2017"))
    assert json.loads((tmp_path / "deep/er" / MARKER).read_text()) == {
        "generator": f"hmtools {hmtools.__version__}",
        "layout": "mscoco",
        "seed": 0,
        "standin_sha256": standin_hash(),
        "frames": 2,
        "people": 1,
        "size": [100, 80],
        "render": False,
        "splits": ["val2017", "train2017"],
    }


def test_folder_that_is_not_empty(tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / f"mine{number}").touch()
    with pytest.raises(LayoutError, match=r"is not empty \(found mine0, .*, mine4 and 2 more\)") as caught:
        make(tmp_path)
    assert caught.value.exit_code == 2
    assert len(list(tmp_path.iterdir())) == 7


def test_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(LayoutError, match="is a file"):
        make(tmp_path / "out")
    with pytest.raises(LayoutError, match="cannot write the miniature"):
        make(tmp_path / "out" / "below")


def test_full_disk_leaves_a_marked_unfinished_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(request: Request) -> None:
        (request.root / "images").mkdir()
        raise OSError(errno.ENOSPC, "No space left on device", str(request.root / "images/1.jpg"))

    monkeypatch.setattr(mscoco, "LAYOUT", dataclasses.replace(mscoco.LAYOUT, write=full))
    with pytest.raises(LayoutError, match=r"No space left on device \(.*1\.jpg\)"):
        make(tmp_path)
    assert (tmp_path / MARKER).exists()
    with pytest.raises(LayoutError, match="unfinished miniature"):
        make(tmp_path)


def test_progress_counts_images(tmp_path: Path) -> None:
    seen: list[None] = []
    make(tmp_path, splits=("train2017", "val2017"), progress=lambda: seen.append(None))
    assert len(seen) == 4
