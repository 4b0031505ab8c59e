"""Which boxes are predicted: doubles, sizes, order."""

from __future__ import annotations

import numpy as np

from hmtools.infer.chosen import Limits, chosen, suppress
from hmtools.infer.media import Skips

BOXES = np.array(
    [
        [0, 0, 60, 160, 0.9],
        [300, 0, 100, 200, 0.6],
        [302, 2, 100, 200, 0.8],  # the same person as the one before
        [600, 0, 49, 400, 0.9],
        [700, 0, 400, 149, 0.9],
        [np.nan, 0, 60, 160, 0.9],
        [0, 0, 0, 160, 0.9],
    ]
)


def test_detections() -> None:
    skips = Skips()
    limits = Limits.of(trusted=False, min_size=None, confidence=0.7)  # the detector has seen to that
    kept = chosen(BOXES, limits, skips=skips, where="a.jpg frame 0")
    assert kept.tolist() == [2, 0], "the larger one first"
    assert skips.counts == {"box_below_min_size": 2, "box_not_finite": 1, "box_empty": 1}
    assert "a.jpg frame 0: box_below_min_size: 49 x 400 pixels" in skips.examples


def test_given_boxes_are_taken_as_they_are() -> None:
    skips = Skips()
    limits = Limits.of(trusted=True, min_size=None, confidence=None)
    kept = chosen(BOXES, limits, skips=skips, where="")
    assert sorted(kept.tolist()) == [0, 1, 2, 3, 4]
    assert skips.counts == {"box_not_finite": 1, "box_empty": 1}


def test_limits_that_are_asked_for_count_for_given_boxes_as_well() -> None:
    skips = Skips()
    limits = Limits.of(trusted=True, min_size=(50, 100), confidence=0.7)
    assert chosen(BOXES, limits, skips=skips, where="").tolist() == [4, 2, 0]
    assert skips.counts == {"box_not_finite": 1, "box_empty": 1, "box_unsure": 1, "box_below_min_size": 1}


def test_suppression_counts_a_pixel_more() -> None:
    # 10 x 10 about half of each: (5 + 1) * 11 of 2 * 121 - 66, against 5 * 10 of 150
    pair = np.array([[0, 0, 10, 10, 0.5], [5, 0, 10, 10, 0.9]])
    assert suppress(pair, 66 / 176).tolist() == [1, 0]
    assert suppress(pair, 66 / 176 - 1e-9).tolist() == [1]
    assert suppress(np.zeros((0, 5))).tolist() == []
