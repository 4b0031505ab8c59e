"""Keypoint conventions: find one, map one to another by name, mirror, draw, cut into parts.

    >>> import numpy as np
    >>> from hmtools.humandata.keypoints import flip_pairs, mapping
    >>> to_smplerx = mapping("coco", "smplerx_137")
    >>> int(to_smplerx.mask.sum())
    17
    >>> to_smplerx.apply(np.ones((2, 17, 3), np.float32)).shape
    (2, 137, 3)
    >>> flip_pairs("coco_17")[0]
    (1, 2)

The tables are in :mod:`hmtools.humandata.conventions` (names, rules, the eyes of the 137 set) and
:mod:`hmtools.humandata.skeletons` (lines, parts).
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, product
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hmtools.core.errors import UsageError, nearest
from hmtools.humandata.conventions import (
    CONVENTIONS,
    EQUIVALENTS,
    H36M_EVALUATION_14,
    H36M_TO_LSP_14,
    H36M_TO_LSP_17,
    HAND_MCP,
    SMPL_49_FROM_SMPL_54,
    SMPL_VERTEX_IDS,
    SMPLX_VERTEX_IDS,
    Convention,
)
from hmtools.humandata.skeletons import (
    FACE_LINES,
    PARENTS,
    PART_PATTERNS,
    PART_RANGES,
    SUFFIXES,
    TORSO_WITHOUT_NECK,
)

__all__ = [
    "CONVENTIONS",
    "H36M_EVALUATION_14",
    "H36M_TO_LSP_14",
    "H36M_TO_LSP_17",
    "HAND_MCP",
    "PARTS",
    "SMPLX_VERTEX_IDS",
    "SMPL_49_FROM_SMPL_54",
    "SMPL_VERTEX_IDS",
    "Convention",
    "KeypointMap",
    "bones",
    "convention",
    "flip_pairs",
    "flip_permutation",
    "mapping",
    "part",
]

_Label = TypeVar("_Label", bound=Hashable)

PARTS: tuple[str, ...] = ("body", *PART_PATTERNS)
"""Parts that :func:`part` knows for every convention."""

_BY_NAME = MappingProxyType({name: row for row in CONVENTIONS.values() for name in (row.name, *row.aliases)})
_GROUPS = MappingProxyType({name: group for group in EQUIVALENTS for name in group})


def convention(name: str) -> Convention:
    """Find a convention by its name or one of its aliases.

    Args:
        name: e.g. ``coco_17`` or ``coco``.

    Returns:
        The convention.

    Raises:
        UsageError: no convention has that name; the message holds the nearest ones and the list.
    """
    if name not in _BY_NAME:
        raise UsageError(
            f"unknown keypoint convention {name!r}{nearest(name, _BY_NAME)}; known: {', '.join(CONVENTIONS)}"
        )
    return _BY_NAME[name]


@dataclass(frozen=True, slots=True, eq=False)
class KeypointMap:
    """Which joint of one convention becomes which joint of another. Its arrays are read-only and shared.

    Attributes:
        source: convention mapped from.
        target: convention mapped to.
        src: (M,) int64, source joint of each mapped target joint.
        dst: (M,) int64, the mapped target joints, ascending.
        mask: (J_target,) bool, True where a target joint is mapped.
    """

    source: Convention
    target: Convention
    src: NDArray[np.int64]
    dst: NDArray[np.int64]
    mask: NDArray[np.bool_]

    def apply(self, keypoints: NDArray[Any]) -> NDArray[Any]:
        """Reorder keypoints; values, confidence included, are copied as they are.

        Args:
            keypoints: (..., J_source, C), C in 2..4: x, y [, z] [, confidence], any unit, frame and dtype.

        Returns:
            (..., J_target, C) of the same dtype, all zeros (so confidence 0) where ``mask`` is False.

        Raises:
            UsageError: the shape is not that of the source convention.
        """
        keypoints = np.asarray(keypoints)
        joints, shape = self.source.count, keypoints.shape
        if len(shape) < 2 or shape[-2] != joints or shape[-1] not in (2, 3, 4):
            raise UsageError(
                f"keypoints of {self.source.name!r} have the shape (..., {joints}, 2 to 4), found {shape}; "
                f"name the convention the array is really in"
            )
        out = np.zeros((*shape[:-2], self.target.count, shape[-1]), keypoints.dtype)
        out[..., self.dst, :] = keypoints[..., self.src, :]
        return out


@cache
def mapping(source: str, target: str, *, approximate: bool = False) -> KeypointMap:
    """Map one convention to another by joint name.

    A target joint takes the source joint of the same HumanData name, nothing else: SMPL's ``left_hip`` is not
    COCO's ``left_hip_extra``. Two conventions with names of their own (``osx_134`` to ``smplerx_137``) are
    joined by those.

    Args:
        source: convention of the keypoints that are there.
        target: convention that is wanted. For the published gather of SMPLer-X (fault ``face_eyes``) this is
            ``smplerx_137_published``.
        approximate: let a joint that stays empty take another definition of the same point
            (``EQUIVALENTS``), e.g. the hips above.

    Returns:
        The map; the same object for the same arguments.

    Raises:
        UsageError: unknown convention.
    """
    from_, to = convention(source), convention(target)
    own = from_.own_names and to.own_names
    first = _first(_labels(from_, own))
    keys = _first(from_.keys)
    found: list[int | None] = []
    for label, key in zip(_labels(to, own), to.keys, strict=True):
        i = first.get(label)
        if i is None and approximate:
            i = next((keys[name] for name in _GROUPS.get(key, ()) if name in keys), None)
        found.append(i)
    return KeypointMap(
        from_,
        to,
        src=_frozen([i for i in found if i is not None], np.int64),
        dst=_frozen([j for j, i in enumerate(found) if i is not None], np.int64),
        mask=_frozen([i is not None for i in found], np.bool_),
    )


def _labels(row: Convention, own: bool) -> Sequence[Hashable]:
    # Own names must also mean the same: Face_3 is another eye in the published order.
    return tuple(zip(row.names, row.keys, strict=True)) if own else row.keys


def _first(labels: Iterable[_Label]) -> dict[_Label, int]:
    """Label -> its first position: the second eyes of the 137 set are never a source."""
    positions: dict[_Label, int] = {}
    for i, label in enumerate(labels):
        positions.setdefault(label, i)
    return positions


def _frozen(values: Sequence[int] | Sequence[bool], dtype: type) -> NDArray[Any]:
    array: NDArray[Any] = np.array(values, dtype)
    array.setflags(write=False)
    return array


@cache
def flip_pairs(name: str) -> tuple[tuple[int, int], ...]:
    """Joints that change places when the image is mirrored.

    Args:
        name: convention.

    Returns:
        Pairs (i, j), i < j, ascending. A joint without counterpart (middle line, one hand alone) is in none.

    Raises:
        UsageError: unknown convention.
    """
    permutation = flip_permutation(name)
    return tuple((i, int(j)) for i, j in enumerate(permutation) if i < j)


@cache
def flip_permutation(name: str) -> NDArray[np.int64]:
    """The order of the joints in a mirrored image: ``keypoints[..., order, :]``; x is the caller's to mirror.

    Args:
        name: convention.

    Returns:
        (J,) int64, read-only; its own inverse.

    Raises:
        UsageError: unknown convention.
    """
    keys = convention(name).keys
    places: dict[str, list[int]] = {}
    for i, key in enumerate(keys):
        places.setdefault(key, []).append(i)
    permutation = list(range(len(keys)))
    for key, here in places.items():
        # A key that occurs twice is paired in order: first left eye with first right eye.
        for i, j in zip(here, places.get(_mirrored(key), here), strict=True):
            permutation[i] = j
    return _frozen(permutation, np.int64)


_SIDES = {"left_": "right_", "right_": "left_", "_L_": "_R_", "_R_": "_L_"}


def _mirrored(key: str) -> str:
    # _L_ and _R_ are the sides of GTA's own joints.
    return re.sub("left_|right_|_L_|_R_", lambda side: _SIDES[side.group()], key)


def _split(key: str) -> tuple[str, str]:
    """Name without suffix, suffix; openpose_137's eye_brow becomes eyebrow."""
    suffix = next(s for s in reversed(SUFFIXES) if key.endswith(s))
    return key.removesuffix(suffix).removesuffix("_unused").replace("eye_brow", "eyebrow"), suffix


