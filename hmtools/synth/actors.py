"""People of the synthetic world: stand-in bodies that move smoothly within the limits of their joints.

Every angle of every joint swings on a sine of its own about the middle of its range, so a pose never leaves
the range and its motion has no corners. Bodies are posed by the layers in float64; where they are seen is the
business of :mod:`hmtools.synth.cameras`, which moves *vertices*. Parameters are written as they stand here,
in the frame of the world: a converter that moves parameters into a camera is proven against moved vertices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from hmtools.core.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hmtools.bodies.mixed import BodyLayers
    from hmtools.bodies.model import Family, Gender

    Array = NDArray[np.float64]
    Ranges = Sequence[tuple[float, float]]

__all__ = ["UP_AXES", "Actor", "Posed", "make_actors", "pose_actor", "pose_actors"]

_LIMITS: Mapping[str, tuple[tuple[float, float], ...]] = {
    "hip": ((-1.3, 0.3), (-0.3, 0.3), (-0.15, 0.5)),
    "spine": ((-0.05, 0.2), (-0.15, 0.15), (-0.1, 0.1)),
    "knee": ((0.0, 1.6), (0.0, 0.0), (0.0, 0.0)),
    "ankle": ((-0.4, 0.4), (-0.15, 0.15), (-0.15, 0.15)),
    "foot": ((-0.2, 0.2), (0.0, 0.0), (0.0, 0.0)),
    "neck": ((-0.2, 0.25), (-0.35, 0.35), (-0.15, 0.15)),
    "head": ((-0.2, 0.25), (-0.35, 0.35), (-0.15, 0.15)),
    "collar": ((-0.05, 0.05), (-0.15, 0.1), (-0.1, 0.15)),
    "shoulder": ((-0.4, 0.4), (-0.9, 0.3), (-1.35, 0.5)),
    "elbow": ((-0.3, 0.3), (-1.9, -0.05), (0.0, 0.0)),
    "wrist": ((-0.3, 0.3), (-0.3, 0.3), (-0.5, 0.5)),
}
"""Joint of the left side -> range about x, y and z, radians, at the T-pose (x left, y up, z forward). Legs
bend forward with negative x, knees with positive x, arms come down with negative z and forward with negative
y."""

_BODY = (
    *("left_hip", "right_hip", "spine", "left_knee", "right_knee", "spine", "left_ankle", "right_ankle"),
    *("spine", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder"),
    *("right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
)

_TURN = (-0.1, 0.1), (-0.6, 0.6), (-0.05, 0.05)
_STEP = (-0.1, 0.1), (-0.03, 0.03), (-0.25, 0.25)
_JAW = (0.0, 0.25), (-0.03, 0.03), (0.0, 0.0)
_LOOK = (-0.2, 0.2), (-0.3, 0.3), (0.0, 0.0)
_CURL = ((0.1, 0.9),) * 5
_MESHES_AT_ONCE, _JOINTS_AT_ONCE = 16, 256

UP_AXES: Mapping[str, Array] = {
    "+y": np.eye(3),
    "+z": Rotation.from_euler("x", 90, degrees=True).as_matrix(),
    "-y": Rotation.from_euler("x", 180, degrees=True).as_matrix(),
}
"""Up axis of a world -> rotation into it of a body that stands y up, facing +z (``-y``: an OpenCV camera)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Actor:
    """One person over T frames, in the world; metres, radians, hands absolute.

    Attributes:
        family: smplx, smplh or smpl.
        gender: of the model that the numbers belong to.
        betas: (10,).
        pose: part of the pose (``global_orient``, ``body_pose``, ...) -> (T, 3 k) axis-angle.
        expression: (T, 10); zeros without a face.
        transl: (T, 3).
        kid: weight of the kid template.
    """

    family: Family
    gender: Gender
    betas: Array
    pose: Mapping[str, Array]
    expression: Array
    transl: Array
    kid: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Posed:
    """Surface and joints of an actor in the world, metres.

    Attributes:
        vertices: (T, V, 3) float64; V is 0 when only joints were asked for.
        joints: (T, K, 3) float64, the family's own joints (smplx_144, smpl_45, smplh_73).
        faces: (F, 3) int64.
    """

    vertices: Array
    joints: Array
    faces: NDArray[np.int64]


