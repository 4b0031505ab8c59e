"""Who is who from frame to frame: boxes matched by overlap, with people assumed to keep their velocity.

A person who is not found for some frames keeps the id: the box is carried on meanwhile, and nothing is made
up for those frames. Boxes that overlap with no known one begin a new track. Appearance is not looked at: two
people who stop in front of one another may be taken for each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from hmtools.geometry.box import iou_matrix

__all__ = ["MAX_LOST", "Tracker"]

MAX_LOST = 15
"""Frames without a box after which a track ends."""

_MIN_IOU = 0.2
_NEAR = 0.5  # of the box's diagonal, for those whose boxes overlap no longer
_SIZES = 2.0  # a box that grows by more between two frames is another person's
_BLEND = 0.4  # of a new velocity; boxes of detectors shake by some percent
_FAR = 1e6


@dataclass(slots=True, eq=False)
class _Track:
    number: int
    box: Float[np.ndarray, "xywh=4"]
    velocity: Float[np.ndarray, "xy=2"]
    lost: int = 0
    known: bool = False  # whether the velocity is


class Tracker:
    """Ids for the boxes of one source, frame after frame.

    Args:
        max_lost: frames without a box after which a track ends, and a new id is given.
    """

    def __init__(self, max_lost: int = MAX_LOST) -> None:
        self._max_lost = max_lost
        self._tracks: list[_Track] = []
        self._next = 0

    def update(self, boxes: Float[np.ndarray, "n 5"]) -> list[str]:
        """Take the boxes of the next frame.

        Args:
            boxes: x, y, w, h, confidence in pixels, with area; none is a frame where nobody was found.

        Returns:
            An id for each: numbers from 0, as text.
        """
        given = np.asarray(boxes, np.float64).reshape(-1, 5)[:, :4]
        expected = np.array([_expected(track) for track in self._tracks]).reshape(-1, 4)
        pairs = _pairs(expected, given)
        found: list[_Track | None] = [None] * len(given)
        for track_index, box_index in pairs:
            found[box_index] = self._tracks[track_index]
        for track in self._tracks:
            track.lost += 1
        for index, box in enumerate(given):
            track = found[index] or self._begin(box)
            _move(track, box)
            found[index] = track
        self._tracks = [track for track in self._tracks if track.lost <= self._max_lost]
        return [str(track.number) for track in found if track is not None]

    def _begin(self, box: Float[np.ndarray, "xywh=4"]) -> _Track:
        track = _Track(self._next, box, np.zeros(2))
        self._next += 1
        self._tracks.append(track)
        return track


def _expected(track: _Track) -> Float[np.ndarray, "xywh=4"]:
    box = track.box.copy()
    box[:2] += track.velocity * (track.lost + 1)
    return box


def _move(track: _Track, box: Float[np.ndarray, "xywh=4"]) -> None:
    if track.lost:
        # of centres: a box that only grows does not move
        step = ((box[:2] + box[2:] / 2) - (track.box[:2] + track.box[2:] / 2)) / track.lost
        blend = _BLEND if track.known else 1.0
        track.velocity, track.known = track.velocity + blend * (step - track.velocity), True
    track.box, track.lost = box, 0


def _pairs(expected: Float[np.ndarray, "m 4"], given: Float[np.ndarray, "n 4"]) -> list[tuple[int, int]]:
    """Tracks and boxes that belong together: by overlap first, of the others by distance."""
    if not len(expected) or not len(given):
        return []
    overlap = iou_matrix(expected, given)
    pairs = _assigned(1 - overlap, overlap >= _MIN_IOU)
    free = np.ones_like(overlap, bool)
    for track, box in pairs:
        free[track], free[:, box] = False, False
    distance = _distances(expected, given)
    growth = np.abs(np.log(given[None, :, 3] / expected[:, None, 3]))
    return pairs + _assigned(distance, free & (distance < _NEAR) & (growth < np.log(_SIZES)))


def _distances(
    expected: Float[np.ndarray, "m 4"], given: Float[np.ndarray, "n 4"]
) -> Float[np.ndarray, "m n"]:
    """Between centres, in diagonals of the expected boxes."""
    one, other = (boxes[:, :2] + boxes[:, 2:] / 2 for boxes in (expected, given))
    apart = np.linalg.norm(one[:, None] - other[None], axis=-1)
    return np.asarray(apart / np.linalg.norm(expected[:, 2:], axis=-1)[:, None])


def _assigned(cost: Float[np.ndarray, "m n"], allowed: np.ndarray) -> list[tuple[int, int]]:
    rows, columns = linear_sum_assignment(np.where(allowed, cost, _FAR))
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if allowed[r, c]]
