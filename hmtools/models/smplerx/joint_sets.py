"""The joints of SMPLer-X by name: what is supervised, what the position nets see, what has a rotation.

The tables are those of :mod:`hmtools.humandata.conventions`; here are the places of them that the network
and its losses need.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hmtools.humandata.keypoints import convention, mapping, part

__all__ = [
    "BODY_JOINTS",
    "HAND_JOINTS",
    "JOINT_PARTS",
    "NATIVE",
    "PART_ROOTS",
    "PELVIS",
    "POSE",
    "POSE_PARTS",
    "POSITION_JOINTS",
    "SUPERVISED",
    "SUPERVISED_ROWS",
]

NATIVE = "smplx_144"
"""Convention of the joints the body model gives."""
SUPERVISED = "smplerx_137"
"""Convention of the joints the losses see: body 25, left hand 20, right hand 20, face 72."""
POSE = "smplerx_53"
"""Convention of the rotations: root and 21 of the body, 15 a hand, jaw."""


def _span(name: str, which: str) -> slice:
    rows = part(name, which)
    return slice(rows[0], rows[-1] + 1)


def _times_three(span: slice) -> slice:
    return slice(3 * span.start, 3 * span.stop)


SUPERVISED_ROWS: tuple[int, ...] = tuple(int(i) for i in mapping(NATIVE, SUPERVISED).src)
"""Which of the 144 joints each of the 137 is."""

JOINT_PARTS: Mapping[str, slice] = MappingProxyType(
    {name: _span(SUPERVISED, name) for name in ("body", "left_hand", "right_hand", "face")}
)
"""Part -> its rows among the 137."""

POSITION_JOINTS = len(part(SUPERVISED, "position_net"))
"""The first 65 of the 137: body and hands, which the position nets find."""
BODY_JOINTS = len(part(SUPERVISED, "body"))
"""Joints of the body's position net."""
HAND_JOINTS = len(part(SUPERVISED, "left_hand"))
"""Joints of the hands' position net, per hand."""

_place = convention(SUPERVISED).index
PELVIS = _place("Pelvis")
"""Row of the pelvis among the 137."""
PART_ROOTS: Mapping[str, int] = MappingProxyType(
    {"left_hand": _place("L_Wrist"), "right_hand": _place("R_Wrist"), "face": _place("Neck")}
)
"""Part -> row among the 137 of the joint that its joints are seen from when aligned."""

_body = _times_three(_span(POSE, "body"))
POSE_PARTS: Mapping[str, slice] = MappingProxyType(
    {
        "root": slice(_body.start, _body.start + 3),
        "body": slice(_body.start + 3, _body.stop),
        "left_hand": _times_three(_span(POSE, "left_hand")),
        "right_hand": _times_three(_span(POSE, "right_hand")),
        "jaw": _times_three(_span(POSE, "face")),
    }
)
"""Part -> its columns in the 159 numbers of a pose, axis-angle."""
