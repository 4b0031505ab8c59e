from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core.errors import GeometryError
from hmtools.geometry.box import WHAM_UNIT
from hmtools.geometry.camera import (
    box_intrinsics,
    crop_to_full_intrinsics,
    crop_to_full_translation,
    full_to_crop_intrinsics,
    full_to_crop_translation,
    switch_intrinsics,
    translation_to_weak,
    weak_to_translation,
)
from hmtools.geometry.crop import apply_affine, crop_affine
from hmtools.geometry.projection import project

Array = np.ndarray[Any, Any]
GOLDEN = Path(__file__).parents[1] / "golden" / "geometry"
seeds = st.integers(0, 2**32 - 1)


def golden(name: str) -> dict[str, Array]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


def weak_cameras(rng: np.random.Generator, *batch: int) -> Array:
    return np.concatenate([rng.uniform(0.3, 1.5, (*batch, 1)), rng.uniform(-1, 1, (*batch, 2))], axis=-1)


def flat_body(rng: np.random.Generator, *batch: int) -> Array:
    points = rng.uniform(-1, 1, (*batch, 9, 3))
    points[..., 2] = 0  # in the plane of the origin, weak and full perspective agree
    return points


@settings(max_examples=80, deadline=None)
@given(seeds, st.floats(100, 10_000), st.integers(64, 512))
def test_a_weak_camera_is_a_perspective_camera(seed: int, focal: float, size: int) -> None:
    rng = np.random.default_rng(seed)
    camera, body = weak_cameras(rng), flat_body(rng)
    translation = weak_to_translation(camera, focal, size)
    pixels = project(body + translation, focal, (size / 2, size / 2))
    np.testing.assert_allclose(
        pixels / size * 2 - 1, camera[0] * (body[:, :2] + camera[1:]), rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(translation_to_weak(translation, focal, size), camera, rtol=1e-12)


@settings(max_examples=80, deadline=None)
@given(seeds)
def test_the_full_image_shows_what_the_crop_shows(seed: int) -> None:
    """A point seen through the crop's camera, taken to the image by the crop's affine, or seen at once."""
    rng = np.random.default_rng(seed)
    camera, body = weak_cameras(rng), flat_body(rng)
    centre, side, size = rng.uniform(0, 2000, 2), float(rng.uniform(50, 900)), 256
    principal, focal = rng.uniform(300, 1500, 2), float(rng.uniform(300, 4000))
    affine = crop_affine(centre, (side, side), (size, size), convention="corners")
    in_crop = project(body + weak_to_translation(camera, 5000, size), 5000, (size / 2, size / 2))
    full = crop_to_full_translation(camera, centre, side, focal, principal)
    in_image = project(body + full, focal, principal)
    np.testing.assert_allclose(apply_affine(affine, in_image), in_crop, atol=1e-7)
    back = full_to_crop_translation(full, centre, side, focal, principal)
    np.testing.assert_allclose(back, camera, atol=1e-9)


def test_full_image_translations_in_batches_and_as_tensors() -> None:
    rng = np.random.default_rng(0)
    camera, centre, side = (
        weak_cameras(rng, 2, 4),
        rng.uniform(0, 900, (2, 4, 2)),
        rng.uniform(50, 400, (2, 4)),
    )
    found = crop_to_full_translation(camera, centre, side, 1200, (640, 360))
    one = crop_to_full_translation(camera[1, 2], centre[1, 2], side[1, 2], 1200, (640, 360))
    np.testing.assert_allclose(found[1, 2], one)
    tensor = torch.tensor(camera, requires_grad=True)
    same = crop_to_full_translation(tensor, torch.tensor(centre), torch.tensor(side), 1200, (640, 360))
    np.testing.assert_allclose(same.detach(), found)

    def function(x: torch.Tensor) -> torch.Tensor:
        full = crop_to_full_translation(x, centre, side, 1200, (640, 360))
        return full_to_crop_translation(full, centre, side, 1200, (640, 360)) + weak_to_translation(x, 5, 2)

    assert torch.autograd.gradcheck(function, (tensor,))
    single = weak_to_translation(torch.tensor([[0.9, 0.1, 0.2]]), 5000.0, 256)
    assert single.dtype == torch.float32
    assert single.tolist() == [pytest.approx([0.1, 0.2, 10_000 / (256 * 0.9)], rel=1e-6)]


def test_cameras_of_hmr2() -> None:
    stored = golden("hmr2")
    centre, side, sizes = stored["box_center"], stored["box_size"], stored["img_size"]
    for key, focal in (("cam_full", 5000 / 256 * sizes.max()), ("cam_full_f5000", 5000)):
        found = crop_to_full_translation(stored["crop_cam"], centre, side, focal, sizes / 2)
        np.testing.assert_allclose(found, stored[key], rtol=1e-5)
    turned = np.einsum("bij,bnj->bni", stored["rotation"], stored["points"])
    for points, principal, expected in (
        (stored["points"], 0.0, stored["proj"]),
        (turned, stored["center"][:, None], stored["proj_full"]),
    ):
        moved = points + stored["translation"][:, None]
        found = project(moved, stored["focal"][:, None], principal)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_cameras_of_wham() -> None:
    stored = golden("wham")
    box, size = stored["bbox"], stored["res"][:, None]
    focal = stored["focal"]
    np.testing.assert_allclose(focal[:, 0], np.hypot(*stored["res"].T), rtol=1e-4)
    full = crop_to_full_translation(stored["cam"], box[..., :2], WHAM_UNIT * box[..., 2], focal, size / 2)
    np.testing.assert_allclose(full, stored["full_cam"], rtol=1e-5, atol=1e-5)
    pixels = project(
        stored["points"] + full[..., None, :], focal[:, None, None], (size / 2)[:, None], behind="nan"
    )
    expected = stored["full_2d"]
    scale = np.maximum(1, np.abs(expected))
    assert np.nanmax(np.abs(pixels - expected) / scale) < 1e-4
    weak = weak_to_translation(stored["cam"], 5000, 224)
    np.testing.assert_allclose(weak, stored["weak_cam"], rtol=1e-5)
    in_crop = project(stored["points"] + weak[..., None, :], 5000, 0.0) / 112
    np.testing.assert_allclose(in_crop, stored["weak_2d"], rtol=1e-4, atol=1e-5)


@settings(max_examples=80, deadline=None)
@given(seeds)
def test_intrinsics_of_a_crop_and_of_its_image_see_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    box = np.array([*rng.uniform(-50, 900, 2), *rng.uniform(30, 600, 2)])
    affine = crop_affine(box[:2] + box[2:] / 2, box[2:], (192, 256), convention="corners")
    points = rng.uniform(-2, 2, (9, 3)) + np.array([0, 0, 5])
    focal, principal = crop_to_full_intrinsics(5000.0, (96.0, 128.0), affine)
    in_crop = project(points, 5000.0, (96.0, 128.0))
    np.testing.assert_allclose(apply_affine(affine, project(points, focal, principal)), in_crop, atol=1e-7)
    back = full_to_crop_intrinsics(focal, principal, affine)
    np.testing.assert_allclose(back[0], [5000, 5000])
    np.testing.assert_allclose(back[1], [96, 128], atol=1e-9)
    # and that is what SMPLer-X writes
    written = box_intrinsics(box)
    np.testing.assert_allclose(written, [focal, principal], atol=1e-8)
    x, y, w, h = box
    np.testing.assert_allclose(written[0], [5000 / 192 * w, 5000 / 256 * h])
    np.testing.assert_allclose(written[1], [96 / 192 * w + x, 128 / 256 * h + y])


@settings(max_examples=80, deadline=None)
@given(seeds)
def test_switching_intrinsics_keeps_the_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference, translation = rng.uniform(-1, 1, 3), rng.uniform(-1, 1, 3) + np.array([0, 0, 6])
    f1, f2 = rng.uniform(300, 5000, (2, 2))
    c1, c2 = rng.uniform(0, 1500, (2, 2))
    moved = switch_intrinsics(translation, f1, c1, f2, c2, reference=reference)
    before = project(reference + translation, f1, c1)
    np.testing.assert_allclose(project(reference + moved, f2, c2), before, atol=1e-8)
    # a square of a metre there covers the same area
    area = [np.prod(f / (reference + t)[2]) for f, t in ((f1, translation), (f2, moved))]
    assert area[1] == pytest.approx(area[0])
    back = switch_intrinsics(moved, f2, c2, f1, c1, reference=reference)
    np.testing.assert_allclose(back, translation, atol=1e-9)
    tensor = switch_intrinsics(torch.tensor(translation), f1, c1, f2, c2, reference=reference)
    np.testing.assert_allclose(tensor, moved)


def test_switching_intrinsics_in_figures() -> None:
    found = switch_intrinsics(np.array([[0.1, 0, 4.0]]), 1000, (500, 400), 500, (500, 400))
    np.testing.assert_allclose(found, [[0.1, 0, 2.0]])
    found = switch_intrinsics(np.array([[0.1, 0, 4.0]]), 1000, (500, 400), 1000, (400, 400))
    np.testing.assert_allclose(found, [[0.5, 0, 4.0]])


def test_numbers_without_an_answer() -> None:
    cameras = np.array([[1.0, 0, 0], [0.0, 0, 0]])
    with pytest.raises(GeometryError, match=r"1 of 2 weak-perspective cameras .* \(1,\)"):
        weak_to_translation(cameras, 5000, 256)
    with pytest.raises(GeometryError, match=r"1 of 2 crop cameras .* \(1,\)"):
        crop_to_full_translation(cameras, (0, 0), 100, 1000, (0, 0))
    with pytest.raises(GeometryError, match="2 of 2 crop cameras"):
        crop_to_full_translation(cameras, (0, 0), 0, 1000, (0, 0))
    for function in (translation_to_weak, lambda t, f, b: full_to_crop_translation(t, (0, 0), b, f, (0, 0))):
        with pytest.raises(GeometryError, match=r"1 of 1 translations"):
            function(np.zeros(3), 1000, 100)
    with pytest.raises(GeometryError, match="1 of 1 boxes have no area"):
        box_intrinsics([0, 0, 0, 10])
    assert weak_to_translation(torch.zeros(3), 5000.0, 256)[2] == torch.inf
    for affine in (
        crop_affine((50, 50), (20, 20), (64, 64), 10.0),
        crop_affine((50, 50), (20, 20), (64, 64), flip=True),
        np.zeros((2, 3)),
    ):
        for convert in (crop_to_full_intrinsics, full_to_crop_intrinsics):
            with pytest.raises(GeometryError, match="only scales and shifts"):
                convert(5000.0, (32, 32), affine)
