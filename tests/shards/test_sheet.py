"""The contact sheet of a split: evenly spaced people, and a note where there is nothing to see."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from hmtools.datasets import coco
from hmtools.humandata.record import Record
from hmtools.shards.reader import open_shards
from hmtools.shards.sheet import write_sheet
from tests.datasets.coco_tree import image_row, own_settings, person, run, write_tree

__all__ = ["own_settings"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five images of three people, two images a unit."""
    monkeypatch.setattr(coco, "IMAGES_PER_UNIT", 2)
    images = [image_row(900 + i, width=320, height=240) for i in range(5)]
    return write_tree(tmp_path / "coco", images, [person(100 + i, 900 + i % 5) for i in range(15)])


def keys_on(page: str) -> list[str]:
    found = re.findall(r"mscoco/val2017/val2017/\d{6}_\d+", page)
    return list(dict.fromkeys(found))


def sheet(folder: Path, out: Path, *, people: int = 100, whole: bool = False, query: str = "") -> str:
    shards = open_shards(folder)
    shards = shards.select(query) if query else shards
    assert write_sheet(shards, out, people=people, whole=whole) == out
    return out.read_text(encoding="utf-8")


@pytest.mark.parametrize("images", ["crop", "full"])
def test_people_with_image_boxes_and_skeleton(root: Path, tmp_path: Path, images: str) -> None:
    folder = run(root, tmp_path / "out", images=images)
    page = sheet(folder, tmp_path / "page.html")
    assert len(keys_on(page)) == 15
    assert page.count("data:image/jpeg;base64,") == 15
    assert page.count("boxes: body, left hand, right hand, face; keypoints: 89 of 133 visible") == 15
    assert "320x240" in page
    assert "images/val2017/000000000900.jpg" in page.replace("<wbr>", "")
    assert "coco_wholebody_133" in page
    assert "COCO annotations CC BY 4.0" in page
    assert "http://" not in re.sub(r"http://www\.w3\.org/\S+", "", page), "nothing is loaded from elsewhere"


@pytest.mark.parametrize(("people", "rows"), [(1, [0]), (2, [0, 14]), (3, [0, 7, 14]), (15, [*range(15)])])
def test_people_are_evenly_spaced(root: Path, tmp_path: Path, people: int, rows: list[int]) -> None:
    folder = run(root, tmp_path / "out")
    shards = open_shards(folder)
    page = sheet(folder, tmp_path / "page.html", people=people)
    assert keys_on(page) == [shards.row(row)["key"] for row in rows]
    assert "15" in page, "of how many"


def test_whole_frames_or_surroundings(root: Path, tmp_path: Path) -> None:
    folder = run(root, tmp_path / "out", images="full")
    assert "cut from 320 x 240" in sheet(folder, tmp_path / "about.html")
    assert "cut from 320 x 240" not in sheet(folder, tmp_path / "whole.html", whole=True)


def test_selection(root: Path, tmp_path: Path) -> None:
    folder = run(root, tmp_path / "out")
    page = sheet(folder, tmp_path / "page.html", query="frame = 3")
    assert keys_on(page) == [f"mscoco/val2017/val2017/000003_{index}" for index in range(3)]
    assert keys_on(sheet(folder, tmp_path / "none.html", query="frame = 77")) == []


def test_broken_images_are_shown_as_notes(root: Path, tmp_path: Path) -> None:
    folder = run(root, tmp_path / "out")
    first, second, third = sorted(folder.glob("*.tar"))
    data = bytearray(first.read_bytes())
    data[512:514] = b"XX"  # the image of frame 0 is no JPEG any more
    first.write_bytes(data)
    second.write_bytes(second.read_bytes()[:1000])
    third.unlink()
    page = sheet(folder, tmp_path / "page.html")
    assert len(keys_on(page)) == 15, "every person has a tile"
    assert page.count("data:image/jpeg;base64,") == 3, "those of frame 1"
    assert page.count("image_unreadable") == 3
    assert page.count("ends before byte") == 6
    assert page.count("missing, but the index names it") == 3


def test_without_images(root: Path, tmp_path: Path) -> None:
    page = sheet(run(root, tmp_path / "out", images="none"), tmp_path / "page.html")
    assert page.count("converted without images") == 15
    assert "data:image" not in page


def test_rejected_frames_say_why(
    tmp_path: Path, make_record: Callable[..., Record], make_split: Callable[..., Path]
) -> None:
    frames = [[make_record(frame)] for frame in range(3)]
    frames[1][0].meta = '{"image_rejected":"image_truncated"}'
    folder = make_split(tmp_path, frames, images="full", lost=[1])
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(
        text.replace('"card": {}', '"card": {"licence": "-", "citation": "-"}')
    )
    page = sheet(folder, tmp_path / "page.html")
    assert page.count("data:image/jpeg;base64,") == 2
    assert "image_truncated" in page


def test_same_shards_give_the_same_page(root: Path, tmp_path: Path) -> None:
    folder = run(root, tmp_path / "out")
    assert sheet(folder, tmp_path / "a.html") == sheet(folder, tmp_path / "b.html")
