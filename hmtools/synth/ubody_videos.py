"""Videos of UBody: where they lie, which of their frames are annotated, and which pictures those frames are.

Annotations count the images that ``ffmpeg -r 30`` writes (``000001.png`` is the first), so a video of another
rate has fewer or more pictures than numbers. Which ones ffmpeg takes was measured with ffmpeg 5.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, takewhile

__all__ = ["FPS", "SCENES", "TEST_LISTS", "Video", "plan_videos"]

FPS = 30
"""Rate at which frames are numbered, whatever the video's own."""

SCENES = ("ConductMusic", "Speech")
"""Scenes that have videos; each has its own annotation files."""

TEST_LISTS: Mapping[str, tuple[str, ...]] = {
    "intra": ("Podium", "Debate", "Rehearsal"),
    "inter": ("Lectern", "Debate", "Rehearsal"),
}
"""Kind of split -> names of its test videos; of one that is listed nothing was annotated."""

# Rate of a video -> the picture that ffmpeg writes as re-timed image k, counted from 0.
_PICTURE: Mapping[int, Callable[[int], int]] = {
    25: lambda k: k - (k + 2) // 6,  # every fifth twice: 0 1 2 3 3 4 5 6 7 8 8 9
    30: lambda k: k,
    60: lambda k: max(k, 2 * k - 3),  # after a late start every other: 0 1 2 3 5 7 9
}
_SPARE = 2  # pictures after the last annotated one
_RUN = 5  # annotated frames in a row, then one without


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """One annotated video.

    Attributes:
        scene: one of :data:`SCENES`.
        folder: name below the scene's folder of its extracted images, and with ``.mp4`` of itself; it may
            lie deeper.
        fps: the video's own rate.
        numbers: annotated frames as the release counts them, from 1, rising.
        pictures: how many the video has.
    """

    scene: str
    folder: str
    fps: int
    numbers: tuple[int, ...]
    pictures: int

    @property
    def file(self) -> str:
        """Path of the video below the root."""
        return f"videos/{self.scene}/{self.folder}.mp4"

    @property
    def retimed(self) -> tuple[int, ...]:
        """The picture that each re-timed image shows, all counted from 0."""
        return tuple(takewhile(lambda picture: picture < self.pictures, map(_PICTURE[self.fps], count())))

    @property
    def splits(self) -> tuple[str, str]:
        """The two splits that the video belongs to; pieces of one recording share a name."""
        name = self.folder.rpartition("/")[2].partition("_Trim")[0]
        intra, inter = (name in TEST_LISTS[kind] for kind in ("intra", "inter"))
        return f"intra_{'test' if intra else 'train'}", f"inter_{'test' if inter else 'train'}"


def plan_videos(frames: int) -> list[Video]:
    """Plan the videos of a miniature, all scenes in one list; those without annotated frames are not made.

    Args:
        frames: annotated images of every split.
    """
    more, fewer = (frames + 1) // 2, frames // 2
    # Two videos for either list of splits: as many images in each split, whichever way they are split.
    planned = (
        _video("ConductMusic", "Symphony_Trim1", 30, 1, (more + 1) // 2),
        _video("ConductMusic", "Symphony_Trim2", 30, 3, more // 2),
        _video("ConductMusic", "Podium", 25, 4, fewer),
        _video("Speech", "2019/Lectern_Trim1", 30, 6, fewer, beyond=True),
        _video("Speech", "Debate_Trim2", 60, 4, more),
    )
    return [video for video in planned if video.numbers]


def _video(scene: str, folder: str, fps: int, first: int, images: int, *, beyond: bool = False) -> Video:
    """A video; with ``beyond``, the last of two or more annotated frames is one that it does not reach."""
    beyond = beyond and images > 1
    numbers = list(_numbers(first, images - beyond))
    pictures = _PICTURE[fps](numbers[-1] - 1) + 1 + _SPARE if numbers else 0
    video = Video(scene=scene, folder=folder, fps=fps, numbers=tuple(numbers), pictures=pictures)
    if not beyond:
        return video
    numbers.append(len(video.retimed) + 1)
    return Video(scene=scene, folder=folder, fps=fps, numbers=tuple(numbers), pictures=pictures)


def _numbers(first: int, images: int) -> Iterator[int]:
    return (first + image + image // _RUN for image in range(images))
