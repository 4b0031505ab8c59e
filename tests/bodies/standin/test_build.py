from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from hmtools.bodies.model import FAMILIES, JOINTS, VERTICES, Family
from hmtools.bodies.standin import build
from hmtools.bodies.standin.anatomy import PROPORTIONS, STATURE, origin_shift, rest_skeleton
from hmtools.bodies.standin.build import build_person
from hmtools.bodies.standin.mesh import (
    adjacency,
    boundary_vertices,
    edges_of,
    euler_characteristic,
    face_normals,
    non_manifold_edges,
    vertex_normals,
    volume,
)
from hmtools.bodies.standin.person import Person
from hmtools.humandata.conventions import SMPL_VERTEX_IDS, SMPLX_VERTEX_IDS

pytestmark = pytest.mark.xdist_group("standin")  # a person takes ten seconds to build, once in a process

_FACES: dict[Family, int] = {"smpl": 13776, "smplh": 13776, "smplx": 20908}
_MESHES: tuple[Family, ...] = ("smpl", "smplx")
_SKIN = 9383  # vertices of SMPL-X before its eyeballs


def _floor(person: Person) -> np.ndarray:
    """Vertices in the floor frame."""
    moved: np.ndarray = person.vertices - origin_shift(person.family)
    return moved


def _ids(family: Family) -> dict[str, int]:
    return dict(SMPLX_VERTEX_IDS if family == "smplx" else SMPL_VERTEX_IDS)


