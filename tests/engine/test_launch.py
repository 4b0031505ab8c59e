"""Which engine runs a job."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hmtools.cli.engine_options import engine_settings
from hmtools.core.errors import UsageError
from hmtools.core.settings import load_settings
from hmtools.engine import launch
from hmtools.engine.launch import EngineChoice, engine_session, run_job
from hmtools.synth import make_miniature
from tests.engine.engine_units import make_job, pids


def choice(**flags: Any) -> EngineChoice:
    return EngineChoice.of(load_settings({name.replace("__", "."): value for name, value in flags.items()}))


def test_choice_follows_the_settings_and_the_caller() -> None:
    settings = load_settings({"engine": "ray", "workers": 3, "unit_timeout": 9, "ray.address": "head:6379"})
    found = EngineChoice.of(settings)
    assert (found.name, found.workers, found.unit_timeout, found.ray) == ("ray", 3, 9, settings.ray)
    assert EngineChoice.of(settings, workers=0).workers == 0
    assert EngineChoice.of(settings, workers=5).workers == 5
    assert choice().unit_timeout is None
    assert (choice().wait, EngineChoice.of(settings, wait=True).wait) == (False, True)


def test_local_jobs_get_workers_and_the_time_limit(out: Path) -> None:
    outcome = run_job(make_job(out, [{}, {"do": "stuck"}]), choice(workers=1, unit_timeout=1), progress=False)
    assert outcome.failed == {"u00001": "timed out after 1 s"}
    assert len(pids(out)) == 1


def test_no_workers_means_inline_with_every_engine(out: Path) -> None:
    import os

    engine = choice(engine="ray", workers=0, ray__address="nowhere.invalid:1")
    with engine_session(engine):
        assert run_job(make_job(out, [{}]), engine, progress=False).ok
    assert pids(out) == [os.getpid()]


def test_a_wrong_cluster_is_found_before_anything_is_written(tmp_path: Path) -> None:
    """In a process of its own: here a cluster may be joined already, and would be used."""
    make_miniature("mscoco", tmp_path / "raw", 1, 1, 1, (240, 320), ("val2017",))
    command = ["convert", "mscoco", "--root", "raw", "--out", "out", "--engine", "ray"]
    done = subprocess.run(
        [sys.executable, "-m", "hmtools", *command, "--address", "127.0.0.1:1"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "--address 127.0.0.1:1: no Ray head answers there" in done.stderr
    assert not (tmp_path / "out").exists()


def test_options_of_the_command_line() -> None:
    settings = engine_settings(engine="ray", address="head:6379", workers=2, unit_timeout=60)
    assert (settings.engine, settings.ray.address, settings.workers) == ("ray", "head:6379", 2)
    assert settings.unit_timeout == 60
    with pytest.raises(UsageError, match="--address head:6379: only with --engine ray, not with local"):
        engine_settings(address="head:6379")
    assert engine_settings(engine="slurm", wait=True).engine == "slurm"
    with pytest.raises(UsageError, match="--wait: only with --engine slurm; local waits in any case"):
        engine_settings(wait=True)
    with pytest.raises(UsageError, match="engine must be one of local, ray, slurm"):
        engine_settings(engine="spark")
    with pytest.raises(UsageError, match="unit_timeout must be a whole number from 1 on"):
        engine_settings(unit_timeout=0)


def test_clusters_are_imported_only_when_they_are_used() -> None:
    code = (
        f"import sys, {launch.__name__}, hmtools.cli.app\n"
        "import hmtools.engine.ray_units, hmtools.engine.slurm_submit\n"
        "sys.exit(' '.join({'ray', 'submitit', 'cloudpickle', 'torch'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
