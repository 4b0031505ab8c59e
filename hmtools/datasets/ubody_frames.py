"""Where the frames of UBody's videos are: in folders of images that users extract, or still in the videos.

The release has videos; its script extracts every frame at 30 fps to ``images/``, numbered from 1, and the
annotations name those images. Images that are there win, per video: they are what a user chose to have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from hmtools.datasets.ubody_scenes import Table, Video
from hmtools.datasets.video import nearest_frames, timestamps

__all__ = ["FPS", "decoded_frames", "with_sources"]

FPS = 30.0
"""Rate of the extracted images, whatever that of the video is."""


def with_sources(root: Path, scene: str, videos: Sequence[Video], frames: str) -> list[Video]:
    """Say of each video where its frames are.

    Args:
        root: the download.
        scene: name of their scene.
        videos: of one scene.
        frames: ``images``, ``videos``, or ``auto``: images where the folder of a video holds any.
    """
    folder = PurePosixPath("images", scene)
    files = {} if frames == "images" else _files(root, scene)
    found = []
    for video in videos:
        images = folder / video.folder
        if frames == "images" or (frames == "auto" and _holds_something(root / images)):
            found.append(replace(video, source=str(images)))
        else:
            found.append(replace(video, source=_file(files, video.folder)))
    return found


def _holds_something(folder: Path) -> bool:
    return folder.is_dir() and next(folder.iterdir(), None) is not None


def _files(root: Path, scene: str) -> dict[str, str]:
    """Place in the scene without suffix -> path relative to the root."""
    folder = root / "videos" / scene
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".mp4")
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path.relative_to(root).as_posix()
        for path in paths
    }


def _file(files: Mapping[str, str], folder: str) -> str:
    """The video of the same place, else the only one of the same name."""
    if folder in files:
        return files[folder]
    name = PurePosixPath(folder).name
    named = [path for place, path in files.items() if PurePosixPath(place).name == name]
    return named[0] if len(named) == 1 else ""


def decoded_frames(video: Path, frames: Table) -> dict[int, int]:
    """Which decoded frames of a video its extracted images show.

    Args:
        video: the file.
        frames: (N,) numbers of images at 30 fps, from 0.

    Returns:
        Number of the image -> index of the decoded frame; -1 for images that extracting does not reach.

    Raises:
        ImageError: ``video_missing``; ``video_broken``.
    """
    numbers = np.unique(frames)
    indices = nearest_frames(timestamps(video), FPS, numbers)
    return dict(zip(numbers.tolist(), indices.tolist(), strict=True))
