from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core.errors import GeometryError, UsageError
from hmtools.geometry.box import (
    WHAM_UNIT,
    bbox_from_keypoints,
    clip_xywh,
    cxcys_to_xyxy,
    grow_to_aspect,
    iou_matrix,
    iou_xywh,
    overlaps_image,
    pad_xywh,
    sanitize_xywh,
    scale_xywh,
    xywh_to_xyxy,
    xyxy_to_cxcys,
    xyxy_to_xywh,
)

coordinates = st.floats(-1e4, 1e4, allow_nan=False)
lengths = st.floats(0.01, 1e4, allow_nan=False)
boxes = st.tuples(coordinates, coordinates, lengths, lengths)
sizes = st.integers(1, 5000)
GOLDEN = Path(__file__).parents[1] / "golden" / "geometry"


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


def test_boxes_of_smplerx() -> None:
    with np.load(GOLDEN / "smplerx.npz") as file:
        rows, sanitised, grown = file["box_in"], file["box_sanitize"], file["box_r1_2"]
    for row, inside, processed in zip(rows, sanitised, grown, strict=True):
        found = sanitize_xywh(row[:4], int(row[4]), int(row[5]))
        if found is None:
            assert np.isnan(inside).all()
            assert np.isnan(processed).all()
        else:
            np.testing.assert_allclose(found, inside, rtol=1e-5)
            np.testing.assert_allclose(scale_xywh(grow_to_aspect(found, 0.75), 1.2), processed, rtol=1e-5)


@given(boxes, st.sampled_from([1.0, WHAM_UNIT]))
@settings(max_examples=100, deadline=None)
def test_squares_by_centre_and_side(box: tuple[float, float, float, float], unit: float) -> None:
    corners = xywh_to_xyxy(box)
    square = xyxy_to_cxcys(corners, unit=unit)
    np.testing.assert_allclose(square[:2], centre(box), atol=1e-6)
    assert square[2] * unit == pytest.approx(max(box[2:]), abs=1e-6)
    found = cxcys_to_xyxy(square, unit=unit)
    np.testing.assert_allclose(xyxy_to_cxcys(found, unit=unit), square, rtol=1e-9, atol=1e-6)
    assert (found[:2] <= corners[:2] + 1e-6).all()
    assert (found[2:] >= corners[2:] - 1e-6).all()


def test_squares_in_figures() -> None:
    assert xyxy_to_cxcys([[10, 20, 40, 60]]).tolist() == [[25, 40, 40]]
    assert xyxy_to_cxcys([10, 20, 40, 60], unit=WHAM_UNIT).tolist() == [25, 40, 0.2]
    assert cxcys_to_xyxy([25, 40, 0.2], unit=WHAM_UNIT).tolist() == [5, 20, 45, 60]


def test_padding_in_figures() -> None:
    assert pad_xywh([10, 20, 30, 40], 5).tolist() == [5, 15, 40, 50]
    assert pad_xywh([[10, 20, 30, 40]], [1, 2]).tolist() == [[9, 18, 32, 44]]
    assert pad_xywh([10, 20, 30, 40], [1, 2, 3, 4]).tolist() == [9, 18, 34, 46]
    assert pad_xywh([10, 20, 30, 40], -15).tolist() == [25, 35, 0, 10]
    with pytest.raises(GeometryError, match=r"1 of 2 boxes are smaller .* \(1,\)"):
        pad_xywh([[0, 0, 50, 50], [0, 0, 30, 50]], [-16, 0])
    with pytest.raises(UsageError, match=r"expected 1, 2 or 4 numbers, got an array of shape \(3,\)"):
        pad_xywh([0, 0, 1, 1], [1, 2, 3])


