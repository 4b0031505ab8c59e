from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hmtools.core.errors import GeometryError, UsageError
from hmtools.humandata.keypoints import flip_permutation
from hmtools.models.published_weights import Decoder
from hmtools.models.sizes import SIZES
from hmtools.models.vitpose import ViTPose
from hmtools.models.vitpose_crop import crop_people, normalise, person_regions
from hmtools.models.vitpose_decode import decode, find_peaks, merge_flipped, refine_peaks
from tests.models import vitpose_figures as figures

FLIP = flip_permutation("coco_17").tolist()
# golden facts, section 2: millions of parameters
PARAMETERS = {
    "s_classic": 24.29, "s_simple": 21.72, "b_classic": 89.99, "b_simple": 85.91,
    "l_classic": 308.5, "l_simple": 303.5, "h_classic": 637.2, "h_simple": 631.1,
}  # fmt: skip


@pytest.mark.parametrize("variant", PARAMETERS)
def test_names_shapes_and_types_are_those_of_the_official_files(variant: str) -> None:
    size, _, decoder = variant.partition("_")
    assert decoder in ("classic", "simple")
    net = figures.meta_network(size, decoder)  # type: ignore[arg-type]
    ours = {n: (list(t.shape), str(t.dtype).removeprefix("torch.")) for n, t in net.state_dict().items()}
    assert ours == {name: tuple(entry) for name, entry in figures.keys()[f"vitpose_{variant}"].items()}
    millions = sum(p.numel() for p in net.parameters()) / 1e6
    assert abs(millions / PARAMETERS[variant] - 1) < 3e-4


def test_keys_hold_nothing_but_these_variants() -> None:
    assert sorted(figures.keys()) == sorted(f"vitpose_{variant}" for variant in PARAMETERS)


def test_heatmaps_of_s() -> None:
    golden = figures.numbers("forward")
    image = torch.from_numpy(figures.inputs("network_image"))
    np.testing.assert_array_equal(image[:, :, ::32, ::32], golden["input_sub"])
    with torch.inference_mode():
        nets = figures.both("s")
        features, tokens = nets["simple"].backbone(image)
        mirrored_features, _ = nets["simple"].backbone(image.flip(-1))
        assert tokens.shape[1] == 0
        for decoder, net in nets.items():
            close(features[:, ::24], golden[f"{decoder}/features_sub"], 2e-5)
            heatmaps, mirrored = net.keypoint_head(features), net.keypoint_head(mirrored_features)
            close(heatmaps, golden[f"{decoder}/heatmap"], 2e-5)
            close(mirrored[:, :, ::8, ::8], golden[f"{decoder}/heatmap_flipped_input_sub"], 2e-5)
            # The bias is added last: what the figures did to it is the same done to the maps.
            heatmaps, mirrored = heatmaps + 5, mirrored + 5
            merged = merge_flipped(heatmaps, mirrored, FLIP)
            close(merged[:, :, ::8, ::8], golden[f"{decoder}/merged_plus5_sub"], 2e-5)
            check_keypoints(merged, golden, decoder)


def check_keypoints(merged: Tensor, golden: dict[str, np.ndarray], decoder: Decoder) -> None:
    stable = golden[f"{decoder}/stable"]
    assert stable.mean() > 0.4
    peaks, _ = find_peaks(merged)
    np.testing.assert_array_equal(peaks, golden[f"{decoder}/argmax"])
    close(refine_peaks(merged, peaks)[stable], golden[f"{decoder}/refined"][stable], 2e-2)
    regions = person_regions(figures.inputs("boxes")[:2])
    close(regions[:, :2] + regions[:, 2:] / 2, golden["center"], 1e-3)
    close(regions[:, 2:] / 200, golden["scale"], 1e-5)
    found, expected = decode(merged, torch.from_numpy(regions)), golden[f"{decoder}/preds"]
    close(found[stable][:, :2], expected[stable][:, :2], 0.2)
    close(found[..., 2], expected[..., 2], 2e-5)


def close(found: Any, expected: Any, tolerance: float) -> None:
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=tolerance)


def stats(heatmaps: Tensor) -> np.ndarray:
    """(K, 6) of the maps of one person."""
    flat = heatmaps[0].flatten(1).double()
    columns = [
        flat.mean(1),
        flat.std(1, correction=0),
        flat.amin(1),
        flat.amax(1),
        flat.abs().mean(1),
        flat.norm(dim=1),
    ]
    return np.asarray(torch.stack(columns, 1))


