"""Labels have the official keys, lengths and types, and each quirk does what its name says."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hmtools.synth.actors import Posed, make_actors, pose_actors
from hmtools.synth.coco_labels import PARTS, crowd_label, person_label
from hmtools.synth.scene import make_figure

LENGTHS = {"keypoints": 51, "foot_kpts": 18, "face_kpts": 204, "lefthand_kpts": 63, "righthand_kpts": 63}


@cache
def bodies() -> list[Posed]:
    return pose_actors(make_actors(np.random.default_rng(0), 15, 1, up="-y", spacing=0), vertices=False)


def label(*quirks: str, seed: int = 0, complete: bool = False) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    overhang = 0.35 if "partly_outside" in quirks else 0.0
    figure = make_figure(rng, bodies()[seed], 320, 240, overhang=overhang)
    return person_label(rng, figure, 320, 240, quirks, complete=complete)


def points(values: list[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array(values, dtype=np.float64).reshape(-1, 3)


@pytest.mark.parametrize("quirk", ["", "partly_outside", "invalid_lefthand", "no_keypoints"])
@pytest.mark.parametrize("seed", range(15))
def test_every_label_is_well_formed(quirk: str, seed: int) -> None:
    made = label(quirk, seed=seed)
    for key, length in LENGTHS.items():
        assert len(made[key]) == length
        found = points(made[key])
        unlabelled = found[:, 2] == 0
        assert (found[unlabelled] == 0).all()
        assert (found[:, :2] >= 0).all()
        assert (found[:, :2] <= [319, 239]).all()
    assert all(type(value) is int for value in made["keypoints"])
    assert all(type(value) is float for value in made["face_kpts"] + made["bbox"] + made["face_box"])
    assert set(points(made["keypoints"])[:, 2]) <= {0, 1, 2}
    assert made["num_keypoints"] == (points(made["keypoints"])[:, 2] > 0).sum()
    assert (made["num_keypoints"] == 0) == (quirk == "no_keypoints")
    for part in PARTS:
        assert made[f"{part}_valid"] == any(points(made[f"{part}_kpts"])[:, 2] > 0)
        if part != "foot":
            assert made[f"{part}_valid"] == any(made[f"{part}_box"])


@pytest.mark.parametrize("seed", range(15))
def test_part_boxes_hold_their_points(seed: int) -> None:
    made = label(seed=seed)
    for part in ("face", "lefthand", "righthand"):
        shown = points(made[f"{part}_kpts"])
        shown = shown[shown[:, 2] > 0, :2]
        x, y, width, height = made[f"{part}_box"]
        assert (shown >= [x, y]).all()
        assert (shown <= [x + width, y + height]).all()
        assert x + width <= 320
        assert y + height <= 240


@pytest.mark.parametrize("seed", range(15))
def test_a_mixture_has_all_three_kinds(seed: int) -> None:
    assert set(points(label(seed=seed)["keypoints"])[:, 2]) == {0, 1, 2}


def test_complete_labels_everything() -> None:
    made = label(complete=True)
    assert made["num_keypoints"] == 17
    assert all((points(made[key])[:, 2] > 0).all() for key in LENGTHS)
    assert all(type(value) is int for value in made["foot_kpts"])
    assert all(type(value) is float for value in label()["foot_kpts"])


def test_polygon_box_and_area_agree() -> None:
    made = label(complete=True)
    polygon = np.array(made["segmentation"][0]).reshape(-1, 2)
    x, y, width, height = made["bbox"]
    np.testing.assert_allclose(
        [*polygon.min(axis=0), *np.ptp(polygon, axis=0)], [x, y, width, height], atol=0.01
    )
    assert 0.2 * width * height < made["area"] < width * height


@pytest.mark.parametrize("part", ["face", "lefthand"])
def test_invalid_part_is_all_zeros(part: str) -> None:
    made = label(f"invalid_{part}", complete=True)
    assert made[f"{part}_valid"] is False
    assert not any(made[f"{part}_kpts"] + made[f"{part}_box"])
    assert made["righthand_valid"] is True


def test_zero_area_hand_keeps_flag_and_points() -> None:
    made = label("zero_area_hand", complete=True)
    assert made["righthand_valid"] is True
    assert made["righthand_box"][2] * made["righthand_box"][3] == 0
    assert any(made["righthand_kpts"])


def test_fractions_are_small_but_positive() -> None:
    made = label("fractional_visibility", complete=True)
    for part in ("face", "righthand"):
        visible = points(made[f"{part}_kpts"])[:, 2]
        assert ((visible > 0) & (visible < 0.5)).all()


def test_box_beyond_the_edge_is_not_clipped() -> None:
    made = label("partly_outside")
    assert made["bbox"][0] < -10
    assert min(made["segmentation"][0]) >= 0
    assert made["rejected"] is None


def test_rejections_are_named() -> None:
    assert label()["rejected"] is None
    assert "num_keypoints is 0" in label("no_keypoints")["rejected"]
    empty = label("empty_box")
    assert empty["bbox"][2] == 0
    assert empty["num_keypoints"] > 0
    assert "no area" in empty["rejected"]


@given(arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 1)))
@settings(deadline=None)
def test_run_lengths_give_the_region_back(mask: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    if not mask.any():
        mask[0, 0] = 1
    made = crowd_label(mask)
    runs = made["segmentation"]["counts"]
    flat = np.repeat(np.arange(len(runs)) % 2, runs)
    np.testing.assert_array_equal(flat.reshape(mask.shape, order="F"), mask)
    assert made["segmentation"]["size"] == list(mask.shape)
    assert made["area"] == mask.sum()
    x, y, width, height = made["bbox"]
    assert mask[y : y + height, x : x + width].sum() == mask.sum()
    assert made["iscrowd"] == 1
    assert not any(made["keypoints"] + made["face_kpts"])
