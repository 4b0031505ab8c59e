from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.ray_cluster import two_nodes as two_nodes


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The folder of a job; what its units note about themselves lies beside it."""
    return tmp_path / "out"
