from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hmtools
from hmtools.bodies.assets import load_model as load_body
from hmtools.bodies.assets import standin_dir
from hmtools.core.atomic import file_sha256
from hmtools.core.errors import AssetError, CheckpointError, UsageError
from hmtools.core.settings import load_settings
from hmtools.infer.model import Model, devices_here, find_weights, model_name, with_body
from hmtools.infer.people import COLUMNS
from hmtools.infer.predict import predict
from hmtools.models.weight_files import write_safetensors
from tests.bench.testset_shards import TestSets
from tests.models.weight_samples import state_of


@pytest.fixture
def images() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (size, 160, 3), np.uint8) for size in (120, 200)]


def test_people_come_in_the_order_of_their_boxes(model: Model, images: list[np.ndarray]) -> None:
    boxes: list[Any] = [[[10, 10, 80, 100], [900, 900, 10, 10], [40, 0, 60, 110]], [5, 5, 90, 150, 0.5]]
    people = model(images, boxes, batch=2, vertices=True)
    assert people.image.tolist() == [0, 0, 0, 1]
    assert people.found.tolist() == [True, False, True, True]
    assert people.bbox_xywh[[0, 3]].tolist() == [[10, 10, 80, 100, 1], [5, 5, 90, 150, 0.5]]
    for name, shape in COLUMNS.items():
        values = getattr(people, name)
        assert (values.dtype, values.shape) == (np.float32, (4, *shape))
        np.testing.assert_array_equal(np.isfinite(values).reshape(4, -1).all(1), people.found, err_msg=name)
        assert np.isnan(values[1]).all()
    assert people.vertices is not None
    assert people.vertices.shape == (4, model.vertex_count, 3)
    (last,) = model(images[1:], [boxes[1]]).smplx_body_pose
    np.testing.assert_allclose(people.smplx_body_pose[3], last, atol=1e-4)
    assert people.convention == "smplx_144"


def test_without_boxes_each_image_is_one_person(model: Model, images: list[np.ndarray]) -> None:
    people, same = model(images), model(images, [[0, 0, 160, 120], [[0, 0, 160, 200]]])
    np.testing.assert_array_equal(people.smplx_global_orient, same.smplx_global_orient)
    assert people.bbox_xywh[:, :4].tolist() == [[0, 0, 160, 120], [0, 0, 160, 200]]
    nobody = model(images, [[], np.zeros((0, 4))])
    assert len(nobody) == 0
    assert nobody.joints3d.shape == (0, 144, 4)


def test_a_record_and_a_free_image_give_the_same(model: Model, test_sets: TestSets) -> None:
    sample = test_sets["pw3d"][0]
    (row,) = predict(model.network, [sample], "cpu", ratio=1.2)
    assert sample.image is not None
    people = model([sample.image], [sample.record["bbox_xywh"]], ratio=1.2)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(people, name)[0], row[name], err_msg=name)


@pytest.mark.parametrize(
    ("images", "boxes", "said"),
    [
        ([np.zeros((4, 4, 3), np.float32)], None, r"images\[0\]: expected RGB uint8.*float32"),
        ([np.zeros((4, 4), np.uint8)], None, r"shape \(H, W, 3\), got uint8 \(4, 4\)"),
        ([[1, 2]], None, "got list"),
        ([np.zeros((4, 4, 3), np.uint8)], [], "one list for each of 1 images, got 0"),
        ([np.zeros((4, 4, 3), np.uint8)], [[[1, 2, 3]]], r"boxes\[0\]: expected finite.*got \(1, 3\)"),
        ([np.zeros((4, 4, 3), np.uint8)], [[[1, 2, 3, np.nan]]], "expected finite"),
        ([np.zeros((4, 4, 3), np.uint8)], [[[1, 2, 3, 4], [1]]], "inhomogeneous"),
    ],
)
def test_wrong_images_and_boxes_are_named(model: Model, images: Any, boxes: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        model(images, boxes)


def test_load_model_takes_the_standin_only_when_allowed(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssetError, match="smplx_neutral"):
        hmtools.load_model(tiny)
    loaded = hmtools.load_model(tiny, allow_standin=True, device="cpu")
    assert (loaded.name, loaded.device, loaded.facts["standin"]) == ("tiny", "cpu", True)
    assert loaded.facts["checkpoint_sha256"] == file_sha256(tiny)
    assert not any(weight.requires_grad for weight in loaded.network.parameters())
    monkeypatch.setenv("HMTOOLS_BODY_MODELS", str(standin_dir()))
    with pytest.raises(UsageError, match=r"stand-in body.*or say --allow-standin \(in Python: allow_st"):
        hmtools.load_model(tiny)
    with pytest.raises(UsageError, match="device nonsense: not usable here"):
        hmtools.load_model(tiny, allow_standin=True, device="nonsense")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices_here() == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices_here() == "cpu or cuda:0 or cuda:1"


def test_weights_are_found_by_name_path_and_run(tiny: Path, tmp_path: Path) -> None:
    settings = load_settings({"checkpoints": tmp_path / "weights"})
    run = tmp_path / "runs" / "my-run"
    for folder in (settings.checkpoints, run):
        folder.mkdir(parents=True)
    shutil.copy(tiny, settings.checkpoints / "mine.safetensors")
    assert model_name(find_weights("mine", settings), settings) == "mine"
    assert model_name(find_weights(tiny, settings), settings) == "tiny"
    with pytest.raises(CheckpointError, match=r"no folder of a training run; expected final\.safetensors"):
        find_weights(run, settings)
    (run / "recipe.json").write_text(json.dumps({}))
    with pytest.raises(CheckpointError, match="this training run has no weights yet"):
        find_weights(run, settings)
    shutil.copy(tiny, run / "best.safetensors")
    assert model_name(find_weights(run, settings), settings) == "my-run-best"
    shutil.copy(tiny, run / "final.safetensors")
    assert find_weights(run, settings) == run / "final.safetensors"
    assert model_name(run / "final.safetensors", settings) == "my-run"


def test_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pose.safetensors"
    write_safetensors(path, state_of("vitpose", "classic"))
    body = load_body("smplx", "neutral", roots=[standin_dir()])
    with pytest.raises(CheckpointError, match="predicts no bodies; expected SMPLer-X"):
        with_body(path, body, device="cpu")


def test_bf16_keeps_weights_and_results_float32(model: Model, tiny: Path, images: list[np.ndarray]) -> None:
    body = load_body("smplx", "neutral", roots=[standin_dir()])
    quick = with_body(tiny, body, device="cpu", precision="bf16")(images)
    exact = model(images)
    assert quick.smplx_body_pose.dtype == np.float32
    assert 0 < np.abs(quick.smplx_betas - exact.smplx_betas).max() < 0.1 * np.abs(exact.smplx_betas).max()
    assert {weight.dtype for weight in model.network.parameters()} == {torch.float32}
