"""From ViTPose's heat maps to keypoints: flip merge, maxima, sub-cell refinement, back to the image.

Heat maps are (N people, K joints, H, W), regressions of a Gaussian with peak 1: values can be negative.
Points in cells count from the centre of the first cell. All functions run on the device of their maps, for
all people and joints at once.

The refinement is DARK's (distribution-aware coordinates): the map is blurred, and one Newton step on the
logarithm goes from the largest cell to the top of the Gaussian. Blurred values are needed only in the 3 x 3
cells about the maximum, so they are weighted sums of the map's rows and columns there, not a convolution of
the whole map: a fraction of the work, and plain float32 on GPUs, where a convolution would round to TF32.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hmtools.core.errors import UsageError

__all__ = ["BLUR", "cells_to_image", "decode", "find_peaks", "merge_flipped", "refine_peaks"]

BLUR = 11
"""Width of the blur before refinement, cells, as all official 256 x 192 configurations have it."""

_LOWEST, _HIGHEST = 1e-3, 50.0  # blurred values are clipped to these before the logarithm
_RIDGE = 1.19e-7  # added to the diagonal of the Hessian: a map below _LOWEST then stays where it is


def merge_flipped(
    heatmaps: Float[Tensor, "n k h w"], mirrored: Float[Tensor, "n k h w"], permutation: Sequence[int]
) -> Float[Tensor, "n k h w"]:
    """Mean of the maps of crops and those of the mirrored crops, these mirrored back.

    Args:
        heatmaps: of the crops as they are.
        mirrored: of the crops with their columns reversed, as the network gave them.
        permutation: (K,) swaps left and right joints (``flip_permutation`` of the joints' convention).

    Raises:
        UsageError: if the shapes differ, or ``permutation`` is none of K joints.
    """
    if heatmaps.shape != mirrored.shape or sorted(permutation) != list(range(heatmaps.shape[1])):
        raise UsageError(
            f"expected two stacks of maps of one shape and a permutation of their joints, got shapes "
            f"{tuple(heatmaps.shape)} and {tuple(mirrored.shape)} and {list(permutation)}"
        )
    return (heatmaps + mirrored[:, list(permutation)].flip(-1)) * 0.5


def find_peaks(heatmaps: Float[Tensor, "n k h w"]) -> tuple[Float[Tensor, "n k 2"], Float[Tensor, "n k"]]:
    """The largest cell of each map, the first one row by row where several are.

    Returns:
        (N, K, 2) its column and row, cells, (-1, -1) where no value is positive; and (N, K) its value.

    Raises:
        UsageError: for anything but (N, K, H, W) floats.
    """
    _check(heatmaps)
    scores, at = heatmaps.flatten(2).max(-1)
    width = heatmaps.shape[-1]
    cells = torch.stack([at % width, at.div(width, rounding_mode="floor")], dim=-1).to(heatmaps.dtype)
    return torch.where(scores[..., None] <= 0, -1.0, cells), scores


def refine_peaks(
    heatmaps: Float[Tensor, "n k h w"], peaks: Float[Tensor, "n k 2"], blur: int = BLUR
) -> Float[Tensor, "n k 2"]:
    """Maxima between the cells (DARK as ViTPose runs it).

    The step has no limit: a maximum of one noisy cell can go far, one in a border cell can leave the map.

    Args:
        heatmaps: the maps whose maxima these are.
        peaks: (N, K, 2) from :func:`find_peaks`, cells; those at (-1, -1) stay.
        blur: width of the Gaussian in cells, odd; its deviation is ``0.3 ((blur - 1) / 2 - 1) + 0.8``.

    Returns:
        (N, K, 2) cells, float32 or better.

    Raises:
        UsageError: for a width that is even or below 3, maps less than 2 cells wide or high, or wrong shapes.
    """
    _check(heatmaps)
    if peaks.shape != (*heatmaps.shape[:2], 2):
        raise UsageError(f"peaks: expected {(*heatmaps.shape[:2], 2)}, got {tuple(peaks.shape)}")
    heatmaps, peaks = _full(heatmaps), _full(peaks)
    kernel = _gaussian(blur)
    rows = _blurred_weights(heatmaps, peaks[..., 1], heatmaps.shape[-2], kernel)
    columns = _blurred_weights(heatmaps, peaks[..., 0], heatmaps.shape[-1], kernel)
    strips = (rows[..., None] * heatmaps[..., None, :, :]).sum(-2)  # (N, K, 3, W)
    patch = (strips[..., None, :] * columns[..., None, :, :]).sum(-1)  # (N, K, 3, 3) as [y, x]
    # At (-1, -1) all three lines are the border line both ways: the patch is flat, and the step is 0.
    return peaks - _newton(patch.clamp(_LOWEST, _HIGHEST).log())


def cells_to_image(
    points: Float[Tensor, "n k 2"], regions: Float[Tensor, "n 4"], map_size: tuple[int, int] = (48, 64)
) -> Float[Tensor, "n k 2"]:
    """Carry points from cells of a person's map to pixels of the image.

    Args:
        points: (N, K, 2) x, y in cells.
        regions: (N, 4) from :func:`hmtools.models.vitpose_crop.person_regions`, pixels of the image. The
            first cell lies on the first corner, the last cell on the last.
        map_size: width and height of the maps, cells.

    Returns:
        (N, K, 2) pixels.
    """
    steps = torch.tensor(map_size, dtype=points.dtype, device=points.device) - 1
    return points * (regions[:, None, 2:] / steps) + regions[:, None, :2]


def decode(heatmaps: Float[Tensor, "n k h w"], regions: Float[Tensor, "n 4"]) -> Float[Tensor, "n k 3"]:
    """Keypoints of people: maxima, refined, in the image.

    Args:
        heatmaps: (N, K, H, W), merged with those of the mirrored crops where the flip test is on.
        regions: (N, 4) of the people, pixels of the image; same device.

    Returns:
        (N, K, 3) float32: x and y in pixels of the image, and the score, the largest value of the unblurred
        map. A joint without positive value keeps its score <= 0 and a place one cell outside of the region's
        first corner, which means nothing.

    Raises:
        UsageError: for wrong shapes.
    """
    _check(heatmaps)
    if regions.shape != (len(heatmaps), 4):
        raise UsageError(f"regions: expected {(len(heatmaps), 4)}, got {tuple(regions.shape)}")
    heatmaps = heatmaps.float()
    peaks, scores = find_peaks(heatmaps)
    height, width = heatmaps.shape[-2:]
    points = cells_to_image(refine_peaks(heatmaps, peaks), regions.float(), (width, height))
    return torch.cat([points, scores[..., None]], dim=-1)


def _check(heatmaps: Tensor) -> None:
    if heatmaps.dim() != 4 or not heatmaps.is_floating_point() or 0 in heatmaps.shape[-2:]:
        raise UsageError(
            f"heatmaps: expected floats of shape (N, K, H, W), got {heatmaps.dtype} {tuple(heatmaps.shape)}"
        )


def _full(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def _gaussian(width: int) -> np.ndarray:
    """(width,) float64, sum 1; the deviation that OpenCV takes when it is given none."""
    if width < 3 or width % 2 == 0:
        raise UsageError(f"blur: expected an odd number of cells from 3, got {width}")
    radius = width // 2
    deviation = 0.3 * (radius - 1) + 0.8
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / deviation) ** 2)
    return np.asarray(weights / weights.sum(), np.float64)


def _blurred_weights(like: Tensor, centres: Tensor, length: int, kernel: np.ndarray) -> Tensor:
    """Weights (N, K, 3, length) of a map's lines in the blurred lines before, at and after ``centres``.

    The blur mirrors the map at its border without repeating the border line; the logarithm of the blurred map
    goes on at its border as the border line.
    """
    if length < 2:
        raise UsageError(f"heatmaps: maps of {length} cells in a row or column cannot be refined")
    lines, period = np.arange(length), 2 * (length - 1)
    offsets = np.arange(len(kernel)) - len(kernel) // 2
    read = np.abs((lines[:, None] + offsets + length - 1) % period - (length - 1))
    matrix = np.zeros((length, length))
    np.add.at(matrix, (lines[:, None], read), kernel)
    around = centres.long()[..., None] + torch.arange(-1, 2, device=like.device)
    return torch.as_tensor(matrix, dtype=like.dtype, device=like.device)[around.clamp(0, length - 1)]


def _newton(patch: Tensor) -> Tensor:
    """The Newton step (N, K, 2) as x, y from 3 x 3 logarithms (N, K, [y, x]), to be subtracted."""
    _, up, _, left, centre, right, _, down, _ = patch.flatten(2).unbind(-1)
    first, last = patch[..., 0, 0], patch[..., 2, 2]
    dx, dy = (right - left) / 2, (down - up) / 2
    dxx = right - 2 * centre + left + _RIDGE
    dyy = down - 2 * centre + up + _RIDGE
    dxy = (last - right - down + 2 * centre - left - up + first) / 2
    determinant = dxx * dyy - dxy * dxy
    step = torch.stack([dyy * dx - dxy * dy, dxx * dy - dxy * dx], dim=-1)
    solvable = determinant != 0
    return torch.where(solvable[..., None], step / determinant.where(solvable, 1.0)[..., None], 0.0)
