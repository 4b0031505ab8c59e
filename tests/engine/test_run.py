from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hmtools.core import atomic
from hmtools.core.errors import LockedError, SchemaError, UsageError
from hmtools.engine.job import Job, Outcome
from hmtools.engine.lease import acquire
from hmtools.engine.run import prepared
from hmtools.engine.state import State, job_status
from tests.engine.engine_units import finalised, make, make_job, outputs, runs


def run(job: Job, *, overwrite: bool = False, break_lock: bool = False) -> Outcome:
    """The simplest engine there is."""
    with prepared(job, overwrite=overwrite, break_lock=break_lock) as current:
        for unit in current.todo:
            current.begin(unit)
            current.settle(unit, job.fn(unit))
        return current.finish()


def test_run_and_resume(out: Path) -> None:
    job = make_job(out, [{}] * 3)
    first = run(job)
    assert first.ok
    assert [r.unit for r in first.results] == ["u00000", "u00001", "u00002"]
    assert (first.skipped, first.count("records")) == (0, 12)
    assert sorted(outputs(out)) == ["manifest.json", "part-u00000.bin", "part-u00001.bin", "part-u00002.bin"]
    again = run(job)
    assert (again.skipped, again.ok, len(again.results)) == (3, True, 3)
    assert runs(out) == ["u00000", "u00001", "u00002"]
    assert finalised(out) == 1


def test_finished_job_is_left_alone(out: Path) -> None:
    def stamps() -> dict[str, int]:
        return {str(p): p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}

    run(make_job(out, [{}] * 2))
    before = stamps()
    run(make_job(out, [{}] * 2))
    assert stamps() == before


def test_lost_file_runs_its_unit_again_and_unfinishes_the_job_first(out: Path) -> None:
    job = make_job(out, [{}] * 3)
    run(job)
    before = outputs(out)
    (out / "part-u00001.bin").unlink()
    with prepared(job) as current:
        assert [unit.id for unit in current.todo] == ["u00001"]
        assert not current.state.finalised
        assert not (out / "manifest.json").exists(), "a manifest says that the folder is whole"
    assert job_status(out).state == "interrupted"
    assert run(job).ok
    assert outputs(out) == before
    assert finalised(out) == 2


def test_failed_units_keep_the_job_from_being_finalised(out: Path) -> None:
    job = make_job(out, [{}] * 2)
    with prepared(job) as current:
        for unit in current.todo:
            current.begin(unit)
            current.settle(unit, "no luck" if unit.index else job.fn(unit))
        outcome = current.finish()
    assert (outcome.failed, outcome.exit_code) == ({"u00001": "no luck"}, 1)
    assert finalised(out) == 0
    assert job_status(out).failures[0][:2] == ("u00001", "no luck")
    assert run(job).ok
    assert runs(out) == ["u00000", "u00001"]
    assert job_status(out).failures == []


def test_unsettled_units_mean_interrupted(out: Path) -> None:
    with prepared(make_job(out, [{}] * 2)) as current:
        outcome = current.finish()
    assert (outcome.interrupted, outcome.exit_code, finalised(out)) == (True, 130, 0)


def test_changed_options_are_refused_until_overwritten(out: Path) -> None:
    run(make_job(out, [{}] * 3))
    (out / "part-of-nobody.bin").touch()
    (out / "mine.txt").touch()
    changed = make_job(out, [{"rows": 5}] * 2, fingerprint={"options": {"images": "full"}})
    with pytest.raises(UsageError, match=r'options.images: "crop" -> "full"'):
        run(changed)
    assert "part-u00002.bin" in outputs(out)
    outcome = run(changed, overwrite=True)
    assert outcome.skipped == 0
    assert sorted(outputs(out)) == ["manifest.json", "mine.txt", "part-u00000.bin", "part-u00001.bin"]
    assert run(changed).skipped == 2


def test_reported_file_that_is_not_there_fails_the_unit(out: Path) -> None:
    job = make_job(out, [{}])
    with prepared(job) as current:
        current.begin(job.units[0])
        result = job.fn(job.units[0])
        (out / "part-u00000.bin").unlink()
        current.settle(job.units[0], result)
        assert "part-u00000.bin is not there" in current.finish().failed["u00000"]


def test_lost_lease_stops_before_the_next_write(out: Path) -> None:
    job = make_job(out, [{}] * 2)
    with prepared(job) as current:
        result = job.fn(job.units[0])
        with acquire(current.state.root, break_lock=True):
            for outcome in (result, "a reason"):
                with pytest.raises(LockedError, match="was taken by"):
                    current.settle(job.units[0], outcome)
            with pytest.raises(LockedError):
                current.finish()
            assert not list((out / ".job/done").iterdir())
            assert not list((out / ".job/failed").iterdir())
    assert finalised(out) == 0


def test_lease_lost_during_finalise_leaves_the_job_unfinished(out: Path) -> None:
    def lose(results: Any) -> None:
        (out / ".job/lease.json").unlink()

    with pytest.raises(LockedError, match="was removed"):
        run(make_job(out, [{}], finalise=lose))
    assert not State(out).finalised


def test_two_writers(out: Path) -> None:
    job = make_job(out, [{}])
    with prepared(job):
        with pytest.raises(LockedError, match="--break-lock"), prepared(job):
            pass
        with prepared(job, break_lock=True) as second:
            second.lease.check()


