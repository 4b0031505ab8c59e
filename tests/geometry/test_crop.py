from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from hmtools.core.errors import GeometryError, UsageError
from hmtools.core.image import opencv
from hmtools.geometry.crop import (
    MAX_SIDE,
    Window,
    apply_affine,
    compose_affine,
    crop_affine,
    crop_window,
    image_op_affine,
    invert_affine,
    undo_image_op,
)

Array = np.ndarray[Any, Any]
cv2 = opencv()
GOLDEN = Path(__file__).parents[1] / "golden" / "geometry"
OPERATIONS = ("none", "hflip", "rot90cw", "rot90ccw")
DRAWS = 10_000
SMPLERX, HMR2 = (384, 512), (256, 256)  # width and height of the networks' crops


class Draws(NamedTuple):
    """N people, and what the two training pipelines may do to the crops of them."""

    boxes: Array  # (N, 4) x, y, w, h
    images: Array  # (N, 2) width, height
    ratios: Array  # (N,) padding of the set's boxes
    normals: Array  # (N, 4) scale, rotation, shift in x and y: standard normal, before clipping
    flips: Array  # (N,) bool


def drawn(count: int, seed: int, largest: int) -> Draws:
    rng = np.random.default_rng(seed)
    images = rng.integers(8, largest, (count, 2))
    sizes = np.exp(rng.uniform(np.log(2), np.log(1.5 * images.max(axis=1, keepdims=True)), (count, 2)))
    boxes = np.concatenate([rng.uniform(-sizes, images), sizes], axis=1)  # partly outside on every side
    boxes = np.where(rng.random((count, 1)) < 0.3, boxes.round(), boxes)
    # Half of the draws are taken to the limits of augmentation, and to the angles of the widest crops.
    normals = rng.standard_normal((count, 4)) * rng.choice([1, 4], (count, 1))
    widest = rng.choice([36.87, 45, 53.13, 60], count) * rng.choice([-1, 1], count) / 30
    normals[:, 1] = np.where(rng.random(count) < 0.5, widest, normals[:, 1])
    return Draws(boxes, images, rng.choice([1.0, 1.2, 1.25], count), normals, rng.random(count) < 0.5)


def smplerx_crops(draws: Draws) -> Array:
    """Affines (N, 2, 3) from pixels of SMPLer-X's augmented crop to the image; NaN where it has none."""
    x, y, w, h = draws.boxes.T
    width, height = draws.images.T
    x1, y1 = np.maximum(x, 0), np.maximum(y, 0)
    x2 = np.minimum(width - 1, x1 + np.maximum(w - 1, 0))
    y2 = np.minimum(height - 1, y1 + np.maximum(h - 1, 0))
    bad = (w * h <= 0) | (x2 <= x1) | (y2 <= y1)
    w, h = x2 - x1, y2 - y1
    long = np.maximum(h, w / 0.75)
    ratio = np.where(draws.ratios == 1.0, 1.2 * 0.833, draws.ratios)  # 1.0: boxes that are padded already
    side = long * ratio * (1 + 0.25 * np.clip(draws.normals[:, 0], -1, 1))
    found = crops(draws, np.stack([x1 + w / 2, y1 + h / 2], 1), np.stack([0.75 * side, side], 1), SMPLERX)
    found[bad] = np.nan
    return found


def hmr2_crops(draws: Draws) -> Array:
    """The same of HMR2: a square box that stays where it is, scaled by 1 ± 0.3, shifted by ± 2 %."""
    side = draws.boxes[:, 2:].max(axis=1) * draws.ratios
    shifts = 0.02 * side[:, None] * np.clip(draws.normals[:, 2:], -1, 1)
    side = side * (1 + 0.3 * np.clip(draws.normals[:, 0], -1, 1))
    return crops(draws, draws.boxes[:, :2] + draws.boxes[:, 2:] / 2 + shifts, np.stack([side, side], 1), HMR2)


def crops(draws: Draws, centres: Array, extents: Array, size: tuple[int, int]) -> Array:
    """Affines that take the middle of a (width, height) crop to the centre, its edges to half the extent."""
    centres = centres.copy()
    width = draws.images[:, 0]
    centres[draws.flips, 0] = (width - centres[:, 0] - 1)[draws.flips]
    angle = np.radians(30 * np.clip(draws.normals[:, 1], -2, 2))
    turns = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], 1).reshape(-1, 2, 2)
    linear = turns * (extents / size)[:, None, :]
    offsets = centres - linear @ (np.array(size) / 2)
    found: Array = np.concatenate([linear, offsets[..., None]], axis=2)
    found[draws.flips, 0] *= -1  # the mirrored image is what is cropped
    found[draws.flips, 0, 2] += (width - 1)[draws.flips]
    return found


