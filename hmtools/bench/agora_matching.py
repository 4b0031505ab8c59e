"""AGORA's own protocol: who is who in an image, the errors of those found, the leader board's scores.

Source: the evaluation code of AGORA (Patel et al., CVPR 2021), as described.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hmtools.bench.alignment import root_distances
from hmtools.bench.parts import AgoraParts
from hmtools.core.errors import UsageError

__all__ = [
    "AGORA_METRICS",
    "Counts",
    "Match",
    "agora_errors",
    "agora_scores",
    "joint_boxes",
    "match_people",
    "overlaps",
    "valid_people",
]

AGORA_METRICS: tuple[str, ...] = tuple(
    f"{kind}_{part}" for kind in ("pve", "mpjpe") for part in ("body", "lhand", "rhand", "face")
)
"""What :func:`agora_errors` gives; AGORA's name of PVE is MVE."""

_JOINTS = 24
_LEAST_OVERLAP = 0.1
_MM = 1000.0
_HIPS = (1, 2)
_BODY_JOINTS = {"smplx": 22, "smpl": 24}
# part -> rows of agora_127, the root first
_ROWS = {
    "lhand": (20, *range(25, 40)),
    "rhand": (21, *range(40, 55)),
    "face": (12, *range(76, 127)),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Match:
    """Who is who in one image.

    Attributes:
        predicted: (M,) indices of predictions, rising.
        target: (M,) the true person of each.
        false_positives: (F,) indices of predictions that are nobody; of invalid people, too.
        misses: (N,) indices of valid true people that nobody found.
    """

    predicted: Int[np.ndarray, " m"]
    target: Int[np.ndarray, " m"]
    false_positives: Int[np.ndarray, " f"]
    misses: Int[np.ndarray, " n"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """People of a test set: found, not found, and predictions that are nobody."""

    matched: int
    missed: int
    false_positives: int

    @property
    def f1(self) -> float:
        """``TP / (TP + (FP + FN) / 2)``, rounded to 0.01; NaN where there is nobody at all."""
        wrong = 0.5 * (self.false_positives + self.missed)
        return round(self.matched / (self.matched + wrong), 2) if self.matched + wrong else float("nan")


def valid_people(
    occlusion: Float[np.ndarray, " n"], is_valid: Bool[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    """Who is to be found: valid people with an occlusion from 0 to 90 per cent; NaN is not known, and out."""
    return is_valid & (occlusion >= 0) & (occlusion <= 90)


def joint_boxes(joints: Float[np.ndarray, "n k 2"]) -> Float[np.ndarray, "n 4"]:
    """Smallest boxes around the first 24 joints: x0, y0, x1, y1, pixels."""
    first = joints[:, :_JOINTS]
    return np.concatenate([first.min(1), first.max(1)], axis=1)


def overlaps(one: Float[np.ndarray, "n 4"], other: Float[np.ndarray, "m 4"]) -> Float[np.ndarray, "n m"]:
    """Intersection over union of boxes x0, y0, x1, y1 whose last pixel belongs to them: sides have + 1."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.clip(high - low + 1, 0, None).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2] + 1).prod(-1) for boxes in (one, other)]
    found: Float[np.ndarray, "n m"] = shared / (areas[0][:, None] + areas[1][None] - shared)
    return found


def match_people(
    predicted: Float[np.ndarray, "p j 2"], target: Float[np.ndarray, "t k 2"], valid: Bool[np.ndarray, " _t"]
) -> Match:
    """Match the people of one image by their first 24 joints.

    A pair costs the largest singular value of the 24 x 2 differences of its joints. The cheapest pair of two
    people who are free comes first. If their boxes overlap by less than 0.1 that step is a false positive:
    the pair is out, and one prediction fewer is left to be matched. Otherwise they belong together; an
    invalid person takes nobody with him, his prediction stays free. It ends when all true people are taken,
    or as many predictions as there are.

    Args:
        predicted: (P, 24 or more, 2) pixels of the image at 4K; nobody is matched by joints that are not
            finite.
        target: (T, 24 or more, 2) pixels.
        valid: (T,) :func:`valid_people`.

    Raises:
        UsageError: for fewer than 24 joints, or not one flag per person.
    """
    for name, joints in (("predicted", predicted), ("target", target)):
        if joints.ndim != 3 or joints.shape[1] < _JOINTS or joints.shape[2] != 2:
            raise UsageError(f"{name} joints: expected (people, {_JOINTS} or more, 2), found {joints.shape}")
    if len(valid) != len(target):
        raise UsageError(f"expected one flag per true person, found {len(valid)} for {len(target)}")
    pairs = _greedy(*_costs(predicted, target), valid)
    ours = np.array([pair[0] for pair in pairs], np.int64)
    theirs = np.array([pair[1] for pair in pairs], np.int64)
    order = np.argsort(ours)
    return Match(
        predicted=ours[order],
        target=theirs[order],
        false_positives=np.setdiff1d(np.arange(len(predicted)), ours),
        misses=np.setdiff1d(np.flatnonzero(valid), theirs),
    )


def agora_errors(
    predicted: Float[Tensor, "b v 3"],
    target: Float[Tensor, "b v 3"],
    predicted_joints: Float[Tensor, "b j 3"],
    target_joints: Float[Tensor, "b k 3"],
    parts: AgoraParts,
) -> dict[str, Float[Tensor, " b"]]:
    """Errors of matched people, millimetres: mean distances of vertices (``pve``) and joints (``mpjpe``).

    ======== ========================================== =================================== =============
    part     joints                                     vertices                            centred at
    ======== ========================================== =================================== =============
    body     0-21 of SMPL-X, 0-23 of SMPL               ``body_verts_<family>``             mean of hips
    lhand    wrist 20 and 25-39                         ``MANO_SMPLX_vertex_ids``           joint 20
    rhand    wrist 21 and 40-54                         ``MANO_SMPLX_vertex_ids``           joint 21
    face     neck 12 and 76-126                         ``SMPL-X__FLAME_vertex_ids``        joint 12
    ======== ========================================== =================================== =============

    The root of a part counts as one of its joints, with an error of 0. No Procrustes.

    Args:
        predicted: (B, V, 3) metres.
        target: (B, V, 3) metres.
        predicted_joints: (B, 127 or more, 3) metres, in the order of ``agora_127``; (B, 24 or more, 3) of
            SMPL.
        target_joints: as ``predicted_joints``.
        parts: of the meshes' family.

    Returns:
        :data:`AGORA_METRICS`, each (B,); of SMPL those of the body.

    Raises:
        UsageError: if the shapes differ or joints are missing.
    """
    least = 127 if parts.family == "smplx" else _JOINTS
    for name, joints in (("predicted", predicted_joints), ("true", target_joints)):
        if joints.ndim != 3 or joints.shape[1] < least:
            raise UsageError(f"{name} joints: expected (B, {least} or more, 3), found {tuple(joints.shape)}")
    body = range(_BODY_JOINTS[parts.family])
    groups: dict[str, tuple[Sequence[int], Tensor, tuple[int, ...]]] = {"body": (body, parts.body, _HIPS)}
    if parts.hands is not None and parts.face is not None:
        for name, ids in (("lhand", parts.hands[0]), ("rhand", parts.hands[1]), ("face", parts.face)):
            groups[name] = (_ROWS[name], ids, _ROWS[name][:1])
    found = {}
    for name, (rows, ids, root) in groups.items():
        roots = [joints[:, list(root)].mean(1) for joints in (predicted_joints, target_joints)]
        clouds = (predicted[:, ids], target[:, ids])
        found[f"pve_{name}"] = _MM * root_distances(*clouds, *roots).mean(-1)
        joints_of = (predicted_joints[:, list(rows)], target_joints[:, list(rows)])
        found[f"mpjpe_{name}"] = _MM * root_distances(*joints_of, *roots).mean(-1)
    return {name: found[name] for name in AGORA_METRICS if name in found}


def agora_scores(
    errors: Mapping[str, Float[np.ndarray, " m"]], counts: Counts, *, full_f1: float | None = None
) -> dict[str, float]:
    """The numbers of the leader board, rounded as its server rounds.

    ``f1`` to 0.01. ``pve_body``, ``mpjpe_body``: means over the matched people. ``_lhand``, ``_rhand``,
    ``_face``: **misses count as 0**, the sum is divided by matched and missed people. ``_full`` (FB) =
    body + (lhand + rhand + face) / 3, of the rounded values. ``nmve_body``, ``nmve_full``, ``nmje_body``,
    ``nmje_full``: error / F1. All errors in mm to 0.1; NaN where there is nobody.

    Args:
        errors: :func:`agora_errors` of the matched people.
        counts: of the same people. The server gives children all false positives of the test set.
        full_f1: F1 that divides the full-body errors: for the subset of children that of everybody.

    Raises:
        UsageError: if there is not one error per matched person.
    """
    f1 = counts.f1
    scores = {"f1": f1}
    everybody = counts.matched + counts.missed
    for name, values in errors.items():
        if len(values) != counts.matched:
            raise UsageError(
                f"{name}: expected {counts.matched} errors of matched people, found {len(values)}"
            )
        people = counts.matched if name.endswith("_body") else everybody
        total = float(np.sum(np.asarray(values, np.float64)))
        scores[name] = round(total / people, 1) if people else float("nan")
    for kind, normalised in (("pve", "nmve"), ("mpjpe", "nmje")):
        body = f"{kind}_body"
        if body not in scores:
            continue
        scores[f"{normalised}_body"] = _divided(scores[body], f1)
        parts = [scores.get(f"{kind}_{part}") for part in _ROWS]
        known = [value for value in parts if value is not None]
        if len(known) == len(parts):
            scores[f"{kind}_full"] = round(scores[body] + sum(known) / 3, 1)
            scores[f"{normalised}_full"] = _divided(
                scores[f"{kind}_full"], f1 if full_f1 is None else full_f1
            )
    return scores


def _costs(
    predicted: Float[np.ndarray, "p j 2"], target: Float[np.ndarray, "t k 2"]
) -> tuple[Float[np.ndarray, "p t"], Float[np.ndarray, "p t"]]:
    """Cost and overlap of all pairs; infinite where joints are not finite."""
    ours, theirs = (np.asarray(joints[:, :_JOINTS], np.float64) for joints in (predicted, target))
    apart = ours[:, None] - theirs[None]
    finite = np.asarray(np.isfinite(apart).all((-2, -1)))
    cost = np.linalg.norm(np.where(finite[..., None, None], apart, 0.0), ord=2, axis=(-2, -1))
    whole = [np.where(np.isfinite(joints), joints, 0.0) for joints in (ours, theirs)]
    return np.where(finite, cost, np.inf), overlaps(joint_boxes(whole[0]), joint_boxes(whole[1]))


def _greedy(
    cost: Float[np.ndarray, "p t"], overlap: Float[np.ndarray, "p t"], valid: Bool[np.ndarray, " t"]
) -> list[tuple[int, int]]:
    left = len(cost)
    cost = cost.copy()
    pairs = []
    while left > 0 and np.isfinite(cost).any():
        ours, theirs = (int(i) for i in np.unravel_index(np.argmin(cost), cost.shape))
        if overlap[ours, theirs] < _LEAST_OVERLAP:
            cost[ours, theirs] = np.inf
            left -= 1
            continue
        cost[:, theirs] = np.inf
        if valid[theirs]:
            cost[ours] = np.inf
            left -= 1
            pairs.append((ours, theirs))
    return pairs


def _divided(error: float, f1: float) -> float:
    return round(error / f1, 1) if f1 > 0 else float("nan")
