"""What must hold inside a body model for the numbers made with it to mean anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmtools.bodies.model import JOINTS, VERTICES, BodyModel, Family

__all__ = ["FACES", "SUM_TOLERANCE", "model_problems", "size_problem"]

FACES: dict[Family, int] = {"smpl": 13776, "smplh": 13776, "smplx": 20908}
"""Triangles of each family's mesh."""
SUM_TOLERANCE = 0.01
"""How far weights that should sum to 1 may be off: files store rounded and regularised numbers."""

_MIN_SIZE_M, _MAX_SIZE_M = 0.3, 3.0
_MAX_SHOWN = 5


def model_problems(model: BodyModel) -> list[str]:
    """What is wrong inside ``model``, each with its key, what was expected and found; empty when sound.

    Checked: counts of the family, finite numbers, metres, weights and regressor rows that sum to 1, parents
    that form one tree with every parent before its children, indices in range.
    """
    with np.errstate(all="ignore"):  # what overflows or is not a number is reported below
        return [*_counts(model), *_numbers(model), *_tree(model), *_indices(model), *_sums(model)]


def size_problem(vertices: NDArray[np.floating[Any]]) -> str | None:
    """Why (V, 3) vertices cannot be a person in metres, or None."""
    size = float(np.ptp(vertices, axis=0).max())
    if _MIN_SIZE_M <= size <= _MAX_SIZE_M:
        return None
    return (
        f"is {size:.3g} in its largest extent; expected a person in metres ({_MIN_SIZE_M} to {_MAX_SIZE_M})"
    )


def _counts(model: BodyModel) -> Iterator[str]:
    joints, faces = JOINTS[model.family], FACES[model.family]
    if len(model.v_template) != VERTICES[model.family]:
        yield f"v_template: expected {VERTICES[model.family]} vertices, found {len(model.v_template)}"
    if len(model.parents) != joints:
        yield f"kintree_table: expected {joints} joints, found {len(model.parents)}"
    if len(model.faces) != faces:
        yield f"f: expected {faces} faces, found {len(model.faces)}"
    if model.posedirs.shape[2] != 9 * (joints - 1):
        yield f"posedirs: expected {9 * (joints - 1)} columns, found {model.posedirs.shape[2]}"


def _numbers(model: BodyModel) -> Iterator[str]:
    named: dict[str, Any] = {
        "v_template": model.v_template,
        "shapedirs": model.shapedirs,
        "shapedirs (expression)": model.expression_dirs,
        "posedirs": model.posedirs,
        "J_regressor": model.joint_regressor.data,
        "weights": model.weights,
        "hands_mean": model.hand_mean,
        "hands_components": model.hand_components,
        "lmk_bary_coords": model.landmark_bary,
        "dynamic_lmk_bary_coords": model.contour_bary,
    }
    for key, array in named.items():
        if array is not None and not (finite := np.isfinite(array)).all():
            yield f"{key}: {int((~finite).sum())} of {array.size} numbers are not finite"
            if key == "v_template":
                return
    problem = size_problem(model.v_template)
    if problem:
        yield f"v_template: {problem}"


def _tree(model: BodyModel) -> Iterator[str]:
    parents = model.parents
    if len(parents) == 0 or parents[0] != -1:
        yield "kintree_table: expected the root first (no parent), found parent " + str(parents[:1].tolist())
    wrong = [j for j in range(1, len(parents)) if not 0 <= parents[j] < j]
    if wrong:
        pairs = ", ".join(f"{int(parents[j])} of {j}" for j in wrong[:_MAX_SHOWN])
        yield f"kintree_table: a parent must be a joint before its child; found parent {pairs}"


def _indices(model: BodyModel) -> Iterator[str]:
    limits = (
        ("f", model.faces, len(model.v_template), "vertices"),
        ("lmk_faces_idx", model.landmark_faces, len(model.faces), "faces"),
        ("dynamic_lmk_faces_idx", model.contour_faces, len(model.faces), "faces"),
    )
    for key, indices, limit, what in limits:
        if indices is not None and indices.size and not (indices.min() >= 0 and indices.max() < limit):
            yield f"{key}: expected indices of {limit} {what}, found {indices.min()} to {indices.max()}"


def _sums(model: BodyModel) -> Iterator[str]:
    if (model.weights < -SUM_TOLERANCE).any():
        yield f"weights: expected numbers from 0 on, found {model.weights.min():.3g}"
    rows: dict[str, Any] = {
        "weights": model.weights.sum(axis=1),
        "J_regressor": np.asarray(model.joint_regressor.sum(axis=1)).ravel(),
        "lmk_bary_coords": None if model.landmark_bary is None else model.landmark_bary.sum(axis=-1),
        "dynamic_lmk_bary_coords": None if model.contour_bary is None else model.contour_bary.sum(axis=-1),
    }
    for key, sums in rows.items():
        if sums is None:
            continue
        off = ~(np.abs(sums - 1) <= SUM_TOLERANCE)
        if off.any():
            first = np.unravel_index(int(off.argmax()), sums.shape)
            place = ", ".join(map(str, map(int, first)))
            yield (
                f"{key}: rows must sum to 1; {int(off.sum())} of {sums.size} do not (row {place}: "
                f"{float(sums[first]):.4g})"
            )
