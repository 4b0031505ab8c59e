"""Meshes that other programs read: read again by readers that know nothing of the writer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hmtools.datasets.ply import read_ply
from hmtools.infer.outputs.bodies import genders_of, parameters, vertices_of
from hmtools.infer.outputs.export import export_predictions
from hmtools.infer.outputs.meshes import glb_mesh, obj_mesh, ply_mesh
from tests.infer.outputs.glb_reader import Glb
from tests.infer.outputs.predicted import person, standin_bodies, track_of, write_table
from tests.viz.meshes import sphere


def test_a_file_per_person_and_frame(tmp_path: Path) -> None:
    rows = [
        person(1, frame=3, kid=0.6),
        person(2, frame=4),
        person(3, frame=4, track_id="2", smplx_body_pose=None),
    ]
    path = write_table(tmp_path / "p.parquet", rows[:2])
    bodies, track = standin_bodies(path), track_of(path)
    seen = vertices_of(bodies, parameters(track.columns, "smplx"), genders_of(track.columns, 2))
    done = export_predictions(write_table(tmp_path / "q.parquet", rows), "ply", tmp_path / "out")
    assert [file.name for file in done.files] == ["clip_1_000003.ply", "clip_1_000004.ply"]
    assert done.left_out == {"no finite pose and place": 1}
    for file, mesh in zip(done.files, seen, strict=True):
        found = read_ply(file)
        np.testing.assert_allclose(found.vertices, mesh, atol=1e-6)
        np.testing.assert_array_equal(found.faces, bodies.layer("neutral").model.faces)


def test_obj_counts_from_one() -> None:
    vertices, faces = sphere(4, 5)
    lines = [line.split() for line in obj_mesh(vertices, faces).decode().splitlines()]
    points = np.array([line[1:] for line in lines if line[0] == "v"], float)
    corners = np.array([line[1:] for line in lines if line[0] == "f"], int)
    np.testing.assert_allclose(points, vertices, atol=1e-6)
    np.testing.assert_array_equal(corners, faces + 1)


def test_glb_is_y_up_and_right_way_out() -> None:
    vertices, faces = sphere(12, 24)
    file = Glb(glb_mesh(vertices + np.array([0, 1, 5]), faces))
    primitive = file.described["meshes"][0]["primitives"][0]
    points = file.array(primitive["attributes"]["POSITION"])
    normals = file.array(primitive["attributes"]["NORMAL"])
    np.testing.assert_allclose(points.mean(axis=0), [0, -1, -5], atol=1e-6)
    np.testing.assert_allclose(normals, points - [0, -1, -5], atol=0.1)
    corners = points[file.array(primitive["indices"]).reshape(-1, 3)]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((across * (corners.mean(axis=1) - [0, -1, -5])).sum(axis=1) > 0).all()


def test_an_empty_ply_is_one() -> None:
    assert ply_mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64)).endswith(b"end_header\n")
