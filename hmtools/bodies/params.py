"""Parameters of a batch of bodies, under the names of the record."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from hmtools.bodies.model import JOINTS, Family
from hmtools.core.errors import GeometryError, UsageError, nearest

__all__ = ["POSE_PARTS", "BodyParams", "pose_slices"]

POSE_PARTS: Mapping[Family, Mapping[str, int]] = {
    "smpl": {"global_orient": 1, "body_pose": 23},
    "smplh": {"global_orient": 1, "body_pose": 21, "left_hand_pose": 15, "right_hand_pose": 15},
    "smplx": {
        **{"global_orient": 1, "body_pose": 21, "jaw_pose": 1, "leye_pose": 1, "reye_pose": 1},
        **{"left_hand_pose": 15, "right_hand_pose": 15},
    },
}
"""Family -> rotations it has, in the order of its joints -> how many joints each covers."""


def pose_slices(family: Family) -> dict[str, slice]:
    """Where each part of the pose lies among the joints of a family."""
    slices, start = {}, 0
    for name, count in POSE_PARTS[family].items():
        slices[name] = slice(start, start + count)
        start += count
    return slices


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BodyParams:
    """A batch of B bodies; every field may be None, which means its neutral value (no rotation, zeros).

    Rotations are axis-angle in radians, (B, 3 k) or (B, k, 3), or matrices (B, k, 3, 3), k as in
    :data:`POSE_PARTS`, each relative to its parent joint; ``global_orient`` is in the frame of ``transl``.
    Hands are absolute (``flat_hand_mean`` true), as in the record.

    Attributes:
        global_orient: root orientation.
        body_pose: 23 joints (SMPL) or 21 joints (SMPL-H, SMPL-X).
        left_hand_pose: 15 joints, absolute.
        right_hand_pose: 15 joints, absolute.
        jaw_pose: 1 joint.
        leye_pose: 1 joint.
        reye_pose: 1 joint.
        betas: (B, S) shape; shorter than the model's is the same as zeros behind it.
        expression: (B, E) expression.
        kid: (B,) weight of the kid template, 0 = adult (AGORA's 11th number).
        transl: (B, 3) metres, added to what the model gives; the root turns about the pelvis, not about it.
    """

    global_orient: Tensor | None = None
    body_pose: Tensor | None = None
    left_hand_pose: Tensor | None = None
    right_hand_pose: Tensor | None = None
    jaw_pose: Tensor | None = None
    leye_pose: Tensor | None = None
    reye_pose: Tensor | None = None
    betas: Tensor | None = None
    expression: Tensor | None = None
    kid: Tensor | None = None
    transl: Tensor | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any], *, dtype: torch.dtype = torch.float32) -> BodyParams:
        """Make parameters from arrays by name; None and missing names stay None.

        Raises:
            UsageError: for a name that no body has.
        """
        known = [item.name for item in fields(cls)]
        for name in values:
            if name not in known:
                raise UsageError(f"unknown body parameter {name!r}{nearest(name, known)}; known: {known}")
        return cls(**{k: torch.as_tensor(v, dtype=dtype) for k, v in values.items() if v is not None})

    def given(self) -> dict[str, Tensor]:
        """The fields that are not None."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def select(self, rows: Tensor | Sequence[int]) -> BodyParams:
        """The bodies at ``rows``; a field given once for all (batch 1) stays as it is."""
        index = torch.as_tensor(rows)
        return replace(
            self, **{k: v if len(v) == 1 else v[index.to(v.device)] for k, v in self.given().items()}
        )

    def batch(self) -> int:
        """The number of bodies; fields of batch 1 fit any.

        Raises:
            UsageError: if two fields disagree.
        """
        sizes = {name: value.shape[0] for name, value in self.given().items()}
        batch = 1
        for size in sizes.values():
            if batch not in (1, size) and size != 1:
                raise UsageError(f"body parameters of one batch have one length (or 1); found {sizes}")
            batch = batch if size == 1 else size
        return batch

    def check(self, family: Family) -> BodyParams:
        """Return these parameters when every number is finite and every field belongs to ``family``.

        Raises:
            UsageError: for a field that the family does not have, or one of the wrong shape.
            GeometryError: for NaN or infinity, naming the field and the first row.
        """
        for name, value in self.given().items():
            self._check_shape(family, name, value)
            bad = (~torch.isfinite(value.reshape(len(value), math.prod(value.shape[1:])))).any(1).nonzero()
            if len(bad):
                raise GeometryError(
                    f"{family} {name}: expected finite numbers, found NaN or infinity in {len(bad)} of "
                    f"{len(value)} rows, first in row {int(bad[0])}; leave such people out"
                )
        self.batch()
        return self

    def _check_shape(self, family: Family, name: str, value: Tensor) -> None:
        shape = tuple(value.shape)
        if name in ("betas", "expression"):
            wanted, fits = "(B, count)", len(shape) == 2
        elif name == "transl":
            wanted, fits = "(B, 3)", len(shape) == 2 and shape[1] == 3
        elif name == "kid":
            wanted, fits = "(B,)", len(shape) == 1
        else:
            count = POSE_PARTS[family].get(name, 0)
            wanted = f"(B, {3 * count}), (B, {count}, 3) or (B, {count}, 3, 3)"
            fits = shape[1:] in ((3 * count,), (count, 3), (count, 3, 3))
        missing = name != "kid" and name not in (*POSE_PARTS[family], "betas", "transl")
        if (missing and name != "expression") or (name == "expression" and family != "smplx"):
            raise UsageError(
                f"{family} has no {name}; it has {', '.join(POSE_PARTS[family])} ({JOINTS[family]} joints)"
            )
        if not fits:
            raise UsageError(f"{family} {name}: expected shape {wanted}, found {shape}")
