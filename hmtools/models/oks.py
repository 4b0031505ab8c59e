"""Object keypoint similarity (OKS), and what COCO's keypoint evaluation does with it before its precision.

The order of work for one image: drop repeated box ids, :func:`person_scores`, :func:`oks_nms`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int

from hmtools.core.errors import UsageError
from hmtools.geometry.arrays import ArrayLike, refuse

__all__ = ["COCO_17_SIGMAS", "oks_matrix", "oks_nms", "person_scores"]

COCO_17_SIGMAS: tuple[float, ...] = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087,
    0.089, 0.089,
)  # fmt: skip
"""How far annotators of COCO strayed per joint of ``coco_17``, as a fraction of the person's size."""

_MIN_JOINT_SCORE = 0.2
_SAME_PERSON = 0.9


def person_scores(box_scores: ArrayLike, joint_scores: ArrayLike) -> Float[np.ndarray, n]:
    """Score of a person: of the box, times the mean of the joints' scores above 0.2 (0 if none is).

    Args:
        box_scores: (N,) of the detector.
        joint_scores: (N, K) of ViTPose.
    """
    joints = np.asarray(joint_scores, np.float64)
    sure = joints > _MIN_JOINT_SCORE
    means = np.where(sure, joints, 0).sum(-1) / np.maximum(sure.sum(-1), 1)
    return np.asarray(np.asarray(box_scores, np.float64) * means)


def oks_matrix(
    keypoints: ArrayLike, areas: ArrayLike, sigmas: ArrayLike = COCO_17_SIGMAS
) -> Float[np.ndarray, "n n"]:
    """OKS of each person with each other, 1 for identical ones.

    The mean over all joints of ``exp(-d² / (8 σ² a))``, where a is the mean area of the two.

    Args:
        keypoints: (N, K, 2 or more) x, y in pixels; further channels are not used.
        areas: (N,) square pixels, of the people's regions.
        sigmas: (K,), see :data:`COCO_17_SIGMAS`.

    Raises:
        UsageError: for shapes that do not fit each other.
        GeometryError: for people without area.
    """
    points, area = np.asarray(keypoints, np.float64), np.asarray(areas, np.float64)
    sigma = np.asarray(sigmas, np.float64)
    if (
        points.ndim != 3
        or points.shape[2] < 2
        or area.shape != points.shape[:1]
        or sigma.shape != points.shape[1:2]
    ):
        raise UsageError(
            f"expected keypoints (N, K, 2 or more), areas (N,) and sigmas (K,), got {points.shape}, "
            f"{area.shape} and {sigma.shape}"
        )
    refuse(~(area > 0), "people have no area")
    squared = ((points[:, None, :, :2] - points[None, :, :, :2]) ** 2).sum(-1)
    mean_area = (area[:, None] + area[None]) / 2
    return np.asarray(np.exp(-squared / (8 * sigma**2 * mean_area[..., None])).mean(-1))


def oks_nms(
    keypoints: ArrayLike, areas: ArrayLike, scores: ArrayLike, threshold: float = _SAME_PERSON
) -> Int[np.ndarray, m]:
    """Greedy suppression: drop people who are the same as a kept one with a higher score.

    Args:
        keypoints: (N, 17, 2 or more) of ``coco_17``, pixels, all of one image.
        areas: (N,) square pixels.
        scores: (N,) from :func:`person_scores`.
        threshold: the OKS above which two are the same person.

    Returns:
        Indices of those kept, the highest score first.

    Raises:
        UsageError: for shapes that do not fit each other.
        GeometryError: for people without area.
    """
    same = oks_matrix(keypoints, areas) > threshold
    ranked = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    if len(ranked) != len(same):
        raise UsageError(f"scores: expected {len(same)}, got {len(ranked)}")
    dropped, kept = np.zeros(len(same), bool), []
    for person in ranked.tolist():  # greedy: each decision depends on those before
        if not dropped[person]:
            kept.append(person)
            dropped |= same[person]
    found: npt.NDArray[np.int64] = np.array(kept, np.int64)
    return found
