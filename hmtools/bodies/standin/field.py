"""Signed-distance pieces of the stand-in: tubes with drawn cross-sections and ellipsoids, smoothly joined.

A tube follows a straight axis; a table of stations says how wide the flesh is on each side of it, so that
a calf, a waist or a finger is a row of numbers per height, not a heap of balls. All distances are metres,
negative inside; they are first-order estimates that are exact on the surface.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

__all__ = ["Ellipsoid", "Piece", "Step", "Tube", "evaluate", "gradient", "project"]

Array = NDArray[np.float64]
_SAMPLES = 256
_DEEP = 0.02  # metres of surroundings in which a piece matters to a surface, beside its own blending width


def _unit(vector: Array) -> Array:
    length: float = float(np.linalg.norm(vector))
    return vector / length


@dataclass(frozen=True, slots=True, eq=False)
class Tube:
    """A tube of drawn cross-section between two points.

    Attributes:
        start: (3,) where the axis begins, metres.
        end: (3,) where it ends.
        side: (3,) direction of the cross-section's first coordinate; the second is axis x side.
        stations: (N, 6) rows (fraction of the axis, shift along side, shift along second, half width along
            side, half width towards +second, half width towards -second), fractions rising from 0 to 1.
        cap: (2,) how far the ends bulge beyond the axis, metres.
        power: exponent of the cross-section; 2 is an ellipse, more is boxier.
    """

    start: Array
    end: Array
    side: Array
    stations: Array
    cap: tuple[float, float]
    power: float = 2.0

    def frame(self) -> tuple[Float[np.ndarray, "3 3"], float]:
        """Axes (side, second, axis) as rows, (3, 3), and the length of the axis in metres."""
        length = float(np.linalg.norm(self.end - self.start))
        axis = (self.end - self.start) / length
        side = _unit(self.side - axis * float(self.side @ axis))
        return np.stack([side, np.cross(axis, side), axis]), length

    def bounds(self) -> tuple[Float[np.ndarray, "xyz=3"], Float[np.ndarray, "xyz=3"]]:
        """Corners of a box around the tube, (3,) each."""
        frame, length = self.frame()
        reach = float(np.abs(self.stations[:, 1:3]).max() + self.stations[:, 3:].max())
        ends = np.stack([self.start - frame[2] * self.cap[0], self.start + frame[2] * (length + self.cap[1])])
        across = reach * (np.abs(frame[0]) + np.abs(frame[1]))
        return ends.min(0) - across, ends.max(0) + across

    def distance(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Distance of (N, 3) points, metres, (N,)."""
        frame, length = self.frame()
        local = (points - self.start) @ frame.T
        along = local[:, 2]
        inside = np.clip(along, 0.0, length)
        grid = np.linspace(0.0, 1.0, _SAMPLES)
        table = PchipInterpolator(self.stations[:, 0], self.stations[:, 1:])(grid)
        shift_a, shift_b, half_a, plus_b, minus_b = (
            np.interp(inside / length, grid, column) for column in table.T
        )
        a = local[:, 0] - shift_a
        b = local[:, 1] - shift_b
        half_b = np.where(b >= 0, plus_b, minus_b)
        beyond = along - inside
        cap = np.where(beyond > 0, max(self.cap[1], 1e-4), max(self.cap[0], 1e-4))
        return _implicit(np.stack([a, b, beyond]), np.stack([half_a, half_b, cap]), self.power)


