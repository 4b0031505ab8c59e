"""From world to camera to pixels and back, through the lens models that datasets publish.

``x = X / Z, y = Y / Z`` are bent by the lens to ``x', y'`` and become the pixel ``fx x' + cx, fy y' + cy``.
With ``r2 = x^2 + y^2``::

    radial = (1 + k1 r2 + k2 r2^2 + k3 r2^3) / (1 + k4 r2 + k5 r2^2 + k6 r2^3)
    x' = x radial + g x (p2 x + p1 y) + p2 r2
    y' = y radial + g y (p2 x + p1 y) + p1 r2

where g is 2 in OpenCV's models and 1 in that of the IMAR laboratory (Human3.6M, FIT3D, CHI3D, HumanSC3D).
Coefficients that a model lacks are 0. Convention of pixels, frames and dtypes: :mod:`hmtools.geometry`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeVar

import numpy as np
from jaxtyping import Float

from hmtools.core.errors import GeometryError, UsageError, nearest
from hmtools.geometry.arrays import ArrayLike, floats, namespace, refuse

__all__ = [
    "CAMERA_MODELS",
    "Behind",
    "CameraModel",
    "compose_extrinsics",
    "distort",
    "fold_radius",
    "invert_extrinsics",
    "lens",
    "project",
    "undistort",
    "unproject",
    "world_to_camera",
]

Array = TypeVar("Array")  # a NumPy array or a torch tensor
Behind = Literal["raise", "nan"]


@dataclass(frozen=True, slots=True)
class CameraModel:
    """A lens model.

    Attributes:
        coefficients: names of its coefficients, in the order in which ``distortion`` holds them.
        tangential: the factor g of the module's formula.
    """

    coefficients: tuple[str, ...]
    tangential: float = 2.0


CAMERA_MODELS: dict[str, CameraModel] = {
    "pinhole": CameraModel(()),
    "opencv5": CameraModel(("k1", "k2", "p1", "p2", "k3")),
    "opencv8": CameraModel(("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")),
    "imar5": CameraModel(("k1", "k2", "k3", "p1", "p2"), tangential=1.0),
}
"""Lens models by the names that records use."""

_NEWTON_STEPS = 12
_BISECTIONS = 60


def lens(model: str, count: int) -> CameraModel:
    """The entry of :data:`CAMERA_MODELS` by that name, which must take ``count`` coefficients.

    Raises:
        UsageError: if there is none, or it takes another number.
    """
    if model not in CAMERA_MODELS:
        raise UsageError(
            f"unknown camera model {model!r}{nearest(model, CAMERA_MODELS)}; "
            f"there are {', '.join(CAMERA_MODELS)}"
        )
    names = CAMERA_MODELS[model].coefficients
    if count != len(names):
        expected = f"{len(names)} distortion coefficients ({', '.join(names)})" if names else "no distortion"
        raise UsageError(f"camera model {model} takes {expected}, got {count}")
    return CAMERA_MODELS[model]


def project(
    points: Float[Array, "*#batch 3"],
    focal_length: ArrayLike,
    principal_point: ArrayLike,
    model: str = "pinhole",
    distortion: ArrayLike | None = None,
    *,
    behind: Behind = "raise",
) -> Float[Array, "*#batch 2"]:
    """Pixels of points in the camera frame.

    A polynomial lens is only good near the image. Beyond its :func:`fold_radius` it bends rays back, and a
    point far outside of the view would land in the middle of the picture, looking as real as any other. No
    lens does that, so those points get NaN: they have no pixel. NaN points stay NaN.

    Args:
        points: (..., 3) metres, camera frame.
        focal_length: fx, fy or one number for both, pixels; leading axes broadcast with those of ``points``.
        principal_point: cx, cy, pixels; broadcasts likewise.
        model: a key of :data:`CAMERA_MODELS`.
        distortion: its coefficients, (k,) or (..., k), broadcasting likewise; None for a pinhole.
        behind: what a point at or behind the camera (z <= 0) does: ``raise``, or ``nan`` for its pixel (its
            gradient is 0 then). Only ``raise`` looks at the values, and waits for a GPU.

    Returns:
        (..., 2) pixels.

    Raises:
        GeometryError: for points with z <= 0, if asked to raise.
        UsageError: for an unknown model or a wrong number of coefficients.
    """
    coordinates = floats(points)
    xp = namespace(coordinates)
    coefficients = _coefficients(model, distortion, coordinates)
    z = coordinates[..., 2:]
    if behind == "raise":
        refuse(z[..., 0] <= 0, 'points are behind the camera (z <= 0; pass behind="nan" to allow it)')
    seen = ~(z <= 0)
    # A point behind is moved in front before the division: NaN gradients would spread from it otherwise.
    rays = coordinates[..., :2] / xp.where(seen, z, xp.ones_like(z))
    if coefficients is not None:
        inside = _inside(rays, model, coefficients)[..., None]
        seen = seen & inside
        rays = distort(xp.where(inside, rays, xp.zeros_like(rays)), model, coefficients)
    pixels = rays * floats(focal_length, coordinates) + floats(principal_point, coordinates)
    found: Array = xp.where(seen, pixels, xp.full_like(pixels, np.nan))
    return found


def unproject(
    pixels: Float[np.ndarray, "*#batch 2"],
    depth: ArrayLike,
    focal_length: ArrayLike,
    principal_point: ArrayLike,
    model: str = "pinhole",
    distortion: ArrayLike | None = None,
    *,
    outside: Behind = "raise",
) -> Float[np.ndarray, "*#batch 3"]:
    """Points in the camera frame that :func:`project` maps to given pixels, at given depths.

    Args:
        pixels: (..., 2) pixels.
        depth: z in metres, > 0, (...) or a number.
        focal_length: fx, fy or one number, pixels; leading axes broadcast with those of ``pixels``.
        principal_point: cx, cy, pixels; broadcasts likewise.
        model: a key of :data:`CAMERA_MODELS`.
        distortion: its coefficients, (k,) or (..., k), broadcasting likewise; None for a pinhole.
        outside: what a pixel that no ray reaches does: ``raise``, or ``nan`` for its point.

    Returns:
        float64 (..., 3), metres, camera frame.

    Raises:
        GeometryError: for depths <= 0, and for pixels that no ray reaches, if asked to raise.
        UsageError: for an unknown model or a wrong number of coefficients.
    """
    z = np.asarray(depth, np.float64)
    refuse(np.atleast_1d(z <= 0), "depths are not in front of the camera (z <= 0)")
    found = np.asarray(pixels, np.float64)
    bent = (found - np.asarray(principal_point, np.float64)) / np.asarray(focal_length, np.float64)
    rays = undistort(bent, model, distortion)
    if outside == "raise":
        refuse(
            np.isnan(rays).any(axis=-1) & ~np.isnan(bent).any(axis=-1),
            f'pixels are reached by no ray through this {model} lens (pass outside="nan" to allow it)',
        )
    shape = np.broadcast_shapes(rays.shape[:-1], z.shape)
    z, rays = np.broadcast_to(z, shape)[..., None], np.broadcast_to(rays, (*shape, 2))
    return np.concatenate([rays * z, z], axis=-1)


def distort(
    rays: Float[Array, "*#batch 2"], model: str, distortion: ArrayLike | None
) -> Float[Array, "*#batch 2"]:
    """What a lens makes of ``x, y = X / Z, Y / Z``: the plain formula, beyond the fold as well.

    Args:
        rays: (..., 2) without unit.
        model: a key of :data:`CAMERA_MODELS`.
        distortion: its coefficients, (k,) or (..., k), broadcasting with the leading axes.

    Returns:
        (..., 2) without unit.

    Raises:
        UsageError: for an unknown model or a wrong number of coefficients.
    """
    xy = floats(rays)
    coefficients = _coefficients(model, distortion, xy)
    if coefficients is None:
        bent: Array = xy
        return bent
    k = _named(model, coefficients)
    p1, p2 = k.get("p1", 0.0), k.get("p2", 0.0)
    x, y = xy[..., :1], xy[..., 1:]
    r2 = x * x + y * y
    factor = _radial(k, r2) + CAMERA_MODELS[model].tangential * (p2 * x + p1 * y)
    bent = namespace(xy).concatenate([x * factor + p2 * r2, y * factor + p1 * r2], -1)
    return bent


def undistort(
    bent: Float[np.ndarray, "*#batch 2"], model: str, distortion: ArrayLike | None
) -> Float[np.ndarray, "*#batch 2"]:
    """The inverse of :func:`distort` inside the fold: bisection of the radius, then Newton steps.

    Args:
        bent: (..., 2) without unit: pixels less principal point, over focal length.
        model: a key of :data:`CAMERA_MODELS`.
        distortion: its coefficients, (k,) or (..., k), broadcasting with the leading axes.

    Returns:
        float64 (..., 2) ``X / Z, Y / Z``, NaN where no ray inside the fold ends there. Distorting it again
        gives ``bent`` to 1e-12 (relative beyond 1).

    Raises:
        UsageError: for an unknown model or a wrong number of coefficients.
    """
    target = np.asarray(bent, np.float64)
    coefficients = _coefficients(model, distortion, target)
    if coefficients is None:
        return target
    shape = np.broadcast_shapes(target.shape[:-1], coefficients.shape[:-1])
    target = np.broadcast_to(target, (*shape, 2))
    rays = _radial_guess(target, model, coefficients)
    step = 1e-6
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        for _ in range(_NEWTON_STEPS):
            error = distort(rays, model, coefficients) - target
            if np.nanmax(np.abs(error), initial=0.0) < 1e-15:
                break
            columns = [
                (distort(rays + d, model, coefficients) - distort(rays - d, model, coefficients)) / (2 * step)
                for d in np.eye(2) * step
            ]
            (a, c), (b, d) = (np.moveaxis(column, -1, 0) for column in columns)
            ex, ey = np.moveaxis(error, -1, 0)
            rays = rays - np.stack([d * ex - b * ey, a * ey - c * ex], -1) / (a * d - b * c)[..., None]
        error = np.abs(distort(rays, model, coefficients) - target)
    right = (error <= 1e-12 * np.maximum(1, np.abs(target))).all(axis=-1)
    right &= _inside(rays, model, coefficients)
    return np.where(right[..., None], rays, np.nan)


def fold_radius(model: str, distortion: ArrayLike | None = None) -> float:
    """Radius ``sqrt(x^2 + y^2)`` of rays up to which a lens is one to one; infinity for most.

    The image radius ``r radial(r^2)`` grows with r up to the first zero of its derivative, or to a pole. The
    small tangential part is left out. A field of view of 90 degrees has radius 1 at its edge.

    Args:
        model: a key of :data:`CAMERA_MODELS`.
        distortion: its coefficients (k,).

    Raises:
        GeometryError: if a coefficient is not finite.
        UsageError: for an unknown model or a wrong number of coefficients.
    """
    coefficients = _coefficients(model, distortion, np.zeros(2))
    return np.inf if coefficients is None else _fold(model, tuple(coefficients.tolist()))


def world_to_camera(
    points: Float[Array, "*#batch 3"], world_to_cam: Float[Array, "*#batch 3 4"]
) -> Float[Array, "*#batch 3"]:
    """``R X + t``: points of the world in the camera frame, metres.

    Args:
        points: (..., 3) metres, world frame of the dataset.
        world_to_cam: (..., 3, 4) ``[R | t]``; leading axes broadcast with those of ``points``, so a matrix
            per item of (B, N, 3) points is (B, 1, 3, 4).

    Returns:
        (..., 3) metres.
    """
    x = floats(points)
    matrix = floats(world_to_cam, x)
    # Sums of products, not a matrix product: GPUs may round the factors of those to 10 bits.
    total: Array = matrix[..., 3] + sum(matrix[..., i] * x[..., i : i + 1] for i in range(3))
    return total


def invert_extrinsics(world_to_cam: Float[Array, "*batch 3 4"]) -> Float[Array, "*batch 3 4"]:
    """``[R' | -R' t]`` of ``[R | t]``: camera to world; its last column is the camera's centre, metres."""
    matrix = floats(world_to_cam)
    back = namespace(matrix).swapaxes(matrix[..., :3], -1, -2)
    found: Array = namespace(matrix).concatenate([back, -back @ matrix[..., 3:]], -1)
    return found


