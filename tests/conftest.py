"""What every test gets: checked shapes, and body models that are made once for all processes of a run."""

from __future__ import annotations

import os
from pathlib import Path

import jaxtyping
import pytest
from filelock import FileLock

from tests import checking
from tests.bodies.golden_bodies import write_all

# Before anything imports these packages: the hook rewrites them as they are loaded.
CHECKED = ["hmtools.geometry", "hmtools.bodies"]
jaxtyping.install_import_hook(CHECKED, f"{checking.__name__}.checked")


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of seeded random models: all families and genders, kids, regressors. Do not write to it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    root = shared / "golden-bodies"
    with FileLock(shared / "golden-bodies.lock"):
        if not (root / "done").exists():
            write_all(root)
            (root / "done").touch()
    return root
