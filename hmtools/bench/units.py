"""Whether predictions are in the units they should be, told from a few of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmtools.core.errors import SchemaError

__all__ = ["check_units"]

_BODY = (0.2, 6.0)
"""Longest side of the box of a body, metres: a crouching child to a giant."""

_UNITS = (("centimetres", 100), ("millimetres", 1000))
_FARTHEST = 200.0
_LARGEST_TURN = 10.0


def check_units(columns: Mapping[str, Any], where: str) -> None:
    """Refuse millimetres, centimetres and degrees.

    Medians decide, so that a few broken predictions do not; values that are not finite are left aside.

    Args:
        columns: of some predictions, see :data:`hmtools.bench.readers.base.ReadColumns`.
        where: named by errors.

    Raises:
        SchemaError: naming the column, what was found and the unit that it looks like.
    """
    for name in ("vertices", "joints3d"):
        if name in columns:
            _check_size(columns[name][..., :3], name, where)
    for name, values in columns.items():
        if name.endswith("_transl") and (far := _median(np.linalg.norm(values, axis=-1))) > _FARTHEST:
            raise SchemaError(
                f"{where}: {name} is in metres; the median is {far:.0f} away from the camera, which looks "
                "like centimetres or millimetres. Divide by 100 or 1000"
            )
        if name.endswith("global_orient"):
            turn = _median(np.linalg.norm(values, axis=-1))
            if turn > _LARGEST_TURN:
                raise SchemaError(
                    f"{where}: {name} is axis-angle in radians; the median turn is {turn:.0f}, which looks "
                    "like degrees"
                )


def _check_size(points: NDArray[np.float32], name: str, where: str) -> None:
    whole = points[np.isfinite(points).all(axis=(1, 2))].astype(np.float64)
    if not len(whole):
        return
    size = float(np.median((whole.max(axis=1) - whole.min(axis=1)).max(axis=-1)))
    if _BODY[0] <= size <= _BODY[1]:
        return
    looks = next(
        (
            f"which looks like {unit} (x{factor}); divide by {factor}"
            for unit, factor in _UNITS
            if _BODY[0] * 2 <= size / factor <= _BODY[1] / 2
        ),
        "which no unit of length explains",
    )
    raise SchemaError(
        f"{where}: {name} is in metres; a typical body of these measures {size:.4g} from end to end, {looks}"
    )


def _median(values: NDArray[np.floating[Any]]) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else 0.0
