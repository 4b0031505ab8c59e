from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core.image import opencv
from hmtools.geometry.box import grow_to_aspect, sanitize_xywh
from hmtools.geometry.crop import (
    MAX_SIDE,
    Window,
    apply_affine,
    compose_affine,
    crop_window,
    image_op_affine,
    invert_affine,
    undo_image_op,
)

Array = np.ndarray[Any, Any]
cv2 = opencv()
OPERATIONS = ("none", "hflip", "rot90cw", "rot90ccw")
DRAWS = 10_000


class Draw(NamedTuple):
    """One person, and what the two training pipelines may do to the crop of it."""

    box: Array  # x, y, w, h
    width: int
    height: int
    ratio: float
    normals: Array  # scale, rotation, shift in x and y: standard normal, before clipping
    flip: bool


def draws(count: int, seed: int, largest: int) -> list[Draw]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        width, height = (int(v) for v in rng.integers(8, largest, 2))
        size = np.exp(rng.uniform(np.log(2), np.log(1.5 * max(width, height)), 2))
        corner = rng.uniform(-size, (width, height))  # partly outside on every side
        if rng.random() < 0.3:
            corner, size = np.round(corner), np.round(size)
        # Half of the draws are taken to the corners of what augmentation can do.
        normals = rng.standard_normal(4) * (1 if rng.random() < 0.5 else 4)
        if rng.random() < 0.5:  # the angles at which either crop is widest
            normals[1] = rng.choice([-1, 1]) * rng.choice([36.87, 45, 53.13, 60]) / 30
        ratio = float(rng.choice([1.0, 1.2, 1.25]))
        found.append(
            Draw(np.concatenate([corner, size]), width, height, ratio, normals, bool(rng.random() < 0.5))
        )
    return found


def rotation(draw: Draw) -> Array:
    angle = np.radians(30 * np.clip(draw.normals[1], -2, 2))
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def smplerx_crop(draw: Draw) -> tuple[Array, tuple[int, int]] | None:
    """SMPLer-X's augmented crop: affine of crop pixels → image pixels, and its (width, height)."""
    inside = sanitize_xywh(draw.box, draw.width, draw.height)
    if inside is None:
        return None
    grown = grow_to_aspect(inside, 384 / 512)
    ratio = 1.2 * 0.833 if draw.ratio == 1.0 else draw.ratio
    extent = grown[2:] * ratio * (1 + 0.25 * np.clip(draw.normals[0], -1, 1))
    return _crop(draw, grown[:2] + grown[2:] / 2, extent, (384, 512)), (384, 512)


def hmr2_crop(draw: Draw) -> tuple[Array, tuple[int, int]]:
    """HMR2's: a square box that is not moved into the image, scaled by 1 ± 0.3, shifted by ± 2 %."""
    side = draw.box[2:].max() * draw.ratio
    shift = side * 0.02 * np.clip(draw.normals[2:], -1, 1)
    extent = np.full(2, side * (1 + 0.3 * np.clip(draw.normals[0], -1, 1)))
    return _crop(draw, draw.box[:2] + draw.box[2:] / 2 + shift, extent, (256, 256)), (256, 256)


def _crop(draw: Draw, centre: Array, extent: Array, size: tuple[int, int]) -> Array:
    """Affine that takes the middle of the crop to the centre, its right and lower edge to half the extent."""
    if draw.flip:
        centre = np.array([draw.width - centre[0] - 1, centre[1]])
    linear = rotation(draw) * (extent / size)
    affine = np.column_stack([linear, centre - linear @ (np.array(size) / 2)])
    return compose_affine([[-1, 0, draw.width - 1], [0, 1, 0]], affine) if draw.flip else affine


def pixels_read(affine: Array, size: tuple[int, int]) -> tuple[Array, Array]:
    """First and last pixel (x, y) that bilinear sampling of a whole crop touches."""
    w, h = size[0] - 1, size[1] - 1
    corners = apply_affine(affine, [[0, 0], [w, 0], [0, h], [w, h]])
    return np.floor(corners.min(axis=0)), np.floor(corners.max(axis=0)) + 1


