"""Closed meshes for tests of the renderer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["sphere"]


def sphere(rings: int, sectors: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Unit sphere about the origin, outward faces; vertices are ring after ring, then the two poles."""
    up, around = np.arange(1, rings) * np.pi / rings, np.arange(sectors) * 2 * np.pi / sectors
    u, a = np.meshgrid(up, around, indexing="ij")
    ring = np.stack([np.sin(u) * np.cos(a), np.sin(u) * np.sin(a), np.cos(u)], axis=-1).reshape(-1, 3)
    vertices = np.concatenate([ring, [[0, 0, 1], [0, 0, -1]]])
    top, bottom = len(ring), len(ring) + 1
    faces = []
    for j in range(sectors):
        k = (j + 1) % sectors
        faces += [[top, j, k], [bottom, (rings - 2) * sectors + k, (rings - 2) * sectors + j]]
        for i in range(rings - 2):
            a0, b0, a1, b1 = i * sectors + j, i * sectors + k, (i + 1) * sectors + j, (i + 1) * sectors + k
            faces += [[a0, a1, b1], [a0, b1, b0]]
    return vertices, np.array(faces)
