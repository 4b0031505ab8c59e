"""The README's commands, run as a new user would: its code blocks, in order, in one folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [body for kind, body in FENCE.findall(README.read_text()) if kind == language]


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
    for kind, body in FENCE.findall(README.read_text()):
        if kind == "python":
            shown.append(run([sys.executable, "-c", body], tmp_path))
        elif kind == "bash" and not body.startswith("make "):
            lines = [line.partition("  #")[0].strip() for line in body.splitlines() if line.strip()]
            assert all(line.startswith("hmtools ") for line in lines)
            commands += len(lines)
            run(["bash", "-c", "set -e\n" + "\n".join(lines)], tmp_path)
    assert commands >= 15
    assert (tmp_path / "shards/mscoco/val2017/manifest.json").is_file()
    assert (tmp_path / "shards/mine/train/manifest.json").is_file()
    assert (tmp_path / "sheet.html").stat().st_size > 10_000
    assert (tmp_path / "page.html").stat().st_size > 10_000

    bodies, saved, table, records, batch, sample = shown
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


@pytest.mark.parametrize("block", blocks("toml"))
def test_settings_example_loads(block: str, tmp_path: Path) -> None:
    (tmp_path / "hmtools.toml").write_text(block)
    shown = run(["hmtools", "config", "--json"], tmp_path)
    assert "/data/raw" in shown
