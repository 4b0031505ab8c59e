"""Shape directions of the stand-in person: what each of the betas does, as tables and two smooth operators.

**Stretch.** Every part of the body (a group of joints) is scaled about its own joint along the world axes of
the T-pose, its children move along with the joint they hang from, and skinning weights blend the parts. So a
bone that grows takes everything beyond it along, and joints and surface agree. **Bump.** A soft swelling of
one place, both sides alike. **Field.** A smooth wave over the whole body, for the many small directions.

Everything is symmetric about x = 0 and linear, so a direction times a number is the shape for that beta.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from hmtools.bodies.model import Family
from hmtools.bodies.standin.anatomy import joint_names
from hmtools.bodies.standin.person import Person

__all__ = ["DIRECTIONS", "GROUPS", "SMPL_MIXTURE", "Bump", "Direction", "displace", "shape_directions"]

_FINGERS = ("index", "middle", "pinky", "ring", "thumb")
GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "pelvis": ("pelvis",),
        "belly": ("spine_1", "spine_2"),
        "chest": ("spine_3",),
        "collar": ("collar",),
        "neck": ("neck",),
        "head": ("head", "jaw", "eyeball"),
        "upper_arm": ("shoulder",),
        "forearm": ("elbow",),
        "hand": ("wrist", "hand", *(f"{f}_{k}" for f in _FINGERS for k in (1, 2, 3))),
        "thigh": ("hip",),
        "shin": ("knee",),
        "foot": ("ankle", "foot"),
    }
)
"""Parts of the body that are scaled together: joint names without their side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bump:
    """A soft swelling on the left side (x >= 0) and its mirror image.

    Attributes:
        joint: joint, without side, that the centre is measured from.
        offset: (3,) metres from that joint to the centre, of the left side.
        radius: (3,) metres, width (sigma) of the Gaussian along x, y, z.
        push: (3,) metres at the centre, of the left side.
        parts: groups whose flesh takes part.
    """

    joint: str
    offset: tuple[float, float, float]
    radius: tuple[float, float, float]
    push: tuple[float, float, float]
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """What one unit of a beta does.

    Attributes:
        name: in plain words.
        stretch: group -> relative change of size along x, y, z.
        bumps: swellings on top.
    """

    name: str
    stretch: Mapping[str, tuple[float, float, float]]
    bumps: Sequence[Bump] = field(default_factory=tuple)


def _all(amount: float) -> dict[str, tuple[float, float, float]]:
    return dict.fromkeys(GROUPS, (amount, amount, amount))


_TRUNK = ("pelvis", "belly", "chest")
BELLY = Bump(
    joint="spine_1",
    offset=(0.0, -0.01, 0.115),
    radius=(0.09, 0.09, 0.08),
    push=(0.0, 0.0, 0.009),
    parts=_TRUNK,
)
_SEAT = Bump(
    joint="pelvis",
    offset=(0.075, -0.07, -0.11),
    radius=(0.06, 0.07, 0.07),
    push=(0.0, 0.0, -0.009),
    parts=("pelvis", "thigh", "belly"),
)
_CALF = Bump(
    joint="knee",
    offset=(0.005, -0.13, -0.05),
    radius=(0.05, 0.07, 0.04),
    push=(0.0, 0.0, -0.006),
    parts=("shin",),
)

