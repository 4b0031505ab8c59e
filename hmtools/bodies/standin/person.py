"""A person made by us: mesh, skeleton and skinning weights, before shapes and files are added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hmtools.bodies.model import Family

__all__ = ["Person"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Person:
    """Rest-pose (T-pose) person; metres, y up, facing +z, its left hand at +x. V vertices, J joints.

    Attributes:
        family: decides the counts of vertices (10475 or 6890), faces (20908 or 13776) and joints.
        vertices: (V, 3) float64.
        faces: (F, 3) int64, outward by the right-hand rule.
        joints: (J, 3) float64 rest joints; the pelvis is not at the origin.
        parents: (J,) int64, -1 for the root.
        weights: (V, J) float64 skinning weights, at most 4 non-zero in a row, rows sum to 1.
        bone: (V,) int64 joint whose flesh a vertex is.
        landmarks: surface joint (``nose``, ``left_bigtoe``, ``right_index``, ...) -> its place, (3,) float64;
            the vertex that the smplx package uses for it is the nearest one.
    """

    family: Family
    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    joints: NDArray[np.float64]
    parents: NDArray[np.int64]
    weights: NDArray[np.float64]
    bone: NDArray[np.int64]
    landmarks: Mapping[str, NDArray[np.float64]]
