"""The contact sheet in a real browser: console, clicks, keys, and whether the overlay sits on the image."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from hmtools.geometry.crop import crop_window
from hmtools.viz.page import Tile, about_person, contact_sheet
from tests.viz.browser import CHROMIUM, Browser

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
SAMPLES = os.environ.get("HMTOOLS_SAMPLES")
HOSTILE = (
    "a/<script>document.body.dataset.owned=1</script>\"'><img src=x onerror=alert(1)>{{ 1 }}&amp;\u202e\udcff"
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH"),
]


def person(key: str = "toy/val/a/000000_0", **changes: Any) -> Tile:
    rng = np.random.default_rng(0)
    values: dict[str, Any] = {
        "key": key,
        "image": rng.integers(0, 256, (80, 60, 3), dtype=np.uint8),
        "affine": None,
        "boxes": {"body": np.array([5, 6, 40, 60, 1.0]), "left hand": np.array([8, 9, 10, 10, 1.0])},
        "keypoints": np.concatenate([rng.uniform(5, 55, (17, 2)), np.ones((17, 1))], axis=1),
        "convention": "coco_17",
        "caption": {"image": "val/000000000001.jpg"},
    }
    return Tile(**{**values, **changes})


def write(tmp_path: Path, *tiles: Tile, **facts: str) -> Path:
    return contact_sheet(tiles, title="Toy people", facts=facts, out=tmp_path / "sheet.html")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    instance = Browser(tmp_path_factory.mktemp("chromium"))
    yield instance
    instance.close()


def test_the_console_stays_silent_and_hostile_text_inert(tmp_path: Path, browser: Browser) -> None:
    hostile = person(HOSTILE, caption={HOSTILE: HOSTILE}, note=HOSTILE)
    page = write(tmp_path, hostile, person(), **{HOSTILE: HOSTILE, "licence": HOSTILE, "dataset": HOSTILE})
    browser.open(page)
    browser.click(".shot")
    assert browser.js("document.querySelector('#close-up').open") is True
    decoded = "Promise.all([...document.querySelectorAll('image')].map((i) => i.decode().then(() => 1)))"
    assert browser.js(decoded) == [1, 1, 1]  # two tiles and the close-up
    assert browser.complaints() == []
    assert browser.js("document.body.dataset.owned ?? null") is None
    assert browser.js("document.images.length") == 0  # pictures are SVG images: an <img> would be injected
    shown = HOSTILE.encode("utf-8", "backslashreplace").decode()
    assert browser.js("document.querySelector('.tile .key').textContent") == shown


def test_a_script_that_gets_in_is_refused(tmp_path: Path, browser: Browser) -> None:
    page = write(tmp_path, person())
    injected = "<script>document.body.dataset.owned = 1</script><img src='https://example.org/x.png'></body>"
    page.write_text(page.read_text().replace("</body>", injected))
    browser.open(page)
    assert browser.js("document.body.dataset.owned ?? null") is None
    refused = [text for text in browser.complaints() if "Content Security Policy" in text]
    assert len(refused) == 2


def test_switches_and_filter(tmp_path: Path, browser: Browser) -> None:
    browser.open(write(tmp_path, *(person(f"toy/val/a/{i:06d}_0") for i in range(12))))

    def visible(selector: str) -> int:
        found = f"[...document.querySelectorAll('.tile {selector}')]"
        return int(browser.js(f"{found}.filter((e) => e.checkVisibility()).length"))

    everything = {s: visible(s) for s in (".box.body", ".box.fine", ".bone", ".joint")}
    assert min(everything.values()) >= 12
    for layer, gone in (
        ("boxes", {".box.body", ".box.fine"}),
        ("skeleton", {".bone", ".joint"}),
        ("parts", {".box.fine"}),
    ):
        browser.click(f".bar input[data-layer={layer}]")
        assert {s for s in everything if visible(s) == 0} == gone
        browser.click(f".bar input[data-layer={layer}]")
    assert {s: visible(s) for s in everything} == everything
    browser.js("document.querySelector('#filter').focus()")
    browser.call("Input.insertText", text="A/00001")
    assert visible(".shot") == 2
    assert browser.js("document.querySelector('#status').textContent") == "2 of 12 match"
    browser.call("Input.insertText", text="xyz")
    assert browser.js("document.querySelector('#none').checkVisibility()") is True
    assert browser.complaints() == []


def test_close_up_by_mouse_and_keys(tmp_path: Path, browser: Browser) -> None:
    browser.open(write(tmp_path, *(person(f"k{i}") for i in range(3))))

    def state() -> tuple[bool, str]:
        opened = browser.js("document.querySelector('#close-up').open")
        return bool(opened), str(browser.js("document.querySelector('#words .key')?.textContent"))

    browser.click("[data-key=k1] .shot")
    assert state() == (True, "k1")
    for key, expected in (("ArrowRight", "k2"), ("ArrowRight", "k0"), ("ArrowLeft", "k2")):
        browser.press(key)
        assert state() == (True, expected)
    browser.click(".tools input[data-layer=boxes]")
    assert browser.js("document.querySelector('#stage .box').checkVisibility()") is False
    assert browser.js("document.querySelector('.bar input[data-layer=boxes]').checked") is False
    browser.click("#previous")
    assert state() == (True, "k1")
    browser.press("Escape")
    assert state()[0] is False
    assert browser.js("document.activeElement.closest('.tile').dataset.key") == "k1"
    assert browser.complaints() == []


def square_scene() -> tuple[Image, Floats]:
    """Black, with one white rectangle (columns 311 to 470, rows 207 to 416), and the box that outlines it."""
    image = np.zeros((700, 900, 3), np.uint8)
    image[207:417, 311:471] = 255
    return image, np.array([310.5, 206.5, 160, 210, 1.0])


def two_places(weights: Floats) -> Floats:
    """Where the two lines of a profile run: its centre of mass left and right of the overall one."""
    index = np.arange(weights.size)
    middle = float(np.average(index, weights=weights))
    halves = (index < middle, index >= middle)
    return np.array([np.average(index[half], weights=weights[half]) for half in halves])


def middle_of(weights: Floats) -> int:
    return int(np.average(np.arange(weights.size), weights=weights))


@pytest.mark.parametrize("cropped", [False, True], ids=["full frame", "crop"])
def test_overlay_sits_on_the_image(tmp_path: Path, browser: Browser, cropped: bool) -> None:
    image, box = square_scene()
    affine = None
    if cropped:
        window = crop_window(box[:4], 900, 700, box_ratio=1.2)
        assert window is not None
        stored = window.stored_size(max_side=357)
        cut = image[window.y0 : window.y1, window.x0 : window.x1]
        image = cv2.resize(cut, stored, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        affine = window.affine(stored)
    tile = person(image=image, affine=affine, boxes={"body": box}, keypoints=None)
    browser.open(write(tmp_path, tile))
    browser.click(".shot")
    x, y, width, height = browser.place("#stage image")
    inside = np.s_[round(y) + 2 : round(y + height) - 2, round(x) + 2 : round(x + width) - 2]
    with_box = browser.screenshot()[inside].astype(np.float64)
    browser.click(".tools input[data-layer=boxes]")
    light = browser.screenshot()[inside][..., 0].astype(np.float64)
    green = np.clip(with_box[..., 1] - with_box[..., 0] - 20, 0, None)  # 20: colour noise of the JPEG
    row, column = middle_of(light.sum(axis=1)), middle_of(light.sum(axis=0))
    screen_per_original = width / image.shape[1] * (1.0 if affine is None else float(affine[0, 0]))
    for drawn, seen in ((green[row], light[row]), (green[:, column], light[:, column])):
        steps = two_places(np.abs(np.diff(seen))) + 0.5  # step i lies between pixels i and i + 1
        assert np.abs(two_places(drawn) - steps).max() / screen_per_original < 0.4


def test_a_phone_needs_no_sideways_scrolling_and_dark_is_dark(tmp_path: Path, browser: Browser) -> None:
    page = write(tmp_path, person("x" * 200), **{"y" * 90: "z" * 90, "citation": "c" * 300})
    for scheme, dark in (("light", False), ("dark", True)):
        browser.open(page, width=360, height=700, scheme=scheme)
        assert browser.js("document.documentElement.scrollWidth") == 360
        assert bool(browser.screenshot()[-1, 2].max() < 80) is dark
    browser.click(".shot")
    left, top, width, height = browser.place("#close")
    assert left >= 0
    assert left + width <= 360
    assert top >= 0
    assert top + height <= 700


def test_two_hundred_tiles_stay_quick(tmp_path: Path, browser: Browser) -> None:
    images = [np.random.default_rng(i).integers(0, 256, (384, 384, 3), dtype=np.uint8) for i in range(5)]
    page = write(tmp_path, *(person(f"toy/{i:03d}", image=images[i % 5]) for i in range(200)))
    start = time.perf_counter()
    browser.open(page)
    browser.screenshot()
    browser.js("document.querySelector('.bar input[data-layer=skeleton]').click()")
    browser.js("document.querySelector('#filter').focus()")
    browser.call("Input.insertText", text="9")
    assert browser.js("document.querySelector('#status').textContent") == "38 of 200 match"
    browser.js("scrollTo(0, document.body.scrollHeight)")
    browser.screenshot()
    assert time.perf_counter() - start < 10  # about 1 s when idle; the limit leaves room for a busy machine


def sample_people(root: Path) -> Iterator[Tile]:
    """The official person annotations of an MS COCO excerpt, over full frames."""
    labels = json.loads((root / "annotations/person_keypoints_val2017.json").read_text())
    names = {image["id"]: image["file_name"] for image in labels["images"]}
    for label in labels["annotations"]:
        keypoints = np.array(label["keypoints"], np.float64).reshape(17, 3)
        keypoints[:, 2] /= 2  # 0 not labelled, 1 occluded, 2 visible
        image = cv2.imread(str(root / "val2017" / names[label["image_id"]]), cv2.IMREAD_COLOR_RGB)
        assert image is not None
        yield person(
            str(label["id"]),
            image=image.astype(np.uint8, copy=False),
            boxes={"body": np.array([*label["bbox"], 1.0])},
            keypoints=keypoints,
            caption={"labelled": str(label["num_keypoints"])},
        )


@pytest.mark.real
@pytest.mark.skipif(SAMPLES is None, reason="HMTOOLS_SAMPLES is not set (folder that holds mscoco/)")
def test_real_people(tmp_path: Path, browser: Browser) -> None:
    tiles = list(sample_people(Path(str(SAMPLES)) / "mscoco"))
    assert len(tiles) >= 10
    browser.open(write(tmp_path, *map(about_person, tiles)), width=1400, height=1000)
    assert browser.complaints() == []
    captions = browser.js("[...document.querySelectorAll('.tile dl')].map((list) => list.textContent)")
    for tile, words in zip(tiles, captions, strict=True):
        assert f"{tile.caption['labelled']} of 17 visible" in words
