"""One Slurm cluster for all tests of this folder: every module here has ``xdist_group("slurm")``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.slurm.cluster import Slurm, cluster


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """The cluster, with accounting; ``SLURM_CONF`` points to it while it is up. Leave its queue empty."""
    with cluster() as running:
        yield running


@pytest.fixture(scope="module")
def slurm_without_accounting() -> Iterator[Slurm]:
    """Another one where sacct does not work; while it is up, ``SLURM_CONF`` points to this one."""
    with cluster(accounting=False) as running:
        yield running
