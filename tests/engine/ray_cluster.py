"""A real Ray cluster on the loopback: two nodes of one processor each, once for all tests of a process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hmtools.core.settings import RaySettings
from hmtools.engine.job import Job, Outcome
from hmtools.engine.ray_cluster import joined
from hmtools.engine.ray_units import run_ray

NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 100_000_000}


class TwoNodes:
    """A cluster this process has joined; ``address`` is for others to join."""

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster
        self.address: str = cluster.address

    def run(self, job: Job, **options: Any) -> Outcome:
        """Run a job on it."""
        return run_ray(job, RaySettings(address=self.address, runtime_env={}), progress=False, **options)

    @contextlib.contextmanager
    def third(self, **resources: float) -> Iterator[Any]:
        """One node more, removed afterwards if it is still there."""
        node = self.cluster.add_node(**NODE, resources=resources)
        try:
            yield node
        finally:
            if node in self.cluster.list_all_nodes():
                self.lose(node)

    def lose(self, node: Any) -> None:
        """Take a node away as if its plug had been pulled."""
        self.cluster.remove_node(node, allow_graceful=False)


@pytest.fixture(scope="session")
def two_nodes() -> Iterator[TwoNodes]:
    """The cluster; one for every process that runs tests, so all Ray tests belong into one of them."""
    pytest.importorskip("ray")
    if not Path("/dev/shm").is_dir():
        pytest.skip("Ray keeps its object store in /dev/shm, which is not there")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        head = NODE | {"include_dashboard": False, "resources": {"place": 1}}
        cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        try:
            cluster.add_node(**NODE, resources={"place": 1})
            with joined(RaySettings(address=cluster.address, runtime_env={})):
                yield TwoNodes(cluster)
        finally:
            cluster.shutdown()
