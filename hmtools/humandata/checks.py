"""What a record must satisfy to be stored, and what is counted as its set's health.

A *defect* is a reason to reject one record (counted in the manifest, fatal with ``--strict``). *Health* never
rejects: it counts what a researcher should know about the annotations before training on them.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np

from hmtools.geometry.box import overlaps_image
from hmtools.humandata.record import Record, columns

__all__ = [
    "BETAS_NORM",
    "BOX_COLUMNS",
    "box_defect",
    "defect",
    "health_counts",
    "number_defect",
    "present_arrays",
]

BETAS_NORM = 15.0
"""Norm of a shape vector above which health counts it as absurd (BEDLAM's broken labels reach 113)."""

BOX_COLUMNS = ("bbox_xywh", "lhand_bbox_xywh", "rhand_bbox_xywh", "face_bbox_xywh")
_ROTATION_TOLERANCE = 1e-3  # |R Rᵀ - I|: float32 extrinsics written with four decimals still pass


@cache
def _float_columns() -> tuple[str, ...]:
    return tuple(column.name for column in columns() if column.cell.startswith("f32"))


def present_arrays(record: Record) -> list[str]:
    """Names of the float columns that ``record`` fills."""
    return [name for name in _float_columns() if getattr(record, name) is not None]


def defect(record: Record) -> str | None:
    """The first reason to reject a normalised record, or None: of its numbers, then of its body box."""
    return number_defect(record) or box_defect(record)


def number_defect(record: Record) -> str | None:
    """``not_finite:<column>``, ``bad_size`` or None: what must be right before anything is derived."""
    for name in present_arrays(record):
        if not np.isfinite(getattr(record, name)).all():
            return f"not_finite:{name}"
    if record.height is None or record.width is None or record.height < 1 or record.width < 1:
        return "bad_size"
    return None


def box_defect(record: Record) -> str | None:
    """``no_box``, ``box_empty``, ``box_outside`` or None, of a record whose size is known."""
    box = record.bbox_xywh
    if box is None:
        return "no_box"
    if box[2] <= 0 or box[3] <= 0:
        return "box_empty"
    if not overlaps_image(box[:4], record.width or 0, record.height or 0):
        return "box_outside"
    return None


def health_counts(record: Record) -> Counter[str]:
    """Facts worth counting about one accepted, normalised record.

    ``box_to_come`` (it waits for a body model), ``box_partly_outside``, ``<part>_bbox_xywh_outside``,
    ``keypoints_labelled`` (joints with confidence), ``keypoints_outside`` (of those, beyond the image),
    ``no_visible_keypoint``, ``betas_norm_over_15``, ``camera_not_orthonormal``, and ``records`` itself.
    """
    found: Counter[str] = Counter(records=1)
    width, height = record.width or 0, record.height or 0  # defect() has refused records without a size
    found["box_to_come"] += record.bbox_xywh is None
    if record.bbox_xywh is not None:
        x, y, w, h = (float(value) for value in record.bbox_xywh[:4])
        found["box_partly_outside"] += x < -0.5 or y < -0.5 or x + w > width + 0.5 or y + h > height + 0.5
    for name in BOX_COLUMNS[1:]:
        box = getattr(record, name)
        found[f"{name}_outside"] += box is not None and not overlaps_image(box[:4], width, height)
    points = record.keypoints2d_original
    if points is not None:
        seen = points[:, 2] > 0
        inside = (points[:, 0] > -0.5) & (points[:, 1] > -0.5)
        inside &= (points[:, 0] < width - 0.5) & (points[:, 1] < height - 0.5)
        labelled = int(np.count_nonzero(seen))
        found["keypoints_labelled"] += labelled
        found["keypoints_outside"] += labelled - int(np.count_nonzero(seen & inside))
        found["no_visible_keypoint"] += not labelled
    for name in ("smplx_betas", "smpl_betas", "smplh_betas"):
        betas = getattr(record, name)
        found["betas_norm_over_15"] += betas is not None and float(np.linalg.norm(betas)) > BETAS_NORM
    if record.world_to_cam is not None:
        rotation = record.world_to_cam[:, :3].astype(np.float64)
        error = np.abs(rotation @ rotation.T - np.eye(3)).max()
        found["camera_not_orthonormal"] += bool(error > _ROTATION_TOLERANCE)
    return Counter({name: int(count) for name, count in found.items()})
