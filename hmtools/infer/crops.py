"""From a person in an image to what the network looks at, as SMPLer-X is tested and its demo runs it.

The body box is fitted into the image, grown to 3:4 and padded; the crop is resampled bilinearly with zeros
outside of the image, and not normalised.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, UInt8

from hmtools.geometry.arrays import ArrayLike
from hmtools.geometry.crop import compose_affine, crop_affine, invert_affine, network_box
from hmtools.geometry.warp import warp

__all__ = ["CROP_SIZE", "FREE_RATIO", "Crop", "person_crop"]

CROP_SIZE = (384, 512)
"""Width and height of SMPLer-X's crop, pixels."""
FREE_RATIO = 1.25
"""Padding of boxes in free images: that of the published demo."""


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """What a network is shown of one person.

    Attributes:
        image: (512, 384, 3) float32 RGB, 0 to 255, not rounded to whole grey levels.
        affine: float64 (2, 3), upright original pixels to pixels of the crop.
    """

    image: Float32[np.ndarray, "rows columns 3"]
    affine: Float[np.ndarray, "2 3"]


def person_crop(
    image: UInt8[np.ndarray, "h w 3"],
    bbox_xywh: ArrayLike,
    size: tuple[int, int],
    *,
    ratio: float = FREE_RATIO,
    stored: Float[np.ndarray, "2 3"] | None = None,
) -> Crop | None:
    """Cut one person out of an image.

    Args:
        image: RGB, upright.
        bbox_xywh: x, y, w, h (and what may follow), upright original pixels.
        size: width and height of the upright original image, which a stored one may only be a part of.
        ratio: padding of the box.
        stored: upright original pixels to pixels of ``image``; None: they are the same.

    Returns:
        The crop; None when nothing of the box is inside the image.
    """
    box = network_box(bbox_xywh, *size, ratio)
    if box is None:
        return None
    x, y, w, h = box.tolist()
    affine = crop_affine((x + w / 2, y + h / 2), (w, h), CROP_SIZE, convention="corners")
    seen = affine if stored is None else compose_affine(affine, invert_affine(stored))
    return Crop(warp(image, seen, CROP_SIZE), affine)
