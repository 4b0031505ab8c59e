from __future__ import annotations

import contextlib
import pickle
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hmtools.core import image
from hmtools.core.image import (
    MAX_PIXELS,
    ImageError,
    ImageInfo,
    decode_bgr,
    decode_rgb,
    encode_jpeg,
    encode_png,
    opencv,
    probe,
)

Array = np.ndarray[Any, np.dtype[np.uint8]]
cv2 = opencv()
REASONS = {"image_empty", "image_truncated", "image_unreadable", "image_too_large"}


def picture(height: int = 16, width: int = 24) -> Array:
    """Smooth colours with an edge, so that JPEG stays small and no channel equals another."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    planes = [255 * x / width, 255 * y / height, 40 + 100 * (x > width / 2)]
    return np.stack(planes, axis=-1).astype(np.uint8)


def jpeg(array: Array, *settings: int) -> bytes:
    return bytes(cv2.imencode(".jpg", array[..., ::-1], list(settings))[1])


def progressive() -> bytes:
    return jpeg(picture(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(array: np.ndarray[Any, Any], colour: int, *extra: bytes) -> bytes:
    """PNG of (H, W, channels) in 8 or 16 bits; colour types 0 grey, 2 RGB, 4 grey + alpha, 6 RGBA."""
    bits = array.dtype.itemsize * 8
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], bits, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for row in array)
    chunks = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def with_exif(data: bytes, orientation: int, thumbnail: bytes = b"") -> bytes:
    """Insert an EXIF segment with an orientation tag and an embedded thumbnail."""
    tags = struct.pack(">HHHIHH", 1, 0x0112, 3, 1, orientation, 0)
    body = b"Exif\0\0MM\0*" + struct.pack(">I", 8) + tags + struct.pack(">I", 0) + thumbnail
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


def sampling(data: bytes) -> list[int]:
    """Sampling factors of the components in the first start-of-frame segment (0x11 = 1 x 1)."""
    start = next(data.index(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in data)
    return [data[start + 11 + 3 * component] for component in range(data[start + 9])]


ENCODED: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: encode_jpeg(picture()),
    "subsampled": lambda: jpeg(picture()),
    "progressive": progressive,
    "restarts": lambda: jpeg(picture(), cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
    "grey jpeg": lambda: jpeg(picture()[..., :1]),
    "thumbnail": lambda: with_exif(jpeg(picture()), 1, encode_jpeg(picture(8, 8))),
}


@pytest.mark.parametrize("name", ENCODED)
def test_jpeg_cut_at_any_byte_is_refused(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    data = ENCODED[name]()
    assert decode_rgb(data).shape == (16, 24, 3)
    for length in range(len(data)):
        with pytest.raises(ImageError) as error:
            decode_rgb(data[:length])
        expected = "image_empty" if length == 0 else "image_unreadable" if length == 1 else "image_truncated"
        assert error.value.reason == expected, length
    assert capfd.readouterr() == ("", ""), "the decoder was asked, and complained on stderr"


@pytest.mark.parametrize("extra", [b"", chunk(b"tEXt", b"Comment\0IEND is near")])
def test_png_cut_at_any_byte_is_refused(extra: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    data = png(picture(), 2, extra)
    for length in range(1, len(data) - 4):  # the last four bytes are the checksum of the empty end chunk
        with pytest.raises(ImageError) as error:
            decode_rgb(data[:length])
        assert error.value.reason == ("image_unreadable" if length < 8 else "image_truncated"), length
    assert capfd.readouterr() == ("", "")
    for length in range(len(data) - 4, len(data)):
        with contextlib.suppress(ImageError):
            assert np.array_equal(decode_rgb(data[:length]), picture())


def test_bytes_behind_the_end_do_no_harm() -> None:
    assert np.array_equal(decode_rgb(encode_png(picture()) + b"\0" * 50), picture())
    data = encode_jpeg(picture())
    assert np.array_equal(decode_rgb(data + b"trailer"), decode_rgb(data))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_ignored(orientation: int) -> None:
    plain = jpeg(picture())
    turned = with_exif(plain, orientation)
    assert np.array_equal(decode_rgb(turned), decode_rgb(plain))
    if orientation == 6:  # the tag is really there: OpenCV turns the picture when it is let
        assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape == (24, 16, 3)


def test_colour_order_and_exactness() -> None:
    assert np.array_equal(decode_rgb(encode_png(picture())), picture())
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    assert np.abs(decode_rgb(encode_jpeg(red)).astype(int) - red).max() <= 3
    assert np.abs(decode_rgb(encode_jpeg(picture())).astype(int) - picture()).mean() < 3


@pytest.mark.parametrize("encode", [encode_jpeg, encode_png])
def test_bgr_is_the_same_image(encode: Callable[..., bytes]) -> None:
    data = encode(picture())
    pixels = decode_bgr(data)
    assert np.array_equal(pixels, decode_rgb(data)[..., ::-1])
    for view in (
        pixels,
        pixels[3:, 5:],
        pixels[::-1, ::-1],
        np.rot90(pixels),
    ):  # as crops and turned images are
        assert encode(view, bgr=True) == encode(np.ascontiguousarray(view[..., ::-1]))


def test_png_flavours_become_rgb() -> None:
    grey = picture()[..., :1]
    wide = picture().astype(np.uint16) * 257
    alpha = np.concatenate([picture(), 255 - grey], axis=-1)
    found = [
        decode_rgb(png(grey, 0)),
        decode_rgb(png(np.concatenate([grey, grey // 2], -1), 4)),
        decode_rgb(png(wide, 2)),
        decode_rgb(png(wide[..., :1], 0)),
        decode_rgb(png(alpha, 6)),
    ]
    greys = np.repeat(grey, 3, axis=-1)
    for array, expected in zip(found, [greys, greys, picture(), greys, picture()], strict=True):
        assert array.dtype == np.uint8
        assert np.array_equal(array, expected)


def test_grey_jpeg_becomes_rgb() -> None:
    array = decode_rgb(ENCODED["grey jpeg"]())
    assert array.shape == (16, 24, 3)
    assert (array == array[..., :1]).all()
    assert np.abs(array[..., 0].astype(int) - picture()[..., 0]).max() < 10


def test_probe_reads_kind_and_size() -> None:
    assert probe(encode_jpeg(picture(30, 20))) == ImageInfo("jpg", 20, 30)
    assert probe(progressive()) == ImageInfo("jpg", 24, 16)
    assert probe(encode_png(picture(30, 20))) == ImageInfo("png", 20, 30)
    other = bytes(cv2.imencode(".bmp", picture())[1])
    assert probe(other) == ImageInfo("other", 0, 0)
    assert decode_rgb(other).shape == (16, 24, 3)
    # a thumbnail's size is not the picture's; fill bytes before a marker are legal
    assert probe(ENCODED["thumbnail"]()) == ImageInfo("jpg", 24, 16)
    data = jpeg(picture())
    assert probe(data[:2] + b"\xff\xff\xff" + data[2:]) == ImageInfo("jpg", 24, 16)


def resized_header(data: bytes, width: int, height: int) -> bytes:
    """The same file with another size in its header."""
    changed = bytearray(data)
    if data.startswith(b"\xff\xd8"):
        start = next(data.index(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in data)
        changed[start + 5 : start + 9] = struct.pack(">HH", height, width)
    else:
        changed[16:24] = struct.pack(">II", width, height)
        changed[29:33] = struct.pack(">I", zlib.crc32(changed[12:29]))
    return bytes(changed)


@pytest.mark.parametrize("name", ["jpeg", "progressive", "png"])
def test_bombs_are_refused_before_decoding(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode_png(picture()) if name == "png" else ENCODED[name]()
    assert MAX_PIXELS < 60_000 * 60_000
    bomb = resized_header(data, 60_000, 60_000)
    monkeypatch.setattr(image, "opencv", lambda: pytest.fail("it was decoded"))
    with pytest.raises(ImageError, match=f"60000x60000 pixels, at most {MAX_PIXELS}") as error:
        decode_rgb(bomb)
    assert error.value.reason == "image_too_large"


@pytest.mark.parametrize("encode", [encode_jpeg, encode_png])
def test_the_bound_is_exact(encode: Callable[[Array], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "MAX_PIXELS", 16 * 24)
    assert decode_rgb(encode(picture())).shape == (16, 24, 3)
    with pytest.raises(ImageError) as error:
        decode_rgb(encode(picture(16, 25)))
    assert error.value.reason == "image_too_large"


def bitmap(width: int, height: int) -> bytes:
    """Header of a BMP file."""
    size = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + size


def test_other_formats_are_bounded_too() -> None:
    with pytest.raises(ImageError, match="image_too_large"):
        decode_rgb(bitmap(60_000, 60_000))


def test_other_formats_have_our_bound() -> None:
    """BMP, TIFF … are not probed: OpenCV gets our bound, which it reads from the environment when loaded."""
    code = """