DIRECTIONS: tuple[Direction, ...] = (
    Direction(name="height", stretch=_all(0.0294)),
    Direction(
        name="girth",
        stretch={
            **{"pelvis": (0.055, 0.0, 0.060), "belly": (0.065, 0.0, 0.065), "chest": (0.045, 0.0, 0.055)},
            **{"neck": (0.035, 0.0, 0.035), "head": (0.008, 0.0, 0.006), "collar": (0.0, 0.020, 0.030)},
            **{"upper_arm": (0.0, 0.055, 0.055), "forearm": (0.0, 0.035, 0.035), "hand": (0.0, 0.015, 0.010)},
            **{"thigh": (0.060, 0.0, 0.060), "shin": (0.045, 0.0, 0.045), "foot": (0.015, 0.0, 0.005)},
        },
        bumps=(BELLY,),
    ),
    Direction(
        name="limb length against trunk",
        stretch={
            **{"thigh": (0.0, 0.030, 0.0), "shin": (0.0, 0.030, 0.0)},
            **{"upper_arm": (0.030, 0.0, 0.0), "forearm": (0.030, 0.0, 0.0), "hand": (0.015, 0.0, 0.0)},
            **{"pelvis": (0.0, -0.030, 0.0), "belly": (0.0, -0.040, 0.0), "chest": (0.0, -0.040, 0.0)},
        },
    ),
    Direction(
        name="shoulder breadth",
        stretch={"collar": (0.055, 0.0, 0.0), "chest": (0.045, 0.0, 0.010), "belly": (0.015, 0.0, 0.0)},
    ),
    Direction(
        name="hip breadth",
        stretch={"pelvis": (0.050, 0.0, 0.015), "belly": (0.018, 0.0, 0.0), "thigh": (0.025, 0.0, 0.012)},
    ),
    Direction(
        name="chest against belly",
        stretch={"chest": (0.015, 0.0, 0.035), "belly": (-0.015, 0.0, -0.010)},
        bumps=(
            Bump(
                joint="spine_3",
                offset=(0.07, 0.03, 0.10),
                radius=(0.06, 0.06, 0.07),
                push=(0.0, 0.0, 0.007),
                parts=("belly", "chest"),
            ),
            Bump(
                joint="spine_1",
                offset=(0.0, -0.02, 0.115),
                radius=(0.08, 0.08, 0.08),
                push=(0.0, 0.0, -0.007),
                parts=_TRUNK,
            ),
        ),
    ),
    Direction(
        name="arm length",
        stretch={"upper_arm": (0.032, 0.0, 0.0), "forearm": (0.036, 0.0, 0.0), "hand": (0.015, 0.0, 0.0)},
    ),
    Direction(
        name="leg girth",
        stretch={"thigh": (0.045, 0.0, 0.045), "shin": (0.045, 0.0, 0.045), "foot": (0.01, 0.0, 0.0)},
    ),
    Direction(name="head size", stretch={"head": (0.028, 0.028, 0.028), "neck": (0.010, 0.0, 0.010)}),
    Direction(
        name="neck and foot size", stretch={"neck": (0.045, 0.0, 0.045), "foot": (0.025, 0.010, 0.035)}
    ),
    Direction(name="hand size", stretch={"hand": (0.035, 0.035, 0.035)}),
    Direction(name="seat", stretch={"pelvis": (0.0, 0.0, 0.010)}, bumps=(_SEAT,)),
    Direction(name="arm girth", stretch={"upper_arm": (0.0, 0.045, 0.045), "forearm": (0.0, 0.030, 0.030)}),
    Direction(name="trunk depth", stretch={"belly": (0.0, 0.0, 0.035), "chest": (0.0, 0.0, 0.030)}),
    Direction(
        name="neck length against shin", stretch={"neck": (0.0, 0.060, 0.0), "shin": (0.0, -0.015, 0.0)}
    ),
    Direction(name="calf", stretch={"shin": (0.010, 0.0, 0.0)}, bumps=(_CALF,)),
)
"""The directions with a meaning, in the order of SMPL-X's betas 0 to 15."""

SMPL_MIXTURE: tuple[Mapping[int, float], ...] = (
    *({0: 1.0, 1: 0.15}, {1: 1.0, 0: -0.15}, {3: 0.9, 4: 0.4}, {2: 1.0}, {5: 1.0}, {4: 0.9, 3: -0.4}),
    *({7: 1.0}, {6: 1.0, 12: 0.3}, {9: 1.0}, {8: 1.0}),
    *({k: 1.0} for k in range(10, 16)),
)
"""SMPL's (and SMPL-H's) beta k as parts of :data:`DIRECTIONS`: another order and other mixtures on purpose,
for in the real models, too, the numbers of one family mean something else in the other."""

_FIELD_SEED = 20
_FIELD_AMPLITUDE_M = 0.0020  # greatest shift of the first small direction; later ones are weaker and finer
_FIELD_DECAY = 0.45


def joint_groups(family: Family) -> list[str]:
    """Group of :data:`GROUPS` that each joint of a family belongs to, in joint order."""
    group_of = {joint: group for group, joints in GROUPS.items() for joint in joints}
    return [group_of[name.removeprefix("left_").removeprefix("right_")] for name in joint_names(family)]


