"""Fixtures of the converter's tests: COCO trees, and datasets that exist for one test only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hmtools.datasets import coco, registry
from hmtools.datasets.base import Dataset
from tests.datasets.coco_tree import image_row, own_settings, person, run, samples, write_tree

__all__ = ["own_settings", "registered", "samples"]


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[Dataset]], type[Dataset]]:
    """Registers a dataset until the test ends."""
    registry.all_datasets()
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    return registry.register


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four images of two people, two images a unit."""
    monkeypatch.setattr(coco, "IMAGES_PER_UNIT", 2)
    images = [image_row(number) for number in (1, 2, 3, 4)]
    return write_tree(tmp_path / "coco", images, [person(100 + i, 1 + i % 4) for i in range(8)])


@pytest.fixture
def crops(root: Path, tmp_path: Path) -> Path:
    return run(root, tmp_path / "out", images="crop")


@pytest.fixture
def full(root: Path, tmp_path: Path) -> Path:
    return run(root, tmp_path / "out", images="full")
