"""The world of AGORA: posed scans that stand in an Unreal scene, and the cameras that look at them.

Unreal counts in centimetres, x forward, y right, z up, and a person stands at X, Y, Z turned by Yaw. A point
p of a fitted body, in the frame of the fit (y up, metres, with the fit's own translation), is seen at::

    q = Ry(Yaw - 90) diag(1, -1, -1) p + U(X, Y, Z)         U(x, y, z) = (y, -z, x) / 100
    camera point = Rx(pitch) Ry(-yaw) (q - U(camera) - ground)

The name of an image says by which of :data:`RULES` it was taken. Here 4 x 4 matrices move vertices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from hmtools.synth.actors import Actor, make_actors, pose_actors
from hmtools.synth.cameras import Camera, see
from hmtools.synth.occluders import make_occluder, occlusion

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hmtools.bodies.model import Family, Gender
    from hmtools.synth.actors import Posed
    from hmtools.synth.cameras import View
    from hmtools.viz.mesh import Mesh

    Array = NDArray[np.float64]

__all__ = ["FULL", "RULES", "Person", "Rule", "Scan", "Shot", "lens", "make_scans", "take_shot"]

FULL = 3840, 2160
"""Width and height of the pictures that every label is given for, pixels."""

_SENSOR = 36.0, 20.25  # millimetres
_FAMILIES: tuple[Family, ...] = ("smplx", "smpl")
_KINDS: Sequence[tuple[str, Gender, bool, bool]] = (
    ("adults", "female", False, False),
    ("adults", "male", False, True),
    ("kids", "male", True, False),
    ("kids", "female", True, True),
    ("adults", "neutral", False, False),
    ("adults", "female", False, True),
)
"""Folder of a scan, its gender, whether it is a child, whether its tensors lay on a GPU; taken in turn."""
_FPS = 0.6  # stills: far enough apart for poses of their own
_COARSE = 16  # occlusion is looked at in a picture that much smaller
_MOST_HIDDEN = 90.0  # per cent of a valid person


class Rule(NamedTuple):
    """How the cameras of one kind of scene stand.

    ``camera`` and ``yaw`` are None where each image has its own. ``near`` and ``far`` are where people fill
    the picture, metres along the ground.
    """

    word: str  # in the image's name
    focal_mm: float
    camera: tuple[float, float, float] | None  # centimetres
    yaw: float | None  # degrees
    pitch: float  # degrees, downwards
    ground: tuple[float, float, float]  # metres
    near: float
    far: float


RULES: Mapping[str, Rule] = {
    rule.word: rule
    for rule in (
        Rule("hdri", 50, (0, 0, 170), 0, 0, (0, 0, 0), 9.6, 11.4),
        Rule("cam00", 18, (400, -275, 265), 135, 30, (0, 0, 0), 3.2, 5.0),
        Rule("cam01", 18, (400, 225, 265), -135, 30, (0, 0, 0), 3.2, 5.0),
        Rule("cam02", 18, (-490, 170, 265), -45, 30, (0, 0, 0), 3.2, 5.0),
        Rule("cam03", 18, (-490, -275, 265), 45, 30, (0, 0, 0), 3.2, 5.0),
        Rule("ag2", 28, (0, 0, 170), 0, 15, (0, 0, 0), 3.8, 6.0),
        Rule("else", 28, None, None, 0, (0, -1.7, 0), 5.4, 7.5),
    )
}
"""Word in an image's name -> its camera; ``else`` where the name has none of the others."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scan:
    """One scanned person, and the bodies that were fitted to the scan in its own frame, feet on y = 0.

    Attributes:
        number: position among the scans of its split.
        path: below the folder of fits, without suffix.
        gender: of the scanned person.
        kid: whether that is a child.
        cuda: the files hold tensors that lay on a GPU.
        actors: family -> parameters; the model of their own gender.
        bodies: family -> surface and joints, metres.
    """

    number: int
    path: str
    gender: str
    kid: bool
    cuda: bool
    actors: Mapping[Family, Actor]
    bodies: Mapping[Family, Posed]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Person:
    """A scan that stands in a scene.

    Attributes:
        scan: who.
        place: X, Y, Z in centimetres, Unreal axes.
        yaw: degrees.
        views: family -> what the camera sees, pixels of :data:`FULL`.
        occlusion: per cent of the person that other people and things hide.
        valid: false when that is nearly everything.
    """

    scan: Scan
    place: tuple[float, float, float]
    yaw: float
    views: Mapping[Family, View]
    occlusion: float = 0.0
    valid: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shot:
    """One image: where its camera stands, as the release says it, and who is there behind which boards."""

    rule: Rule
    camera: tuple[float, float, float]
    yaw: float
    people: tuple[Person, ...]
    boards: tuple[Mesh, ...]


