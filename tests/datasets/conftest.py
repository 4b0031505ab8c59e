"""Makes the COCO trees importable, also in the worker processes that tests start."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = str(Path(__file__).parents[1])
if TESTS not in sys.path:
    sys.path.append(TESTS)  # at the end: a folder of tests must never hide an installed package

from datasets.coco_tree import own_settings, samples  # noqa: E402 - needs the path

__all__ = ["own_settings", "samples"]
