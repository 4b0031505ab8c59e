from __future__ import annotations

import numpy as np
import pytest

from hmtools.bodies.model import FAMILIES, Family
from hmtools.bodies.standin.anatomy import hop_distance, joint_names, landmarks, origin_shift
from hmtools.bodies.standin.build import build_person
from hmtools.bodies.standin.eyes import EYEBALL_VERTICES
from hmtools.bodies.standin.face_shape import MOUTH_HEIGHT
from hmtools.bodies.standin.mesh import edges_of, volume
from hmtools.bodies.standin.person import Person
from hmtools.bodies.standin.skin import MAX_HOPS, MAX_JOINTS, bone_of, cotangent_laplacian, for_family
from hmtools.humandata.conventions import SMPLX_VERTEX_IDS

pytestmark = pytest.mark.xdist_group("standin")  # a person takes ten seconds to build, once in a process

# Limits of human joints in degrees about x (flexion of legs and spine), y and z, for the left side.
_LIMITS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "hip": ((-110, 30), (-35, 35), (-15, 45)),
    "knee": ((0, 135), (0, 0), (0, 0)),
    "ankle": ((-20, 40), (-15, 15), (-15, 15)),
    "foot": ((-30, 10), (0, 0), (0, 0)),
    "spine_1": ((-10, 25), (-12, 12), (-10, 10)),
    "spine_2": ((-10, 20), (-15, 15), (-10, 10)),
    "spine_3": ((-8, 15), (-12, 12), (-8, 8)),
    "neck": ((-25, 30), (-35, 35), (-20, 20)),
    "head": ((-20, 20), (-30, 30), (-12, 12)),
    "collar": ((0, 0), (-15, 10), (-10, 25)),
    "shoulder": ((-60, 60), (-100, 25), (-85, 75)),
    "elbow": ((-10, 10), (-140, 0), (0, 0)),
    "wrist": ((-60, 60), (-20, 30), (-70, 70)),
    "jaw": ((0, 20), (0, 0), (0, 0)),
    "hand": ((0, 0), (-10, 10), (-85, 10)),
    "thumb_1": ((-20, 20), (-30, 40), (-20, 30)),
    "thumb": ((0, 0), (0, 50), (0, 0)),
    "1": ((0, 0), (-10, 10), (-85, 10)),
    "2": ((0, 0), (0, 0), (-95, 0)),
    "3": ((0, 0), (0, 0), (-70, 0)),
}


def _limits(name: str) -> np.ndarray:
    plain = name.removeprefix("left_").removeprefix("right_")
    for key in (plain, plain.split("_")[0], plain.split("_")[-1]):
        if key in _LIMITS:
            return np.radians(np.array(_LIMITS[key], dtype=np.float64))
    return np.zeros((3, 2))  # the root, whose turning changes nothing, and the eyes


def _limit_poses(family: Family, count: int) -> np.ndarray:
    """Poses with every joint at one of its limits about one of its axes, (count, J, 3) axis-angle."""
    rng = np.random.default_rng(20261121)
    names = joint_names(family)
    poses = np.zeros((count, len(names), 3))
    for pose in poses:
        for joint, name in enumerate(names):
            free = np.flatnonzero(np.ptp(_limits(name), axis=1))
            axis = int(rng.choice(free)) if len(free) else 0
            mirrored = -1.0 if name.startswith("right_") and axis else 1.0
            pose[joint, axis] = mirrored * _limits(name)[axis, rng.integers(2)]
    return poses


def _rotation(vector: np.ndarray) -> np.ndarray:
    angle = float(np.linalg.norm(vector))
    if angle == 0:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turned: np.ndarray = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return turned


def _posed(person: Person, pose: np.ndarray) -> np.ndarray:
    """Vertices after linear blend skinning, (V, 3)."""
    turns, places = [], []
    for joint, parent in enumerate(person.parents):
        turn = _rotation(pose[joint])
        if parent < 0:
            turns.append(turn)
            places.append(person.joints[joint])
        else:
            turns.append(turns[parent] @ turn)
            offset = person.joints[joint] - person.joints[parent]
            places.append(places[parent] + turns[parent] @ offset)
    shifts = [p - t @ j for p, t, j in zip(places, turns, person.joints, strict=True)]
    blended = np.einsum("vj,jab->vab", person.weights, np.array(turns))
    posed: np.ndarray = np.einsum("vab,vb->va", blended, person.vertices) + person.weights @ np.array(shifts)
    return posed


