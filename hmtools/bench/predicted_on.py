"""On which shards predictions were made: what ``predictions.json`` says, which ``hmtools infer`` writes.

Records of two conversions of a set have the same keys, and so have miniatures that show other people. Keys
alone do not tell that predictions are measured against, or drawn over, pictures they were not made of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hmtools.humandata.manifest import Manifest
from hmtools.humandata.predictions import PREDICTIONS, tables_in
from hmtools.shards.reader import Shards

__all__ = ["CLOSING", "other_shards", "predicted_on", "read_closing", "shards_sha256"]

CLOSING = "predictions.json"
"""Beside the tables of a split; written when every unit is done."""


def shards_sha256(manifest: Manifest) -> str:
    """Hex digest of the names and checksums of a split's files: records and images."""
    lines = sorted(f"{entry['name']} {entry['sha256']}" for entry in manifest.files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_closing(folder: Path) -> Mapping[str, Any] | None:
    """What ``predictions.json`` of a split says; None where it is not there or is none of ours."""
    try:
        found = json.loads((folder / CLOSING).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "checkpoint_sha256" in found else None


def predicted_on(path: Path) -> list[Mapping[str, Any]]:
    """What stands beside the tables of a file or folder, one for each split.

    Returns:
        Nothing for predictions of free media or of another writer, and for unfinished ones.
    """
    files = [path] if path.is_file() else tables_in(path)
    folders = dict.fromkeys(file.absolute().parent for file in files)
    said = [read_closing(folder.parent) for folder in folders if folder.name == PREDICTIONS]
    return [closing for closing in said if closing is not None]


def other_shards(closings: Sequence[Mapping[str, Any]], splits: Sequence[Shards]) -> str:
    """Say that predictions were made on other shards than those they are used with.

    Args:
        closings: of :func:`predicted_on`.
        splits: what they are measured against or drawn over.

    Returns:
        A remark that names both folders; empty if they are the same, or nobody knows.
    """
    here = {(own.manifest.dataset, own.manifest.split): own for own in splits}
    remarks = []
    for said in closings:
        own = here.get((str(said.get("dataset")), str(said.get("split"))))
        if own is None or said.get("shards_sha256") in (None, shards_sha256(own.manifest)):
            continue
        made_on, used = Path(str(said.get("shards"))), own.path.resolve()
        remarks.append(
            f"{used}, which was converted or derived anew since"
            if made_on == used
            else f"{made_on}, not on {used}; --shards {made_on} takes those"
        )
    return f"these predictions were made on {'; and on '.join(remarks)}" if remarks else ""
