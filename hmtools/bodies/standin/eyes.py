"""Eyeballs of SMPL-X: open cups of 546 vertices whose rim of 17 lies inside the head."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

__all__ = ["EYEBALL_VERTICES", "RIM", "eyeball"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

EYEBALL_VERTICES = 546
"""Vertices of one eyeball, as in the real SMPL-X."""
RIM = 17
"""Vertices of its open edge."""
_RINGS = 22
_OPENING = 152.0  # degrees from the pupil to the rim


def _ring_sizes() -> Indices:
    """Vertices of each ring from pupil to rim, in proportion to its length, exactly as many as needed."""
    angles = np.radians(_OPENING) * np.arange(1, _RINGS + 1) / _RINGS
    wanted = np.sin(angles[:-1])
    total = EYEBALL_VERTICES - 1 - RIM
    # Rounding the running sum spreads the odd vertices evenly.
    steps = np.round(np.cumsum(wanted) * total / wanted.sum()).astype(np.int64)
    return np.append(np.diff(steps, prepend=0), RIM)


def _strip(first: list[int], second: list[int]) -> list[tuple[int, int, int]]:
    """Triangles between two rings, each given once round from the same direction, outward."""
    faces = []
    a = b = 0
    while a < len(first) or b < len(second):
        on = (a + 1) / len(first) <= (b + 1) / len(second) if b < len(second) else True
        if on and a < len(first):
            faces.append((first[a], second[b % len(second)], first[(a + 1) % len(first)]))
            a += 1
        else:
            faces.append((second[b], second[(b + 1) % len(second)], first[a % len(first)]))
            b += 1
    return faces


def eyeball(
    centre: Float[np.ndarray, "xyz=3"], radius: float
) -> tuple[Float[np.ndarray, "546 3"], Int[np.ndarray, "1073 3"]]:
    """A cup that looks along +z; its first vertex is the pupil, its last 17 are the rim.

    Args:
        centre: (3,) metres.
        radius: metres.

    Returns:
        (546, 3) vertices in metres and (1073, 3) faces, outward.
    """
    points = [np.array([[0.0, 0.0, 1.0]])]
    rings = []
    start = 1
    for number, size in enumerate(_ring_sizes(), start=1):
        polar = np.radians(_OPENING) * number / _RINGS
        turn = 2 * np.pi * np.arange(size) / size
        ring = np.stack(
            [np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.full(size, np.cos(polar))]
        )
        points.append(ring.T)
        rings.append(list(range(start, start + int(size))))
        start += int(size)
    faces = [(0, k, rings[0][(i + 1) % len(rings[0])]) for i, k in enumerate(rings[0])]
    for first, second in pairwise(rings):
        faces += _strip(first, second)
    return centre + radius * np.concatenate(points), np.array(faces, dtype=np.int64)
