"""The sizes that ViT models come in; one table for ViTPose, SMPLer-X and whatever shares their encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hmtools.core.errors import UsageError, nearest

__all__ = ["SIZES", "Size", "size_named"]


@dataclass(frozen=True, slots=True)
class Size:
    """Size of an encoder.

    Attributes:
        name: as in the names of recipes and files.
        width: C, channels of a token.
        depth: transformer blocks.
        heads: attention heads; a head has ``width / heads`` channels.
        drop_path: stochastic depth of the last block in training; it rises linearly from 0 at the first.
    """

    name: str
    width: int
    depth: int
    heads: int
    drop_path: float


SIZES: Mapping[str, Size] = MappingProxyType(
    {
        size.name: size
        for size in (
            Size("tiny", 32, 2, 2, 0.0),  # nobody publishes it: for tests and demos
            Size("s", 384, 12, 12, 0.1),  # 12 heads of 32: as published, though not what is usual
            Size("b", 768, 12, 12, 0.3),
            Size("l", 1024, 24, 16, 0.5),
            Size("h", 1280, 32, 16, 0.55),
        )
    }
)
"""Name -> size: of ViTPose and SMPLer-X alike."""


def size_named(name: str) -> Size:
    """Find a size.

    Raises:
        UsageError: for another name than those of :data:`SIZES`.
    """
    if name not in SIZES:
        raise UsageError(f"unknown size {name!r}{nearest(name, SIZES)}; known: {', '.join(SIZES)}")
    return SIZES[name]
