from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core.errors import LayoutError, UsageError
from hmtools.engine.job import OutFile, Result
from hmtools.engine.lease import Owner, acquire
from hmtools.engine.local import run_local
from hmtools.engine.state import State, _differences, _tail, find_jobs, job_status
from tests.engine.engine_units import COMMAND, make_job


@pytest.fixture
def state(tmp_path: Path) -> State:
    made = State(tmp_path / "out")
    made.create()
    return made


def result(state: State, unit: str = "u00000", **counts: int) -> Result:
    name = f"{unit}.bin"
    (state.out / name).write_bytes(b"12345")
    return Result(unit=unit, files=(OutFile(name=name, sha256="x", nbytes=5),), counts=counts)


def test_done_marker_round_trip(state: State) -> None:
    made = result(state, records=3)
    assert state.read_done("u00000") is None
    state.write_done(made)
    assert state.read_done("u00000") == made
    state.clear("u00000")
    assert state.read_done("u00000") is None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda state: (state.out / "u00000.bin").unlink(), "is not there"),
        (lambda state: (state.out / "u00000.bin").write_bytes(b"123"), "has 3 bytes, recorded are 5"),
        (lambda state: (state.root / "done/u00000.json").write_text("{"), "is damaged"),
        (lambda state: (state.root / "done/u00000.json").write_text("{}"), "is damaged"),
    ],
)
def test_damaged_units_run_again(
    state: State, damage: Any, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    state.write_done(result(state))
    damage(state)
    assert state.read_done("u00000") is None
    assert message in caplog.text


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="choose another output folder"):
        State(tmp_path / "file" / "out").create()


def test_folder_that_cannot_be_written(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the tests may run as root, who may all
    with pytest.raises(UsageError, match="cannot write to"):
        state.create()


def test_sweep_removes_temporary_files_only(state: State) -> None:
    for folder in (state.out, state.root, state.root / "done", state.root / "failed"):
        (folder / ".x.tar.123.tmp").touch()
        (folder / "kept.tmp").touch()
    state.sweep()
    assert not list(state.out.rglob(".x*"))
    assert len(list(state.out.rglob("kept.tmp"))) == 4


def test_fingerprint_is_compared(state: State) -> None:
    fingerprint = {"options": {"images": "crop", "every": 1}, "inputs": [["a", 1]], "seed": 3}
    job = make_job(state.out, [{}, {}], fingerprint=fingerprint)
    state.claim_fingerprint(job)
    state.claim_fingerprint(job)
    state.write_job(job, started="", seconds=0)
    changed = {"options": {"images": "full", "every": 1}, "inputs": [["a", 1]], "new": True}
    with pytest.raises(UsageError) as caught:
        state.claim_fingerprint(make_job(state.out, [{}, {}], fingerprint=changed))
    message = str(caught.value)
    assert 'options.images: "crop" -> "full"; seed: 3 -> (none); new: (none) -> true.' in message
    assert "'test job'" in message
    assert "--overwrite" in message
    with pytest.raises(UsageError, match=r'job.name: "test job" -> "another"'):
        state.claim_fingerprint(make_job(state.out, [{}, {}], fingerprint=fingerprint, name="another"))
    with pytest.raises(UsageError, match=r"job.units: 2 -> 1"):
        state.claim_fingerprint(make_job(state.out, [{}], fingerprint=fingerprint))


def test_work_without_a_fingerprint_is_refused(state: State) -> None:
    state.write_done(result(state))
    with pytest.raises(UsageError, match="--overwrite"):
        state.claim_fingerprint(make_job(state.out, [{}]))


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.text("ab", min_size=1), st.integers() | st.dictionaries(st.text("cd", min_size=1), st.integers())
    )
)
def test_equal_fingerprints_have_no_differences(value: dict[str, Any]) -> None:
    assert _differences(value, json.loads(json.dumps(value))) == []
    assert _differences(value, {**value, "z": 1}) == ["z: (none) -> 1"]


def test_differences_are_short() -> None:
    old = {f"k{i:02d}": "x" * 500 for i in range(20)}
    lines = _differences(old, {})
    assert len(lines) == 9
    assert lines[-1] == "and 12 more"
    assert all(len(line) < 100 for line in lines)


def test_choices_come_before_files_that_differ() -> None:
    files = [f"f{i:03d}.pkl" for i in range(500)]
    old = {"inputs": dict.fromkeys(files, 1), "options": {"images": "crop"}, "plan": "x"}
    new = {"inputs": dict.fromkeys(files, 2), "options": {"images": "full"}, "plan": "y"}
    assert _differences(old, new) == [
        'options.images: "crop" -> "full"', 'plan: "x" -> "y"',
        "500 input files differ, e.g. f000.pkl, f001.pkl",
    ]  # fmt: skip
    one = {**old, "inputs": {**dict.fromkeys(files, 1), "f007.pkl": 7}}
    assert _differences(old, one) == ["input file differs: f007.pkl"]