def _nearest(vertices: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance to the nearest vertex and its index, per point."""
    distance, index = cKDTree(vertices).query(points)
    return np.asarray(distance), np.asarray(index)


def _pieces(person: Person) -> list[np.ndarray]:
    """Faces of each connected piece, the largest first."""
    count = len(person.vertices)
    label = connected_components(adjacency(edges_of(person.faces)[0], count), directed=False)[1]
    pieces = [person.faces[label[person.faces[:, 0]] == k] for k in range(label.max() + 1)]
    return sorted(pieces, key=len, reverse=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_counts_are_those_of_the_real_files(family: Family) -> None:
    person = build_person(family)
    assert person.vertices.shape == (VERTICES[family], 3)
    assert person.faces.shape == (_FACES[family], 3)
    assert person.joints.shape == (JOINTS[family], 3)
    assert person.weights.shape == (VERTICES[family], JOINTS[family])
    assert person.bone.shape == (VERTICES[family],)
    assert np.unique(person.faces).tolist() == list(range(VERTICES[family]))
    assert person.vertices.dtype == person.weights.dtype == np.float64
    assert person.faces.dtype == person.parents.dtype == person.bone.dtype == np.int64
    assert not person.vertices.flags.writeable


def test_smpl_and_smplh_share_their_mesh() -> None:
    smpl, smplh = build_person("smpl"), build_person("smplh")
    assert (smpl.vertices == smplh.vertices).all()
    assert (smpl.faces == smplh.faces).all()


def test_smpl_is_one_closed_surface_without_handles() -> None:
    pieces = _pieces(build_person("smpl"))
    assert len(pieces) == 1
    assert len(non_manifold_edges(pieces[0])) == 0
    assert euler_characteristic(pieces[0]) == 2


def test_smplx_is_a_closed_surface_and_two_cups() -> None:
    skin, *eyes = _pieces(build_person("smplx"))
    assert len(non_manifold_edges(skin)) == 0
    assert euler_characteristic(skin) == 2
    assert skin.max() == _SKIN - 1
    assert len(eyes) == 2
    for eye in eyes:
        assert euler_characteristic(eye) == 1
        assert boundary_vertices(eye, VERTICES["smplx"]).sum() == 17


@pytest.mark.parametrize("family", _MESHES)
def test_faces_look_outward_and_none_is_degenerate(family: Family) -> None:
    person = build_person(family)
    skin = _pieces(person)[0]
    assert 0.045 < volume(person.vertices, skin) < 0.075
    area = np.linalg.norm(face_normals(person.vertices, person.faces), axis=1) / 2
    assert area.min() > 1e-8
    edges = edges_of(person.faces)[0]
    length = np.linalg.norm(person.vertices[edges[:, 0]] - person.vertices[edges[:, 1]], axis=1)
    assert length.min() > 1e-4
    assert length.max() < 0.06
    upward = face_normals(person.vertices, skin)[:, 1]
    height = _floor(person)[skin].mean(1)[:, 1]
    assert (upward[height > 1.69] > 0).all()
    assert (upward[height < 0.0005] < 0).all()


@pytest.mark.parametrize("family", _MESHES)
def test_few_needles_and_no_folds(family: Family) -> None:
    person = build_person(family)
    corners = person.vertices[person.faces]
    sides = np.stack([np.linalg.norm(corners[:, k] - corners[:, k - 1], axis=1) for k in range(3)])
    area = np.linalg.norm(face_normals(person.vertices, person.faces), axis=1) / 2
    shape = 4 * np.sqrt(3) * area / (sides**2).sum(0)  # 1 for an equilateral triangle
    assert np.median(shape) > 0.8
    assert np.quantile(shape, 0.01) > 0.2
    smooth = vertex_normals(person.vertices, person.faces)[person.faces].mean(1)
    assert ((face_normals(person.vertices, person.faces) * smooth).sum(1) > 0).all()


@pytest.mark.parametrize("family", _MESHES)
def test_left_and_right_mirror_each_other(family: Family) -> None:
    person = build_person(family)
    distance, partner = _nearest(person.vertices, person.vertices * [-1, 1, 1])
    assert distance.max() < 1e-3
    assert (partner[partner] == np.arange(len(partner))).all()
    # The weights of a side are those of the other with left and right joints exchanged.
    joints, _ = rest_skeleton(family)
    joints[0, 0] = 0
    other = _nearest(joints, joints * [-1, 1, 1])[1]
    assert np.abs(person.weights[partner][:, other] - person.weights).max() < 1e-6


@pytest.mark.parametrize("family", FAMILIES)
def test_surface_joints_lie_at_their_landmarks(family: Family) -> None:
    person = build_person(family)
    ids = _ids(family)
    assert set(person.landmarks) == set(ids)
    assert len(set(ids.values())) == 21
    for name, vertex in ids.items():
        assert np.linalg.norm(person.vertices[vertex] - person.landmarks[name]) < 0.015, name
    assert person.vertices[ids["left_eye"], 0] > 0 > person.vertices[ids["right_eye"], 0]
    assert person.vertices[ids["left_bigtoe"], 0] < person.vertices[ids["left_smalltoe"], 0]
    assert person.vertices[ids["left_heel"], 2] < person.joints[7, 2]


def test_landmarks_lie_on_the_surface() -> None:
    for family in _MESHES:
        person = build_person(family)
        distance, _ = _nearest(person.vertices, np.stack(list(person.landmarks.values())))
        assert distance.max() < 0.015


@pytest.mark.parametrize("family", _MESHES)
def test_measures_of_the_flesh_follow_the_table(family: Family) -> None:
    person = build_person(family)
    x, y, z = _floor(person).T
    joints = person.joints - origin_shift(family)
    chin = (np.abs(x) < 0.02) & (z > 0.06) & (y > 1.40)
    foot = (x > 0) & (y < 0.06)
    shoulder = (np.abs(x - joints[16, 0]) < 0.02) & (y > joints[16, 1])
    measured = {
        "chin_height": y[chin].min(),
        "eye_height": person.landmarks["left_eye"][1] - origin_shift(family)[1],
        "hip_half_breadth": np.abs(x[(y > 0.84) & (y < 1.0)]).max(),
        "shoulder_half_breadth": joints[16, 0] + y[shoulder].max() - joints[16, 1],
        "foot_length": np.ptp(z[foot]),
        "foot_breadth": np.ptp(x[foot & (z > 0.0)]),
    }
    assert np.ptp(y) == pytest.approx(STATURE, rel=0.01)
    for name, value in measured.items():
        assert value == pytest.approx(PROPORTIONS[name] * STATURE, rel=0.05), name


@pytest.mark.parametrize("family", _MESHES)
def test_joints_lie_inside_the_body(family: Family) -> None:
    person = build_person(family)
    skin = _pieces(person)[0]
    for joint in person.joints:
        # The solid angle of the whole surface is 4 pi from inside and 0 from outside.
        a, b, c = (person.vertices[skin[:, k]] - joint for k in range(3))
        la, lb, lc = (np.linalg.norm(v, axis=1) for v in (a, b, c))
        below = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
        solid = 2 * np.arctan2((a * np.cross(b, c)).sum(1), below)
        assert solid.sum() / (4 * np.pi) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("family", _MESHES)
def test_hands_are_five_separate_fingers(family: Family) -> None:
    person = build_person(family)
    wrist = 20
    tips = [person.landmarks[f"left_{n}"] for n in ("thumb", "index", "middle", "ring", "pinky")]
    for tip, following in pairwise(tips):
        halfway = (tip + following) / 2
        assert _nearest(person.vertices, halfway[None])[0].min() > 0.004, "air between finger tips"
    assert (person.vertices[:, 0] > person.joints[wrist, 0] - 0.01).sum() >= 778


@pytest.mark.slow
def test_building_again_gives_the_same_surface() -> None:
    first, second = build._half("smpl"), build._half.__wrapped__("smpl")
    assert first is not second
    assert (first.vertices == second.vertices).all()
    assert (first.faces == second.faces).all()
