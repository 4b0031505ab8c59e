"""Videos for eyes: H.264 in MP4, written frame by frame.

Any browser and player shows them: 8-bit 4:2:0, BT.601 as ffmpeg converts RGB and said so in the stream, index
at the front of the file. The file appears under its name when it is whole.
"""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import UInt8

from hmtools.core.atomic import AtomicFile
from hmtools.core.errors import UsageError

__all__ = ["VideoFile"]

_TICKS = 60_000  # a second: both 30 and 30000/1001 frames are whole ticks
_OPTIONS = {"preset": "veryfast", "crf": "20"}
_BT601, _LIMITED = 6, 1  # H.273: matrix of SMPTE 170M; 16 to 235


class VideoFile:
    """Context manager that writes one video; nothing is left of it when the block fails.

    Args:
        path: of the video, ``*.mp4``.
        fps: frames a second, where :meth:`write` is not told times.

    Raises:
        UsageError: for another suffix, or a rate that is none.
        OSError: if the folder takes no files.
    """

    def __init__(self, path: Path, fps: float) -> None:
        if path.suffix != ".mp4":
            raise UsageError(f"{path}: expected a name that ends in .mp4")
        if not (np.isfinite(fps) and 0 < fps <= 1000):
            raise UsageError(f"{path}: expected 0 < frames a second <= 1000, got {fps}")
        import av

        self.path, self.frames = path, 0
        self._size: tuple[int, ...] = ()
        self._tick, self._step = -1, Fraction(_TICKS) / Fraction(fps).limit_denominator(1001)
        # It only lends its temporary name: moving the index to the front needs a file that can be read again.
        self._file = AtomicFile(path)
        try:
            name = str(self._file.temporary.absolute())
            self._container: Any = av.open(name, "w", format="mp4", options={"movflags": "+faststart"})
            self._stream: Any = self._container.add_stream(
                "libx264", rate=Fraction(fps).limit_denominator(1001), options=dict(_OPTIONS)
            )
        except BaseException:
            self._file.discard()
            raise

    def write(self, image: UInt8[np.ndarray, "h w 3"], time: float | None = None) -> None:
        """Append a picture.

        Args:
            image: (H, W, 3) uint8 RGB, all of one size; an odd side gets its last row or column twice.
            time: seconds from the start of the video, above that of the one before; default: at the rate.

        Raises:
            UsageError: for a picture of another size, or a time that does not rise.
            OSError: as the file system raises it.
        """
        import av

        if not self._size:
            self._begin(image)
        if image.shape != self._size:
            raise UsageError(f"{self.path}: expected pictures of shape {self._size}, found {image.shape}")
        tick = round(self.frames * self._step) if time is None else round(time * _TICKS)
        if tick <= self._tick:
            raise UsageError(f"{self.path}: picture {self.frames} does not come after the one before it")
        even = np.pad(image, [(0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)], mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        frame.pts, frame.time_base = tick, Fraction(1, _TICKS)
        self._container.mux(self._stream.encode(frame))
        self._tick, self.frames = tick, self.frames + 1

    def _begin(self, image: Any) -> None:
        self._size = image.shape
        context = self._stream.codec_context
        context.height, context.width = (side + side % 2 for side in image.shape[:2])
        context.time_base, context.pix_fmt = Fraction(1, _TICKS), "yuv420p"
        context.colorspace, context.color_range = _BT601, _LIMITED

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None or not self.frames:
            self._drop()
            return
        try:
            self._container.mux(self._stream.encode())
            self._container.close()
            self._file.commit()
        except BaseException:
            self._drop()
            raise

    def _drop(self) -> None:
        import av

        try:
            with contextlib.suppress(av.FFmpegError, OSError):  # what it still wanted to write is not wanted
                self._container.close()
        finally:
            self._file.discard()
