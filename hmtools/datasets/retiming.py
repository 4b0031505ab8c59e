"""Which frames of a video ffmpeg shows at another frame rate.

Labels made on images that ``ffmpeg -r`` extracted count those images. Where rates differ, frames are shown
twice or not at all, and which ones depends on ffmpeg's own bookkeeping.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["nearest_frames"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_EVEN = 0.0015  # s; Matroska rounds the times of an even rate to milliseconds


def nearest_frames(times: Floats, fps: float, numbers: Ints) -> Ints:
    """The frames that ``ffmpeg -i VIDEO -r FPS %06d.png`` writes: near in time, as ffmpeg understands it.

    ffmpeg gives each frame the slots from the next free one on, and looks only at how far from there the
    frame ends: a lag of up to 1.1 slots stays, a gap of 1.5 is filled. The truly nearest frame to ``k / fps``
    is another one in 17 % of the slots of a 25 fps video at 30 fps, and in nearly all of a 60 fps video,
    which ffmpeg shows 50 ms late. This is the arithmetic of ffmpeg 5.1, also where it rounds: the same frames
    for even rates from 12.5 to 60 fps in MP4, and at most two other ones for uneven times in MP4 with B
    frames. For uneven times without B frames, and for some rates in Matroska, ffmpeg knows durations that
    the times do not tell: neighbouring frames can stand in for each other.

    Args:
        times: (N,) seconds from :func:`timestamps`.
        fps: frame rate of the re-timing.
        numbers: (M,) 0-based numbers of re-timed frames (``000001.png`` is 0).

    Returns:
        (M,) int64 indices of decoded frames; -1 for numbers that the re-timing does not reach.
    """
    begins, frames, total = _runs(times.tolist(), fps)
    wanted = np.asarray(numbers, np.int64)
    inside = (wanted >= 0) & (wanted < total)
    found = np.full(wanted.shape, -1, np.int64)
    found[inside] = frames[np.searchsorted(begins, wanted[inside], side="right") - 1]
    return found


def _runs(times: list[float], fps: float) -> tuple[Ints, Ints, int]:
    """First slot and frame of every run of slots that show one frame, and the number of slots."""
    lasts = _duration(np.diff(times), fps)
    runs: list[tuple[int, int]] = []
    free = 0
    for index, time in enumerate(times):
        early = _snapped(time * fps) - free
        end = early + lasts
        count = 0 if end < -1.1 else 1
        before = 0  # slots that the previous frame gets instead
        if end > 1.1:
            count = _rounded(end)
            before = min(count, _rounded(early - 0.6)) if early > 1.1 and index else 0
        if before:
            runs.append((free, index - 1))
        if count > before:
            runs.append((free + before, index))
        free += count
    table = np.array(runs, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1], free


def _duration(gaps: Floats, fps: float) -> float:
    """Slots that ffmpeg takes a frame to last: a whole number at an even rate, at most one at an uneven."""
    if not len(gaps):
        return 1.0
    usual, mean = float(np.median(gaps)), float(np.mean(gaps))
    if np.all(np.abs(gaps - usual) < _EVEN):
        return float(_rounded(usual * fps)) or usual * fps
    return min(1.0, mean * fps)


def _snapped(slot: float) -> float:
    """Times as ffmpeg moves them off the middle between two slots, always to the later one."""
    return round(slot * 65536) / 65536 + (slot > 0) / 131072


def _rounded(value: float) -> int:
    """In single precision, halves to even."""
    return round(float(np.float32(value)))
