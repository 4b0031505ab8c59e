"""Which vertices are hands, head and the rest: the index files that evaluations cut the mesh with."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from hmtools.bodies.standin.anatomy import origin_shift
from hmtools.bodies.standin.person import Person
from hmtools.humandata.conventions import SMPLX_VERTEX_IDS

__all__ = ["BODY_COUNT", "HAND_COUNT", "HEAD_COUNT", "body_vertex_ids", "hand_vertex_ids", "head_vertex_ids"]

HAND_COUNT = 778
"""Vertices of a MANO hand."""

HEAD_COUNT = 5023
"""Vertices of FLAME's head, eyeballs included."""

BODY_COUNT = 4010
"""Indices in each of AGORA's body_verts files."""

_MANO_TIPS = {"thumb": 744, "index": 320, "middle": 443, "ring": 554, "pinky": 671}
"""Vertex of MANO's own mesh at each finger tip (smplx: vertex_ids.py)."""

_COLLAR_RISE = 0.24  # the border between head and body rises from the nape to the chin, metres per metre
_COLLAR_DEPTH_M = 0.06


def _height(person: Person) -> NDArray[np.float64]:
    """Height above the slanted border between body and head, up to a constant."""
    _, y, z = (person.vertices - origin_shift(person.family)).T
    return np.asarray(y - _COLLAR_RISE * np.clip(z, -_COLLAR_DEPTH_M, _COLLAR_DEPTH_M))


def _last(order: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Indices of the ``count`` greatest values, rising."""
    return np.sort(np.argsort(order, kind="stable")[len(order) - count :])


def hand_vertex_ids(person: Person) -> dict[str, Int[np.ndarray, 778]]:
    """Vertices of each hand, the ones furthest out in the T-pose.

    Args:
        person: the neutral SMPL-X person.

    Returns:
        left_hand and right_hand; finger tips stand where MANO has them, the others rise.
    """
    result = {}
    for side, sign in (("left", 1.0), ("right", -1.0)):
        tips = {_MANO_TIPS[finger]: SMPLX_VERTEX_IDS[f"{side}_{finger}"] for finger in _MANO_TIPS}
        ids = _last(sign * person.vertices[:, 0], HAND_COUNT)
        others = iter(ids[~np.isin(ids, list(tips.values()))].tolist())
        result[f"{side}_hand"] = np.array([tips[k] if k in tips else next(others) for k in range(HAND_COUNT)])
    return result


def head_vertex_ids(person: Person) -> Int[np.ndarray, 5023]:
    """Vertices of the head with its eyeballs: the highest ones, rising.

    Args:
        person: the neutral SMPL-X person.
    """
    return _last(_height(person), HEAD_COUNT)


def body_vertex_ids(person: Person) -> Int[np.ndarray, 4010]:
    """Vertices that AGORA's body errors are averaged over: neither hands nor head, rising.

    The published lists are not described anywhere; taken here are the vertices below the neck that are no
    hand, and then, to make up the number, the lowest ones of the neck.

    Args:
        person: the neutral person, of any family.
    """
    height = _height(person)
    hands = [_last(sign * person.vertices[:, 0], HAND_COUNT) for sign in (1.0, -1.0)]
    height[np.concatenate(hands)] = np.inf
    return _last(-height, BODY_COUNT)
