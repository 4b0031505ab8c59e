"""Distances of derived from annotated joints, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.humandata.agreement import agreement, distances, percentiles
from hmtools.humandata.keypoints import mapping
from hmtools.humandata.record import Record
from hmtools.humandata.schema import RecordSpec

SPEC = RecordSpec("mini", "val", "coco_17", "smplx_144", ("smplx", "smpl"))


def record(shift: float = 0.0) -> Record:
    """Derived joints at their number; labels moved by 3-4-5 triangles, ``shift`` times."""
    derived = np.ones((144, 4), np.float32) * np.arange(144)[:, None]
    derived[:, 3] = 1
    labels = derived + shift * np.array([0.003, 0.004, 0, 0], np.float32)
    pairs = mapping("coco_17", "smplx_144")
    flat = np.zeros((17, 3), np.float32)
    flat[pairs.src] = np.column_stack([derived[pairs.dst, :2] + shift * np.array([3.0, 4.0]), pairs.src >= 0])
    return Record(
        keypoints3d_smplx=derived,
        keypoints2d_smplx=np.column_stack([derived[:, :2], derived[:, 3]]),
        keypoints2d_original=flat,
        keypoints3d_original=labels,
    )


def test_distances_are_in_pixels_and_millimetres() -> None:
    found = distances(record(2.0), SPEC)
    assert set(found) == {"keypoints2d_smplx_px", "keypoints3d_smplx_mm"}
    assert found["keypoints2d_smplx_px"] == pytest.approx(10.0, abs=1e-4)
    assert found["keypoints3d_smplx_mm"] == pytest.approx(10.0, abs=0.02)  # float32 at 143 m
    assert len(found["keypoints3d_smplx_mm"]) == 144
    # the same or another definition of the same point
    assert len(found["keypoints2d_smplx_px"]) == mapping("coco_17", "smplx_144").mask.sum() < 17


def test_joints_that_either_side_does_not_know_are_left_out() -> None:
    one = record(1.0)
    one.keypoints3d_smplx[:100, 3] = 0
    one.keypoints3d_original[120:, 3] = 0
    assert len(distances(one, SPEC)["keypoints3d_smplx_mm"]) == 20
    one.keypoints2d_original[:, 2] = 0
    assert "keypoints2d_smplx_px" not in distances(one, SPEC)


def test_what_a_set_does_not_have_is_not_compared() -> None:
    assert distances(record(), RecordSpec("mini", "val", None, None, ("smplx",))) == {}
    assert distances(Record(), SPEC) == {}


def test_percentiles_of_known_distances() -> None:
    bins = agreement(record(2.0), SPEC)
    found = percentiles({name: dict(own) for name, own in bins.items()})["keypoints2d_smplx_px"]
    assert found["joints"] == bins["keypoints2d_smplx_px"].total()
    assert 10.0 <= found["p50"] <= 10.45
    assert found["p50"] == found["p99"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200))
def test_percentiles_are_never_below_nor_far_above_the_true_ones(values: list[float]) -> None:
    from hmtools.humandata.agreement import _bins

    bins, counts = np.unique(_bins(np.array(values)), return_counts=True)
    (found,) = percentiles({"x": dict(zip(bins.tolist(), counts.tolist(), strict=True))}).values()
    for percent in (50, 95, 99):
        true = np.percentile(values, percent, method="inverted_cdf")
        assert true * 0.9995 <= found[f"p{percent}"] <= max(true * 1.046, 0.00098)


def test_no_joints_no_percentiles() -> None:
    assert percentiles({}) == {}
