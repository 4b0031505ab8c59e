"""The left hand: a palm and five fingers that follow the finger joints, metres in the floor frame."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from hmtools.bodies.standin.anatomy import bone_radii, joint_names, landmarks, origin_shift
from hmtools.bodies.standin.body_shape import floor_joints, rounded_cone
from hmtools.bodies.standin.field import Step, Tube

__all__ = ["finger_line", "hand_steps"]

Array = NDArray[np.float64]
_Y, _Z = np.eye(3)[1:]

# Along the arm from the wrist; middle z, middle y, half width, half height upwards and downwards.
_PALM = (
    (-0.020, 0.000, 0.0000, 0.0272, 0.0195, 0.0195),
    (0.005, 0.000, -0.0005, 0.0285, 0.0185, 0.0185),
    (0.030, -0.001, -0.0010, 0.0345, 0.0165, 0.0175),
    (0.060, -0.003, -0.0010, 0.0405, 0.0140, 0.0155),
    (0.082, -0.004, -0.0015, 0.0410, 0.0115, 0.0125),
)


def finger_line(finger: str) -> Float[np.ndarray, "4 3"]:
    """Middle line of a left finger: its three joints and the centre of its last ball.

    Args:
        finger: thumb, index, middle, ring or pinky.

    Returns:
        (4, 3) metres, floor frame.
    """
    names = joint_names("smplx")
    joints = floor_joints()[[names.index(f"left_{finger}_{number}") for number in (1, 2, 3)]]
    tip = landmarks("smplx")[f"left_{finger}"] - origin_shift("smplx")
    radius = bone_radii("smplx")[names.index(f"left_{finger}_3")]
    last = tip - joints[2]
    return np.concatenate([joints, [tip - last * (radius / float(np.linalg.norm(last)))]])


def _finger(finger: str) -> Tube:
    """One tube from knuckle to tip, bent through the joints between."""
    line = finger_line(finger)
    names = joint_names("smplx")
    radii = bone_radii("smplx")[[names.index(f"left_{finger}_{number}") for number in (1, 2, 3)]]
    axis = line[3] - line[0]
    length = float(np.linalg.norm(axis))
    axis /= length
    side = -_Z - axis * float(-_Z @ axis)
    side /= np.linalg.norm(side)
    second = np.cross(axis, side)
    rest = line - line[0]
    rows = [
        [float(p @ axis) / length, float(p @ side), float(p @ second), r, 0.95 * r, r]
        for p, r in zip(rest, (*radii, 0.93 * radii[2]), strict=True)
    ]
    rows[0][0], rows[3][0] = 0.0, 1.0
    return Tube(line[0], line[3], side, np.array(rows), (float(radii[0]), float(radii[2])))


def hand_steps() -> list[Step]:
    """Palm, ball of the thumb and fingers of the left hand."""
    wrist = floor_joints()[20]
    table = np.array(_PALM)
    table[:, 0] += wrist[0]
    fraction = (table[:, 0] - table[0, 0]) / (table[-1, 0] - table[0, 0])
    stations = np.stack([fraction, -table[:, 1], table[:, 2], table[:, 3], table[:, 4], table[:, 5]], 1)
    line = np.array([wrist, wrist])
    line[:, 0] = table[[0, -1], 0]
    palm = Tube(line[0], line[1], -_Z, stations, (0.01, 0.011), 2.4)
    thumb = finger_line("thumb")
    ball_of_thumb = rounded_cone(
        thumb[0] + [0.002, 0.002, -0.004], thumb[1] + [-0.004, 0.0, -0.003], 0.0165, 0.0125
    )
    fingers = [Step(_finger(name), 0.0035) for name in ("index", "middle", "ring", "pinky")]
    steps = [Step(palm, 0.012), Step(ball_of_thumb, 0.014), Step(_finger("thumb"), 0.006), *fingers]
    return [Step(step.piece, step.blend, step.cut, "hand") for step in steps]
