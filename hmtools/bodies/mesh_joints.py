"""Joints of a body that is known as a mesh only, without the parameters that posed it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from hmtools.bodies.layers import NATIVE_JOINTS
from hmtools.bodies.model import BodyModel
from hmtools.core.errors import GeometryError
from hmtools.humandata.keypoints import SMPL_VERTEX_IDS, SMPLX_VERTEX_IDS, convention

__all__ = ["mesh_joints"]


def mesh_joints(
    model: BodyModel, mesh: Float[np.ndarray, "v 3"]
) -> tuple[Float[np.ndarray, "k 3"], Bool[np.ndarray, " k"]]:
    """The joints of a family's native set that follow from the surface alone.

    The skeleton is regressed from the mesh as it is, as the protocols of mesh-only test sets do; of a posed
    mesh that is not exactly the kinematic skeleton. Picked vertices and the 51 face landmarks are on it.
    The 17 points of the jaw contour do not follow: their places are looked up by the rotation of the neck.

    Args:
        model: of the mesh's family, neutral unless the mesh says otherwise.
        mesh: (V, 3) metres, in any frame.

    Returns:
        (K, 3) float64 joints in the frame and unit of the mesh, 0 where unknown, and (K,) whether each is
        known.

    Raises:
        GeometryError: if the mesh has another number of vertices than the model.
    """
    if len(mesh) != len(model.v_template):
        raise GeometryError(f"a mesh of {len(mesh)} vertices, expected {len(model.v_template)}")
    points = np.asarray(mesh, np.float64)
    picked = SMPLX_VERTEX_IDS if model.family == "smplx" else SMPL_VERTEX_IDS
    parts = [np.asarray(model.joint_regressor @ points), points[list(picked.values())]]
    if model.landmark_faces is not None and model.landmark_bary is not None:
        corners = points[model.faces[model.landmark_faces]]
        parts.append(np.einsum("lfc,lf->lc", corners, np.asarray(model.landmark_bary, np.float64)))
    found = np.concatenate(parts)
    joints = np.zeros((convention(NATIVE_JOINTS[model.family]).count, 3))
    joints[: len(found)] = found
    return joints, np.arange(len(joints)) < len(found)
