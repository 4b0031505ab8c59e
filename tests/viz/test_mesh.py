from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core.errors import UsageError
from hmtools.geometry.projection import project
from hmtools.viz.mesh import Camera, Mesh, person_colour, predicted_colour, vertex_normals, view
from hmtools.viz.rasterise import nearest_faces
from tests.viz.meshes import sphere

Floats = npt.NDArray[np.float64]

CAMERA = Camera(focal_length=(200, 220), principal_point=(79.5, 59.5), width=160, height=120)


def ball(x: float, y: float, z: float, radius: float = 1.0, **more: Any) -> Mesh:
    vertices, faces = sphere(20, 24)
    return Mesh(vertices=radius * vertices + np.array([x, y, z]), faces=faces, **more)


def area(corners: Floats) -> float:
    """Of triangles (F, 3, 3)."""
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return float(np.linalg.norm(across, axis=1).sum() / 2)


def test_points_are_projected_through_the_lens_and_the_crop() -> None:
    distortion = [-0.2, 0.05, 0.001, -0.002, 0.01]
    affine = np.array([[0.5, 0, -3], [0, 0.5, 7]])
    lens = Camera(
        focal_length=(200, 220),
        principal_point=(80, 60),
        width=80,
        height=60,
        model="opencv5",
        distortion=distortion,
        affine=affine,
    )
    points = np.array([[0.3, -0.2, 2.0], [0.1, 0.1, -1.0]])
    found = lens.pixels(points)
    upright = project(points[:1], (200, 220), (80, 60), "opencv5", distortion)
    np.testing.assert_allclose(found[0], [*(0.5 * upright[0] + [-3, 7]), 2.0])
    assert np.isnan(found[1, :2]).all()
    assert found[1, 2] == -1


def test_normals_of_a_sphere_point_outward() -> None:
    vertices, faces = sphere(20, 24)
    np.testing.assert_allclose((vertex_normals(vertices, faces) * vertices).sum(axis=1), 1, atol=0.01)


def test_faces_that_are_broken_do_not_spoil_normals() -> None:
    vertices, faces = sphere(8, 8)
    vertices[3] = np.nan
    normals = vertex_normals(vertices, faces)
    assert np.isfinite(normals).all()
    assert not vertex_normals(np.zeros((3, 3)), np.array([[0, 1, 2]])).any()


def test_a_mesh_in_front_is_left_as_it_is() -> None:
    meshes = [ball(0, 0, 4), ball(0.5, 0, 5)]
    surface = view(meshes, CAMERA)
    count = len(meshes[0].faces)
    np.testing.assert_array_equal(surface.faces[:count], meshes[0].faces)
    np.testing.assert_array_equal(surface.faces[count:], meshes[1].faces + len(meshes[0].vertices))
    assert surface.mesh.tolist() == [0] * count + [1] * count
    # of a closed mesh every pixel shows an outer side
    face, _ = nearest_faces(surface.points, surface.faces, 160, 120)
    assert not surface.inward[face[face >= 0]].any()
    assert surface.inward.any()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 1.5))
def test_what_is_cut_is_what_lies_behind_the_plane(seed: int, near: float) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-1, 2, (40, 3))
    faces = rng.integers(0, 40, (60, 3))
    plain = Camera(focal_length=1, principal_point=(0, 0), width=10, height=10)
    before, behind = (
        view([Mesh(vertices=v, faces=faces[i::3]) for i in range(3)], plain, near=near)
        for v in (corners, np.array([0, 0, 2 * near]) + corners * [1, 1, -1])  # mirrored at the plane
    )
    total = np.zeros(3)
    for surface in (before, behind):
        assert (surface.points[surface.faces][..., 2] >= near).all()
        space = np.concatenate([surface.points[:, :2] * surface.points[:, 2:], surface.points[:, 2:]], axis=1)
        total += [area(space[surface.faces[surface.mesh == i]]) for i in range(3)]
    np.testing.assert_allclose(total, [area(corners[faces[i::3]]) for i in range(3)], rtol=1e-9)


def test_cutting_keeps_winding_and_leaves_no_seam() -> None:
    surface = view([ball(0, 0, 0.3)], CAMERA, near=0.1)
    # From inside a closed mesh: every pixel shows an inner side, and none shows nothing.
    face, depth = nearest_faces(surface.points, surface.faces, 160, 120)
    assert (face >= 0).all()
    assert surface.inward.all()
    y, x = np.mgrid[:120, :160]
    ray = np.stack([(x - 79.5) / 200, (y - 59.5) / 220, np.ones_like(x)], axis=-1)
    square, along = (ray**2).sum(axis=-1), 0.3 * ray[..., 2]
    expected = (along + np.sqrt(along**2 - square * (0.09 - 1))) / square
    np.testing.assert_allclose(depth, expected, rtol=0.02)


def test_a_mesh_wholly_behind_is_not_there() -> None:
    surface = view([ball(0, 0, -3)], CAMERA)
    assert surface.faces.shape == (0, 3)
    assert view([], CAMERA).faces.shape == (0, 3)


def test_faces_of_vertices_that_are_nowhere_are_left_out() -> None:
    mesh = ball(0, 0, 4)
    mesh.vertices[5] = np.nan
    surface = view([mesh], CAMERA)
    lost = (mesh.faces == 5).any(axis=1)
    assert len(surface.faces) == (~lost).sum() < len(mesh.faces)


def test_beyond_the_fold_of_a_lens_nothing_is_drawn() -> None:
    lens = Camera(
        focal_length=100,
        principal_point=(80, 60),
        width=160,
        height=120,
        model="opencv5",
        distortion=[-0.4, 0, 0, 0, 0],
    )
    inside, beyond = ball(0, 0, 3, 0.5), ball(9, 0, 3, 0.5)  # by the bare formula x = 9 lands in the image
    for meshes, expected in (([inside], True), ([beyond], False)):
        surface = view(meshes, lens)
        face, _ = nearest_faces(surface.points, surface.faces, 160, 120)
        assert (face >= 0).any() == expected


@pytest.mark.parametrize("near", [0.0, -1.0, np.nan, np.inf])
def test_impossible_near_planes_are_refused(near: float) -> None:
    with pytest.raises(UsageError, match="near plane"):
        view([ball(0, 0, 3)], CAMERA, near=near)


def test_faces_of_vertices_that_do_not_exist_are_refused() -> None:
    good, bad = ball(0, 0, 3), Mesh(vertices=np.ones((3, 3)), faces=np.array([[0, 1, 3]]))
    with pytest.raises(UsageError, match="mesh 1: faces name vertices 0 to 3, it has 3"):
        view([good, bad], CAMERA)


def test_an_affine_of_wrong_shape_is_refused() -> None:
    camera = Camera(focal_length=1, principal_point=(0, 0), width=9, height=9, affine=np.eye(3))
    with pytest.raises(UsageError, match=r"affine: expected shape \(2, 3\)"):
        camera.pixels(np.ones((1, 3)))


def test_colours_begin_again() -> None:
    for colour in (person_colour, predicted_colour):
        assert colour(0) == colour(6) != colour(1)