def _skin_faces(person: Person) -> np.ndarray:
    skin = len(person.vertices) - (2 * EYEBALL_VERTICES if person.family == "smplx" else 0)
    faces: np.ndarray = person.faces[(person.faces < skin).all(1)]
    return faces


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_are_short_add_up_and_stay_near_their_bone(family: Family) -> None:
    person = build_person(family)
    used = person.weights > 0
    assert person.weights.min() >= 0
    assert person.weights.sum(1) == pytest.approx(np.ones(len(used)), abs=1e-12)
    assert used.sum(1).max() <= MAX_JOINTS
    hops = hop_distance(person.parents)[person.bone]
    assert hops[used].max() <= MAX_HOPS
    assert used[np.arange(len(used)), person.bone].all()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_joint_moves_something(family: Family) -> None:
    assert (build_person(family).weights > 0.5).any(0).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_limit_poses_keep_the_volume(family: Family) -> None:
    person = build_person(family)
    faces = _skin_faces(person)
    rest = volume(person.vertices, faces)
    change = np.array([volume(_posed(person, p), faces) / rest - 1 for p in _limit_poses(family, 50)])
    assert np.abs(change).max() < 0.08
    assert np.abs(change).max() > 0.005, "poses that change nothing prove nothing"


def test_weights_are_smooth_along_the_skin() -> None:
    person = build_person("smplx")
    edges = edges_of(_skin_faces(person))[0]
    jump = np.abs(person.weights[edges[:, 0]] - person.weights[edges[:, 1]]).sum(1) / 2
    assert np.quantile(jump, 0.999) < 0.55
    assert np.median(jump) < 0.05


def test_the_jaw_opens_the_mouth() -> None:
    person = build_person("smplx")
    y, z = (person.vertices - origin_shift("smplx"))[:, 1:].T
    jaw = person.weights[:, joint_names("smplx").index("jaw")]
    lips = (np.abs(person.vertices[:, 0]) < 0.012) & (z > 0.088)
    upper = lips & (y > MOUTH_HEIGHT + 0.001) & (y < MOUTH_HEIGHT + 0.009)
    lower = lips & (y < MOUTH_HEIGHT - 0.001) & (y > MOUTH_HEIGHT - 0.012)
    assert upper.sum() > 10
    assert lower.sum() > 10
    assert jaw[upper].max() < 0.3
    assert jaw[lower].min() > 0.7
    pose = np.zeros((55, 3))
    pose[22, 0] = 0.3
    posed = _posed(person, pose)
    assert posed[lower, 1].max() < posed[upper, 1].min() - 0.004


def test_eyeballs_are_rigid() -> None:
    person = build_person("smplx")
    assert (person.weights[9383:9929, 23] == 1).all()
    assert (person.weights[9929:, 24] == 1).all()


def test_surface_joints_belong_to_their_bones() -> None:
    shift = origin_shift("smplx")
    places = {n: p - shift for n, p in landmarks("smplx").items() if "eye" not in n}
    wanted = {"nose": "head", "ear": "head", "bigtoe": "foot", "smalltoe": "foot", "heel": "ankle"}
    names = joint_names("smplx")
    for name, bone in zip(places, bone_of(np.stack(list(places.values()))), strict=True):
        side, _, part = name.rpartition("_")
        own = wanted.get(part, f"{part}_3")
        assert names[bone] == (own if own == "head" else f"{side}_{own}")


def test_feet_stay_when_an_ankle_of_the_other_leg_turns() -> None:
    person = build_person("smplx")
    pose = np.zeros((55, 3))
    pose[7, 0] = -0.35
    moved = np.linalg.norm(_posed(person, pose) - person.vertices, axis=1) > 1e-9
    assert (person.vertices[moved, 0] > 0).all()
    assert person.vertices[moved, 1].max() < person.joints[7, 1] + 0.20


def test_smpl_hands_take_what_smplh_gives_to_fingers() -> None:
    hand, fingers = build_person("smpl"), build_person("smplh")
    assert hand.weights[:, :22] == pytest.approx(fingers.weights[:, :22])
    assert hand.weights[:, 22] == pytest.approx(fingers.weights[:, 22:37].sum(1))
    assert hand.weights[:, 23] == pytest.approx(fingers.weights[:, 37:].sum(1))


def test_heads_take_jaw_and_eyes_where_there_are_none() -> None:
    weights = np.zeros((3, 55))
    weights[0, [15, 22]] = 0.5
    weights[1, 24] = 1
    weights[2, 54] = 1
    merged, bone = for_family(weights, np.array([22, 24, 54]), "smplh")
    assert merged.shape == (3, 52)
    assert merged[0, 15] == merged[1, 15] == merged[2, 51] == 1
    assert bone.tolist() == [15, 15, 51]


def test_the_laplacian_spreads_without_loss() -> None:
    person = build_person("smplx")
    faces = _skin_faces(person)
    vertices = person.vertices[:9383]
    stiffness, area = cotangent_laplacian(vertices, faces, np.ones(len(vertices)))
    assert np.abs(stiffness.sum(0)).max() < 1e-9
    assert np.abs(stiffness - stiffness.T).max() < 1e-12
    assert 1.4 < area.sum() < 2.2
    assert set(SMPLX_VERTEX_IDS) == set(person.landmarks)
