"""What nodes of a Ray cluster say; those of Slurm are in tests/slurm."""

from __future__ import annotations

from pathlib import Path

import pytest

from hmtools.core.settings import load_settings
from hmtools.engine.doctor_cluster import examine_cluster
from tests.engine.ray_cluster import TwoNodes

pytestmark = [pytest.mark.xdist_group("ray"), pytest.mark.slow]


def test_nodes_of_a_ray_cluster(two_nodes: TwoNodes, tmp_path: Path) -> None:
    settings = load_settings({"engine": "ray", "ray.address": two_nodes.address})
    report = examine_cluster(settings, tmp_path / "not-there-yet")
    assert report.problems == []
    assert report.findings[0].value == f"{two_nodes.address}; 2 nodes"
    assert len({node.node for node in report.nodes}) == 2, "told apart although they are one host"
    assert [node.facts and node.facts["hmtools"] for node in report.nodes] == [report.here["hmtools"]] * 2
    assert list(tmp_path.iterdir()) == []
