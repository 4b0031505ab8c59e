"""``hmtools config``: a person finds each value and its origin, a program reads the same as JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from hmtools.cli.config import config
from hmtools.core.errors import UsageError
from hmtools.core.settings import SETTINGS


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("HMTOOLS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "hmtools.toml").write_text('raw_root = "data"\n[slurm]\nsetup = ["a b", "c"]\n')
    monkeypatch.setenv("HMTOOLS_WORKERS", "3")
    monkeypatch.chdir(folder)
    return folder


def run(*arguments: str) -> Any:
    app = typer.Typer(rich_markup_mode=None)
    app.command()(config)
    return CliRunner().invoke(app, arguments)


def test_the_page_has_one_line_per_setting(project: Path) -> None:
    lines = run().stdout.splitlines()
    rows = {line.split()[0]: line for line in lines[1 : len(SETTINGS) + 1]}
    assert list(rows) == list(SETTINGS)
    assert rows["raw_root"].split() == ["raw_root", str(project / "data"), str(project / "hmtools.toml")]
    assert rows["workers"].split() == ["workers", "3", "HMTOOLS_WORKERS"]
    assert rows["engine"].split() == ["engine", "local", "default"]
    assert rows["slurm.partition"].split() == ["slurm.partition", "-", "default"]
    assert '["a b", "c"]' in rows["slurm.setup"]
    assert rows["ray.runtime_env"].split() == ["ray.runtime_env", "-", "default"]
    starts = {line.index(line.split()[-1]) for line in rows.values()}
    assert len(starts) == 1, "origins stand below each other"


def test_the_page_names_the_files(project: Path) -> None:
    lines = run().stdout.splitlines()
    assert lines[-2:] == [
        f"  {project / 'hmtools.toml'}",
        f"  {project.parent / 'config' / 'hmtools' / 'hmtools.toml'} (not there)",
    ]


def test_json_has_the_same(project: Path) -> None:
    facts = json.loads(run("--json").stdout)
    assert list(facts["settings"]) == list(SETTINGS)
    assert facts["settings"]["raw_root"] == {
        "value": str(project / "data"),
        "origin": str(project / "hmtools.toml"),
        "variable": "HMTOOLS_RAW_ROOT",
        "help": SETTINGS["raw_root"].help,
    }
    assert facts["settings"]["slurm.setup"]["value"] == ["a b", "c"]
    assert facts["settings"]["slurm.partition"]["value"] is None
    assert [file["found"] for file in facts["files"]] == [True, False]


def test_a_wrong_file_is_an_error(project: Path) -> None:
    (project / "hmtools.toml").write_text("raw_rot = 1")
    assert isinstance(run().exception, UsageError)
    with pytest.raises(UsageError, match="raw_root"):
        config(as_json=True)  # also as a plain function