@dataclass(frozen=True, slots=True, eq=False)
class Ellipsoid:
    """An ellipsoid.

    Attributes:
        centre: (3,) metres.
        radii: (3,) metres along the rows of ``axes``.
        axes: (3, 3) orthonormal rows.
    """

    centre: Array
    radii: Array
    axes: Array

    def bounds(self) -> tuple[Float[np.ndarray, "xyz=3"], Float[np.ndarray, "xyz=3"]]:
        """Corners of a box around it, (3,) each."""
        reach = self.radii @ np.abs(self.axes)
        return self.centre - reach, self.centre + reach

    def distance(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Distance of (N, 3) points, metres, (N,)."""
        local = (points - self.centre) @ self.axes.T
        return _implicit(local.T, np.broadcast_to(self.radii[:, None], local.T.shape), 2.0)


Piece = Tube | Ellipsoid


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One stroke of the sculptor: a piece joined to (or cut from) everything before it.

    Attributes:
        piece: the shape.
        blend: width of the smooth transition, metres.
        cut: taken away instead of added.
        group: pieces of one group are joined among themselves first, with their own blends, and the whole
            group joins the body with the blend of its first piece; None joins directly.
    """

    piece: Piece
    blend: float
    cut: bool = False
    group: str | None = None


def _implicit(local: Array, radii: Array, power: float) -> Array:
    """Distance estimate q (q - 1) / |grad q| of a (super)ellipsoid; (3, N) coordinates and radii."""
    ratio = np.abs(local) / radii
    if power == 2.0:
        q = np.sqrt((ratio**2).sum(0))
        slope = np.sqrt(((ratio / radii) ** 2).sum(0))
        value = q * (q - 1.0) / np.maximum(slope, 1e-9)
    else:
        powers = ratio ** (power - 1.0)
        q = (powers * ratio).sum(0) ** (1.0 / power)
        slope = np.sqrt(((powers / radii) ** 2).sum(0)) / np.maximum(q, 1e-9) ** (power - 1.0)
        value = (q - 1.0) / np.maximum(slope, 1e-9)
    # In the very middle the estimate is 0 / 0; there the smallest radius is the truth.
    smallest = radii.min(0)
    result: Array = np.where(q < 0.05, -smallest, np.maximum(value, -smallest))
    return result


def _smooth_min(first: Array, second: Array, blend: float) -> Array:
    if blend <= 0:
        return np.minimum(first, second)
    overlap = np.maximum(blend - np.abs(first - second), 0.0) / blend
    result: Array = np.minimum(first, second) - overlap**3 * blend / 6.0
    return result


def _near(points: Array, piece: Piece, margin: float) -> NDArray[np.int64]:
    low, high = piece.bounds()
    near = np.arange(len(points))
    for axis in range(3):
        column = points[near, axis]
        near = near[(column > low[axis] - margin) & (column < high[axis] + margin)]
    return near


def evaluate(
    steps: Sequence[Step], points: Float[np.ndarray, "n 3"], floor: float | None = None
) -> Float[np.ndarray, " n"]:
    """Distance of points to the body made by the steps.

    Args:
        steps: in order; the steps of one group stand together.
        points: (N, 3) metres.
        floor: height of a plane that flattens whatever reaches below it; None for no floor.

    Returns:
        (N,) metres, negative inside; 1 wherever nothing is near.
    """
    total = np.full(len(points), 1.0)
    part = total.copy()
    group: str | None = None
    group_blend = 0.0
    for step in steps:
        if step.group != group:
            if group is not None:
                total = _smooth_min(total, part, group_blend)
            part = np.full(len(points), 1.0)
            group, group_blend = step.group, step.blend
        target = total if group is None else part
        near = _near(points, step.piece, step.blend + _DEEP)
        value = step.piece.distance(points[near])
        if step.cut:
            target[near] = -_smooth_min(-target[near], value, step.blend)
        else:
            target[near] = _smooth_min(target[near], value, step.blend)
    if group is not None:
        total = _smooth_min(total, part, group_blend)
    return total if floor is None else -_smooth_min(-total, points[:, 1] - floor, 0.006)


def gradient(
    steps: Sequence[Step], points: Float[np.ndarray, "n 3"], floor: float | None = None, width: float = 2e-4
) -> Float[np.ndarray, "n 3"]:
    """Gradient of :func:`evaluate` by central differences of the given half width, (N, 3)."""
    count = len(points)
    offsets = np.concatenate([np.eye(3), -np.eye(3)]) * width
    samples = (points[None] + offsets[:, None]).reshape(-1, 3)
    values = evaluate(steps, samples, floor).reshape(6, count)
    slope: Array = (values[:3] - values[3:]).T / (2 * width)
    return slope


def project(
    steps: Sequence[Step], points: Float[np.ndarray, "n 3"], floor: float | None = None, rounds: int = 3
) -> Float[np.ndarray, "n 3"]:
    """Move (N, 3) points onto the zero level along the gradient; a point moves at most 4 mm a round.

    Points with x = 0 stay on that plane, and no point leaves the half space x >= 0.
    """
    moved = points.copy()
    centre = points[:, 0] <= 0
    for _ in range(rounds):
        slope = gradient(steps, moved, floor)
        slope[centre, 0] = 0
        value = evaluate(steps, moved, floor)
        move = value[:, None] * slope / np.maximum((slope**2).sum(1), 0.05)[:, None]
        length = np.linalg.norm(move, axis=1, keepdims=True)
        moved -= move * np.minimum(1.0, 0.004 / np.maximum(length, 1e-9))
        moved[:, 0] = np.where(centre, 0.0, np.maximum(moved[:, 0], 1e-4))
    return np.round(moved, 9)
