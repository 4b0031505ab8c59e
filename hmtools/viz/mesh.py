"""Meshes before a camera: what is in front of it, and where its lens puts that.

Triangles that reach behind the camera are cut at a near plane, so that a person half out of the picture is
drawn as far as there is something to see. After that every corner goes through the camera's lens model.
Triangles keep straight edges: a lens bends a line between two corners, over the few pixels of a body's
triangle by about a hundredth of one; divide larger ones. Rays that no lens takes (beyond its fold, see
:func:`hmtools.geometry.projection.project`) have no pixel: triangles that end there are left out, which for
such lenses holds for those at the near plane as well, for they lie far outside the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from hmtools.core.errors import UsageError
from hmtools.geometry.arrays import ArrayLike
from hmtools.geometry.crop import apply_affine
from hmtools.geometry.projection import project

__all__ = [
    "NEAR",
    "PERSON_COLOURS",
    "PREDICTED_COLOURS",
    "Camera",
    "Mesh",
    "Surface",
    "person_colour",
    "predicted_colour",
    "vertex_normals",
    "view",
]

NEAR = 0.01
"""Distance of the near plane from the camera, metres along z."""

PERSON_COLOURS: tuple[tuple[int, int, int], ...] = (
    # Light, so that shading shows; apart for common kinds of colour blindness in hue or in lightness.
    (166, 200, 240),
    (248, 190, 122),
    (158, 216, 172),
    (232, 164, 204),
    (244, 226, 134),
    (196, 178, 236),
)
"""RGB of the first persons of an image as they are labelled; later ones begin again."""

PREDICTED_COLOURS: tuple[tuple[int, int, int], ...] = (
    # Far more vivid than skin, cloth and the pale people above, over whom they are drawn as well.
    (40, 126, 255),
    (255, 56, 150),
    (110, 226, 30),
    (255, 112, 16),
    (0, 212, 220),
    (146, 84, 255),
)
"""RGB of the first predicted persons of an image; later ones begin again."""


def person_colour(index: int) -> tuple[int, int, int]:
    """RGB of the label of person ``index`` of an image."""
    return PERSON_COLOURS[index % len(PERSON_COLOURS)]


def predicted_colour(index: int) -> tuple[int, int, int]:
    """RGB of the prediction of person ``index`` of an image; no labelled and no synthetic person has it."""
    return PREDICTED_COLOURS[index % len(PREDICTED_COLOURS)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mesh:
    """Something to draw.

    Attributes:
        vertices: (V, 3) metres, camera frame (x right, y down, z forward). Faces with a vertex that is not
            finite are left out.
        faces: (F, 3) rows of ``vertices``, outward by the right-hand rule.
        colour: RGB, 0 to 255.
    """

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    colour: tuple[int, int, int] = PERSON_COLOURS[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Camera:
    """A camera and the image that is drawn on.

    Attributes:
        focal_length: fx, fy or one number, pixels of the upright original image.
        principal_point: cx, cy, pixels of the same, pixel centres at integers.
        width: of the image drawn on, pixels.
        height: of the image drawn on, pixels.
        model: lens model, a key of :data:`~hmtools.geometry.projection.CAMERA_MODELS`.
        distortion: its coefficients; None for a pinhole.
        affine: (2, 3) upright original pixel centres -> pixel centres of the image drawn on (a stored crop);
            None when they are the same.
    """

    focal_length: ArrayLike
    principal_point: ArrayLike
    width: int
    height: int
    model: str = "pinhole"
    distortion: ArrayLike | None = None
    affine: ArrayLike | None = None

    def pixels(self, vertices: Float[np.ndarray, "v 3"]) -> Float[np.ndarray, "v 3"]:
        """Pixel x, pixel y and depth of points in the camera frame.

        Args:
            vertices: (V, 3) metres, camera frame.

        Returns:
            float64 (V, 3) pixels of the image drawn on, and z in metres; x and y are NaN for points that are
            not in front of the camera or that its lens does not take.

        Raises:
            UsageError: for an unknown lens model, a wrong number of coefficients or an affine of wrong shape.
        """
        found = project(
            np.asarray(vertices, np.float64),
            self.focal_length,
            self.principal_point,
            self.model,
            self.distortion,
            behind="nan",
        )
        if self.affine is not None:
            matrix = np.asarray(self.affine, np.float64)
            if matrix.shape != (2, 3):
                raise UsageError(f"affine: expected shape (2, 3), upright -> image; found {matrix.shape}")
            found = apply_affine(matrix, found)
        return np.concatenate([found, np.asarray(vertices[:, 2:], np.float64)], axis=1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surface:
    """Several meshes as one, cut at the near plane.

    Attributes:
        points: (V, 3) pixel x, pixel y, depth in metres; for :func:`~hmtools.viz.rasterise.rasterise`.
        normals: (V, 3) unit vertex normals, outward, camera frame.
        faces: (F, 3) rows of ``points``.
        mesh: (F,) which mesh each face is of.
        inward: (F,) whether the camera sees the inner side of a face.
    """

    points: Float[np.ndarray, "v 3"]
    normals: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    mesh: Int[np.ndarray, " f"]
    inward: Bool[np.ndarray, " f"]


def view(meshes: Sequence[Mesh], camera: Camera, *, near: float = NEAR) -> Surface:
    """Put meshes before a camera.

    Args:
        meshes: any number, in the camera frame.
        camera: where they are seen from.
        near: distance of the near plane, metres, > 0.

    Returns:
        What is left of them in front of the near plane; of several meshes in their order.

    Raises:
        UsageError: for a near plane that is not in front, faces that name vertices that do not exist, or a
            lens that does not exist.
    """
    if not (np.isfinite(near) and near > 0):
        raise UsageError(f"near plane: expected a distance > 0 in metres, got {near}")
    for index, mesh in enumerate(meshes):
        if len(mesh.faces) and (mesh.faces.min() < 0 or mesh.faces.max() >= len(mesh.vertices)):
            raise UsageError(
                f"mesh {index}: faces name vertices {mesh.faces.min()} to {mesh.faces.max()}, "
                f"it has {len(mesh.vertices)}"
            )
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    counts = [len(mesh.faces) for mesh in meshes]
    none = np.zeros((0, 3))
    vertices = np.concatenate([none, *(mesh.vertices for mesh in meshes)])
    normals = np.concatenate([none, *(vertex_normals(mesh.vertices, mesh.faces) for mesh in meshes)])
    faces = np.concatenate([none, *(m.faces + s for m, s in zip(meshes, starts, strict=False))])
    corners, faces, parent = _cut(np.concatenate([vertices, normals], axis=1), faces.astype(np.int64), near)
    vertices, normals = corners[:, :3], corners[:, 3:]
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return Surface(
        points=camera.pixels(vertices),
        normals=normals,
        faces=faces,
        mesh=np.repeat(np.arange(len(meshes)), counts)[parent],
        inward=(np.cross(b - a, c - a) * a).sum(axis=1) > 0,
    )


def vertex_normals(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> Float[np.ndarray, "v 3"]:
    """Unit normals of vertices: the mean of their faces' normals, by area.

    Args:
        vertices: (V, 3).
        faces: (F, 3), outward by the right-hand rule; those with a vertex that is not finite do not count.

    Returns:
        float64 (V, 3); zero where no face has an area.
    """
    corners = np.asarray(vertices, np.float64)
    finite: Any = np.isfinite(corners).all(axis=1)
    faces = faces[finite[faces].all(axis=1)]
    a, b, c = (corners[faces[:, i]] for i in range(3))
    across = np.cross(b - a, c - a)
    total = np.stack(
        [np.bincount(faces.ravel(), np.repeat(across[:, i], 3), len(corners)) for i in range(3)], axis=1
    )
    length = np.linalg.norm(total, axis=1, keepdims=True)
    found: NDArray[np.float64] = total / np.where(length > 0, length, 1.0)
    return found


def _cut(corners: Any, faces: Any, near: float) -> tuple[Any, Any, Any]:
    """The part of faces beyond the near plane.

    Args:
        corners: (V, C) position, then whatever else is mixed along a cut edge.
        faces: (F, 3).
        near: metres along z.

    Returns:
        (V', C) corners with those of the cuts appended, (F', 3) faces, (F',) row of ``faces`` each is from.
    """
    sound = np.isfinite(corners[:, :3]).all(axis=1)[faces].all(axis=1)
    front = corners[:, 2] >= near
    count = np.where(sound, front[faces].sum(axis=1), 0)
    whole, one, two = (np.flatnonzero(count == n) for n in (3, 1, 2))
    if not len(one) and not len(two):
        return corners, faces[whole], whole
    # Turned so that the corner that is alone on its side comes first; the winding stays.
    lone_front = _turned(faces[one], front[faces[one]])
    lone_back = _turned(faces[two], ~front[faces[two]])
    edges = np.concatenate(
        [lone_front[:, [0, 1]], lone_front[:, [0, 2]], lone_back[:, [0, 1]], lone_back[:, [0, 2]]]
    )
    fresh = len(corners) + np.arange(len(edges))
    p, q, r, s = np.split(fresh, np.cumsum([len(one), len(one), len(two)]))
    pieces = [
        faces[whole],
        np.stack([lone_front[:, 0], p, q], axis=1),
        np.stack([r, lone_back[:, 1], lone_back[:, 2]], axis=1),
        np.stack([r, lone_back[:, 2], s], axis=1),
    ]
    parent = np.concatenate([whole, one, two, two])
    return np.concatenate([corners, _crossing(corners, edges, near)]), np.concatenate(pieces), parent


def _turned(faces: Any, alone: Any) -> Any:
    first = np.argmax(alone, axis=1)[:, None]
    return np.take_along_axis(faces, (first + np.arange(3)) % 3, axis=1)


def _crossing(corners: Any, edges: Any, near: float) -> Any:
    """Where edges cross the near plane; alike to the last bit for both faces of an edge."""
    ends = np.sort(edges, axis=1)
    a, b = corners[ends[:, 0]], corners[ends[:, 1]]
    part = ((near - a[:, 2]) / (b[:, 2] - a[:, 2]))[:, None]
    found = a + part * (b - a)
    found[:, 2] = near
    return found
