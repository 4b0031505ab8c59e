"""Videos: when each frame is shown, and any frame by its number (:mod:`.retiming`: at another rate).

A frame's index is its place among the frames that a decoder gives, from 0, in the order in which they are
shown: not the place in the file (B frames stand there after a later one), and without what an edit list cuts
away. Everything here reads one local file. A playlist that calls itself .mp4 is refused, and so is every
other format that may name more files or addresses.

Frames are as ffmpeg extracts them to images, since the labels of many sets were made on those: turned as the
display matrix of the file says (most programs that show videos do so too), and 8 bits a channel.
"""

from __future__ import annotations

import errno
import io
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hmtools.core.image import MAX_PIXELS, ImageError
from hmtools.datasets.retiming import nearest_frames

__all__ = ["VideoReader", "nearest_frames", "timestamps"]

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_Frame = tuple[int, Any, bool]  # index, picture, and whether it is harmed

# All hold their pictures themselves; hls, dash, concat, image2 and others that name files are not here.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,mpegts,mpeg"
_NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
_NO_TIME = -(2**63)
_GIVE_UP = 100  # failures to read in a row


def timestamps(path: Path) -> Floats:
    """When each frame is shown.

    The file is read through but not decoded.

    Args:
        path: video file.

    Returns:
        (N,) float64 seconds, rising, from the start of the file: where its sound begins earlier, the first
        frame is later than 0. ffmpeg counts so.

    Raises:
        ImageError: ``video_missing``; ``video_broken`` for a file that is no video.
    """
    return _indexed(path).times.copy()


@dataclass(frozen=True, slots=True, eq=False)
class _Index:
    """The packets of a video in the order of the file (P of them), and its frames as they are shown (N).

    Attributes:
        times: (N,) seconds.
        packet: (N,) packet that holds each frame.
        frame: (P,) frame that each packet holds; -1 for what is not shown, -2 for what cannot be decoded.
        key: (P,) packet at which decoding has to begin for each one.
        stamps: (P, 2) presentation and decoding time of each packet in ticks, to seek with.
        place: byte at which a packet lies -> its number; empty when bytes do not tell packets apart.
        counted: nothing says which frame a packet holds but counting what the decoder gives.
    """

    times: Floats
    packet: Ints
    frame: Ints
    key: Ints
    stamps: Ints
    place: dict[int, int]
    counted: bool


def _indexed(path: Path) -> _Index:
    try:
        about = path.stat()
    except OSError as error:
        if error.errno not in _NO_FILE:
            raise
        raise ImageError("video_missing", "no such file") from error
    if not path.is_file():
        raise ImageError("video_missing", "no file")
    return _index(path, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=4)  # times are asked for, then frames; the last arguments notice another file of that name
def _index(path: Path, nbytes: int, changed: int) -> _Index:
    with _opened(path) as (container, stream):
        start, tick = (container.start_time or 0) / 1_000_000, float(stream.time_base)
        # h264 and hevc in AVI have presentation times that only number the packets
        reordered = stream.codec.name in ("h264", "hevc") and stream.codec_context.has_b_frames
        counted = container.format.name == "avi" and reordered
        rows = [
            (_tick(p.pts, p.dts), _tick(p.dts, p.pts), p.pos, p.is_keyframe, p.is_discard or _hidden(p))
            for p in _packets(container, stream)
        ]
    if not rows:
        raise ImageError("video_broken", "there is no picture in it")
    pts, dts, places, is_key, hidden = (list(column) for column in zip(*rows, strict=True))
    stamps = np.array([pts, dts], np.int64).T
    counted = bool(counted or (stamps == _NO_TIME).any())
    order = stamps[:, 1 if counted else 0]
    keys = np.flatnonzero(is_key) if any(is_key) and not counted else np.zeros(1, np.int64)
    shown = ~np.array(hidden, bool)
    lost = _undecodable(path, order, int(keys[0]), shown)
    shown[lost] = False
    packet = np.flatnonzero(shown)
    packet = packet[np.argsort(order[packet], kind="stable")]
    frame = np.full(len(rows), -1, np.int64)
    frame[packet] = np.arange(len(packet))
    frame[lost] = -2
    place = {where: number for number, where in enumerate(places) if where is not None}
    return _Index(
        times=order[packet] * tick - start,
        packet=packet,
        frame=frame,
        key=_keys(order, keys),
        stamps=stamps,
        place=place if len(place) == len(rows) and not counted else {},
        counted=counted,
    )


def _tick(stamp: int | None, otherwise: int | None) -> int:
    if stamp is not None:
        return stamp
    return _NO_TIME if otherwise is None else otherwise


