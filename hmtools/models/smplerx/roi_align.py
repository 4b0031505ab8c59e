"""RoIAlign in plain torch (He et al. 2017), un-aligned and with an adaptive number of samples by default.

A sample's bilinear weights are a product of one factor per axis, and so is the rule for samples outside. The
mean over a bin's grid of samples is therefore two small matrix products per box: rows, then columns. The
matrices have a fixed size whatever the boxes are, so nothing waits for the GPU and memory is bounded.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hmtools.core.errors import UsageError

__all__ = ["roi_align"]


def roi_align(
    features: Float[Tensor, "b c h w"],
    boxes: Float[Tensor, "n 4"],
    batch_index: Int[Tensor, " n"] | None,
    size: int | tuple[int, int],
    *,
    sampling_ratio: int = 0,
    aligned: bool = False,
) -> Float[Tensor, "n c oh ow"]:
    """Resample boxes of feature maps to a fixed size, each bin the mean of a grid of bilinear samples.

    Samples up to one cell outside the map take the value at its edge, others are 0. Gradients flow to the
    features, not to the boxes.

    Args:
        features: (B, C, H, W).
        boxes: (N, 4) x0, y0, x1, y1 in cells of ``features``; they may lie anywhere.
        batch_index: (N,) map of each box; None when box n belongs to map n, which saves a copy of the maps.
        size: height and width of the result, or both at once.
        sampling_ratio: samples per bin and axis; 0 takes ceil(box side / bins), one per cell or denser.
        aligned: count cell centres at halves (box edges are shifted by half a cell), and let boxes be
            smaller than one cell; otherwise a box is at least one cell wide and high.

    Returns:
        (N, C, size, size) of the type of ``features``.

    Raises:
        UsageError: if boxes and maps cannot belong together.
    """
    if (
        boxes.dim() != 2
        or boxes.shape[1] != 4
        or (batch_index is None and boxes.shape[0] != features.shape[0])
    ):
        raise UsageError(
            f"roi_align: expected boxes (N, 4), one per map unless batch_index is given; got boxes "
            f"{tuple(boxes.shape)} for {features.shape[0]} maps"
        )
    rows, columns = (size, size) if isinstance(size, int) else size
    boxes = boxes.detach()
    if boxes.dtype in (torch.bfloat16, torch.float16):
        boxes = boxes.float()
    if aligned:
        boxes = boxes - 0.5
    x0, y0, x1, y1 = boxes.unbind(1)
    height, width = features.shape[-2:]
    down = _weights(y0, y1, rows, height, sampling_ratio, aligned).to(features.dtype)
    across = _weights(x0, x1, columns, width, sampling_ratio, aligned).to(features.dtype)
    if batch_index is not None:
        features = features[batch_index]
    count, channels = boxes.shape[0], features.shape[1]
    narrow = features.reshape(count, channels * height, width) @ across.transpose(1, 2)
    return torch.einsum("nph,nchq->ncpq", down, narrow.reshape(count, channels, height, columns))


def _weights(start: Tensor, end: Tensor, bins: int, cells: int, ratio: int, aligned: bool) -> Tensor:
    """(N, bins, cells): what each cell of one axis contributes to each bin of each box.

    Only samples within a cell of the map count, and adaptive ones are more than half a cell apart where a bin
    has several: of a box of any width no more than 2 (cells + 1) have to be looked at, from the first on.
    """
    side = end - start if aligned else (end - start).clamp(min=1)
    bin_side = side / bins
    per_bin = torch.full_like(side, ratio) if ratio > 0 else bin_side.ceil()
    samples = per_bin.clamp(min=1)
    step = bin_side / samples
    if ratio > 0:
        first = torch.zeros_like(side)
        seen = bins * ratio
    else:
        first = ((-1 - start) / step.clamp(min=1e-6) - 1.5).floor().clamp(min=0)
        seen = max(bins, 2 * cells + 6)
    number = first.nan_to_num(0).long()[:, None] + torch.arange(seen, device=start.device)
    samples_int = samples.nan_to_num(1, posinf=1).long()[:, None]
    which, within = number // samples_int, number % samples_int
    at = start[:, None] + which * bin_side[:, None] + (within + 0.5) * step[:, None]
    inside = (at >= -1) & (at <= cells) & (which < bins) & (per_bin[:, None] > 0)
    cell = torch.arange(cells, dtype=at.dtype, device=at.device)
    hat = (1 - (at.clamp(0, cells - 1)[..., None] - cell).abs()).clamp(min=0)
    share = torch.where(inside, 1 / samples[:, None], 0.0)[..., None]
    into = which[:, None] == torch.arange(bins, device=at.device)[:, None]  # (N, bins, samples)
    return into.to(at.dtype) @ torch.where(share > 0, hat * share, 0.0)
