from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.core.image import opencv
from hmtools.geometry.crop import crop_affine
from hmtools.geometry.warp import warp

FIGURES = Path(__file__).parents[1] / "golden/smplerx/preprocess.npz"
CROP = (384, 512)


@pytest.fixture(scope="module")
def patches() -> dict[str, Any]:
    with np.load(FIGURES) as data:
        return {name: data[name] for name in data.files if name.startswith("patch/")}


@pytest.mark.parametrize("step", [1, 2])
def test_published_crops(patches: dict[str, Any], step: int) -> None:
    """Pixel for pixel, also where only every second one is made."""
    for (x, y, w, h, scale, rotation, flip), expected in zip(
        patches["patch/par_f64"].tolist(), patches["patch/crop_sub"], strict=True
    ):
        size = (w * scale, h * scale)
        affine = crop_affine(
            (x + w / 2, y + h / 2), size, CROP, rotation, flip=bool(flip), convention="corners"
        )
        found = warp(patches["patch/img_u8"], affine / step, (CROP[0] // step, CROP[1] // step))
        error = abs(found[:: 8 // step, :: 8 // step] - expected)
        assert error.mean() < 0.1  # OpenCV 4 interpolates with steps of 1/32 pixel, OpenCV 5 does not
        assert error.max() < 4


def test_only_what_is_looked_at_is_converted() -> None:
    """Any affine, also one that misses the image: the same as a warp of all of it."""
    cv2 = opencv()
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (90, 120, 3)).astype(np.uint8)
    for number in range(60):
        angle, scale = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 3)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        place = rng.uniform(-60, 180, 2) if number else np.array([1000.0, 1000.0])
        affine = np.column_stack([turn, (24, 32) - turn @ place])
        expected = cv2.warpAffine(image.astype(np.float32), affine, (48, 64))
        np.testing.assert_allclose(warp(image, affine, (48, 64)), expected, atol=0.05)
    assert not warp(image, np.array([[1.0, 0, -500], [0, 1, 0]]), (48, 64)).any()
