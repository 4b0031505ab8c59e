"""Fixtures of the benchmark tests."""

from __future__ import annotations

import pytest

from tests.bench.testset_shards import TestSets, shared_test_sets


@pytest.fixture(scope="session")
def test_sets(tmp_path_factory: pytest.TempPathFactory) -> TestSets:
    """Converted miniatures, shared by all processes of a run. Do not write to them."""
    return shared_test_sets(tmp_path_factory)
