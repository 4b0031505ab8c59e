"""A demo recipe like the shipped one, but a second's work."""

from __future__ import annotations

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
    ]
}
