"""Who may write while units are on Slurm, and what is seen of them from outside."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hmtools.core.errors import LockedError
from hmtools.engine import slurm_follow, slurm_watch
from hmtools.engine.slurm_follow import follow
from hmtools.engine.slurm_queue import Row
from hmtools.engine.slurm_store import Submission
from hmtools.engine.slurm_task import run_task
from hmtools.engine.slurm_watch import SILENT_S, look
from hmtools.engine.state import job_status
from tests.engine.engine_units import finalised, go, make_job, runs, wait_for
from tests.engine.slurm_files import no_slurm as no_slurm
from tests.engine.slurm_files import own_logging as own_logging
from tests.engine.slurm_files import submitted

pytestmark = pytest.mark.usefixtures("no_slurm", "own_logging")


def answers(monkeypatch: pytest.MonkeyPatch, rows: list[Row] | None, cluster: str = "here") -> None:
    """Let Slurm say this."""
    monkeypatch.setattr(slurm_watch, "rows_of", lambda ids, label: rows)
    monkeypatch.setattr(slurm_watch, "cluster_name", lambda: cluster)


def older(submission: Submission, seconds: float) -> Submission:
    changed = replace(submission, since=submission.since - seconds)
    changed.write()
    return changed


def test_nobody_writes_while_it_is_open(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted(make_job(out, [{}, {}]), tasks=2)
    answers(monkeypatch, [Row("61_0", "RUNNING", "None"), Row("61_1", "PENDING", "Resources")])
    with pytest.raises(LockedError) as caught:
        go(out, [{}, {}])
    message = str(caught.value)
    assert "is being written by Slurm job 61: 1 running, 1 waiting (Resources). Wait" in message
    for remedy in (f"hmtools jobs {out} --follow", "scancel 61 62", "--break-lock"):
        assert remedy in message
    assert runs(out) == []
    answers(
        monkeypatch, [Row("61_0", "COMPLETED", ""), Row("61_1", "CANCELLED", ""), Row("62", "FAILED", "")]
    )
    assert go(out, [{}, {}]).ok


def test_a_rerun_takes_what_is_there(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = submitted(make_job(out, [{}, {"do": "fall"}, {}]), tasks=3)
    run_task(str(made.folder), 0)
    run_task(str(made.folder), 1)
    answers(monkeypatch, [])
    assert job_status(out).state == "interrupted"
    outcome = go(out, [{}] * 3)
    assert (outcome.ok, outcome.skipped) == (True, 1)
    assert runs(out) == ["u00000", "u00001", "u00001", "u00002"]
    assert made.settled is not None
    assert made.settled["by"] == "rerun"


def test_overwriting_does_not(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = submitted(make_job(out, [{}]))
    run_task(str(made.folder), 0)
    answers(monkeypatch, [])
    from hmtools.engine.local import run_local

    assert run_local(make_job(out, [{}]), workers=0, overwrite=True, progress=False).skipped == 0
    assert made.taken


def test_break_lock_cancels(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = submitted(make_job(out, [{}]))
    cancelled: list[list[int]] = []

    def cancel(ids: list[int], label: str) -> None:
        cancelled.append(ids)
        answers(monkeypatch, [Row("61", "CANCELLED", "")])

    answers(monkeypatch, [Row("61", "RUNNING", "")])
    monkeypatch.setattr(slurm_watch, "cancel", cancel)
    from hmtools.engine.local import run_local

    assert run_local(make_job(out, [{}]), workers=0, break_lock=True, progress=False).ok
    assert cancelled == [[61, 62]]
    assert made.taken


def test_break_lock_says_that_nobody_was_there_to_cancel(
    out: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    submitted(make_job(out, [{}]))
    answers(monkeypatch, None)
    from hmtools.engine.local import run_local

    assert run_local(make_job(out, [{}]), workers=0, break_lock=True, progress=False).ok
    assert "Slurm does not answer, so its jobs may not be cancelled" in caplog.text


def test_break_lock_does_not_trust_what_stays(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted(make_job(out, [{}]))
    answers(monkeypatch, [Row("61", "COMPLETING", "")])
    monkeypatch.setattr(slurm_watch, "_CANCEL_S", 0.0)
    from hmtools.engine.local import run_local

    with pytest.raises(LockedError, match="61 is still completing; rerun when it is gone"):
        run_local(make_job(out, [{}]), workers=0, break_lock=True, progress=False)


def test_without_slurm_signs_of_life_decide(out: Path) -> None:
    made = submitted(make_job(out, [{}, {}]))
    assert look(made).open
    assert "Slurm does not answer here; last sign of life" in look(made).words
    made = older(made, SILENT_S + 60)
    assert not look(made).open
    made.write_note(0, {"heartbeat": time.time() - 60, "since": time.time() - 90})
    assert look(made).open, "a task gave one since"


def test_another_cluster_is_not_asked_twice(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = submitted(make_job(out, [{}]))
    answers(monkeypatch, [], cluster="elsewhere")
    assert look(made).open
    assert "Slurm here is not here" in look(made).words
    answers(monkeypatch, [])
    assert not look(made).open


def test_status_counts_what_was_done_on_slurm(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = submitted(make_job(out, [{}, {"do": "fall"}, {}]), tasks=3)
    answers(monkeypatch, [Row("61_0", "PENDING", "Priority"), Row("62", "PENDING", "Dependency")])
    status = job_status(out)
    assert (status.state, status.slurm, status.left_s) == (
        "queued", "Slurm job 61: 1 waiting (Priority)", None,
    )  # fmt: skip
    run_task(str(made.folder), 0)
    run_task(str(made.folder), 1)
    status = job_status(out)
    assert (status.state, status.done, status.failed, status.records) == ("running", 1, 1, 3)
    assert [(f.unit, f.reason) for f in status.failures] == [("u00001", "ValueError: a row with NaN")]
    assert status.failures[0].tail
    assert status.left_s is not None
    answers(monkeypatch, [Row("61_0", "COMPLETED", ""), Row("62", "PENDING", "Resources")])
    assert job_status(out).slurm == "Slurm job 61: units are over; 62 ends it"


class TestFollow:
    def test_until_it_is_settled(self, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made = submitted(make_job(out, [{}]))
        answers(monkeypatch, [Row("61", "RUNNING", "")])
        thread = threading.Timer(0.3, made.settle, kwargs={"by": "test"})
        thread.start()
        assert follow(made, progress=False)
        thread.join()

    def test_ends_what_has_no_end(self, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its last job was cancelled, or never came; there may be no accounting to ask."""
        made = submitted(make_job(out, [{}]))
        run_task(str(made.folder), 0)
        answers(monkeypatch, [])
        monkeypatch.setattr(slurm_follow, "_LOOK_S", (0.1, 0.1))
        monkeypatch.setattr(slurm_follow, "_SETTLES_S", 0.2)
        assert follow(made, progress=False)
        assert finalised(out) == 1
        assert made.settled is not None
        assert made.settled["by"] == "follower"

    def test_a_signal_ends_the_waiting_only(
        self, out: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        made = submitted(make_job(out, [{}]))
        answers(monkeypatch, [Row("61", "RUNNING", "")])
        thread = threading.Timer(0.3, os.kill, args=(os.getpid(), signal.SIGTERM))
        thread.start()
        assert not follow(made, progress=False)
        thread.join()
        assert not made.taken
        assert f"follow it: hmtools jobs {out} --follow; cancel it: scancel 61 62" in caplog.text


def test_what_a_killed_driver_left_is_found_by_name(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was killed between giving the array to Slurm and writing down its number."""
    made = replace(submitted(make_job(out, [{}])), array=None, final=None)
    made.write()
    asked: list[tuple[list[int], str]] = []

    def rows(ids: list[int], label: str) -> list[Row]:
        asked.append((ids, label))
        return [Row("61_0", "PENDING", "Resources")]

    monkeypatch.setattr(slurm_watch, "rows_of", rows)
    with pytest.raises(LockedError, match=f"scancel --name {made.label}"):
        go(out, [{}])
    assert asked == [([], made.label)]
    wait_for(lambda: job_status(out).state == "queued")