def pixels_read(affines: Array, size: tuple[int, int]) -> tuple[Array, Array]:
    """First and last pixel (N, 2) that bilinear sampling of whole crops touches."""
    w, h = size[0] - 1, size[1] - 1
    corners = affines @ np.array([[0, 0, 1], [w, 0, 1], [0, h, 1], [w, h, 1]]).T
    return np.floor(corners.min(axis=2)), np.floor(corners.max(axis=2)) + 1


def test_window_covers_every_pixel_that_augmentation_reads() -> None:
    draws = drawn(DRAWS, seed=1, largest=4000)
    windows = np.zeros((DRAWS, 4), int)  # an empty one covers nothing
    for row, (box, image, ratio) in enumerate(zip(draws.boxes, draws.images, draws.ratios, strict=True)):
        found = crop_window(box, int(image[0]), int(image[1]), box_ratio=float(ratio))
        if found is not None:
            windows[row] = found.x0, found.y0, found.x1 - 1, found.y1 - 1
    for affines, size in ((smplerx_crops(draws), SMPLERX), (hmr2_crops(draws), HMR2)):
        first, last = pixels_read(affines, size)
        first, last = np.maximum(first, 0), np.minimum(last, draws.images - 1)
        used = (first <= last).all(axis=1)  # reads something of the image
        assert used.sum() > DRAWS / 2
        covered = (windows[:, :2] <= first).all(axis=1) & (windows[:, 2:] >= last).all(axis=1)
        missed = np.flatnonzero(used & ~covered)
        assert not len(missed), [(cell[missed[0]], size) for cell in draws]


def test_pixels_outside_the_window_do_not_matter_to_the_warp() -> None:
    """The same in real pixels: an image that is blackened outside the window gives the same network input."""
    rng = np.random.default_rng(2)
    draws = drawn(120, seed=3, largest=160)
    for affines, size in ((smplerx_crops(draws), SMPLERX), (hmr2_crops(draws), HMR2)):
        for box, (width, height), ratio, affine in zip(
            draws.boxes, draws.images.tolist(), draws.ratios, affines, strict=True
        ):
            window = crop_window(box, width, height, box_ratio=float(ratio))
            image = rng.integers(0, 256, (height, width), np.uint8)
            kept = np.zeros_like(image)
            if window is not None:
                inside = np.s_[window.y0 : window.y1, window.x0 : window.x1]
                kept[inside] = image[inside]
            if np.isfinite(affine).all():
                flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
                whole, cut = (cv2.warpAffine(i, affine, size, flags=flags) for i in (image, kept))
                assert np.array_equal(whole, cut), (box, width, height, ratio, affine)


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


