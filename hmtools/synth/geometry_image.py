"""Images whose colours say where every pixel came from, and the decoder that reads it back.

A *geometry image* shows nothing but its own coordinates. For an image of ``W x H`` pixels and its frame ``f``:

========  =====================================================================================================
red       ``128 + 144 ((x + 0.5) / W - 0.5) + 32 sin(2 pi (x + 0.5) / P)``: the ramp says roughly where, the
          wave says exactly where inside one period ``P`` (:func:`period`: 16 px, more in images over 1024 px)
green     the same of ``y`` and ``H``
blue      ``12 + 3 (f mod 50)``; 240 where a figure is painted, so that eyes see people and positions stay
========  =====================================================================================================

Why not a plain ramp: 208 grey levels over 4096 px are 0.05 levels per pixel, and JPEG moves a smooth area by
more than the 0.03 levels that half a pixel would be then. The wave is 32 levels high at every image size.

:func:`decode_affine` needs no guess: any crop, scale, mirror or rotation is found, with padding around it.
"""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hmtools.core.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "FIGURE_BLUE",
    "FRAME_MODULUS",
    "MAX_SIDE",
    "MIN_SIDE",
    "decode_affine",
    "decode_frame",
    "encode",
    "encode_jpeg",
    "period",
]

MIN_SIDE, MAX_SIDE = 64, 4096
"""Smallest and largest width and height of a geometry image, in pixels."""
FRAME_MODULUS = 50
"""The blue channel tells frame numbers apart up to this modulus."""
FIGURE_BLUE = 240
"""Blue level of painted figures; every frame's own level is at most 159."""

_MIDDLE, _RAMP, _WAVE = 128.0, 144.0, 32.0
_BLUE_FIRST, _BLUE_STEP = 12, 3
_FFT_WINDOW = 512  # pixels; the first look at a larger image takes its centre, then the fit grows outwards
_SAMPLES = 20_000  # pixels per fit: noise of 3 levels on a slope of >= 4 levels/px averages to < 0.01 px


class _Axis(NamedTuple):
    """How one source coordinate depends on the stored pixel: ``row @ [u, v, 1]``."""

    row: NDArray[np.float64]
    wave: float  # found wave height over the written one: 1 untouched, less after downscaling
    spread: float  # robust standard deviation of the residual, in grey levels


def period(width: int, height: int) -> float:
    """Length of the fine wave in pixels of the upright source image of ``width`` x ``height`` pixels."""
    # 64 periods at most: a person crop of 4096 px that is scaled to 1024 px still has 7 px per period
    return max(16.0, max(width, height) / 64)