def lens(rule: Rule, width: int, height: int) -> tuple[Array, Array]:
    """Focal length (2,) and principal point (2,) in pixels of a picture of ``width`` x ``height``."""
    focal = np.array([rule.focal_mm / _SENSOR[0] * width, rule.focal_mm / _SENSOR[1] * height])
    return focal, np.array([width / 2, height / 2])


def make_scans(rng: np.random.Generator, count: int, word: str) -> list[Scan]:
    """Scans of men, women and children in turn, with the fits of both families.

    Female children are fitted with the neutral child, everybody's SMPL fit is of the neutral model.

    Args:
        rng: source of everything random.
        count: how many.
        word: first part of their folders' names.
    """
    kinds = [_KINDS[number % len(_KINDS)] for number in range(count)]
    weights = np.round(rng.uniform(0.3, 0.8, count), 3)
    steps = rng.uniform(-0.1, 0.1, (count, 2))
    seeds = rng.integers(1 << 31, size=count).tolist()
    actors: dict[Family, list[Actor]] = {}
    bodies: dict[Family, list[Posed]] = {}
    for family in _FAMILIES:
        drawn = []
        for (_, gender, kid, _), weight, seed in zip(kinds, weights.tolist(), seeds, strict=True):
            own: Gender = "neutral" if family == "smpl" or (kid and gender == "female") else gender
            (actor,) = make_actors(np.random.default_rng(seed), 1, 1, family=family, genders=(own,), fps=_FPS)
            drawn.append(replace(actor, kid=weight) if kid else actor)
        stood = [_stood(*pair) for pair in zip(drawn, pose_actors(drawn), steps, strict=True)]
        actors[family], bodies[family] = [pair[0] for pair in stood], [pair[1] for pair in stood]
    return [
        Scan(
            number=number,
            path=f"{word}_figures_{folder}/figure_{number:03d}_0_0",
            gender=gender,
            kid=kid,
            cuda=cuda,
            actors={family: actors[family][number] for family in _FAMILIES},
            bodies={family: bodies[family][number] for family in _FAMILIES},
        )
        for number, (folder, gender, kid, cuda) in enumerate(kinds)
    ]


def _stood(actor: Actor, body: Posed, step: Array) -> tuple[Actor, Posed]:
    """The same person with the feet on the ground, a step from the origin."""
    moved = np.array([step[0], -body.vertices[0, :, 1].min(), step[1]])
    posed = replace(body, vertices=body.vertices + moved, joints=body.joints + moved)
    return replace(actor, transl=actor.transl + moved), posed


def take_shot(
    rng: np.random.Generator,
    rule: Rule,
    scans: Sequence[Scan],
    *,
    hidden: Mapping[int, float] | None = None,
    outside: Sequence[int] = (),
) -> Shot:
    """Place people before a camera of a rule and look at them.

    Args:
        rng: source of places and turns.
        rule: the kind of scene.
        scans: who is there, from left to right unless they are ``outside``.
        hidden: position of a person -> share of width or height that is behind a board.
        outside: positions of people who stand half beyond the left edge of the picture.
    """
    camera, yaw = rule.camera, rule.yaw
    if camera is None or yaw is None:
        x, y, z, turn = (round(number, 3) for number in rng.uniform(-1, 1, 4).tolist())
        camera, yaw = (400 * x, 400 * y, 40 * z), 170 * turn
    to_camera = _camera_matrix(rule, camera, yaw)
    floor = 0.0 if rule.camera else camera[2]
    people = []
    for slot, (across, along) in enumerate(_spots(rng, rule, len(scans))):
        height, turned = floor + rng.uniform(-4, 4), round(yaw + 90 + rng.uniform(-50, 50), 3)
        person = _stand(scans[slot], rule, to_camera, (across, height, along), turned)
        if slot in outside:
            middle = person.views["smplx"].vertices.mean(axis=0)
            across -= middle[0] + _slope(rule) * middle[2]
            person = _stand(scans[slot], rule, to_camera, (across, height, along), turned)
        people.append(person)
    eye = _camera(rule, np.eye(4), *FULL)
    behind = (hidden or {}).items()
    boards = [make_occluder(rng, people[slot].views["smplx"], eye, hidden=share) for slot, share in behind]
    shares = [round(share, 2) for share in _occlusion(people, boards, rule)]
    people = [
        replace(person, occlusion=share, valid=share <= _MOST_HIDDEN)
        for person, share in zip(people, shares, strict=True)
    ]
    return Shot(rule=rule, camera=camera, yaw=yaw, people=tuple(people), boards=tuple(boards))


