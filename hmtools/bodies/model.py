"""What a body-model file holds, once it is read: plain arrays under the names of the field."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["FAMILIES", "GENDERS", "JOINTS", "VERTICES", "BodyModel", "Family", "Gender"]

Family = Literal["smpl", "smplh", "smplx"]
Gender = Literal["neutral", "male", "female"]
FAMILIES: tuple[Family, ...] = ("smpl", "smplh", "smplx")
GENDERS: tuple[Gender, ...] = ("neutral", "male", "female")
VERTICES: dict[Family, int] = {"smpl": 6890, "smplh": 6890, "smplx": 10475}
"""Vertices of each family's mesh."""
JOINTS: dict[Family, int] = {"smpl": 24, "smplh": 52, "smplx": 55}
"""Joints that carry a rotation, the root included."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BodyModel:
    """One body model of one gender; V vertices, J joints. Metres, y up, facing +z, in the rest pose.

    Arrays keep the float type of the file (float32 or float64) and are read-only.

    Attributes:
        family: smpl, smplh or smplx.
        gender: neutral, male or female.
        path: the file it was read from.
        sha256: checksum of that file, in hex.
        standin: whether it is the licence-free stand-in, or anything else marked so.
        v_template: (V, 3) mean shape in the rest pose, metres.
        shapedirs: (V, 3, S) metres per unit of betas; S is what the file has (10, 16, 300).
        expression_dirs: (V, 3, E) metres per unit of expression; E = 0 without a face.
        posedirs: (V, 3, 9 (J - 1)) metres per entry of (R - I), joints 1 to J - 1, rows first.
        joint_regressor: (J, V) SciPy CSR matrix, rest joints = regressor @ rest vertices.
        weights: (V, J) skinning weights, rows sum to 1.
        parents: (J,) int64, -1 for the root.
        faces: (F, 3) int64 vertex indices, outward by the right-hand rule.
        hand_mean: (2, 45) mean pose of left and right hand, axis-angle, radians; None without hands.
        hand_components: (2, C, 45) PCA basis of left and right hand, rows; None without hands.
        landmark_faces: (51,) int64 faces of the static face landmarks; None without a face.
        landmark_bary: (51, 3) their barycentric coordinates.
        contour_faces: (79, 17) int64 faces of the jaw contour per degree of head yaw; None without a face.
        contour_bary: (79, 17, 3) their barycentric coordinates.
    """

    family: Family
    gender: Gender
    path: Path
    sha256: str
    standin: bool
    v_template: NDArray[np.floating[Any]]
    shapedirs: NDArray[np.floating[Any]]
    expression_dirs: NDArray[np.floating[Any]]
    posedirs: NDArray[np.floating[Any]]
    joint_regressor: Any
    weights: NDArray[np.floating[Any]]
    parents: NDArray[np.int64]
    faces: NDArray[np.int64]
    hand_mean: NDArray[np.floating[Any]] | None = None
    hand_components: NDArray[np.floating[Any]] | None = None
    landmark_faces: NDArray[np.int64] | None = None
    landmark_bary: NDArray[np.floating[Any]] | None = None
    contour_faces: NDArray[np.int64] | None = None
    contour_bary: NDArray[np.floating[Any]] | None = None
