"""Every split gets its images, and numbers of frames lead to the pictures that ffmpeg extracts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from hmtools.datasets.retiming import nearest_frames
from hmtools.synth.ubody_videos import FPS, SCENES, TEST_LISTS, Video, plan_videos


def video(frames: int, name: str) -> Video:
    (found,) = (video for video in plan_videos(frames) if name in video.folder)
    return found


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 6, 41])
def test_every_split_has_the_images_that_were_asked_for(frames: int) -> None:
    counts: Counter[str] = Counter()
    for one in plan_videos(frames):
        assert one.numbers == tuple(sorted(set(one.numbers)))
        assert one.numbers[0] >= 1
        counts.update({split: len(one.numbers) for split in one.splits})
    assert counts == dict.fromkeys(("intra_train", "intra_test", "inter_train", "inter_test"), frames)


def test_splits() -> None:
    splits = {one.folder: (*one.splits, one.scene) for one in plan_videos(4)}
    assert splits == {
        "Symphony_Trim1": ("intra_train", "inter_train", "ConductMusic"),
        "Symphony_Trim2": ("intra_train", "inter_train", "ConductMusic"),
        "Podium": ("intra_test", "inter_train", "ConductMusic"),
        "2019/Lectern_Trim1": ("intra_train", "inter_test", "Speech"),
        "Debate_Trim2": ("intra_test", "inter_test", "Speech"),
    }
    assert {scene for *_, scene in splits.values()} == set(SCENES)
    assert all("_Trim" not in name for names in TEST_LISTS.values() for name in names)


@pytest.mark.parametrize("frames", [2, 3, 6, 25, 90])
def test_pictures_of_frames_are_those_of_another_implementation(frames: int) -> None:
    """That one was measured on even rates of all kinds; this one on videos of these rates alone."""
    for one in plan_videos(frames):
        times = np.arange(one.pictures) / one.fps
        expected = nearest_frames(times, FPS, np.arange(len(one.retimed) + 3)).tolist()
        assert [*one.retimed, -1, -1, -1] == expected, one.folder


def test_rates() -> None:
    twice, every_other = video(9, "Podium"), video(9, "Debate")
    assert (twice.fps, twice.retimed[:12]) == (25, (0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 8, 9)[: len(twice.retimed)])
    assert (every_other.fps, every_other.retimed[:7]) == (60, (0, 1, 2, 3, 5, 7, 9))
    # Small miniatures show it too: a frame that repeats a picture, and one that follows a gap.
    small = [[one.retimed[n - 1] for n in one.numbers] for one in (video(4, "Podium"), video(4, "Debate"))]
    assert small == [[3, 3], [3, 5]]


def test_last_frame_beyond_the_end() -> None:
    for frames in (4, 5, 30):
        lectern = video(frames, "Lectern")
        beyond = [number for number in lectern.numbers if number > lectern.pictures]
        assert beyond == [lectern.pictures + 1]
        for one in plan_videos(frames):
            if one is not lectern and "Lectern" not in one.folder:
                assert one.numbers[-1] <= len(one.retimed)
    assert video(2, "Lectern").numbers == (6,)


def test_names() -> None:
    lectern = video(4, "Lectern")
    assert lectern.file == "videos/Speech/2019/Lectern_Trim1.mp4"
    assert video(20, "Debate").numbers == (4, 5, 6, 7, 8, 10, 11, 12, 13, 14)
