"""What a task does, run in this process: no cluster is needed for that."""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from hmtools.engine import slurm_task
from hmtools.engine.job import Result
from hmtools.engine.slurm_store import Submission
from hmtools.engine.slurm_task import STARTS, run_task
from tests.engine.engine_units import go, loading_job, log_of, make_job, no_model, outputs, runs, wait_for
from tests.engine.slurm_files import no_slurm as no_slurm
from tests.engine.slurm_files import own_logging as own_logging
from tests.engine.slurm_files import submitted

pytestmark = pytest.mark.usefixtures("own_logging")


def test_bad_units_cost_themselves_only(out: Path, tmp_path: Path) -> None:
    plan: list[dict[str, Any]] = [{}, {"do": "fall"}, {"do": "leave"}, {"do": "hold"}, {"do": "say"}]
    made = submitted(make_job(out, plan), unit_timeout=1)
    run_task(str(made.folder), 0)
    ended = [made.outcome(unit) for unit in made.units]
    assert isinstance(ended[0], Result)
    assert ended[1:4] == [
        "ValueError: a row with NaN", "its worker process ended: exit code 7", "timed out after 1 s",
    ]  # fmt: skip
    assert isinstance(ended[4], Result)
    assert "from printf\n" in log_of(out, "u00004")
    assert not list((out / ".job" / "done").iterdir()), "markers are not a task's to write"
    note = made.note(0)
    assert (note["unit"], note["begun"], note["ended"]) == ("u00004", {"u00004": 1}, True)
    go(tmp_path / "calm", [{}] * 5, 0)
    made_here = {name: data for name, data in outputs(out).items() if name.startswith("part")}
    assert made_here.items() <= outputs(tmp_path / "calm").items()
    assert len(made_here) == 2
    run_task(str(made.folder), 0)
    assert runs(out) == [f"u{i:05d}" for i in range(5)], "a second start runs nothing again"


def test_a_bad_node_runs_nothing(out: Path) -> None:
    made = submitted(make_job(out, [{}]))
    facts = json.loads(made.facts_path.read_text())
    made.facts_path.write_text(json.dumps(facts | {"python": "3.1.4", "node": "login"}))
    with pytest.raises(SystemExit) as stopped:
        run_task(str(made.folder), 0)
    assert stopped.value.code == 2
    assert "expected 3.1.4 as on login" in made.note(0)["refused"]
    assert runs(out) == []


def test_work_that_cannot_be_loaded(out: Path) -> None:
    made = submitted(loading_job(out, [{}], setup=no_model))
    with pytest.raises(SystemExit) as stopped:
        run_task(str(made.folder), 0)
    assert stopped.value.code == 1
    assert "cannot load the job's function: FileNotFoundError: no such checkpoint" in made.note(0)["why"]


def test_a_settled_submission_runs_nothing_more(out: Path, tmp_path: Path) -> None:
    """Whoever took the job away need not find its tasks: they find out themselves."""
    gate = tmp_path / "gate"
    made = submitted(make_job(out, [{"do": "wait", "note": str(gate)}, {}]))

    def take() -> None:
        wait_for(lambda: runs(out))
        made.settle(by="test")

    thread = threading.Thread(target=take)
    thread.start()
    run_task(str(made.folder), 0)
    thread.join()
    assert made.ended() == set()
    run_task(str(made.folder), 0)
    assert runs(out) == ["u00000"]


def test_a_unit_is_not_begun_for_ever(out: Path) -> None:
    made = submitted(make_job(out, [{}, {}]))
    made.write_note(0, {"begun": {"u00000": STARTS}, "since": 1.0})
    run_task(str(made.folder), 0)
    assert made.outcome("u00000") == f"begun {STARTS} times without an end; does it fit into slurm.time?"
    assert isinstance(made.outcome("u00001"), Result)
    assert runs(out) == ["u00001"]


def test_outcomes_wait_for_room_on_the_disk(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, write, full = submitted(make_job(out, [{}, {}])), Submission.write_outcome, [True] * 3

    def no_room(self: Submission, unit: str, outcome: Result | str) -> None:
        if full and full.pop():
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, unit, outcome)

    monkeypatch.setattr(Submission, "write_outcome", no_room)
    run_task(str(made.folder), 0)
    assert made.ended() == {"u00000", "u00001"}


@pytest.mark.usefixtures("no_slurm")
@pytest.mark.parametrize("ends", [True, False])
def test_a_signal_lets_the_running_unit_end_or_not(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    monkeypatch.setattr(slurm_task, "_KILLED_S", 0.0)  # nobody will kill this one
    monkeypatch.setitem(slurm_task._GRACE_S, signal.SIGTERM, 20.0 if ends else 0.3)
    gate = tmp_path / "gate"
    made = submitted(make_job(out, [{"do": "wait", "note": str(gate)}, {}]))

    def stop() -> None:
        wait_for(lambda: runs(out))
        os.kill(os.getpid(), signal.SIGTERM)
        if ends:
            gate.touch()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(SystemExit):
        run_task(str(made.folder), 0)
    thread.join()
    assert made.ended() == ({"u00000"} if ends else set())
    assert made.note(0)["why"] == "stopped by SIGTERM"
    gate.touch()
    run_task(str(made.folder), 0)
    assert runs(out) == ["u00000", "u00001"] if ends else ["u00000", "u00000", "u00001"]
    assert len(made.ended()) == 2


def test_a_requeue_that_slurm_did_not_hear_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, asked, slept = ["its state is not known", "no answer from scontrol", ""], [], list[float]()

    def requeue(job: str) -> str:
        asked.append(job)
        return answers.pop(0)

    monkeypatch.setattr(slurm_task, "requeue", requeue)
    monkeypatch.setattr("time.sleep", slept.append)
    with pytest.raises(SystemExit):
        slurm_task.give_way("61_3", "SIGTERM")
    assert asked == ["61_3"] * 3
    assert slept[:2] == [5.0, 10.0]
    assert sum(slept) > 800, "and then it waits to be killed"
