"""Ids over time: through shaking boxes, lost frames, and people who cross."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hmtools.infer.tracker import MAX_LOST, Tracker

Array = np.ndarray[Any, Any]


def boxes(*places: tuple[float, float], size: tuple[float, float] = (60, 180)) -> Array:
    return np.array([[x, y, *size, 0.9] for x, y in places], np.float64).reshape(-1, 5)


def walk(time: int, rng: np.random.Generator) -> Array:
    """Two who walk towards one another and pass, on two lanes, and one who stands."""
    found = boxes((100 + 6 * time, 200), (700 - 6 * time, 275), (900, 100))
    return np.asarray(found + np.append(rng.normal(0, 2, 4), 0))


def test_ids_stay() -> None:
    rng, tracker = np.random.default_rng(0), Tracker()
    for time in range(90):
        order = rng.permutation(3)
        ids = tracker.update(walk(time, rng)[order])
        if time == 0:
            expected = {int(person): ids[i] for i, person in enumerate(order)}
        assert ids == [expected[int(person)] for person in order], time
    assert sorted(expected.values()) == ["0", "1", "2"]


@pytest.mark.parametrize("speed", [0, 8, -25])
@pytest.mark.parametrize("seed", range(8))
def test_ten_lost_frames(speed: int, seed: int) -> None:
    rng, tracker = np.random.default_rng(seed), Tracker()
    for time in range(60):
        lost = 20 <= time < 30 or time in (40, 44)
        found = boxes(*([] if lost else [(1000 + speed * time, 200)])) + np.append(rng.normal(0, 5, 4), 0)
        assert tracker.update(found) == ([] if lost else ["0"]), time


def test_one_is_lost_while_another_is_seen() -> None:
    tracker = Tracker()
    for time in range(10):
        assert tracker.update(boxes((10 * time, 0), (500, 0))) == ["0", "1"]
    for _ in range(10, 20):
        assert tracker.update(boxes((500, 0))) == ["1"]
    assert tracker.update(boxes((200, 0), (500, 0))) == ["0", "1"]


def test_a_track_ends() -> None:
    tracker = Tracker()
    tracker.update(boxes((0, 0)))
    for _ in range(MAX_LOST + 1):
        tracker.update(boxes())
    assert tracker.update(boxes((0, 0))) == ["1"]


def test_somebody_else_is_somebody_else() -> None:
    tracker = Tracker()
    tracker.update(boxes((0, 0)))
    assert tracker.update(boxes((400, 0))) == ["1"], "far away"
    assert tracker.update(boxes((20, 60), size=(20, 60))) == ["2"], "at the same place, three times smaller"


def test_quick_people_whose_boxes_overlap_no_longer() -> None:
    tracker = Tracker()
    for time in range(8):
        assert tracker.update(boxes((90 * time, 0))) == ["0"]


def test_two_hundred() -> None:
    rng, tracker = np.random.default_rng(2), Tracker()
    crowd = boxes(*[(70.0 * (i % 20), 190.0 * (i // 20)) for i in range(200)])
    first = tracker.update(crowd)
    assert len(set(first)) == 200
    shaken = crowd + np.pad(rng.normal(0, 3, (200, 4)), ((0, 0), (0, 1)))
    assert tracker.update(shaken[::-1]) == first[::-1]
