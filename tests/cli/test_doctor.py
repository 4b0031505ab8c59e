"""``hmtools doctor``: facts by topic, problems with remedies, and the exit code."""

from __future__ import annotations

import json
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import hmtools.core.doctor
from hmtools.cli.doctor import doctor
from hmtools.core.doctor import Finding

FINE = [
    Finding(topic="python", name="version", value="3.11"),
    Finding(topic="packages", name="torch", value="2.13"),
    Finding(topic="packages", name="numpy", value="2.4"),
    Finding(topic="settings", name="raw_root", value="/data/raw"),
    Finding(topic="settings", name="runs_root", value="/data/runs"),
]
BAD = [
    Finding(
        topic="opencv",
        name="cv2",
        value="5.0",
        problem="cv2 does not import",
        remedy="apt-get install libgl1",
    ),
    Finding(topic="memory", name="memory", value="1 GB", problem="too little memory", remedy="fewer workers"),
]


def run(monkeypatch: pytest.MonkeyPatch, findings: list[Finding], *arguments: str) -> Any:
    monkeypatch.setattr(hmtools.core.doctor, "examine", lambda version: findings)
    app = typer.Typer(rich_markup_mode=None)
    app.command()(doctor)
    return CliRunner().invoke(app, arguments)


def test_a_sound_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, FINE)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "python    3.11",
        "packages  torch 2.13, numpy 2.4",
        "settings  raw_root /data/raw",
        "          runs_root /data/runs",
        "",
        "0 problems",
    ]


def test_problems_come_last_with_their_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, [*FINE, *BAD])
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-7:] == [
        "1. cv2 does not import",
        "   remedy: apt-get install libgl1",
        "",
        "2. too little memory",
        "   remedy: fewer workers",
        "",
        "2 problems",
    ]
    assert run(monkeypatch, BAD[:1]).stdout.splitlines()[-1] == "1 problem"


def test_json(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, [*FINE, *BAD], "--json")
    assert result.exit_code == 1
    facts = json.loads(result.stdout)
    assert facts["problems"] == 2
    assert facts["findings"][-1]["problem"] == "too little memory"
    assert list(facts["findings"][0]) == ["topic", "name", "value", "problem", "remedy"]


def test_long_lines_are_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [Finding(topic="packages", name=f"package-{i}", value="1.2.3") for i in range(30)]
    lines = run(monkeypatch, many).stdout.splitlines()[:-2]
    assert len(lines) > 3
    assert all(len(line) <= 100 for line in lines)
    assert all(line.startswith(" " * 10) for line in lines[1:])


def test_the_real_machine_is_examined() -> None:
    app = typer.Typer(rich_markup_mode=None)
    app.command()(doctor)
    result = CliRunner().invoke(app, ["--json"])
    facts = json.loads(result.stdout)
    topics = {finding["topic"] for finding in facts["findings"]}
    assert {"hmtools", "python", "packages", "opencv", "gpu", "limits", "settings"} <= topics
    assert result.exit_code == (1 if facts["problems"] else 0)
