"""hmtools: raw human-mesh-recovery datasets in, one schema of Arrow + webdataset shards out.

``import hmtools`` is cheap: torch, ray and pyarrow load only when something needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pathlib import Path

    from hmtools.shards.reader import Shards

__all__ = ["__version__", "open"]


def open(path: str | Path) -> Shards:
    """Open one converted split, e.g. ``hmtools.open("shards/mscoco/val2017")``.

    Args:
        path: the folder that holds ``manifest.json`` and ``index.arrow``.

    Returns:
        A :class:`hmtools.shards.reader.Shards`: ``len``, ``[i]`` (record + decoded upright image),
        ``.table`` (zero copy), ``.select(query)``, ``.tracks``.

    Raises:
        hmtools.core.errors.LayoutError: if ``path`` is not a finished conversion.
    """
    from hmtools.shards.reader import open_shards

    return open_shards(path)
