"""Joining a Ray cluster: wrong addresses, what its nodes must offer, and a cluster of our own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hmtools.core.errors import UsageError
from hmtools.core.settings import RaySettings
from hmtools.engine import preflight, ray_cluster
from hmtools.engine.ray_cluster import check_nodes, joined, needs_of, nodes_for
from hmtools.engine.state import job_status
from tests.engine.engine_units import make_job, runs
from tests.engine.ray_cluster import TwoNodes

pytestmark = pytest.mark.xdist_group("ray")

ROOT = Path(__file__).resolve().parents[2]


def enter(address: str | None, **runtime_env: Any) -> None:
    with joined(RaySettings(address=address, runtime_env=runtime_env)):
        pass


@pytest.mark.parametrize("address", ["auto", "head", "ray://head:10001", "head:port", ":6379", "http://a:1"])
def test_addresses_of_another_form(address: str) -> None:
    with pytest.raises(UsageError, match="expected HOST:PORT of the Ray head"):
        ray_cluster._require_listener(address)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere.invalid:6379", "127.0.0.1:99999"])
def test_addresses_where_nobody_listens(address: str) -> None:
    with pytest.raises(UsageError, match=f"--address {address}: no Ray head answers there"):
        ray_cluster._require_listener(address)


def test_runtime_environments() -> None:
    assert ray_cluster._runtime_env({"env_vars": {"A": "1"}, "py_executable": "python"}).keys() == {
        "env_vars",
        "py_executable",
    }
    with pytest.raises(UsageError, match="expected env_vars and py_executable only, found pip, working_dir"):
        ray_cluster._runtime_env({"working_dir": ".", "pip": ["x"], "env_vars": {}})


def test_needs_by_the_names_of_ray() -> None:
    assert needs_of({}) == {"CPU": 1.0}
    assert needs_of({"cpu": 2, "gpu": 0.5, "place": 1}) == {"CPU": 2.0, "GPU": 0.5, "place": 1.0}


def script(code: str, *arguments: str, timeout: float = 90) -> subprocess.CompletedProcess[str]:
    """Run a program of its own: Ray joins once per process."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=timeout,
    )  # fmt: skip


JOIN = """
import sys
from hmtools.core.settings import RaySettings
from hmtools.engine import ray_cluster
ray_cluster.JOIN_TIMEOUT_S = 4
try:
    with ray_cluster.joined(RaySettings(address=sys.argv[1], runtime_env={})):
        print("joined")
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.slow
def test_something_else_that_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = script(JOIN, f"127.0.0.1:{server.getsockname()[1]}", timeout=30)
    assert "UsageError --address 127.0.0.1:" in done.stdout, done.stderr
    assert "no answer from a Ray head within 4 s" in done.stdout


@pytest.mark.slow
def test_nodes_and_what_fits_on_them(two_nodes: TwoNodes) -> None:
    assert [node.slots for node in nodes_for({"CPU": 1})] == [1, 1]
    assert [node.slots for node in nodes_for({"CPU": 0.5, "place": 0.25})] == [2, 2]
    assert nodes_for({"CPU": 1, "GPU": 1}) == []


@pytest.mark.slow
def test_units_that_fit_nowhere(two_nodes: TwoNodes, out: Path) -> None:
    with pytest.raises(UsageError, match=r"what one unit takes \(CPU 1, GPU 8\); in all it has CPU 2, place"):
        two_nodes.run(make_job(out, [{}], resources={"gpu": 8}))


@pytest.mark.slow
def test_nodes_that_do_not_fit(two_nodes: TwoNodes, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "preflight_facts", _other_version)
    with pytest.raises(UsageError, match="these nodes cannot run the job's units"):
        two_nodes.run(make_job(out, [{}]))
    assert runs(out) == []
    assert job_status(out).owner is None


def _other_version(out: Path) -> dict[str, Any]:
    return preflight.preflight_facts(out) | {"torch": f"2.{os.getppid()}"}  # another one in every node


@pytest.mark.slow
def test_nodes_that_are_silent_or_broken(
    two_nodes: TwoNodes, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "PREFLIGHT_TIMEOUT_S", 1.0)
    monkeypatch.setattr(ray_cluster, "preflight_facts", _silent)
    with pytest.raises(UsageError, match="did not answer within 1 s"):
        check_nodes(out, {"CPU": 1.0})
    monkeypatch.setattr(ray_cluster, "PREFLIGHT_TIMEOUT_S", 60.0)
    monkeypatch.setattr(ray_cluster, "preflight_facts", _broken)
    with pytest.raises(UsageError, match="cannot run hmtools: ModuleNotFoundError: No module named 'hm'"):
        check_nodes(out, {"CPU": 1.0})


def _silent(out: Path) -> dict[str, Any]:
    import time

    time.sleep(8)
    return {}


def _broken(out: Path) -> dict[str, Any]:
    raise ModuleNotFoundError("No module named 'hm'")


OWN = """
import json, os, signal, sys
from pathlib import Path
from hmtools.core.settings import RaySettings
from hmtools.engine.ray_units import run_ray
from tests.engine.engine_units import make_job
before = signal.getsignal(signal.SIGTERM)
env = {"env_vars": {"HMTOOLS_COLOUR": "red"}, "py_executable": sys.executable}
job = make_job(Path(sys.argv[1]), [{"do": "ask_setup"}, {"do": "die"}])
outcome = run_ray(job, RaySettings(address=None, runtime_env=env), workers=2, progress=False)
import ray
print(json.dumps([len(outcome.results), outcome.failed, ray.is_initialized(),
                  signal.getsignal(signal.SIGTERM) is before]))
"""


@pytest.mark.slow
def test_a_cluster_of_our_own(out: Path) -> None:
    done = script(OWN, str(out))
    assert done.returncode == 0, done.stderr
    lost = {"u00001": "its worker process ended; it was run 3 times"}
    assert json.loads(done.stdout) == [1, lost, False, True], "and nothing of Ray's on standard output"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_that_reach_the_whole_group(out: Path, number: signal.Signals) -> None:
    """Ctrl-C in a terminal reaches the processes of our own cluster, too."""
    code = OWN.replace('{"do": "ask_setup"}, {"do": "die"}', '{}, {"do": "stuck"}')
    driver = subprocess.Popen(
        [sys.executable, "-c", code, str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True,
    )  # fmt: skip
    from tests.engine.engine_units import wait_for

    try:
        wait_for(lambda: len(runs(out)) == 2, 60)
        os.killpg(driver.pid, number)
        text, errors = driver.communicate(timeout=60)
    finally:
        driver.kill()
    assert json.loads(text)[:2] == [1, {}], errors
    assert job_status(out).state == "interrupted"
