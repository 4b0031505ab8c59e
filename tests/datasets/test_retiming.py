"""Re-timing: what ffmpeg 5.1 wrote for ``-r 30``, measured on videos whose pictures hold their number."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.datasets.retiming import nearest_frames

# frames per second of a video of 100 frames; images that ffmpeg wrote, sum of the frames they show, the first
MEASURED: list[tuple[float, int, int, list[int]]] = [
    (12.5, 240, 11920, [0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4, 4, 5, 5, 6, 6]),
    (15, 200, 9900, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]),
    (24000 / 1001, 125, 6200, [0, 1, 2, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10, 10, 11, 12]),
    (24, 125, 6200, [0, 1, 2, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10, 10, 11, 12]),
    (25, 120, 5960, [0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 8, 9, 10, 11, 12, 13]),
    (30000 / 1001, 100, 4950, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]),
    (30, 100, 4950, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]),
    (48, 64, 3054, [0, 1, 2, 3, 4, 5, 7, 8, 10, 12, 13, 15, 16, 18, 20, 21]),
    (50, 62, 2974, [0, 1, 2, 3, 4, 5, 7, 9, 10, 12, 14, 15, 17, 19, 20, 22]),
    (60000 / 1001, 52, 2454, [0, 1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26]),
    (60, 52, 2502, [0, 1, 2, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27]),
]


@pytest.mark.parametrize(("rate", "count", "total", "first"), MEASURED)
def test_even_rates(rate: float, count: int, total: int, first: list[int]) -> None:
    found = nearest_frames(np.arange(100) / rate, 30, np.arange(count + 5))
    assert found[: len(first)].tolist() == first
    assert found[count:].tolist() == [-1] * 5
    assert found[:count].sum() == total


def test_uneven_times() -> None:
    times = np.array([0.04 * i + 0.015 * math.sin(i * i) for i in range(100)])
    found = nearest_frames(np.round(times * 60_000) / 60_000, 30, np.arange(121))
    assert found[:16].tolist() == [0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 10, 11, 11, 12]
    assert (found[:120].sum(), found[120]) == (5941, -1)


def test_a_late_start_repeats_the_first_frame() -> None:
    assert nearest_frames(np.array([0.2, 0.2333, 0.2667]), 30, np.arange(8)).tolist()[:6] == [0] * 6


def test_absurd_times_take_no_memory() -> None:
    found = nearest_frames(np.array([0.0, 0.04, 1e12]), 30, np.array([0, 10**9, 10**15]))
    assert found.tolist() == [0, 1, -1]


def test_numbers_in_any_order() -> None:
    numbers = np.array([[3, 0], [-1, 10**6]])
    assert nearest_frames(np.arange(5) / 30, 30, numbers).tolist() == [[3, 0], [-1, -1]]


@pytest.mark.parametrize(("times", "expected"), [([], [-1, -1]), ([0.0], [0, -1])])
def test_short_videos(times: list[float], expected: list[int]) -> None:
    assert nearest_frames(np.array(times), 30, np.arange(2)).tolist() == expected


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.001, 0.3), min_size=1, max_size=40),
    st.sampled_from([10.0, 25.0, 30.0, 60.0]),
)
def test_never_backwards_and_never_far_off(gaps: list[float], fps: float) -> None:
    times = np.cumsum([0.0, *gaps])
    found = nearest_frames(times, fps, np.arange(int((times[-1] + 0.3) * fps) + 10))
    shown = found[found >= 0]
    assert (found[len(shown) :] == -1).all()
    assert (np.diff(shown) >= 0).all()
    assert -4 < len(shown) - times[-1] * fps < max(gaps) * fps + 4
    late = np.arange(len(shown)) / fps - times[shown]
    assert late.min() > -2.2 / fps
    assert late.max() < max(gaps) + 3 / fps


def test_a_frame_in_the_middle_between_two_slots() -> None:
    """At 24 fps every fourth one is; over 300 frames rounding decides, and ffmpeg gave 375 images."""
    times, slots = np.arange(300) / 24, np.arange(375) / 30
    distance = np.abs(times[None] - slots[:, None])
    nearest = (distance <= distance.min(axis=1, keepdims=True) + 1e-9).argmax(axis=1)  # of two the earlier
    assert nearest_frames(times, 30, np.arange(376)).tolist() == [*nearest.tolist(), -1]