@cache
def bones(name: str) -> tuple[tuple[int, int], ...]:
    """Lines to draw a skeleton with.

    Body and hands are one connected figure; face landmarks are lines of their own. GTA's helper points and
    the second eyes of the 137 set are not drawn.

    Args:
        name: convention.

    Returns:
        Pairs of joint indices, no pair twice.

    Raises:
        UsageError: unknown convention.
    """
    at = _first(convention(name).keys)
    pairs = [(parent, i) for key, i in at.items() if (parent := _parent(key, at)) is not None]
    plain = _first(_split(key)[0] for key in at)
    index = list(at.values())
    for line in FACE_LINES if "neck" in plain else (*TORSO_WITHOUT_NECK, *FACE_LINES):
        steps = [(plain[a], plain[b]) for a, b in pairwise(line) if a in plain and b in plain]
        pairs += [(index[a], index[b]) for a, b in steps]
    return tuple({(min(pair), max(pair)): pair for pair in pairs}.values())


def _parent(key: str, at: Mapping[str, int]) -> int | None:
    base, suffix = _split(key)
    *own, openpose = SUFFIXES
    near, far = ([openpose], own) if suffix == openpose else ([suffix, *own], [openpose])
    for definitions in (near, far):
        for parent, definition in product(PARENTS.get(base, ()), definitions):
            if parent + definition in at:
                return at[parent + definition]
    # A root: tie it to another definition of itself, so that a second skeleton is not left apart.
    others = [at[base + s] for s in SUFFIXES if base in PARENTS and base + s in at]
    return next((i for i in others if i < at[key]), None)


@cache
def part(name: str, which: str) -> tuple[int, ...]:
    """Joints that make a part of the body, for boxes and errors.

    ``body``, ``left_hand``, ``right_hand`` and ``face`` split a convention without overlap. Wrists are body.
    ``head`` is the face with nose, eyes, ears, jaw and the head joint: what face boxes are drawn around.
    ``*_mcp`` are the first joints of index, middle, ring and pinky. SMPLer-X's sets have parts of their own
    (jaw, head and the second eyes are face; ``position_net`` is the first 65).

    Args:
        name: convention.
        which: one of ``PARTS``, or a part of the convention's own.

    Returns:
        Joint indices, ascending; empty when the convention has none of that part.

    Raises:
        UsageError: unknown convention or part.
    """
    row = convention(name)
    ranges = PART_RANGES.get(row.name, {})
    if which in ranges:
        return tuple(ranges[which])
    known = (*PARTS, *(own for own in ranges if own not in PARTS))
    if which not in PARTS:
        raise UsageError(
            f"unknown part {which!r} of {row.name!r}{nearest(which, known)}; known: {', '.join(known)}"
        )
    names = [_split(key)[0] for key in row.keys]
    inside = {p: {i for i, n in enumerate(names) if re.fullmatch(PART_PATTERNS[p], n)} for p in PART_PATTERNS}
    inside["body"] = set(range(row.count)) - inside["hand"] - inside["face"]
    inside["head"] |= inside["face"]
    return tuple(sorted(inside[which]))
