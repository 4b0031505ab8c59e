"""One arithmetic for NumPy arrays and torch tensors (dtype rules: :mod:`hmtools.geometry`).

The modules that use this never import torch themselves: a reader of shards would pay a second for it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from hmtools.core.errors import GeometryError, UsageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
else:
    # At run time NumPy's own name refuses tuples and plain integers, which NumPy reads very well.
    ArrayLike = Any

__all__ = ["ArrayLike", "floats", "namespace", "refuse"]


def namespace(array: Any) -> Any:
    """The module (numpy or torch) whose functions fit ``array``."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(array, torch.Tensor) else np


def floats(array: Any, like: Any = None) -> Any:
    """``array`` as floating-point numbers of the kind of ``like``.

    Args:
        array: an array, a tensor, a number or nested sequences of numbers.
        like: what decides between NumPy and torch, and a tensor's dtype and device; ``array`` when None.

    Returns:
        float64 array, or a tensor that shares dtype and device with ``like``. Gradients are kept.

    Raises:
        UsageError: if ``like`` is a tensor of integers.
    """
    like = array if like is None else like
    torch = namespace(like)
    if torch is np:
        return np.asarray(array, np.float64)
    if not like.is_floating_point():
        raise UsageError(f"expected a tensor of floating-point numbers, got {like.dtype}; convert it first")
    return torch.as_tensor(array, dtype=like.dtype, device=like.device)


def refuse(bad: Any, problem: str) -> None:
    """Raise a GeometryError that counts the true entries of ``bad`` and names the first.

    Args:
        bad: bool array or tensor of any shape.
        problem: what is wrong with such an entry and what to do, such as "have z <= 0".

    Raises:
        GeometryError: if any entry is true.
    """
    if not bool(bad.any()):
        return
    found = np.asarray(bad.cpu() if hasattr(bad, "cpu") else bad)
    where = tuple(int(i) for i in np.argwhere(found)[0])
    raise GeometryError(f"{int(found.sum())} of {found.size} {problem}; the first is at index {where}")