def _hidden(packet: Any) -> bool:
    """VP8 keeps pictures that are only there to be predicted from in packets of their own."""
    return bool(packet.stream.codec.name == "vp8" and not bytes(packet)[0] & 0x10)


def _keys(order: Ints, keys: Ints) -> Ints:
    """The last key frame before each packet; one more back for pictures that are shown before it."""
    numbers = np.arange(len(order))
    last = np.searchsorted(keys, numbers, side="right") - 1
    earlier = order < order[keys[last.clip(0)]]
    chosen = last - earlier
    return np.asarray(np.where(chosen < 0, 0, keys[chosen.clip(0)]), np.int64)


def _undecodable(path: Path, order: Ints, key: int, shown: npt.NDArray[np.bool_]) -> Ints:
    """Packets at the start whose pictures never appear, because what they are predicted from was cut away."""
    numbers = np.arange(len(order))
    doubtful = numbers[shown & ((numbers < key) | ((numbers > key) & (order < order[key])))]
    if not len(doubtful):
        return np.zeros(0, np.int64)
    seen = set()
    with _opened(path) as (container, stream):
        for number, _, _ in _pictures(stream, enumerate(_packets(container, stream)), []):
            seen.add(number)
            if number == key:
                break
    return np.asarray([number for number in doubtful if number not in seen], np.int64)


