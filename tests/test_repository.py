"""The files around the package agree with each other: targets, constraints, links, wheel, licence, CI."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
TARGETS = ["demo", "test", "check", "slow", "bench", "clean"]
# sha256 of https://www.apache.org/licenses/LICENSE-2.0.txt with every run of blanks made one.
APACHE_2 = "0ffddef9e48f8a09aed5caf2d44f7ba1c1be2d9b8e0a6f693b1635b2d5566645"


@functools.cache
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def constraints() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert len({(p.name, str(p.marker)) for p in pins}) == len(pins), "a package is pinned twice"
    return {canonicalize_name(pin.name): pin for pin in pins}


def direct_dependencies() -> list[Requirement]:
    project = pyproject()["project"]
    base, dev = project["dependencies"], project["optional-dependencies"]["dev"]
    return [Requirement(line) for line in (*base, *dev, *pyproject()["build-system"]["requires"])]


@pytest.mark.parametrize("target", TARGETS)
def test_make_has_target(target: str) -> None:
    assert shutil.which("make"), "GNU make is needed to develop hmtools"
    # Without what an outer `make test` hands down.
    settings = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    for arguments in (["-n", target], ["help"]):
        done = subprocess.run(
            ["make", *arguments], cwd=ROOT, env=settings, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert f"make {target} " in done.stdout, "the first lines of the Makefile explain every target"


def test_constraints_pin_every_direct_dependency() -> None:
    pins = constraints()
    for needed in direct_dependencies():
        pin = pins.get(canonicalize_name(needed.name))
        assert pin is not None, f"constraints.txt lacks {needed.name}"
        version = str(pin.specifier).removeprefix("==")
        assert needed.specifier.contains(version), f"constraints.txt has {pin}, pyproject.toml wants {needed}"


def test_constraints_are_plain_pins() -> None:
    """No ranges, extras or addresses, and no local version (2.13.0+cpu would exclude CUDA builds)."""
    bad = [
        str(pin)
        for pin in constraints().values()
        if pin.url or pin.extras or not re.fullmatch(r"==[0-9][0-9a-z.]*", str(pin.specifier))
    ]
    assert not bad


def test_changelog_starts_with_unreleased() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "[Unreleased]"


def markdown_files() -> list[Path]:
    folders = [ROOT, *(ROOT / name for name in ("docs", "benchmarks", "recipes", "schemas", "slurm"))]
    found = [p for f in folders for p in (f.glob("*.md") if f == ROOT else f.rglob("*.md"))]
    return sorted(found)


def heading_anchors(text: str) -> set[str]:
    """Anchors as GitHub makes them: lower case, punctuation dropped, blanks to hyphens."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("path", markdown_files(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_relative_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)[^)]*\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists():
            broken.append(f"{link}: no such file")
        elif anchor and target.suffix == ".md" and anchor not in heading_anchors(target.read_text("utf-8")):
            broken.append(f"{link}: no such heading")
    assert not broken, f"{path.relative_to(ROOT)}: {broken}"


def test_licence_is_apache_2() -> None:
    text = " ".join((ROOT / "LICENSE").read_text(encoding="utf-8").split())
    assert hashlib.sha256(text.encode()).hexdigest() == APACHE_2
    assert pyproject()["project"]["license"] == "Apache-2.0"


def test_ci_script_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK), "chmod +x .ci/run"
    subprocess.run(["bash", "-n", str(script)], check=True)
    text = script.read_text(encoding="utf-8")
    assert "set -euo pipefail" in text
    # The closing line of the tests has to close the output.
    assert text.rstrip().endswith("make demo\nmake test")


def test_containers_copy_files_that_exist_and_run_doctor() -> None:
    docker = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    apptainer = (ROOT / "hmtools.def").read_text(encoding="utf-8")
    in_docker = {
        name for line in re.findall(r"^COPY (.*) \S+$", docker, re.MULTILINE) for name in line.split()
    }
    in_apptainer = set(re.findall(r"^ +(\S+) /opt/hmtools/\S+$", apptainer, re.MULTILINE))
    assert in_docker == in_apptainer
    assert {"hmtools", "pyproject.toml", "constraints.txt"} <= in_docker
    missing = [name for name in sorted(in_docker) if not (ROOT / name).exists()]
    assert not missing
    needed = set(pyproject()["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"])
    assert needed <= in_docker, "the wheel cannot be built in the image without these"
    for text in (docker, apptainer):
        assert "hmtools doctor" in text
        assert "libgl1 libglib2.0-0" in text


def test_pre_commit_configuration_is_valid() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "validate-config", ".pre-commit-config.yaml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("*.whl")
    return path


def test_wheel_holds_package_recipes_and_schemas(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
        (metadata,) = (archive.read(n).decode() for n in inside if n.endswith(".dist-info/METADATA"))
    forced = pyproject()["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert {"recipes", "schemas"} <= set(forced)
    for folder, place in {"hmtools": "hmtools", **forced}.items():
        files = [p for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts]
        assert files, (
            f"{folder}/ is empty: git does not keep it, and the wheel cannot be built from a fresh clone"
        )
        lacking = [p for p in files if f"{place}/{p.relative_to(ROOT / folder).as_posix()}" not in inside]
        assert not lacking, f"not in the wheel: {lacking}"
    assert "License-Expression: Apache-2.0" in metadata
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in inside)
    foreign = {name.split("/")[0] for name in inside} - {"hmtools"}
    assert all(name.endswith(".dist-info") for name in foreign), foreign


def test_wheel_works_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path / "site")!r})
import hmtools, hmtools.cli.app
assert hmtools.__file__.startswith(sys.path[0]), hmtools.__file__
sys.argv = ["hmtools", "--help"]
hmtools.cli.app.main()
"""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "convert" in done.stdout


@pytest.mark.xdist_group("alone")
def test_tests_of_a_group_stay_together(request: pytest.FixtureRequest) -> None:
    """Two Slurm clusters, or a stand-in body built twice, would cost minutes and say nothing."""
    several = os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0") != "0"
    spread = request.config.getoption("loadgroup", False)
    assert request.node.nodeid.endswith("@alone") or not (several and spread)
