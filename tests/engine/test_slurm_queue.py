"""What Slurm's commands print, and hosts that do not have them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hmtools.engine import slurm_queue
from hmtools.engine.slurm_queue import cluster_name, end_states, expand, requeue, rows_of
from tests.engine.slurm_files import no_slurm as no_slurm


@pytest.mark.parametrize(
    ("text", "tasks"),
    [("3", [3]), ("0-2,5%2", [0, 1, 2, 5]), ("7,9-10", [7, 9, 10]), ("", []), ("...", [])],
)
def test_ranges_of_tasks(text: str, tasks: list[int]) -> None:
    assert expand(text) == tasks


def test_end_states_of_both_sources() -> None:
    accounting = "61_0|COMPLETED\n61_1|CANCELLED by 1000\n61_[2-3%1]|PENDING\n62|TIMEOUT\n"
    assert list(slurm_queue._from_sacct(accounting)) == [
        ([0], "COMPLETED"), ([1], "CANCELLED by 1000"), ([2, 3], "PENDING"), ([0], "TIMEOUT"),
    ]  # fmt: skip
    controller = (
        "JobId=64 ArrayJobId=61 ArrayTaskId=0 JobName=x JobState=OUT_OF_MEMORY Reason=a=b Dependency=(null)\n"
        "JobId=61 ArrayJobId=61 ArrayTaskId=1-2%1 JobState=CANCELLED Reason=None\nslurm_load_jobs error\n"
    )
    assert list(slurm_queue._from_scontrol(controller)) == [([0], "OUT_OF_MEMORY"), ([1, 2], "CANCELLED")]


@pytest.mark.usefixtures("no_slurm")
def test_hosts_without_slurm_know_nothing() -> None:
    assert rows_of([61, 62], "x") is None
    assert rows_of([], "x") is None
    assert cluster_name() == ""
    assert end_states(61) == {}
    assert requeue("61_0") == "its state is not known"
    slurm_queue.cancel([61], "x")


def test_commands_that_hang_are_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_queue, "_ANSWER_S", 0.1)
    assert slurm_queue._ask("sleep", "20") is None


def test_a_command_that_hangs_is_let_alone_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody who looks at forty jobs does not wait forty times."""
    calls = tmp_path / "calls"
    (tmp_path / "squeue").write_text(f"#!/bin/sh\necho x >> {calls}\nexec sleep 9\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm_queue, "_ANSWER_S", 0.5)
    monkeypatch.setattr(slurm_queue, "_mute_since", {})
    assert [rows_of([61], "label") for _ in range(3)] == [None] * 3
    assert calls.read_text() == "x\n"
    assert caplog.text.count("squeue gave no answer within 0.5 s") == 1
    monkeypatch.setattr(slurm_queue, "_MUTE_S", 0.0)
    assert rows_of([61], "label") is None
    assert calls.read_text() == "x\nx\n", "it is asked again later"
