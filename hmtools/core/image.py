"""Encoded images: look before decoding, decode, encode.

Pixels are RGB uint8 (H, W, 3). Orientation tags are applied only when asked for: dataset labels were made
without them, a photograph of one's own is to be seen upright.
OpenCV decodes a truncated JPEG to a picture with a grey rest and a line on stderr, so completeness is checked
on the bytes, and the size is bounded before any pixel is allocated.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from hmtools.core.errors import CountedError

__all__ = [
    "MAX_PIXELS",
    "ImageError",
    "ImageInfo",
    "decode_bgr",
    "decode_rgb",
    "encode_jpeg",
    "encode_png",
    "opencv",
    "probe",
]

Image = npt.NDArray[np.uint8]

MAX_PIXELS = 120_000_000
"""Largest image that is decoded (a 4K frame has 8.3 million pixels): more is refused by name."""

_PNG = b"\x89PNG\r\n\x1a\n"
_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG start-of-frame markers hold the size


class ImageError(CountedError):
    """An image that cannot be used; ``reason`` is the word it is counted under.

    Reasons: ``image_empty``, ``image_truncated``, ``image_unreadable``, ``image_too_large``; of videos
    ``video_missing``, ``video_broken``, ``frame_missing``, ``frame_corrupt``.
    """


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What the header says: ``kind`` (jpg, png or other), width and height in pixels (0 when unknown)."""

    kind: str
    width: int
    height: int


@cache
def opencv() -> Any:
    """The cv2 module, single-threaded and with its own pixel bound, imported on first use."""
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
    import cv2

    cv2.setNumThreads(0)
    return cv2


def probe(data: bytes) -> ImageInfo:
    """Check completeness and size of an encoded image without decoding it.

    Raises:
        ImageError: for empty or truncated data and for more than :data:`MAX_PIXELS` pixels.
    """
    if not data:
        raise ImageError("image_empty", "the file has no bytes")
    if data.startswith(b"\xff\xd8"):
        info = _probe_jpeg(data)
    elif data.startswith(_PNG):
        info = _probe_png(data)
    else:
        info = ImageInfo("other", 0, 0)
    if info.width * info.height > MAX_PIXELS:
        raise ImageError(
            "image_too_large", f"{info.width}x{info.height} pixels, at most {MAX_PIXELS} are read"
        )
    return info


def _probe_jpeg(data: bytes) -> ImageInfo:
    size, position = (0, 0), 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            raise ImageError("image_unreadable", f"no JPEG marker at byte {position}")
        marker = data[position + 1]
        if marker in (0xFF, 0x01) or 0xD0 <= marker <= 0xD7:  # fill bytes and markers without a body
            position += 1 if marker == 0xFF else 2
            continue
        if marker in _SIZES and position + 9 <= len(data):
            height, width = struct.unpack_from(">HH", data, position + 5)
            size = (width, height)
        if marker == 0xDA:  # scan data follow; their end marker cannot occur inside them
            if data.rfind(b"\xff\xd9", position) < 0:
                raise ImageError("image_truncated", f"JPEG of {len(data)} bytes has no end marker")
            return ImageInfo("jpg", *size)
        position += 2 + struct.unpack_from(">H", data, position + 2)[0]
    raise ImageError("image_truncated", f"JPEG of {len(data)} bytes ends inside its header")


def _probe_png(data: bytes) -> ImageInfo:
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise ImageError("image_truncated", f"PNG of {len(data)} bytes ends inside its header")
    position = len(_PNG)
    while data[position + 4 : position + 8] != b"IEND":
        if position + 8 > len(data):
            raise ImageError("image_truncated", f"PNG of {len(data)} bytes has no end chunk")
        position += 12 + int(struct.unpack_from(">I", data, position)[0])
    width, height = struct.unpack_from(">II", data, 16)
    return ImageInfo("png", width, height)


def decode_rgb(data: bytes, *, upright: bool = False) -> Image:
    """Decode to RGB uint8 (H, W, 3), grey and alpha images too.

    Args:
        data: the encoded image.
        upright: turn it as its EXIF orientation says; otherwise that is ignored.

    Raises:
        ImageError: as :func:`probe`, and ``image_unreadable`` when the decoder gives up.
    """
    return _decode(data, "IMREAD_COLOR_RGB", upright=upright)


def decode_bgr(data: bytes) -> Image:
    """The same with the channels as OpenCV orders them, for pixels that only go back into an encoder.

    Raises:
        ImageError: as :func:`decode_rgb`.
    """
    return _decode(data, "IMREAD_COLOR_BGR")


def _decode(data: bytes, channels: str, *, upright: bool = False) -> Image:
    probe(data)
    cv2 = opencv()
    flags = getattr(cv2, channels) | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        # sizes of other formats are not probed; OpenCV checks them against the bound it was given
        reason = "image_too_large" if "CV_IO_MAX_IMAGE" in str(error) else "image_unreadable"
        raise ImageError(reason, str(error).strip().splitlines()[-1]) from error
    if image is None:
        raise ImageError("image_unreadable", f"{len(data)} bytes that OpenCV cannot decode")
    return np.asarray(image, np.uint8)


def encode_jpeg(image: Image, quality: int = 95, *, bgr: bool = False) -> bytes:
    """JPEG of an RGB (or BGR) image, 4:4:4 (colour edges of hands and faces survive), deterministic."""
    cv2 = opencv()
    settings = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    return _encode(".jpg", image, settings, bgr)


def encode_png(image: Image, *, bgr: bool = False) -> bytes:
    """Lossless PNG of an RGB (or BGR) image, deterministic."""
    return _encode(".png", image, [opencv().IMWRITE_PNG_COMPRESSION, 3], bgr)


def _encode(extension: str, image: Image, settings: list[int], bgr: bool) -> bytes:
    cv2 = opencv()
    if not bgr:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(extension, image, settings)
    if not done:
        raise ImageError("image_unreadable", f"OpenCV cannot encode {image.shape} as {extension}")
    return bytes(encoded)
