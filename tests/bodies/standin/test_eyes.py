from __future__ import annotations

import numpy as np
import pytest

from hmtools.bodies.standin.eyes import EYEBALL_VERTICES, RIM, eyeball
from hmtools.bodies.standin.mesh import boundary_vertices, euler_characteristic, face_normals


def test_an_open_cup_with_the_counts_of_smplx() -> None:
    centre = np.array([0.03, 1.59, 0.07])
    vertices, faces = eyeball(centre, 0.012)
    assert vertices.shape == (EYEBALL_VERTICES, 3)
    assert faces.shape == (2 * EYEBALL_VERTICES - 2 - RIM, 3)
    assert euler_characteristic(faces) == 1
    rim = boundary_vertices(faces, EYEBALL_VERTICES)
    assert rim.sum() == RIM
    assert (vertices[rim, 2] < centre[2] - 0.009).all()
    assert np.linalg.norm(vertices - centre, axis=1) == pytest.approx(np.full(EYEBALL_VERTICES, 0.012))
    assert vertices[0] - centre == pytest.approx([0, 0, 0.012])


def test_it_faces_outward_everywhere() -> None:
    vertices, faces = eyeball(np.zeros(3), 0.012)
    normals = face_normals(vertices, faces)
    assert ((normals * vertices[faces].mean(1)).sum(1) > 0).all()
    assert np.linalg.norm(normals, axis=1).min() > 1e-8