def displace(
    person: Person, direction: Direction
) -> tuple[Float[np.ndarray, "vertices 3"], Float[np.ndarray, "joints 3"]]:
    """Shift of surface and skeleton for one unit of a direction.

    Args:
        person: the rest-pose person; height and depth of the pelvis stay.
        direction: what to change.

    Returns:
        (V, 3) and (J, 3) metres.
    """
    scale = np.array([direction.stretch.get(g, (0.0, 0.0, 0.0)) for g in joint_groups(person.family)])
    shift = np.zeros_like(person.joints)
    shift[0, 0] = scale[0, 0] * person.joints[0, 0]  # the pelvis lies beside the plane of symmetry
    for joint, parent in enumerate(person.parents):
        if parent >= 0:
            shift[joint] = shift[parent] + scale[parent] * (person.joints[joint] - person.joints[parent])
    # sum_j w_j (shift_j + scale_j * (v - joint_j)), with the part that does not depend on v taken together
    moved = person.weights @ (shift - scale * person.joints) + (person.weights @ scale) * person.vertices
    for bump in direction.bumps:
        moved += _swell(person, bump)
    return moved, shift


def _swell(person: Person, bump: Bump) -> NDArray[np.float64]:
    names = joint_names(person.family)
    groups = joint_groups(person.family)
    takes_part = person.weights @ np.array([float(g in bump.parts) for g in groups])
    result = np.zeros_like(person.vertices)
    for side, sign in (("left_", 1.0), ("right_", -1.0)):
        mirror = np.array([sign, 1.0, 1.0])
        joint = bump.joint if bump.joint in names else side + bump.joint
        centre = person.joints[names.index(joint)] * (
            [0.0, 1.0, 1.0] if bump.joint in names else [1.0, 1.0, 1.0]
        )
        offset = (person.vertices - centre - mirror * bump.offset) / bump.radius
        strength = np.exp(-0.5 * np.sum(offset**2, axis=1)) * takes_part
        share = 0.5 if bump.offset[0] == 0.0 and bump.joint in names else 1.0  # both sides are the same place
        result += share * strength[:, None] * (mirror * bump.push)
    return result


def fields(
    points: Float[np.ndarray, "points 3"], count: int, *, seed: int, amplitude: float
) -> Float[np.ndarray, "points 3 count"]:
    """Smooth waves over space, symmetric about x = 0: first long and strong ones, last short and weak ones.

    Args:
        points: where to evaluate them, metres.
        count: how many.
        seed: of the waves' directions and phases.
        amplitude: greatest shift of the first field, metres; field k has (1 + k / 16) ** -0.45 of it.

    Returns:
        (P, 3, count) metres; no field is zero.
    """
    rng = np.random.default_rng(seed)
    result = np.empty((len(points), 3, count))
    for k in range(count):
        wave = rng.uniform(-1.0, 1.0, (3, 3))  # one wave for each coordinate of the shift
        length = 0.9 - 0.6 * k / max(count - 1, 1)
        wave *= 2 * np.pi / length / np.linalg.norm(wave, axis=1, keepdims=True)
        phase = rng.uniform(0.0, 2 * np.pi, 3)
        # cos(ax + b) + cos(-ax + b) is even in x, their difference odd: what symmetry asks of y, z and of x
        along_x = points[:, :1] * wave[:, 0]
        rest = points[:, 1:] @ wave[:, 1:].T + phase
        result[:, 0, k] = -np.sin(along_x[:, 0]) * np.sin(rest[:, 0])
        result[:, 1:, k] = np.cos(along_x[:, 1:]) * np.cos(rest[:, 1:])
        peak = np.linalg.norm(result[:, :, k], axis=1).max()
        result[:, :, k] *= amplitude * (1 + k / 16) ** -_FIELD_DECAY / peak
    return result


def shape_directions(person: Person, count: int) -> Float[np.ndarray, "vertices 3 count"]:
    """Every shape direction of a person's family.

    Args:
        person: the rest-pose person, of any gender.
        count: number of betas, 10 or more.

    Returns:
        (V, 3, count) metres per unit of beta. SMPL-X has :data:`DIRECTIONS` and then small fields; SMPL and
        SMPL-H have them in the order and mixtures of :data:`SMPL_MIXTURE`.
    """
    meant = np.stack([displace(person, direction)[0] for direction in DIRECTIONS], axis=2)
    if person.family != "smplx":
        meant = np.stack([sum(f * meant[:, :, k] for k, f in row.items()) for row in SMPL_MIXTURE], axis=2)
    small = max(count - len(DIRECTIONS), 0)
    extra = fields(person.vertices, small, seed=_FIELD_SEED, amplitude=_FIELD_AMPLITUDE_M)
    return np.concatenate([meant[:, :, :count], extra], axis=2)