import sys
from hmtools.core.image import ImageError, decode_rgb
try:
    decode_rgb(sys.stdin.buffer.read())
except ImageError as error:
    raise SystemExit(error.reason) from None
"""
    done = subprocess.run(
        [sys.executable, "-c", code], input=bitmap(20_000, 20_000), capture_output=True, check=False
    )
    assert done.stderr.splitlines()[-1:] == [b"image_too_large"], done.stderr


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "image_empty"),
        (b"\0" * 200, "image_unreadable"),
        (b"<html>not found</html>", "image_unreadable"),
        (b"\xff\xd8", "image_truncated"),
        (b"\xff\xd8" + b"\0" * 100, "image_unreadable"),
        (b"\xff\xd8\xff\xe0\x00\x00" + b"\xff\xd9" * 9, "image_unreadable"),  # a segment of no length
        (b"\xff\xd8\xff\xda\x00\x02\xff\xd9", "image_unreadable"),  # a scan without a frame
        (b"\x89PNG\r\n\x1a\n", "image_truncated"),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", b"x" * 20) + chunk(b"IEND", b""), "image_truncated"),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", b"\0" * 13) + chunk(b"IEND", b""), "image_unreadable"),
    ],
)
def test_garbage_is_refused_by_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as error:
        decode_rgb(data)
    assert error.value.reason == reason


@given(data=st.data(), name=st.sampled_from(["jpeg", "progressive", "png"]))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_bytes_give_an_image_or_an_image_error(
    data: st.DataObject, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "MAX_PIXELS", 10_000)
    damaged = bytearray(encode_png(picture()) if name == "png" else ENCODED[name]())
    places = data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=4))
    for place in places:
        damaged[place] = data.draw(st.integers(0, 255))
    try:
        array = decode_rgb(bytes(damaged))
    except ImageError as error:
        assert error.reason in REASONS  # noqa: PT017 - either outcome is right, this is what one must hold
    else:
        assert array.dtype == np.uint8
        assert array.ndim == 3
        assert array.shape[0] * array.shape[1] <= 10_000


def test_encoding_is_deterministic_and_takes_views() -> None:
    view = picture(40, 40)[::2, 5:, :]
    for encode in (encode_jpeg, encode_png):
        assert encode(view) == encode(view.copy()) == encode(view)


def test_what_cannot_be_encoded() -> None:
    with pytest.raises(ImageError, match=r"cannot encode \(1, 70000, 3\) as \.jpg"):
        encode_jpeg(np.zeros((1, 70_000, 3), np.uint8))  # JPEG ends at 65 500


def test_jpeg_keeps_full_colour_resolution() -> None:
    assert sampling(encode_jpeg(picture())) == [0x11, 0x11, 0x11]
    assert sampling(jpeg(picture()))[0] == 0x22, "OpenCV's default halves colour, so the setting matters"
    assert len(encode_jpeg(picture(), quality=50)) < len(encode_jpeg(picture()))


def test_errors_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(ImageError("image_empty", "no bytes")))
    assert isinstance(error, ImageError)
    assert (error.reason, error.detail, str(error)) == ("image_empty", "no bytes", "image_empty: no bytes")