@pytest.mark.parametrize("reference", ["smplerx", "hmr2"])
def test_window_covers_every_pixel_that_augmentation_reads(reference: str) -> None:
    used = 0
    for draw in draws(DRAWS, seed=1, largest=4000):
        crop = smplerx_crop(draw) if reference == "smplerx" else hmr2_crop(draw)
        if crop is None:
            continue
        first, last = pixels_read(*crop)
        first = np.maximum(first, 0)
        last = np.minimum(last, (draw.width - 1, draw.height - 1))
        if (first > last).any():
            continue  # reads nothing of the image
        window = crop_window(draw.box, draw.width, draw.height, box_ratio=draw.ratio)
        assert window is not None, draw
        assert window.x0 <= first[0], draw
        assert window.y0 <= first[1], draw
        assert window.x1 - 1 >= last[0], draw
        assert window.y1 - 1 >= last[1], draw
        used += 1
    assert used > DRAWS / 2


def test_pixels_outside_the_window_do_not_matter_to_the_warp() -> None:
    """The same in real pixels: an image that is destroyed outside the window gives the same network input."""
    rng = np.random.default_rng(2)
    for draw in draws(120, seed=3, largest=160):
        window = crop_window(draw.box, draw.width, draw.height, box_ratio=draw.ratio)
        image = rng.integers(0, 256, (draw.height, draw.width), np.uint8)
        kept = np.zeros_like(image)
        if window is not None:
            inside = np.s_[window.y0 : window.y1, window.x0 : window.x1]
            kept[inside] = image[inside]
        for crop in (smplerx_crop(draw), hmr2_crop(draw)):
            if crop is not None:
                flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
                whole, cut = (cv2.warpAffine(i, crop[0], crop[1], flags=flags) for i in (image, kept))
                assert np.array_equal(whole, cut), draw


def test_window_in_figures() -> None:
    # 60 x 80 is 3:4 already, so s = 96 and the square has side 182.4 about (130, 140)
    assert crop_window([100, 100, 60, 80], 1000, 1000, box_ratio=1.2) == Window(38, 48, 223, 233)
    # nothing of the image is near
    assert crop_window([5000, 100, 60, 80], 1000, 1000, box_ratio=1.2) is None
    assert crop_window([100, 5000, 60, 80], 1000, 1000, box_ratio=1.2) is None
    # never smaller than 1.9 x the raw long side, not even for a ratio below 1
    small = crop_window([500, 500, 60, 80], 2000, 2000, box_ratio=0.1)
    assert small is not None
    assert small.width >= 1.9 * 80
    # the image is the limit
    assert crop_window([0, 0, 90, 90], 100, 90, box_ratio=1.25) == Window(0, 0, 100, 90)
    # a confidence may follow the box
    assert crop_window([100, 100, 60, 80, 1], 1000, 1000, box_ratio=1.2) == Window(38, 48, 223, 233)


@given(st.integers(0, 500), st.integers(0, 500), st.integers(1, 6000), st.integers(1, 6000))
@settings(max_examples=150, deadline=None)
def test_stored_size_is_limited_and_never_enlarged(x0: int, y0: int, width: int, height: int) -> None:
    window = Window(x0, y0, x0 + width, y0 + height)
    assert (window.width, window.height) == (width, height)
    stored = window.stored_size()
    assert 1 <= min(stored) <= max(stored) <= MAX_SIDE
    assert stored[0] <= width
    assert stored[1] <= height
    if max(width, height) <= MAX_SIDE:
        assert stored == (width, height)
    else:
        assert max(stored) == MAX_SIDE
        assert abs(min(stored) - min(width, height) * MAX_SIDE / max(width, height)) <= 1
    # the edges of the window (not the centres of its pixels) land on the edges of the stored image
    edges = [[x0 - 0.5, y0 - 0.5], [x0 + width - 0.5, y0 + height - 0.5]]
    expected = [[-0.5, -0.5], [stored[0] - 0.5, stored[1] - 0.5]]
    np.testing.assert_allclose(apply_affine(window.affine(stored), edges), expected, atol=1e-6)