def compose_extrinsics(
    outer: Float[Array, "*#batch 3 4"], inner: Float[Array, "*#batch 3 4"]
) -> Float[Array, "*#batch 3 4"]:
    """The (..., 3, 4) motion that applies ``inner`` first, then ``outer``."""
    second = floats(inner)
    first = floats(outer, second)
    moved = first[..., :3] @ second
    found: Array = namespace(second).concatenate([moved[..., :3], moved[..., 3:] + first[..., 3:]], -1)
    return found


def _coefficients(model: str, distortion: Any, like: Any) -> Any:
    """Coefficients (..., k) of the kind of ``like``, or None for a pinhole."""
    found = None if distortion is None else floats(distortion, like)
    count = 0 if found is None else found.shape[-1] if found.ndim else 1
    return found if lens(model, count).coefficients else None


def _named(model: str, coefficients: Any) -> dict[str, Any]:
    return {name: coefficients[..., i : i + 1] for i, name in enumerate(CAMERA_MODELS[model].coefficients)}


def _radial(k: dict[str, Any], r2: Any) -> Any:
    top = 1 + r2 * (k["k1"] + r2 * (k["k2"] + r2 * k["k3"]))
    return top / (1 + r2 * (k["k4"] + r2 * (k["k5"] + r2 * k["k6"]))) if "k4" in k else top


