from __future__ import annotations

import numpy as np
import pytest

from hmtools.core.errors import GeometryError, UsageError
from hmtools.models.oks import COCO_17_SIGMAS, oks_matrix, oks_nms, person_scores
from tests.models import vitpose_figures as figures


def test_similarity_and_suppression_are_the_official_ones() -> None:
    golden = figures.numbers("decode")
    np.testing.assert_allclose(COCO_17_SIGMAS, golden["oks/sigmas"], rtol=1e-6)
    keypoints, areas, scores = figures.inputs("persons")
    np.testing.assert_allclose(oks_matrix(keypoints, areas), golden["oks/iou"], rtol=0, atol=1e-5)
    assert oks_nms(keypoints, areas, scores).tolist() == golden["oks/keep"].tolist()
    assert oks_nms(keypoints, areas, scores, 0.7).tolist() == golden["oks/keep_07"].tolist()


def test_one_joint_in_figures() -> None:
    keypoints = np.zeros((2, 17, 2))
    keypoints[1, 0] = [3, 4]
    expected = (16 + np.exp(-25 / (8 * 0.026**2 * 5000))) / 17
    found = oks_matrix(keypoints, [4000, 6000])
    np.testing.assert_allclose(found, [[1, expected], [expected, 1]], rtol=1e-12)


def test_scores_of_people() -> None:
    joints = [[0.2, 0.4, 0.8], [0.1, 0.2, -1.0]]
    np.testing.assert_allclose(person_scores([0.5, 0.9], joints), [0.3, 0.0])


def test_suppression_is_greedy() -> None:
    """B is like A and like C, A is not like C: A drops B, and B no longer drops C."""
    keypoints = np.zeros((3, 17, 2))
    keypoints[:, :, 0] = np.array([20.0, 10.0, 0.0])[:, None]
    areas = np.full(3, 2e5)
    same = oks_matrix(keypoints, areas) > 0.9
    assert same.tolist() == [[True, True, False], [True, True, True], [False, True, True]]
    assert oks_nms(keypoints, areas, [0.9, 0.8, 0.7]).tolist() == [0, 2]
    assert oks_nms(keypoints, areas, [0.8, 0.9, 0.7]).tolist() == [1]
    assert oks_nms(np.empty((0, 17, 3)), [], []).tolist() == []


def test_wrong_use_is_named() -> None:
    with pytest.raises(UsageError, match=r"got \(2, 16, 2\)"):
        oks_matrix(np.zeros((2, 16, 2)), [1, 1])
    with pytest.raises(UsageError, match="scores: expected 2, got 1"):
        oks_nms(np.zeros((2, 17, 2)), [1, 1], [1])
    with pytest.raises(GeometryError, match="no area"):
        oks_matrix(np.zeros((2, 17, 2)), [1, 0])
