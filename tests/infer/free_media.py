"""What tests of free media share: a model without a network, photographs with tags, frames."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hmtools.core.image import encode_jpeg
from hmtools.infer.crops import Crop
from hmtools.infer.media import Frame, Medium
from hmtools.models.smplerx.adapter import Predicted
from hmtools.models.smplerx.joint_sets import NATIVE

__all__ = ["FakeModel", "colours", "exif_jpeg", "frame"]

Array = np.ndarray[Any, Any]
_SHAPES: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("global_orient", "transl", "jaw_pose", "leye_pose", "reye_pose"), (3,)),
    **{"body_pose": (63,), "left_hand_pose": (45,), "right_hand_pose": (45,)},
    **{"betas": (10,), "expression": (10,)},
}


class FakeModel:
    """Says of a person the brightest colour of the crop, as ``smplx_transl``.

    Args:
        before: is called with the number of people before each pass.
        device: that it claims to run on.
    """

    def __init__(self, before: Callable[[int], object] | None = None, device: str = "cpu") -> None:
        self.device = device
        self.facts = {"model": "fake"}
        self.batches: list[int] = []
        self._before = before

    def predict(self, crops: Sequence[Crop]) -> Predicted:
        count = len(crops)
        if self._before is not None:
            self._before(count)
        self.batches.append(count)
        body = {f"smplx_{name}": torch.zeros(count, *shape) for name, shape in _SHAPES.items()}
        colour = np.stack([crop.image[::8, ::8].max(axis=(0, 1)) for crop in crops])
        body["smplx_transl"] = torch.from_numpy(colour).float()
        return Predicted(
            **body,
            focal_length=torch.ones(count, 2),
            principal_point=torch.ones(count, 2),
            virtual_transl=body["smplx_transl"],
            crop_affine=torch.from_numpy(np.stack([crop.affine for crop in crops])).float(),
            joints2d=torch.zeros(count, 144, 2),
            joints3d=torch.zeros(count, 144, 3),
            convention=NATIVE,
            vertices=None,
        )


def colours(height: int = 48, width: int = 64) -> Array:
    """Quarters: red, green, blue and white."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2, 0] = 255
    image[: height // 2, width // 2 :, 1] = 255
    image[height // 2 :, : width // 2, 2] = 255
    image[height // 2 :, width // 2 :] = 255
    return image


def exif_jpeg(image: Array, orientation: int) -> bytes:
    """JPEG with an orientation tag."""
    tag = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    body = b"Exif\0\0" + b"II*\0" + struct.pack("<IH", 8, 1) + tag + struct.pack("<I", 0)
    data = encode_jpeg(image)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


def frame(image: Array | None = None, source: str = "a.jpg", index: int = 0) -> Frame:
    """A frame of a still."""
    medium = Medium(source=source, kind="image", files=(Path(source),))
    image = np.zeros((480, 640, 3), np.uint8) if image is None else image
    return Frame(medium=medium, index=index, time=None, file=Path(source), image=image)
