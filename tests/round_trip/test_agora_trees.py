"""AGORA's other trees and options: large pictures, the lists of OSX, and the fits of SMPL."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hmtools
from hmtools.convert.run import convert
from hmtools.shards.reader import Shards
from hmtools.synth import make_miniature
from tests.round_trip.compare import mismatches


def converted(root: Path, out: Path, images: str | None = None, **options: str) -> dict[str, Shards]:
    reports = convert("agora", root=root, out=out, images=images, workers=0, progress=False, options=options)
    assert all(report.outcome.ok for report in reports)
    return {report.plan.task.split: hmtools.open(report.plan.task.out) for report in reports}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train: two images in both sizes, one only in the large one."""
    root = tmp_path_factory.mktemp("large") / "AGORA"
    make_miniature("agora", root, 3, 2, 7, (1280, 720), ("train",), variant="4k")
    return root


def test_large_pictures_are_taken_and_pixels_are_theirs(large: Path, tmp_path: Path) -> None:
    found = converted(large, tmp_path)
    assert mismatches(large, found) == []
    rows = [found["train"].row(index) for index in range(len(found["train"]))]
    assert {row["width"] for row in rows} == {3840}
    assert found["train"].manifest.agreement["keypoints2d_smplx_px"]["p99"] < 0.01


def test_the_same_people_on_small_pictures(large: Path, tmp_path: Path) -> None:
    (small,) = converted(large, tmp_path / "small", resolution="720p").values()
    (whole,) = converted(large, tmp_path / "whole", "none", resolution="4k").values()
    theirs = {row["key"]: row for row in (whole.row(index) for index in range(len(whole)))}
    assert small.manifest.rejected == {"image_missing": 2}  # the image without a small picture
    for index in range(len(small)):
        row = small.row(index)
        other = theirs[row["key"]]
        assert (row["width"], row["height"]) == (1280, 720)
        for name in ("keypoints2d_original", "keypoints2d_smplx"):
            np.testing.assert_allclose(3 * row[name][:, :2], other[name][:, :2], atol=1e-2)
        for name in ("focal_length", "principal_point"):
            np.testing.assert_allclose(3 * np.array(row[name]), other[name])
        np.testing.assert_allclose(3 * np.array(row["bbox_xywh"][:4]), other["bbox_xywh"][:4], atol=1e-2)
        for name in ("smplx_transl", "smplx_global_orient", "keypoints3d_smplx"):
            np.testing.assert_array_equal(row[name], other[name])


def test_lists_of_osx_and_boxes_of_the_test_split(tmp_path: Path) -> None:
    root = tmp_path / "AGORA"
    make_miniature("agora", root, 3, 2, 7, (1280, 720), ("train", "validation", "test"), variant="osx")
    found = converted(root, tmp_path)
    assert set(found) == {"train", "validation", "test"}
    assert mismatches(root, found, pixels=False) == []
    assert mismatches(root, {"test": found["test"]}) == []  # that of the others are in every tree


def test_fits_of_smpl(tmp_path: Path) -> None:
    """Their joints are in the data frames: derived ones must be the same, children's too."""
    root = tmp_path / "AGORA"
    make_miniature("agora", root, 2, 2, 7, (1280, 720), ("validation",))
    (shards,) = converted(root, tmp_path, body="smpl").values()
    assert len(shards) == 3
    for index in range(len(shards)):
        row = shards.row(index)
        assert row["gender"] == "neutral"
        np.testing.assert_allclose(row["keypoints3d_smpl"], row["keypoints3d_original"], atol=1e-5)
        np.testing.assert_allclose(row["keypoints2d_smpl"], row["keypoints2d_original"], atol=0.01)
        mesh = shards.mesh(index)
        assert mesh is not None
        assert mesh.shape == (6890, 3)
    assert sum(bool(shards.row(index)["kid"]) for index in range(len(shards))) == 2
