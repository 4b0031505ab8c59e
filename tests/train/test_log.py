"""The log of a run: every step once, also after a resume; sinks that fail are dropped."""

from __future__ import annotations

from pathlib import Path

import pytest

from hmtools.train.log import Scalars, TrainLog, jsonl_sink, read_log, tensorboard_sink


def write(path: Path, steps: range, *, since: int) -> None:
    log = TrainLog([jsonl_sink(path, since=since)])
    for step in steps:
        log.write(step, {"loss": 10.0 / step})
    log.close()


def test_every_step_is_there_once_after_a_resume(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write(path, range(1, 8), since=0)
    with path.open("a") as file:
        file.write('{"step": 8, "lo')  # killed in the middle of a line
    write(path, range(6, 10), since=5)
    assert [row["step"] for row in read_log(path)] == list(range(1, 10))
    assert read_log(path)[5]["loss"] == pytest.approx(10 / 6)


def test_a_new_run_has_no_log(tmp_path: Path) -> None:
    assert read_log(tmp_path / "log.jsonl") == []


def test_tensorboard_files_hold_the_numbers(tmp_path: Path) -> None:
    log = TrainLog([tensorboard_sink(tmp_path, since=0)])
    log.write(1, {"loss": 0.5, "lr": 1e-3})
    log.close()
    (events,) = tmp_path.iterdir()
    assert b"loss" in events.read_bytes()


def test_a_sink_that_fails_is_dropped_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Full:
        def write(self, step: int, scalars: Scalars) -> None:
            raise OSError("no space left")

        def close(self) -> None:
            raise AssertionError("dropped sinks are not closed")

    path = tmp_path / "log.jsonl"
    log = TrainLog([Full(), jsonl_sink(path, since=0)])
    log.write(1, {"loss": 1.0})
    log.write(2, {"loss": 2.0})
    log.close()
    assert [row["step"] for row in read_log(path)] == [1, 2]
    assert caplog.text.count("no space left") == 1
