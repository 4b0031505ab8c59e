"""The people of the golden files as converted splits, and what the published loaders made of them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmtools.humandata.record import Record, columns
from hmtools.humandata.schema import RecordSpec
from hmtools.models.smplerx.target_input import TargetInput
from hmtools.models.smplerx.target_types import Masks, Targets
from tests.models.smplerx.target_people import arrays
from tests.train.written_splits import write_split

IMAGES = Path(__file__).parents[1] / "golden/smplerx/toy_images"
SPEC = RecordSpec(
    "toy", "train", keypoints2d="smplerx_137", keypoints3d="smplerx_137", bodies=("smplx", "smpl")
)
_RENAMED = {"keypoints2d_137": "keypoints2d_original", "keypoints3d_137": "keypoints3d_original"}

# Target -> the mask that says which of it counts.
MASKED = {
    "joint_img": "joint_trunc",
    "smplx_joint_img": "smplx_joint_trunc",
    "joint_cam": "joint_valid",
    "smplx_joint_cam": "smplx_joint_valid",
    "smplx_pose": "smplx_pose_valid",
    "smplx_shape": "smplx_shape_valid",
    "smplx_expr": "smplx_expr_valid",
    **{
        f"{part}_bbox_{what}": f"{part}_bbox_valid"
        for part in ("lhand", "face")
        for what in ("center", "size")
    },
}


def record_of(person: TargetInput, box_xywh: Any) -> Record:
    """A record that says what the input of one person's targets says."""
    known = {column.name for column in columns()}
    values: dict[str, Any] = {}
    for item in fields(person):
        name, value = _RENAMED.get(item.name, item.name), getattr(person, item.name)
        if name not in known or value is None:
            continue
        cell = value[0].numpy() if isinstance(value, Tensor) else value[0]
        if isinstance(value, Tensor) and value.is_floating_point() and np.isnan(cell).all():
            continue
        values[name] = cell.item() if isinstance(cell, np.ndarray) and cell.ndim == 0 else cell
    return Record(**values, bbox_xywh=[*np.asarray(box_xywh)[:4].tolist(), 1.0])


def split_of(folder: Path, people: list[Record], names: list[str]) -> Path:
    """A converted split of some people and their images."""
    return write_split(folder, SPEC, people, [(IMAGES / f"{name}.png").read_bytes() for name in names])


def figures(file: str, prefix: str) -> dict[str, Any]:
    """What the published loader returned."""
    found = {k.removeprefix(f"{prefix}/"): v for k, v in arrays(file).items() if k.startswith(f"{prefix}/")}
    assert found, prefix
    return found


def compare(targets: Targets, masks: Masks, row: int, wanted: dict[str, Any]) -> None:
    """Masks exactly, targets where they count."""
    for item in fields(masks):
        expected = torch.tensor(wanted["is_3D" if item.name == "is_3d" else item.name]).float()
        assert torch.equal(getattr(masks, item.name)[row], expected), item.name
    for name, mask_name in MASKED.items():
        mask = getattr(masks, mask_name)[row]
        found, expected = getattr(targets, name)[row] * mask, torch.tensor(wanted[name]) * mask
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=3e-5, msg=name)


def same_pixels(crop: Tensor, wanted: dict[str, Any]) -> None:
    """A crop (3, 512, 384) against the published one: every 16th pixel of it, or what they come to."""
    if "img_sub" in wanted:
        error = 255 * abs(crop[:, ::16, ::16].numpy() - wanted["img_sub"])
        assert error.mean() < 0.1
        assert error.max() < 4
    pixels = crop.numpy().astype(np.float64)
    found = [pixels.mean(), pixels.std(), pixels.min(), pixels.max(), abs(pixels).mean()]
    np.testing.assert_allclose(found, wanted["img_stats"][:5], atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(pixels), wanted["img_stats"][5], rtol=1e-3)
