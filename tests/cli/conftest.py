"""A small world in MS COCO's layout, and the command line as a function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from typer.testing import CliRunner, Result

from hmtools.cli.app import app
from hmtools.synth import make_miniature

Run: TypeAlias = Callable[..., Result]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MS COCO, val2017, four images of three people."""
    root = tmp_path_factory.mktemp("world") / "MSCOCO"
    make_miniature("mscoco", root, frames=4, people=3, seed=3, size=(320, 240), splits=("val2017",))
    return root


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in an empty folder without the user's settings; ``code`` is the exit code expected."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    def invoke(*arguments: object, code: int = 0) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == code, result.output + result.stderr
        return result

    return invoke
