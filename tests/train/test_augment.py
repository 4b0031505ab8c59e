from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.core.errors import UsageError
from hmtools.geometry.crop import apply_affine, compose_affine, crop_window, invert_affine, network_box
from hmtools.train.augment import (
    CROP,
    Augmentation,
    augmentations,
    augmented_affine,
    check_window,
)
from hmtools.train.recipe import AugmentSpec
from tests.train.published_draws import published

FIGURES = Path(__file__).parents[1] / "golden/smplerx/preprocess.npz"


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    names = ("aug_config/", "process_bbox/", "augmentation/", "patch/")
    with np.load(FIGURES) as data:
        return {name: data[name] for name in data.files if name.startswith(names)}


def test_published_draws(figures: dict[str, Any]) -> None:
    flips = set()
    for seed, (scale, rotation, *colour, flip) in enumerate(figures["aug_config/out_f64"].tolist()):
        found = published(seed)
        assert found.scale == pytest.approx(scale, abs=1e-12)
        assert found.rotation == pytest.approx(rotation, abs=1e-12)
        assert found.colour == pytest.approx(colour, abs=1e-12)
        assert found.flip == bool(flip)
        flips.add(found.flip)
    assert flips == {True, False}


@pytest.mark.parametrize("ratio", [1.2, 0.9996, 1.25])
def test_published_boxes(figures: dict[str, Any], ratio: float) -> None:
    for (x, y, w, h, width, height), expected in zip(
        figures["process_bbox/in"].tolist(), figures[f"process_bbox/r{ratio:g}"], strict=True
    ):
        found = network_box((x, y, w, h), int(width), int(height), ratio)
        if np.isnan(expected).any():
            assert found is None
        else:
            assert found is not None
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_published_matrices(figures: dict[str, Any]) -> None:
    mirror = np.array([[-1, 0, 319], [0, 1, 0]])  # theirs act on the mirrored image, 320 pixels wide
    for (*box, scale, rotation, flip), expected in zip(
        figures["patch/par_f64"].tolist(), figures["patch/trans"], strict=True
    ):
        varied = Augmentation(scale=scale, rotation=rotation, flip=bool(flip))
        found = augmented_affine(box, varied)
        np.testing.assert_allclose(
            compose_affine(found, mirror) if flip else found, expected, rtol=1e-5, atol=1e-4
        )


def test_own_draws_have_the_published_distribution() -> None:
    found = augmentations(AugmentSpec(), 1, 0, np.arange(20_000))
    scales = np.array([one.scale for one in found])
    rotations = np.array([one.rotation for one in found])
    colours = np.array([one.colour for one in found])
    assert (scales.min(), scales.max()) == (0.75, 1.25)
    assert abs((scales == 1.25).mean() - 0.1587) < 0.01
    assert abs((rotations != 0).mean() - 0.6) < 0.01
    assert (rotations.min(), rotations.max()) == (-60, 60)
    assert abs(rotations[rotations != 0].std() - 28.8) < 0.8  # of 30 n, n cut at 2
    assert 0.8 <= colours.min() < 0.801
    assert 1.199 < colours.max() <= 1.2
    assert abs(np.mean([one.flip for one in found]) - 0.5) < 0.01
    everything = np.column_stack([scales, rotations, colours, [one.flip for one in found]])
    assert abs(np.corrcoef(everything.T) - np.eye(6)).max() < 0.03


def test_draws_follow_from_seed_epoch_and_position() -> None:
    spec, positions = AugmentSpec(), np.arange(50)
    whole = augmentations(spec, 3, 1, positions)
    assert augmentations(spec, 3, 1, positions[20:23]) == whole[20:23]
    assert augmentations(spec, 4, 1, positions) != whole
    assert augmentations(spec, 3, 0, positions) != whole


def test_no_augmentation() -> None:
    spec = AugmentSpec(scale=0, rotation=0, colour=0, flip_probability=0)
    found = augmentations(spec, 0, 0, np.arange(100))
    assert set(found) == {Augmentation()}


@pytest.mark.parametrize("ratio", [1.0, 1.2, 1.25])
def test_what_is_allowed_stays_inside_stored_crops(ratio: float) -> None:
    """At the limit of what :func:`check_window` lets through, no crop looks beyond the stored window."""
    wide = AugmentSpec(scale=0.52, rotation=30)
    check_window(wide, ratio, ratio, "set")
    with pytest.raises(UsageError, match=r"reduce augment\.scale"):
        check_window(AugmentSpec(scale=0.53, rotation=30), ratio, ratio, "set")
    check_window(AugmentSpec(scale=0.85, rotation=0), ratio, ratio, "set")  # upright: 1.9 times the box
    rng, spec = np.random.default_rng(0), wide
    for number, varied in enumerate(augmentations(spec, 0, 0, np.arange(400))):
        box = (*rng.uniform(300, 500, 2), *rng.uniform(20, 200, 2))
        window = crop_window(box, 1000, 1000, box_ratio=ratio)
        found = network_box(box, 1000, 1000, ratio)
        assert window is not None
        assert found is not None
        back = invert_affine(augmented_affine(found, varied))
        corners = apply_affine(back, [[0, 0], [CROP[0], 0], [0, CROP[1]], list(CROP)])
        assert (corners >= (window.x0 - 1, window.y0 - 1)).all(), number
        assert (corners <= (window.x1 + 1, window.y1 + 1)).all(), number
