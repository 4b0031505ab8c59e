"""Worker processes import the functions of the tests' units by name, so their folder has to be importable."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

FOLDER = str(Path(__file__).parent)
if FOLDER not in sys.path:
    sys.path.insert(0, FOLDER)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The folder of a job; what its units note about themselves lies beside it."""
    return tmp_path / "out"
