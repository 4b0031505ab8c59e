"""3DPW without the json of published rows, and with the SMPL-X fits that SMPLer-X trains on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hmtools
from hmtools.convert.run import convert
from hmtools.datasets import neural_annot, pw3d_people
from hmtools.datasets.pw3d import Pw3d
from hmtools.humandata.record import Record
from hmtools.shards.reader import Shards
from hmtools.synth import make_miniature, read_truth
from tests.round_trip.case import Mutation, changed
from tests.round_trip.cases.pw3d import other_recording
from tests.round_trip.compare import mismatches

TREES = {"official": "smpl", "neuralannot": "smplx"}


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Variant of the tree -> its miniature."""
    base = tmp_path_factory.mktemp("pw3d")
    for variant in TREES:
        make_miniature("pw3d", base / variant, 4, 2, 5, (240, 320), ("test",), variant=variant)
    return {variant: base / variant for variant in TREES}


def converted(worlds: Mapping[str, Path], variant: str, out: Path, **options: Any) -> dict[str, Shards]:
    body = {"body": TREES[variant]}
    (report,) = convert(
        "pw3d",
        root=worlds[variant],
        out=out,
        splits=["test"],
        options=body,
        workers=0,
        progress=False,
        **options,
    )
    assert report.outcome.ok, report.outcome.failed
    return {"test": hmtools.open(report.plan.task.out)}


@pytest.mark.parametrize("variant", TREES)
def test_nothing_is_lost_or_moved(worlds: dict[str, Path], variant: str, tmp_path: Path) -> None:
    found = converted(worlds, variant, tmp_path)
    assert mismatches(worlds[variant], found) == []
    manifest = found["test"].manifest
    left_out = [person.rejected for person in read_truth(worlds[variant]).people if person.rejected]
    assert (manifest.rejected, sum(manifest.filtered.values())) == ({}, len(left_out))
    assert manifest.rows == ("derived" if variant == "official" else "official")
    assert manifest.needs == []


def _all_cameras_valid(data: dict[str, Any]) -> dict[str, Any]:
    return data | {"campose_valid": [np.ones_like(flags) for flags in data["campose_valid"]]}


def _box_not_padded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pw3d_people, "BOX_PADDING", 1.0)


def _box_of_found_points(record: Record) -> None:
    if record.keypoints2d_original is not None:
        points = record.keypoints2d_original[record.keypoints2d_original[:, 2] > 0, :2]
        low, high = points.min(axis=0), points.max(axis=0)
        record.bbox_xywh = [*(low - 0.1 * (high - low)), *(1.2 * (high - low)), 1.0]


def _fits_moved_again(record: Record) -> None:
    rotation, shift = record.world_to_cam[:, :3], record.world_to_cam[:, 3]
    record.smplx_transl = rotation @ record.smplx_transl + shift


def _gender_of_the_recording(record: Record) -> None:
    record.gender = "male"


def _hands_at_rest(record: Record) -> None:
    record.smplx_left_hand_pose = record.smplx_right_hand_pose = np.zeros(45)


def _fits_of_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    real = neural_annot._of

    def of(fits: Any, ids: Any) -> Any:
        own = real(fits, ids).copy()
        own[:, 1:3] = np.roll(own[:, 1:3], 1, axis=0)
        return own

    monkeypatch.setattr(neural_annot, "_of", of)


MUTATIONS: dict[str, tuple[str, Mutation]] = {
    "people whose camera is wrong kept": ("official", other_recording(_all_cameras_valid)),
    "box of joints not padded": ("official", _box_not_padded),
    "box of the found points": ("official", changed(Pw3d, _box_of_found_points)),
    "fits moved into the camera frame again": ("neuralannot", changed(Pw3d, _fits_moved_again)),
    "fits in the gender of the recording": ("neuralannot", changed(Pw3d, _gender_of_the_recording)),
    "hands where there are none": ("neuralannot", changed(Pw3d, _hands_at_rest)),
    "fits of other people": ("neuralannot", _fits_of_neighbours),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_every_rule_matters(
    worlds: dict[str, Path], mutation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variant, mutate = MUTATIONS[mutation]
    mutate(monkeypatch)
    found = converted(worlds, variant, tmp_path, images="none")
    assert mismatches(worlds[variant], found, pixels=False) != []
