"""The sizes that ViT models come in; one table for ViTPose, SMPLer-X and whatever shares their encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hmtools.core.errors import UsageError, nearest

__all__ = ["SIZES", "Size", "size_named"]


@dataclass(frozen=True, slots=True)
class Size:
    """Size of an encoder, and of the two parts of SMPLer-X's heads that do not follow from its width.

    Attributes:
        name: as in the names of recipes and files.
        width: C, channels of a token.
        depth: transformer blocks.
        heads: attention heads; a head has ``width / heads`` channels.
        drop_path: stochastic depth of the last block in training; it rises linearly from 0 at the first.
        pose_features: of each joint, that SMPLer-X's poses are regressed from.
        box_features: channels of the maps that SMPLer-X finds the boxes of hands and face on.
        from_scratch: trainings start from drawn weights, not from ViTPose's: they are drawn so that a narrow
            network soon looks at its images (:meth:`hmtools.models.vit.ViT.reset_parameters`,
            :func:`hmtools.models.smplerx.heads.initialise`); SMPLer-X normalises what it regresses poses
            from, and begins with a person who stands upright.
    """

    name: str
    width: int
    depth: int
    heads: int
    drop_path: float
    pose_features: int = 512
    box_features: int = 256
    from_scratch: bool = False


# Nobody publishes it: for tests and demos on two cores, which most of the time would go to wide heads.
_TINY = Size("tiny", 48, 2, 4, 0.0, pose_features=8, box_features=16, from_scratch=True)

SIZES: Mapping[str, Size] = MappingProxyType(
    {
        size.name: size
        for size in (
            _TINY,
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
