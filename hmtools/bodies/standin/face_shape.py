"""The head: a lofted skull, brow, eye sockets and lids, nose, mouth, chin and ears; floor frame, metres."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from hmtools.bodies.standin.anatomy import EYEBALL_RADIUS
from hmtools.bodies.standin.body_shape import ball, floor_joints, rounded_cone
from hmtools.bodies.standin.field import Ellipsoid, Step, Tube

__all__ = ["MOUTH_HEIGHT", "eye_centre", "head_steps"]

_X, _Y = np.eye(3)[:2]
MOUTH_HEIGHT = 1.5235
"""Height of the line between the lips, metres, floor frame."""

# Height; half width, middle z, half depth to the front and to the back.
_SKULL = (
    (1.4840, 0.024, 0.056, 0.024, 0.040),
    (1.4950, 0.038, 0.043, 0.043, 0.055),
    (1.5150, 0.050, 0.020, 0.066, 0.070),
    (1.5350, 0.058, 0.008, 0.080, 0.080),
    (1.5550, 0.064, 0.000, 0.088, 0.086),
    (1.5750, 0.0685, -0.006, 0.0925, 0.090),
    (1.5912, 0.0710, -0.009, 0.0960, 0.093),
    (1.6100, 0.0740, -0.011, 0.0985, 0.095),
    (1.6300, 0.0740, -0.012, 0.0950, 0.093),
)


def eye_centre() -> Float[np.ndarray, "xyz=3"]:
    """Centre of the left eyeball, (3,) metres, floor frame."""
    centre: np.ndarray = floor_joints()[23]
    return centre


def _skull() -> Tube:
    table = np.array(_SKULL)
    low, high = table[0, 0], table[-1, 0]
    fraction = (table[:, 0] - low) / (high - low)
    stations = np.stack([fraction, np.zeros(len(table)), *table[:, [2, 1, 3, 4]].T], 1)
    return Tube(low * _Y, high * _Y, -_X, stations, (0.005, 0.060), 2.25)


def _eye_steps(eyeball: bool) -> list[Step]:
    x, y, z = (float(v) for v in eye_centre())
    if eyeball:  # a coarse mesh: lids would be smaller than its triangles
        socket = ball((x - 0.001, y + 0.001, z + 0.0215), (0.0200, 0.0140, 0.0125))
        globe = ball((x, y, z - 0.0006), (EYEBALL_RADIUS + 0.0016, EYEBALL_RADIUS, EYEBALL_RADIUS + 0.0006))
        return [Step(socket, 0.010, cut=True), Step(globe, 0.0012)]
    socket = ball((x - 0.001, y + 0.002, z + 0.0225), (0.0185, 0.0125, 0.0100))
    lids = ball(
        (x, y, z - 0.0012), (EYEBALL_RADIUS + 0.0036, EYEBALL_RADIUS + 0.0026, EYEBALL_RADIUS + 0.0036)
    )
    opening = ball((x, y - 0.0006, z + 0.0150), (0.0132, 0.0054, 0.0125))
    return [Step(socket, 0.014, cut=True), Step(lids, 0.008), Step(opening, 0.0016, cut=True)]


def _mouth_steps() -> list[Step]:
    y = MOUTH_HEIGHT
    return [
        Step(ball((0.0, y, 0.078), (0.026, 0.020, 0.012)), 0.012),
        Step(ball((0.0, y + 0.0048, 0.0875), (0.0225, 0.0056, 0.0070)), 0.004),
        Step(ball((0.0, y - 0.0056, 0.0865), (0.0195, 0.0066, 0.0074)), 0.004),
        Step(ball((0.0, y, 0.0900), (0.0230, 0.0008, 0.0160)), 0.0024, cut=True),
    ]


def _ear_steps() -> list[Step]:
    # The shell leans back and stands off the skull at its rear edge.
    lean, flare = -0.20, -0.50
    turn = np.array(
        [[np.cos(flare), 0.0, -np.sin(flare)], [0.0, 1.0, 0.0], [np.sin(flare), 0.0, np.cos(flare)]]
    )
    tilt = np.array([[1.0, 0.0, 0.0], [0.0, np.cos(lean), np.sin(lean)], [0.0, -np.sin(lean), np.cos(lean)]])
    axes = turn @ tilt
    middle = np.array([0.0785, 1.5770, -0.0150])
    root = ball((0.0700, 1.5740, -0.0120), (0.0100, 0.0220, 0.0090))
    shell = Ellipsoid(middle, np.array([0.0070, 0.0310, 0.0180]), axes)
    bowl = Ellipsoid(middle + 0.0075 * axes[0] + [0.0, 0.0015, 0.0], np.array([0.0065, 0.0200, 0.0105]), axes)
    lobe = ball((0.0745, 1.5505, -0.0085), (0.0056, 0.0085, 0.0070))
    return [Step(root, 0.010), Step(shell, 0.004), Step(lobe, 0.006), Step(bowl, 0.005, cut=True)]


def head_steps(eyeball: bool) -> list[Step]:
    """The left half of the head, on top of the neck.

    Args:
        eyeball: whether the eye is a bump of the surface (SMPL, SMPL-H) or an opening for a separate eyeball.
    """
    bridge = rounded_cone(np.array([0.0, 1.5930, 0.0800]), np.array([0.0, 1.5525, 0.1030]), 0.0068, 0.0098)
    brow_ends = np.array([0.012, 1.6090, 0.0835]), np.array([0.051, 1.6075, 0.0600])
    return [
        Step(_skull(), 0.022),
        Step(ball((0.0, 1.6050, -0.0130), (0.0765, 0.0940, 0.0985)), 0.020),
        Step(ball((0.040, 1.5610, 0.050), (0.022, 0.018, 0.022)), 0.024),
        Step(ball((0.0, 1.4915, 0.0755), (0.021, 0.0125, 0.0145)), 0.014),
        Step(rounded_cone(*brow_ends, 0.0060, 0.0050), 0.012),
        Step(ball((0.0, 1.5480, 0.0940), (0.0100, 0.0070, 0.0130)), 0.006),
        Step(ball((0.0118, 1.5500, 0.0920), (0.0068, 0.0066, 0.0095)), 0.005),
        Step(bridge, 0.008),
        Step(ball((0.0062, 1.5425, 0.1000), (0.0030, 0.0030, 0.0045)), 0.0025, cut=True),
        *_eye_steps(eyeball),
        *_mouth_steps(),
        *_ear_steps(),
    ]
