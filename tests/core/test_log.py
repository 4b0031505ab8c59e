from __future__ import annotations

import io
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import rich.console
from hypothesis import given
from hypothesis import strategies as st

from hmtools.core.log import (
    Progress,
    format_bytes,
    format_count,
    format_duration,
    format_rate,
    setup_logging,
    table,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("hmtools")
    handlers, level = list(root.handlers), ours.level
    yield
    root.handlers[:] = handlers
    ours.setLevel(level)
    logging.captureWarnings(False)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("verbosity", "heard"),
    [(-2, "W"), (-1, "W"), (0, "IW"), (1, "DIW"), (3, "DIW")],
)
def test_verbosity(verbosity: int, heard: str, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # calling it again changes nothing
        setup_logging(verbosity)
    ours, other = logging.getLogger("hmtools.test"), logging.getLogger("other")
    for logger in (ours, other):
        logger.debug("%s D", logger.name)
        logger.info("%s I", logger.name)
        logger.warning("%s W", logger.name)
    lines = capsys.readouterr().err.splitlines()
    assert [line[-1] for line in lines if "hmtools.test" in line] == list(heard)
    assert [line[-1] for line in lines if "other" in line] == ["W"]


def test_logging_follows_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    setup_logging()
    stream = io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        logging.getLogger("hmtools.x").warning("above the bar")
    assert "WARNING above the bar" in stream.getvalue()
    assert capsys.readouterr().err == ""


@pytest.mark.filterwarnings("always")
def test_warnings_are_logged(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging()
    warnings.warn("old file", stacklevel=1)
    assert "UserWarning: old file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_949, "99.9 kB"), (99_950, "100 kB"),
        (999_499, "999 kB"), (999_500, "1.0 MB"), (1.5e9, "1.5 GB"), (2.25e12, "2.2 TB"), (5e15, "5000.0 TB"),
    ],
)  # fmt: skip
def test_format_bytes(count: float, text: str) -> None:
    assert format_bytes(count) == text


def test_format_count() -> None:
    shown = [format_count(0, "file"), format_count(1, "person", "people"), format_count(5000, "image")]
    assert shown == ["0 files", "1 person", "5,000 images"]
    assert format_count(2, "person", "people") == "2 people"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"),
        (185, "3 min 05 s"), (3599.7, "1 h 00 min"), (7800, "2 h 10 min"),
        (86_400, "1 d 00 h"), (200_000, "2 d 07 h"),
    ],
)  # fmt: skip
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(("rate", "text"), [(310.4, "310"), (9.96, "10"), (2.54, "2.5"), (0.347, "0.35")])
def test_format_rate(rate: float, text: str) -> None:
    assert format_rate(rate) == text


@given(st.floats(0, 1e15))
def test_formats_stay_short(value: float) -> None:
    assert len(format_bytes(value)) <= 9
    assert len(format_duration(value)) <= 20


def render(made: object) -> str:
    stream = io.StringIO()
    rich.console.Console(file=stream, width=60).print(made)
    return stream.getvalue()


def test_table_sets_numbers_to_the_right_and_shows_markup_as_it_is() -> None:
    text = render(table(["name", "n"], [["[red]a", 5], [None, 1234]], title="Jobs"))
    lines = [line.rstrip() for line in text.splitlines()]
    assert "Jobs" in text
    assert any(line.endswith("[red]a      5") for line in lines), text
    assert any(line.endswith(" 1234") for line in lines)
    assert "a" in render(table(["a"], []))


def test_rate_and_time_left(clock: Clock) -> None:
    bar = Progress("job", units=4, records=100, enabled=False, clock=clock)
    assert bar.summary() == "0/4 units"
    assert bar.eta_s is None
    clock.now += 10
    bar.advance(expected=20, records=18)
    assert bar.summary() == "1/4 units, 18 records, 1.8 records/s, 40 s left"
    clock.now += 10
    bar.advance(expected=60, records=60)
    assert bar.eta_s == pytest.approx(5)


def test_time_left_without_known_records(clock: Clock) -> None:
    bar = Progress("job", units=4, enabled=False, clock=clock)
    clock.now += 30
    bar.advance()
    assert bar.summary() == "1/4 units, 1 min 30 s left"


def test_lines_where_there_is_no_terminal(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hmtools")
    with Progress("job", units=100, stream=io.StringIO(), clock=clock) as bar:
        for _ in range(100):
            clock.now += 0.25
            bar.advance(records=2)
            bar.tick()
    assert [record.getMessage() for record in caplog.records] == [
        "job: 40/100 units, 80 records, 8 records/s, 15 s left",
        "job: 80/100 units, 160 records, 8 records/s, 5.0 s left",
        "job: 100/100 units, 200 records, 8 records/s in 25 s",
    ]


@pytest.mark.parametrize(("enabled", "units"), [(False, 3), (True, 0)])
def test_silence(enabled: bool, units: int, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "hmtools")
    stream = Terminal()
    with Progress("job", units=units, enabled=enabled, stream=stream, clock=clock) as bar:
        clock.now += 60
        bar.tick()
    assert caplog.records == []
    assert stream.getvalue() == ""


def test_bar_on_a_terminal(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging()
    stream = Terminal()
    with Progress("job [1]", units=2, records=8, stream=stream, clock=clock) as bar:
        clock.now += 2
        bar.advance(expected=4, records=4)
        bar.advance(expected=4, records=4)
        assert bar._bar is not None
        (task,) = bar._bar.tasks
        assert (task.completed, task.total, task.fields["text"]) == (2, 2, bar.summary())
    assert "job [1]" in stream.getvalue()
    assert (
        "job [1]: 2/2 units, 8 records, 4 records/s in 2.0 s" in capsys.readouterr().err + stream.getvalue()
    )


def test_import_is_light() -> None:
    code = (
        "import sys, hmtools.core.log, hmtools.engine.local\n"
        "print([m for m in sys.modules if m in {'rich', 'numpy'}])"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
