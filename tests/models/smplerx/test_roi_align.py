from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hmtools.core.errors import UsageError
from hmtools.models.smplerx.roi_align import roi_align
from tests.models.smplerx.networks import figures


def bilinear(image: np.ndarray, y: float, x: float) -> np.ndarray:
    """One sample of (C, H, W), by the rule of RoIAlign for what lies outside."""
    height, width = image.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return np.zeros(len(image))
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    upper = (1 - dx) * image[:, top, left] + dx * image[:, top, right]
    lower = (1 - dx) * image[:, bottom, left] + dx * image[:, bottom, right]
    return np.asarray((1 - dy) * upper + dy * lower)


def definition(
    image: np.ndarray, box: np.ndarray, size: tuple[int, int], *, ratio: int, aligned: bool
) -> np.ndarray:
    """RoIAlign of one box, bin by bin and sample by sample, in float64."""
    x0, y0, x1, y1 = (float(v) - (0.5 if aligned else 0) for v in box)
    width, height = (x1 - x0, y1 - y0) if aligned else (max(x1 - x0, 1), max(y1 - y0, 1))
    bin_height, bin_width = height / size[0], width / size[1]
    down, across = (ratio or math.ceil(side) for side in (bin_height, bin_width))
    out = np.zeros((len(image), *size))
    for row in range(size[0]):
        for column in range(size[1]):
            samples = [
                bilinear(
                    image,
                    y0 + row * bin_height + (i + 0.5) * bin_height / down,
                    x0 + column * bin_width + (j + 0.5) * bin_width / across,
                )
                for i in range(down)
                for j in range(across)
            ]
            if samples:
                out[:, row, column] = np.mean(samples, axis=0)
    return out


BOXES = torch.tensor(
    [
        [1.3, 2.2, 9.7, 14.1],  # inside
        [-5.0, -3.3, 4.0, 6.0],  # over the edge
        [-0.9, -0.9, 12.8, 16.9],  # edge values
        [5.0, 6.0, 5.3, 6.1],  # smaller than a cell
        [8.0, 9.0, 3.0, 2.0],  # inside out
        [-90.0, 3.0, 110.0, 130.0],  # far larger than the map, several samples a bin
        [-7000.0, -40.0, 9000.0, 20.0],
        [40.0, 50.0, 60.0, 80.0],  # nowhere near
        [0.0, 0.0, 12.0, 16.0],  # the whole map
        [2.0, 2.0, 14.0, 14.0],  # sides are a multiple of the bins
    ]
)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [0, 1, 3])
@pytest.mark.parametrize("size", [(4, 4), (6, 3)])
def test_definition(aligned: bool, ratio: int, size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(3, 2, 16, 12, generator=generator, dtype=torch.float64)
    index = torch.arange(len(BOXES)) % 3
    found = roi_align(features, BOXES.double(), index, size, sampling_ratio=ratio, aligned=aligned)
    for n, box in enumerate(BOXES.numpy()):
        expected = definition(features[index[n]].numpy(), box, size, ratio=ratio, aligned=aligned)
        np.testing.assert_allclose(found[n].numpy(), expected, atol=1e-10, err_msg=str(box))


def test_random_boxes() -> None:
    rng = np.random.default_rng(2)
    features = rng.standard_normal((1, 1, 13, 7))
    centers, sides = rng.uniform(-6, 18, (60, 2)), rng.uniform(0.1, 40, (60, 2))
    boxes = np.concatenate([centers - sides / 2, centers + sides / 2], axis=1)
    found = roi_align(torch.tensor(features), torch.tensor(boxes), torch.zeros(60, dtype=torch.long), 5)
    for box, one in zip(boxes, found.numpy(), strict=True):
        np.testing.assert_allclose(
            one, definition(features[0], box, (5, 5), ratio=0, aligned=False), atol=1e-10
        )


def test_published_kernel() -> None:
    stored = figures("readouts")
    rois = torch.tensor(stored["roi/rois"])
    found = roi_align(torch.tensor(stored["roi/feat"]), rois[:, 1:], rois[:, 0].long(), 16)
    np.testing.assert_allclose(found.numpy(), stored["roi/out"], atol=1e-5, rtol=1e-5)


def test_one_box_a_map_needs_no_index() -> None:
    features = torch.randn(4, 2, 16, 12, generator=torch.Generator().manual_seed(0))
    expected = roi_align(features, BOXES[:4], torch.arange(4), 3)
    torch.testing.assert_close(roi_align(features, BOXES[:4], None, 3), expected)


def test_gradient_goes_to_the_features_alone() -> None:
    features = torch.randn(2, 1, 6, 5, dtype=torch.float64, requires_grad=True)
    boxes = torch.tensor(
        [[0.3, 0.7, 4.1, 5.2], [-2.0, 1.0, 3.0, 9.0]], dtype=torch.float64, requires_grad=True
    )
    assert torch.autograd.gradcheck(lambda x: roi_align(x, boxes, None, 3), (features,))
    roi_align(features, boxes, None, 3).sum().backward()  # type: ignore[no-untyped-call]
    assert boxes.grad is None


def test_numbers_that_are_no_box_give_zeros() -> None:
    features = torch.ones(3, 1, 6, 5)
    nan, inf = math.nan, math.inf
    boxes = torch.tensor([[nan, 0, 3, 3], [-inf, 0, inf, 3], [0, 0, 1e20, 3]])
    found = roi_align(features, boxes, None, 2)
    assert bool(found.isfinite().all())


def test_refused_boxes() -> None:
    with pytest.raises(UsageError, match="one per map unless batch_index"):
        roi_align(torch.zeros(2, 1, 4, 4), torch.zeros(3, 4), None, 2)
    with pytest.raises(UsageError, match=r"got boxes \(3, 5\)"):
        roi_align(torch.zeros(2, 1, 4, 4), torch.zeros(3, 5), torch.zeros(3, dtype=torch.long), 2)
