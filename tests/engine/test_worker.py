from __future__ import annotations

import functools
import logging
import os
import sys
import time
from pathlib import Path

import pytest

from hmtools.engine.job import Result, Unit
from hmtools.engine.worker import attempt, captured, one_line
from tests.engine.engine_units import bad_result

UNIT = Unit(index=3, name="unit 3", payload={})


def test_attempt_returns_the_result_as_it_will_be_read_back() -> None:
    given = Result(unit="u00003", data={"pair": (1, 2)})
    got = attempt(lambda unit: given, UNIT)
    assert isinstance(got, Result)
    assert got.data == {"pair": [1, 2]}


def test_attempt_measures_time_unless_the_unit_did() -> None:
    def fn(unit: Unit) -> Result:
        time.sleep(0.002)
        return Result(unit=unit.id, seconds=unit.payload)

    for given, low, high in ((0.0, 0.002, 4.0), (5.0, 5.0, 5.0)):
        got = attempt(fn, Unit(index=3, name="unit 3", payload=given))
        assert isinstance(got, Result)
        assert low <= got.seconds <= high


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("none", "the function of u00003 has to return its Result, got None"),
        ("other", "the function of u00003 has to return its Result, got Result(unit='u00099'"),
        ("nan", "the result of u00003 does not fit into JSON"),
        ("set", "the result of u00003 does not fit into JSON"),
    ],
)
def test_bad_results_fail_the_unit(kind: str, reason: str) -> None:
    got = attempt(functools.partial(bad_result, kind), UNIT)
    assert isinstance(got, str)
    assert got.startswith(f"TypeError: {reason}")


def test_reason_is_one_short_line() -> None:
    assert one_line(ValueError("a\n b\tc")) == "ValueError: a b c"
    assert len(one_line(ValueError("x" * 1000))) == 500


def test_captured_takes_both_descriptors_and_gives_them_back(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "u.log"
    path.write_text("of an earlier attempt")
    with captured(path):
        os.write(1, b"one\n")
        os.write(2, b"two\n")
        sys.stdout.write("three\n")
    os.write(2, b"after\n")
    assert path.read_text() == "one\ntwo\n"  # pytest has replaced sys.stdout
    assert "after" in capfd.readouterr().err
    with captured(path):
        pass
    assert not path.exists(), "an empty log is no log"


def test_log_that_cannot_be_opened_is_no_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), captured(tmp_path / "no" / "u.log"):
        ran = True
    assert ran
    assert "cannot open the log" in caplog.text
