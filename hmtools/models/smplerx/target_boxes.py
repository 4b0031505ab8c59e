"""Hand and face boxes as targets: into the cells of the heat map, as the upright hull of the turned box."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hmtools.models.smplerx.target_input import TargetInput
from hmtools.models.smplerx.target_joints import Augmentation, picked, to_cells
from hmtools.models.smplerx.target_parameters import rule_flags

__all__ = ["box_targets", "grown_boxes", "known_boxes"]

_ASPECT = 384 / 512
_RATIO = 1.2
_SWAPPED = (1, 0, 2)  # left hand, right hand, face of a mirrored image


def grown_boxes(
    boxes_xywh: Float[Tensor, "b n 4"], width: Float[Tensor, " b"], height: Float[Tensor, " b"]
) -> tuple[Float[Tensor, "b n 4"], Bool[Tensor, "b n"]]:
    """Boxes fitted into the image, grown to 3:4 about their centre, times 1.2.

    On batches, what :func:`hmtools.geometry.box.sanitize_xywh`, ``grow_to_aspect`` and ``scale_xywh`` do.

    Args:
        boxes_xywh: (B, N, 4) pixels.
        width: (B,) of the images, pixels.
        height: (B,) of the images, pixels.

    Returns:
        (B, N, 4) xywh, and (B, N) whether anything of the box is in the image; False for NaN.
    """
    x, y, w, h = boxes_xywh.unbind(-1)
    x1, y1 = x.clamp(min=0), y.clamp(min=0)
    x2 = torch.minimum(width[:, None] - 1, x1 + (w - 1).clamp(min=0))
    y2 = torch.minimum(height[:, None] - 1, y1 + (h - 1).clamp(min=0))
    kept = (w * h > 0) & (x2 > x1) & (y2 > y1)
    new_w = _RATIO * torch.maximum(x2 - x1, (y2 - y1) * _ASPECT)
    new_h = _RATIO * torch.maximum(y2 - y1, (x2 - x1) / _ASPECT)
    return torch.stack([(x1 + x2 - new_w) / 2, (y1 + y2 - new_h) / 2, new_w, new_h], dim=-1), kept


def known_boxes(people: TargetInput) -> tuple[Float[Tensor, "b 3 4"], Bool[Tensor, "b 3"]]:
    """Boxes of left hand, right hand and face by each person's rule, not yet augmented.

    Returns:
        (B, 3, 4) xywh, upright original pixels, zeros where unknown, and (B, 3) which are known.
    """
    stored = torch.stack([people.lhand_bbox_xywh, people.rhand_bbox_xywh, people.face_bbox_xywh], dim=1)
    boxes = stored[..., :4]
    known = (stored[..., 4] > 0) & stored.isfinite().all(-1) & (boxes[..., 2] * boxes[..., 3] > 0)
    grow, wanted = (
        rule_flags(flags, boxes)[:, None]
        for flags in (
            [rule.boxes == "grown" for rule in people.rules],
            [rule.boxes != "none" for rule in people.rules],
        )
    )
    grown, kept = grown_boxes(boxes, people.width.to(boxes), people.height.to(boxes))
    known = known & wanted & (kept | ~grow)
    return torch.where(known[..., None], torch.where(grow[..., None], grown, boxes), 0.0), known


def box_targets(
    boxes_xywh: Float[Tensor, "b 3 4"], known: Bool[Tensor, "b 3"], augmentation: Augmentation
) -> tuple[Float[Tensor, "b 3 2"], Float[Tensor, "b 3 2"], Bool[Tensor, "b 3"]]:
    """Boxes of left hand, right hand and face in the augmented crop.

    Args:
        boxes_xywh: (B, 3, 4) upright original pixels.
        known: (B, 3) whether a box is there.
        augmentation: of the B images.

    Returns:
        (B, 3, 2) centres and (B, 3, 2) sizes in cells, and (B, 3) which are known; an unknown box covers the
        first cell. Hands have changed places in mirrored images.
    """
    x, y, w, h = boxes_xywh.unbind(-1)
    corners = [torch.stack([x + i * w, y + j * h], dim=-1) for i in (0, 1) for j in (0, 1)]
    points = to_cells(torch.cat(corners, dim=1), augmentation.crop_affine).reshape(-1, 4, 3, 2)
    missing = ~known[..., None]
    low = points.amin(1).masked_fill(missing, 0.0)
    high = points.amax(1).masked_fill(missing, 1.0)
    flip = augmentation.flip[:, None]
    low, high = (torch.where(flip[..., None], picked(side, _SWAPPED), side) for side in (low, high))
    return (low + high) / 2, high - low, torch.where(flip, picked(known, _SWAPPED), known)
