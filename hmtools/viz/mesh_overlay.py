"""Rendered meshes over a picture; boxes and skeletons of :mod:`hmtools.viz.overlay` go on top of that."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from hmtools.core.errors import UsageError
from hmtools.viz.overlay import check_image
from hmtools.viz.shade import Rendered

__all__ = ["OPACITY", "overlay_mesh"]

OPACITY = 0.75
"""How much of the picture a mesh hides: its shading reads well, and clothes still show through."""

_ROWS_AT_ONCE = 256


def overlay_mesh(
    image: UInt8[np.ndarray, "h w 3"], rendered: Rendered, opacity: float = OPACITY
) -> UInt8[np.ndarray, "h w 3"]:
    """Lay a rendered picture over an image.

    Draw meshes first, then :func:`~hmtools.viz.overlay.draw_boxes` and
    :func:`~hmtools.viz.overlay.draw_skeleton` on the result: lines stay legible on a body.

    Args:
        image: (H, W, 3) uint8 RGB, the image that the camera of ``rendered`` describes.
        rendered: of the same size.
        opacity: 0 (invisible) to 1.

    Returns:
        A new (H, W, 3) uint8 RGB image.

    Raises:
        UsageError: for an image that is none or has another size, or an opacity outside of 0 to 1.
    """
    check_image(image)
    if image.shape != rendered.rgb.shape:
        raise UsageError(
            f"image: expected {rendered.rgb.shape[1]}x{rendered.rgb.shape[0]} pixels as rendered, "
            f"found {image.shape[1]}x{image.shape[0]}"
        )
    if not 0 <= opacity <= 1:
        raise UsageError(f"opacity: expected 0 to 1, got {opacity}")
    blended = np.array(image)
    rows = np.flatnonzero(rendered.coverage.any(axis=1))
    for begin in range(int(rows[0]), int(rows[-1]) + 1, _ROWS_AT_ONCE) if len(rows) else ():
        band = slice(begin, begin + _ROWS_AT_ONCE)
        y, x = np.nonzero(rendered.coverage[band])
        strength = (opacity * rendered.coverage[band][y, x])[:, None]
        below, above = image[band][y, x].astype(np.float32), rendered.rgb[band][y, x].astype(np.float32)
        blended[band][y, x] = (below + strength * (above - below) + 0.5).astype(np.uint8)
    return blended
