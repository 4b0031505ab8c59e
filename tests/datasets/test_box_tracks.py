"""Identities that are made of overlapping boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.datasets.box_tracks import link_boxes

Box = Sequence[float]
LEFT, RIGHT = (0, 0, 10, 20), (50, 0, 10, 20)


def link(*rows: tuple[int, Box]) -> list[int]:
    frames = np.array([frame for frame, _ in rows], np.int64)
    boxes = np.array([box for _, box in rows], np.float64).reshape(-1, 4)
    return list(link_boxes(frames, boxes).tolist())


def moved(box: Box, right: float) -> Box:
    return (box[0] + right, *box[1:])


def test_people_keep_their_numbers_whatever_their_order_in_the_frame() -> None:
    assert link((4, LEFT), (4, RIGHT), (5, RIGHT), (5, LEFT), (6, LEFT), (6, RIGHT)) == [0, 1, 1, 0, 0, 1]


def test_nobody() -> None:
    assert link() == []


@pytest.mark.parametrize(("right", "linked"), [(10 / 3 - 0.01, True), (10 / 3 + 0.01, False), (30, False)])
def test_half_of_two_boxes_must_be_shared(right: float, linked: bool) -> None:
    """Two equal boxes moved by a third of their width share half of what they cover."""
    assert link((0, LEFT), (1, moved(LEFT, right))) == [0, 0 if linked else 1]


def test_a_frame_without_the_person_makes_another_one() -> None:
    assert link((0, LEFT), (0, RIGHT), (1, RIGHT), (2, RIGHT), (2, LEFT)) == [0, 1, 1, 1, 2]
    assert link((0, LEFT), (2, LEFT)) == [0, 1]


def test_the_nearest_of_two_is_linked_first() -> None:
    """The second person of frame 1 would do for the first, too, but there is a better one."""
    assert link((0, LEFT), (1, moved(LEFT, 2)), (1, moved(LEFT, 1))) == [0, 1, 0]


def test_of_equals_the_first_is_linked() -> None:
    assert link((0, LEFT), (1, LEFT), (1, LEFT)) == [0, 0, 1]
    assert link((0, LEFT), (0, LEFT), (1, LEFT)) == [0, 1, 0]


NOTHING = [(0, 0, 0, 20), (0, 0, 10, -20), (np.nan, 0, 10, 20), (0, 0, np.inf, 20), (0, 0, 1e308, 1e308)]


@pytest.mark.parametrize("box", NOTHING)
def test_boxes_of_nothing_are_nobody_else(box: Box) -> None:
    assert link((0, box), (1, box), (1, LEFT), (2, LEFT)) == [0, 1, 2, 2]


def test_a_first_frame_of_any_number() -> None:
    for first in (-1, 0, 7):
        assert link((first, LEFT), (first + 1, LEFT)) == [0, 0]


SIDES = st.floats(0, 40, allow_nan=False, width=32)
ROWS = st.lists(st.tuples(st.integers(0, 6), SIDES, SIDES, SIDES, SIDES), max_size=16)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_numbers_are_made_once_and_in_order(rows: list[tuple[int, float, float, float, float]]) -> None:
    rows.sort(key=lambda row: row[0])
    frames = np.array([row[0] for row in rows], np.int64)
    people = link_boxes(frames, np.array([row[1:] for row in rows], np.float64).reshape(-1, 4)).tolist()
    assert list(dict.fromkeys(people)) == list(range(len(set(people)))), "by first appearance"
    for person in set(people):
        own = frames[[number == person for number in people]]
        assert np.diff(own).tolist() == [1] * (len(own) - 1), "once a frame, and in every frame between"


@settings(max_examples=40, deadline=None)
@given(ROWS)
def test_later_frames_change_nothing(rows: list[tuple[int, float, float, float, float]]) -> None:
    rows.sort(key=lambda row: row[0])
    frames = np.array([row[0] for row in rows], np.int64)
    boxes = np.array([row[1:] for row in rows], np.float64).reshape(-1, 4)
    early = frames < 4
    assert link_boxes(frames[early], boxes[early]).tolist() == link_boxes(frames, boxes)[early].tolist()