def check_size(net: ViTPose, size: str, decoder: Decoder) -> None:
    golden = figures.numbers("forward_sizes")
    with torch.inference_mode():
        heatmaps = net(torch.from_numpy(figures.inputs("network_image", b=1)))
    close(heatmaps[:, :, ::4, ::4], golden[f"{size}_{decoder}/heatmap_sub"], 2e-5)
    found, expected = stats(heatmaps), golden[f"{size}_{decoder}/joint_stats"]
    close(found[:, :5], expected[:, :5], 2e-5)
    close(found[:, 5], expected[:, 5], 2e-5 * 3072**0.5)  # of the norm of 64 x 48 values


def test_heatmaps_of_b() -> None:
    for decoder, net in figures.both("b").items():
        check_size(net, "b", decoder)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "decoder"), [("l", "simple"), ("h", "classic")])
def test_heatmaps_of_large_sizes(size: str, decoder: Decoder) -> None:
    check_size(figures.filled(figures.meta_network(size, decoder)), size, decoder)


def test_new_weights_are_as_published() -> None:
    torch.manual_seed(0)
    net = ViTPose(SIZES["tiny"])
    head = net.keypoint_head.state_dict()
    for name, value in head.items():
        if value.dim() == 4:
            assert 0.8e-3 < value.std() < 1.2e-3, name
            assert value.mean().abs() < 2e-4, name
    assert torch.count_nonzero(head["final_layer.bias"]) == 0
    assert all(p.requires_grad for p in net.parameters())


# What follows is about the way from images to keypoints, with a tiny network.


def tiny(decoder: Decoder = "simple", convention: str = "coco_17") -> ViTPose:
    torch.manual_seed(0)
    net = ViTPose(SIZES["tiny"], decoder=decoder, convention=convention)
    with torch.no_grad():
        for parameter in net.keypoint_head.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        net.get_parameter("keypoint_head.final_layer.bias").add_(1.0)
    return net.eval()


def pictures() -> list[np.ndarray]:
    photo = figures.inputs("photo")
    return [photo, np.ascontiguousarray(photo[100:400, 50:300]), photo[::-1]]


def steps(net: ViTPose, images: Sequence[np.ndarray], boxes: np.ndarray, index: Sequence[int]) -> Tensor:
    regions = person_regions(boxes)
    pixels = normalise(torch.from_numpy(crop_people(images, regions, index)))
    with torch.inference_mode():
        merged = merge_flipped(net(pixels), net(pixels.flip(-1)), FLIP)
    return decode(merged, torch.from_numpy(regions))


@pytest.mark.parametrize("decoder", ["classic", "simple"])
def test_estimate_is_crop_network_flip_test_and_decoding(decoder: Decoder) -> None:
    net, images, boxes = tiny(decoder), pictures(), figures.inputs("boxes")
    index = [0, 1, 2, 0, 0, 2, 1, 1]
    found = net.estimate(images, boxes, index)
    assert found.shape == (8, 17, 3)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    expected = steps(net, images, boxes, index).numpy()
    close(found[..., 2], expected[..., 2], 1e-5)
    close(found, expected, 2e-2)


def test_people_do_not_depend_on_who_else_is_in_the_batch() -> None:
    net, images, boxes = tiny(), pictures(), figures.inputs("boxes")
    index = [0, 1, 2, 0, 0, 2, 1, 1]
    found = net.estimate(images, boxes, index, batch=3)
    for i in (0, 4, 7):
        alone = net.estimate([images[index[i]]], boxes[i : i + 1])
        close(alone[0, :, 2], found[i, :, 2], 1e-5)
        close(alone[0], found[i], 2e-2)


def test_images_and_boxes_are_paired() -> None:
    net, images, boxes = tiny(), pictures(), figures.inputs("boxes")
    one = net.estimate(images[:1], boxes[:4])
    np.testing.assert_array_equal(one, net.estimate(images, boxes[:4], [0, 0, 0, 0]))
    pairs = net.estimate(images, boxes[:3])
    np.testing.assert_array_equal(pairs, net.estimate(images, boxes[:3], np.arange(3)))
    assert net.estimate(images, []).shape == (0, 17, 3)
    assert net.estimate([], np.empty((0, 4))).shape == (0, 17, 3)


