"""Photographs, folders and videos of one's own, as upright RGB frames.

Orientation is applied: of photographs by their EXIF tag, of videos by their display matrix. 16-bit images are
read as 8-bit ones, transparency is dropped (the colour below it is seen), grey and CMYK become RGB. What
cannot be read is counted and skipped: one broken file, or one broken frame, costs itself only.
"""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from hmtools.core.errors import LayoutError, UsageError
from hmtools.core.image import ImageError, decode_rgb, opencv
from hmtools.datasets.video import VideoReader, timestamps

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Frame",
    "Media",
    "Medium",
    "Skips",
    "Span",
    "find_media",
    "frames_of",
]

IMAGE_SUFFIXES = frozenset(
    [
        ".avif",
        ".bmp",
        ".gif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pgm",
        ".png",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    ]
)
"""Files of folders that are taken as images."""
VIDEO_SUFFIXES = frozenset(
    [".3g2", ".3gp", ".avi", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm"]
)
"""Files of folders that are taken as videos."""

_EXAMPLES = 10
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Medium:
    """One source of frames.

    Attributes:
        source: its name in predictions: the path below :attr:`Media.root`, with ``/``.
        kind: an ``image``, a ``video``, or a ``sequence``: images of one folder that are frames of one scene.
        files: the file; of a sequence, the images in the order of their frames.
    """

    source: str
    kind: Literal["image", "video", "sequence"]
    files: tuple[Path, ...]

    @property
    def moves(self) -> bool:
        """Whether its frames follow one another in time."""
        return self.kind != "image"


@dataclass(frozen=True, slots=True)
class Media:
    """What was found.

    Attributes:
        root: the nearest folder that holds all of it.
        media: in the order of the arguments, within a folder by name (``2`` before ``10``), each file once.
    """

    root: Path
    media: tuple[Medium, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Which frames of videos and sequences are looked at; images are always.

    Attributes:
        start: first one, 0-based.
        end: the one behind the last; None: all.
        stride: every how many.

    Raises:
        UsageError: for a span that can hold nothing.
    """

    start: int = 0
    end: int | None = None
    stride: int = 1

    def __post_init__(self) -> None:
        if self.start < 0 or self.stride < 1 or (self.end is not None and self.end <= self.start):
            raise UsageError(
                f"expected 0 <= start < end and stride >= 1, got start {self.start}, end {self.end}, "
                f"stride {self.stride}"
            )

    def indices(self, count: int) -> range:
        """The frames it holds of ``count``."""
        return range(self.start, count if self.end is None else min(self.end, count), self.stride)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One upright frame.

    Attributes:
        medium: where it is from.
        index: 0-based among all frames of its source, 0 for images.
        time: seconds from the start of the video file, as it is to be shown; None for images.
        file: the file that holds it.
        image: (H, W, 3) uint8 RGB.
    """

    medium: Medium
    index: int
    time: float | None
    file: Path
    image: UInt8[np.ndarray, "h w 3"]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.shape[1], self.image.shape[0]


@dataclass(slots=True)
class Skips:
    """What was left out, counted by reason, with the first ten of each in words. Threads may share it."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, reason: str, where: str, detail: str = "") -> None:
        """Count one more.

        Args:
            reason: a word, such as ``frame_corrupt``.
            where: source, and frame or person.
            detail: what was found.
        """
        with self._lock:
            self.counts[reason] += 1
            if self.counts[reason] <= _EXAMPLES:
                self.examples.append(f"{where}: {reason}" + (f": {detail}" if detail else ""))


def find_media(inputs: Sequence[Path], *, sequences: bool = False) -> Media:
    """Look for images and videos.

    Args:
        inputs: files, and folders that are searched with what is below them (hidden files are left out, and
            files of other kinds). A file that is named is taken whatever its suffix is.
        sequences: take the images of each folder as the frames of one sequence, in the order of their names.

    Raises:
        UsageError: without inputs.
        LayoutError: naming all paths that do not exist, and folders without an image or video.
    """
    if not inputs:
        raise UsageError("expected one or more images, videos or folders, got none")
    paths = [Path(os.path.abspath(path)) for path in inputs]  # noqa: PTH100 - links keep their names
    wrong = [f"{path}: no such file or folder" for path in paths if not path.exists()]
    root = Path(os.path.commonpath([path if path.is_dir() else path.parent for path in paths]))
    found: dict[Path, None] = {}
    for path in paths:
        files = _files(path) if path.is_dir() else [path]
        if path.is_dir() and not files:
            wrong.append(f"{path}: no image or video in it or below")
        found.update(dict.fromkeys(files))
    if wrong:
        raise LayoutError("; ".join(wrong) + "; expected images, videos, or folders of them")
    return Media(root, tuple(_media(found, root, sequences)))


def _files(folder: Path) -> list[Path]:
    known = IMAGE_SUFFIXES | VIDEO_SUFFIXES
    inside = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in known)
    visible = [path for path in inside if not any(part.startswith(".") for part in path.parts)]
    return [folder / path for path in sorted(visible, key=_order) if (folder / path).is_file()]


def _order(path: Path) -> list[list[tuple[int, str]]]:
    """Names in which numbers count as numbers."""
    return [
        [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in _DIGITS.split(part)]
        for part in path.parts
    ]


def _media(files: Iterable[Path], root: Path, sequences: bool) -> Generator[Medium, None, None]:
    folders: dict[Path, list[Path]] = {}
    for file in files:
        if _is_video(file):
            yield Medium(source=_name(file, root), kind="video", files=(file,))
        elif sequences:
            folders.setdefault(file.parent, []).append(file)
        else:
            yield Medium(source=_name(file, root), kind="image", files=(file,))
    for folder, images in folders.items():
        yield Medium(source=_name(folder, root), kind="sequence", files=tuple(images))


def _is_video(file: Path) -> bool:
    suffix = file.suffix.lower()
    if suffix in VIDEO_SUFFIXES or suffix in IMAGE_SUFFIXES:
        return suffix in VIDEO_SUFFIXES
    return not opencv().haveImageReader(str(file))


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def frames_of(media: Iterable[Medium], span: Span, skips: Skips) -> Generator[Frame, None, None]:
    """Decode frames one after another.

    Args:
        media: where from.
        span: which frames.
        skips: gets what cannot be read: reasons of :class:`~hmtools.core.image.ImageError`;
            ``file_unreadable`` when the file system refuses; ``span_empty`` for a video that ends before the
            span begins.

    Yields:
        Frames, of each source in order.
    """
    for medium in media:
        try:
            yield from _video(medium, span, skips) if medium.kind == "video" else _images(medium, span, skips)
        except ImageError as error:
            skips.add(error.reason, medium.source, error.detail)
        except OSError as error:
            skips.add("file_unreadable", medium.source, error.strerror or str(error))


def _video(medium: Medium, span: Span, skips: Skips) -> Generator[Frame, None, None]:
    (file,) = medium.files
    times = timestamps(file)
    wanted = span.indices(len(times))
    if not wanted:
        skips.add("span_empty", medium.source, f"it has {len(times)} frames")
    with VideoReader(file) as reader:
        for index in wanted:
            try:
                bgr = reader.frame(index)
            except ImageError as error:
                skips.add(error.reason, f"{medium.source} frame {index}", error.detail)
                continue
            image = opencv().cvtColor(bgr, opencv().COLOR_BGR2RGB)
            yield Frame(medium=medium, index=index, time=float(times[index]), file=file, image=image)


def _images(medium: Medium, span: Span, skips: Skips) -> Generator[Frame, None, None]:
    wanted = span.indices(len(medium.files)) if medium.moves else range(1)
    if not wanted:
        skips.add("span_empty", medium.source, f"it has {len(medium.files)} images")
    for index in wanted:
        file = medium.files[index]
        try:
            image = decode_rgb(file.read_bytes(), upright=True)
        except ImageError as error:
            skips.add(
                error.reason,
                f"{medium.source} frame {index}" if medium.moves else medium.source,
                error.detail,
            )
            continue
        except OSError as error:
            skips.add("file_unreadable", str(medium.source), error.strerror or str(error))
            continue
        yield Frame(medium=medium, index=index, time=None, file=file, image=image)
