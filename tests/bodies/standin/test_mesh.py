from __future__ import annotations

import numpy as np
import pytest

from hmtools.bodies.standin.mesh import (
    adjacency,
    boundary_vertices,
    edges_of,
    euler_characteristic,
    face_normals,
    mirror,
    non_manifold_edges,
    vertex_normals,
    volume,
)

_POINTS = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
_FACES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])


def test_a_tetrahedron() -> None:
    edges, uses = edges_of(_FACES)
    assert edges.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert uses.tolist() == [2] * 6
    assert euler_characteristic(_FACES) == 2
    assert len(non_manifold_edges(_FACES)) == 0
    assert not boundary_vertices(_FACES, 4).any()
    assert volume(_POINTS, _FACES) == pytest.approx(1 / 6)
    assert volume(_POINTS + 5, _FACES) == pytest.approx(1 / 6)
    assert volume(_POINTS, _FACES[:, ::-1]) == pytest.approx(-1 / 6)


def test_normals_point_outward() -> None:
    middle = _POINTS.mean(0)
    outward = _POINTS[_FACES].mean(1) - middle
    assert ((face_normals(_POINTS, _FACES) * outward).sum(1) > 0).all()
    normals = vertex_normals(_POINTS, _FACES)
    assert np.linalg.norm(normals, axis=1) == pytest.approx(np.ones(4))
    assert ((normals * (_POINTS - middle)).sum(1) > 0).all()


def test_a_hole_and_a_turned_face_are_found() -> None:
    assert len(non_manifold_edges(_FACES[1:])) == 3
    assert euler_characteristic(_FACES[1:]) == 1
    assert boundary_vertices(_FACES[1:], 4).tolist() == [True, True, True, False]
    turned = _FACES.copy()
    turned[0] = turned[0, ::-1]
    assert len(non_manifold_edges(turned)) > 0


def test_adjacency_is_symmetric() -> None:
    matrix = adjacency(edges_of(_FACES[:2])[0], 5).toarray()
    assert (matrix == matrix.T).all()
    assert matrix.sum(1).tolist() == [3, 3, 2, 2, 0]


def test_mirror_shares_the_seam() -> None:
    # The tetrahedron without its face in the plane x = 0 is one half of a double pyramid.
    both, faces, partner = mirror(_POINTS, _FACES[:3])
    assert len(both) == 5
    assert len(non_manifold_edges(faces)) == 0
    assert volume(both, faces) == pytest.approx(1 / 3)
    assert both[partner] * [-1, 1, 1] == pytest.approx(both)
    assert (partner[partner] == np.arange(5)).all()