def test_finalise_that_fails_is_shown_and_runs_again(out: Path) -> None:
    def refuse(results: Any) -> None:
        raise SchemaError("duplicate key\na/b")

    units: list[dict[str, Any]] = [{}] * 2
    with pytest.raises(SchemaError):
        run(make_job(out, units, finalise=refuse))
    status = job_status(out)
    assert (status.state, status.done, status.failed) == ("failed", 2, 0)
    (failure,) = status.failures
    assert (failure.unit, failure.reason) == ("finalise", "SchemaError: duplicate key a/b")
    assert "refuse" in "\n".join(failure.tail)
    assert run(make_job(out, units)).skipped == 2
    assert job_status(out).state == "finished"
    assert job_status(out).failures == []


def test_job_without_units_or_finalise(out: Path) -> None:
    assert run(make_job(out, [])).ok
    assert json.loads((out / "manifest.json").read_text()) == {"files": [], "records": 0}
    assert run(make_job(out.with_name("plain"), [{}], finalise=None)).ok
    assert State(out.with_name("plain")).finalised


def test_only_new_files_of_finalise_are_removed_with_its_marker(out: Path) -> None:
    job = make_job(out, [{}] * 2, owns=("*",))
    run(job)
    (out / "part-u00000.bin").unlink()
    with prepared(job):
        assert sorted(outputs(out)) == ["part-u00001.bin"]


def test_temporary_files_of_dead_writers_are_swept(out: Path) -> None:
    job = make_job(out, [{}])
    run(job)
    left = [out / ".x.1.tmp", out / ".job/.job.json.1.tmp", out / ".job/done/.u00000.json.1.tmp"]
    for path in left:
        path.touch()
    with prepared(job):
        assert not any(path.exists() for path in left)


def test_seconds_add_up_over_runs(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(out, [{}] * 2)
    clock = iter(range(0, 100_000, 100))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with prepared(job) as current:
        current.begin(job.units[0])
        current.settle(job.units[0], job.fn(job.units[0]))
    first = job_status(out).seconds
    assert first > 0
    run(job)
    assert job_status(out).seconds > first


def full_disk(match: str, when: Callable[[], bool] = lambda: True) -> Callable[[atomic.AtomicFile, Any], int]:
    """Return a write that finds no space for files whose path holds ``match``."""
    write = atomic.AtomicFile.write

    def limited(self: atomic.AtomicFile, data: Any) -> int:
        if match in str(self.path) and when():
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, data)

    return limited


def test_full_disk_at_the_done_marker(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(out, [{}] * 3)
    monkeypatch.setattr(atomic.AtomicFile, "write", full_disk("done/u00001"))
    outcome = run(job)
    assert list(outcome.failed) == ["u00001"]
    assert "could not be recorded" in outcome.failed["u00001"]
    assert "No space left" in job_status(out).failures[0].reason
    assert [r.unit for r in outcome.results] == ["u00000", "u00002"]
    monkeypatch.undo()
    assert run(job).ok


def test_full_disk_does_not_hide_the_first_error(
    out: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job = make_job(out, [{}] * 2)
    with prepared(job) as current:
        monkeypatch.setattr(atomic.AtomicFile, "write", full_disk(".job/"))
        for unit in current.todo:
            current.begin(unit)
            current.settle(unit, "KeyError: 'pose'")
        outcome = current.finish()
    assert list(outcome.failed) == ["u00000", "u00001"]
    for reason in outcome.failed.values():
        assert reason.startswith(
            "KeyError: 'pose'; and this failure could not be recorded: OSError: [Errno 28]"
        )
    assert "KeyError: 'pose'; and this" in caplog.text
    assert "cannot update" in caplog.text
    assert not list(out.rglob("*.tmp"))
    monkeypatch.undo()
    assert run(job).ok


@pytest.mark.parametrize("stop", range(12))
def test_full_disk_at_any_write(out: Path, monkeypatch: pytest.MonkeyPatch, stop: int) -> None:
    """Whatever write is the last that fits: no partial file under a final name, and a rerun ends well."""
    job = make_job(out, [{"rows": 1 + i} for i in range(2)])
    count = iter(range(1000))
    monkeypatch.setattr(atomic.AtomicFile, "write", full_disk("", lambda: next(count) >= stop))
    with contextlib.suppress(OSError):
        run(job)
    # Eleven writes: fingerprint, job.json, 2 x (two pieces, marker), manifest, finalised, and job.json again,
    # which only informs.
    whole = stop >= 10
    assert State(out).finalised == whole
    assert stop < 11 or next(count) == 11, "there are more writes than this test stops at"
    assert not list(out.rglob(".*.tmp"))
    sizes = {p.name: p.stat().st_size for p in out.glob("part-*")}
    assert sizes.items() <= {"part-u00000.bin": 32, "part-u00001.bin": 64}.items()
    for path in out.rglob("*.json"):
        json.loads(path.read_bytes())
    assert (out / "manifest.json").exists() >= whole
    monkeypatch.undo()
    assert run(job).ok
    assert job_status(out).state == "finished"


def test_functions_of_the_tests_can_fail(out: Path) -> None:
    """A unit that fails half-way leaves nothing under its final name."""
    job = make_job(out, [{"do": "fall"}])
    out.mkdir()
    with pytest.raises(ValueError, match="NaN"):
        make(out, out.with_name("out-notes"), job.units[0])
    assert outputs(out) == {}
