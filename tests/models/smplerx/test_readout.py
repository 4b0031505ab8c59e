from __future__ import annotations

import numpy as np
import torch

from hmtools.geometry.rotation import axis_angle_to_matrix
from hmtools.models.smplerx.readout import (
    full_precision,
    restore_boxes,
    rotations_from_6d,
    sample_at,
    soft_argmax,
    volume_softmax,
)
from tests.models.smplerx.networks import figures


def stored(name: str) -> torch.Tensor:
    return torch.tensor(figures("readouts")[name])


def test_published_soft_argmax() -> None:
    for which in "23":
        found = soft_argmax(volume_softmax(stored(f"soft_argmax/in{which}")))
        torch.testing.assert_close(found, stored(f"soft_argmax/out{which}"), atol=1e-5, rtol=1e-5)


def test_soft_argmax_of_one_cell() -> None:
    logits = torch.zeros(1, 2, 4, 6, 5)
    logits[0, 0, 3, 5, 1] = 1000
    found = soft_argmax(volume_softmax(logits))
    assert found[0, 0].tolist() == [1, 5, 3]
    torch.testing.assert_close(found[0, 1], torch.tensor([2.0, 2.5, 1.5]))


def test_published_samples() -> None:
    found = sample_at(stored("sample/feat"), stored("sample/xy"))
    torch.testing.assert_close(found, stored("sample/out"), atol=1e-5, rtol=1e-5)


def test_samples_at_cells_and_outside() -> None:
    features = torch.arange(24.0).reshape(1, 2, 4, 3)
    points = torch.tensor([[[2.0, 3.0], [0.5, 1.0], [2.5, 0.0], [9.0, 9.0]]])
    found = sample_at(features, points)[0]
    torch.testing.assert_close(found, torch.tensor([[11.0, 23], [3.5, 15.5], [1.0, 7], [0, 0]]))


def test_published_boxes() -> None:
    center, size = stored("restore_bbox/center"), stored("restore_bbox/size")
    for part, extension in (("hand", 2.0), ("face", 1.5)):
        found = restore_boxes(center, size, extension)
        torch.testing.assert_close(found, stored(f"restore_bbox/{part}"), atol=1e-3, rtol=1e-5)


def test_published_rotations() -> None:
    numbers, expected = stored("rot6d/in"), stored("rot6d/out")
    found = rotations_from_6d(numbers)
    torch.testing.assert_close(axis_angle_to_matrix(found), axis_angle_to_matrix(expected), atol=2e-6, rtol=0)
    turning = expected.norm(dim=1) < 3.14159  # below a half turn the vector itself is the same
    torch.testing.assert_close(found[turning], expected[turning], atol=1e-5, rtol=1e-5)
    assert int(turning.sum()) > 40
    # Row by row, also for three, where the published code is not.
    wrong = stored("rot6d/out_batch_of_3")
    assert (wrong - expected[:3]).abs().max() > 0.1
    torch.testing.assert_close(rotations_from_6d(numbers[:3]), expected[:3], atol=1e-5, rtol=1e-5)


def test_six_numbers_that_are_no_rotation() -> None:
    numbers = torch.tensor([[0.0] * 6, [1.0, 2, 0, 0, 0, 0], [torch.nan, 0, 0, 1, 0, 0]])
    half_turns = torch.tensor([[0.0, np.pi, 0], [np.pi, 0, 0], [0, 0, 0]])
    torch.testing.assert_close(rotations_from_6d(numbers), half_turns)


def test_gradients_of_rotations() -> None:
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(40, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rotations_from_6d, (numbers,))
    identity = torch.tensor([[1.0, 0, 0, 1, 0, 0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rotations_from_6d, (identity,))


class Doubling:
    @full_precision
    def forward(self, x: torch.Tensor, *, matrix: torch.Tensor) -> torch.Tensor:
        return x @ matrix


def test_full_precision_switches_autocast_off() -> None:
    matrix = 2 * torch.eye(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for x in (torch.full((1, 2), 1.001), torch.full((1, 2), 1.5, dtype=torch.bfloat16)):
            found = Doubling().forward(x, matrix=matrix)
            assert found.dtype == torch.float32
            assert found.tolist() == (2 * x.float()).tolist()
        assert (torch.eye(2) @ matrix).dtype == torch.bfloat16
    on_meta = Doubling().forward(torch.empty(3, 2, device="meta"), matrix=matrix.to("meta"))
    assert on_meta.shape == (3, 2)
