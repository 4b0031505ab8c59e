"""Crops of people: where pixels land, in whole images and in stored parts of them."""

from __future__ import annotations

import numpy as np
import pytest

from hmtools.geometry.crop import apply_affine
from hmtools.infer.crops import CROP_SIZE, person_crop

WIDTH, HEIGHT = 640, 480
BOX = [200.0, 100.0, 120.0, 200.0, 1.0]


def positions() -> np.ndarray:
    """An image whose red is the column and green the row, both halved."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 0] = (np.arange(WIDTH) // 4)[None]
    image[..., 1] = (np.arange(HEIGHT) // 4)[:, None]
    return image


def test_the_box_fills_the_crop() -> None:
    crop = person_crop(positions(), BOX, (WIDTH, HEIGHT), ratio=1.25)
    assert crop is not None
    assert crop.image.shape == (CROP_SIZE[1], CROP_SIZE[0], 3)
    corners = apply_affine(crop.affine, [[259.5, 199.5]])  # the box loses a pixel of size, as published
    np.testing.assert_allclose(corners, [[192, 256]], atol=1e-6)
    scale = 512 / (1.25 * 199)
    np.testing.assert_allclose(crop.affine[:, :2], np.diag([scale, scale]), rtol=1e-9)


def test_pixels_are_where_the_affine_says() -> None:
    crop = person_crop(positions(), BOX, (WIDTH, HEIGHT))
    assert crop is not None
    for point in ([220.0, 150.0], [300.0, 250.0]):
        x, y = apply_affine(crop.affine, point).round().astype(int)
        assert crop.image[y, x, :2] == pytest.approx([point[0] / 4, point[1] / 4], abs=1)


def test_a_stored_part_gives_the_same_crop() -> None:
    image = positions()
    whole = person_crop(image, BOX, (WIDTH, HEIGHT))
    stored = np.array([[1.0, 0, -60], [0, 1, -20]])
    part = person_crop(image[20:400, 60:560], BOX, (WIDTH, HEIGHT), stored=stored)
    assert whole is not None
    assert part is not None
    np.testing.assert_array_equal(part.affine, whole.affine)
    np.testing.assert_allclose(part.image, whole.image, atol=0.51)


def test_outside_is_black_and_nothing_inside_is_no_crop() -> None:
    crop = person_crop(positions() + 1, [0, 0, 30, 200], (WIDTH, HEIGHT))
    assert crop is not None
    assert not crop.image[:, 0].any()
    assert crop.image[256, 192].all()
    assert person_crop(positions(), [700, 10, 30, 40], (WIDTH, HEIGHT)) is None
