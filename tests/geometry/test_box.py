from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.geometry.box import (
    grow_to_aspect,
    overlaps_image,
    sanitize_xywh,
    scale_xywh,
    xywh_to_xyxy,
    xyxy_to_xywh,
)

coordinates = st.floats(-1e4, 1e4, allow_nan=False)
lengths = st.floats(0.01, 1e4, allow_nan=False)
boxes = st.tuples(coordinates, coordinates, lengths, lengths)
sizes = st.integers(1, 5000)


def centre(box: np.typing.ArrayLike) -> np.typing.NDArray[np.float64]:
    found = np.asarray(box, np.float64)
    return found[..., :2] + found[..., 2:] / 2


@given(st.lists(boxes, min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_corners_and_back(found: list[tuple[float, float, float, float]]) -> None:
    corners = xywh_to_xyxy(found)
    assert corners.shape == (len(found), 4)
    assert corners.dtype == np.float64
    np.testing.assert_allclose(xyxy_to_xywh(corners), found, rtol=1e-9, atol=1e-8)


def test_corners_in_figures() -> None:
    assert xywh_to_xyxy([10, 20, 30, 40]).tolist() == [10, 20, 40, 60]
    assert xyxy_to_xywh([10, 20, 40, 60]).tolist() == [10, 20, 30, 40]


@pytest.mark.parametrize(
    ("box", "inside"),
    [
        ([10, 20, 30, 40], [10, 20, 29, 39]),  # loses a pixel of size
        ([-5, -8, 30, 40], [0, 0, 29, 39]),  # shifted in, not cut
        ([80, 90, 30, 40], [80, 90, 19, 9]),  # cut at the last pixel
        ([-5, 0, 300, 300], [0, 0, 99, 99]),
        ([10, 20, 1, 40], None),  # nothing is left of one pixel
        ([10, 20, -3, 40], None),
        ([10, 20, -3, -4], None),
        ([99, 20, 30, 40], None),
        ([150, 20, 30, 40], None),
        ([10, 20, 0, 40], None),
        ([-40, 20, 30, 40], [0, 20, 29, 39]),  # wholly outside, and yet kept: the published rule
    ],
)
def test_sanitize_as_smplerx_does(box: list[float], inside: list[float] | None) -> None:
    found = sanitize_xywh(box, 100, 100)
    assert (None if found is None else found.tolist()) == inside


@given(boxes, sizes, sizes)
@settings(max_examples=150, deadline=None)
def test_sanitized_boxes_lie_inside(box: tuple[float, float, float, float], width: int, height: int) -> None:
    found = sanitize_xywh(box, width, height)
    if found is not None:
        x1, y1, x2, y2 = xywh_to_xyxy(found)
        assert 0 <= x1 < x2 <= width - 1 + 1e-9
        assert 0 <= y1 < y2 <= height - 1 + 1e-9
        assert found[2] <= box[2]
        assert found[3] <= box[3]


@given(boxes, st.floats(0.1, 10))
@settings(max_examples=150, deadline=None)
def test_growing_keeps_centre_and_contains(box: tuple[float, float, float, float], aspect: float) -> None:
    grown = grow_to_aspect(box, aspect)
    assert grown[2] / grown[3] == pytest.approx(aspect)
    np.testing.assert_allclose(centre(grown), centre(box), atol=1e-6)
    assert (grown[2:] >= np.array(box[2:]) * (1 - 1e-12)).all()
    assert (np.isclose(grown[2:], box[2:])).any(), "one side stays"


def test_growing_in_figures() -> None:
    assert grow_to_aspect([0, 0, 75, 50], 0.75).tolist() == [0, -25, 75, 100]
    assert grow_to_aspect([[0, 0, 30, 100], [0, 0, 75, 100]], 0.75).tolist() == [
        [-22.5, 0, 75, 100],
        [0, 0, 75, 100],
    ]


@given(boxes, st.floats(0.1, 10))
@settings(max_examples=100, deadline=None)
def test_scaling_keeps_the_centre(box: tuple[float, float, float, float], factor: float) -> None:
    scaled = scale_xywh(box, factor)
    np.testing.assert_allclose(scaled[2:], np.array(box[2:]) * factor)
    np.testing.assert_allclose(centre(scaled), centre(box), atol=1e-6)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([0, 0, 1, 1], True),
        ([-0.4, -0.4, 0.1, 0.1], True),  # inside the first pixel, which begins at -0.5
        ([-10, 5, 9.5, 5], False),  # ends where the image begins
        ([-10, 5, 9.6, 5], True),
        ([19.5, 5, 5, 5], False),  # begins where the image ends
        ([19.4, 5, 5, 5], True),
        ([5, 9.5, 5, 5], False),
        ([5, 9.4, 5, 5], True),
        ([5, -20, 5, 19.5], False),
        ([-100, -100, 500, 500], True),
    ],
)
def test_overlap_counts_from_pixel_edges(box: list[float], expected: bool) -> None:
    assert overlaps_image(box, 20, 10) is expected
