"""One unit: every reason for which a person is not stored is counted, listed, and fatal when asked for."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hmtools.convert.unit import EXAMPLES
from hmtools.core.errors import SchemaError, UnitError
from hmtools.core.image import MAX_PIXELS
from hmtools.datasets.base import Rejected
from hmtools.datasets.mscoco import MsCoco
from hmtools.engine.job import Unit
from hmtools.humandata.record import Record
from hmtools.humandata.schema import RecordSpec
from tests.convert.one_unit import GOOD, go, two_images
from tests.datasets.coco_tree import (
    image_row,
    person,
    picture,
    write_picture,
    write_tree,
)


def _cut(share: float) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])

    return spoil


def _huge(path: Path) -> None:
    data = path.read_bytes()
    place = data.index(b"\xff\xc0") + 5
    path.write_bytes(data[:place] + struct.pack(">HH", 60_000, 60_000) + data[place + 4 :])


def _huge_png(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:16] + struct.pack(">II", 60_000, 60_000) + data[24:])


def _huge_bmp(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:18] + struct.pack("<ii", 60_000, 60_000) + data[26:])


def _zeros_at_the_end(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


SPOILED: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no bytes": ("a.jpg", lambda path: path.write_bytes(b""), "image_empty"),
    "a tenth of a JPEG": ("a.jpg", _cut(0.1), "image_truncated"),
    "half a JPEG": ("a.jpg", _cut(0.5), "image_truncated"),
    "nearly all of a JPEG": ("a.jpg", _cut(0.99), "image_truncated"),
    "a download that stopped": ("a.jpg", _zeros_at_the_end, "image_truncated"),
    "half a PNG": ("a.png", _cut(0.5), "image_truncated"),
    "nearly all of a PNG": ("a.png", _cut(0.99), "image_truncated"),
    "a tenth of a BMP": ("a.bmp", _cut(0.1), "image_unreadable"),
    "half a BMP": ("a.bmp", _cut(0.5), "image_unreadable"),
    "a page of text": ("a.jpg", lambda path: path.write_text("<html>404</html>"), "image_unreadable"),
    "JPEG header over the limit": ("a.jpg", _huge, "image_too_large"),
    "PNG header over the limit": ("a.png", _huge_png, "image_too_large"),
    "BMP header over the limit": ("a.bmp", _huge_bmp, "image_too_large"),
    "missing": ("a.jpg", lambda path: path.unlink(), "image_missing"),
    "a folder": ("a.jpg", _folder, "image_missing"),
    "another size": ("a.jpg", lambda path: write_picture(path, picture(97, 80)), "image_size_mismatch"),
}


class TestSpoiledImages:
    @pytest.mark.parametrize("images", ["full", "crop"])
    @pytest.mark.parametrize("what", SPOILED)
    def test_rejected_and_counted(self, tmp_path: Path, what: str, images: str) -> None:
        name, spoil, reason = SPOILED[what]
        root, out = two_images(tmp_path / "coco", image_row(1, name)), tmp_path / "out"
        spoil(root / f"images/val2017/{name}")
        (result,), rows = go(root, out, images=images)
        assert result.data["rejected"] == {reason: 2}, result.data["examples"]
        assert [row["source_id"] for row in rows] == ["20"], "the other image is stored"
        assert result.counts == {"records": 1, "images": 1, "rejected": 2, "filtered": 0}
        assert [example["source"] for example in result.data["examples"]] == [
            f"images/val2017/{name} 10",
            f"images/val2017/{name} 11",
        ]
        assert all(example["detail"] for example in result.data["examples"])
        with pytest.raises(UnitError, match=rf"^{reason}: images/val2017/{name} 10 .*\(--strict\)$"):
            go(root, tmp_path / "strict", images=images, strict=True)
        assert list((tmp_path / "strict").iterdir()) == [], "nothing is left of a unit that failed"

    def test_limit(self) -> None:
        assert MAX_PIXELS < 60_000**2

    @pytest.mark.parametrize("images", ["full", "crop", "none"])
    @pytest.mark.parametrize("name", ["../../secret.jpg", "/etc/passwd", "a/../../../x.jpg", "..", "x\0.jpg"])
    def test_names_that_leave_the_download(self, tmp_path: Path, images: str, name: str) -> None:
        write_picture(tmp_path / "secret.jpg")
        image = image_row(1, name)
        people = [person(10, 1), person(11, 1), person(20, GOOD)]
        root = write_tree(tmp_path / "coco", [image, image_row(GOOD)], people, pictures=False)
        write_picture(root / f"images/val2017/{GOOD:012d}.jpg")
        (result,), rows = go(root, tmp_path / "out", images=images)
        assert result.data["rejected"] == {"unsafe_path": 2}
        assert [row["source_id"] for row in rows] == ["20"]
        assert "leaves the download's folder" in result.data["examples"][0]["detail"]

    @pytest.mark.parametrize("name", ["x" * 300 + ".jpg", "000000000002.jpg/inside.jpg", "./"])
    def test_names_that_no_file_can_have(self, tmp_path: Path, name: str) -> None:
        people = [person(10, 1), person(11, 1), person(20, GOOD)]
        root = write_tree(tmp_path / "coco", [image_row(1, name), image_row(GOOD)], people, pictures=False)
        write_picture(root / f"images/val2017/{GOOD:012d}.jpg")
        (result,), rows = go(root, tmp_path / "out")
        assert result.data["rejected"] == {"image_missing": 2}
        assert [row["source_id"] for row in rows] == ["20"]

    def test_trouble_of_the_disk_is_no_rejection(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A rerun has to try again: the image may be fine."""

        def broken(*_: object) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

        root = two_images(tmp_path / "coco")
        monkeypatch.setattr(MsCoco, "image_bytes", broken)
        with pytest.raises(OSError, match="Input/output"):
            go(root, tmp_path / "out")
        assert list((tmp_path / "out").iterdir()) == []