def _slope(rule: Rule) -> float:
    """Half the picture's width, a metre before the camera, in metres."""
    return _SENSOR[0] / rule.focal_mm / 2


def _spots(rng: np.random.Generator, rule: Rule, people: int) -> list[tuple[float, float]]:
    """Where people stand: metres to the right of the camera's axis, metres before it along the ground."""
    spots = []
    for slot in range(people):
        along = rng.uniform(rule.near, rule.far)
        share = 2 * (slot + 0.5 + rng.uniform(-0.15, 0.15)) / people - 1
        spots.append((float(0.72 * share * _slope(rule) * along), float(along)))
    return spots


def _stand(
    scan: Scan, rule: Rule, to_camera: Array, spot: tuple[float, float, float], turned: float
) -> Person:
    """A person at metres to the right of the camera, centimetres above zero, metres along the ground."""
    across, height, along = spot
    forward = np.linalg.inv(to_camera)[:3, 2] * [1, 0, 1]
    forward /= np.linalg.norm(forward)
    right = np.array([forward[2], 0, -forward[0]])
    ground = np.linalg.inv(to_camera)[:3, 3] + across * right + along * forward
    place = _centimetres(ground[0], height, ground[2])
    matrix = to_camera @ _person_matrix(place, turned)
    views = {family: _see(scan.bodies[family], matrix, rule) for family in _FAMILIES}
    return Person(scan=scan, place=place, yaw=turned, views=views)


def _turn(axis: str, degrees: float) -> Array:
    found: Array = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
    return found


def _metres(place: tuple[float, float, float]) -> Array:
    x, y, z = place
    return np.array([y, -z, x]) / 100


def _centimetres(right: float, up_cm: float, forward: float) -> tuple[float, float, float]:
    return round(float(100 * forward), 3), round(float(100 * right), 3), round(float(up_cm), 3)


def _camera_matrix(rule: Rule, camera: tuple[float, float, float], yaw: float) -> Array:
    matrix = np.eye(4)
    matrix[:3, :3] = _turn("x", rule.pitch) @ _turn("y", -yaw)
    matrix[:3, 3] = -matrix[:3, :3] @ (_metres(camera) + np.array(rule.ground))
    return matrix


def _person_matrix(place: tuple[float, float, float], yaw: float) -> Array:
    matrix = np.eye(4)
    matrix[:3, :3] = _turn("y", yaw - 90) @ np.diag([1.0, -1.0, -1.0])
    matrix[:3, 3] = _metres(place)
    return matrix


def _see(body: Posed, matrix: Array, rule: Rule) -> View:
    return see(body.vertices[0], body.joints[0], _camera(rule, matrix, *FULL))


def _camera(rule: Rule, matrix: Array, width: int, height: int) -> Camera:
    focal, centre = lens(rule, width, height)
    return Camera(
        model="pinhole",
        focal_length=focal,
        principal_point=centre,
        distortion=np.zeros(0),
        width=width,
        height=height,
        world_to_cam=matrix[None],
    )


def _occlusion(people: Sequence[Person], boards: Sequence[Mesh], rule: Rule) -> list[float]:
    """Per cent of each person that others and boards hide."""
    if not people:
        return []
    camera = _camera(rule, np.eye(4), FULL[0] // _COARSE, FULL[1] // _COARSE)
    views = [person.views["smplx"] for person in people]
    faces = people[0].scan.bodies["smplx"].faces
    return [100 * share for share in occlusion(views, faces, boards, camera)]