@functools.lru_cache(maxsize=16)
def _planes(width: int, height: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Red row (W,) and green column (H,): all that encode() needs besides the frame."""
    wavelength = period(width, height)
    red = _code(np.arange(width, dtype=np.float64), width, wavelength, 1.0)
    green = _code(np.arange(height, dtype=np.float64), height, wavelength, 1.0)
    return np.rint(red).astype(np.uint8), np.rint(green).astype(np.uint8)


def _code(
    position: NDArray[np.float64], extent: int, wavelength: float, wave: float
) -> NDArray[np.float64]:
    """Grey level at source ``position`` (pixel centres at integers) of an axis ``extent`` pixels long."""
    turn = 2 * np.pi / wavelength * (position + 0.5)
    level: NDArray[np.float64] = _MIDDLE + _RAMP * ((position + 0.5) / extent - 0.5) + wave * _WAVE * np.sin(turn)
    return level


def encode(width: int, height: int, frame: int) -> NDArray[np.uint8]:
    """Draw the geometry image of one frame.

    Args:
        width: upright width in pixels, 64 to 4096.
        height: upright height in pixels, 64 to 4096.
        frame: frame number, >= 0; readable again modulo :data:`FRAME_MODULUS`.

    Returns:
        (H, W, 3) uint8, RGB. Paint figures by setting blue to :data:`FIGURE_BLUE`; leave red and green alone.

    Raises:
        UsageError: if a side or the frame is out of range.

    >>> encode(640, 480, 7)[0, 0].tolist()
    [74, 74, 33]
    """
    if not (MIN_SIDE <= width <= MAX_SIDE and MIN_SIDE <= height <= MAX_SIDE) or frame < 0:
        raise UsageError(
            f"a geometry image has sides of {MIN_SIDE} to {MAX_SIDE} px and a frame >= 0, "
            f"got {width}x{height}, frame {frame}"
        )
    red, green = _planes(width, height)
    image = np.empty((height, width, 3), np.uint8)
    image[..., 0] = red
    image[..., 1] = green[:, None]
    image[..., 2] = _BLUE_FIRST + _BLUE_STEP * (frame % FRAME_MODULUS)
    return image


def encode_jpeg(image: NDArray[np.uint8], orientation: int = 1) -> bytes:
    """Encode at quality 95 without chroma subsampling, as the shards' crops are.

    Args:
        image: (H, W, 3) uint8 RGB, or (H, W) for a file with one channel.
        orientation: EXIF orientation tag to write, 1 to 8; 1 writes no EXIF at all. The pixels stay as they are.

    Returns:
        The file's bytes.
    """
    import cv2

    pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    flags = [cv2.IMWRITE_JPEG_QUALITY, 95]
    if image.ndim == 3:
        flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    data = cv2.imencode(".jpg", pixels, flags)[1].tobytes()
    if orientation == 1:
        return data
    # TIFF, big endian, one entry: tag 0x0112, type SHORT, count 1, value in the upper half of its four bytes
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    segment = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


def decode_affine(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.float64]:
    """Find which upright source pixel every stored pixel shows, by a robust fit over all pixels.

    Args:
        image: (h, w, 3) uint8 RGB, cut or warped out of ``encode(width, height, ...)``, possibly through
            JPEG and with padding. It should show three periods (48 px of a source up to 1024 px) or more.
        width: width of the upright source in pixels.
        height: height of the upright source in pixels.

    Returns:
        (2, 3) float64 ``A``: source pixel ``A @ [u, v, 1]`` for stored column u and row v, pixel centres at
        integers. This is the inverse of a record's ``image_affine`` (upright to stored). Error < 0.1 px at
        the corners after JPEG quality 95 (4:4:4 or 4:2:0), < 0.5 px after quality 75.

    Raises:
        UsageError: if the image is no part of such a geometry image (also: a grayscale one).
    """
    axes = _decode_axes(image, width, height)
    return np.stack([axis.row for axis in axes])


def decode_frame(image: NDArray[np.uint8], width: int, height: int) -> int:
    """Read the frame number of a geometry image or of a crop of it, modulo :data:`FRAME_MODULUS`.

    Args:
        image: (h, w, 3) uint8 RGB as for :func:`decode_affine`.
        width: width of the upright source in pixels.
        height: height of the upright source in pixels.

    Raises:
        UsageError: as :func:`decode_affine`.
    """
    axes = _decode_axes(image, width, height)
    rows, columns = np.indices(image.shape[:2], dtype=np.float64)
    shown = np.ones(image.shape[:2], bool)  # padding and figures out: they hold no frame
    for channel, (axis, extent) in enumerate(zip(axes, (width, height), strict=True)):
        position = axis.row[0] * columns + axis.row[1] * rows + axis.row[2]
        expected = _code(position, extent, period(width, height), axis.wave)
        shown &= np.abs(image[..., channel] - expected) < max(4.0, 4 * axis.spread)
    levels = np.bincount(image[..., 2][shown], minlength=256).astype(np.float64)
    near = np.convolve(levels, 7.0 - np.abs(np.arange(-6, 7)), mode="same")  # JPEG noise is wider than a step
    return int(near[_BLUE_FIRST :: _BLUE_STEP][:FRAME_MODULUS].argmax())


def _decode_axes(image: NDArray[np.uint8], width: int, height: int) -> tuple[_Axis, _Axis]:
    if image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < 16:
        raise UsageError(f"expected an RGB image (h, w, 3) of at least 16x16 px, got shape {image.shape}")
    wavelength = period(width, height)
    axes = (
        _decode_axis(image[..., 0].astype(np.float32), width, wavelength),
        _decode_axis(image[..., 1].astype(np.float32), height, wavelength),
    )
    (a, b, _), (c, d, _) = axes[0].row, axes[1].row
    area = abs(a * d - b * c)  # source pixels per stored pixel
    worst = max(axis.spread for axis in axes)
    if not (1 / 256 < area < 256 and worst < _WAVE / 4 and min(axis.wave for axis in axes) > 0.1):
        raise UsageError(
            f"this is no part of a {width}x{height} geometry image: the best fit shows {area:.3g} source pixels "
            f"per pixel and is off by {worst:.1f} grey levels (a grayscale image cannot be decoded)"
        )
    return axes


def _decode_axis(channel: NDArray[np.float32], extent: int, wavelength: float) -> _Axis:
    """Fit one channel: wave frequency from its spectrum, then least squares on windows that grow."""
    height, width = channel.shape
    textured = _textured(channel)
    window = _FFT_WINDOW
    u, v, level = _sample(channel, textured, window)
    centre = np.array([u.mean(), v.mean()])
    frequency = _peak(_central(channel, window), _central(textured, window))
    fits = []
    for sign in (1.0, -1.0):  # a real wave runs both ways; only the ramp tells which
        start = _start(u - centre[0], v - centre[1], level, sign * wavelength * frequency, extent, wavelength)
        fits.append(_refine(start, u - centre[0], v - centre[1], level, extent, wavelength))
    parameters, spread = min(fits, key=lambda fit: fit[1])
    while window < max(height, width):
        window *= 2
        u, v, level = _sample(channel, textured, window)
        parameters, spread = _refine(parameters, u - centre[0], v - centre[1], level, extent, wavelength)
    row = parameters[:3].copy()
    row[2] -= row[:2] @ centre
    return _Axis(row, float(parameters[3]), spread)


def _central(array: NDArray[Any], side: int) -> NDArray[Any]:
    top, left = (max(0, (extent - side) // 2) for extent in array.shape)
    return array[top : top + side, left : left + side]


def _textured(channel: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where the wave is: constant padding has no slope, not even on average over 15 pixels."""
    import cv2

    slope = np.zeros_like(channel)
    slope[:, 1:] += np.abs(np.diff(channel, axis=1))
    slope[1:, :] += np.abs(np.diff(channel, axis=0))
    if not slope.any():
        return slope > 0
    usual = np.percentile(slope[slope > 0], 75)  # a cliff where padding begins is no texture
    found = (cv2.blur(slope.clip(max=2 * usual), (15, 15)) > 0.25 * usual).astype(np.uint8)
    return cv2.erode(found, np.ones((15, 15), np.uint8)) > 0  # the average had leaked 7 pixels into padding


def _sample(
    channel: NDArray[np.float32], usable: NDArray[np.bool_], window: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Columns, rows and levels of up to _SAMPLES usable pixels of the central window, always the same ones."""
    height, width = channel.shape
    top, left = max(0, (height - window) // 2), max(0, (width - window) // 2)
    rows, columns = np.nonzero(usable[top : top + window, left : left + window])
    if len(rows) < 64:
        raise UsageError("this is no geometry image: it has no waves in red and green")
    if len(rows) > _SAMPLES:
        chosen = np.random.default_rng(0).choice(len(rows), _SAMPLES, replace=False)
        rows, columns = rows[chosen], columns[chosen]
    rows, columns = rows + top, columns + left
    return columns.astype(np.float64), rows.astype(np.float64), channel[rows, columns].astype(np.float64)


def _peak(channel: NDArray[np.float32], usable: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Frequency (u, v) of the strongest wave in cycles per stored pixel, up to its sign."""
    slopes = (np.diff(channel, axis=1)[1:], np.diff(channel, axis=0)[:, 1:])  # the ramp is a constant here
    usable = usable[1:, 1:]
    # Where padding begins there is a cliff: uncut, its spectrum would hide the wave of a small image.
    limit = 3 * np.median(np.hypot(*slopes)[usable])
    slopes = tuple(
        np.where(usable, (slope - slope[usable].mean()).clip(-limit, limit), 0) for slope in slopes
    )
    height, width = slopes[0].shape
    taper = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])
    shape = tuple(max(64, 1 << (2 * side - 1).bit_length()) for side in (height, width))
    power = sum(np.abs(np.fft.rfft2(slope * taper, shape)) ** 2 for slope in slopes)
    row, column = np.unravel_index(int(np.argmax(power)), np.shape(power))
    return np.array([column / shape[1], np.fft.fftfreq(shape[0])[row]])