def make_actors(
    rng: np.random.Generator,
    people: int,
    frames: int,
    *,
    family: Family = "smplx",
    genders: Sequence[Gender] = ("neutral",),
    up: str = "+y",
    fps: float = 30.0,
    spacing: float = 1.1,
) -> list[Actor]:
    """People side by side who move in place and turn a little.

    Args:
        rng: source of everything.
        people: how many, 0 or more.
        frames: how many frames each, 1 or more.
        family: body family.
        genders: taken in turn.
        up: up axis of the world, a key of :data:`UP_AXES`.
        fps: frames per second, which says how far a motion gets from one frame to the next.
        spacing: metres between neighbours.

    Raises:
        UsageError: for an unknown up axis, or numbers that no world has; the message lists every fault.
    """
    wrong = []
    if up not in UP_AXES:
        wrong.append(f"up axis: expected one of {', '.join(UP_AXES)}, found {up!r}")
    if people < 0 or frames < 1:
        wrong.append(f"expected 0 or more people over 1 or more frames, found {people} over {frames}")
    if not fps > 0:
        wrong.append(f"fps: expected more than 0, found {fps}")
    if not genders:
        wrong.append("genders: expected at least one")
    if wrong:
        raise UsageError("; ".join(wrong))
    seconds = np.arange(frames) / fps
    stand = UP_AXES[up]
    actors = []
    for number in range(people):
        side = (number - (people - 1) / 2) * spacing
        actors.append(_actor(rng, seconds, stand, side, family, genders[number % len(genders)]))
    return actors


def _actor(
    rng: np.random.Generator, seconds: Array, stand: Array, side: float, family: Family, gender: Gender
) -> Actor:
    from hmtools.bodies.params import POSE_PARTS

    parts, motion = POSE_PARTS[family], _motion(family)
    wave = np.split(_swing(rng, seconds, motion.ranges), motion.cuts, axis=1)
    turn, step, body, jaw, look, left, right, expression = wave
    found = {
        "global_orient": Rotation.from_matrix(stand @ Rotation.from_rotvec(turn).as_matrix()).as_rotvec(),
        "body_pose": np.pad(body, ((0, 0), (0, 3 * parts["body_pose"] - body.shape[1]))),
        "jaw_pose": jaw,
        "leye_pose": look,
        "reye_pose": look.copy(),
        "left_hand_pose": _hand(left, -1),
        "right_hand_pose": _hand(right, 1),
    }
    return Actor(
        family=family,
        gender=gender,
        betas=np.clip(rng.normal(0, 1, 10), -2, 2),
        pose={name: found[name] for name in parts},
        expression=expression * (family == "smplx"),
        transl=(np.array([side, 0.0, 0.0]) + step) @ stand.T,
    )


class _Motion(NamedTuple):
    """Every range of a body, and where one part of it ends and the next begins."""

    ranges: Array  # (N, 2)
    cuts: list[int]


@cache
def _motion(family: Family) -> _Motion:
    # Families differ in which parts they keep, not in what is drawn: the same seed moves them alike.
    body = [limit for joint in _BODY for limit in _limits(joint)]
    expression = ((-1.0, 1.0),) * 10
    groups: Sequence[Ranges] = (_TURN, _STEP, body, _JAW, _LOOK, _CURL, _CURL, expression)
    ends = np.cumsum([len(group) for group in groups])
    return _Motion(np.concatenate([np.array(group) for group in groups]), ends[:-1].tolist())


def _swing(rng: np.random.Generator, seconds: Array, ranges: Array) -> Array:
    """(T, N) values that stay inside their ranges (N, 2): a sine each, 0.2 to 0.6 per second."""
    low, high = ranges.T
    reach = rng.uniform(0.4, 1.0, len(ranges))
    speed, phase = rng.uniform(0.2, 0.6, len(ranges)), rng.uniform(0, 2 * np.pi, len(ranges))
    wave: Array = reach * np.sin(2 * np.pi * speed * seconds[:, None] + phase)
    found: Array = (low + high) / 2 + (high - low) / 2 * wave
    return found


def _limits(joint: str) -> Ranges:
    ranges = _LIMITS[joint.rpartition("_")[2]]
    if not joint.startswith("right_"):
        return ranges
    x, y, z = ranges  # a mirrored rotation vector has y and z negated
    return (x, (-y[1], -y[0]), (-z[1], -z[0]))


