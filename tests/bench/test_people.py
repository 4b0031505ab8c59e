"""Who is shown."""

from __future__ import annotations

import numpy as np

from hmtools.bench.people import Choice, block, ends


def test_ends_are_extremes_and_nobody_is_in_both() -> None:
    worst, best = ends(np.array([5.0, np.nan, 1.0, 9.0, 3.0]), 2)
    assert (worst.tolist(), best.tolist()) == ([3, 0], [2, 4])
    worst, best = ends(np.array([5.0, 1.0, 9.0]), 24)
    assert (worst.tolist(), best.tolist()) == ([2, 0], [1])
    assert [rows.size for rows in ends(np.full(3, np.nan), 24)] == [0, 0]


def test_a_block_without_pictures_keeps_keys_and_errors() -> None:
    found = block("worst", [Choice("a/b", ((1, 61.23),))], ["m0", "m1"], "mm", None)
    assert (found.pictures, found.tiles[0].key, found.tiles[0].errors) == (False, "a/b", (("m1", "61.2 mm"),))
    three = block(
        "worst", [Choice("a", ((0, 1.0),))], ["m0"], "mm", lambda choice: ((("x", "data:"),) * 3, "note")
    )
    assert (three.pictures, three.wide, three.tiles[0].note) == (True, True, "note")
