"""Alignments of point sets, against a second implementation and where there is no clear answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.bench.alignment import masked_mean, pa_distances, pa_lengths, root_distances
from hmtools.core.errors import UsageError
from hmtools.geometry.procrustes import pa_align
from hmtools.geometry.rotation import axis_angle_to_matrix
from tests.bench.reference import pa_residual


def clouds(seed: int, count: int = 30, batch: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, count, 3, generator=rng) + torch.tensor([0.0, 0.0, 25.0])
    return x, x + 0.2 * torch.randn(batch, count, 3, generator=rng) - torch.tensor([3.0, 1.0, 22.0])


def by_one(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    pairs = zip(x.numpy(), y.numpy(), strict=True)
    return torch.tensor(np.stack([pa_residual(a, b) for a, b in pairs]), dtype=torch.float32)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(4, 40),
    axis=st.integers(0, 2),
    mirrored=st.booleans(),
)
def test_pa_is_that_of_the_other_implementations(seed: int, count: int, axis: int, mirrored: bool) -> None:
    x, y = clouds(seed, count)
    if mirrored:
        x[..., axis] *= -1
    found = pa_distances(x, y)
    torch.testing.assert_close(found, by_one(x, y), rtol=0, atol=5e-5)
    torch.testing.assert_close(found, (pa_align(x, y) - y).norm(dim=-1), rtol=0, atol=5e-5)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    turn=st.tuples(*[st.floats(-3, 3)] * 3),
    scale=st.floats(0.01, 100),
)
def test_pa_knows_no_similarity_and_no_order(seed: int, turn: tuple[float, ...], scale: float) -> None:
    x, y = clouds(seed)
    x = x - torch.tensor([0.0, 0.0, 25.0])
    order = torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(seed))
    moved = scale * x @ axis_angle_to_matrix(torch.tensor(turn)).T + 0.5
    torch.testing.assert_close(
        pa_distances(moved[:, order], y[:, order]), pa_distances(x, y)[:, order], rtol=0, atol=1e-4
    )


def test_a_mirror_image_does_not_fit() -> None:
    x, _ = clouds(3)
    mirrored = x * torch.tensor([-1.0, 1.0, 1.0])
    assert float(pa_distances(mirrored, x).mean(1).min()) > 0.3


def test_points_in_a_plane_or_on_a_line() -> None:
    x, y = clouds(4)
    for flat in (torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])):
        for a, b in ((x * flat, y * flat), (x * flat, y), (x, y * flat)):
            torch.testing.assert_close(pa_distances(a, b), by_one(a, b), rtol=0, atol=1e-4)
    plane = x * torch.tensor([1.0, 1.0, 0.0])
    turned = plane @ axis_angle_to_matrix(torch.tensor([0.3, 2.0, -1.0])).T
    assert float(pa_distances(turned, plane).max()) < 1e-5


@pytest.mark.parametrize("place", [0.0, 25.0])
def test_points_in_one_place(place: float) -> None:
    x, _ = clouds(5)
    one = torch.full_like(x, place)
    middle = x - x.mean(1, keepdim=True)
    torch.testing.assert_close(pa_distances(one, x), middle.norm(dim=-1), rtol=0, atol=1e-5)
    assert float(pa_distances(x, one).max()) < 1e-5
    assert float(pa_distances(one, one + 1).max()) == 0
    almost = one + 1e-9 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(pa_distances(almost, x), middle.norm(dim=-1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf, 1e38])
def test_one_bad_point_is_nan_for_its_set_alone(bad: float) -> None:
    x, y = clouds(6)
    for which in (0, 1):
        pair = [x.clone(), y.clone()]
        pair[which][2, 4, 1] = bad
        found = pa_distances(*pair)
        assert found.isfinite().any(1).tolist() == [True, True, False, True, True]
        assert bad == 1e38 or found[2].isnan().all()
        torch.testing.assert_close(found[[0, 1, 3, 4]], pa_distances(x, y)[[0, 1, 3, 4]])


def test_sets_of_several_shapes_at_once() -> None:
    (x, y), (a, b) = clouds(7), clouds(8, 9, 6)
    pairs = [
        ((p - p.mean(1, keepdim=True)).mT, (q - q.mean(1, keepdim=True)).mT) for p, q in ((x, y), (a, b))
    ]
    hands = (pairs[1][0].reshape(3, 2, 3, 9), pairs[1][1].reshape(3, 2, 3, 9))
    whole, two = pa_lengths([pairs[0], hands])
    torch.testing.assert_close(whole, pa_distances(x, y))
    torch.testing.assert_close(two.flatten(0, 1), pa_distances(a, b))


def test_roots_and_means() -> None:
    x = torch.tensor([[[0.0, 0, 0], [3, 0, 0], [0, 4, 0]]])
    found = root_distances(x, x + 5, x[:, 0], x[:, 1] + 5)
    assert found.tolist() == [[3.0, 3.0, 3.0]]
    counted = torch.tensor([[True, False, False]])
    values = torch.tensor([[1.0, 2.0, 6.0]])
    assert masked_mean(values, None).tolist() == [3.0]
    assert masked_mean(values, ~counted).tolist() == [4.0]
    assert masked_mean(values, counted & ~counted).isnan().all()
    with_nan = torch.tensor([[1.0, torch.nan, 6.0]])
    assert masked_mean(with_nan, counted).tolist() == [1.0], "what does not count may be anything"


def test_shapes_that_differ_are_refused() -> None:
    x, y = clouds(9)
    with pytest.raises(UsageError, match="one shape"):
        pa_distances(x, y[:, :5])
