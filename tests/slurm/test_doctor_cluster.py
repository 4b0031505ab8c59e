"""``hmtools doctor --cluster`` on a real Slurm: nodes in a table, what would be refused, remedies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from hmtools.cli.doctor import doctor
from hmtools.core.errors import UsageError
from hmtools.core.settings import load_settings
from hmtools.engine import doctor_cluster
from hmtools.engine.doctor_cluster import examine_cluster
from tests.slurm.cluster import Slurm

pytestmark = pytest.mark.xdist_group("slurm")


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command with settings; return its exit code and its facts (JSON) or text."""
    monkeypatch.chdir(tmp_path)
    app = typer.Typer(rich_markup_mode=None)
    app.command()(doctor)

    def run(*arguments: str, **settings: str) -> tuple[int, Any]:
        values = {f"HMTOOLS_SLURM_{name.upper()}": value for name, value in settings.items()}
        command = ["--cluster", "--engine", "slurm", "--out", str(tmp_path / "shards"), *arguments]
        result = CliRunner().invoke(app, command, env=values)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        text = result.stdout
        return result.exit_code, json.loads(text) if "--json" in arguments else text

    return run


def test_nodes_and_what_is_refused(slurm: Slurm, said: Any, tmp_path: Path) -> None:
    code, text = said()
    assert code == 0, text
    assert text.rstrip().endswith("0 problems")
    assert "main (default), urgent, MaxArraySize 1001 (slurm.max_array 1000), sacct" in " ".join(text.split())
    assert [line.split()[0] for line in text.splitlines() if "writable" in line][1:] == list(slurm.nodes)
    assert not list(tmp_path.iterdir()), "nothing is left behind"

    # A set-up that hides hmtools, an array that is too large: both are said at once.
    code, facts = said("--json", max_array="5000", setup="export PYTHONHOME=/nowhere", partition="urgent")
    assert (code, facts["problems"], slurm.squeue()) == (2, 3, {})
    (size,) = (finding for finding in facts["findings"] if finding["problem"])
    assert size["problem"] == "slurm.max_array is 5000, but this site takes 1001 tasks"
    assert [node["problems"][0].split(":")[:2] for node in facts["nodes"]] == [
        [name, " cannot run hmtools"] for name in slurm.nodes
    ]

    code, text = said(partition="mains")
    assert code == 2
    assert "1. there is no partition mains" in text
    assert "did you mean" in text
    assert text.rstrip().endswith("\n1 problem")
    code, text = said(gres="gpu:9")
    assert code == 2
    assert "1. Slurm refuses our jobs: allocation failure: Requested node configuration is not" in text


@pytest.mark.slow
def test_busy_nodes_and_silence(slurm: Slurm, said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job = slurm.sbatch("sleep 60", "--nodes=2", "--exclusive")
    slurm.wait_until(lambda: slurm.state(job) == "RUNNING")
    code, text = said()
    assert code == 2
    assert "no node of partition main is idle, none was asked (hm1 alloc, hm2 alloc)" in text
    slurm.empty()
    monkeypatch.setattr(doctor_cluster, "_NODE_S", 1.0)
    code, facts = said("--json", setup="sleep 50")
    assert [node["problems"] for node in facts["nodes"]] == [
        [f"{name}: no answer within 1 s"] for name in slurm.nodes
    ]
    slurm.wait_until(lambda: not slurm.squeue())


@pytest.mark.slow
def test_without_accounting(slurm_without_accounting: Slurm, said: Any) -> None:
    code, text = said()
    assert (code, "sacct not there: how a task died" in " ".join(text.split())) == (0, True), text


def test_without_slurm(said: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, text = said()
    assert code == 2
    assert "1. Slurm does not answer here: `scontrol show config` is not there" in text
    with pytest.raises(UsageError, match="engine local: has no other nodes"):
        examine_cluster(load_settings(), tmp_path)
