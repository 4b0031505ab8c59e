"""Fixtures of the COCO trees and of the copies of EHF."""

from __future__ import annotations

from tests.datasets.coco_tree import own_settings, samples
from tests.datasets.ehf_tree import copies, data, flat

__all__ = ["copies", "data", "flat", "own_settings", "samples"]
