from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hmtools.core.errors import UsageError
from hmtools.core.image import opencv
from hmtools.humandata.keypoints import convention, flip_pairs, flip_permutation
from hmtools.models.vitpose_crop import person_regions
from hmtools.models.vitpose_decode import (
    _newton,
    cells_to_image,
    decode,
    find_peaks,
    merge_flipped,
    refine_peaks,
)
from tests.models import vitpose_figures as figures

FLIP = flip_permutation("coco_17").tolist()


def maps(k: int = 4) -> Tensor:
    return torch.from_numpy(figures.inputs("heatmaps", k))


def regions(count: int = 4) -> Tensor:
    return torch.from_numpy(person_regions(figures.inputs("boxes")[:count])).float()


def close(found: Any, expected: Any, tolerance: float) -> None:
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=tolerance)


def blobs(at: np.ndarray, height: int = 64, width: int = 48, deviation: float = 2.0) -> Tensor:
    """Maps (1, K, H, W) with a Gaussian of peak 1 at each of (K, 2) places."""
    y, x = np.mgrid[:height, :width]
    squared = (x - at[:, 0, None, None]) ** 2 + (y - at[:, 1, None, None]) ** 2
    return torch.from_numpy(np.exp(-squared / (2 * deviation**2))[None].astype(np.float32))


def test_the_maps_are_those_of_the_figures() -> None:
    flat = maps().flatten(2).double()
    found = torch.stack(
        [
            flat.mean(2),
            flat.std(2, correction=0),
            flat.amin(2),
            flat.amax(2),
            flat.abs().mean(2),
            flat.norm(dim=2),
        ],
        2,
    )
    close(found, figures.numbers("decode")["heatmaps_stats"], 1e-6)


def test_peaks() -> None:
    golden = figures.numbers("decode")
    peaks, scores = find_peaks(maps())
    np.testing.assert_array_equal(peaks, golden["argmax/preds"])
    np.testing.assert_array_equal(scores, golden["argmax/maxvals"][..., 0])
    assert (golden["argmax/preds"][3, 2] == [20, 30]).all()  # the first cell of a plateau


def test_refined_keypoints() -> None:
    golden = figures.numbers("decode")
    valid = golden["udp/valid"]
    heatmaps = maps()
    peaks, _ = find_peaks(heatmaps)
    close(refine_peaks(heatmaps, peaks)[valid], golden["udp/heatmap_coords"][valid], 2e-4)
    found = decode(heatmaps, regions())
    close(found[..., :2][valid], golden["udp/preds"][valid], 5e-3)
    np.testing.assert_array_equal(found[..., 2], golden["udp/maxvals"][..., 0])
    alone = decode(heatmaps[:1], regions(1))
    close(alone[..., :2], golden["udp/one_person"], 5e-3)


def test_the_blur_of_larger_crops() -> None:
    golden = figures.numbers("decode")
    valid = golden["udp/valid"]
    refined = refine_peaks(maps(), find_peaks(maps())[0], 17)
    close(cells_to_image(refined, regions())[valid], golden["udp17/preds"][valid], 5e-3)


def test_joints_without_positive_value_stay_unrefined() -> None:
    valid = figures.numbers("decode")["udp/valid"]
    heatmaps = maps()
    peaks, scores = find_peaks(heatmaps)
    assert (~valid).sum() == 2
    assert (peaks[~valid] == -1).all()
    assert (refine_peaks(heatmaps, peaks)[~valid] == -1).all()
    np.testing.assert_array_equal(scores.numpy() > 0, valid)
    found = decode(heatmaps, regions())[~valid]
    assert (found[:, 2] <= 0).all()
    assert torch.isfinite(found).all()


def test_flip_merge() -> None:
    golden = figures.numbers("decode")
    assert [list(pair) for pair in flip_pairs("coco_17")] == golden["flip/pairs"].tolist()
    assert [n.replace("_extra", "") for n in convention("coco_17").names] == golden[
        "flip/joint_names"
    ].tolist()
    mirrored = maps(8)
    back = merge_flipped(torch.zeros_like(mirrored), 2 * mirrored, FLIP)
    np.testing.assert_array_equal(back[:, :, ::8, ::4], golden["flip/back_shift0_sub"])
    merged = merge_flipped(maps(), mirrored, FLIP)
    np.testing.assert_array_equal(merged[:, :, ::8, ::4], golden["flip/merged_shift0_sub"])
    stable = golden["flip/stable_shift0"]
    assert stable.mean() > 0.9
    refined = refine_peaks(merged, find_peaks(merged)[0])
    close(refined[stable], golden["flip/coords_shift0"][stable], 2e-4)


