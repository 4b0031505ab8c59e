"""Small videos for tests: lossless ones of moving blocks, and what remuxing and damage make of them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from hmtools.synth.video_file import write_video

__all__ = ["SIZE", "decoded", "moving", "movings", "patch_matrix", "places", "remux", "write"]

Image = npt.NDArray[np.uint8]

SIZE = (96, 64)
"""Width and height of :func:`moving`."""


@cache
def _blocks() -> Image:
    small = np.random.default_rng(0).integers(0, 256, (SIZE[1] // 8, SIZE[0] // 8, 3), np.uint8)
    return small.repeat(8, axis=0).repeat(8, axis=1)


def moving(index: int) -> Image:
    """(64, 96, 3) uint8 RGB: another picture for every index below 64."""
    return np.ascontiguousarray(np.roll(_blocks(), (index, 2 * index), (0, 1)))


def movings(count: int) -> Iterator[Image]:
    """The first ``count`` of them."""
    return (moving(index) for index in range(count))


def write(path: Path, count: int = 30, times: Any = 25, **options: Any) -> Path:
    """A lossless HEVC video with B frames, unless the options say otherwise."""
    settings: dict[str, Any] = {"codec": "hevc", "lossless": True} | options
    write_video(path, movings(count), times, **settings)
    return path


def decoded(path: Path) -> list[Image]:
    """Every picture that a plain pass over the file gives, BGR."""
    with av.open(str(path)) as container:
        pictures = [picture.to_ndarray(format="bgr24") for picture in container.decode(video=0)]
    return [np.asarray(picture, np.uint8) for picture in pictures]


def remux(source: Path, target: Path, keep: Callable[[int], bool], shift: int = 0) -> Path:
    """Copy packets whose number in the file passes ``keep``, with times later by ``shift`` frames."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        step = round(1 / ((stream.average_rate or 1) * (stream.time_base or 1)))
        for number, packet in enumerate(old.demux(stream)):
            if packet.size and keep(number) and packet.pts is not None and packet.dts is not None:
                packet.pts, packet.dts = packet.pts + shift * step, packet.dts + shift * step
                packet.stream = copy
                new.mux(packet)
    return target


def places(path: Path) -> list[tuple[int, int]]:
    """First byte and length of every packet, in the order of the file."""
    with av.open(str(path)) as container:
        return [(packet.pos or 0, packet.size) for packet in container.demux(video=0) if packet.size]


def patch_matrix(path: Path, xx: int, xy: int, yx: int, yy: int) -> None:
    """Write the display matrix of an MP4: x' = xx x + yx y and y' = xy x + yy y."""
    data = bytearray(path.read_bytes())
    begin = data.index(b"tkhd") + 44
    data[begin : begin + 36] = struct.pack(">9i", xx << 16, xy << 16, 0, yx << 16, yy << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
