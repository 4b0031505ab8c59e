"""The argument that names converted shards: as it is, or below the setting ``shards_root``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["SHARDS_HELP", "ShardsArgument", "existing_folder"]

SHARDS_HELP = "OUT, OUT/DATASET or OUT/DATASET/SPLIT; also below the setting shards_root."
"""Help of an argument that names converted shards."""

ShardsArgument = Annotated[Path, typer.Argument(metavar="SHARDS", help=SHARDS_HELP)]


def existing_folder(
    path: Path, expected: str = "converted shards (OUT, OUT/DATASET, OUT/DATASET/SPLIT)"
) -> Path:
    """The folder that is meant: ``path`` as it is, else below the setting ``shards_root``.

    Args:
        path: as typed.
        expected: what it should hold, for the message.

    Raises:
        LayoutError: if it is in neither place.
    """
    from hmtools.core.errors import LayoutError
    from hmtools.core.settings import load_settings

    if path.is_dir():
        return path
    root = load_settings().shards_root
    if (root / path).is_dir():
        return root / path
    places = f"{path}: no such folder" + (
        "" if path.is_absolute() else f", here or below shards_root = {root}"
    )
    raise LayoutError(f"{places}; expected {expected}")
