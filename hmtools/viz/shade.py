"""Pictures of meshes: colour, mask, depth and whose body is in front, from one z-buffer for all of them.

Lighting is fixed and belongs to the camera, so that pictures compare: a key light above the left shoulder of
whoever looks, a weak one from the right, and a soft fill that is brighter from above. Normals are mixed from
those of the vertices, so that bodies look smooth. Surfaces have two sides: the inner one, seen where the near
plane cuts a body open or a mesh has holes, is lit as well (its normals turned) but darker.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int16, UInt8

from hmtools.core.errors import UsageError
from hmtools.viz.mesh import NEAR, Camera, Mesh, Surface, view
from hmtools.viz.rasterise import barycentric_at, nearest_faces

__all__ = ["Rendered", "render"]

_KEY = np.array([-0.65, -0.65, -0.60]) / np.linalg.norm([-0.65, -0.65, -0.60])  # towards the light
_FILL = np.array([0.90, 0.10, -0.45]) / np.linalg.norm([0.90, 0.10, -0.45])
_KEY_LIGHT, _FILL_LIGHT, _SKY, _GROUND = 0.90, 0.12, 0.20, 0.04  # linear light; white is about 1
_INNER = 0.35  # of the light that the outer side gets
_GAMMA = 2.2
_MOST_SAMPLES = 4
_SAMPLES_AT_ONCE, _PIXELS_AT_ONCE = 1 << 20, 1 << 16  # the latter fits a processor's cache


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rendered:
    """A picture of meshes and its truth, all (H, W) of the camera's image.

    Attributes:
        rgb: colour, uint8; black where there is nothing.
        mask: whether the centre of a pixel is covered.
        depth: z of the surface at the centre, metres; infinity where there is nothing.
        person: which mesh is in front at the centre; -1 where there is none.
        coverage: covered share of the pixel's area, 0 to 1: the mask itself without supersampling. A pixel on
            a border may have some although its centre is free.
    """

    rgb: UInt8[np.ndarray, "h w 3"]
    mask: Bool[np.ndarray, "h w"]
    depth: Float32[np.ndarray, "h w"]
    person: Int16[np.ndarray, "h w"]
    coverage: Float32[np.ndarray, "h w"]


def render(meshes: Sequence[Mesh], camera: Camera, *, supersampling: int = 1, near: float = NEAR) -> Rendered:
    """Draw meshes; nearer ones hide farther ones pixel by pixel.

    Equal input gives equal bytes. Mask, depth and person do not depend on ``supersampling``. Beyond meshes
    and result it holds about 8 bytes per pixel, 60 MB, and 200 bytes per face: 180 MB in all for bodies in
    a 3840x2160 picture, of which 116 MB are the result.

    Args:
        meshes: in the camera frame; ``person`` counts them in this order.
        camera: the camera and the size of the image.
        supersampling: samples per pixel and axis for the colours, 1 to 4; 2 makes smooth borders and takes
            about three times as long.
        near: surfaces nearer than this are cut off, metres.

    Returns:
        The picture.

    Raises:
        UsageError: for a number of samples, an image size, a lens, a near plane or faces that cannot be.
    """
    if not 1 <= supersampling <= _MOST_SAMPLES:
        raise UsageError(f"supersampling: expected 1 to {_MOST_SAMPLES} samples, got {supersampling}")
    if len(meshes) > np.iinfo(np.int16).max:
        raise UsageError(f"meshes: expected at most {np.iinfo(np.int16).max}, got {len(meshes)}")
    surface = view(meshes, camera, near=near)
    shape = camera.height, camera.width
    face, depth = nearest_faces(surface.points, surface.faces, camera.width, camera.height)
    mask = face >= 0
    person = np.append(surface.mesh, -1).astype(np.int16)[face]  # face -1 finds the last
    rgb, coverage = np.zeros((*shape, 3), np.uint8), mask.astype(np.float32)
    colours = np.array([mesh.colour for mesh in meshes], np.float64).reshape(-1, 3)
    if supersampling == 1:
        _paint(rgb, surface, face, colours)
    else:
        for window in _windows(surface, camera, supersampling):
            _paint_window(rgb, coverage, surface, colours, window, supersampling)
    return Rendered(rgb=rgb, mask=mask, depth=depth, person=person, coverage=coverage)


Window = tuple[slice, slice]  # rows and columns


def _windows(surface: Surface, camera: Camera, samples: int) -> Iterator[Window]:
    """Bands of the part of the image in which there is anything, few enough samples each."""
    used = surface.points[np.unique(surface.faces)][:, :2]
    used = used[np.isfinite(used).all(axis=1)]
    if not len(used):
        return
    low = np.clip(np.floor(used.min(axis=0)), 0, [camera.width, camera.height]).astype(int)
    high = np.clip(np.ceil(used.max(axis=0)) + 1, 0, [camera.width, camera.height]).astype(int)
    columns = slice(int(low[0]), int(high[0]))
    width = columns.stop - columns.start
    if width <= 0:
        return
    step = max(1, _SAMPLES_AT_ONCE // (width * samples**2))
    for top in range(int(low[1]), int(high[1]), step):
        yield slice(top, min(top + step, int(high[1]))), columns


def _paint_window(
    rgb: Any, coverage: Any, surface: Surface, colours: Any, window: Window, samples: int
) -> None:
    """Colours and coverage of a window, from samples * samples points in each pixel."""
    rows, columns = window
    height, width = rows.stop - rows.start, columns.stop - columns.start
    # Sample i of pixel 0 lies at (i + 0.5) / samples - 0.5.
    origin = np.array([columns.start, rows.start, 0.0])
    scale = np.array([samples, samples, 1.0])
    points = (surface.points - origin) * scale + np.array([0.5, 0.5, 0.0]) * (samples - 1)
    face, _ = nearest_faces(points, surface.faces, width * samples, height * samples)
    fine = np.zeros((*face.shape, 3), np.uint8)
    _paint(fine, replace(surface, points=points), face, colours)
    count, total = np.zeros((height, width), np.uint16), np.zeros((height, width, 3), np.uint16)
    for i, j in np.ndindex(samples, samples):
        count += face[i::samples, j::samples] >= 0
        total += fine[i::samples, j::samples]
    mean = (total + count[..., None] // 2) // np.maximum(count, 1)[..., None]
    rgb[window] = mean.astype(np.uint8)
    coverage[window] = count / np.float32(samples**2)


def _paint(rgb: Any, surface: Surface, face: Any, colours: Any) -> None:
    """Fill in the colour of every pixel that shows a face."""
    width = face.shape[1]
    pixels, flat = rgb.reshape(-1, 3), face.reshape(-1)
    for begin in range(0, len(flat), _PIXELS_AT_ONCE):
        part = begin + np.flatnonzero(flat[begin : begin + _PIXELS_AT_ONCE] >= 0)
        of = flat[part]
        y, x = np.divmod(part, width)
        weights = barycentric_at(surface.points, surface.faces, of, x, y)
        light = _light(surface, of, weights)
        pixels[part] = np.minimum(colours[surface.mesh[of]] * light[:, None] + 0.5, 255).astype(np.uint8)


def _light(surface: Surface, face: Any, weights: Any) -> Any:
    """Factor on the sRGB colour at points of faces, given as weights of the corners."""
    normals = np.einsum("ni,nij->nj", weights, surface.normals[surface.faces[face]])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    inward = surface.inward[face]
    normals[inward] *= -1
    above = 0.5 - 0.5 * normals[:, 1]  # y points down
    linear = _GROUND + (_SKY - _GROUND) * above
    linear += _KEY_LIGHT * np.maximum(normals @ _KEY, 0) + _FILL_LIGHT * np.maximum(normals @ _FILL, 0)
    linear[inward] *= _INNER
    return linear ** (1 / _GAMMA)  # the same as shading the linearised colour and encoding it again
