"""Expression directions of the stand-in: named movements of lips, brows, lids and cheeks, and small fields.

A movement is a sum of soft pushes (Gaussians) measured from the middle of the mouth, the left eyeball or the
tip of the nose. Only the skin of the face takes part: never the eyeballs, ears, back of the head or neck.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from hmtools.bodies.standin.anatomy import PROPORTIONS, STATURE, joint_names
from hmtools.bodies.standin.face_shape import MOUTH_HEIGHT
from hmtools.bodies.standin.person import Person
from hmtools.bodies.standin.shapes import fields

__all__ = ["EXPRESSIONS", "Push", "expression_directions", "face_anchors", "face_share"]

_FACE_SEED = 40
_FIELD_AMPLITUDE_M = 0.0010
_LIP_EDGE_M = 0.0008  # how softly the upper lip passes into the lower one


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A soft push of the left half of the face (x >= 0), and what the right half does.

    Attributes:
        anchor: mouth, eye or nose.
        centre: (3,) metres from the anchor.
        width: (3,) sigma of the Gaussian, metres.
        move: (3,) metres at the centre.
        half: 1 only above the anchor's height, -1 only below it, 0 both.
        together: the right half moves the same way along x instead of the mirrored way.
    """

    anchor: str
    centre: tuple[float, float, float]
    width: tuple[float, float, float]
    move: tuple[float, float, float]
    half: int = 0
    together: bool = False


_LIPS = (0.016, 0.009, 0.020)
_UPPER_LIP = Push(anchor="mouth", centre=(0.0, 0.006, 0.0), width=_LIPS, move=(0.0, 0.0015, 0.0003), half=1)
_LOWER_LIP = Push(anchor="mouth", centre=(0.0, -0.006, 0.0), width=_LIPS, move=(0.0, -0.0024, 0.0), half=-1)
_CORNER = (0.024, 0.000, -0.006)
_WIDE = (0.012, 0.012, 0.018)

EXPRESSIONS: Mapping[str, tuple[Push, ...]] = MappingProxyType(
    {
        "lips apart": (_UPPER_LIP, _LOWER_LIP),
        "smile": (
            Push(anchor="mouth", centre=_CORNER, width=_WIDE, move=(0.0042, 0.0045, -0.0020)),
            Push(
                anchor="mouth",
                centre=(0.042, 0.026, -0.020),
                width=(0.014, 0.014, 0.02),
                move=(0.0, 0.0020, 0.002),
            ),
        ),
        "pucker": (
            Push(anchor="mouth", centre=_CORNER, width=(0.014, 0.010, 0.018), move=(-0.0060, 0.0, 0.0030)),
            Push(
                anchor="mouth", centre=(0.0, 0.0, 0.002), width=(0.012, 0.011, 0.018), move=(0.0, 0.0, 0.0050)
            ),
        ),
        "brows up": (
            Push(
                anchor="eye",
                centre=(0.001, 0.018, 0.008),
                width=(0.020, 0.008, 0.02),
                move=(0.0, 0.0050, 0.0),
            ),
        ),
        "frown": (
            Push(
                anchor="eye",
                centre=(-0.016, 0.016, 0.010),
                width=(0.010, 0.009, 0.02),
                move=(-0.0030, -0.0035, 0.0010),
            ),
        ),
        "lids down": (
            Push(
                anchor="eye",
                centre=(0.0, 0.006, 0.012),
                width=(0.012, 0.0045, 0.012),
                move=(0.0, -0.0035, 0.0012),
            ),
            Push(
                anchor="eye",
                centre=(0.0, -0.007, 0.011),
                width=(0.012, 0.0040, 0.012),
                move=(0.0, 0.0012, 0.0004),
            ),
        ),
        "cheeks out": (
            Push(
                anchor="mouth",
                centre=(0.042, 0.004, -0.022),
                width=(0.016, 0.016, 0.022),
                move=(0.0050, 0.0, 0.0040),
            ),
        ),
        "mouth to the left": (
            Push(
                anchor="mouth",
                centre=(0.0, 0.0, 0.0),
                width=(0.020, 0.014, 0.022),
                move=(0.0050, 0.0, 0.0),
                together=True,
            ),
        ),
        "lower lip out": (
            Push(
                anchor="mouth",
                centre=(0.0, -0.008, 0.0),
                width=(0.015, 0.008, 0.018),
                move=(0.0, 0.0, 0.0045),
                half=-1,
            ),
        ),
        "nose wrinkled": (
            Push(
                anchor="nose",
                centre=(0.013, -0.002, -0.016),
                width=(0.008, 0.009, 0.014),
                move=(0.0015, 0.0035, 0.0),
            ),
            Push(
                anchor="nose",
                centre=(0.0, 0.030, -0.012),
                width=(0.010, 0.010, 0.014),
                move=(0.0, -0.0015, 0.0008),
            ),
        ),
    }
)
"""The movements of expression 0 to 9, one unit each; the remaining directions are small smooth fields."""


