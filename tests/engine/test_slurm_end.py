"""The end of a submission: every unit is settled, and the job finalised once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hmtools.engine import slurm_end
from hmtools.engine.job import Result
from hmtools.engine.lease import acquire
from hmtools.engine.slurm_end import end_submission, run_end
from hmtools.engine.slurm_queue import Row
from hmtools.engine.slurm_task import run_task
from hmtools.engine.state import job_status
from tests.engine.engine_units import finalised, go, log_of, make_job, outputs, runs
from tests.engine.slurm_files import no_slurm as no_slurm
from tests.engine.slurm_files import own_logging as own_logging
from tests.engine.slurm_files import submitted

pytestmark = pytest.mark.usefixtures("no_slurm", "own_logging")


def test_a_complete_submission_finishes_the_job(out: Path, tmp_path: Path) -> None:
    made = submitted(make_job(out, [{}, {}, {}]), tasks=2)
    for task in (1, 0):
        run_task(str(made.folder), task)
    run_end(str(made.folder))
    assert made.settled is not None
    assert (made.settled["by"], made.settled["failed"]) == ("slurm", 0)
    assert (job_status(out).state, finalised(out)) == ("finished", 1)
    assert job_status(out).seconds > 0
    go(tmp_path / "calm", [{}] * 3, 0)
    assert outputs(out) == outputs(tmp_path / "calm")
    run_end(str(made.folder))
    assert finalised(out) == 1, "Slurm may start it again"


def test_every_unit_gets_its_reason(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Slurm says is asked for once, and only where it is needed."""
    plan: list[dict[str, Any]] = [{}, {"do": "fall"}, {}, {}, {}, {}, {}]
    made = submitted(make_job(out, plan), tasks=7)
    for task in (0, 1):
        run_task(str(made.folder), task)
    made.write_note(2, {"node": "hm1", "unit": "u00002"})
    made.write_note(3, {"node": "hm2", "unit": "u00002", "why": "HmtoolsError: no function"})
    made.write_note(4, {"node": "hm2", "refused": "hm2:\n  no python"})
    (made.slurm_folder / "61_3_0_log.out").write_text("srun: last words of the task\n")
    made.write_outcome("u00006", Result(unit="u00006", counts={"records": 1}))
    asked: list[int] = []

    def states(array: int) -> dict[int, str]:
        asked.append(array)
        return {2: "CANCELLED by 7", 5: "TIMEOUT"}

    monkeypatch.setattr(slurm_end, "end_states", states)
    outcome = end_submission(made)
    assert outcome.failed == {
        "u00001": "ValueError: a row with NaN",
        "u00002": "Slurm task 61_2 on hm1 ended while this unit ran: CANCELLED by 7",
        "u00003": "Slurm task 61_3 on hm2 ended before this unit began: HmtoolsError: no function",
        "u00004": "hm2: no python",
        "u00005": "Slurm task 61_5 ended before hmtools ran in it: TIMEOUT",
    }
    assert asked == [61]
    assert outcome.exit_code == 1
    assert made.settled is not None
    assert made.settled["refused"] == "hm2:\n  no python"
    status = job_status(out)
    assert (status.state, status.done, status.failed) == ("failed", 2, 5)
    assert status.failures[2].tail == ["srun: last words of the task"]
    assert "Traceback" in log_of(out, "u00001")


def test_without_any_word_from_slurm(out: Path) -> None:
    made = submitted(make_job(out, [{}, {}]))
    made.write_note(0, {"node": "hm1", "unit": "u00000"})
    assert end_submission(made).failed == {
        "u00000": "Slurm task 61 on hm1 ended while this unit ran: without a result",
        "u00001": "Slurm task 61 on hm1 ended before this unit began: without a result",
    }


def test_a_result_whose_files_are_gone_is_a_failure(out: Path) -> None:
    made = submitted(make_job(out, [{}, {}]))
    run_task(str(made.folder), 0)
    (out / "part-u00001.bin").unlink()
    assert end_submission(made).failed == {
        "u00001": "the unit reports files that are not as it says: part-u00001.bin is not there"
    }


def no_end(results: Sequence[Result]) -> None:
    raise ValueError("two records of one key")


def test_a_finalise_that_fails_is_told_and_done_again_by_a_rerun(out: Path) -> None:
    made = submitted(make_job(out, [{}], finalise=no_end))
    run_task(str(made.folder), 0)
    with pytest.raises(ValueError, match="two records"):
        run_end(str(made.folder))
    assert made.settled is not None
    assert made.settled["error"] == "ValueError: two records of one key"
    assert [failure.unit for failure in job_status(out).failures] == ["finalise"]
    assert go(out, [{}]).ok
    assert (runs(out), finalised(out)) == (["u00000"], 1)


def test_the_end_waits_for_the_driver(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = submitted(make_job(out, [{}]))
    run_task(str(made.folder), 0)
    held = acquire(out / ".job")
    monkeypatch.setattr("time.sleep", lambda seconds: held.release())
    run_end(str(made.folder))
    assert finalised(out) == 1


@pytest.mark.parametrize("rows", [[Row("61", "PENDING", "BeginTime")], None], ids=["queued", "no answer"])
def test_the_end_waits_for_a_task_that_is_being_requeued(
    out: Path, monkeypatch: pytest.MonkeyPatch, rows: list[Row] | None
) -> None:
    """It may have ended for Slurm, and be in the queue again when the end begins."""
    made = submitted(make_job(out, [{}]))
    monkeypatch.setattr(slurm_end, "rows_of", lambda ids, label: rows)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("time.sleep", lambda seconds: run_task(str(made.folder), 0))
    run_end(str(made.folder))
    assert (job_status(out).state, finalised(out)) == ("finished", 1)


def test_the_end_does_not_wait_for_ever_for_an_answer(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = submitted(make_job(out, [{}]))
    monkeypatch.setattr(slurm_end, "rows_of", lambda ids, label: None)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(slurm_end, "_PATIENCE_S", -1.0)
    run_end(str(made.folder))
    assert made.settled is not None
    assert made.settled["failed"] == 1
