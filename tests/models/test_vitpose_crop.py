from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core.errors import GeometryError, UsageError
from hmtools.core.image import opencv
from hmtools.geometry.crop import apply_affine, crop_affine
from hmtools.models.vitpose_crop import CROP_SIZE, crop_people, normalise, person_regions
from hmtools.models.vitpose_decode import cells_to_image
from tests.models import vitpose_figures as figures

SAME_OPENCV = opencv().__version__.startswith("5.")
# Greatest and mean difference of grey levels: the figures of OpenCV 4 differ by fixed-point weights.
CV = [("", (1, 0.01) if SAME_OPENCV else (4, 0.5)), ("_cv4", (4, 0.5) if SAME_OPENCV else (1, 0.01))]


def affine(region: Any, rotation: float = 0.0) -> np.ndarray:
    x, y, w, h = region
    steps = (CROP_SIZE[0] - 1, CROP_SIZE[1] - 1)
    return crop_affine((x + w / 2, y + h / 2), (w, h), steps, -rotation, convention="corners")


def test_regions_are_the_official_centres_and_scales() -> None:
    golden = figures.numbers("decode")
    np.testing.assert_array_equal(figures.inputs("boxes"), golden["cs/boxes_f64"])
    found = person_regions(golden["cs/boxes_f64"])
    np.testing.assert_allclose(found[:, :2] + found[:, 2:] / 2, golden["cs/center"], rtol=0, atol=1e-3)
    np.testing.assert_allclose(found[:, 2:] / 200, golden["cs/scale"], rtol=0, atol=1e-5)


def test_affines_are_the_official_ones() -> None:
    golden = figures.numbers("decode")
    turned = zip(person_regions(golden["cs/boxes_f64"]), golden["affine/rotation_f64"], strict=True)
    for (region, rotation), expected, points in zip(
        turned, golden["affine/udp_f64"], golden["affine/points_udp"], strict=True
    ):
        found = affine(region, rotation)
        assert (np.abs(found - expected) / np.abs(expected).max(0)).max() < 1e-5
        mapped = apply_affine(found, golden["affine/points"])
        np.testing.assert_allclose(mapped, points, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(("suffix", "tolerance"), CV)
def test_crops_are_the_official_ones(suffix: str, tolerance: tuple[float, float]) -> None:
    """Those of the figures that are not turned; the network is tested on upright crops."""
    golden = figures.numbers("decode")
    assert (golden["affine/rotation_f64"][:3] == 0).all()
    regions = person_regions(golden["cs/boxes_f64"][:3])
    found = crop_people([figures.inputs("photo")], regions, [0, 0, 0])
    difference = np.abs(found[:, ::8, ::8].astype(int) - golden[f"crop/udp_sub{suffix}"][:3])
    assert difference.max() <= tolerance[0]
    assert difference.mean() <= tolerance[1]
    pixels = normalise(torch.from_numpy(found))[:, :, ::16, ::16].numpy()
    difference = np.abs(pixels - golden[f"crop/normalised_sub{suffix}"][:3])
    assert difference.max() <= tolerance[0] / 255 / 0.224 + 1e-5
    assert difference.mean() <= tolerance[1] / 255 / 0.224


def ramp(width: int = 240, height: int = 200) -> np.ndarray:
    """An image that says where its pixels are: x in red, y in green, 255 in blue."""
    y, x = np.mgrid[:height, :width]
    return np.dstack([x, y, np.full_like(x, 255)]).astype(np.uint8)


@given(st.floats(-80, 200), st.floats(-80, 180), st.floats(20, 200), st.floats(20, 200))
@settings(max_examples=40, deadline=None)
def test_crops_show_their_regions(x: float, y: float, w: float, h: float) -> None:
    """Every pixel of the crop is the place of the image that decoding takes it for, or black outside."""
    region = person_regions([[x, y, w, h]])
    crop = crop_people([ramp()], region, [0])[0].astype(float)
    rows, columns = np.mgrid[:256, :192]
    cells = torch.from_numpy(np.stack([columns, rows], -1).reshape(1, -1, 2).astype(np.float64))
    places = cells_to_image(cells, torch.from_numpy(region), CROP_SIZE)[0].numpy().reshape(256, 192, 2)
    u, v = places[..., 0], places[..., 1]
    inside = (u > 0.05) & (v > 0.05) & (u < 238.95) & (v < 198.95)
    assert (crop[inside][:, 2] >= 254).all()
    assert np.abs(crop[inside][:, :2] - places[inside]).max(initial=0) < 0.6
    outside = (u < -1.05) | (v < -1.05) | (u > 240.05) | (v > 200.05)
    assert (crop[outside] == 0).all()


def test_people_come_from_their_images() -> None:
    images = [np.full((50, 60 + i, 3), 10 * (i + 1), np.uint8) for i in range(3)]
    found = crop_people(images, person_regions([[20, 15, 12, 16]] * 4), np.array([2, 0, 2, 1], np.uint8))
    assert found.shape == (4, 256, 192, 3)
    assert found[:, 128, 96, 0].tolist() == [30, 10, 30, 20]


def test_views_of_images_are_read_as_they_are() -> None:
    image = np.random.default_rng(0).integers(0, 256, (90, 80, 3), np.uint8)
    region = person_regions([[20, 30, 30, 40]])
    for view in (image[..., ::-1], image[::-1], image[5:70, 3:60], image.transpose(1, 0, 2)):
        expected = crop_people([view.copy()], region, [0])
        np.testing.assert_array_equal(crop_people([view], region, [0]), expected)
    image.flags.writeable = False
    assert crop_people([image], region, [0]).any()


def test_normalised_pixels() -> None:
    crops = torch.zeros(1, 2, 3, 3, dtype=torch.uint8)
    crops[..., 0] = 255
    found = normalise(crops)
    assert found.shape == (1, 3, 2, 3)
    assert found.dtype == torch.float32
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225]
    np.testing.assert_allclose(found[0, :, 0, 0], expected, rtol=1e-6)


def test_nobody() -> None:
    assert person_regions([]).shape == (0, 4)
    assert crop_people([], [], []).shape == (0, 256, 192, 3)


def test_wrong_use_is_named() -> None:
    region, image = person_regions([[0, 0, 9, 9]]), ramp()
    with pytest.raises(UsageError, match=r"\(N, 4\) as x, y, w, h, got \(4,\)"):
        person_regions([0, 0, 9, 9])
    with pytest.raises(UsageError, match=r"got \(1, 5\)"):
        person_regions([[0, 0, 9, 9, 1]])
    for box in ([0, 0, 9, 0], [0, 0, -3, 9], [np.inf, 0, 9, 9]):
        with pytest.raises(GeometryError, match="drop them"):
            person_regions([box])
    wrongs: list[Any] = [image[..., 0], image[..., :2], image[:0], image.astype(np.float32), image.tolist()]
    for wrong in wrongs:
        with pytest.raises(UsageError, match="at 0"):
            crop_people([wrong], region, [0])
    with pytest.raises(UsageError, match="numbered from 0, got -1"):
        crop_people([image], region, [-1])
    with pytest.raises(UsageError, match="for each of 1 boxes, got 2"):
        crop_people([image], region, [0, 0])
    with pytest.raises(UsageError, match="integers"):
        crop_people([image], region, [[0]])
    with pytest.raises(UsageError, match="expected uint8"):
        normalise(torch.zeros(1, 4, 4, 3))