@pytest.mark.parametrize(
    "window", [Window(37, 11, 2037, 1411), Window(0, 5, 1025, 900), Window(3, 0, 1500, 77)]
)
def test_affine_agrees_with_what_area_resizing_does_to_pixels(window: Window) -> None:
    columns, rows = np.meshgrid(np.arange(2100, dtype=np.float32), np.arange(1420, dtype=np.float32))
    pixels = np.dstack([columns, rows, np.ones_like(rows)])[window.y0 : window.y1, window.x0 : window.x1]
    stored = window.stored_size()
    assert max(stored) == 1024
    resized = cv2.resize(pixels, stored, interpolation=cv2.INTER_AREA)
    found = resized[..., :2] / resized[..., 2:]  # OpenCV drops slivers of a pixel, so weights sum to 0.999
    grid = np.stack(np.meshgrid(np.arange(stored[0]), np.arange(stored[1])), axis=-1)
    expected = apply_affine(invert_affine(window.affine(stored)), grid)
    # pixels are flat, so their mean over an area strays from its centre; the requirement is 0.5
    assert np.abs(found - expected).max() < 0.1


def test_affine_of_an_unscaled_window_is_a_shift() -> None:
    window = Window(10, 20, 110, 220)
    assert window.affine(window.stored_size()).tolist() == [[1, 0, -10], [0, 1, -20]]


numbers = st.floats(-100, 100, allow_nan=False)
affines = st.tuples(*[numbers] * 6).map(lambda v: np.array(v).reshape(2, 3))


@given(affines, affines, st.lists(st.tuples(numbers, numbers), min_size=1, max_size=5))
@settings(max_examples=150, deadline=None)
def test_affines_compose_and_invert(one: Array, other: Array, points: list[tuple[float, float]]) -> None:
    both = compose_affine(one, other)
    np.testing.assert_allclose(
        apply_affine(both, points), apply_affine(one, apply_affine(other, points)), atol=1e-6
    )
    if abs(np.linalg.det(one[:, :2])) > 1e-2:
        back = apply_affine(invert_affine(one), apply_affine(one, points))
        np.testing.assert_allclose(back, points, atol=1e-4)


def test_a_singular_affine_has_no_inverse() -> None:
    with pytest.raises(np.linalg.LinAlgError):
        invert_affine([[1, 1, 0], [1, 1, 0]])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_image_operations_move_pixels_where_their_affine_says(operation: str) -> None:
    file = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    upright = undo_image_op(file, operation)
    assert upright.flags.c_contiguous
    height, width = upright.shape[:2]
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    places = apply_affine(image_op_affine(operation, width, height), grid)
    assert np.array_equal(places, places.round())
    columns, rows = places.astype(int)[..., 0], places.astype(int)[..., 1]
    assert columns.min() == rows.min() == 0
    assert np.array_equal(file[rows, columns], upright)


def test_image_operations_are_named_after_what_makes_the_file_upright() -> None:
    file = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)[..., None].repeat(3, axis=-1)
    turned = {name: undo_image_op(file, name)[..., 0].tolist() for name in OPERATIONS}
    assert turned == {
        "none": [[1, 2, 3], [4, 5, 6]],
        "hflip": [[3, 2, 1], [6, 5, 4]],
        "rot90cw": [[4, 1], [5, 2], [6, 3]],
        "rot90ccw": [[3, 6], [2, 5], [1, 4]],
    }
    with pytest.raises(KeyError):
        undo_image_op(file, "transpose")
    with pytest.raises(KeyError):
        image_op_affine("transpose", 3, 2)
