"""The same training here, on Ray and on Slurm: the same people in every process, and the same losses."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hmtools.core.errors import HmtoolsError, UsageError
from hmtools.train.run_folder import RunFolder
from tests.engine.ray_cluster import TwoNodes
from tests.engine.ray_cluster import two_nodes as two_nodes
from tests.slurm.cluster import Slurm, cluster
from tests.train.small_runs import prepare, run_local, run_ray, small_recipe, submit, taken

pytestmark = [
    pytest.mark.xdist_group("ray"),
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Ray Train's own use of Ray Data
]

STEPS = 10
Taken = dict[tuple[int, int], tuple[str, list[str]]]


@pytest.fixture(scope="module")
def other_slurm() -> Iterator[Slurm]:
    with cluster(accounting=False) as running:
        yield running


def run_of(tmp_path: Path, name: str, shards: Path) -> Path:
    return prepare(tmp_path / name / "run", shards, small_recipe(steps=STEPS))


def require_same(one: Taken, other: Taken) -> None:
    assert one.keys() == other.keys() == {(step, rank) for step in range(1, STEPS + 1) for rank in (0, 1)}
    for at, (loss, keys) in one.items():
        assert keys == other[at][1]
        assert float.fromhex(loss) == pytest.approx(float.fromhex(other[at][0]), rel=1e-6)


def test_every_launcher_takes_the_same_steps(
    tmp_path: Path, small_shards: Path, two_nodes: TwoNodes, other_slurm: Slurm
) -> None:
    here, ray, slurm = (run_of(tmp_path, name, small_shards) for name in ("here", "ray", "slurm"))
    job = submit(slurm)
    assert run_local(here).finished
    assert run_ray(ray, two_nodes.address).finished
    assert other_slurm.wait_for_end(str(job.job), timeout=240) == ["COMPLETED"], Path(job.log).read_text()
    require_same(taken(here), taken(ray))
    require_same(taken(here), taken(slurm))


def test_a_lost_worker_costs_the_steps_since_the_last_checkpoint(
    tmp_path: Path, small_shards: Path, two_nodes: TwoNodes
) -> None:
    folder = run_of(tmp_path, "lost", small_shards)
    assert run_ray(folder, two_nodes.address, do="kill", rank=1, step=9).finished
    rows = [line for path in folder.parent.glob("written-*.jsonl") for line in path.read_text().splitlines()]
    assert 2 * STEPS < len(rows) <= 2 * (9 + 5)  # some steps twice, and not the first five
    whole = run_of(tmp_path, "whole", small_shards)
    assert run_local(whole).finished
    require_same(taken(folder), taken(whole))


def test_a_stop_of_the_driver_reaches_the_workers(
    tmp_path: Path, small_shards: Path, two_nodes: TwoNodes
) -> None:
    folder, deadline = run_of(tmp_path, "stopped", small_shards), time.monotonic() + 120

    def stop() -> None:
        while (3, 1) not in taken(folder) and time.monotonic() < deadline:
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    ending = run_ray(folder, two_nodes.address, pause=1.0)
    assert 3 < ending.step < STEPS
    assert max(taken(folder)) == (ending.step, 1)
    assert run_ray(run_of(tmp_path, "stopped", small_shards), two_nodes.address).finished
    assert len(taken(folder)) == 2 * STEPS


def test_an_error_is_not_tried_again(tmp_path: Path, small_shards: Path, two_nodes: TwoNodes) -> None:
    folder = run_of(tmp_path, "spoilt", small_shards)
    with pytest.raises(HmtoolsError, match="step 3: not finite") as caught:
        run_ray(folder, two_nodes.address, do="spoil", rank=1, step=3)
    assert caught.value.exit_code == 1
    assert max(taken(folder)) == (2, 1)
    assert not RunFolder(folder).finished


def test_a_group_that_has_no_room_is_refused(tmp_path: Path, small_shards: Path, two_nodes: TwoNodes) -> None:
    folder = prepare(tmp_path / "run", small_shards, processes=3)
    with pytest.raises(UsageError, match="room for 2 processes with 1 cores each"):
        run_ray(folder, two_nodes.address)
