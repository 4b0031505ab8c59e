"""Fixtures of the converter's tests: COCO trees, and datasets that exist for one test only."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hmtools.datasets import registry
from hmtools.datasets.base import Dataset
from tests.datasets.coco_tree import own_settings, samples

__all__ = ["own_settings", "registered", "samples"]


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[Dataset]], type[Dataset]]:
    """Registers a dataset until the test ends."""
    registry.all_datasets()
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    return registry.register
