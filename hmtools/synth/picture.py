"""Pictures for eyes: the same people, shaded, in front of a wall and on a floor.

Positions cannot be read off them (that is what :mod:`hmtools.synth.geometry_image` is for), so they prove
nothing; they show whether a crop, a box or a skeleton is where a person is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hmtools.viz.mesh import Camera, Mesh, person_colour
from hmtools.viz.mesh_overlay import overlay_mesh
from hmtools.viz.shade import render

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["backdrop", "paint_people"]

_WALL, _FLOOR = np.array([148, 160, 158]), np.array([118, 104, 92])
_HORIZON = 0.72  # of the height


def backdrop(rng: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    """A wall and a floor with soft light and grain, (H, W, 3) uint8 RGB."""
    y, x = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None]
    light = 1.12 - 0.35 * np.hypot(x - rng.uniform(0.2, 0.8), y - 0.3)
    tint = rng.uniform(0.85, 1.12, 3)
    floor = (y > _HORIZON)[..., None]
    colour = np.where(floor, _FLOOR * (0.8 + 0.5 * (y - _HORIZON))[..., None], _WALL)
    # Floor boards narrow towards the horizon: an eye sees at once where down is.
    boards = np.floor(9 * (x - 0.5) / np.maximum(y - _HORIZON + 0.15, 0.02)) % 2
    colour = colour * (1 - 0.06 * boards[..., None] * floor)
    grain = rng.normal(0, 3, (height, width, 1))
    picture: NDArray[np.uint8] = np.clip(colour * light[..., None] * tint + grain, 0, 255).astype(np.uint8)
    return picture


def paint_people(
    picture: NDArray[np.uint8],
    people: Sequence[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]],
    *,
    model: str = "pinhole",
    distortion: NDArray[np.float64] | None = None,
) -> NDArray[np.uint8]:
    """Draw people back to front, each through a camera of its own.

    Args:
        picture: (H, W, 3) uint8 RGB.
        people: (V, 3) vertices in the camera frame, metres; (F, 3) faces; focal length; principal point.
        model: camera model of all.
        distortion: its coefficients.

    Returns:
        A new picture.
    """
    height, width = picture.shape[:2]
    order = sorted(range(len(people)), key=lambda i: -float(people[i][0][:, 2].mean()))
    for number in order:
        vertices, faces, focal, centre = people[number]
        camera = Camera(
            focal_length=focal,
            principal_point=centre,
            width=width,
            height=height,
            model=model,
            distortion=distortion,
        )
        # Not the colour in which the label of the same person is drawn over the picture.
        mesh = Mesh(vertices=vertices, faces=faces, colour=person_colour(number + 1))
        picture = overlay_mesh(picture, render([mesh], camera, supersampling=2), 1.0)
    return picture
