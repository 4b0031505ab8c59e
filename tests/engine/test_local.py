"""Jobs in real worker processes."""

from __future__ import annotations

import functools
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from hmtools.core.errors import HmtoolsError, UsageError
from hmtools.engine import local
from hmtools.engine.job import Outcome
from hmtools.engine.lease import process_start
from hmtools.engine.local import run_local, usable_cores
from hmtools.engine.state import State, job_status
from hmtools.engine.worker import WorkerSetup
from tests.engine.engine_units import (
    bad_result,
    finalised,
    go,
    log_of,
    make_job,
    outputs,
    pids,
    runs,
    wait_for,
)

ROOT = Path(__file__).resolve().parents[2]


def test_outputs_are_equal_for_any_number_of_workers(tmp_path: Path) -> None:
    plan: list[dict[str, Any]] = [{}] * 6
    kept, results = [], []
    for workers in (0, 1, 2):
        out = tmp_path / f"with{workers}"
        outcome = go(out, plan, workers)
        assert outcome.ok
        assert (outcome.skipped, outcome.count("records"), finalised(out)) == (0, 33, 1)
        assert sorted(runs(out)) == [f"u{i:05d}" for i in range(6)]
        assert 1 <= len(pids(out)) <= max(1, workers)
        assert (os.getpid() in pids(out)) == (workers == 0)
        kept.append(outputs(out))
        results.append([result.to_json() | {"seconds": 0} for result in outcome.results])
        again = go(out, plan, 2)
        assert (again.ok, again.skipped, len(runs(out)), finalised(out)) == (True, 6, 6, 1)
    assert len(kept[0]) == 7
    assert kept[0] == kept[1] == kept[2]
    assert results[0] == results[1] == results[2]


