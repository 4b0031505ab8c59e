"""``rebuild_index``: tables and index again from the tars, byte for byte, or a refusal."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hmtools.convert.validate import rebuild_index, validate_split
from hmtools.core.errors import LayoutError, SchemaError
from hmtools.datasets.base import Dataset
from tests.convert.one_unit import Clip
from tests.convert.spoiling import FIRST, SECOND, member, spoil
from tests.datasets.coco_tree import (
    contents,
    run,
    write_picture,
)


class TestRebuild:
    @pytest.mark.parametrize("images", ["crop", "full"])
    def test_same_bytes(self, root: Path, tmp_path: Path, images: str) -> None:
        folder = run(root, tmp_path / "out", images=images)
        before, manifest = contents(folder), (folder / "manifest.json").read_text()
        for path in folder.glob("*.arrow"):
            path.unlink()
        facts = rebuild_index(folder)
        assert (facts.rows, facts.tracks) == (8, 0)
        assert contents(folder) == before
        assert json.loads((folder / "manifest.json").read_text()) == json.loads(manifest)
        assert validate_split(folder).ok

    def test_damaged_tables_are_replaced(self, crops: Path) -> None:
        before = contents(crops)
        for path in crops.glob("*.arrow"):
            path.write_bytes(b"damaged")
        rebuild_index(crops)
        assert contents(crops) == before

    def refused(self, folder: Path, message: str) -> None:
        before = contents(folder)
        with pytest.raises(SchemaError, match=message):
            rebuild_index(folder)
        assert contents(folder) == before, "nothing was touched"

    def test_an_altered_tar(self, crops: Path) -> None:
        spoil(crops / f"{SECOND}.tar", member(crops, SECOND, "jpg")[0] + 50)
        self.refused(crops, rf"{SECOND}\.tar: missing or not what was written")

    def test_a_missing_tar(self, crops: Path) -> None:
        (crops / f"{SECOND}.tar").unlink()
        self.refused(crops, rf"{SECOND}\.tar: missing")

    def test_an_unknown_tar(self, crops: Path) -> None:
        shutil.copy(crops / f"{FIRST}.tar", crops / "mscoco-val2017-u00007-000.tar")
        self.refused(crops, r"u00007-000\.tar: not listed in the manifest")

    def test_a_split_without_images(self, root: Path, tmp_path: Path) -> None:
        folder = run(root, tmp_path / "out", images="none")
        with pytest.raises(LayoutError, match="--images none"):
            rebuild_index(folder)
        assert validate_split(folder).ok

    def test_rows_that_no_tar_holds_are_not_lost(
        self, tmp_path: Path, registered: Callable[[type[Dataset]], type[Dataset]]
    ) -> None:
        registered(Clip)
        for frame in (0, 1, 2, 4):
            write_picture(tmp_path / f"raw/walk/{frame}.jpg")
        folder = run(tmp_path / "raw", tmp_path / "out", name="clip")
        assert validate_split(folder).ok
        self.refused(folder, r"u00001-000\.tar: holds 2 records, the manifest says 4; rows without an image")
        assert validate_split(folder).ok

    @pytest.mark.real
    def test_real_excerpt(self, samples: Path, tmp_path: Path) -> None:
        folder = run(samples / "mscoco", tmp_path / "out")
        before = contents(folder)
        rebuild_index(folder)
        assert contents(folder) == before