@given(boxes, sizes, sizes)
@settings(max_examples=150, deadline=None)
def test_clipped_boxes_are_what_overlaps(
    box: tuple[float, float, float, float], width: int, height: int
) -> None:
    if not overlaps_image(box, width, height):
        with pytest.raises(GeometryError, match=r"1 of 1 boxes share no area with the \d+ x \d+ image"):
            clip_xywh(box, width, height)
        return
    x1, y1, x2, y2 = xywh_to_xyxy(clip_xywh(box, width, height))
    assert -0.5 <= x1 < x2 <= width - 0.5 + 1e-9
    assert -0.5 <= y1 < y2 <= height - 0.5 + 1e-9
    image = [-0.5, -0.5, width, height]
    again = clip_xywh(image, width, height)
    assert again.tolist() == image
    expected = iou_xywh(box, image) * (box[2] * box[3] + width * height) / (1 + iou_xywh(box, image))
    assert (x2 - x1) * (y2 - y1) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_clipping_names_the_first_box_outside() -> None:
    inside = [[-5, -5, 10, 10], [95, 40, 10, 10]]
    assert clip_xywh(inside, 100, 50).tolist() == [[-0.5, -0.5, 5.5, 5.5], [95, 40, 4.5, 9.5]]
    with pytest.raises(GeometryError, match=r"2 of 3 boxes .* 100 x 50 image; .* \(1,\)"):
        clip_xywh([inside[0], [100, 0, 5, 5], [5, 5, 0, 5]], 100, 50)


def test_boxes_from_keypoints() -> None:
    people = np.array(
        [
            [[10, 20, 1], [50, 40, 0.5], [30, 100, 0.2], [0, 0, 0]],
            [[10, 20, 0.2], [50, 40, 0.1], [30, 60, 0], [0, 0, 0]],
            [[10, 20, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]],
            [[10, 20, 1], [10, 40, 1], [np.nan, 30, 1], [90, np.inf, 1]],
        ]
    )
    partly = np.array([[10, 20, 1], [50, 40, 1], [np.nan, 90, 1], [90, np.inf, 1]])
    assert bbox_from_keypoints(partly).tolist() == [10, 20, 40, 20, 1]
    found = bbox_from_keypoints(people, 0.2)
    assert found[0].tolist() == [10, 20, 40, 20, 1]  # 0.2 is not more than 0.2
    assert np.isnan(found[1:]).all()  # none, one, a column
    assert bbox_from_keypoints(people)[:2].tolist() == [[10, 20, 40, 80, 1], [10, 20, 40, 20, 1]]
    assert bbox_from_keypoints(people[0], 0.2, 1.5).tolist() == [0, 15, 60, 30, 1]
    assert np.isnan(bbox_from_keypoints(np.zeros((0, 3)))).all()
    assert bbox_from_keypoints(np.zeros((2, 0, 4, 3))).shape == (2, 0, 5)


@given(st.lists(st.tuples(coordinates, coordinates), min_size=2, max_size=9), st.floats(1, 3))
@settings(max_examples=100, deadline=None)
def test_boxes_contain_their_keypoints(points: list[tuple[float, float]], padding: float) -> None:
    people = np.array([(*point, 1.0) for point in points])
    x1, y1, x2, y2 = xywh_to_xyxy(bbox_from_keypoints(people, padding=padding)[:4])
    spans = (people[:, :2].max(axis=0) > people[:, :2].min(axis=0)).all()
    assert np.isnan(x1) == (not spans)
    if spans:
        assert x1 - 1e-6 <= people[:, 0].min() <= people[:, 0].max() <= x2 + 1e-6
        assert y1 - 1e-6 <= people[:, 1].min() <= people[:, 1].max() <= y2 + 1e-6


@given(boxes, boxes)
@settings(max_examples=150, deadline=None)
def test_iou_is_symmetric_and_bounded(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> None:
    found = float(iou_xywh(one, other))
    assert 0 <= found <= 1
    assert found == pytest.approx(float(iou_xywh(other, one)))
    assert float(iou_xywh(one, one)) == pytest.approx(1, abs=1e-6)
    half = (one[0], one[1], one[2] / 2, one[3])
    assert float(iou_xywh(one, half)) == pytest.approx(0.5, abs=1e-6)


def test_iou_in_figures() -> None:
    rows, columns = [[0, 0, 10, 10], [20, 0, 10, 10]], [[5, 0, 10, 10], [0, 0, 10, 10], [0, 0, 0, 0]]
    np.testing.assert_allclose(iou_matrix(rows, columns), [[1 / 3, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert iou_matrix(np.zeros((0, 4)), columns).shape == (0, 3)
    with pytest.raises(GeometryError, match=r"1 of 4 pairs of boxes have no area; .* \(1, 0\)"):
        iou_matrix([[0, 0, 1, 1], [5, 5, 0, 0]], [[0, 0, 0, 3], [0, 0, 1, 1]])
    for box in ([0, 0, -1, 5], [0, 0, np.nan, 5]):
        with pytest.raises(GeometryError, match="negative or missing side"):
            iou_xywh(box, [0, 0, 1, 1])
