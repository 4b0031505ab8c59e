"""Which people of which videos a scene lists, and how they are cut into units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core.errors import LayoutError
from hmtools.core.json_stream import read_element
from hmtools.datasets.ubody_scenes import pack_videos, read_test_list, scan_scene
from tests.datasets.coco_tree import Row, write_labels
from tests.datasets.ubody_tree import image_row, person, write_list


def scan(tmp_path: Path, images: list[Row], people: list[Row]) -> dict[str, list[list[int]]]:
    """Sequence -> frame, person, position, id of its people."""
    scene = scan_scene(write_labels(tmp_path / "a.json", images, people), "Movie")
    return {
        video.sequence: np.column_stack(
            [video.frames[video.people[:, 0], 0], video.people[:, [1, 2, 6]]]
        ).tolist()
        for video in scene.videos
    }


NAMES = [
    ("A_Trim1/000001.png", "Movie/A_Trim1", "A", 0),
    ("/A_Trim1/000001.png", "Movie/A_Trim1", "A", 0),
    ("//deep/er/A_Trim_2/000010.png", "Movie/deep/er/A_Trim_2", "A", 9),
    ("A Trim/1.png", "Movie/A Trim", "A Trim", 0),
    ("Trim_A/1234567.jpg", "Movie/Trim_A", "Trim_A", 1234566),
    ("_Trim3/5.png", "Movie/_Trim3", "", 4),
    ("电影_Trim/5.png", "Movie/电影_Trim", "电影", 4),
]


@pytest.mark.parametrize(("name", "sequence", "video", "frame"), NAMES)
def test_names(tmp_path: Path, name: str, sequence: str, video: str, frame: int) -> None:
    file = write_labels(tmp_path / "a.json", [image_row(1, name)], [person(2, 1)])
    (found,) = scan_scene(file, "Movie").videos
    assert (found.sequence, found.name, found.frames[0, 0]) == (sequence, video, frame)
    assert found.folder == name.lstrip("/").rpartition("/")[0]


def test_names_that_are_not_ascii_may_stand_as_they_are(tmp_path: Path) -> None:
    """Not escaped, as other writers do: a scan that takes bytes for characters would name another folder."""
    file = write_labels(tmp_path / "a.json", [image_row(1, "NAME/5.png")], [person(2, 1)])
    file.write_text(file.read_text().replace("NAME", "été电_Trim"), encoding="utf-8")
    (found,) = scan_scene(file, "Movie").videos
    assert (found.folder, found.name) == ("été电_Trim", "été电")
    file.write_bytes(file.read_bytes().replace("电".encode(), b"\xff"))
    with pytest.raises(LayoutError, match="none of its 1 annotations is of a frame"):
        scan_scene(file, "Movie")


@pytest.mark.parametrize(
    "name",
    ["A/000000.png", "000001.png", "A/x.png", "A/1", "A/0x1.png", "A/1234567890.png", "/", "A\x00/1.png"],
)
def test_names_that_are_of_no_frame(tmp_path: Path, name: str) -> None:
    images = [image_row(1, "A/1.png"), image_row(2, name)]
    scene = scan_scene(write_labels(tmp_path / "a.json", images, [person(3, 1), person(4, 2)]), "Movie")
    assert [(position, "its image is not in" in what) for position, what in scene.strays] == [(1, True)]
    assert scene.ids.tolist() == [3, 4], "whose fit is nobody's otherwise"


def test_people_by_video_frame_and_place_in_the_file(tmp_path: Path) -> None:
    images = [image_row(5, "B/2.png"), image_row(3, "A/9.png"), image_row(9, "B/1.png")]
    people = [person(70, 5), person(71, 9), person(72, 3), person(69, 5), person(80, 5)]
    assert scan(tmp_path, images, people) == {
        "Movie/A": [[8, 0, 2, 72]],
        "Movie/B": [[0, 0, 1, 71], [1, 0, 0, 70], [1, 1, 3, 69], [1, 2, 4, 80]],
    }


IMAGE = st.tuples(
    st.integers(1, 12), st.sampled_from(["A", "/A", "B_Trim1", "x/A", "A-1"]), st.integers(0, 4)
)
PERSON = st.tuples(st.integers(1, 9), st.integers(1, 12))


@settings(max_examples=60, deadline=None)
@given(st.lists(IMAGE, min_size=1, max_size=8), st.lists(PERSON, min_size=1, max_size=12))
def test_any_file_is_listed_as_reading_all_of_it_would(
    tmp_path_factory: pytest.TempPathFactory,
    images: list[tuple[int, str, int]],
    people: list[tuple[int, int]],
) -> None:
    """Ids repeat, images are listed twice, frames 0 are none."""
    rows: list[Row] = [{"id": number, "file_name": f"{folder}/{k:04d}.png"} for number, folder, k in images]
    file = tmp_path_factory.mktemp("any") / "a.json"
    write_labels(file, rows, [{"id": own, "image_id": image} for own, image in people])
    of = {number: (folder.lstrip("/"), k - 1) for number, folder, k in reversed(images) if k}
    wanted: dict[str, dict[int, list[tuple[int, int]]]] = {}
    for position, (own, image) in enumerate(people):
        if image in of:
            folder, frame = of[image]
            wanted.setdefault(folder, {}).setdefault(frame, []).append((position, own))
    if not wanted:
        with pytest.raises(LayoutError):
            scan_scene(file, "Movie")
        return
    scene = scan_scene(file, "Movie")
    assert [position for position, _ in scene.strays] == [
        n for n, row in enumerate(people) if row[1] not in of
    ]
    assert [video.sequence for video in scene.videos] == sorted(f"Movie/{folder}" for folder in wanted)
    for video in scene.videos:
        found = np.column_stack([video.frames[video.people[:, 0], 0], video.people[:, [1, 2, 6]]]).tolist()
        assert found == [
            [frame, person, *row]
            for frame, rows_of_frame in sorted(wanted[video.folder].items())
            for person, row in enumerate(rows_of_frame)
        ]


def test_ranges_are_those_of_the_rows(tmp_path: Path) -> None:
    images = [image_row(5, "B/2.png"), image_row(3, "A/9.png")]
    file = write_labels(tmp_path / "a.json", images, [person(70, 5), person(71, 3)])
    video = scan_scene(file, "Movie").videos[1]
    with file.open("rb") as opened:
        assert read_element(opened.fileno(), *video.frames[0, 1:].tolist()) == images[0]
        assert read_element(opened.fileno(), *video.people[0, 3:5].tolist()) == person(70, 5)


def test_folders_that_end_alike_are_told_apart(tmp_path: Path) -> None:
    images = [image_row(1, "two/A/1.png"), image_row(2, "one/A/1.png"), image_row(3, "B/1.png")]
    found = scan(tmp_path, images, [person(number, number) for number in (1, 2, 3)])
    assert list(found) == ["Movie/B", "Movie/one/A", "Movie/two/A"]


def test_an_id_that_occurs_twice_is_marked(tmp_path: Path) -> None:
    file = write_labels(
        tmp_path / "a.json", [image_row(1, "A/1.png")], [person(2, 1), person(3, 1), person(2, 1)]
    )
    assert scan_scene(file, "Movie").videos[0].people[:, 5].tolist() == [0, 0, 1]


@pytest.mark.parametrize("images", [[], [image_row(7, "A/1.png")]])
def test_nobody_of_any_video(tmp_path: Path, images: list[Row]) -> None:
    file = write_labels(tmp_path / "a.json", images, [person(2, 1)])
    with pytest.raises(LayoutError, match=r"a\.json: none of its 1 annotations is of a frame of a video"):
        scan_scene(file, "Movie")


def test_packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole videos; one that is larger than a unit is a unit."""
    sizes = {"A": 2, "B": 1, "C": 5, "D": 3}
    names = [f"{video}/{frame + 1}.png" for video, count in sizes.items() for frame in range(count)]
    images = [image_row(number, name) for number, name in enumerate(names)]
    scene = scan_scene(write_labels(tmp_path / "a.json", images, [person(n, n) for n in range(11)]), "Movie")
    monkeypatch.setattr("hmtools.datasets.ubody_scenes.IMAGES_PER_UNIT", 3)
    units = pack_videos("Movie", scene.videos, ((8, "what"),))
    assert [(u.index, u.name, u.images) for u in units] == [
        (0, "Movie/A to Movie/B", 3),
        (1, "Movie/C", 5),
        (2, "Movie/D", 3),
    ]
    assert [u.payload.strays for u in units] == [((8, "what"),), (), ()]


def test_lists(tmp_path: Path) -> None:
    assert read_test_list(write_list(tmp_path, "intra", ["A", "B", "A"])) == {"A", "B"}
