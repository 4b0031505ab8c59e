"""One ``.npz`` per person: what was predicted, as arrays over time.

================= ============ ============================================================================
``frame_ids``     (T,) int64   0-based frames of the source, rising; there may be gaps
``pose``          (T, 165)     SMPL-X: 55 axis-angles, radians: root, 21 body, jaw, left and right eye, 15 of
                               the left hand, 15 of the right one (absolute). SMPL: (T, 72), root and 23
``betas``         (T, 10)      shape, as many as the table has
``trans``         (T, 3)       metres, camera frame (x right, y down, z forward)
``expression``    (T, 10)      SMPL-X only
``kid``           (T,)         weight of the kid template, where there is a child
``focal_length``  (T, 2)       fx, fy of the upright whole image, pixels
``principal_point`` (T, 2)     cx, cy of the same, pixel centres at integers
``image_size``    (T, 2) int64 width, height of the same, -1 where not known
``bbox_xywh``     (T, 5)       box that was the input: x, y, w, h, confidence, upright pixels
``score``         (T,)         confidence of the prediction
``keys``          (T,) text    keys of the records, for predictions of converted shards
``source``, ``track_id``, ``gender``, ``model_type`` (text, no axes)
================= ============ ============================================================================

Numbers are float32; NaN where the table has null; an array that the table has not at all is left out. The
root turns about the pelvis: a mesh is ``R (v - pelvis) + pelvis + trans``, as the ``smplx`` package does it.
Files hold no pickles.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmtools.bodies.model import Family
from hmtools.bodies.params import POSE_PARTS
from hmtools.core.atomic import AtomicFile
from hmtools.infer.outputs.bodies import body_columns
from hmtools.infer.outputs.scenes import Track

__all__ = ["TRACK_COLUMNS", "full_pose", "track_arrays", "write_npz"]

TRACK_COLUMNS = (
    *("focal_length", "principal_point", "height", "width", "bbox_xywh", "score", "key"),
    *body_columns("smplx"),
    *(name for name in body_columns("smpl") if name.startswith("smpl_")),
)
"""Columns that :func:`track_arrays` looks at."""

_PLAIN = {"trans": "transl", "betas": "betas", "expression": "expression"}


def full_pose(columns: Mapping[str, Any], family: Family, count: int) -> NDArray[np.float32]:
    """Rotations of all joints in the order of the family's joints.

    Args:
        columns: of the table.
        family: whose.
        count: T, how many rows they have.

    Returns:
        (T, 3 J) float32 radians; NaN where the table has null.
    """
    parts = []
    for name, joints in POSE_PARTS[family].items():
        values = columns[f"{family}_{name}"]
        parts.append(np.full((count, 3 * joints), np.nan, np.float32) if values is None else values)
    pose: NDArray[np.float32] = np.concatenate(parts, axis=1, dtype=np.float32)
    return pose


def track_arrays(track: Track, family: Family) -> dict[str, NDArray[Any]]:
    """What the file of a person holds, see the module.

    Args:
        track: with :data:`TRACK_COLUMNS`.
        family: of its body.
    """
    columns, count = track.columns, len(track.frames)
    found: dict[str, Any] = {"frame_ids": track.frames, "pose": full_pose(columns, family, count)}
    for name, column in _PLAIN.items():
        found[name] = columns.get(f"{family}_{column}")
    for name in ("kid", "focal_length", "principal_point", "bbox_xywh", "score"):
        found[name] = columns[name]
    if columns["width"] is not None and columns["height"] is not None:
        found["image_size"] = np.stack([columns["width"], columns["height"]], axis=1)
    if columns["key"] is not None:
        found["keys"] = np.array([key or "" for key in columns["key"]], np.str_)
    genders = {} if columns["gender"] is None else dict.fromkeys(g for g in columns["gender"] if g)
    found |= {
        "source": np.array(track.scene.name),
        "track_id": np.array(track.track_id or ""),
        "gender": np.array(next(iter(genders), "neutral")),
        "model_type": np.array(family),
    }
    return {name: values for name, values in found.items() if values is not None}


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as one uncompressed ``.npz`` that :func:`numpy.load` reads without pickles."""
    with AtomicFile(path) as file:
        np.savez(file, allow_pickle=False, **arrays)
