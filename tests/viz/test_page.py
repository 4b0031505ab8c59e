from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core.errors import UsageError
from hmtools.geometry.crop import apply_affine
from hmtools.viz.page import THUMBNAIL_SIDE, Tile, about_person, contact_sheet

Image = npt.NDArray[np.uint8]


def picture(width: int = 60, height: int = 80, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def person(key: str = "toy/val/a/000000_0", **changes: Any) -> Tile:
    keypoints = np.random.default_rng(1).uniform(5, 55, (17, 3)).astype(np.float32)
    keypoints[:, 2] = 1.0
    values: dict[str, Any] = {
        "key": key,
        "image": picture(),
        "affine": None,
        "boxes": {"body": np.array([5, 6, 40, 60, 1.0]), "left hand": np.array([8, 9, 10, 10, 1.0])},
        "keypoints": keypoints,
        "convention": "coco_17",
        "caption": {"image": "val/000000000001.jpg", "size": "60 x 80"},
    }
    return Tile(**{**values, **changes})


def write(tmp_path: Path, *tiles: Tile, name: str = "sheet.html", **facts: str) -> Path:
    return contact_sheet(tiles, title="Toy people", facts=facts, out=tmp_path / name)


class Elements(HTMLParser):
    """Every element of a page: (tag, attributes), and its text without style and script."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.inline: dict[str, str] = {}
        self._open = ""
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        self.words.append("" if tag in ("bdi", "wbr") else " ")
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in ("style", "script"):
            self.inline[self._open] = data
        else:
            self.words.append(data)

    def of(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        return [a for t, a in self.found if t == tag and all(a.get(k) == v for k, v in attributes.items())]

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def thumbnail(attributes: Mapping[str, str]) -> Image:
    head, _, body = attributes["href"].partition(",")
    assert head == "data:image/jpeg;base64"
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(body), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert decoded is not None
    return decoded.astype(np.uint8, copy=False)


def test_the_page_tells_what_is_shown(tmp_path: Path) -> None:
    facts = {
        "dataset": "toy",
        "split": "val",
        "records": "5 000",
        "crowd rejected": "7",
        "licence": "CC0 1.0",
    }
    hidden = np.array([0, 0, 9, 9, 0.0])
    missing = person(
        "toy/val/b/000001_0", image=None, keypoints=None, boxes={"face": hidden}, note="truncated"
    )
    page = Elements(write(tmp_path, person(), missing, **facts, citation="Doe 2020"))
    for words in (
        "Toy people",
        "toy · val · 2 of 5 000 records shown",
        "crowd rejected 7",
        "Licence: CC0 1.0 · Citation: Doe 2020",
        "toy/val/a/000000_0",
        "image val/000000000001.jpg",
        "size 60 x 80",
        "keypoints 17 of 17 visible",
        "truncated",
    ):
        assert words in page.text
    assert [t["data-key"] for t in page.of("figure")] == ["toy/val/a/000000_0", "toy/val/b/000001_0"]
    assert len(page.of("image")) == 1
    views = page.of("svg", **{"class": "view"})
    assert views[0]["aria-label"] == "boxes: body, left hand; keypoints: 17 of 17 visible"
    assert views[1]["aria-label"] == "boxes: none; keypoints: none"


def test_an_empty_sheet_says_so(tmp_path: Path) -> None:
    page = Elements(write(tmp_path))
    assert "No records." in page.text
    assert "0 records shown" in page.text


def test_nothing_leaves_the_file_and_the_policy_pins_what_runs(tmp_path: Path) -> None:
    page = Elements(write(tmp_path, person()))
    policy = page.of("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for rule, element in (("style-src", "style"), ("script-src", "script")):
        digest = hashlib.sha256(page.inline[element].encode()).digest()
        assert rules[rule] == f"'sha256-{base64.b64encode(digest).decode()}'"
        assert len(page.of(element)) == 1
    for _, attributes in page.found:
        assert not {"src", "style", "action"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
        assert attributes.get("href", "data:").startswith("data:")
    assert "url(" not in page.inline["style"]
    assert "@import" not in page.inline["style"]


@settings(max_examples=30, deadline=None)
@given(key=st.text(), value=st.text())
def test_any_text_stays_text(tmp_path_factory: pytest.TempPathFactory, key: str, value: str) -> None:
    tile = person(key, image=None, caption={value: key}, note=value)
    path = write(tmp_path_factory.mktemp("page"), tile, **{value: key, "dataset": value, "licence": key})
    page, plain = Elements(path), Elements(write(path.parent, person("k", image=None, note="n"), dataset="d"))
    assert page.of("figure")[0]["data-key"] == newlines(key)
    assert {tag for tag, _ in page.found} <= {tag for tag, _ in plain.found} | {"b", "dl", "dt", "dd", "wbr"}


def newlines(text: str) -> str:
    """A file read as text has one kind of line end."""
    return text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "backslashreplace").decode()


def test_overlay_numbers_are_the_marks_in_image_pixels(tmp_path: Path) -> None:
    keypoints = np.zeros((17, 3), np.float32)
    keypoints[5], keypoints[6] = (10, 20, 1), (30, 20, 0.5)  # left and right shoulder
    keypoints[0] = (12, 8, np.nan)
    boxes = {"body": np.array([10, 20, 30, 40, 1.0]), "right hand": np.array([1, 2, 3, 4, 0.3])}
    affine = np.array([[0.5, 0, 1.0], [0, 0.5, 2.0]])
    page = Elements(write(tmp_path, person(boxes=boxes, keypoints=keypoints, affine=affine)))
    view = page.of("svg", **{"class": "view"})[0]
    assert [float(v) for v in view["viewbox"].split()] == [-0.5, -0.5, 60, 80]
    drawn = {a["class"]: a["d"] for a in paths_of(page)}
    assert drawn == {
        "box body": "M6 12L21 12L21 32L6 32Z",
        "box right dim fine": "M1.5 3L3 3L3 5L1.5 5Z",
        "bone middle dim": "M6 12L16 12",
        "joint left": "M6 12h0",
        "joint right dim": "M16 12h0",
    }
    assert "keypoints 2 of 17 visible" in page.text


def paths_of(page: Elements) -> list[dict[str, str]]:
    """The coloured paths of the first tile, without casings and the legend's swatches."""
    start = next(i for i, (tag, _) in enumerate(page.found) if tag == "figure")
    return [a for t, a in page.found[start:] if t == "path" and not a["class"].startswith("case ")]


@pytest.mark.parametrize(
    ("size", "expected"), [((1920, 1080), (384, 216)), ((100, 3000), (13, 384)), ((60, 80), (60, 80))]
)
def test_thumbnails_are_small_and_fill_the_image(
    tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    page = Elements(write(tmp_path, person(image=picture(*size))))
    image = page.of("image")[0]
    assert (float(image["x"]), float(image["y"])) == (-0.5, -0.5)
    assert [float(image["width"]), float(image["height"])] == list(size)
    assert image["preserveaspectratio"] == "none"
    assert thumbnail(image).shape == (expected[1], expected[0], 3)
    assert max(expected) <= THUMBNAIL_SIDE


def test_thumbnails_keep_red_red(tmp_path: Path) -> None:
    red = np.zeros((40, 40, 3), np.uint8)
    red[..., 0] = 255
    shown = thumbnail(Elements(write(tmp_path, person(image=red))).of("image")[0])
    assert np.abs(shown.astype(int) - red).max() <= 3


def test_without_an_image_the_drawing_frames_itself(tmp_path: Path) -> None:
    page = Elements(write(tmp_path, person(image=None, affine=np.full((2, 3), 1e9))))
    view = page.of("svg", **{"class": "view"})[0]
    left, top, width, height = (float(v) for v in view["viewbox"].split())
    numbers = re.findall(r"(-?[\d.]+) (-?[\d.]+)", " ".join(a["d"] for a in paths_of(page)))
    x, y = np.array(numbers, float).T
    assert left < x.min()
    assert x.max() < left + width < 100
    assert top < y.min()
    assert y.max() < top + height < 100
    assert "no image" in page.text


def test_the_window_about_a_person_shows_the_same_pixels() -> None:
    image = picture(400, 300)
    affine = np.array([[0.5, 0, -3.0], [0, 0.5, 7.0]])
    box = np.array([300, 200, 60, 90, 1.0])
    tile = person(image=image, affine=affine, boxes={"body": box})
    near = about_person(tile)
    assert near.image is not None
    assert near.affine is not None
    assert max(near.image.shape) == pytest.approx(1.6 * 45, abs=3)
    for point in np.array([[300, 200], [360, 290], [330, 240]]):
        x, y = np.rint(apply_affine(near.affine, point)).astype(int)
        there = np.rint(apply_affine(affine, point)).astype(int)
        assert (near.image[y, x] == image[there[1], there[0]]).all()
    size = f"{near.image.shape[1]} x {near.image.shape[0]}"
    assert near.caption["shown"] == f"{size} px, cut from 400 x 300"


@pytest.mark.parametrize(
    "changes",
    [
        {"image": None},
        {"boxes": {}},
        {"boxes": {"body": np.array([5, 5, 9, 9, 0.0])}},
        {"boxes": {"body": np.array([500, 500, 9, 9, 1.0])}},
        {"boxes": {"body": np.array([-9, -9, 90, 99, 1.0])}},
    ],
    ids=["no image", "no box", "confidence 0", "outside", "fills the image"],
)
def test_the_window_leaves_other_tiles_alone(changes: dict[str, Any]) -> None:
    tile = person(**changes)
    assert about_person(tile) is tile


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": picture().astype(np.float32)}, r"\(H, W, 3\) uint8"),
        ({"image": picture()[..., 0]}, r"\(H, W, 3\) uint8"),
        ({"boxes": {"face": np.zeros(4)}}, r"box 'face': expected \(5,\)"),
        ({"keypoints": np.zeros((16, 3))}, r"'coco_17' has 17 joints, the array has 16"),
        ({"keypoints": np.zeros(17)}, r"expected \(K, 3\)"),
        ({"affine": np.eye(3)}, r"expected shape \(2, 3\)"),
    ],
)
def test_wrong_arrays_name_the_tile_and_leave_the_old_page(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    before = write(tmp_path, person()).read_bytes()
    with pytest.raises(UsageError, match=message) as error:
        write(tmp_path, person(), person("bad/key", **changes))
    assert "bad/key" in str(error.value)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("sheet.html", before)]


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    first = write(tmp_path, person(), name="a.html")
    assert write(tmp_path, person(), name="b.html").read_bytes() == first.read_bytes()
