"""The Makefile finds an interpreter, installs when needed and never twice at once.

A stand-in interpreter takes Python's place: it answers the questions the Makefile asks, "makes" virtual
environments that consist of copies of itself, and logs what it was called for. Nothing is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
INSTALL = "python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e"

STAND_IN = r"""#!/bin/sh
name=$(basename "$0")
case "$name $*" in
  *"version_info < (3, 11)"*) exit ${OLD:-0} ;;
  *"import ensurepip"*) case " $BARE " in *" $name "*) exit 1 ;; esac ;;
  *"-venv"*) echo python3.12-venv ;;
  *" -V") echo Python 3.12.0 ;;
  *" -m venv --clear "*)
    echo "$name makes the venv" >> "$LOG"
    rm -rf "$4"; mkdir -p "$4/bin"
    for tool in python ruff mypy lint-imports codespell hmtools; do cp "$0" "$4/bin/$tool"; done
    echo "#!$PWD/$4/bin/python" > "$4/bin/pip" ;;
  *)
    echo "begin $name $*" >> "$LOG"
    echo "said by $name"
    [ "$name" = "$BROKEN" ] && exit 3
    echo "end" >> "$LOG" ;;
esac
"""


class Checkout:
    """A folder with the Makefile, stand-in interpreters on PATH, and the log they write."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root / "log"
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, root / name)
        (root / "bin").mkdir()

    def add_python(self, name: str) -> None:
        script = self.root / "bin" / name
        script.write_text(STAND_IN, encoding="utf-8")
        script.chmod(0o755)

    def make(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        settings = {
            k: v for k, v in os.environ.items() if k not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHON"}
        }
        settings |= {"PATH": f"{self.root / 'bin'}:{settings['PATH']}", "LOG": str(self.log), **environment}
        return subprocess.run(
            ["make", *arguments], cwd=self.root, env=settings, capture_output=True, text=True, check=False
        )

    def calls(self) -> list[str]:
        """What ran since the last look, without the ends."""
        lines = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [line.removeprefix("begin ") for line in lines if line != "end"]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path)
    made.add_python("snake")
    return made


def test_says_what_is_needed_when_no_interpreter_is_there(checkout: Checkout) -> None:
    done = checkout.make("PYTHON=no-such-python", "demo")
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr
    assert "no-such-python" in done.stderr
    assert "make PYTHON=/path/to/python3.12 demo" in done.stderr


def test_refuses_an_old_interpreter(checkout: Checkout) -> None:
    done = checkout.make("PYTHON=snake", "demo", OLD="1")
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr
    assert checkout.calls() == []


def test_names_the_debian_package_when_venv_is_missing(checkout: Checkout) -> None:
    done = checkout.make("PYTHON=snake", "test", BARE="snake")
    assert done.returncode != 0
    assert "apt-get install python3.12-venv" in done.stderr
    assert not (checkout.root / ".venv").exists()


def test_takes_the_first_interpreter_that_can_make_a_venv(checkout: Checkout) -> None:
    checkout.add_python("viper")
    done = checkout.make("PYTHON=gone snake viper", "demo", BARE="snake")
    assert done.returncode == 0, done.stderr
    assert checkout.calls()[0] == "viper makes the venv"


def test_installs_once(checkout: Checkout) -> None:
    assert checkout.make("PYTHON=snake", "demo").returncode == 0
    assert checkout.calls() == ["snake makes the venv", f"{INSTALL} .", "hmtools demo --out demo"]
    assert checkout.make("demo").returncode == 0
    assert checkout.calls() == ["hmtools demo --out demo"]
    assert checkout.make("lint").returncode == 0
    assert checkout.calls() == [f"{INSTALL} .[dev]", "ruff check --quiet"]


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_installs_again_when_the_requirements_change(checkout: Checkout, changed: str) -> None:
    assert checkout.make("PYTHON=snake", "lint").returncode == 0
    checkout.calls()
    for name in ("pyproject.toml", "constraints.txt"):
        os.utime(checkout.root / name, (1_000, 1_000))
    for stamp in checkout.root.glob(".venv/.installed-*"):
        os.utime(stamp, (2_000, 2_000))
    assert checkout.make("lint").returncode == 0
    assert checkout.calls() == ["ruff check --quiet"]
    os.utime(checkout.root / changed, (3_000, 3_000))
    assert checkout.make("lint").returncode == 0
    assert checkout.calls() == [f"{INSTALL} .[dev]", "ruff check --quiet"]
    # The larger install covers the smaller one.
    assert checkout.make("demo").returncode == 0
    assert checkout.calls() == ["hmtools demo --out demo"]


def test_one_thing_at_a_time_also_under_j(checkout: Checkout) -> None:
    done = checkout.make("-j8", "PYTHON=snake", "demo", "test")
    assert done.returncode == 0, done.stderr
    lines = [line.split()[0] for line in checkout.log.read_text(encoding="utf-8").splitlines()[1:]]
    assert lines == ["begin", "end"] * (len(lines) // 2), "two tools ran at once"
    names = [call.split()[0] for call in checkout.calls()[1:]]
    # Install, demo, install the rest, five checks, the tests.
    assert names == [
        "python",
        "hmtools",
        "python",
        "ruff",
        "ruff",
        "mypy",
        "lint-imports",
        "codespell",
        "python",
    ]


def test_shows_the_output_of_a_tool_only_when_it_fails(checkout: Checkout) -> None:
    done = checkout.make("PYTHON=snake", "check", BROKEN="mypy")
    assert done.returncode != 0
    assert "said by mypy" in done.stdout
    assert "said by ruff" not in done.stdout
    assert "Types (mypy --strict) ... failed" in done.stdout


def test_a_moved_or_broken_venv_is_made_anew(checkout: Checkout) -> None:
    assert checkout.make("PYTHON=snake", "demo").returncode == 0
    checkout.calls()
    pip = checkout.root / ".venv" / "bin" / "pip"
    pip.write_text("#!/elsewhere/.venv/bin/python\n", encoding="utf-8")
    assert checkout.make("PYTHON=snake", "demo").returncode == 0
    assert checkout.calls()[0] == "snake makes the venv"
    python = checkout.root / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(checkout.root / "uninstalled")
    assert checkout.make("PYTHON=snake", "demo").returncode == 0
    assert checkout.calls()[0] == "snake makes the venv"


def test_clean_removes_what_make_made_and_nothing_else(checkout: Checkout) -> None:
    assert checkout.make("PYTHON=snake", "demo").returncode == 0
    for name in ("demo", "hmtools/__pycache__", "dist", ".mypy_cache"):
        (checkout.root / name).mkdir(parents=True)
    (checkout.root / "hmtools" / "kept.py").touch()
    assert checkout.make("clean").returncode == 0
    left = sorted(p.name for p in checkout.root.iterdir())
    assert left == ["Makefile", "bin", "constraints.txt", "hmtools", "log", "pyproject.toml"]
    assert [p.name for p in (checkout.root / "hmtools").iterdir()] == ["kept.py"]
