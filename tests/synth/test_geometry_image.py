"""Positions survive crop, scale, mirror, rotation and JPEG; the decoder needs no guess."""

from __future__ import annotations

import doctest
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core.errors import UsageError
from hmtools.synth import geometry_image
from hmtools.synth.geometry_image import (
    FIGURE_BLUE,
    FRAME_MODULUS,
    decode_affine,
    decode_frame,
    encode,
    encode_jpeg,
    period,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]
    Affine = NDArray[np.float64]

SUBSAMPLING = {444: cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444, 420: cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420}


def through_jpeg(image: Image, quality: int, subsampling: int) -> Image:
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SUBSAMPLING[subsampling]]
    data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)[1]
    return decode(data.tobytes(), cv2.IMREAD_COLOR_RGB)


def decode(data: bytes, flags: int) -> Image:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), flags), dtype=np.uint8)


def cut(image: Image, affine: Affine, side: int, padding: int = 0) -> Image:
    """A square whose pixel (u, v) shows the source at ``affine @ [u, v, 1]``."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(
        image, affine, (side, side), flags=flags, borderValue=(padding, padding, padding)
    ).astype(np.uint8)


def similarity(scale: float, angle: float, *, mirror: bool, centre: tuple[float, float], side: int) -> Affine:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = scale * turn @ np.diag([-1.0 if mirror else 1.0, 1.0])
    middle = np.full(2, (side - 1) / 2)
    return np.column_stack([linear, np.array(centre) - linear @ middle])


def error(found: Affine, expected: Affine, width: int, height: int) -> float:
    """Largest distance in source pixels over the corners of a stored image."""
    corners = np.array([[0, 0, 1], [width - 1, 0, 1], [0, height - 1, 1], [width - 1, height - 1, 1]])
    return float(np.linalg.norm(corners @ (found - expected).T, axis=1).max())


def with_figure(width: int, height: int, frame: int) -> Image:
    image = encode(width, height, frame)
    blue = np.ascontiguousarray(image[..., 2])
    thick = max(1, min(width, height) // 16)
    cv2.line(blue, (0, height // 3), (width, height // 2), FIGURE_BLUE, thick)
    cv2.line(blue, (width // 2, 0), (width // 3, height), FIGURE_BLUE, thick)
    image[..., 2] = blue
    return image


def test_colours_are_what_the_table_says() -> None:
    image = encode(640, 480, 53).astype(float)
    along = np.arange(640) + 0.5
    red = 128 + 144 * (along / 640 - 0.5) + 32 * np.sin(2 * np.pi * along / 16)
    assert image.shape == (480, 640, 3)
    np.testing.assert_allclose(image[..., 0], np.tile(red, (480, 1)), atol=0.5)
    assert (image[..., 2] == 12 + 3 * 3).all()
    np.testing.assert_array_equal(encode(480, 640, 0)[:, 7, 1], encode(640, 480, 9)[11, :, 0])
    assert image[..., :2].min() >= 24
    assert image[..., :2].max() <= 232


def test_examples_in_the_module() -> None:
    assert doctest.testmod(geometry_image) == doctest.TestResults(failed=0, attempted=1)


def test_period_grows_with_large_images_only() -> None:
    assert [period(*size) for size in ((64, 64), (640, 480), (480, 1024), (4096, 100))] == [16, 16, 16, 64]


@pytest.mark.parametrize("size", [(64, 64), (101, 64), (640, 480), (480, 640), (1920, 1080), (4096, 1000)])
def test_full_image_is_the_identity(size: tuple[int, int]) -> None:
    found = decode_affine(encode(*size, 3), *size)
    assert error(found, np.eye(2, 3), *size) < 0.05


@given(
    scale=st.floats(0.7, 1.4),
    angle=st.one_of(st.sampled_from([0.0, np.pi / 2, np.pi, -np.pi / 2]), st.floats(-np.pi, np.pi)),
    mirror=st.booleans(),
    centre=st.tuples(st.floats(60, 580), st.floats(60, 420)),
    side=st.sampled_from([100, 160, 230]),
    subsampling=st.sampled_from([444, 420]),
    padding=st.sampled_from([0, 114, 255]),
)
@settings(max_examples=10, deadline=None, derandomize=True)
def test_any_crop_of_a_compressed_image_is_found(
    scale: float,
    angle: float,
    mirror: bool,
    centre: tuple[float, float],
    side: int,
    subsampling: int,
    padding: int,
) -> None:
    stored = through_jpeg(with_figure(640, 480, 7), 95, subsampling)
    affine = similarity(scale, angle, mirror=mirror, centre=centre, side=side)
    crop = through_jpeg(cut(stored, affine, side, padding), 95, subsampling)
    assert error(decode_affine(crop, 640, 480), affine, side, side) < 0.2
    assert decode_frame(crop, 640, 480) == 7


@pytest.mark.parametrize(
    ("size", "side", "scale", "angle", "centre", "padding"),
    [
        (
            (64, 64),
            80,
            1.21,
            1.31,
            (39, 46),
            0,
        ),  # a small image in much padding: the fit may start upside down
        ((64, 64), 100, 0.9, np.pi / 2, (47, 28), 114),
        ((64, 64), 64, 1.09, 0.0, (35, 26), 255),
        ((100, 80), 80, 1.35, np.pi, (35, 59), 114),
        ((4096, 2048), 256, 1.2, 0.0, (1037, 1250), 0),  # periods of 64 px, of which the window has few
        ((4096, 2048), 256, 0.95, 0.0, (1456, 598), 255),
    ],
)
@pytest.mark.parametrize("subsampling", [444, 420])
def test_hard_windows(
    size: tuple[int, int],
    side: int,
    scale: float,
    angle: float,
    centre: tuple[float, float],
    padding: int,
    subsampling: int,
) -> None:
    affine = similarity(scale, angle, mirror=True, centre=centre, side=side)
    stored = through_jpeg(with_figure(*size, 7), 95, subsampling)
    crop = through_jpeg(cut(stored, affine, side, padding), 95, subsampling)
    assert error(decode_affine(crop, *size), affine, side, side) < 0.5


@pytest.mark.parametrize("subsampling", [444, 420])
def test_small_window_of_a_very_large_image(subsampling: int) -> None:
    affine = similarity(1, 0.2, mirror=False, centre=(3000.3, 1200.7), side=200)
    crop = through_jpeg(cut(encode(4096, 4096, 3), affine, 200), 95, subsampling)
    assert error(decode_affine(crop, 4096, 4096), affine, 200, 200) < 0.2


@pytest.mark.parametrize("subsampling", [444, 420])
def test_large_crop_scaled_down(subsampling: int) -> None:
    """The widest crop of a person in a 4096 px image, at its 1024 px."""
    image = cv2.GaussianBlur(encode(4096, 4096, 3), (0, 0), 2.2).astype(np.uint8)
    affine = similarity(5.9, 0, mirror=False, centre=(2300, 2000), side=1024)
    crop = through_jpeg(cut(image, affine, 1024), 95, subsampling)
    assert error(decode_affine(crop, 4096, 4096), affine, 1024, 1024) < 0.5


def test_strong_compression() -> None:
    affine = similarity(1, 0, mirror=True, centre=(300.2, 222.6), side=240)
    crop = through_jpeg(cut(through_jpeg(with_figure(640, 480, 21), 75, 420), affine, 240), 75, 420)
    assert error(decode_affine(crop, 640, 480), affine, 240, 240) < 0.5
    assert decode_frame(crop, 640, 480) == 21


@pytest.mark.parametrize(("dx", "dy"), [(0.5, 0.0), (0.0, -0.5), (0.3, 0.3)])
def test_half_a_pixel_is_seen(dx: float, dy: float) -> None:
    image = through_jpeg(encode(640, 480, 1), 95, 444)
    upright = np.array([[1, 0, 200.0], [0, 1, 100.0]])
    moved = upright + np.array([[0, 0, dx], [0, 0, dy]])
    found = decode_affine(cut(image, moved, 160), 640, 480)
    np.testing.assert_allclose((found - upright)[:, 2], [dx, dy], atol=0.06)


def test_mirrored_image_is_not_the_upright_one() -> None:
    image = encode(320, 240, 0)
    found = decode_affine(np.ascontiguousarray(image[:, ::-1]), 320, 240)
    np.testing.assert_allclose(found, [[-1, 0, 319], [0, 1, 0]], atol=0.05)


@pytest.mark.parametrize("frame", [0, 1, 20, FRAME_MODULUS - 1, FRAME_MODULUS, 3 * FRAME_MODULUS + 31])
def test_frame_is_read_modulo_its_modulus(frame: int) -> None:
    image = through_jpeg(with_figure(200, 160, frame), 95, 420)
    padded = cv2.copyMakeBorder(image, 0, 150, 0, 0, cv2.BORDER_CONSTANT, value=(90, 90, 90)).astype(np.uint8)
    assert decode_frame(image, 200, 160) == frame % FRAME_MODULUS
    assert decode_frame(padded, 200, 160) == frame % FRAME_MODULUS


@pytest.mark.parametrize("kind", ["constant", "grey", "noise", "ramp", "tiny", "channels"])
def test_what_is_no_geometry_image_is_refused(kind: str) -> None:
    image = encode(320, 240, 5)
    if kind == "constant":
        image = np.full_like(image, 99)
    elif kind == "grey":
        image = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2).astype(np.uint8)
    elif kind == "noise":
        image = np.random.default_rng(0).integers(0, 256, image.shape, dtype=np.uint8)
    elif kind == "ramp":
        image = np.tile(np.linspace(0, 255, 320).astype(np.uint8)[None, :, None], (240, 1, 3))
    elif kind == "tiny":
        image = image[:12, :12]
    else:
        image = image[..., 0]
    with pytest.raises(UsageError, match=r"geometry image|RGB image"):
        decode_affine(image, 320, 240)


@pytest.mark.parametrize(("width", "height", "frame"), [(63, 100, 0), (100, 4097, 0), (100, 100, -1)])
def test_impossible_images_are_refused(width: int, height: int, frame: int) -> None:
    with pytest.raises(UsageError, match=f"{width}x{height}, frame {frame}"):
        encode(width, height, frame)


def test_jpeg_keeps_colours_apart() -> None:
    decoded = decode(encode_jpeg(encode(160, 120, 4)), cv2.IMREAD_COLOR_RGB)
    assert np.abs(decoded.astype(int) - encode(160, 120, 4)).max() <= 6


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_exif_turns_only_readers_that_look(orientation: int) -> None:
    data = encode_jpeg(encode(160, 120, 4), orientation)
    ignoring = decode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert ignoring.shape == (120, 160, 3)
    expected = {1: ignoring, 3: ignoring[::-1, ::-1], 6: np.rot90(ignoring, -1), 8: np.rot90(ignoring)}
    np.testing.assert_array_equal(decode(data, cv2.IMREAD_COLOR), expected[orientation])


def test_one_channel_stays_one_channel() -> None:
    data = encode_jpeg(encode(160, 120, 4)[..., 0])
    assert decode(data, cv2.IMREAD_UNCHANGED).shape == (120, 160)
