"""Images whose colours say where every pixel came from, and the decoder that reads it back.

A *geometry image* shows nothing but its own coordinates. For ``W x H`` pixels and frame ``f``:

========  ====================================================================================================
red       ``128 + 144 ((x + 0.5) / W - 0.5) + 32 sin(2 pi (x + 0.5) / P)``: the ramp says roughly where, the
          wave says exactly where inside one period ``P`` (:func:`period`: 16 px, more in images over 1024 px)
green     the same of ``y`` and ``H``
blue      ``12 + 3 (f mod 50)``; 240 where a figure is painted, so that eyes see people and positions stay
========  ====================================================================================================

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

    Array = NDArray[np.float64]

__all__ = [
    "FIGURE_BLUE",
    "FRAME_MODULUS",
    "MAX_SIDE",
    "MIN_SIDE",
    "decode_affine",
    "decode_frame",
    "encode",
    "encode_jpeg",
    "encode_png",
    "grey",
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
_SAMPLES = 8_000  # pixels per fit: noise of 3 levels on slopes of 5 levels per pixel averages to 0.01 px


class _Code(NamedTuple):
    """How the position along one axis becomes a grey level."""

    extent: int  # pixels of the upright source along the axis
    period: float

    def level(self, position: Array, wave: float = 1.0) -> Array:
        """Grey level at source ``position``, pixel centres at integers; ``wave`` scales the wave's height."""
        along = position + 0.5
        ramp = _MIDDLE + _RAMP * (along / self.extent - 0.5)
        return ramp + wave * _WAVE * np.sin(2 * np.pi / self.period * along)

    def slope(self, position: Array, wave: float) -> Array:
        """Grey levels per source pixel."""
        turn = 2 * np.pi / self.period
        steep = wave * _WAVE * turn * np.cos(turn * (position + 0.5))
        return np.asarray(_RAMP / self.extent + steep)


class _Pixels(NamedTuple):
    """Some pixels of one channel; u and v count from their mean, where slope and offset depend least."""

    u: Array
    v: Array
    level: Array


class _Fit(NamedTuple):
    """Source position ``slope @ [u, v] + offset`` for one axis."""

    slope: Array  # (2,)
    offset: float
    wave: float  # found wave height over the written one: 1 untouched, less after downscaling
    spread: float  # robust standard deviation of what is left, in grey levels

    def position(self, u: Array, v: Array) -> Array:
        """Source position of stored pixels."""
        return np.asarray(self.slope[0] * u + self.slope[1] * v + self.offset)


def period(width: int, height: int) -> float:
    """Length of the fine wave in pixels of the upright source image of ``width`` x ``height`` pixels."""
    # 64 periods at most: a person crop of 4096 px that is scaled to 1024 px still has 7 px per period
    return max(16.0, max(width, height) / 64)


