"""A job's set-up, and the time a unit may take, in local workers and inline."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hmtools.core.errors import HmtoolsError
from hmtools.engine.lease import process_start
from hmtools.engine.local import run_local
from hmtools.engine.state import job_status
from hmtools.engine.worker import timed_out
from tests.engine.engine_units import loading_job, loads, log_of, make_job, no_model, pids, runs


def test_set_up_runs_once_per_worker(out: Path) -> None:
    assert run_local(loading_job(out, [{"do": "slow"}] * 6), workers=2, progress=False).ok
    assert 1 <= len(loads(out)) <= 2
    assert len(set(loads(out))) == len(loads(out))
    assert set(pids(out)) <= set(loads(out))
    assert os.getpid() not in loads(out)


def test_set_up_of_inline_runs(out: Path) -> None:
    assert run_local(loading_job(out, [{}] * 3), workers=0, progress=False).ok
    assert loads(out) == [os.getpid()]
    assert run_local(loading_job(out, [{}] * 3), workers=0, progress=False).skipped == 3
    assert loads(out) == [os.getpid()], "nothing to do, nothing to load"


def test_set_up_that_fails(out: Path) -> None:
    with pytest.raises(HmtoolsError, match="cannot load the job's function: FileNotFoundError: no such"):
        run_local(loading_job(out, [{}], setup=no_model), workers=1, progress=False)
    with pytest.raises(FileNotFoundError):
        run_local(loading_job(out, [{}], setup=no_model), workers=0, progress=False)
    assert job_status(out).owner is None


@pytest.mark.parametrize("do", ["stuck", "hold"])
def test_a_unit_that_hangs_has_failed_and_its_worker_is_replaced(out: Path, do: str) -> None:
    """Also one that keeps the interpreter locked, where no thread of Python's could do anything."""
    job = make_job(out, [{}, {"do": do}, {}])
    outcome = run_local(job, workers=1, unit_timeout=1, progress=False)
    assert outcome.failed == {"u00001": "timed out after 1 s"}
    assert [result.unit for result in outcome.results] == ["u00000", "u00002"]
    assert f"in {do}" in log_of(out, "u00001"), "where it hung"
    assert job_status(out).failures[0].reason == "timed out after 1 s"
    assert len(pids(out)) == 2
    assert all(process_start(pid) is None for pid in pids(out))
    assert run_local(make_job(out, [{}] * 3), workers=1, unit_timeout=60, progress=False).ok
    assert runs(out)[3:] == ["u00001"]


def test_time_begins_anew_with_each_unit(out: Path) -> None:
    plan = [{"do": "slow", "seconds": 0.4}] * 4
    assert run_local(make_job(out, plan), workers=1, unit_timeout=1, progress=False).ok


def test_a_worker_that_dies_in_time_did_not_time_out(out: Path) -> None:
    outcome = run_local(make_job(out, [{"do": "die"}]), workers=1, unit_timeout=30, progress=False)
    assert "killed by signal 9" in outcome.failed["u00000"]


def test_timed_out_reads_the_end_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "u.log"
    assert not timed_out(log)
    log.write_text("Timeout (of a library)\nfine\n")
    assert not timed_out(log)
    log.write_text("x\n" * 2_000_000 + "Timeout (0:00:01)!\nThread 0x1:\n")
    assert timed_out(log)
