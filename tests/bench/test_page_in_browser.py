"""The report in a real browser: a silent console, a phone's width, both colour schemes, enlarging."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hmtools.bench import page as pages
from hmtools.bench.people import Choice, Drawer
from hmtools.bench.pictures import Pictures
from hmtools.bench.results import read_runs
from hmtools.viz.page import thumbnail_uri
from tests.bench.results import SETS, write_run
from tests.viz.browser import CHROMIUM, Browser

HOSTILE = "<script>document.body.dataset.owned=1</script>\"'><img src=x onerror=alert(1)>{{ 1 }}&amp;\u202e"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH"),
]


class Noise(Pictures):
    """Pictures of anybody."""

    def __init__(self) -> None: ...

    def prepare(self, choices: object) -> Drawer:
        image = np.random.default_rng(0).integers(0, 256, (80, 60, 3), dtype=np.uint8)

        def draw(choice: Choice) -> tuple[tuple[tuple[str, str], ...], str]:
            return tuple((f"run {run} {HOSTILE}", thumbnail_uri(image)) for run, _ in choice.errors), HOSTILE

        return draw


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    instance = Browser(tmp_path_factory.mktemp("chromium"))
    yield instance
    instance.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    write_run(root / "a", dict.fromkeys(SETS, 60.0), count=40)
    write_run(
        root / "b", {"ehf": 50.0, "3dpw": 70.0}, count=40, seed=1, model=HOSTILE + "x" * 90, standin=True
    )
    return pages.write_page(read_runs([root / "a", root / "b"]), root / "page.html", pictures=Noise())


def test_the_console_stays_silent_and_hostile_text_inert(report: Path, browser: Browser) -> None:
    browser.open(report)
    assert browser.complaints() == []
    assert browser.js("document.body.dataset.owned ?? null") is None
    foreign = "[...document.images].filter((image) => !image.src.startsWith('data:image/jpeg')).length"
    assert browser.js(foreign) == 0
    assert HOSTILE in browser.js("document.querySelector('h1').textContent")
    assert browser.js("getComputedStyle(document.querySelector('.warning')).borderTopWidth") == "2px"
    painted = "getComputedStyle(document.querySelector('.curve.m1')).stroke"
    assert browser.js(painted) == "rgb(217, 102, 10)"  # the policy lets the page's own style in


def test_a_phone_needs_no_sideways_scrolling_and_dark_is_dark(report: Path, browser: Browser) -> None:
    for scheme, dark in (("light", False), ("dark", True)):
        browser.open(report, width=420, height=800, scheme=scheme)
        assert browser.js("document.documentElement.scrollWidth") == 420
        assert bool(browser.screenshot()[-1, 2].max() < 80) is dark
    # Letters of charts keep a legible size on the narrowest screens.
    letters = "Math.min(...[...document.querySelectorAll('.chart')].map((c) => c.getScreenCTM().a * 10.5))"
    assert browser.js(letters) > 8.5


def test_enlarging_by_mouse_and_keys(report: Path, browser: Browser) -> None:
    browser.open(report)
    keys = browser.js("[...document.querySelectorAll('.tile .key')].map((key) => key.textContent)")
    browser.click(".tile .shot")

    def shown() -> object:
        return browser.js("document.querySelector('#stage .key')?.textContent")

    assert browser.js("document.querySelector('#close-up').open") is True
    assert shown() == keys[0]
    assert browser.js("document.querySelectorAll('#stage img').length") == 1  # of the one run on this set
    browser.click("#next")
    assert shown() == keys[1]
    browser.press("ArrowLeft")
    browser.press("ArrowLeft")
    assert shown() == keys[-1]
    browser.press("Escape")
    assert browser.js("document.querySelector('#close-up').open") is False
    assert browser.complaints() == []
