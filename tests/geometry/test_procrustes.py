from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch import Tensor

from hmtools.core.errors import GeometryError, UsageError
from hmtools.geometry.procrustes import pa_align, similarity
from hmtools.geometry.rotation import axis_angle_to_matrix, geodesic_angle

GOLDEN = Path(__file__).parents[1] / "golden" / "geometry"
seeds = st.integers(0, 2**32 - 1)
counts = st.integers(3, 30)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def moved(points: Tensor, seed: int, scale: bool = True) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch = points.shape[:-2]
    factor = normal(seed, *batch).exp() if scale else torch.ones(batch, dtype=torch.float64)
    rotation, shift = axis_angle_to_matrix(2 * normal(seed + 1, *batch, 3)), 5 * normal(seed + 2, *batch, 3)
    return factor[..., None, None] * points @ rotation.mT + shift[..., None, :], factor, rotation, shift


@settings(max_examples=80, deadline=None)
@given(seeds, counts, st.booleans())
def test_recovers_any_similarity(seed: int, count: int, scale: bool) -> None:
    source = normal(seed, 2, 3, count, 3)
    target, factor, rotation, shift = moved(source, seed, scale)
    found = similarity(source, target, scale=scale)
    torch.testing.assert_close(found.apply(source), target, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(found.scale, factor, atol=1e-9, rtol=1e-9)
    if count > 3:  # three points are a triangle: here and there a needle
        torch.testing.assert_close(found.rotation, rotation, atol=1e-9, rtol=1e-9)
        torch.testing.assert_close(found.translation, shift, atol=1e-8, rtol=1e-9)
    if scale:
        torch.testing.assert_close(pa_align(source, target), target, atol=1e-9, rtol=1e-9)
    else:
        assert found.scale.eq(1).all()


def residual(found: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    square = (found - target).square().sum(-1)
    return (square if weights is None else weights * square).sum(-1)


@settings(max_examples=80, deadline=None)
@given(seeds, counts, st.booleans(), st.booleans())
def test_nothing_nearby_is_better(seed: int, count: int, scale: bool, weighted: bool) -> None:
    source, target = normal(seed, 4, count, 3), normal(seed + 1, 4, count, 3)
    weights = normal(seed + 2, 4, count).abs() if weighted else None
    found = similarity(source, target, weights, scale=scale)
    best = residual(found.apply(source), target, weights)
    assert (best <= residual(source, target, weights) + 1e-9).all()  # the identity
    for trial in range(5):
        turn = axis_angle_to_matrix(0.1 * normal(seed + 9 * trial, 4, 3))
        factor = found.scale * (1 + 0.1 * normal(seed + trial, 4)) if scale else found.scale
        shift = found.translation + 0.1 * normal(seed + 2 * trial, 4, 3)
        other = factor[:, None, None] * source @ (turn @ found.rotation).mT + shift[:, None]
        assert (best <= residual(other, target, weights) + 1e-9).all()
    assert torch.linalg.det(found.rotation).sub(1).abs().max() < 1e-9


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_aligned_points_do_not_depend_on_where_the_source_was(seed: int) -> None:
    source, target = normal(seed, 3, 10, 3), normal(seed + 1, 3, 10, 3)
    elsewhere = moved(source, seed + 7)[0]
    torch.testing.assert_close(pa_align(elsewhere, target), pa_align(source, target), atol=1e-8, rtol=1e-8)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(
        pa_align(source[:, order], target[:, order]), pa_align(source, target)[:, order], atol=1e-9, rtol=1e-9
    )


def test_alignments_of_smplerx() -> None:
    with np.load(GOLDEN / "smplerx.npz") as file:
        stored = {key: torch.from_numpy(file[key]) for key in file.files if key.startswith("rigid_")}
    for case in ("noise", "mirror", "near"):
        found = pa_align(stored["rigid_A"], stored[f"rigid_{case}_B"])
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, stored[f"rigid_{case}_out"], atol=2e-5, rtol=1e-5)


def test_mirror_images_are_turned_not_reflected() -> None:
    source = normal(0, 5, 12, 3)
    found = similarity(source, source * torch.tensor([-1.0, 1, 1]))
    torch.testing.assert_close(torch.linalg.det(found.rotation), torch.ones(5, dtype=torch.float64))
    assert residual(found.apply(source), source * torch.tensor([-1.0, 1, 1])).min() > 0.1


def test_points_in_a_plane_or_on_a_line() -> None:
    source = normal(1, 6, 8, 3)
    source[:3, :, 2] = 0
    source[3:, :, 1:] = 0
    target, _, rotation, _ = moved(source, 2)
    found = similarity(source, target)
    torch.testing.assert_close(found.apply(source), target, atol=1e-9, rtol=1e-9)
    assert geodesic_angle(found.rotation, rotation)[:3].max() < 1e-7
    torch.testing.assert_close(torch.linalg.det(found.rotation), torch.ones(6, dtype=torch.float64))


def test_weights_pick_points() -> None:
    source = normal(3, 2, 10, 3)
    target = moved(source, 4)[0]
    spoiled = target.clone()
    spoiled[:, 7:] = torch.nan
    source[0, 8] = torch.inf
    weights = torch.ones(2, 10)
    weights[:, 7:] = 0
    found = similarity(source, spoiled, weights)
    torch.testing.assert_close(found.apply(source)[:, :7], target[:, :7], atol=1e-9, rtol=1e-9)
    doubled = similarity(
        torch.cat([source[1:, :7], source[1:, :1]], 1), normal(5, 1, 8, 3)[:, [*range(7), 0]]
    )
    weights = torch.ones(1, 7)
    weights[0, 0] = 2
    once = similarity(source[1:, :7], normal(5, 1, 8, 3)[:, :7], weights)
    torch.testing.assert_close(once.rotation, doubled.rotation)
    torch.testing.assert_close(once.scale, doubled.scale)


def test_single_precision_is_computed_in_double() -> None:
    source = (normal(6, 40, 3) + 25).float()  # 25 m away, as weak-perspective cameras are
    target = source.double() * 0.5 + 1
    found = similarity(source, target.float())
    assert found.scale.dtype == torch.float64
    assert abs(found.scale.item() - 0.5) < 1e-6
    assert found.apply(source).dtype == torch.float32


def bad_batch() -> tuple[Tensor, Tensor, Tensor]:
    source, target = normal(8, 2, 3, 5, 3), normal(9, 2, 3, 5, 3)
    source[0, 1] = 7.3  # all in one place
    target[1, 0] = 0
    source[1, 1, 2, 0] = math.nan
    weights = torch.ones(2, 3, 5)
    weights[1, 2, 2:] = 0
    return source, target, weights


def test_degenerate_items_are_named() -> None:
    source, target, weights = bad_batch()
    good = normal(10, 2, 3, 5, 3)
    with pytest.raises(GeometryError, match=r"1 of 6 items have points .* not finite; .* \(1, 1\)"):
        similarity(source, target)
    with pytest.raises(GeometryError, match=r"1 of 6 items have all source points .* \(0, 1\)"):
        similarity(source.nan_to_num(), target)
    with pytest.raises(GeometryError, match=r"1 of 6 items have all target points .* \(1, 0\)"):
        similarity(good, target)
    with pytest.raises(GeometryError, match=r"1 of 6 items have fewer than 3 .* \(1, 2\)"):
        similarity(good, good, weights)
    with pytest.raises(GeometryError, match=r"at least 3 points to align, got 2"):
        similarity(good[..., :2, :], good[..., :2, :])
    with pytest.raises(GeometryError, match=r"1 of 1 items have all source points"):
        pa_align(torch.ones(4, 3) * 0.1, good[0, 0, :4].float())


def test_one_place_is_one_place_whatever_rounding_makes_of_its_mean() -> None:
    one_place = normal(11, 200, 1, 3).expand(200, 7, 3) * 1e3
    weights = normal(12, 200, 7).abs() + 0.1
    for source, target in ((one_place, normal(13, 200, 7, 3)), (normal(13, 200, 7, 3), one_place)):
        found = similarity(source, target, weights, degenerate="nan")
        assert found.scale.isnan().all()
    near = similarity(one_place + 1e-6 * normal(14, 200, 7, 3), normal(13, 200, 7, 3))
    assert near.scale.isfinite().all()  # a nanometre per metre is not one place


def test_degenerate_items_may_be_nan() -> None:
    source, target, weights = bad_batch()
    found = similarity(source, target, weights, degenerate="nan")
    bad = torch.tensor([[False, True, False], [True, True, True]])
    assert found.scale.isnan().equal(bad)
    assert found.rotation.isnan().all(-1).all(-1).equal(bad)
    assert found.translation.isnan().all(-1).equal(bad)
    aligned = pa_align(source, target, weights, degenerate="nan")
    assert aligned.isnan().all(-1).all(-1).equal(bad)
    alone = pa_align(source[0, 2], target[0, 2])
    torch.testing.assert_close(aligned[0, 2], alone)


def test_wrong_shapes_are_named() -> None:
    wrong = (UsageError, TypeCheckError)  # the second when annotations are checked at run time
    with pytest.raises(wrong, match=r"one shape|Type-check error"):
        similarity(torch.zeros(4, 3), torch.zeros(5, 3))
    with pytest.raises(wrong, match=r"one shape|Type-check error"):
        similarity(torch.zeros(4, 2), torch.zeros(4, 2))
    with pytest.raises(wrong, match=r"weights of shape \(4,\), got \(5,\)|Type-check error"):
        similarity(torch.zeros(4, 3), torch.zeros(4, 3), torch.ones(5))
    with pytest.raises(UsageError, match=r"weights >= 0"):
        similarity(torch.zeros(4, 3), torch.zeros(4, 3), -torch.ones(4))
    empty = similarity(torch.zeros(0, 4, 3), torch.zeros(0, 4, 3))
    assert empty.rotation.shape == (0, 3, 3)