def _inside(rays: Any, model: str, coefficients: Any) -> Any:
    """(...) whether rays lie inside the fold of their lens; true for NaN."""
    folds = floats(_folds(model, coefficients), rays)
    return ~((rays * rays).sum(-1) >= folds * folds)


def _folds(model: str, coefficients: Any) -> Any:
    """float64 (...) fold radius of each row of coefficients (..., k)."""
    values = np.asarray(coefficients.detach().cpu() if hasattr(coefficients, "detach") else coefficients)
    rows = values.reshape(-1, values.shape[-1]).tolist()
    return np.array([_fold(model, tuple(row)) for row in rows]).reshape(values.shape[:-1])


@lru_cache(maxsize=4096)
def _fold(model: str, coefficients: tuple[float, ...]) -> float:
    if not np.isfinite(coefficients).all():
        raise GeometryError(f"distortion of a {model} camera: expected finite numbers, got {coefficients}")
    k = dict(zip(CAMERA_MODELS[model].coefficients, coefficients, strict=True))
    top = np.polynomial.Polynomial([1, k["k1"], k["k2"], k["k3"]])
    bottom = np.polynomial.Polynomial([1, *(k.get(name, 0.0) for name in ("k4", "k5", "k6"))])
    u = np.polynomial.Polynomial([0, 1])  # r squared
    slope = top * bottom + 2 * u * (top.deriv() * bottom - top * bottom.deriv())
    roots = np.concatenate([slope.trim().roots(), bottom.trim().roots()])
    real = roots.real[(np.abs(roots.imag) <= 1e-9 * np.abs(roots)) & (roots.real > 0)]
    return float(np.sqrt(real.min())) if len(real) else np.inf


def _radial_guess(target: Any, model: str, coefficients: Any) -> Any:
    """Rays (..., 2) that end at ``target`` but for the tangential terms, by bisection inside the fold."""
    k = _named(model, coefficients)
    goal = np.linalg.norm(target, axis=-1, keepdims=True)
    folds = _folds(model, coefficients)[..., None]
    low, high = np.zeros_like(goal), np.broadcast_to(np.minimum(folds, 1.0), goal.shape)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):  # a fold may be a pole
        for _ in range(_BISECTIONS):  # without a fold the radius grows without limit, and this finds an end
            short = high * _radial(k, high * high) < goal
            high = np.where(short, np.minimum(2 * high, folds), high)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            short = middle * _radial(k, middle * middle) < goal
            low, high = np.where(short, middle, low), np.where(short, high, middle)
    return target * (high / np.where(goal > 0, goal, 1.0))
