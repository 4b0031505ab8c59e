"""The pictures that predictions were made of, found again: media of one's own, or converted shards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, UInt8

from hmtools.core.errors import CountedError, LayoutError, UsageError
from hmtools.core.image import decode_rgb, opencv
from hmtools.datasets.video import VideoReader, timestamps
from hmtools.geometry.crop import compose_affine
from hmtools.infer.media import IMAGE_SUFFIXES, find_media
from hmtools.infer.outputs.scenes import PeopleIndex, Scene
from hmtools.shards.reader import Shards, find_splits

__all__ = [
    "PICTURE_COLUMNS",
    "MediaPictures",
    "Picture",
    "Pictures",
    "ShardPictures",
    "of_size",
    "resized",
    "scaling",
]

PICTURE_COLUMNS = ("key", "source", "image_path", "height", "width")
"""Columns by which a picture is found."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture and where in it upright original pixels are.

    Attributes:
        image: (H, W, 3) uint8 RGB, upright.
        affine: (2, 3) upright original pixel centres to pixel centres of ``image``.
    """

    image: UInt8[np.ndarray, "h w 3"]
    affine: Float[np.ndarray, "2 3"]


class Pictures(Protocol):
    """Finds pictures."""

    def picture(self, scene: Scene, frame: int, row: Mapping[str, Any]) -> Picture:
        """The picture of a frame.

        Args:
            scene: where.
            frame: its number.
            row: cells of :data:`PICTURE_COLUMNS` of one of its people; empty for a frame that has none.

        Raises:
            CountedError: if it is not there or cannot be read.
        """

    def goes_on(self, scene: Scene) -> bool:
        """Whether frames without people have pictures too, which can be asked for without a row."""

    def time(self, scene: Scene, frame: int) -> float | None:
        """Seconds from the start of a video at which a frame is shown; None where nothing says."""

    def rate(self, scene: Scene) -> float | None:
        """Frames a second of a scene; None where nothing says."""


def scaling(factor: float) -> Float[np.ndarray, "2 3"]:
    """Pixel centres of an image to those of the same image ``factor`` times as large."""
    shift = (factor - 1) / 2
    return np.array([[factor, 0, shift], [0, factor, shift]])


class MediaPictures:
    """Pictures of images and videos in a folder, or of one file.

    Args:
        root: the folder that ``hmtools infer`` was given, below which the sources are; a file that is the
            only source; None: sources are paths as they are.
        index: of the table.

    Raises:
        LayoutError: if ``root`` does not exist.
        UsageError: for one file and a table of several sources.
    """

    def __init__(self, root: Path | None, index: PeopleIndex) -> None:
        if root is not None and not root.exists():
            raise LayoutError(f"--media {root}: no such file or folder")
        sources = {scene.source for scene in index.scenes}
        if root is not None and root.is_file() and len(sources) > 1:
            raise UsageError(
                f"--media {root}: is one file, the predictions are of {len(sources)} sources; give the "
                "folder that holds them"
            )
        self._root = root
        self._alone = len(index.scenes) == 1
        self._open: tuple[Path, VideoReader] | None = None

    def picture(self, scene: Scene, frame: int, row: Mapping[str, Any]) -> Picture:
        """See :class:`Pictures`."""
        path = self._path(scene, row)
        if path.is_dir():
            (sequence,) = _listed(path)
            if frame >= len(sequence):
                raise CountedError("frame_missing", f"{path} has {len(sequence)} images, no number {frame}")
            path = sequence[frame]
        if _still(path):
            image = decode_rgb(path.read_bytes(), upright=True)
        else:
            image = opencv().cvtColor(self._reader(path).frame(frame), opencv().COLOR_BGR2RGB)
        return Picture(image, _as_predicted(image, row, path))

    def goes_on(self, scene: Scene) -> bool:
        """See :class:`Pictures`."""
        return self._video(scene) is not None

    def time(self, scene: Scene, frame: int) -> float | None:
        """See :class:`Pictures`."""
        video = self._video(scene)
        if video is None:
            return None
        times = _times(video)
        return float(times[frame]) if frame < len(times) else None

    def rate(self, scene: Scene) -> float | None:
        """See :class:`Pictures`."""
        video = self._video(scene)
        times = np.zeros(0) if video is None else _times(video)
        return (len(times) - 1) / float(times[-1] - times[0]) if len(times) > 1 else None

    def _video(self, scene: Scene) -> Path | None:
        if len(scene.frames) < 2:
            return None
        try:
            path = self._path(scene, {})
        except CountedError:  # what was predicted may be gone; only who asks for a picture needs it
            return None
        return path if path.is_file() and not _still(path) else None

    def _path(self, scene: Scene, row: Mapping[str, Any]) -> Path:
        root = self._root
        if root is not None and root.is_file():
            return root
        for name in dict.fromkeys([row.get("image_path"), scene.source]):
            if name is None:
                continue
            for found in (Path(name),) if root is None else self._below(root, name):
                inside = root is None or found.resolve().is_relative_to(root.resolve())
                if inside and found.exists():
                    return found
        where = "here" if root is None else f"in {root}"
        way = "--shards names the shards it is of" if scene.source is None else "--media names its folder"
        raise CountedError("media_missing", f"{scene.name}: not found {where}; {way}")

    def _below(self, root: Path, name: str) -> tuple[Path, ...]:
        """Where a source may be; of several, the name alone could be another one's."""
        return (root / name, root / Path(name).name) if self._alone else (root / name,)

    def _reader(self, path: Path) -> VideoReader:
        if self._open is None or self._open[0] != path:
            self.close()
            self._open = path, VideoReader(path)
        return self._open[1]

    def close(self) -> None:
        """Close the video that is open."""
        if self._open is not None:
            self._open[1].close()
            self._open = None


