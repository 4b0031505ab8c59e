"""Drawing a body of 10,475 vertices: our renderer against OpenCV's polygons painted from far to near.

Runs on the stand-in body (made once in the user's cache) or on ``--models``; one thread. The painter gives
one grey level per face and no depth: the least that a picture of a mesh can cost from Python.
"""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from _report import Figure, arguments, report

from hmtools.bodies.assets import load_model, standin_dir
from hmtools.viz.mesh import Camera, Mesh
from hmtools.viz.mesh_overlay import overlay_mesh
from hmtools.viz.rasterise import rasterise
from hmtools.viz.shade import render

LIMIT_MS = 100.0
DISTANCE = 3.0  # metres


def milliseconds(run: Callable[[], Any], times: int) -> float:
    """Median wall time of ``run``, the first two calls left out."""
    found = []
    for _ in range(times + 2):
        began = time.perf_counter()
        run()
        found.append(time.perf_counter() - began)
    return 1000 * statistics.median(found[2:])


def body(models: Path) -> Mesh:
    """The rest pose, facing the camera."""
    model = load_model("smplx", "neutral", roots=(models,))
    vertices = np.asarray(model.v_template, np.float64) * [1, -1, -1]
    vertices -= (vertices.max(axis=0) + vertices.min(axis=0)) / 2
    return Mesh(vertices=vertices + np.array([0, 0, DISTANCE]), faces=np.asarray(model.faces))


def camera(width: int, height: int, zoom: float) -> Camera:
    """Looking at the body's middle; at zoom 1 a metre at the body's distance is as long as the image."""
    return Camera(
        focal_length=zoom * height * DISTANCE,
        principal_point=((width - 1) / 2, (height - 1) / 2),
        width=width,
        height=height,
    )


def paint(mesh: Mesh, view: Camera) -> np.ndarray:
    """One convex polygon per face, far ones first."""
    points = view.pixels(mesh.vertices)
    corners = mesh.vertices[mesh.faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    grey = 255 * np.abs(across[:, 2]) / np.maximum(np.linalg.norm(across, axis=1), 1e-12)
    image = np.zeros((view.height, view.width), np.uint8)
    flat = np.rint(points[mesh.faces][..., :2]).astype(np.int32)
    for face in np.argsort(-corners[..., 2].mean(axis=1)).tolist():
        cv2.fillConvexPoly(image, flat[face], grey[face])
    return image


def peak_mb(run: Callable[[], Any]) -> float:
    """Most memory that ``run`` holds at once, its result included."""
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def figures(mesh: Mesh, times: int) -> list[Figure]:
    """512x512, then 4K."""
    small, large = camera(512, 512, 0.708), camera(3840, 2160, 0.6)
    covered = int(render([mesh], small).mask.sum())
    points = small.pixels(mesh.vertices)
    photo = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    painter = milliseconds(lambda: paint(mesh, small), times)
    drawn = milliseconds(lambda: render([mesh], small), times)
    over = milliseconds(lambda: overlay_mesh(photo, render([mesh], small)), times)
    raster = milliseconds(lambda: rasterise(points, mesh.faces, 512, 512), times)
    fine = milliseconds(lambda: render([mesh], small, supersampling=2), times)
    target, few = f"<= {LIMIT_MS:.0f} ms", max(3, times // 10)
    wide = milliseconds(lambda: render([mesh], large), few)
    wide_fine = milliseconds(lambda: render([mesh], large, supersampling=2), few)
    return [
        Figure(name=f"picture 512x512, {covered:,} pixels covered", value=drawn, unit="ms",
               baseline=painter, ratio=painter / drawn, target=target, met=drawn <= LIMIT_MS),
        Figure(name="the same, laid over an image", value=over, unit="ms", baseline=painter,
               ratio=painter / over, target=target, met=over <= LIMIT_MS),
        Figure(name="raster alone (face, depth, barycentric)", value=raster, unit="ms", baseline=painter,
               ratio=painter / raster),
        Figure(name="picture, 2x2 samples", value=fine, unit="ms", baseline=drawn, ratio=drawn / fine),
        Figure(name="picture 3840x2160", value=wide, unit="ms"),
        Figure(name="picture 3840x2160, 2x2 samples", value=wide_fine, unit="ms"),
        Figure(name="memory of a 3840x2160 picture at its peak", value=peak_mb(lambda: render([mesh], large)),
               unit="MB"),
        Figure(name="the same, 2x2 samples", unit="MB",
               value=peak_mb(lambda: render([mesh], large, supersampling=2))),
    ]  # fmt: skip


def main() -> int:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--times", type=int, default=40, help="pictures per figure (default 40; 4K a tenth)")
    parser.add_argument("--models", type=Path, help="folder of body models (default: the stand-in)")
    args = parser.parse_args()
    cv2.setNumThreads(0)
    mesh = body(args.models or standin_dir())
    settings = {"vertices": len(mesh.vertices), "faces": len(mesh.faces), "pictures": args.times}
    return report(figures(mesh, args.times), settings, args.json)


if __name__ == "__main__":
    raise SystemExit(main())
