"""Videos written image by image, with the oddities that real ones have: reordered frames and uneven times.

The same arguments give the same bytes, on every run: encoders work on one thread, and no date, name or random
number gets into a file.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from hmtools.core.atomic import write_bytes
from hmtools.core.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["VIDEO_CODECS", "VideoCodec", "write_video"]

VideoCodec = Literal["h264", "hevc", "vp9", "mpeg4"]
VIDEO_CODECS: tuple[VideoCodec, ...] = get_args(VideoCodec)
"""Codecs that can be written; all but mpeg4 also without loss."""


_Timed = Iterable[tuple["NDArray[np.uint8]", int, int]]  # image, tick, ticks that it lasts


class _Encoder(NamedTuple):
    """What one codec needs to be told; ``{keys}`` and ``{b}`` stand for the distances of key and B frames."""

    name: str
    pixels: str
    options: Mapping[str, str]


# x264 gives a file of another size now and then while mbtree weighs blocks by what comes later.
_X264 = {
    **{"preset": "veryfast", "sc_threshold": "0", "b_strategy": "0", "mbtree": "0"},
    **{"g": "{keys}", "bf": "{b}"},
}
_X265 = (
    "keyint={keys}:min-keyint=1:scenecut=0:bframes={b}:b-adapt=0:open-gop=0:info=0:log-level=none"
    ":pools=none:frame-threads=1"
)
_VPX = {"cpu-used": "5", "deadline": "good", "row-mt": "0", "b": "0", "g": "{keys}"}
_ENCODERS: Mapping[tuple[str, bool], _Encoder] = {
    ("h264", False): _Encoder("libx264", "yuv420p", {**_X264, "crf": "12"}),
    # Without loss the pixels stay RGB: a conversion to luma and chroma would round.
    ("h264", True): _Encoder("libx264rgb", "rgb24", {**_X264, "crf": "0"}),
    ("hevc", False): _Encoder(
        "libx265", "yuv420p", {"preset": "ultrafast", "x265-params": f"{_X265}:crf=12"}
    ),
    ("hevc", True): _Encoder(
        "libx265", "gbrp", {"preset": "ultrafast", "x265-params": f"{_X265}:lossless=1"}
    ),
    ("vp9", False): _Encoder("libvpx-vp9", "yuv420p", {**_VPX, "crf": "12"}),
    ("vp9", True): _Encoder("libvpx-vp9", "gbrp", {**_VPX, "lossless": "1"}),
    ("mpeg4", False): _Encoder("mpeg4", "yuv420p", {"g": "{keys}", "bf": "{b}", "qmin": "2", "qmax": "2"}),
}
_FORMATS: Mapping[str, str] = {".mp4": "mp4", ".avi": "avi", ".webm": "webm", ".mkv": "matroska"}
_TICKS = 60_000  # a second: the clock of videos whose images come at times of their own (mpeg4: below 2**16)


def write_video(
    path: Path,
    images: Iterable[NDArray[np.uint8]],
    times: Sequence[float] | float,
    *,
    codec: VideoCodec = "h264",
    lossless: bool = False,
    key_every: int = 12,
    b_frames: int = 3,
) -> None:
    """Write a video; its encoded bytes are held in memory, and three of its images.

    Args:
        path: file to write; the suffix says the container: .mp4, .avi, .webm or .mkv.
        images: (H, W, 3) uint8 RGB each, all of one size, with even sides.
        times: frames per second (29.97 means 30000/1001), or the time of every image in seconds, rising and
            not negative; kept to 1/60000 s (1/1000 s in .webm and .mkv).
        codec: how the images are encoded.
        lossless: decoding gives the very same pixels.
        key_every: images from one key frame to the next.
        b_frames: images between two others that are predicted from both, and follow both in the file
            (vp9 has none).

    Raises:
        UsageError: for a container, codec or times that cannot be written, and images that do not fit.
    """
    encoder = _ENCODERS.get((codec, lossless))
    if encoder is None:
        how = " without loss" if lossless else ""
        raise UsageError(f"{path.name}: cannot write {codec!r}{how}; codecs: {', '.join(VIDEO_CODECS)}")
    even = isinstance(times, int | float)
    if path.suffix not in _FORMATS or (path.suffix == ".avi" and not even):
        raise UsageError(
            f"{path.name}: expected a name in {', '.join(_FORMATS)} (.avi only at an even frame rate)"
        )
    timed = iter(_at_rate(images) if isinstance(times, int | float) else _at_times(images, times, path))
    first = list(islice(timed, 3))
    if len(first) < 3:
        b_frames = 0  # there is nothing between two others, and x265 then writes times at random
    settings = {name: value.format(keys=key_every, b=b_frames) for name, value in encoder.options.items()}
    file = io.BytesIO()
    _encode(file, path, encoder._replace(options=settings), _clock(path, times), chain(first, timed))
    write_bytes(path, file.getvalue())


def _clock(path: Path, times: Sequence[float] | float) -> Fraction:
    """Ticks a second."""
    if not isinstance(times, int | float):
        return Fraction(_TICKS)
    if not times > 0:
        raise UsageError(f"{path.name}: expected a frame rate above 0, found {times}")
    television = Fraction(1000 * round(times), 1001)
    return television if abs(times - television) < 0.005 else Fraction(times).limit_denominator(1000)


def _at_rate(images: Iterable[NDArray[np.uint8]]) -> _Timed:
    return ((image, tick, 1) for tick, image in enumerate(images))


def _at_times(images: Iterable[NDArray[np.uint8]], times: Sequence[float], path: Path) -> _Timed:
    """Each image with its tick and how many ticks it lasts; the last one lasts as long as the one before."""
    ticks = [round(time * _TICKS) for time in times]
    gaps = [after - before for before, after in pairwise(ticks)]
    if any(gap <= 0 for gap in gaps) or any(tick < 0 for tick in ticks):
        raise UsageError(f"{path.name}: expected times that rise from 0 s or later, found {list(times)}")
    durations = [*gaps, gaps[-1] if gaps else 1]
    try:
        yield from zip(images, ticks, durations, strict=True)
    except ValueError as error:
        raise UsageError(f"{path.name}: expected as many images as times, {len(ticks)}") from error


def _encode(file: io.BytesIO, path: Path, encoder: _Encoder, clock: Fraction, timed: _Timed) -> None:
    import av

    container = av.open(file, "w", format=_FORMATS[path.suffix], options={"fflags": "+bitexact"})
    with container:
        try:
            stream: Any = container.add_stream(encoder.name, rate=clock, options=dict(encoder.options))
        except ValueError as error:
            raise UsageError(f"{path.name}: {error}; .mkv takes all codecs") from error
        context = stream.codec_context
        context.time_base, context.pix_fmt, context.thread_count = 1 / clock, encoder.pixels, 1
        context.flags |= av.codec.context.Flags.bitexact.value
        size: tuple[int, ...] = ()
        for image, tick, duration in timed:
            if not size:
                size = image.shape
                context.height, context.width = size[:2]
            if image.shape != size or len(size) != 3 or size[0] % 2 or size[1] % 2:
                raise UsageError(
                    f"{path.name}: expected images of one even size, found {image.shape} after {size}"
                )
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.duration, frame.time_base = tick, duration, 1 / clock
            container.mux(stream.encode(frame))
        if not size:
            raise UsageError(f"{path.name}: expected one image or more, found none")
        container.mux(stream.encode())