def face_anchors(person: Person) -> dict[str, NDArray[np.float64]]:
    """Places that the face is measured from, of a neutral SMPL-X person.

    Returns:
        eye (centre of the left eyeball), nose (tip) and mouth (between the lips): (3,) metres each.
    """
    eye = person.joints[joint_names(person.family).index("left_eyeball")]
    nose = person.landmarks["nose"]
    height = eye[1] + MOUTH_HEIGHT - PROPORTIONS["eye_height"] * STATURE
    return {"eye": eye, "nose": nose, "mouth": np.array([0.0, height, nose[2] - 0.021])}


def _ramp(value: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t))


def face_share(person: Person) -> Float[np.ndarray, " vertices"]:
    """How much each vertex belongs to the face: 1 on its front, 0 on eyeballs, ears, skull and neck."""
    names = joint_names(person.family)
    at = face_anchors(person)
    skin = person.weights[:, names.index("head")] + person.weights[:, names.index("jaw")]
    x, y, z = person.vertices.T
    front = _ramp(z, at["eye"][2] - 0.075, at["eye"][2] - 0.045) * _ramp(0.072 - np.abs(x), 0.0, 0.006)
    tall = _ramp(y, at["mouth"][1] - 0.048, at["mouth"][1] - 0.038) * _ramp(
        -y, -at["eye"][1] - 0.050, -at["eye"][1] - 0.030
    )
    return np.asarray(_ramp(skin, 0.85, 0.995) * front * tall)


def _move(person: Person, push: Push) -> NDArray[np.float64]:
    anchor = face_anchors(person)[push.anchor]
    result = np.zeros_like(person.vertices)
    middle = push.centre[0] == 0.0 and push.anchor != "eye"
    for sign in (1.0,) if middle else (1.0, -1.0):
        mirror = np.array([sign, 1.0, 1.0])
        offset = (person.vertices - mirror * (anchor + push.centre)) / push.width
        strength = np.exp(-0.5 * np.sum(offset**2, axis=1))
        if push.half:
            height = push.half * (person.vertices[:, 1] - anchor[1])
            strength *= _ramp(height, -_LIP_EDGE_M, _LIP_EDGE_M)
        result += strength[:, None] * (np.array(push.move) if push.together else mirror * push.move)
    return result


def expression_directions(person: Person, count: int = 100) -> Float[np.ndarray, "vertices 3 count"]:
    """Every expression direction of a face.

    Args:
        person: the neutral SMPL-X person; its directions serve every gender, for the mesh is the same.
        count: 10 or more.

    Returns:
        (V, 3, count) metres per unit of expression.
    """
    share = face_share(person)[:, None, None]
    moves = np.stack([sum(_move(person, p) for p in pushes) for pushes in EXPRESSIONS.values()], axis=2)
    extra = fields(
        8.0 * person.vertices, count - len(EXPRESSIONS), seed=_FACE_SEED, amplitude=_FIELD_AMPLITUDE_M
    )
    return np.asarray(share * np.concatenate([moves, extra], axis=2))