def test_two_workers_work_at_the_same_time(out: Path) -> None:
    note = out.with_name("met")
    note.mkdir()
    outcome = go(out, [{"do": "meet", "note": str(note)}] * 2, 2)
    assert outcome.ok, outcome.failed
    assert len(pids(out)) == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_failing_units_leave_the_others_alone(
    out: Path, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    bad: list[dict[str, Any]] = [{}, {"do": "fall"}, {}, {"do": "exit_by_library"}]
    outcome = go(out, bad, workers)
    assert outcome.failed == {"u00001": "ValueError: a row with NaN", "u00003": "SystemExit: no licence"}
    assert (outcome.exit_code, len(outcome.results), finalised(out)) == (1, 2, 0)
    assert "Traceback" in log_of(out, "u00001")
    assert "in fall" in log_of(out, "u00001")
    assert sorted(outputs(out)) == ["part-u00000.bin", "part-u00002.bin"]
    assert "test job u00001 (unit 1) failed: ValueError: a row with NaN" in caplog.text
    good = go(out, [{}] * 4, workers)
    assert (good.ok, good.skipped, finalised(out)) == (True, 2, 1)
    assert runs(out)[4:] == ["u00001", "u00003"], "only what failed runs again"
    assert not State(out).log_path("u00001").exists()


@pytest.mark.parametrize("kind", ["none", "nan", "file"])
def test_bad_results_are_failures_in_a_pool_too(out: Path, kind: str) -> None:
    outcome = go(out, [{}], 1, fn=functools.partial(bad_result, kind))
    assert list(outcome.failed) == ["u00000"]


def test_dead_workers_fail_their_unit_and_are_replaced(out: Path) -> None:
    note = out.with_name("child")
    bad = ["die", "leave", "crash", "fork_and_die"]
    plan: list[dict[str, Any]] = [{"do": do, "note": str(note)} for do in bad]
    outcome = go(out, [*plan, {}, {}], 2)
    assert [result.unit for result in outcome.results] == ["u00004", "u00005"]
    assert outcome.failed == {
        "u00000": "its worker process ended: killed by signal 9 (SIGKILL); the kernel does that when memory "
        "runs out",
        "u00001": "its worker process ended: exit code 7",
        "u00002": "its worker process ended: killed by signal 11 (SIGSEGV)",
        "u00003": "its worker process ended: exit code 9",
    }
    assert "last words" in log_of(out, "u00000")
    assert "Segmentation fault" in log_of(out, "u00002")
    assert "in crash" in log_of(out, "u00002")
    assert job_status(out).failed == 4
    assert process_start(int(note.read_text())), "the forked child holds the pipes while the unit is given up"


def test_everything_a_unit_says_is_in_its_log(
    out: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # with it C's streams have no buffers either
    assert go(out, [{"do": "say"}, {}, {"do": "say"}, {"do": "ask_setup"}], 1).ok
    for unit in ("u00000", "u00002"):
        text = log_of(out, unit)
        for way in ("print", "stderr", "descriptor 2", "printf", "logging"):
            assert text.count(f"from {way}\n") == 1, f"{way} is not in {text!r}"
    assert "UserWarning: from warnings\n" in log_of(out)
    assert not State(out).log_path("u00001").exists(), "a silent unit has no log"
    assert log_of(out, "u00003") == "threads 1\nblocked []\n"
    written = capfd.readouterr()
    assert "from" not in written.out + written.err


@pytest.mark.filterwarnings("ignore:from warnings")
def test_inline_units_log_through_logging_only(out: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("hmtools").setLevel(logging.INFO)
    try:
        assert go(out, [{"do": "say"}, {}], 0).ok
    finally:
        logging.getLogger("hmtools").setLevel(logging.NOTSET)
    assert "from logging" in log_of(out)
    assert "from print" not in log_of(out)
    written = capfd.readouterr()
    assert "from print" in written.out
    assert "from descriptor 2" in written.err
    assert not State(out).log_path("u00001").exists()


def test_other_threads_can_run_jobs(out: Path) -> None:
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(go(out, [{}] * 2, 1)))
    thread.start()
    thread.join(30)
    assert outcomes[0].ok


def test_function_that_workers_cannot_load(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("def fn(unit):\n    return None\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import only_here  # type: ignore[import-not-found]

    job = make_job(out, [{}], fn=only_here.fn)
    (tmp_path / "only_here.py").unlink()
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(HmtoolsError, match="cannot load the job's function: ModuleNotFoundError"):
        run_local(job, workers=1, progress=False)


def test_workers_that_cannot_start(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "worker_main", os._exit)
    with pytest.raises(HmtoolsError, match="3 workers in a row ended before their first unit"):
        go(out, [{}] * 5, 1)


def test_script_without_a_guard_gets_a_hint(out: Path) -> None:
    code = (
        f"import pathlib, tests.engine.engine_units as e\n"
        f"e.run_local(e.make_job(pathlib.Path({str(out)!r}), [{{}}]), workers=1, progress=False)\n"
    )
    script = out.with_name("script.py")
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 1
    assert "must do so under if __name__" in done.stderr


def test_idle_worker_that_dies_takes_nothing_with_it(out: Path) -> None:
    """One worker is killed while the other, slower one works; the next unit finds it dead."""
    with local.Pool(WorkerSetup.of(make_job(out, [{}]), out)) as pool:
        out.mkdir(exist_ok=True)
        pool.grow(1)
        wait_for(lambda: list(pool.poll(0.1)) or pool.idle())
        worker = pool.idle()
        assert worker is not None
        os.kill(worker.process.pid or 0, signal.SIGKILL)
        wait_for(lambda: list(pool.poll(0.1)) or not pool.idle())
        assert pool.busy == 0
        pool.grow(1)
        wait_for(lambda: list(pool.poll(0.1)) or pool.idle())
        second = pool.idle()
        assert second is not None
        second.process.kill()
        second.process.join()
        assert not pool.give(second, "u00000", b"")


@pytest.mark.parametrize("how", ["-m", "script", "-c"])
def test_workers_start_under_every_kind_of_parent(out: Path, how: str) -> None:
    """As ``python -m package``, as a console script, and where there is no main file at all."""
    body = f"import pathlib, sys\nimport tests.engine.engine_units as e\nout = pathlib.Path({str(out)!r})\n"
    run = "sys.exit(e.run_local(e.make_job(out, [{}]), workers=1, progress=False).exit_code)"
    guarded = f"{body}if __name__ == '__main__':\n    {run}\n"
    folder = out.with_name("app")
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "__main__.py").write_text(guarded)
    script = out.with_name("tool")
    script.write_text(guarded)
    arguments = {"-m": ["-m", "app"], "script": [str(script)], "-c": ["-c", body + run]}[how]
    done = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=out.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert "part-u00000.bin" in outputs(out)


def test_number_of_workers(out: Path) -> None:
    assert usable_cores() >= 1
    with pytest.raises(UsageError, match="got -1"):
        go(out, [{}], -1)
    assert run_local(make_job(out, [{}] * 3), progress=False).ok
    assert 1 <= len(pids(out)) <= usable_cores()


def test_progress_is_shown_on_request(out: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hmtools")
    run_local(make_job(out, [{}] * 2), workers=0, progress=True)
    assert "test job: 2/2 units, 7 records" in caplog.text
