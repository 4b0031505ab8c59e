"""What a submission leaves in the job's folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hmtools.core.errors import HmtoolsError
from hmtools.engine.job import Result
from hmtools.engine.slurm_store import Submission, task_name, unsettled
from tests.engine.engine_units import make_job
from tests.engine.slurm_files import submitted


def test_what_is_written_is_read_back(out: Path) -> None:
    made = submitted(make_job(out, [{}, {}, {}]), tasks=2)
    assert Submission.read(made.folder) == made == unsettled(out / ".job")
    assert made.out == out
    assert made.tasks == ({"u00000": 3}, {"u00001": 4, "u00002": 5})
    assert made.units == {"u00000": 3, "u00001": 4, "u00002": 5}
    assert made.ids == [61, 62]
    assert made.label.startswith("hmtools-test-job-")
    assert (task_name(made, 1), task_name(submitted_again(out), 0)) == ("61_1", "61")


def taken(submission: Submission) -> bool:
    return submission.taken


def submitted_again(out: Path) -> Submission:
    before = unsettled(out / ".job")
    assert before is not None
    before.settle(by="test")
    return submitted(make_job(out, [{}, {}, {}]))


def test_outcomes(out: Path) -> None:
    made = submitted(make_job(out, [{}, {}, {}]))
    result = Result(unit="u00000", counts={"records": 3}, seconds=0.5)
    made.write_outcome("u00000", result)
    made.write_outcome("u00001", "ValueError: no")
    (made.folder / "outcomes" / "u00002.json").write_text("{")
    (made.folder / "outcomes" / ".u00002.json.host.1.tmp").touch()
    assert [made.outcome(f"u{i:05d}") for i in range(4)] == [result, "ValueError: no", None, None]
    assert made.ended() == {"u00000", "u00001", "u00002"}


def test_only_the_newest_can_be_open(out: Path) -> None:
    assert unsettled(out / ".job") is None
    first = submitted(make_job(out, [{}, {}, {}]))
    assert taken(first) is False
    second = submitted_again(out)
    assert taken(first) is True
    assert unsettled(out / ".job") == second
    second.settle(by="test", failed=0)
    assert unsettled(out / ".job") is None
    assert second.settled is not None
    assert second.settled["failed"] == 0
    assert not list(first.folder.rglob("*.pkl")), "of old ones only what their tasks must see is kept"
    assert {path.name for path in first.folder.iterdir()} >= {"settled.json", "submission.json"}


def test_a_damaged_file_is_named(out: Path) -> None:
    made = submitted(make_job(out, [{}]))
    (made.folder / "submission.json").write_text(json.dumps({"job": "x", "tasks": []}))
    with pytest.raises(
        HmtoolsError, match=r"submission\.json does not describe a submission .*; once squeue"
    ):
        unsettled(out / ".job")


def test_a_folder_that_is_gone_is_taken(out: Path) -> None:
    made = submitted(make_job(out, [{}]))
    made.folder.rename(out / "away")
    assert made.taken
    made.settle(by="test")
    assert not made.folder.exists()
