"""People drawn over their picture, from the side, and from four sides.

Every person may have a camera of their own (SMPLer-X predicts in one per crop). Their meshes are moved so
that one camera sees each of them where its own did; what is then nearer is decided by depth over focal
length, which is how large a metre looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from hmtools.core.image import opencv
from hmtools.infer.outputs.pictures import Picture
from hmtools.viz.mesh import Camera, Mesh
from hmtools.viz.mesh_overlay import OPACITY, overlay_mesh
from hmtools.viz.shade import render

__all__ = ["BACKGROUND", "FOUR_SIDES", "Person", "four_sides", "framing", "over_picture", "turned"]

BACKGROUND = (244, 244, 240)
"""RGB behind people who are not seen over their picture."""

FOUR_SIDES: tuple[tuple[str, float], ...] = (("front", 0), ("back", 180), ("left", -90), ("right", 90))
"""Name and degrees of each view: front is what the camera sees, left is seen from the left of the picture."""

_MARGIN = 1.25
_INK = (110, 110, 104)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Person:
    """One body before its camera.

    Attributes:
        vertices: (V, 3) metres, camera frame.
        focal_length: (2,) fx, fy of the upright whole image, pixels.
        principal_point: (2,) cx, cy of the same, pixel centres at integers.
        colour: RGB.
    """

    vertices: Float[np.ndarray, "v 3"]
    focal_length: Float[np.ndarray, " 2"]
    principal_point: Float[np.ndarray, " 2"]
    colour: tuple[int, int, int]


def over_picture(
    picture: Picture, people: Sequence[Person], faces: Int[np.ndarray, "f 3"]
) -> UInt8[np.ndarray, "h w 3"]:
    """People over the picture they were predicted in.

    Args:
        picture: with where upright pixels are in it.
        people: any number.
        faces: (F, 3) of all their meshes.

    Returns:
        RGB of the size of the picture.
    """
    return _painted(picture.image, picture.affine, people, faces, OPACITY)


def turned(
    people: Sequence[Person],
    faces: Int[np.ndarray, "f 3"],
    degrees: float,
    affine: Float[np.ndarray, "2 3"],
    size: int,
) -> UInt8[np.ndarray, "size size 3"]:
    """People on a plain ground, each turned about the vertical through their own middle.

    So everybody stays at the place in the picture where they are known from, whatever their distances.

    Args:
        people: any number.
        faces: (F, 3) of all their meshes.
        degrees: by how much; 90 shows what is seen from the right of the picture.
        affine: upright pixels to pixels of the result, see :func:`framing`.
        size: width and height of the result.
    """
    around = np.deg2rad(degrees)
    turn = np.array([[np.cos(around), 0, np.sin(around)], [0, 1, 0], [-np.sin(around), 0, np.cos(around)]])
    moved = []
    for person in people:
        middle = (person.vertices.min(axis=0) + person.vertices.max(axis=0)) / 2
        vertices = (person.vertices - middle) @ turn.T + middle
        moved.append(
            Person(
                vertices=vertices,
                focal_length=person.focal_length,
                principal_point=person.principal_point,
                colour=person.colour,
            )
        )
    ground = np.full((size, size, 3), BACKGROUND, np.uint8)
    return _painted(ground, affine, moved, faces, 1.0)


def four_sides(
    people: Sequence[Person], faces: Int[np.ndarray, "f 3"], affine: Float[np.ndarray, "2 3"], size: int
) -> UInt8[np.ndarray, "two_sizes two_sizes 3"]:
    """The views of :data:`FOUR_SIDES` as one picture of 2 x 2, each ``size`` pixels wide, with its name."""
    tiles = [_named(turned(people, faces, degrees, affine, size), name) for name, degrees in FOUR_SIDES]
    return np.concatenate([np.concatenate(tiles[:2], axis=1), np.concatenate(tiles[2:], axis=1)])


def framing(window: Float[np.ndarray, " 4"], size: int) -> Float[np.ndarray, "2 3"]:
    """Upright pixels to those of a square picture that shows a window and a margin around it.

    Args:
        window: x, y, x, y, pixels.
        size: width and height of the square picture.
    """
    low, high = window[:2], window[2:]
    side = float((high - low).max()) * _MARGIN
    scale = size / max(side, 1.0)
    corner = (low + high) / 2 - side / 2
    return np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])


def _painted(
    image: UInt8[np.ndarray, "h w 3"],
    affine: Float[np.ndarray, "2 3"],
    people: Sequence[Person],
    faces: Int[np.ndarray, "f 3"],
    opacity: float,
) -> UInt8[np.ndarray, "h w 3"]:
    if not people:
        return image
    focal, centre = people[0].focal_length, people[0].principal_point
    meshes = [
        Mesh(vertices=_before(person, focal[0], centre), faces=faces, colour=person.colour)
        for person in people
    ]
    height, width = image.shape[:2]
    camera = Camera(
        focal_length=np.array([focal[0], focal[0]]),
        principal_point=centre,
        width=width,
        height=height,
        affine=affine,
    )
    return overlay_mesh(image, render(meshes, camera, supersampling=2), opacity)


def _before(person: Person, focal: float, centre: Float[np.ndarray, " 2"]) -> Float[np.ndarray, "v 3"]:
    """Vertices whose pixels in the camera ``focal, centre`` are those of the person's own camera.

    With ``u = fx x / z + cx`` wanted, ``x' = x + (cx - centre_x) z / fx``, ``y'`` alike and
    ``z' = z focal / fx`` give ``focal x' / z' + centre_x = u``. The same camera changes nothing.
    """
    (fx, fy), away = person.focal_length, person.principal_point - centre
    x, y, z = np.asarray(person.vertices, np.float64).T
    return np.stack([x + away[0] / fx * z, fy / fx * y + away[1] / fx * z, z * (focal / fx)], axis=1)


def _named(tile: UInt8[np.ndarray, "h w 3"], name: str) -> UInt8[np.ndarray, "h w 3"]:
    cv2 = opencv()
    scale = tile.shape[1] / 512
    place = round(16 * scale), round(34 * scale)
    cv2.putText(
        tile, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.8 * scale, _INK, max(1, round(scale)), cv2.LINE_AA
    )
    return tile
