"""Augmentations as the published loaders draw them, from the same two generators."""

from __future__ import annotations

import random

import numpy as np

from hmtools.train.augment import Augmentation, augmentation_of
from hmtools.train.recipe import AugmentSpec


def published(seed: int) -> Augmentation:
    """The augmentation drawn after ``random`` and ``numpy.random`` were both seeded."""
    numbers, plain = np.random.RandomState(seed), random.Random(seed)
    scale, rotate = float(numbers.randn()), plain.random()
    # A rotation that does not happen is not drawn: the generator's next number would go elsewhere.
    rotation = float(numbers.randn()) if rotate <= AugmentSpec().rotation_probability else 0.0
    red, green, blue = (plain.random() for _ in range(3))
    return augmentation_of(
        AugmentSpec(),
        scale=scale,
        rotate=rotate,
        rotation=rotation,
        colour=(red, green, blue),
        flip=plain.random(),
    )
