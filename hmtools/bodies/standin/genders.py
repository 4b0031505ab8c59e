"""Male, female and child: the neutral person stretched and swollen as the shape directions are, but further.

Mesh, skinning and landmarks stay the same vertex by vertex; only places change.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import Float

from hmtools.bodies.model import Gender
from hmtools.bodies.standin.person import Person
from hmtools.bodies.standin.shapes import GROUPS, Bump, Direction, displace

__all__ = ["CHILD_STATURE_M", "STATURES_M", "child", "gendered", "stature"]

STATURES_M: Mapping[Gender, float] = MappingProxyType({"male": 1.77, "female": 1.64})
"""Sole to crown of the gendered templates, metres."""

CHILD_STATURE_M = 1.05
"""Sole to crown of the child, metres: about four years old."""

_TRUNK = ("pelvis", "belly", "chest")

_MALE = Direction(
    name="male",
    stretch={
        **{"collar": (0.040, 0.0, 0.0), "chest": (0.040, 0.0, 0.030), "belly": (0.030, 0.0, 0.0)},
        **{"pelvis": (-0.030, 0.0, -0.020), "thigh": (-0.010, 0.0, 0.0), "neck": (0.060, 0.0, 0.060)},
        **{"upper_arm": (0.0, 0.050, 0.050), "forearm": (0.0, 0.050, 0.050), "hand": (0.015, 0.015, 0.030)},
        **{"foot": (0.020, 0.0, 0.020), "shin": (0.010, 0.0, 0.010)},
    },
    bumps=(
        Bump(
            joint="spine_3",
            offset=(0.075, 0.060, 0.10),
            radius=(0.060, 0.045, 0.07),
            push=(0.0, 0.0, 0.006),
            parts=("belly", "chest", "collar"),
        ),
    ),
)
_FEMALE = Direction(
    name="female",
    stretch={
        **{"collar": (-0.040, 0.0, 0.0), "chest": (-0.035, 0.0, -0.030), "belly": (-0.045, 0.0, -0.035)},
        **{"pelvis": (0.055, 0.0, 0.020), "thigh": (0.035, 0.0, 0.030), "neck": (-0.090, 0.0, -0.090)},
        **{
            "upper_arm": (0.0, -0.060, -0.060),
            "forearm": (0.0, -0.070, -0.070),
            "hand": (-0.02, -0.03, -0.04),
        },
        **{"foot": (-0.040, 0.0, -0.020), "head": (-0.010, 0.0, 0.0)},
    },
    bumps=(
        Bump(
            joint="spine_3",
            offset=(0.078, 0.012, 0.095),
            radius=(0.042, 0.040, 0.060),
            push=(0.004, -0.004, 0.026),
            parts=("belly", "chest"),
        ),
        Bump(
            joint="pelvis",
            offset=(0.075, -0.070, -0.110),
            radius=(0.060, 0.070, 0.070),
            push=(0.0, 0.0, -0.010),
            parts=("pelvis", "thigh", "belly"),
        ),
    ),
)

# Sizes against the adult's; a uniform factor then makes the stature exact.
_CHILD_SIZE: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {
        **dict.fromkeys(GROUPS, (0.62, 0.62, 0.62)),
        **{"head": (0.90, 0.86, 0.89), "neck": (0.66, 0.62, 0.66), "pelvis": (0.63, 0.66, 0.70)},
        **{"belly": (0.68, 0.66, 0.72), "chest": (0.64, 0.64, 0.66), "collar": (0.60, 0.64, 0.64)},
        **{"thigh": (0.62, 0.555, 0.62), "shin": (0.60, 0.545, 0.60), "foot": (0.62, 0.60, 0.60)},
        **{"upper_arm": (0.575, 0.61, 0.61), "forearm": (0.575, 0.66, 0.66)},
    }
)
_CHILD = Direction(
    name="child",
    stretch={group: (x - 1.0, y - 1.0, z - 1.0) for group, (x, y, z) in _CHILD_SIZE.items()},
    bumps=(
        Bump(
            joint="spine_1",
            offset=(0.0, 0.0, 0.10),
            radius=(0.08, 0.08, 0.08),
            push=(0.0, 0.0, 0.008),
            parts=_TRUNK,
        ),
    ),
)


def stature(vertices: Float[np.ndarray, "vertices 3"]) -> float:
    """Height from sole to crown in the T-pose, metres."""
    return float(np.ptp(vertices[:, 1]))


def _changed(person: Person, direction: Direction, height: float) -> Person:
    moved, shift = displace(person, direction)
    vertices, joints = person.vertices + moved, person.joints + shift
    factor, pelvis = height / stature(vertices), person.joints[0] * [0.0, 1.0, 1.0]
    nearest = {
        name: int(np.argmin(np.linalg.norm(person.vertices - place, axis=1)))
        for name, place in person.landmarks.items()
    }
    marks = {name: person.landmarks[name] + moved[vertex] for name, vertex in nearest.items()}
    return dataclasses.replace(
        person,
        vertices=pelvis + factor * (vertices - pelvis),
        joints=pelvis + factor * (joints - pelvis),
        landmarks={name: pelvis + factor * (place - pelvis) for name, place in marks.items()},
    )


def gendered(person: Person, gender: Gender) -> Person:
    """The person of a gender: same mesh and skinning, other places.

    Args:
        person: the neutral person.
        gender: neutral returns it as it is.

    Returns:
        The person, of the height in :data:`STATURES_M`.
    """
    if gender == "neutral":
        return person
    return _changed(person, _MALE if gender == "male" else _FEMALE, STATURES_M[gender])


def child(person: Person) -> Person:
    """A child of about four years: large head, round belly, short legs.

    Args:
        person: the neutral adult.

    Returns:
        The child, :data:`CHILD_STATURE_M` tall; its vertices are the kid template.
    """
    return _changed(person, _CHILD, CHILD_STATURE_M)