def test_cells_in_the_image() -> None:
    points = np.random.default_rng([0, 7]).uniform(0, 48, (17, 2)).astype(np.float32)
    found = cells_to_image(torch.from_numpy(points).expand(8, -1, -1), regions(8))
    close(found, figures.numbers("decode")["transform/udp1"], 5e-3)


def blurred_everywhere(heatmaps: Tensor, blur: int) -> np.ndarray:
    """What OpenCV makes of every map, (N, K, H, W)."""
    cv2 = opencv()
    flat = heatmaps.flatten(0, 1).numpy()
    return np.stack([cv2.GaussianBlur(one, (blur, blur), 0) for one in flat]).reshape(heatmaps.shape)


def newton(blurred: np.ndarray, x: int, y: int) -> np.ndarray:
    """One joint, with matrices, in float64."""
    log = np.pad(np.log(np.clip(blurred.astype(np.float64), 1e-3, 50)), 1, mode="edge")
    x, y = x + 1, y + 1
    slope = np.array([log[y, x + 1] - log[y, x - 1], log[y + 1, x] - log[y - 1, x]]) / 2
    dxx = log[y, x + 1] - 2 * log[y, x] + log[y, x - 1]
    dyy = log[y + 1, x] - 2 * log[y, x] + log[y - 1, x]
    cross = log[y + 1, x + 1] - log[y, x + 1] - log[y + 1, x] + 2 * log[y, x]
    cross = (cross - log[y, x - 1] - log[y - 1, x] + log[y - 1, x - 1]) / 2
    hessian = np.array([[dxx, cross], [cross, dyy]]) + 1.19e-7 * np.eye(2)
    found: np.ndarray = np.array([x - 1, y - 1]) - np.linalg.solve(hessian, slope)
    return found


@pytest.mark.parametrize(
    ("height", "width", "peak"), [(64, 48, 0.8), (96, 72, 103.0), (96, 72, 20.0), (7, 5, 0.8), (3, 4, 0.8)]
)
def test_refinement_is_its_definition_on_whole_maps(height: int, width: int, peak: float) -> None:
    """Also on maps that are smaller than the blur, at borders, and where the logarithm's bounds are met."""
    rng = np.random.default_rng(height)
    places = rng.uniform(0, [width - 1, height - 1], (30, 2))
    heatmaps = blobs(places, height, width) * peak + 0.02 * torch.from_numpy(rng.random((30, height, width)))
    heatmaps = heatmaps.float()
    peaks, _ = find_peaks(heatmaps)
    blurred = blurred_everywhere(heatmaps, 11)
    expected = [newton(b, int(x), int(y)) for b, (x, y) in zip(blurred[0], peaks[0].tolist(), strict=True)]
    found = refine_peaks(heatmaps, peaks)[0].numpy()
    step = np.abs(np.array(expected) - peaks[0].numpy()).max(1)
    assert (step < 3).mean() > 0.5
    np.testing.assert_allclose(found[step < 3], np.array(expected)[step < 3], rtol=0, atol=2e-3)


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_gaussians_are_found_where_they_are(seed: int) -> None:
    places = np.random.default_rng(seed).uniform([8, 8], [39, 55], (17, 2))
    heatmaps = blobs(places)
    close(refine_peaks(heatmaps, find_peaks(heatmaps)[0])[0], places, 5e-3)


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_results_are_per_joint_and_person(seed: int) -> None:
    rng = np.random.default_rng(seed)
    heatmaps = torch.from_numpy(rng.normal(0, 0.3, (3, 5, 12, 9)).astype(np.float32)) + 0.2
    boxes = torch.from_numpy(rng.uniform(1, 100, (3, 4)).astype(np.float32))
    whole = decode(heatmaps, boxes)
    for person in range(3):
        for joint in range(5):
            one = decode(heatmaps[person : person + 1, joint : joint + 1], boxes[person : person + 1])
            np.testing.assert_allclose(one[0, 0], whole[person, joint], rtol=1e-4, atol=1e-3)