def test_crops_of_smplerx() -> None:
    with np.load(GOLDEN / "smplerx.npz") as file:
        rows, expected, inverses = file["patch_par"], file["patch_trans"], file["patch_inv_trans"]
    mirror = np.array([[-1, 0, 319], [0, 1, 0]])  # the published matrices act on the mirrored 320-pixel image
    for (x, y, w, h, scale, rotation, flip), affine, inverse in zip(
        rows.tolist(), expected, inverses, strict=True
    ):
        box, size = (x + w / 2, y + h / 2), (w * scale, h * scale)
        found = crop_affine(box, size, SMPLERX, rotation, flip=bool(flip), convention="corners")
        if flip:
            found = compose_affine(found, mirror)
        np.testing.assert_allclose(found, affine, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(invert_affine(found), inverse, rtol=1e-5, atol=1e-4)


def test_published_crops_of_whole_pipelines() -> None:
    draws = drawn(200, seed=4, largest=900)
    for row, affine in enumerate(hmr2_crops(draws)):
        centre = draws.boxes[row, :2] + draws.boxes[row, 2:] / 2
        side = draws.boxes[row, 2:].max() * draws.ratios[row]
        centre = centre + 0.02 * side * np.clip(draws.normals[row, 2:], -1, 1)
        side *= 1 + 0.3 * np.clip(draws.normals[row, 0], -1, 1)
        rotation = float(30 * np.clip(draws.normals[row, 1], -2, 2))
        found = crop_affine(
            centre, (side, side), HMR2, rotation, flip=bool(draws.flips[row]), convention="corners"
        )
        np.testing.assert_allclose(invert_affine(found), affine, atol=1e-6 * side + 1e-6)


def test_crop_affine_in_figures() -> None:
    # 64 pixels from -0.5 to 63.5, halved: the edges of the box are the edges of the crop
    assert crop_affine((31.5, 31.5), (64, 64), (32, 32)).tolist() == [[0.5, 0, -0.25], [0, 0.5, -0.25]]
    assert crop_affine((31.5, 31.5), (64, 64), (64, 64)).tolist() == [[1, 0, 0], [0, 1, 0]]
    corners = crop_affine((31.5, 31.5), (64, 64), (64, 64), convention="corners")
    assert corners.tolist() == [[1, 0, 0.5], [0, 1, 0.5]]
    # what lies to the left of the centre of a box that is turned clockwise lies below it in the crop
    turned = crop_affine((50, 50), (20, 20), (101, 101), 90.0)
    np.testing.assert_allclose(
        apply_affine(turned, [[50, 50], [40, 50]]), [[50.0, 50.0], [50.0, 100.5]], atol=1e-9
    )
    mirrored = crop_affine((50, 50), (20, 40), (101, 101), flip=True)
    np.testing.assert_allclose(apply_affine(mirrored, [[40, 70]]), [[100.5, 100.5]], atol=1e-9)


@given(
    st.tuples(numbers, numbers),
    st.tuples(st.floats(1, 500), st.floats(1, 500)),
    st.tuples(st.integers(1, 600), st.integers(1, 600)),
    st.floats(-180, 180),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_crops_hold_their_box(
    centre: tuple[float, float],
    size: tuple[float, float],
    output: tuple[int, int],
    rotation: float,
    flip: bool,
) -> None:
    ours = crop_affine(centre, size, output, rotation, flip=flip)
    theirs = crop_affine(centre, size, output, rotation, flip=flip, convention="corners")
    np.testing.assert_allclose(theirs - ours, [[0, 0, 0.5], [0, 0, 0.5]], atol=1e-9)
    middle = (np.array(output) - 1) / 2
    np.testing.assert_allclose(apply_affine(ours, centre), middle, atol=1e-6)
    assert np.linalg.det(ours[:, :2]) * (-1 if flip else 1) > 0
    corners = apply_affine(invert_affine(ours), [[-0.5, -0.5], [output[0] - 0.5, output[1] - 0.5]])
    assert np.hypot(*(corners[1] - corners[0])) == pytest.approx(np.hypot(*size), rel=1e-6)


@pytest.mark.parametrize("convention", ["centres", "corners"])
@pytest.mark.parametrize(("rotation", "flip"), [(0.0, False), (0.0, True), (33.0, False), (-120.0, True)])
def test_warped_pixels_are_where_the_affine_says(rotation: float, flip: bool, convention: Any) -> None:
    """Colours that say where they came from: red is the column, green the row, blue whether it is inside."""
    columns, rows = np.meshgrid(np.arange(300, dtype=np.float32), np.arange(200, dtype=np.float32))
    image = np.dstack([columns, rows, np.ones_like(rows)])
    affine = crop_affine((140.3, 90.7), (120.0, 90.0), (160, 120), rotation, flip=flip, convention=convention)
    crop = cv2.warpAffine(image, affine, (160, 120), flags=cv2.INTER_LINEAR)
    grid = np.stack(np.meshgrid(np.arange(160), np.arange(120)), axis=-1)
    sources = apply_affine(invert_affine(affine), grid)
    inside = crop[..., 2] == 1
    assert inside.mean() > 0.9
    assert np.abs(crop[..., :2] - sources)[inside].max() < 0.05  # OpenCV 4 rounds weights to 1/32 pixel


def test_a_whole_image_is_resized_as_opencv_does() -> None:
    image = np.random.default_rng(5).integers(0, 256, (48, 64)).astype(np.float32)
    affine = crop_affine((31.5, 23.5), (64, 48), (128, 96))
    found = cv2.warpAffine(image, affine, (128, 96), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    expected = cv2.resize(image, (128, 96), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(found, expected, atol=4)
    shifted = crop_affine((31.5, 23.5), (64, 48), (128, 96), convention="corners")
    found = cv2.warpAffine(image, shifted, (128, 96), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    assert np.abs(found - expected).max() > 20


def test_crops_without_area_or_name() -> None:
    for size, output in (((0, 10), (8, 8)), ((10, -1), (8, 8)), ((10, 10), (0, 8)), ((np.nan, 1), (8, 8))):
        with pytest.raises(GeometryError, match="a box and a crop with area"):
            crop_affine((0, 0), size, output)
    with pytest.raises((UsageError, TypeCheckError), match=r"did you mean 'centres'|Type-check error"):
        crop_affine((0, 0), (1, 1), (1, 1), convention="centers")  # type: ignore[arg-type]
