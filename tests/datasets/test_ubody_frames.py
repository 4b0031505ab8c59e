"""Where frames of UBody are, and that those of videos are the ones ffmpeg would have extracted."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hmtools.core.image import ImageError, opencv
from hmtools.datasets.ubody_frames import decoded_frames, with_sources
from hmtools.datasets.ubody_scenes import Video
from hmtools.datasets.video import VideoReader
from tests.datasets.ubody_tree import write_ubody_video

NOTHING = np.zeros((0, 7), np.int64)


def source(root: Path, folder: str, frames: str = "auto") -> str:
    (found,) = with_sources(root, "Movie", [Video("", folder, NOTHING[:, :3], NOTHING)], frames)
    return found.source


def touch(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def test_images_win_where_a_folder_holds_any(tmp_path: Path) -> None:
    touch(tmp_path, "images/Movie/A/000001.png", "videos/Movie/A.mp4", "videos/Movie/B.mp4")
    (tmp_path / "images/Movie/B").mkdir()
    assert source(tmp_path, "A") == "images/Movie/A"
    assert source(tmp_path, "B") == "videos/Movie/B.mp4"
    assert source(tmp_path, "A", "videos") == "videos/Movie/A.mp4"
    assert source(tmp_path, "B", "images") == "images/Movie/B"
    assert source(tmp_path, "C") == ""
    assert source(tmp_path, "C", "images") == "images/Movie/C"


def test_videos_by_place_then_by_name(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *(f"videos/Movie/{name}" for name in ("A.mp4", "one/A.mp4", "one/B.MP4", "two/C.mp4", "C.mp4")),
    )
    touch(tmp_path, "videos/Movie/one/D.txt", "videos/Singing/E.mp4")
    assert source(tmp_path, "one/A") == "videos/Movie/one/A.mp4"
    assert source(tmp_path, "A") == "videos/Movie/A.mp4"
    assert source(tmp_path, "B") == source(tmp_path, "two/B") == "videos/Movie/one/B.MP4"
    assert source(tmp_path, "three/C") == "", "which of the two?"
    assert source(tmp_path, "D") == source(tmp_path, "E") == ""


def test_a_name_with_dots(tmp_path: Path) -> None:
    touch(tmp_path, "videos/Movie/a.b.mp4", "videos/Movie/a.c.mp4")
    assert source(tmp_path, "a.b") == "videos/Movie/a.b.mp4"
    assert source(tmp_path, "a") == ""


def test_names_never_leave_the_folder_of_videos(tmp_path: Path) -> None:
    touch(tmp_path, "secret.mp4", "videos/Movie/A.mp4")
    assert source(tmp_path, "../../secret", "videos") == ""


def test_frames(tmp_path: Path) -> None:
    video = write_ubody_video(tmp_path / "v.mp4", 4, 15)
    assert decoded_frames(video, np.array([7, 0, 1, 1, 8, 500])) == {0: 0, 1: 0, 7: 3, 8: -1, 500: -1}
    with pytest.raises(ImageError, match="video_missing"):
        decoded_frames(tmp_path / "w.mp4", np.array([0]))


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
@pytest.mark.parametrize("rate", [25, 30, 50])
def test_frames_are_those_of_ffmpeg(tmp_path: Path, rate: int) -> None:
    """As the release's own script extracts them."""
    video = write_ubody_video(tmp_path / "v.mp4", 20, rate)
    command = ["ffmpeg", "-loglevel", "error", "-i", str(video), "-r", "30", "-f", "image2"]
    subprocess.run([*command, str(tmp_path / "%06d.png")], check=True)
    extracted = sorted(tmp_path.glob("*.png"))
    found = decoded_frames(video, np.arange(len(extracted) + 1))
    assert [number for number, index in found.items() if index < 0] == [len(extracted)]
    with VideoReader(video) as reader:
        for number, file in enumerate(extracted):
            shown = opencv().imread(str(file)).astype(int)
            assert np.abs(shown - reader.frame(found[number])).mean() < 2, f"{file.name} at {rate} fps"
