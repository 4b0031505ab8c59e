from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hmtools.core.errors import UsageError
from hmtools.geometry.rotation import axis_angle_to_matrix
from hmtools.infer.model import Model
from hmtools.infer.predict import predict, predict_crops, samples_of, without_crop
from hmtools.shards.reader import Sample, Shards
from tests.bench.testset_shards import TestSets

_POSES = ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose")


@pytest.fixture(scope="module")
def shards(test_sets: TestSets) -> Shards:
    return test_sets["pw3d"]


@pytest.fixture(scope="module")
def alone(model: Model, shards: Shards) -> dict[str, dict[str, Any]]:
    """Key -> row of a person who was predicted alone."""
    return predicted(model, list(shards), 1)


def predicted(model: Model, samples: list[Sample], batch: int) -> dict[str, dict[str, Any]]:
    rows = predict(model.network, samples, "cpu", ratio=1.2, batch=batch)
    return {row["key"]: row for row in rows}


def rotations(row: dict[str, Any]) -> torch.Tensor:
    poses = [torch.tensor(row[f"smplx_{name}"]).reshape(-1, 3) for name in _POSES]
    return axis_angle_to_matrix(torch.cat(poses))


@pytest.mark.parametrize("batch", [3, 5])
def test_numbers_depend_on_neither_batch_nor_order(
    model: Model, shards: Shards, alone: dict[str, dict[str, Any]], batch: int
) -> None:
    found = predicted(model, list(shards)[::-1], batch)
    assert list(found) == list(alone)[::-1]
    for key, row in found.items():
        torch.testing.assert_close(rotations(row), rotations(alone[key]), atol=1e-4, rtol=0)
        np.testing.assert_allclose(row["smplx_transl"], alone[key]["smplx_transl"], rtol=1e-4)
        np.testing.assert_array_equal(row["crop_affine"], alone[key]["crop_affine"])
    first, *_, last = alone.values()
    assert (rotations(first) - rotations(last)).abs().max() > 1e-2  # or all would be alike


def test_joints_and_camera_speak_of_the_whole_image(alone: dict[str, dict[str, Any]]) -> None:
    for row in alone.values():
        x = row["joints3d"][:, :3].astype(np.float64)
        seen = x[:, :2] / x[:, 2:] * row["focal_length"] + row["principal_point"]
        # 0.1 mm of depth are added before the published projection.
        np.testing.assert_allclose(row["joints2d"][:, :2], seen, atol=0.05 + 1e-4 * np.abs(seen).max())
        np.testing.assert_array_equal(row["joints2d"][:, 2], 1)


def test_people_without_a_crop_are_told_apart(model: Model, shards: Shards) -> None:
    whole = shards[0]
    box = np.array([900, 900, 50, 50, 1], np.float32)
    cases = {
        "": whole,
        "no_image": replace(whole, image=None),
        "no_box": replace(whole, record={**whole.record, "bbox_xywh": None}),
        "box_outside_image": replace(whole, record={**whole.record, "bbox_xywh": box}),
    }
    assert {name: without_crop(sample) for name, sample in cases.items()} == {name: name for name in cases}
    rows = list(predict(model.network, cases.values(), "cpu", ratio=1.2))
    assert [row["key"] for row in rows] == [whole.record["key"]]


def test_convolutions_are_whole_float32_and_the_setting_is_put_back(
    model: Model, shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    forward = model.network.forward

    def noting(crop: torch.Tensor, *, vertices: bool = False) -> Any:
        seen.append(torch.backends.cudnn.allow_tf32)
        return forward(crop, vertices=vertices)

    monkeypatch.setattr(model.network, "forward", noting)
    list(predict(model.network, samples_of(shards, [0]), "cpu", ratio=1.2))
    assert seen == [False]
    assert torch.backends.cudnn.allow_tf32
    with pytest.raises(UsageError, match="one or more crops"):
        predict_crops(model.network, [], "cpu")


def test_samples_come_in_the_order_asked_for(shards: Shards) -> None:
    keys = [sample.record["key"] for sample in samples_of(shards, [3, 0, 2], threads=2, ahead=2)]
    assert keys == [shards.row(row)["key"] for row in (3, 0, 2)]
