"""What may lie in a folder after a conversion was disturbed."""

from __future__ import annotations

import json
from pathlib import Path

from tests.datasets.coco_tree import contents, image_row, person, write_tree

SPLIT = "mscoco/val2017"


def finals(folder: Path) -> list[Path]:
    """Every shard, table and marker with a final name."""
    return [path for kind in ("tar", "arrow", "json") for path in folder.rglob(f"[!.]*.{kind}")]


def leftovers(folder: Path) -> list[Path]:
    return list(folder.rglob(".*.tmp"))


def check_finals(folder: Path, reference: Path) -> None:
    """What has a final name is complete: equal to the undisturbed run's file, or JSON that parses."""
    for path in finals(folder):
        if path.suffix == ".json":
            json.loads(path.read_text())
        else:
            wanted = reference / path.relative_to(folder)
            assert path.read_bytes() == wanted.read_bytes(), f"{path.name} is not complete"
    if (folder / "manifest.json").exists():
        assert contents(folder) == contents(reference), "a manifest before all was there"


def small(root: Path, images: int = 1) -> Path:
    """As few bytes as a conversion can write."""
    rows = [image_row(1 + i) for i in range(images)]
    return write_tree(root, rows, [person(100 + i, 1 + i) for i in range(images)])