def test_flip_test_makes_mirrored_people_mirrored() -> None:
    net, photo = tiny("classic"), pictures()[0]
    box = np.array([[200.0, 90.0, 120.0, 200.0]])
    width = photo.shape[1]
    mirrored_box = box.copy()
    # A region has its outer pixels' centres on its edges: the mirror of x is W - 1 - x for both of them.
    mirrored_box[:, 0] = width - 1 - box[:, 0] - box[:, 2]
    found = net.estimate([photo], box)[0]
    mirrored = net.estimate([np.ascontiguousarray(photo[:, ::-1])], mirrored_box)[0][FLIP]
    close(mirrored[:, 2], found[:, 2], 1e-2)
    plain = net.estimate([photo], box, flip_test=False)[0]
    assert np.abs(plain[:, 2] - found[:, 2]).max() > 1e-3


def test_a_network_that_sees_red_finds_it() -> None:
    """RGB in, and every coordinate on the way: the maps are where the picture is red."""

    def red(image: Tensor) -> Tensor:
        found = nn.functional.avg_pool2d(image[:, :1] - image[:, 2:], 5, stride=1, padding=2)
        rows, columns = torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 48)
        grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1).expand(len(image), 64, 48, 2)
        return nn.functional.grid_sample(found, grid, align_corners=True).expand(-1, 17, -1, -1)

    net = tiny()
    net.forward = red  # type: ignore[method-assign]
    y, x = np.mgrid[:480, :640]
    where = np.array([[250.3, 180.6], [400.8, 333.2]])
    image = np.zeros((480, 640, 3), np.uint8)
    for u, v in where:
        blob = np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 8.0**2))
        image[..., 0] = np.maximum(image[..., 0], np.round(255 * blob))
    boxes = np.concatenate([where - [47, 80], np.full((2, 2), [90.0, 170.0])], 1)
    found = net.estimate([image], boxes)
    close(found[..., :2], np.repeat(where[:, None], 17, 1), 0.3)


def test_lower_precision_agrees() -> None:
    net, images, boxes = tiny("classic"), pictures()[:1], figures.inputs("boxes")
    full = net.estimate(images, boxes)
    half = net.to(torch.bfloat16).estimate(images, boxes)
    assert half.dtype == np.float32
    close(half[..., 2], full[..., 2], 5e-2)


def test_other_conventions() -> None:
    net = tiny("classic", "coco_wholebody_133")
    assert net.estimate(pictures()[:1], [[10, 10, 50, 90]]).shape == (1, 133, 3)
    assert ViTPose(SIZES["tiny"], convention="coco").convention == "coco_17"
    with pytest.raises(UsageError, match="coco_17"):
        ViTPose(SIZES["tiny"], convention="coco_18")


Call = Callable[[ViTPose], object]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: ViTPose(SIZES["tiny"], decoder="sample"), "'classic' or 'simple', got 'sample'"),  # type: ignore[arg-type]
        (lambda net: net.train().estimate(pictures()[:1], [[0, 0, 9, 9]]), "training mode"),
        (lambda net: net.estimate(pictures()[:1], [[0, 0, 9, 9]], batch=0), "at least 1"),
        (lambda net: net.estimate(pictures()[:2], [[0, 0, 9, 9]]), "1 boxes for 2 images"),
        (lambda net: net.estimate(pictures()[:1], [[0, 0, 9, 9]], [0, 0]), "for each of 1 boxes"),
        (lambda net: net.estimate(pictures()[:1], [[0, 0, 9, 9]], 0), r"got shape \(\)"),
        (lambda net: net.estimate(pictures()[:1], [[0, 0, 9, 9]], [1]), "numbered from 0"),
        (lambda net: net.estimate(pictures()[:1], [[0, 0, 9, 9]], [0.0]), "expected integers"),
        (lambda net: net.estimate(pictures()[0], [[0, 0, 9, 9]], [0]), "sequence of RGB uint8"),
        (lambda net: net.estimate([pictures()[0] / 255], [[0, 0, 9, 9]]), "got float64"),
        (lambda net: net(torch.zeros(1, 3, 192, 256)), "256, 192"),
    ],
)
def test_wrong_use_is_named(call: Call, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call(tiny())


def test_boxes_without_answer_are_named() -> None:
    with pytest.raises(GeometryError, match=r"2 of 3 boxes have no area .* index \(1,\)"):
        tiny().estimate(pictures()[:1], [[0.0, 0, 9, 9], [0.0, 0, 0, 9], [0, 0, np.nan, 9]])
