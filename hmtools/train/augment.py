"""How a crop is varied: scale, rotation, mirror and colour, as SMPLer-X trains; geometry in one affine.

The draws of a sample follow from (seed, epoch, position) alone: see :mod:`hmtools.train.counters`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

from hmtools.core.errors import UsageError
from hmtools.geometry.crop import CROP_FACTOR, crop_affine
from hmtools.train.counters import normals, stream, uniforms
from hmtools.train.recipe import AugmentSpec

__all__ = [
    "CROP",
    "Augmentation",
    "augmentation_of",
    "augmentations",
    "augmented_affine",
    "check_window",
]

CROP = (384, 512)
"""Width and height of SMPLer-X's input crop, pixels."""

_STREAM = 5  # beside those of hmtools.train.mixture
_DRAWS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """What happens to one crop.

    Attributes:
        scale: factor on the size of the box.
        rotation: degrees, as :func:`hmtools.geometry.crop.crop_affine` takes them.
        colour: factors on red, green and blue.
        flip: whether the crop is mirrored.
    """

    scale: float = 1.0
    rotation: float = 0.0
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)
    flip: bool = False


def augmentation_of(
    spec: AugmentSpec,
    *,
    scale: float,
    rotate: float,
    rotation: float,
    colour: tuple[float, float, float],
    flip: float,
) -> Augmentation:
    """An augmentation from drawn numbers, by SMPLer-X's formula.

    Args:
        spec: how strong it is.
        scale: standard normal; cut at 1.
        rotate: in [0, 1): whether the crop is rotated.
        rotation: standard normal; cut at 2.
        colour: each in [0, 1).
        flip: in [0, 1): whether the crop is mirrored.
    """
    red, green, blue = (1 + spec.colour * (2 * value - 1) for value in colour)
    return Augmentation(
        scale=1 + spec.scale * min(max(scale, -1.0), 1.0),
        rotation=spec.rotation * min(max(rotation, -2.0), 2.0)
        if rotate <= spec.rotation_probability
        else 0.0,
        colour=(red, green, blue),
        flip=flip <= spec.flip_probability,
    )


def augmentations(
    spec: AugmentSpec, seed: int, epoch: int, positions: npt.NDArray[np.int64]
) -> list[Augmentation]:
    """The augmentations of the samples at some positions of an epoch."""
    drawn = uniforms(stream(seed, _STREAM, epoch, positions), _DRAWS)
    normal = normals(drawn[:, :4].reshape(-1, 2, 2))
    return [
        augmentation_of(
            spec, scale=scale, rotation=rotation, rotate=rotate, colour=(red, green, blue), flip=flip
        )
        for (scale, rotation), (rotate, red, green, blue, flip) in zip(
            normal.tolist(), drawn[:, 4:].tolist(), strict=True
        )
    ]


def augmented_affine(box_xywh: npt.ArrayLike, augmentation: Augmentation) -> Float[np.ndarray, "2 3"]:
    """Upright original pixels to pixels of the :data:`CROP`, mirror included, float64.

    Args:
        box_xywh: of :func:`hmtools.geometry.crop.network_box`.
        augmentation: of the sample.
    """
    x, y, w, h = np.asarray(box_xywh, np.float64).tolist()
    return crop_affine(
        (x + w / 2, y + h / 2),
        (w * augmentation.scale, h * augmentation.scale),
        CROP,
        augmentation.rotation,
        flip=augmentation.flip,
        convention="corners",
    )


def check_window(spec: AugmentSpec, ratio: float, stored_ratio: float, what: str) -> None:
    """Refuse an augmentation that looks beyond what stored crops hold.

    Args:
        spec: of the recipe.
        ratio: padding that training puts on boxes.
        stored_ratio: padding that the converter left room for.
        what: the set, for the message.

    Raises:
        UsageError: saying how far it may go.
    """
    turned = min(math.radians(2 * spec.rotation), math.atan2(CROP[0], CROP[1]))  # where a crop is widest
    reach = (math.cos(turned) + math.sin(turned) * CROP[0] / CROP[1]) * (1 + spec.scale) * ratio
    room = CROP_FACTOR * stored_ratio
    if reach > room:
        raise UsageError(
            f"{what}: scale {spec.scale:g} and rotation {spec.rotation:g} look at {reach:.3f} times the box, "
            f"its stored crops hold {room:.3f}; reduce augment.scale, or convert with --images full"
        )
