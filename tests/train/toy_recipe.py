"""A recipe for tests: every value that has no default, and whatever a test changes."""

from __future__ import annotations

from typing import Any

from hmtools.train.recipe import Recipe, resolve

__all__ = ["toy_recipe"]


def toy_recipe(*, seed: int = 2023, **optim: Any) -> Recipe:
    """A recipe of a tiny network; ``optim`` changes what it says there."""
    values = {
        "name": "toy",
        "model": {"size": "tiny", "init": "random"},
        "data": {"sets": [{"dataset": "mscoco", "split": "train2017"}], "strategy": "concat"},
        "optim": {"lr": 0.05, "end_lr": 0.0, **optim},
        "batch": {"global_batch": 8, "micro_batch": 8},
        "run": {"epochs": 1, "seed": seed},
    }
    return resolve(values, where="toy")
