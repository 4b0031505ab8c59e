"""Converted splits as a plan sees them: folders with a manifest and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hmtools.humandata.manifest import Manifest, write_manifest


def pretend_converted(
    shards: Path, name: str, records: int, *, every: int = 1, options: dict[str, Any] | None = None
) -> Path:
    """Write the manifest of ``dataset/split`` with so many records; return its folder."""
    dataset, split = name.split("/")
    folder = shards / dataset / split
    folder.mkdir(parents=True)
    manifest = Manifest(
        dataset=dataset,
        split=split,
        role="train",
        card={},
        spec={"keypoints2d": None, "keypoints3d": None, "bodies": [], "widths": {}},
        converter={},
        options=options or {},
        every=every,
        images="crop",
        world={},
        counts={"records": records},
        rejected={},
        rejected_examples=[],
        filtered={},
        health={},
        files=[],
        created="2020-01-01T00:00:00Z",
        command="",
    )
    write_manifest(folder, manifest)
    return folder
