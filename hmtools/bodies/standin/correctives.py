"""Pose correctives of the stand-in: what linear blend skinning loses at a bent joint is put back, locally.

Skinning mixes the identity (share 1 - w) and a rotation by t about an axis (share w): the flesh comes closer
to the joint by the factor sqrt(1 - 2 w (1 - w) (1 - cos t)), across the axis. The opposite shift, to first
order, is ``k w (1 - w) (1 - cos t)`` times the offset from the joint across the axis. Now
``(R + R^T) / 2 - I`` is exactly ``cos t - 1`` across the axis and zero along it: the corrective is linear in
the entries of ``R - I``, for every axis at once, as the file format asks. Muscles swell with ``1 - cos t``,
which is ``-trace(R - I) / 2``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from hmtools.bodies.standin.anatomy import joint_names
from hmtools.bodies.standin.person import Person

__all__ = ["corrective_directions", "share_beyond"]

_GAIN = 1.4
"""k: 1.24 is exact at 60 degrees, 1.66 at 90; between, for bends are seldom as deep as limit poses."""

_REACH_M: Mapping[str, float] = MappingProxyType(
    {
        **{"hip": 0.060, "shoulder": 0.050, "collar": 0.040, "knee": 0.050, "elbow": 0.045, "ankle": 0.040},
        **{
            "wrist": 0.030,
            "neck": 0.040,
            "head": 0.030,
            "spine_1": 0.040,
            "spine_2": 0.040,
            "spine_3": 0.040,
        },
        **{"foot": 0.025, "hand": 0.012},
    }
)
"""Offsets from a joint count at most so many metres: what lies further off is another muscle's business."""

_FINGER_REACH_M = 0.010
_STILL = ("jaw", "eyeball")
"""Skin slides over these two joints; it does not fold."""

# joint -> (centre from it, width, push), all of the left side, metres: biceps, hamstrings and calf.
_BULGES: Mapping[str, tuple[tuple[tuple[float, float, float], ...], ...]] = MappingProxyType(
    {
        "elbow": (((-0.14, 0.005, 0.035), (0.045, 0.04, 0.035), (0.0, 0.001, 0.004)),),
        "knee": (
            ((0.0, -0.12, -0.05), (0.045, 0.05, 0.035), (0.0, 0.0, -0.003)),
            ((0.0, 0.20, -0.07), (0.05, 0.07, 0.04), (0.0, 0.0, -0.004)),
        ),
    }
)
_FAINT = 0.02
"""Weight products and swellings below this share of their peak are cut to zero: correctives stay local."""


def share_beyond(person: Person) -> Float[np.ndarray, "vertices joints"]:
    """Share of each vertex's skinning that turns with a joint: the weights of it and all joints beyond it."""
    share = person.weights.copy()
    for joint in range(len(person.parents) - 1, 0, -1):
        share[:, person.parents[joint]] += share[:, joint]
    return share


def _bulge(person: Person, name: str, joint: int) -> NDArray[np.float64]:
    plain = name.removeprefix("left_").removeprefix("right_")
    mirror = np.array([-1.0 if name.startswith("right_") else 1.0, 1.0, 1.0])
    near = np.maximum(2.0 * (person.weights[:, joint] + person.weights[:, person.parents[joint]]) - 1.0, 0.0)
    result = np.zeros_like(person.vertices)
    for centre, width, push in _BULGES.get(plain, ()):
        offset = (person.vertices - person.joints[joint] - mirror * centre) / width
        strength = np.maximum(np.exp(-0.5 * np.sum(offset**2, axis=1)) - _FAINT, 0.0) * near
        result += strength[:, None] * (mirror * push)
    return result


def _reach(name: str) -> float:
    plain = name.removeprefix("left_").removeprefix("right_")
    return _REACH_M.get(plain, _FINGER_REACH_M)


def corrective_directions(person: Person) -> Float[np.ndarray, "vertices 3 entries"]:
    """Every pose corrective of a person.

    Args:
        person: the rest-pose person.

    Returns:
        (V, 3, 9 (J - 1)) metres per entry of (R - I), joints 1 to J - 1, R row by row.
    """
    share = share_beyond(person)
    names = joint_names(person.family)
    eye = np.eye(3)
    result = np.zeros((len(person.vertices), 3, len(names) - 1, 3, 3))
    for joint, name in enumerate(names):
        if joint == 0 or name.endswith(_STILL):
            continue
        mixed = share[:, joint] * (1.0 - share[:, joint])
        rows = np.flatnonzero(mixed > 0.25 * _FAINT)
        strength = _GAIN * (mixed[rows] - 0.25 * _FAINT)
        offset = person.vertices[rows] - person.joints[joint]
        length = np.linalg.norm(offset, axis=1, keepdims=True)
        offset *= _reach(name) / np.maximum(length, _reach(name))
        # -strength ((R + R^T) / 2 - I) offset, spelled out per entry (p, q) of R - I
        pair = np.einsum("ap,vq->vapq", eye, offset)
        result[rows, :, joint - 1] = -0.5 * strength[:, None, None, None] * (pair + pair.swapaxes(2, 3))
        swelling = _bulge(person, name, joint)
        for k in range(3):
            result[:, :, joint - 1, k, k] -= 0.5 * swelling
    return result.reshape(len(person.vertices), 3, -1)
