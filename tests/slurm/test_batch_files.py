"""``slurm/*.sbatch``: Slurm takes them, hmtools has the options they use, and they do what they say."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

import pytest
import typer

from hmtools.cli.app import COMMANDS, app
from hmtools.models.published_weights import PUBLISHED
from tests.slurm.cluster import Slurm

pytestmark = pytest.mark.xdist_group("slurm")

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "slurm").glob("*.sbatch"))
SMALL = ("--cpus-per-task=2", "--mem-per-cpu=500M", "--gres=gpu:2")  # than what the files ask for


def calls(text: str) -> list[tuple[str, set[str]]]:
    """Calls of hmtools in a batch file, comments included: the command (or "$@"), and options given to it."""
    joined = re.sub(r"\\\n", " ", text)
    found = re.findall(r'\bhmtools ("\$@"|[a-z]+) ([^\n]*)', joined)
    return [(command, set(re.findall(r"(?<=[\s+])--[a-z-]+", rest))) for command, rest in found]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_options_are_those_of_the_command(path: Path) -> None:
    known = {name: module for rows in COMMANDS.values() for name, (module, _) in rows.items()}
    found = calls(path.read_text())
    assert found, "it calls hmtools"
    for command, used in found:
        if command in known or command == '"$@"':
            name = "convert" if command == '"$@"' else command
            made = typer.main.get_command(app).make_context("hmtools", [name])
            group = made.command
            assert isinstance(group, typer.core.TyperGroup)
            context = group.commands[name].make_context(name, ["x"], parent=made, resilient_parsing=True)
            options = {option for parameter in context.command.params for option in parameter.opts}
            assert used <= options, f"{path.name}: hmtools {name}"


def test_examples_name_weights_that_there_can_be() -> None:
    infer, bench = ((ROOT / "slurm" / f"{name}.sbatch").read_text() for name in ("infer", "bench"))
    assert set(re.findall(r"slurm/infer\.sbatch (\S+)", infer)) <= PUBLISHED.keys()
    (model,) = re.findall(r"--model (\S+)", bench)
    assert not Path(model).suffix, "the folder of a run, which knows its weights"


@pytest.mark.slow
def test_slurm_takes_them(slurm: Slurm) -> None:
    assert [path.stem for path in FILES] == ["bench", "convert", "infer", "ray_cluster", "train"]
    for path in FILES:
        slurm.run("bash", "-n", path)
        slurm.run("sbatch", "--test-only", *SMALL, path, "x")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("raw")
    subprocess.run(["hmtools", "synth", "mscoco", "--out", root, "--frames", "2"], check=True)
    return root


def submit(slurm: Slurm, folder: Path, name: str, *arguments: str | Path, timeout: float) -> str:
    """Run a batch file to its end; return what it said."""
    job = slurm.run(
        "sbatch", "--parsable", *SMALL[:2], "--output", folder / "log", ROOT / "slurm" / name, *arguments
    )
    states = slurm.wait_for_end(job, timeout=timeout)
    text = (folder / "log").read_text()
    assert states == ["COMPLETED"], text
    return text


def digests(root: Path) -> dict[str, str]:
    """Digests of the shards below a folder."""
    parts = [path for path in root.rglob("*") if path.suffix in (".arrow", ".tar")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in parts}


@pytest.mark.slow
def test_converting_on_one_node_and_on_ray(
    slurm: Slurm, raw: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("ray")
    request.addfinalizer(slurm.empty)
    for name, command in (("convert.sbatch", []), ("ray_cluster.sbatch", ["convert"])):
        (tmp_path / name).mkdir()
        out = tmp_path / name / "shards"
        text = submit(
            slurm, tmp_path / name, name, *command, "mscoco", "--root", raw, "--out", out, timeout=180
        )
        assert re.search(r"mscoco/val2017 +done", text)
    one, ray = (digests(tmp_path / name) for name in ("convert.sbatch", "ray_cluster.sbatch"))
    assert one == ray
    assert one
    assert not list(Path("/tmp").glob("ray[0-9]*")), "the temporary folder of the Ray cluster is gone"


@pytest.mark.slow
@pytest.mark.parametrize("stop", ["trap 'exit 130' USR1", ":"], ids=["stopped", "killed"])
def test_a_run_that_is_stopped_is_run_again(
    slurm: Slurm, stop: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The signal that Slurm sends before the time is up ends the first run; the second one continues."""
    request.addfinalizer(slurm.empty)
    text = (ROOT / "slurm" / "convert.sbatch").read_text()
    # Stands in for the real one: the first run goes on until the signal ends it.
    (tmp_path / "hmtools").write_text(
        f"#!/bin/bash\n{stop}\n"
        'echo begin "$@"; [[ ${SLURM_RESTART_COUNT:-0} == 0 ]] || exit 0\nwhile :; do sleep 0.1; done\n'
    )
    (tmp_path / "hmtools").chmod(0o755)
    (tmp_path / "convert.sbatch").write_text(
        text.replace("# module load ...", f"export PATH={tmp_path}:$PATH")
    )
    log = tmp_path / "log"
    job = slurm.run(
        "sbatch", "--parsable", *SMALL[:2], "--output", log, tmp_path / "convert.sbatch", "mscoco"
    )
    slurm.wait_until(lambda: log.exists() and "begin" in log.read_text())
    slurm.run("scancel", "--signal=USR1", job)
    slurm.wait_until(lambda: slurm.state(job) == "COMPLETED", 60)
    begins = [line for line in log.read_text().splitlines() if line.startswith("begin")]
    assert len(begins) == 2
    assert begins[0] == begins[1]
    assert "--break-lock" not in begins[0], "a job that is run again takes its own lease"
