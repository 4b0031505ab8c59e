"""The README's commands, run as a new user would: its code blocks and a page's, in order, in one folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PYTHON_PAGE = ROOT / "docs" / "python.md"  # its blocks go on with what the README made
SETTINGS_PAGE = ROOT / "docs" / "cluster.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str, page: Path = README) -> list[str]:
    return [body for kind, body in FENCE.findall(page.read_text()) if kind == language]


def run(arguments: list[str], folder: Path, code: int = 0) -> str:
    scripts = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "XDG_CONFIG_HOME": str(folder),
    }
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{arguments} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_make_targets_are_first() -> None:
    assert [line.split()[:2] for line in blocks("bash")[0].splitlines()] == [
        ["make", "demo"],
        ["make", "test"],
    ]


def test_commands_run_in_order(tmp_path: Path) -> None:
    """Bash and Python as they stand in the document."""
    shown = []
    commands = 0
    for kind, body in FENCE.findall(README.read_text() + PYTHON_PAGE.read_text()):
        if kind == "python":
            shown.append(run([sys.executable, "-c", body], tmp_path))
        elif kind == "bash" and not body.startswith("make "):
            whole = body.replace("\\\n", " ")  # commands over several lines
            lines = [line.partition("  #")[0].strip() for line in whole.splitlines() if line.strip()]
            assert all(line.startswith("hmtools ") for line in lines)
            commands += len(lines)
            run(["bash", "-c", "set -e\n" + "\n".join(lines)], tmp_path)
    assert commands >= 15
    assert (tmp_path / "shards/mscoco/val2017/manifest.json").is_file()
    assert (tmp_path / "shards/mine/train/manifest.json").is_file()
    assert (tmp_path / "sheet.html").stat().st_size > 10_000
    assert (tmp_path / "page.html").stat().st_size > 10_000

    saved, table, records, batch, sample, bodies = shown
    assert bodies.splitlines() == [
        "torch.Size([2, 10475, 3]) torch.Size([2, 144, 3]) smplx_144",
        "torch.Size([2, 17, 3])",
    ]
    assert saved == ""
    errors = [float(line.split()[2]) for line in table.splitlines()[1:]]
    assert errors[0] < 0.01 < 5 < min(errors[1:])
    assert records.splitlines()[0].split()[1].startswith("mscoco/val2017/val2017/")
    assert batch.split() == ["torch.Size([8,", "5])", "torch.Size([8,", "133,", "3])"]
    assert sample.startswith("mscoco/val2017/val2017/")
    assert ", 3) (" in sample  # an RGB image, then boxes with a people axis


@pytest.mark.parametrize("page", [README, SETTINGS_PAGE], ids=lambda page: page.name)
def test_settings_examples_load(page: Path, tmp_path: Path) -> None:
    found = blocks("toml", page)
    assert found
    for block in found:
        (tmp_path / "hmtools.toml").write_text(block)
        shown = json.loads(run(["hmtools", "config", "--json"], tmp_path))["settings"]
        for name, value in flat(tomllib.loads(block)):
            setting = shown[name]
            assert setting["origin"].endswith("hmtools.toml")
            assert setting["value"] in (value, [value])


def flat(table: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{key}", inner) for key, inner in value.items())
        else:
            yield name, value
