"""Demo recipes like the shipped one, but little work: to the shards, and the whole chain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SPLITS = ("train2017", "val2017")
RECIPE: dict[str, Any] = {
    "worlds": [
        {
            "dataset": "mscoco",
            "synth": {
                "frames": 3,
                "people": 2,
                "seed": 7,
                "size": (160, 120),
                "splits": SPLITS,
                "render": True,
            },
            "view": {"people": 4},
        },
        {
            "dataset": "ehf",
            "synth": {"frames": 2, "people": 1, "seed": 7, "size": (160, 120), "splits": ("test",)},
            "view": {"people": 2},
        },
    ],
    "budgets": {"downloads": 0.0},
}


def small_chain(shipped: Mapping[str, Any]) -> dict[str, Any]:
    """Of a demo that trains: fewer and smaller pictures, two steps, two of its test sets."""
    kept = {"mscoco": (8, (160, 120)), "ehf": (2, (160, 120)), "pw3d": (6, (160, 120))}
    worlds = [
        {**world, "synth": {**world["synth"], "frames": frames, "size": size}}
        for world in shipped["worlds"]
        for frames, size in [kept.get(world["dataset"], (0, (0, 0)))]
        if frames
    ]
    small = ["run.max_steps=2", "run.checkpoint_every=2", "validate.every=2"]
    return {**shipped, "worlds": worlds, "training": {**shipped["training"], "changes": small}}