@functools.lru_cache(maxsize=16)
def _lines(width: int, height: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Red of every row (W,) and green of every column (H,)."""
    codes = _codes(width, height)
    red, green = (code.level(np.arange(code.extent, dtype=np.float64)) for code in codes)
    return np.rint(red).astype(np.uint8), np.rint(green).astype(np.uint8)


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
    [62, 62, 33]
    """
    if not (MIN_SIDE <= width <= MAX_SIDE and MIN_SIDE <= height <= MAX_SIDE) or frame < 0:
        raise UsageError(
            f"a geometry image has sides of {MIN_SIDE} to {MAX_SIDE} px and a frame >= 0, "
            f"got {width}x{height}, frame {frame}"
        )
    red, green = _lines(width, height)
    image = np.empty((height, width, 3), np.uint8)
    image[..., 0] = red
    image[..., 1] = green[:, None]
    image[..., 2] = _BLUE_FIRST + _BLUE_STEP * (frame % FRAME_MODULUS)
    return image


def encode_jpeg(image: NDArray[np.uint8], orientation: int = 1) -> bytes:
    """Encode at quality 95 without chroma subsampling, as the shards' crops are.

    Args:
        image: (H, W, 3) uint8 RGB, or (H, W) for a file with one channel.
        orientation: EXIF orientation tag to write, 1 to 8; 1 writes no EXIF at all. Pixels stay as they are.

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


def decode_affine(image: NDArray[np.uint8], width: int, height: int) -> Array:
    """Find which upright source pixel every stored pixel shows, by a robust fit over all pixels.

    Args:
        image: (h, w, 3) uint8 RGB, cut or warped out of ``encode(width, height, ...)``, possibly through
            JPEG and with padding. It should show three periods (48 px of a source up to 1024 px) or more.
        width: width of the upright source in pixels.
        height: height of the upright source in pixels.

    Returns:
        (2, 3) float64 ``A``: source pixel ``A @ [u, v, 1]`` for stored column u and row v, pixel centres at
        integers. This is the inverse of a record's ``image_affine`` (upright to stored). The error at the
        corners stays below 0.2 px after JPEG quality 95, 4:4:4 or 4:2:0, and below 0.5 px after quality 75.

    Raises:
        UsageError: if the image is no part of such a geometry image (also: a grayscale one).
    """
    return np.array([[*fit.slope, fit.offset] for fit in _fit(image, width, height)])


def decode_frame(image: NDArray[np.uint8], width: int, height: int) -> int:
    """Read the frame number of a geometry image or of a crop of it, modulo :data:`FRAME_MODULUS`.

    Args:
        image: (h, w, 3) uint8 RGB as for :func:`decode_affine`.
        width: width of the upright source in pixels.
        height: height of the upright source in pixels.

    Raises:
        UsageError: as :func:`decode_affine`.
    """
    rows, columns = np.asarray(np.indices(image.shape[:2]), dtype=np.float64)
    shown = np.ones(image.shape[:2], bool)  # without padding, which has no frame
    for channel, fit in enumerate(_fit(image, width, height)):
        expected = _codes(width, height)[channel].level(fit.position(columns, rows), fit.wave)
        shown &= np.abs(image[..., channel] - expected) < max(4.0, 4 * fit.spread)
    levels = np.bincount(image[..., 2][shown], minlength=256).astype(np.float64)
    near = np.convolve(levels, 7.0 - np.abs(np.arange(-6, 7)), mode="same")  # JPEG noise is wider than a step
    return int(near[_BLUE_FIRST::_BLUE_STEP][:FRAME_MODULUS].argmax())


def _codes(width: int, height: int) -> tuple[_Code, _Code]:
    return _Code(width, period(width, height)), _Code(height, period(width, height))


def _fit(image: NDArray[np.uint8], width: int, height: int) -> tuple[_Fit, _Fit]:
    """Both axes of an image; refuses what fits badly."""
    if image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < 16:
        raise UsageError(f"expected an RGB image (h, w, 3) of at least 16x16 px, got shape {image.shape}")
    red, green = _codes(width, height)
    x = _fit_axis(image[..., 0].astype(np.float32), red)
    y = _fit_axis(image[..., 1].astype(np.float32), green)
    area = abs(float(np.linalg.det([x.slope, y.slope])))  # source pixels per stored pixel
    worst = max(x.spread, y.spread)
    if not (1 / 256 < area < 256 and worst < _WAVE / 4 and min(x.wave, y.wave) > 0.1):
        raise UsageError(
            f"this is no part of a {width}x{height} geometry image: the best fit shows {area:.3g} source "
            f"pixels per pixel and is off by {worst:.1f} grey levels (a grayscale image cannot be decoded)"
        )
    return x, y


def _fit_axis(channel: NDArray[np.float32], code: _Code) -> _Fit:
    """Fit one channel: wave frequency from its spectrum, then least squares on windows that grow."""
    textured = _textured(channel)
    window = _FFT_WINDOW
    pixels, centre = _sample(channel, textured, window, None)
    frequency = _peak(_central(channel, window), _central(textured, window))
    # A real wave runs both ways; only the ramp tells which.
    starts = [_start(pixels, sign * code.period * frequency, code) for sign in (1.0, -1.0)]
    fit = min((_refine(start, pixels, code) for start in starts), key=lambda fit: fit.spread)
    while window < max(channel.shape):
        window *= 2
        pixels, _ = _sample(channel, textured, window, centre)
        fit = _refine(fit, pixels, code)
    return fit._replace(offset=fit.offset - float(fit.slope @ centre))


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
    channel: NDArray[np.float32], usable: NDArray[np.bool_], window: int, centre: Array | None
) -> tuple[_Pixels, Array]:
    """Up to _SAMPLES usable pixels of the central window about ``centre`` (u, v), or about their mean."""
    height, width = channel.shape
    top, left = max(0, (height - window) // 2), max(0, (width - window) // 2)
    rows, columns = np.nonzero(usable[top : top + window, left : left + window])
    if len(rows) < 64:
        raise UsageError("this is no geometry image: it has no waves in red and green")
    if len(rows) > _SAMPLES:
        chosen = np.random.default_rng(0).choice(len(rows), _SAMPLES, replace=False)
        rows, columns = rows[chosen], columns[chosen]
    rows, columns = rows + top, columns + left
    about = np.array([columns.mean(), rows.mean()]) if centre is None else centre
    level = channel[rows, columns].astype(np.float64)
    return _Pixels(columns - about[0], rows - about[1], level), about


def _peak(channel: NDArray[np.float32], usable: NDArray[np.bool_]) -> Array:
    """Frequency (u, v) of the strongest wave in cycles per stored pixel, up to its sign."""
    usable = usable[1:, 1:]
    slopes = np.stack([np.diff(channel, axis=1)[1:], np.diff(channel, axis=0)[:, 1:]])
    slopes -= slopes[:, usable].mean(axis=1)[:, None, None]  # nothing is left of the ramp
    height, width = usable.shape
    taper = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1]) * usable
    shape = tuple(max(64, 1 << (2 * side - 1).bit_length()) for side in (height, width))
    power = (np.abs(np.fft.rfft2(slopes * taper, shape)) ** 2).sum(axis=0)
    row, column = np.unravel_index(int(power.argmax()), power.shape)
    return np.array([column / shape[1], np.fft.fftfreq(shape[0])[row]])


def _start(pixels: _Pixels, slope: Array, code: _Code) -> _Fit:
    """Offset and wave height for a known ``slope``: the wave gives the offset modulo P, the ramp the rest."""
    along = slope[0] * pixels.u + slope[1] * pixels.v
    turn = 2 * np.pi / code.period * along
    design = np.stack([np.ones_like(turn), np.cos(turn), np.sin(turn)])
    (mean, cosine, sine), spread = _robust(design, pixels.level - _RAMP * along / code.extent)
    fine = np.arctan2(cosine, sine) * code.period / (2 * np.pi)
    coarse = ((mean - _MIDDLE) / _RAMP + 0.5) * code.extent
    offset = fine + code.period * np.rint((coarse - fine) / code.period) - 0.5
    return _Fit(slope, float(offset), float(np.hypot(cosine, sine) / _WAVE), spread)


def _refine(fit: _Fit, pixels: _Pixels, code: _Code) -> _Fit:
    """Gauss-Newton on slope, offset and wave height."""
    u, v, level = pixels
    for _ in range(12):
        position = fit.position(u, v)
        steep = code.slope(position, fit.wave)
        wave = _WAVE * np.sin(2 * np.pi / code.period * (position + 0.5))
        design = np.stack([steep * u, steep * v, steep, wave, np.ones_like(u)])
        (*slope, offset, height, mean), spread = _robust(design, level - code.level(position, fit.wave))
        moved = abs(offset) + float(np.abs(slope) @ (np.ptp(u), np.ptp(v)))
        wave_height = fit.wave + height
        if wave_height < 0:  # the same wave, half a period further on
            wave_height, offset = -wave_height, offset + code.period / 2
        # The wave locks onto the nearest period; what the ramp then still misses is a whole number of them.
        periods = np.rint(mean * code.extent / (_RAMP * code.period))
        offset += periods * code.period
        fit = _Fit(fit.slope + slope, fit.offset + float(offset), float(wave_height), spread)
        if moved < 1e-4 and periods == 0:
            break
    return fit


def _robust(design: Array, target: Array) -> tuple[Array, float]:
    """Least squares that forgets outliers (Tukey's biweight, scale from the median residual).

    ``design`` has one row per unknown. Normal equations with rows of equal length: ten times faster than an
    orthogonal decomposition, and six unknowns at most leave them well conditioned.
    """
    length = np.linalg.norm(design, axis=1)
    rows = design / np.where(length > 0, length, 1.0)[:, None]
    weight = np.ones_like(target)
    for _ in range(4):
        weighted = rows * weight
        solution = np.linalg.lstsq(weighted @ rows.T, weighted @ target, rcond=1e-12)[0]
        residual = target - solution @ rows
        spread = max(0.5, 1.4826 * float(np.median(np.abs(residual))))
        weight = (1 - np.minimum(1, np.abs(residual) / (4.7 * spread)) ** 2) ** 2
    return np.asarray(solution / np.where(length > 0, length, 1.0)), spread


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Encode an (H, W, 3) uint8 RGB image without loss."""
    import cv2

    data: bytes = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
    return data


def grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One channel (H, W) of an (H, W, 3) uint8 RGB image."""
    import cv2

    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.uint8)
