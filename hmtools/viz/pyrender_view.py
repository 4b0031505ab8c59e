"""Pretty pictures of meshes by pyrender, an extra: ``pip install 'hmtools[pyrender]'``.

:mod:`hmtools.viz.shade` is the renderer that everything else uses: it needs nothing, and its masks are exact.
This one has specular light, and borders smoothed by the graphics library. Nothing of it is imported, and no
graphics context opened, before :func:`render_pretty` is called. Without a display it needs EGL (Debian:
``libegl1 libegl-mesa0 libgl1-mesa-dri``) or, with ``PYOPENGL_PLATFORM=osmesa``, ``libosmesa6``.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from hmtools.core.errors import UsageError
from hmtools.viz.mesh import NEAR, Camera, Mesh, vertex_normals

__all__ = ["render_pretty"]

_FAR = 1000.0  # metres
_TO_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])  # pose of a camera that looks along +z with y down
_SUN = (-0.65, -0.65, -0.60)  # where the light comes from, camera frame


def render_pretty(meshes: Sequence[Mesh], camera: Camera) -> UInt8[np.ndarray, "h w 4"]:
    """Draw meshes with pyrender.

    Sets ``PYOPENGL_PLATFORM`` to ``egl`` if it is not set and OpenGL was not imported before.

    Args:
        meshes: in the camera frame.
        camera: a pinhole without affine: OpenGL bends no lines.

    Returns:
        (H, W, 4) RGBA, colours not multiplied by alpha, transparent where there is nothing.

    Raises:
        UsageError: if pyrender is not installed, finds no graphics library, or the camera has a lens.
    """
    if camera.model != "pinhole" or camera.affine is not None:
        raise UsageError(
            "render_pretty draws pinhole cameras without an affine only; hmtools.viz.shade.render draws all"
        )
    pyrender = _pyrender()
    try:
        renderer = pyrender.OffscreenRenderer(camera.width, camera.height)
    except Exception as error:  # each platform has its own error for a missing driver
        raise UsageError(_no_context(error)) from error
    try:
        colour, _ = renderer.render(_scene(pyrender, meshes, camera), flags=pyrender.RenderFlags.RGBA)
    finally:
        renderer.delete()
    alpha = np.asarray(colour[..., 3:], np.uint16)
    # Samples beside a border count as black in a pixel's mean; that would leave a dark line around bodies.
    straight = np.minimum(colour[..., :3] * np.uint16(255) // np.maximum(alpha, 1), 255)
    return np.concatenate([straight, alpha], axis=2).astype(np.uint8)


def _pyrender() -> Any:
    if not any(name == "OpenGL" or name.startswith("OpenGL.") for name in sys.modules):
        os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pyrender's age shows in invalid escapes and old names
            return importlib.import_module("pyrender")
    except ModuleNotFoundError as error:
        raise UsageError(
            f"pretty pictures need pyrender (no module {error.name}): pip install 'hmtools[pyrender]'; "
            "hmtools.viz.shade.render needs no extra"
        ) from error
    except (ImportError, AttributeError, OSError) as error:
        raise UsageError(_no_context(error)) from error


def _no_context(error: Exception) -> str:
    platform = os.environ.get("PYOPENGL_PLATFORM", "not set")
    return (
        f"pyrender finds no graphics library ({type(error).__name__}: {error}); "
        f"PYOPENGL_PLATFORM is {platform}. Without a display install EGL (Debian: libegl1 libegl-mesa0 "
        "libgl1-mesa-dri), or libosmesa6 and set PYOPENGL_PLATFORM=osmesa; hmtools.viz.shade.render needs "
        "neither"
    )


def _scene(pyrender: Any, meshes: Sequence[Mesh], camera: Camera) -> Any:
    scene = pyrender.Scene(bg_color=(0, 0, 0, 0), ambient_light=(0.25, 0.25, 0.25))
    for mesh in meshes:
        material = pyrender.MetallicRoughnessMaterial(
            baseColorFactor=(*((c / 255) ** 2.2 for c in mesh.colour), 1.0),
            metallicFactor=0.1,
            roughnessFactor=0.6,
        )
        scene.add(_smooth(pyrender, mesh, material))
    fx, fy = np.broadcast_to(np.asarray(camera.focal_length, np.float64), 2).tolist()
    # pyrender counts pixels from the image's corner, we from the centre of the first one.
    cx, cy = (np.asarray(camera.principal_point, np.float64) + 0.5).tolist()
    lens = pyrender.IntrinsicsCamera(fx=fx, fy=fy, cx=cx, cy=cy, znear=NEAR, zfar=_FAR)
    scene.add(lens, pose=_TO_OPENGL)
    scene.add(pyrender.DirectionalLight(color=np.ones(3), intensity=3.5), pose=_towards(_SUN))
    return scene


def _smooth(pyrender: Any, mesh: Mesh, material: Any) -> Any:
    primitive = pyrender.Primitive(
        positions=np.asarray(mesh.vertices, np.float32),
        normals=vertex_normals(mesh.vertices, mesh.faces).astype(np.float32),
        indices=np.asarray(mesh.faces, np.uint32),
        material=material,
    )
    return pyrender.Mesh(primitives=[primitive])


def _towards(source: tuple[float, float, float]) -> Any:
    """Pose of a light that shines along its own -z, from a direction."""
    z = np.array(source) / np.linalg.norm(source)
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    return pose