def test_overwrite_removes_state_and_owned_files_only(state: State) -> None:
    job = make_job(state.out, [{}])
    state.claim_fingerprint(job)
    state.write_job(job, started="", seconds=1)
    state.write_done(result(state))
    state.write_failed("u00001", "n", "reason")
    state.log_path("u00001").touch()
    for name in ("part-1.bin", "manifest.json", "mine.bin"):
        (state.out / name).touch()
    (state.out / "part-2.bin").symlink_to(state.out / "mine.bin")
    (state.out / "part-folder.bin").mkdir()
    state.write_finalised(["manifest.json"])
    with acquire(state.root) as lease:
        state.overwrite(job)
        lease.check()
    left = {p.relative_to(state.out).as_posix() for p in state.out.rglob("*")}
    assert left == {
        ".job", ".job/done", ".job/failed", ".job/logs", "mine.bin", "u00000.bin", "part-folder.bin",
    }  # fmt: skip


def test_patterns_never_reach_the_state(state: State) -> None:
    job = make_job(state.out, [{}], owns=("**/*.json", "**/*"))
    state.write_job(job, started="", seconds=1)
    (state.out / "sub").mkdir()
    (state.out / "sub" / "x.json").touch()
    with acquire(state.root) as lease:
        state.overwrite(job)
        lease.check()
    assert not list((state.out / "sub").iterdir())


def test_invalidate_removes_what_finalise_wrote(state: State) -> None:
    for name in ("manifest.json", "index.arrow", "mine"):
        (state.out / name).touch()
    state.write_finalised(["manifest.json", "index.arrow"])
    assert state.finalised
    state.invalidate()
    assert not (state.root / "finalised.json").exists()
    assert [p.name for p in state.out.iterdir() if p.is_file()] == ["mine"]
    state.invalidate()


def test_jobs_in_every_state(tmp_path: Path) -> None:
    """find_jobs sees what the engine leaves behind."""
    run_local(make_job(tmp_path / "a/finished", [{}, {}]), workers=0, progress=False)
    run_local(make_job(tmp_path / "b/failed", [{}, {"do": "fall"}]), workers=0, progress=False)
    interrupted = make_job(tmp_path / "c/killed", [{}, {}])
    run_local(interrupted, workers=0, progress=False)
    killed = State(interrupted.out)
    killed.clear("u00001")
    killed.invalidate()
    (killed.root / "lease.json").write_text(json.dumps(asdict(replace(Owner.here(), pid=1 << 30))))
    stopped = make_job(tmp_path / "d/stopped", [{}, {}])
    run_local(stopped, workers=0, progress=False)
    State(stopped.out).clear("u00001")
    State(stopped.out).invalidate()
    pending = State(tmp_path / "e/pending")
    pending.create()
    pending.write_job(make_job(pending.out, [{}] * 3), started="", seconds=0)
    (tmp_path / "e/pending/.job/hidden/.job").mkdir(parents=True)  # never looked at
    with acquire(pending.root) as lease:
        running = job_status(pending.out)
        assert running.state == "running"
        assert running.owner is not None
        assert running.owner.token == lease.owner.token
    found = {status.out.name: status for status in find_jobs(tmp_path)}
    assert list(found) == ["finished", "failed", "killed", "stopped", "pending"]
    assert {name: (s.state, s.total, s.done, s.failed) for name, s in found.items()} == {
        "finished": ("finished", 2, 2, 0),
        "failed": ("failed", 2, 1, 1),
        "killed": ("interrupted", 2, 1, 0),
        "stopped": ("interrupted", 2, 1, 0),
        "pending": ("pending", 3, 0, 0),
    }
    finished = found["finished"]
    assert (finished.records, finished.expected, finished.rejected) == (7, 7, 1)
    assert (finished.name, finished.command, finished.owner) == ("test job", COMMAND, None)
    assert finished.seconds > 0
    assert finished.started
    assert finished.updated
    owner = found["killed"].owner
    assert owner is not None
    assert owner.pid == 1 << 30
    (failure,) = found["failed"].failures
    assert (failure.unit, failure.reason) == ("u00001", "ValueError: a row with NaN")
    assert failure.log == tmp_path / "b/failed/.job/logs/u00001.log"
    assert failure.tail[-1] == "NaN"
    assert 'raise ValueError("a row with' in "\n".join(failure.tail)
    assert [status.out for status in find_jobs(finished.out)] == [finished.out]


def test_find_jobs_wants_a_folder(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="is not a folder"):
        find_jobs(tmp_path / "nowhere")
    assert find_jobs(tmp_path) == []


def test_damaged_state_is_shown_all_the_same(state: State, caplog: pytest.LogCaptureFixture) -> None:
    (state.root / "job.json").write_text("{")
    (state.root / "done/u00000.json").write_text("[]")
    (state.root / "failed/u00001.json").write_text("{}")
    status = job_status(state.out)
    assert (status.name, status.done, status.failed) == ("?", 0, 0)
    assert "job.json is damaged" in caplog.text


def test_tail_of_a_long_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert _tail(path) == []
    path.write_bytes(b"\xff first\n" + b"".join(b"line %d\n" % i for i in range(100_000)))
    began = time.monotonic()
    assert _tail(path) == [f"line {i}" for i in range(99_985, 100_000)]
    assert time.monotonic() - began < 1
    assert path.stat().st_size > 1_000_000
