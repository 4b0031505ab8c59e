"""Loads the image that a record names: a file, or one frame of a video."""

from __future__ import annotations

import errno
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from hmtools.core.errors import UnsafeFileError
from hmtools.core.image import ImageError, decode_bgr, probe
from hmtools.datasets.base import Dataset, safe_path
from hmtools.datasets.video import VideoReader
from hmtools.humandata.record import Record

__all__ = ["ImageLoader"]

# What the system says when there is no file of the annotated name; anything else is trouble of the disk.
_NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}

Image = npt.NDArray[np.uint8]


class ImageLoader:
    """Loads images of one download; a context manager.

    A video stays open until an image of another file is asked for, so frames in rising order cost one pass.
    """

    def __init__(self, dataset: Dataset, root: Path) -> None:
        self._dataset, self._root = dataset, root
        self._video: VideoReader | ImageError | None = None  # or why it cannot be read
        self._name = ""

    def __enter__(self) -> ImageLoader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def load(self, record: Record) -> tuple[bytes, str, Image]:
        """Load the image of a record.

        Returns:
            The encoded bytes (none for a frame of a video), their kind (``jpg``, ``png`` or ``other``), and
            the pixels as the file has them: (H, W, 3) uint8 BGR, to be read only.

        Raises:
            ImageError: if it cannot be used: ``image_…`` for files, ``video_…`` and ``frame_…`` for videos,
                ``unsafe_path`` for names that leave the download.
            OSError: for trouble of the disk, after which a rerun may find the image fine.
        """
        data, kind = b"", "other"
        if record.video_frame is not None:
            image = self._reader(record.image_path or "").frame(record.video_frame)
        else:
            data = self._bytes(record.image_path or "")
            kind, image = probe(data).kind, decode_bgr(data)
        labelled = (record.height, record.width)
        upright = (record.image_op or "none") in ("none", "hflip")
        found = image.shape[:2] if upright else image.shape[1::-1]
        if tuple(found) != labelled:
            raise ImageError(
                "image_size_mismatch",
                f"labels are for {labelled[1]}x{labelled[0]}, the file has {found[1]}x{found[0]}",
            )
        return data, kind, image

    def _bytes(self, name: str) -> bytes:
        try:
            return self._dataset.image_bytes(self._root, name)
        except UnsafeFileError as error:
            raise ImageError("unsafe_path", str(error)) from error
        except OSError as error:
            if error.errno not in _NO_FILE:
                raise
            raise ImageError("image_missing", "no such file") from error

    def _reader(self, name: str) -> VideoReader:
        if self._video is None or name != self._name:
            self._close()
            self._name = name
            try:
                self._video = VideoReader(safe_path(self._root, name))
            except UnsafeFileError as error:
                self._video = ImageError("unsafe_path", str(error))
            except ImageError as error:
                self._video = error  # thousands of frames may ask for it
        if isinstance(self._video, ImageError):
            raise ImageError(self._video.reason, self._video.detail)
        return self._video

    def _close(self) -> None:
        if isinstance(self._video, VideoReader):
            self._video.close()
        self._video = None
