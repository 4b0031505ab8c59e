"""Things that stand before people, and what they leave to be seen: the truth of occlusion.

An occluder is a board in front of one side of a person, nearer to the camera than any part of them. What it
hides is decided by a depth picture of the whole scene, other people included, so visibility is that of the
rendered picture and no guess about boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hmtools.core.errors import UsageError
from hmtools.viz.mesh import Camera as Drawing
from hmtools.viz.mesh import Mesh
from hmtools.viz.rasterise import visible_vertices
from hmtools.viz.shade import render

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hmtools.synth.cameras import Camera, View

__all__ = ["COLOUR", "make_occluder", "occlusion", "visible"]

COLOUR = (112, 92, 74)
"""RGB of an occluder."""

_NEARER = 0.85  # of the distance of the person's nearest point
_CELLS = 8  # a lens bends long edges: boards are cut into cells that it hardly bends


def make_occluder(rng: np.random.Generator, view: View, camera: Camera, *, hidden: float) -> Mesh:
    """A board that covers one side of a person in the picture.

    Args:
        rng: source of the side it comes from and of how far it reaches beyond the person.
        view: the person, as the camera sees them.
        camera: the camera.
        hidden: share of the person's width (from a side) or height (from below) behind the board, 0 to 1.

    Returns:
        A mesh in the camera frame, metres.

    Raises:
        UsageError: for a share that is none.
    """
    if not 0 < hidden <= 1:
        raise UsageError(f"hidden: expected a share of the person, more than 0 up to 1, found {hidden}")
    depth = _NEARER * float(view.vertices[:, 2].min())
    rays = view.vertices[:, :2] / view.vertices[:, 2:]
    low, high = rays.min(axis=0), rays.max(axis=0)
    size, side = high - low, int(rng.integers(3))  # from the left, from the right, from below
    beyond = rng.uniform(0.05, 0.4, 4) * np.concatenate([size, size])
    first, last = low - beyond[:2], high + beyond[2:]
    if side == 0:
        last[0] = low[0] + hidden * size[0]
    elif side == 1:
        first[0] = high[0] - hidden * size[0]
    else:
        first[1] = high[1] - hidden * size[1]
    x, y = (np.linspace(a, b, _CELLS + 1) for a, b in zip(first, last, strict=True))
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    vertices = depth * np.column_stack([grid, np.ones(len(grid))])
    corner = np.arange(_CELLS)[:, None] * (_CELLS + 1) + np.arange(_CELLS)
    a, b, c, d = (corner + step for step in (0, 1, _CELLS + 1, _CELLS + 2))
    # Outward is towards the camera: x right, y down, so clockwise as seen.
    faces = np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])
    return Mesh(vertices=vertices, faces=faces, colour=COLOUR)


def visible(
    views: Sequence[View], faces: NDArray[np.int64], occluders: Sequence[Mesh], camera: Camera
) -> list[NDArray[np.bool_]]:
    """Which vertices of each person the camera sees, past occluders, other people and themselves.

    Args:
        views: the people, all of one body family.
        faces: (F, 3) faces of their mesh.
        occluders: whatever else stands there, camera frame.
        camera: the camera.

    Returns:
        (V,) for each person; a vertex outside the picture is not seen.
    """
    drawing = Drawing(
        focal_length=camera.focal_length,
        principal_point=camera.principal_point,
        width=camera.width,
        height=camera.height,
        model=camera.model,
        distortion=camera.distortion if len(camera.distortion) else None,
    )
    people = [Mesh(vertices=view.vertices, faces=faces) for view in views]
    depth = render([*people, *occluders], drawing).depth
    return [visible_vertices(drawing.pixels(mesh.vertices), depth) for mesh in people]


def occlusion(
    views: Sequence[View], faces: NDArray[np.int64], occluders: Sequence[Mesh], camera: Camera
) -> list[float]:
    """Share of each person that something else hides: 0 alone in the picture, 1 when nothing is to be seen.

    It counts the vertices that would be seen with nobody and nothing else there; a person out of the picture
    is hidden altogether.
    """
    together = visible(views, faces, occluders, camera)
    shares = []
    for view, seen in zip(views, together, strict=True):
        (alone,) = visible([view], faces, [], camera)
        shares.append(1 - float((seen & alone).sum()) / float(alone.sum()) if alone.any() else 1.0)
    return shares
