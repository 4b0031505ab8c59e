"""Body parameters in a dictionary, named as the smplx package names them: checked, flat, float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

__all__ = ["body_parts"]

Vector: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"


def body_parts(values: Mapping[str, Any], sizes: Mapping[str, int | tuple[int, ...]]) -> dict[str, Vector]:
    """The parts of one body.

    Args:
        values: as unpickled: arrays, or lists of numbers, with any leading dimensions of 1.
        sizes: part -> how many numbers it must have, or may have.

    Returns:
        Part -> (n,) float64, in the order of ``sizes``; the numbers are as the file has them.

    Raises:
        KeyError: naming a part that is missing.
        TypeError, ValueError: for a part that is no array of numbers, of another size, or not finite.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"expected a dictionary of body parameters, found {type(values).__name__}")
    return {name: _part(name, values[name], wanted) for name, wanted in sizes.items()}


def _part(name: str, value: Any, wanted: int | tuple[int, ...]) -> Vector:
    found = np.asarray(value)
    if found.dtype.kind not in "fiu":
        raise TypeError(f"{name}: expected numbers, found {value!r:.40}")
    counts = (wanted,) if isinstance(wanted, int) else wanted
    longest = max(found.shape, default=0)
    if found.size not in counts or longest != found.size:
        words = " or ".join(map(str, counts))
        raise ValueError(f"{name}: expected {words} numbers of one body, found shape {found.shape}")
    flat = found.reshape(-1).astype(np.float64)
    if not np.isfinite(flat).all():
        raise ValueError(f"{name}: holds NaN or infinity")
    return flat
