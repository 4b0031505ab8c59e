"""Batches as they travel: images and every column of the targets' input in four tensors.

A worker hands tensors over by shared memory, one open file each, and a GPU copies them one by one. So the
forty columns of :class:`~hmtools.models.smplerx.target_input.TargetInput` lie side by side in one tensor of
numbers, one of flags and one of whole numbers, and become views where they arrive.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hmtools.models.smplerx.target_input import TargetInput

__all__ = ["Batch", "Layout", "Rows"]

_NUMBERS: Mapping[str, tuple[int, ...]] = {
    "keypoints2d_137": (137, 3),
    "keypoints3d_137": (137, 4),
    "smplx_global_orient": (3,),
    "smplx_body_pose": (63,),
    "smplx_left_hand_pose": (45,),
    "smplx_right_hand_pose": (45,),
    "smplx_jaw_pose": (3,),
    "smplx_betas": (10,),
    "smplx_expression": (10,),
    "smplx_transl": (3,),
    "betas_neutral": (10,),
    "focal_length": (2,),
    "principal_point": (2,),
    "lhand_bbox_xywh": (5,),
    "rhand_bbox_xywh": (5,),
    "face_bbox_xywh": (5,),
    "rotation": (),
    "crop_affine": (2, 3),
}
_OTHER_BODIES: Mapping[str, tuple[int, ...]] = {
    "smpl_global_orient": (3,),
    "smpl_body_pose": (69,),
    "smpl_betas": (10,),
    "smpl_transl": (3,),
    "smplh_global_orient": (3,),
    "smplh_body_pose": (63,),
    "smplh_left_hand_pose": (45,),
    "smplh_right_hand_pose": (45,),
    "smplh_transl": (3,),
}
_FLAGS: Mapping[str, tuple[int, ...]] = {
    "valid_smplx": (),
    "valid_smpl": (),
    "valid_keypoints3d": (),
    "valid_betas": (),
    "valid_face": (),
    "valid_lhand": (),
    "valid_rhand": (),
    "valid_global_orient": (),
    "valid_transl": (),
    "flip": (),
    "pose_valid": (55,),
}
_WHOLE: Mapping[str, tuple[int, ...]] = {"width": (), "height": ()}


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns batches have; the same for every batch of a run.

    Attributes:
        numbers: column -> shape of a person's cell; NaN where it is null.
        flags: likewise; True where it is null.
    """

    numbers: Mapping[str, tuple[int, ...]]
    flags: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, families: Collection[str], *, kids: bool = False) -> Layout:
        """The columns of sets with bodies of some families.

        Args:
            families: of ``smplx``, ``smpl``, ``smplh``.
            kids: whether there is a kid template to weigh.
        """
        others = {n: shape for n, shape in _OTHER_BODIES.items() if n.partition("_")[0] in families}
        return cls({**_NUMBERS, **others, **({"kid": ()} if kids else {})}, _FLAGS)

    def rows(self, count: int) -> Rows:
        """``count`` people of whom nothing is known yet."""
        numbers, flags = _width(self.numbers), _width(self.flags)
        return Rows(
            self,
            np.full((count, numbers), np.nan, np.float32),
            np.ones((count, flags), np.bool_),
            np.zeros((count, len(_WHOLE)), np.int64),
        )


def _width(columns: Mapping[str, tuple[int, ...]]) -> int:
    return sum(prod(shape) for shape in columns.values())


def _views(packed: Any, columns: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    ends = list(accumulate((prod(shape) for shape in columns.values()), initial=0))
    return {
        name: packed[:, start:end].reshape(len(packed), *shape)
        for (name, shape), start, end in zip(columns.items(), ends[:-1], ends[1:], strict=True)
    }


@dataclass(slots=True)
class Rows:
    """A batch while it is filled; ``columns`` are writable views by name, one row per person."""

    layout: Layout
    numbers: npt.NDArray[np.float32]
    flags: npt.NDArray[np.bool_]
    whole: npt.NDArray[np.int64]
    columns: dict[str, npt.NDArray[Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.columns = {
            **_views(self.numbers, self.layout.numbers),
            **_views(self.flags, self.layout.flags),
            **_views(self.whole, _WHOLE),
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """B samples, in the order of their positions.

    Attributes:
        images: (B, 3, rows, columns) float32, RGB in [0, 1]: every ``step``-th pixel of the crop, all that
            the network looks at. :meth:`crops` is what it takes.
        keys: B keys of the records that were read, substitutes included.
        positions: int64 (B,) positions in the epoch.
        substituted: ``<key>: <reason>`` of the records that could not be used; others of the same set stand
            in their places.
        step: 2 for SMPLer-X.
        numbers: packed columns, see :attr:`inputs`.
        flags: packed likewise.
        whole: packed likewise.
        layout: where they lie.
        labels: what the host reads: ``rules``, ``gender``, ``smplx_gender``.
    """

    images: Tensor
    keys: tuple[str, ...]
    positions: Tensor
    substituted: tuple[str, ...]
    step: int
    numbers: Tensor
    flags: Tensor
    whole: Tensor
    layout: Layout
    labels: Mapping[str, tuple[Any, ...]]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def inputs(self) -> TargetInput:
        """What targets are made from, on the device of the batch; columns are views, not copies."""
        columns: dict[str, Any] = {
            **self.labels,
            **_views(self.numbers, self.layout.numbers),
            **_views(self.flags, self.layout.flags),
            **_views(self.whole, _WHOLE),
        }
        return TargetInput(**columns)

    def crops(self) -> Tensor:
        """(B, 3, 512, 384) float32 for the network: each pixel that it looks at, repeated.

        SMPLer-X takes every second pixel of its crop (nearest sub-sampling), so what lies between does not
        reach it.
        """
        images = self.images
        for axis in (2, 3):
            images = images.repeat_interleave(self.step, dim=axis) if self.step > 1 else images
        return images

    def to(self, device: str | torch.device) -> Batch:
        """The same batch on a device; from pinned memory without waiting."""
        return self._moved(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The same batch in pinned memory; a DataLoader calls this."""
        return self._moved(lambda tensor: tensor.pin_memory())

    def _moved(self, move: Any) -> Batch:
        names = ("images", "numbers", "flags", "whole")
        return replace(self, **{name: move(getattr(self, name)) for name in names})