class _File(io.FileIO):
    """A file in which places that no file can have, as damaged videos name them, are only not found."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        try:
            return super().seek(offset, whence)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return -errno.EINVAL  # what FFmpeg takes as a failure


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and the stream of a video that ffmpeg would take, ready to be decoded on one thread."""
    import av

    with ExitStack() as stack:
        file = stack.enter_context(_File(path))
        try:
            # a file that is already open, so that no name is ever taken for an address
            options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
            container = stack.enter_context(av.open(file, container_options=options, io_open=_refuse))
            stream: Any = container.streams.best("video")
        except (av.FFmpegError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise ImageError("video_broken", f"FFmpeg reads none of {_FORMATS} in it: {why}") from error
        if stream is None or stream.codec_context is None:
            raise ImageError("video_broken", "there is no video stream that can be decoded")
        context = stream.codec_context
        if context.width * context.height > MAX_PIXELS:
            size = f"{context.width}x{context.height}"
            raise ImageError("image_too_large", f"{size} pixels, at most {MAX_PIXELS} are read")
        context.thread_count, context.copy_opaque = 1, True
        context.options = {"err_detect": "explode", "max_pixels": str(MAX_PIXELS)}
        yield container, stream


def _refuse(url: str, flags: int, options: object) -> Any:
    raise ImageError("video_broken", f"it asks for another file, {url!r}")


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """All packets that hold something; what cannot be read between them is left out."""
    import av

    failures = 0
    while failures < _GIVE_UP:
        try:
            for packet in container.demux(stream):
                failures = 0
                if packet.size:
                    yield packet
            return
        except av.FFmpegError:  # the next call goes on behind it
            failures += 1


def _pictures(
    stream: Any, numbered: Iterable[tuple[int, Any]], failed: list[int]
) -> Iterator[tuple[int, Any, int]]:
    """Number of its packet, picture and packets read so far, in the order in which pictures are shown.

    ``failed`` collects the numbers of packets that could not be decoded, in order; it is filled before the
    first picture that can have been harmed is given.
    """
    import av

    context, last = stream.codec_context, -1
    for number, packet in chain(numbered, [(-1, None)]):  # the last one brings what the decoder still holds
        if packet is not None:
            last = number
            packet.opaque = [number]  # comes back with the picture, whatever the order
        try:
            pictures = context.decode(packet)
        except av.FFmpegError:
            insort(failed, last)
            continue
        for picture in pictures:
            found = picture.opaque[0]
            if picture.is_corrupt:
                insort(failed, found)
            yield found, picture, last + 1


class VideoReader:
    """Frames of one video by index; quickest in rising order. Close it, or use it in a ``with`` statement.

    It decodes on one thread, so that results do not depend on the machine, and holds one image beside the
    decoder's own pictures. A frame before the last one, or far behind it, is reached from a key frame.

    Args:
        path: local video file: MP4, MOV, AVI, Matroska, WebM, MPEG.

    Raises:
        ImageError: ``video_missing``; ``video_broken`` for what is no video (or names other files);
            ``image_too_large``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._index = _indexed(path)
        self._stack = ExitStack()
        self._shown = -1  # index of _image
        self._image: Image | None = None
        self._turn: tuple[float, ...] | None = None
        self._next = 0  # lowest index that can be had without going back
        self._read = 0  # packets that the decoder has been given
        self._waiting: _Frame | None = None  # came in place of one that was asked for
        self._frames: Iterator[_Frame] = iter(())
        self._restart(0)

    def __len__(self) -> int:
        return len(self._index.times)

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the reader is of no use after that."""
        self._stack.close()

    def frame(self, index: int) -> Image:
        """Decode one frame.

        Args:
            index: 0-based, in the order in which frames are shown.

        Returns:
            (H, W, 3) uint8 BGR, read-only, turned as the file's display matrix says.

        Raises:
            ImageError: ``frame_missing`` behind the last frame; ``frame_corrupt`` if this frame, or one that
                it is predicted from, cannot be decoded without error. Later frames can still be read.
        """
        if not 0 <= index < len(self):
            raise ImageError("frame_missing", f"there is no frame {index}, the video has {len(self)} frames")
        if self._image is None or index != self._shown:
            self._image = None
            picture = self._picture(index)
            # once: asking a picture keeps it until Python looks for cycles
            self._turn = self._turn or _matrix(picture)
            self._image = _turned(picture.to_ndarray(format="bgr24"), self._turn)
            self._image.setflags(write=False)
            self._shown = index
        return self._image

    def _picture(self, index: int) -> Any:
        key = int(self._index.key[self._index.packet[index]])
        # One group of pictures earlier: where groups are open or refreshed bit by bit, decoders complain
        # about the first pictures after a jump, which must not look like damage of the file.
        key = int(self._index.key[key - 1]) if key else 0
        if index < self._next or key > self._read:
            self._restart(key)
        while True:
            found, picture, harmed = self._waiting or next(self._frames, (len(self), None, False))
            self._waiting = None
            if found > index:  # and index, which was due, has not come
                self._waiting, self._next = (found, picture, harmed), index + 1
                raise ImageError("frame_corrupt", f"the decoder gives no picture for frame {index}")
            self._next = found + 1
            if found == index and not harmed:
                return picture
            if found == index:
                raise ImageError("frame_corrupt", f"data of frame {index} or of one before it are damaged")

    def _restart(self, key: int) -> None:
        """Go on from packet ``key``, or from one before it."""
        self._waiting = None
        numbered = self._seek(key) if key and self._index.place else None
        if numbered is None:
            self._stack.close()
            self._container, self._stream = self._stack.enter_context(_opened(self._path))
            numbered = enumerate(_packets(self._container, self._stream))
            key = 0
        self._next, self._read = int(self._index.frame[key]), key
        self._frames = self._decode(numbered)

    def _seek(self, key: int) -> Iterator[tuple[int, Any]] | None:
        """Packets from ``key`` or from before it with their numbers; None if the file cannot be sought."""
        import av

        for stamp in self._index.stamps[key].tolist():  # some containers seek by one, some by the other
            try:
                self._container.seek(stamp, stream=self._stream)
            except av.FFmpegError:
                return None
            packets = _packets(self._container, self._stream)
            first = next(packets, None)
            number = None if first is None else self._index.place.get(first.pos)
            if number is not None and number <= key:
                return enumerate(chain([first], packets), number)
        return None

    def _decode(self, numbered: Iterator[tuple[int, Any]]) -> Iterator[_Frame]:
        failed: list[int] = []
        numbered = (entry for entry in numbered if self._index.frame[entry[0]] > -2)
        for count, (number, picture, read) in enumerate(_pictures(self._stream, numbered, failed)):
            self._read = read
            index = count if self._index.counted else int(self._index.frame[number])
            if index < 0:
                continue
            needed = int(self._index.key[number])  # what it can have been predicted from lies between the two
            place = bisect_left(failed, needed)
            harmed = place < len(failed) and (failed[place] <= number or self._index.counted)
            yield index, picture, harmed


def _matrix(picture: Any) -> tuple[float, ...]:
    """How the file says that its pictures are turned: (x' of x, y' of x, x' of y, y' of y), y downwards."""
    data = picture.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 1.0, 0.0, 0.0, 1.0
    xx, xy, _, yx, yy, *_ = (np.frombuffer(bytes(data), np.int32) / 65536).round(2).tolist()
    if any((xx, yy)) == any((xy, yx)):
        raise ImageError("video_broken", "it is to be shown tilted, which no label of a data set is made for")
    return xx, xy, yx, yy


def _turned(image: Image, matrix: tuple[float, ...]) -> Image:
    xx, xy, yx, yy = matrix
    across, down, image = (xx, yy, image) if xx else (yx, xy, image.transpose(1, 0, 2))
    image = image[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]
    return np.ascontiguousarray(image)
