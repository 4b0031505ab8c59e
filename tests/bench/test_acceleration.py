"""Acceleration along tracks with and without gaps."""

from __future__ import annotations

import pytest
import torch

from hmtools.bench.acceleration import acceleration, acceleration_error
from hmtools.core.errors import UsageError


def falling(count: int, pull: float, joints: int = 3) -> torch.Tensor:
    """Joints that fall with ``pull`` m/s^2, 30 frames per second, 25 m away."""
    time = torch.arange(count, dtype=torch.float64)[:, None, None] / 30
    places = torch.arange(joints * 3, dtype=torch.float64).reshape(1, joints, 3) / 10 + 20
    return (places + time * 0.5 + torch.tensor([0, pull / 2, 0]) * time**2).float()


def test_a_fall_has_the_acceleration_of_the_earth() -> None:
    frames = torch.arange(8)
    found = acceleration(falling(8, 9.81), frames, 30.0)
    assert found[[0, -1]].isnan().all()
    torch.testing.assert_close(found[1:-1], torch.full((6,), 9810.0), rtol=0, atol=8.0)
    assert float(acceleration(falling(8, 0.0), frames, 30.0)[1:-1].max()) < 8.0  # float32, 20 m away


def test_an_error_is_a_difference_of_vectors() -> None:
    frames = torch.arange(6)
    found = acceleration_error(falling(6, -3.0), falling(6, 4.0) + 5, frames, 30.0)
    torch.testing.assert_close(found[1:-1], torch.full((4,), 7000.0), rtol=0, atol=15.0)
    same = falling(6, 4.0)
    assert float(acceleration_error(same, same, frames, 30.0)[1:-1].max()) == 0


def test_gaps_have_no_acceleration() -> None:
    frames = torch.tensor([3, 4, 5, 7, 8, 9, 10])
    found = acceleration(falling(11, 9.81)[frames], frames, 30.0)
    assert found.isnan().tolist() == [True, False, True, True, False, False, True]
    for short in (0, 1, 2):
        assert acceleration(falling(short, 1.0), torch.arange(short), 30.0).isnan().all()


def test_frames_out_of_order_are_refused() -> None:
    with pytest.raises(UsageError, match="rising"):
        acceleration(falling(3, 1.0), torch.tensor([0, 2, 2]), 30.0)
    with pytest.raises(UsageError, match="one frame number per pose, found 2"):
        acceleration(falling(3, 1.0), torch.arange(2), 30.0)
    with pytest.raises(UsageError, match="one shape"):
        acceleration_error(falling(3, 1.0), falling(3, 1.0, 2), torch.arange(3), 30.0)
