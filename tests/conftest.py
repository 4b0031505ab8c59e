"""What every test gets: checked shapes, and body models that are made once for all processes of a run."""

from __future__ import annotations

import functools
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
from filelock import FileLock

from tests import checking
from tests.bodies.golden_bodies import write_all

# Before anything imports these packages: the hook rewrites them as they are loaded.
CHECKED = ["hmtools.geometry", "hmtools.bodies"]
jaxtyping.install_import_hook(CHECKED, f"{checking.__name__}.checked")


_MUCH = 2_500_000 * (1 if sys.platform == "linux" else 1024)  # 2.5 GB; macOS counts bytes, not kB


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


@pytest.fixture(scope="module", autouse=True)
def _caches_end_with_their_file() -> Iterator[None]:
    """Layers of body models that every test file keeps for itself would add up to 9 GB per process."""
    yield
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < _MUCH:
        return
    for name in [name for name in sys.modules if name.startswith("tests.")]:
        for kept in vars(sys.modules[name]).values():
            if isinstance(kept, functools._lru_cache_wrapper) and kept.__module__ == name:
                kept.cache_clear()