def _start(
    u: NDArray[np.float64],
    v: NDArray[np.float64],
    level: NDArray[np.float64],
    slope: NDArray[np.float64],
    extent: int,
    wavelength: float,
) -> NDArray[np.float64]:
    """Offset and wave height for a known ``slope``: the wave gives the offset modulo P, the ramp which one."""
    along = slope[0] * u + slope[1] * v
    turn = 2 * np.pi / wavelength * along
    design = np.stack([np.ones_like(turn), np.cos(turn), np.sin(turn)], axis=1)
    (mean, cosine, sine), _ = _robust(design, level - _RAMP * along / extent)
    fine = np.arctan2(cosine, sine) * wavelength / (2 * np.pi)
    coarse = ((mean - _MIDDLE) / _RAMP + 0.5) * extent
    offset = fine + wavelength * np.rint((coarse - fine) / wavelength) - 0.5
    return np.array([slope[0], slope[1], offset, np.hypot(cosine, sine) / _WAVE])


def _refine(
    start: NDArray[np.float64],
    u: NDArray[np.float64],
    v: NDArray[np.float64],
    level: NDArray[np.float64],
    extent: int,
    wavelength: float,
) -> tuple[NDArray[np.float64], float]:
    """Gauss-Newton on (slope u, slope v, offset, wave height); returns them and the residual's spread."""
    parameters, spread = start.copy(), np.inf
    for _ in range(12):
        position = parameters[0] * u + parameters[1] * v + parameters[2]
        turn = 2 * np.pi / wavelength * (position + 0.5)
        steepness = _RAMP / extent + parameters[3] * _WAVE * 2 * np.pi / wavelength * np.cos(turn)
        design = np.stack([steepness * u, steepness * v, steepness, _WAVE * np.sin(turn), 0 * turn + 1], axis=1)
        solution, spread = _robust(design, level - _code(position, extent, wavelength, parameters[3]))
        step, mean = solution[:4], solution[4]
        parameters += step
        if parameters[3] < 0:
            parameters[2:] += wavelength / 2, -2 * parameters[3]
        # The wave locks onto the nearest period; what the ramp then still misses is a whole number of them.
        missed = np.rint(mean * extent / (_RAMP * wavelength))
        parameters[2] += wavelength * missed
        if missed == 0 and abs(step[2]) + abs(step[:2]) @ (np.ptp(u), np.ptp(v)) < 1e-4:
            break
    return parameters, spread


def _robust(design: NDArray[np.float64], target: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Least squares that forgets outliers (Tukey's biweight, scale from the median residual)."""
    weight = np.ones_like(target)
    for _ in range(4):
        root = np.sqrt(weight)
        solution = np.linalg.lstsq(design * root[:, None], target * root, rcond=None)[0]
        residual = target - design @ solution
        spread = max(0.5, 1.4826 * float(np.median(np.abs(residual))))
        weight = (1 - np.minimum(1, np.abs(residual) / (4.7 * spread)) ** 2) ** 2
    return solution, spread
