"""Fixtures of the COCO trees."""

from __future__ import annotations

from tests.datasets.coco_tree import own_settings, samples

__all__ = ["own_settings", "samples"]