def test_mirrored_maps_give_mirrored_points() -> None:
    """Only where the mixed derivative, which the definition takes on one diagonal, is that of a Gaussian."""
    places = np.random.default_rng(3).uniform([8, 8], [39, 55], (17, 2))
    heatmaps = blobs(places)
    found = decode(heatmaps, torch.tensor([[0.0, 0.0, 47.0, 63.0]]))[0]
    mirrored = decode(heatmaps.flip(-1), torch.tensor([[0.0, 0.0, 47.0, 63.0]]))[0]
    close(47 - mirrored[:, 0], found[:, 0], 1e-2)
    close(mirrored[:, 1], found[:, 1], 1e-2)


def test_flat_maps_stay_about_where_they_are() -> None:
    flat = torch.full((1, 1, 64, 48), 0.5)
    peaks, scores = find_peaks(flat)
    assert peaks.tolist() == [[[0, 0]]]
    assert scores.tolist() == [[0.5]]
    assert refine_peaks(flat, peaks).abs().max() < 1  # rounding over next to nothing
    tiny = torch.zeros(1, 1, 64, 48)
    tiny[0, 0, 10, 20] = 1e-4  # below what the logarithm is clipped to
    assert refine_peaks(tiny, find_peaks(tiny)[0]).tolist() == [[[20, 10]]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_types_of_numbers(dtype: torch.dtype) -> None:
    heatmaps = maps()[:2].to(dtype)
    peaks, scores = find_peaks(heatmaps)
    assert scores.dtype == dtype
    refined = refine_peaks(heatmaps, peaks)
    assert refined.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    again = heatmaps.float()
    close(refined, refine_peaks(again, find_peaks(again)[0]), 1e-4)
    found = decode(heatmaps, regions(2))
    assert found.dtype == torch.float32
    close(found, decode(again, regions(2)), 1e-3)


def test_the_numbers_are_those_of_float32_under_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = decode(maps()[:2], regions(2))
    np.testing.assert_array_equal(found, decode(maps()[:2], regions(2)))


@pytest.mark.gpu
def test_on_a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    found = decode(maps().cuda(), regions().cuda()).cpu()
    close(found, decode(maps(), regions()), 5e-3)


def test_lines_are_refined_across_only() -> None:
    """A line does not say where on it the joint is; rounding must not either."""
    places = np.array([[20.3, 30.0], [25.8, 30.0]])
    lines = blobs(places)[:, :, 30:31].expand(-1, -1, 64, -1).double()
    found = refine_peaks(lines, torch.tensor([[[20.0, 17.0], [26.0, 40.0]]], dtype=torch.float64))[0]
    close(found, [[20.3, 17], [25.8, 40]], 1e-2)


def test_patches_without_a_top_are_not_refined() -> None:
    """Exactly singular in float32: a diagonal line."""
    diagonal = torch.tensor([[-8.0, -2.0, 0.0], [-2.0, 0.0, -2.0], [0.0, -2.0, -8.0]])
    for patch in (diagonal.flip(-1), diagonal.flip(-1) + torch.tensor([0.0, 1.0, 2.0])):
        assert _newton(patch[None, None]).tolist() == [[[0.0, 0.0]]]


def test_nobody() -> None:
    assert decode(torch.zeros(0, 17, 64, 48), torch.zeros(0, 4)).shape == (0, 17, 3)


def test_wrong_use_is_named() -> None:
    with pytest.raises(UsageError, match=r"\(N, K, H, W\), got torch\.float32 \(17, 64, 48\)"):
        decode(maps()[0], regions())
    with pytest.raises(UsageError, match=r"got torch\.int64"):
        find_peaks(torch.zeros(1, 1, 4, 4, dtype=torch.long))
    with pytest.raises(UsageError, match=r"regions: expected \(4, 4\), got \(3, 4\)"):
        decode(maps(), regions(3))
    with pytest.raises(UsageError, match=r"peaks: expected \(4, 17, 2\)"):
        refine_peaks(maps(), torch.zeros(4, 16, 2))
    for blur in (10, 1):
        with pytest.raises(UsageError, match="odd number"):
            refine_peaks(maps(), torch.zeros(4, 17, 2), blur)
    with pytest.raises(UsageError, match="1 cells"):
        refine_peaks(torch.ones(1, 1, 1, 9), torch.zeros(1, 1, 2))
    with pytest.raises(UsageError, match="permutation"):
        merge_flipped(maps(), maps(), FLIP[:-1])
    with pytest.raises(UsageError, match="one shape"):
        merge_flipped(maps(), maps()[:3], FLIP)