def _still(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES or bool(opencv().haveImageReader(str(path)))


@lru_cache(maxsize=4)
def _listed(folder: Path) -> list[tuple[Path, ...]]:
    inside = find_media([folder], sequences=True).media
    own = [medium.files for medium in inside if medium.source == "."]
    if len(own) != 1:
        raise CountedError("media_missing", f"{folder}: no images in it; --media names their folder")
    return own


@lru_cache(maxsize=4)
def _times(path: Path) -> Float[np.ndarray, " n"]:
    return timestamps(path)


def _as_predicted(image: Any, row: Mapping[str, Any], path: Path) -> Float[np.ndarray, "2 3"]:
    """Identity, or a scaling for a smaller or larger copy of the picture that was predicted on."""
    width, height = row.get("width"), row.get("height")
    if not width or not height or width < 0 or height < 0:
        return np.eye(2, 3)
    factor = image.shape[1] / width
    if abs(image.shape[0] - factor * height) > max(1.0, 0.01 * image.shape[0]):
        raise CountedError(
            "picture_of_other_size",
            f"{path}: {image.shape[1]}x{image.shape[0]}, predicted on {width}x{height}",
        )
    return scaling(factor)


class ShardPictures:
    """Pictures of converted shards, by the keys of the records.

    Args:
        path: ``OUT``, ``OUT/<dataset>`` or ``OUT/<dataset>/<split>``.

    Attributes:
        splits: that are there.

    Raises:
        LayoutError: if there is no converted split.
    """

    def __init__(self, path: Path) -> None:
        splits = find_splits(path)
        if not splits:
            raise LayoutError(f"--shards {path}: no converted split (manifest.json) there or below")
        self.splits = [Shards(split) for split in splits]
        self._rows = {
            key: (number, row)
            for number, shards in enumerate(self.splits)
            for row, key in enumerate(shards.table.column("key").to_pylist())
        }
        self._rates: dict[str, float] = {}
        for shards in self.splits:
            name = f"{shards.manifest.dataset}/{shards.manifest.split}"
            known = shards.table.select(["sequence", "fps"]).drop_null()
            for sequence, fps in zip(*(known.column(i).to_pylist() for i in range(2)), strict=True):
                self._rates[f"{name}/{sequence}"] = fps

    def picture(self, scene: Scene, frame: int, row: Mapping[str, Any]) -> Picture:
        """See :class:`Pictures`."""
        number, place = self._found(row.get("key"))
        sample = self.splits[number][place]
        if sample.image is None:
            raise CountedError("no_image", f"{row['key']}: converted without images")
        return Picture(sample.image, sample.affine)

    def _found(self, key: str | None) -> tuple[int, int]:
        if key is None or key not in self._rows:
            raise CountedError("not_in_shards", f"{key}: no such record in the shards")
        return self._rows[key]

    def goes_on(self, scene: Scene) -> bool:
        """See :class:`Pictures`."""
        return False

    def time(self, scene: Scene, frame: int) -> None:
        """See :class:`Pictures`."""

    def rate(self, scene: Scene) -> float | None:
        """See :class:`Pictures`."""
        return self._rates.get(scene.name)


def resized(picture: Picture, size: int | None) -> Picture:
    """A picture whose longer side is ``size`` pixels; the same one without a size."""
    height, width = picture.image.shape[:2]
    if size is None or size == max(height, width):
        return picture
    factor = size / max(height, width)
    shape = max(1, round(width * factor)), max(1, round(height * factor))
    how = opencv().INTER_AREA if factor < 1 else opencv().INTER_CUBIC
    image = opencv().resize(picture.image, shape, interpolation=how)
    across, down = shape[0] / width, shape[1] / height
    scale = np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2]])
    return Picture(image, compose_affine(scale, picture.affine))


def of_size(picture: Picture, shape: tuple[int, ...]) -> Picture:
    """A picture on a canvas of ``shape``, at its top left, shrunk where it is larger.

    The pictures of one video are of one size: here those that are not are made so.
    """
    if picture.image.shape == shape:
        return picture
    factor = min(shape[0] / picture.image.shape[0], shape[1] / picture.image.shape[1], 1.0)
    fitting = resized(picture, round(max(picture.image.shape[:2]) * factor))
    canvas = np.zeros(shape, np.uint8)
    part = fitting.image[: shape[0], : shape[1]]
    canvas[: part.shape[0], : part.shape[1]] = part
    return Picture(canvas, fitting.affine)