NAN = float("nan")
DEFECTS: dict[str, tuple[dict[str, Any], str]] = {
    "NaN box": ({"bbox": [10, 10, NAN, 20]}, "not_finite:bbox_xywh"),
    "infinite box": ({"bbox": [10, 1e300, 10, 20]}, "not_finite:bbox_xywh"),
    "NaN joint": ({"keypoints": [NAN, 1, 2] * 17}, "not_finite:keypoints2d_original"),
    "NaN hand box": ({"lefthand_box": [1, 2, 3, float("inf")]}, "not_finite:lhand_bbox_xywh"),
    "box without area": ({"bbox": [10, 10, 0, 20]}, "box_empty"),
    "negative box": ({"bbox": [50, 50, -10, 20]}, "box_empty"),
    "box beyond the image": ({"bbox": [97, 10, 20, 20]}, "box_outside"),
    "box before the image": ({"bbox": [-30, 10, 20, 20]}, "box_outside"),
    "no box": ({"bbox": None}, "broken_row"),
    "joints as text": ({"keypoints": "none"}, "broken_row"),
}


class TestDefects:
    @pytest.mark.parametrize("images", ["full", "crop", "none"])
    @pytest.mark.parametrize("what", DEFECTS)
    def test_rejected_and_counted(self, tmp_path: Path, what: str, images: str) -> None:
        cells, reason = DEFECTS[what]
        root = two_images(tmp_path / "coco", **cells)
        (result,), rows = go(root, tmp_path / "out", images=images)
        assert result.data["rejected"] == {reason: 2}
        assert [example["reason"] for example in result.data["examples"]] == [reason] * 2
        assert [row["source_id"] for row in rows] == ["20"]
        with pytest.raises(UnitError, match=f"^{reason}: "):
            go(root, tmp_path / "strict", images=images, strict=True)

    @pytest.mark.parametrize("size", [0, -5])
    def test_image_without_a_size(self, tmp_path: Path, size: int) -> None:
        images = [image_row(1, width=size), image_row(GOOD)]
        people = [person(10, 1), person(20, GOOD)]
        root = write_tree(tmp_path / "coco", images, people, pictures=False)
        (result,), rows = go(root, tmp_path / "out", images="none")
        assert result.data["rejected"] == {"bad_size": 1}
        assert len(rows) == 1

    def test_duplicate_key(self, tmp_path: Path) -> None:
        class Twice(MsCoco):
            def read(self, root: Path, unit: Unit) -> Iterator[Record | Rejected]:
                for found in super().read(root, unit):
                    yield found
                    if isinstance(found, Record) and found.source_id == "11":
                        yield found

        (result,), rows = go(two_images(tmp_path / "coco"), tmp_path / "out", dataset=Twice())
        assert result.data["rejected"] == {"duplicate_key": 1}
        assert result.data["examples"][0]["detail"] == "mscoco/val2017/val2017/000000_1"
        assert [row["source_id"] for row in rows] == ["10", "11", "20"]

    def test_people_left_out_by_rule_are_no_defect(self, tmp_path: Path) -> None:
        people = [person(10, 1, iscrowd=1), person(11, 1, num_keypoints=0), person(12, 1)]
        root = write_tree(tmp_path / "coco", [image_row(1)], people)
        (result,), rows = go(root, tmp_path / "out", strict=True)
        assert result.data["filtered"] == {"crowd": 1, "no_keypoints": 1}
        assert result.data["rejected"] == {}
        assert result.data["examples"] == []
        assert result.counts == {"records": 1, "images": 1, "rejected": 0, "filtered": 2}
        assert [row["person"] for row in rows] == [2]

    def test_first_ten_are_listed_and_all_are_counted(self, tmp_path: Path) -> None:
        people = [person(100 + i, 1, bbox=[1, 2, 3]) for i in range(14)]
        root = write_tree(tmp_path / "coco", [image_row(1)], people)
        (result,), rows = go(root, tmp_path / "out")
        assert rows == []
        assert result.data["rejected"] == {"broken_row": 14}
        assert EXAMPLES == 10
        assert [example["source"] for example in result.data["examples"]] == [
            f"000000000001.jpg annotation {100 + i}" for i in range(10)
        ]

    def test_a_unit_with_nothing_to_store_writes_nothing(self, tmp_path: Path) -> None:
        root = write_tree(tmp_path / "coco", [image_row(1)], [person(10, 1, iscrowd=1)])
        (result,), _ = go(root, tmp_path / "out")
        assert result.files == ()
        assert list((tmp_path / "out").iterdir()) == []

    def test_a_bug_of_a_dataset_is_no_rejection(self, tmp_path: Path) -> None:
        class Wrong(MsCoco):
            def spec(self, root: Path, split: str) -> RecordSpec:
                return RecordSpec("mscoco", split, "coco_17")

        with pytest.raises(SchemaError, match="keypoints2d_original: expected shape"):
            go(two_images(tmp_path / "coco"), tmp_path / "out", dataset=Wrong())
