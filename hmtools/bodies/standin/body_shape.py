"""The figure from the neck down: torso, arms and legs as tables of half widths, metres in the floor frame."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from hmtools.bodies.standin.anatomy import origin_shift, rest_skeleton
from hmtools.bodies.standin.field import Ellipsoid, Step, Tube

__all__ = ["ball", "body_steps", "floor_joints", "rounded_cone"]

Array = NDArray[np.float64]
_X, _Y, _Z = np.eye(3)

# Height; half width, middle z, half depth to the front and to the back.
_TORSO = (
    (0.830, 0.118, -0.010, 0.068, 0.085),
    (0.870, 0.143, -0.008, 0.084, 0.100),
    (0.910, 0.157, -0.006, 0.094, 0.106),
    (0.950, 0.159, -0.005, 0.099, 0.104),
    (0.990, 0.152, -0.005, 0.100, 0.095),
    (1.040, 0.137, -0.006, 0.099, 0.083),
    (1.090, 0.128, -0.008, 0.098, 0.078),
    (1.140, 0.130, -0.010, 0.101, 0.082),
    (1.200, 0.139, -0.012, 0.107, 0.090),
    (1.260, 0.148, -0.014, 0.112, 0.098),
    (1.310, 0.152, -0.017, 0.110, 0.101),
    (1.350, 0.150, -0.020, 0.100, 0.098),
    (1.385, 0.135, -0.023, 0.086, 0.089),
    (1.415, 0.100, -0.026, 0.070, 0.074),
    (1.440, 0.066, -0.028, 0.055, 0.058),
)
# Height; middle x, half width, middle z, half depth to the front and to the back.
_LEG = (
    (0.900, 0.082, 0.074, 0.000, 0.082, 0.086),
    (0.840, 0.087, 0.078, 0.002, 0.086, 0.086),
    (0.760, 0.091, 0.074, 0.006, 0.083, 0.079),
    (0.660, 0.095, 0.066, 0.009, 0.074, 0.068),
    (0.560, 0.098, 0.057, 0.009, 0.062, 0.057),
    (0.4845, 0.099, 0.050, 0.006, 0.054, 0.049),
    (0.420, 0.102, 0.048, -0.004, 0.049, 0.051),
    (0.340, 0.105, 0.051, -0.014, 0.044, 0.060),
    (0.260, 0.107, 0.045, -0.019, 0.040, 0.051),
    (0.180, 0.108, 0.036, -0.023, 0.036, 0.038),
    (0.110, 0.108, 0.031, -0.028, 0.034, 0.033),
    (0.0663, 0.108, 0.033, -0.032, 0.036, 0.036),
)
# x; half depth, half height upwards and downwards, about the line from shoulder to wrist.
_ARM = (
    (0.150, 0.050, 0.046, 0.056),
    (0.185, 0.051, 0.050, 0.051),
    (0.225, 0.049, 0.049, 0.048),
    (0.290, 0.045, 0.044, 0.045),
    (0.360, 0.042, 0.041, 0.042),
    (0.430, 0.037, 0.036, 0.037),
    (0.4725, 0.036, 0.034, 0.035),
    (0.520, 0.039, 0.035, 0.036),
    (0.570, 0.037, 0.033, 0.034),
    (0.640, 0.031, 0.026, 0.026),
    (0.690, 0.028, 0.021, 0.021),
    (0.716, 0.0275, 0.0195, 0.0195),
)
# z; middle x, middle y, half width, height of the back of the foot above the middle, depth below it.
_FOOT = (
    (-0.046, 0.1065, 0.032, 0.031, 0.034, 0.034),
    (-0.015, 0.107, 0.034, 0.033, 0.040, 0.036),
    (0.020, 0.109, 0.030, 0.036, 0.037, 0.032),
    (0.055, 0.113, 0.024, 0.041, 0.030, 0.026),
    (0.090, 0.1185, 0.018, 0.0455, 0.023, 0.020),
    (0.120, 0.1205, 0.014, 0.046, 0.017, 0.016),
)
# Toes: base and tip x, z of the tip's ball, radius; from the big one outwards.
_TOES = (
    (0.0945, 0.0945, 0.164, 0.0135),
    (0.1155, 0.1150, 0.164, 0.0092),
    (0.1295, 0.1290, 0.157, 0.0088),
    (0.1425, 0.1415, 0.147, 0.0086),
    (0.1545, 0.1530, 0.133, 0.0086),
)


def floor_joints() -> Float[np.ndarray, "55 3"]:
    """The 55 SMPL-X rest joints in the floor frame, (55, 3) metres, the pelvis on the plane of symmetry."""
    joints: Array = rest_skeleton("smplx")[0] - origin_shift("smplx")
    joints[0, 0] = 0.0
    return joints


def ball(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Ellipsoid:
    """Ellipsoid with half axes ``radii`` along x, y and z, metres."""
    return Ellipsoid(np.array(centre), np.array(radii), np.eye(3))


def rounded_cone(
    start: Float[np.ndarray, "xyz=3"], end: Float[np.ndarray, "xyz=3"], radius: float, tip: float
) -> Tube:
    """Round tube from ``start`` with ``radius`` to ``end`` with radius ``tip``, its ends being balls."""
    side = _Z if abs((end - start)[2]) < 0.9 * float(np.linalg.norm(end - start)) else _Y
    rows = np.array([[0.0, 0, 0, radius, radius, radius], [1.0, 0, 0, tip, tip, tip]])
    return Tube(start, end, side, rows, (radius, tip))


def _upright(rows: tuple[tuple[float, ...], ...], cap: tuple[float, float], power: float = 2.0) -> Tube:
    """Vertical tube from rows (y, middle x, half width, middle z, front, back); coordinates x and then z."""
    table = np.array(sorted(rows))
    low, high = table[0, 0], table[-1, 0]
    # The axis is +y and the side z, so that the second coordinate is x: fronts and backs are drawn apart by
    # making z the second one, with side = -x (axis x side = y x -x = z).
    stations = np.stack(
        [
            (table[:, 0] - low) / (high - low),
            -table[:, 1],
            table[:, 3],
            table[:, 2],
            table[:, 4],
            table[:, 5],
        ],
        1,
    )
    return Tube(low * _Y, high * _Y, -_X, stations, cap, power)


def _arm() -> Tube:
    joints = floor_joints()
    shoulder, wrist = joints[16], joints[20]
    table = np.array(_ARM)
    start = np.array([table[0, 0], shoulder[1], shoulder[2]])
    end = np.array([table[-1, 0], wrist[1], wrist[2]])
    fraction = (table[:, 0] - start[0]) / (end[0] - start[0])
    zero = np.zeros(len(table))
    # Axis +x, side -z: the second coordinate is +y.
    stations = np.stack([fraction, zero, zero, table[:, 1], table[:, 2], table[:, 3]], 1)
    return Tube(start, end, -_Z, stations, (0.03, 0.01))


def _foot() -> Tube:
    table = np.array(_FOOT)
    fraction = (table[:, 0] - table[0, 0]) / (table[-1, 0] - table[0, 0])
    # Axis +z, side +x: the second coordinate is +y.
    stations = np.stack([fraction, table[:, 1], table[:, 2], table[:, 3], table[:, 4], table[:, 5]], 1)
    return Tube(table[0, 0] * _Z, table[-1, 0] * _Z, _X, stations, (0.034, 0.018), 2.2)


def _toe_steps() -> list[Step]:
    steps = []
    for number, (base, tip, reach, radius) in enumerate(_TOES):
        height = 0.0135 if number == 0 else 0.0105
        toe = rounded_cone(
            np.array([base, height + 0.003, 0.105]), np.array([tip, height, reach]), radius, radius
        )
        steps.append(Step(toe, 0.010 if number == 0 else 0.0022, group="toes"))
    return steps


def body_steps() -> list[Step]:
    """Torso, neck, left arm as far as the wrist, left leg and foot."""
    torso = _upright(tuple((y, 0.0, w, z, f, b) for y, w, z, f, b in _TORSO), (0.028, 0.02), 2.3)
    neck = Tube(
        np.array([0.0, 1.395, -0.034]),
        np.array([0.0, 1.555, -0.012]),
        -_X,
        np.array(
            [
                [0.0, 0, 0, 0.070, 0.060, 0.058],
                [0.35, 0, 0, 0.056, 0.055, 0.056],
                [0.7, 0, 0, 0.053, 0.054, 0.056],
                [1.0, 0, 0, 0.054, 0.056, 0.060],
            ]
        ),
        (0.02, 0.02),
    )
    trapezius = rounded_cone(np.array([0.030, 1.440, -0.040]), np.array([0.150, 1.407, -0.024]), 0.034, 0.030)
    return [
        Step(torso, 0.0),
        Step(neck, 0.035),
        Step(trapezius, 0.045),
        Step(ball((0.066, 1.290, 0.044), (0.074, 0.060, 0.052)), 0.060),
        Step(ball((0.074, 0.888, -0.056), (0.076, 0.076, 0.066)), 0.045),
        Step(_upright(_LEG, (0.05, 0.05)), 0.040),
        Step(_arm(), 0.055),
        Step(_foot(), 0.030),
        *_toe_steps(),
    ]