def _hand(curl: Array, side: int) -> Array:
    """(T, 45) of (T, 5): fingers curl towards the palm, each as far as it likes; ``side`` is -1 for left."""
    curl = np.repeat(curl, 3, axis=1)
    pose = np.zeros((len(curl), 15, 3))
    pose[:, :12, 2] = side * curl[:, :12]
    pose[:, 12:, 1] = side * 0.4 * curl[:, 12:]
    return pose.reshape(len(curl), 45)


@lru_cache(maxsize=4)
def _layers(family: Family, root: Path) -> BodyLayers:
    import torch

    from hmtools.bodies.mixed import BodyLayers

    return BodyLayers(family, roots=(root,), dtype=torch.float64)


def pose_actor(actor: Actor, *, vertices: bool = True, root: Path | None = None) -> Posed:
    """Pose an actor in every frame: :func:`pose_actors` of one."""
    return pose_actors([actor], vertices=vertices, root=root)[0]


def pose_actors(actors: Sequence[Actor], *, vertices: bool = True, root: Path | None = None) -> list[Posed]:
    """Pose actors in every frame of theirs, in batches.

    The same actors in the same order give the same bits, whatever the number of cores.

    Args:
        actors: people of one family.
        vertices: whether the meshes are wanted; joints alone take a twentieth of the time.
        root: folder of the body models; the stand-in by default.

    Returns:
        One result per actor.

    Raises:
        UsageError: if the families differ.
    """
    import torch

    from hmtools.bodies.assets import standin_dir
    from hmtools.bodies.one_thread import one_thread
    from hmtools.bodies.params import BodyParams

    if not actors:
        return []
    if len(families := {actor.family for actor in actors}) > 1:
        raise UsageError(f"people of one family are posed together, found {', '.join(sorted(families))}")
    layers = _layers(actors[0].family, root or standin_dir())
    lengths = [len(actor.transl) for actor in actors]
    genders = [actor.gender for actor, length in zip(actors, lengths, strict=True) for _ in range(length)]
    params = BodyParams.of(_together(actors, lengths), dtype=torch.float64)
    size = _MESHES_AT_ONCE if vertices else _JOINTS_AT_ONCE
    found: dict[str, list[Array]] = {"vertices": [], "joints": []}
    with torch.inference_mode(), one_thread():
        for start in range(0, len(genders), size):
            rows = range(start, min(start + size, len(genders)))
            output = layers(params.select(rows), [genders[row] for row in rows], vertices=vertices)
            found["joints"].append(output.joints.numpy())
            mesh: Any = output.vertices
            found["vertices"].append(mesh.numpy() if vertices else np.zeros((len(rows), 0, 3)))
    ends = np.cumsum(lengths)[:-1]
    split = {name: np.split(np.concatenate(parts), ends) for name, parts in found.items()}
    faces = [layers.layer(actor.gender).model.faces for actor in actors]
    each = zip(split["vertices"], split["joints"], faces, strict=True)
    return [Posed(vertices=v, joints=j, faces=f) for v, j, f in each]


def _together(actors: Sequence[Actor], lengths: Sequence[int]) -> dict[str, Any]:
    """Parameters of all frames of all actors in one batch; a part that an actor lacks is at rest."""
    from hmtools.bodies.params import POSE_PARTS

    family = actors[0].family
    parts = POSE_PARTS[family].items()
    most = max(len(actor.betas) for actor in actors)
    rows = list(zip(actors, lengths, strict=True))

    def joined(each: Iterable[Array]) -> Array:
        found: Array = np.concatenate(list(each))
        return found

    values: dict[str, Any] = {
        name: joined(a.pose.get(name, np.zeros((n, 3 * k))) for a, n in rows) for name, k in parts
    }
    values["transl"] = joined(a.transl for a in actors)
    values["betas"] = joined(np.tile(np.pad(a.betas, (0, most - len(a.betas))), (n, 1)) for a, n in rows)
    if family == "smplx":
        values["expression"] = joined(a.expression for a in actors)
    if any(a.kid for a in actors):
        values["kid"] = joined(np.full(n, a.kid) for a, n in rows)
    return values
