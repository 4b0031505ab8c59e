"""UBody's rows and what of a person counts, against a second implementation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.bench.protocols.registry import get_protocol
from hmtools.bodies.assets import load_array, standin_dir
from tests.bench.oracle import Array, Oracle, model_of, oracle, people, posed, ubody_fits, values
from tests.bench.reference import hand, measure_one
from tests.bench.testset_shards import TestSets, sampled


@pytest.fixture(scope="module")
def ubody(test_sets: TestSets) -> Oracle:
    return oracle(test_sets, "ubody")


@pytest.fixture(scope="module")
def meshes(test_sets: TestSets, ubody: Oracle) -> dict[str, Array]:
    """Key -> (V, 3) true mesh, float64."""
    fits = ubody_fits(test_sets)
    return {key: posed("smplx", "neutral", fits[own.source_id]) for key, own in ubody.people.items()}


def crop_box(box: Array, width: int, height: int) -> tuple[Array, Array]:
    """Centre and size of the crop: moved into the image, a pixel less, grown to 3:4, x 1.25."""
    x, y, w, h = box[:4]
    x1, y1 = max(0, x), max(0, y)
    x2, y2 = min(width - 1, x1 + max(0, w - 1)), min(height - 1, y1 + max(0, h - 1))
    size = np.array([x2 - x1, y2 - y1])
    size = np.maximum(size, size[::-1] * (0.75, 1 / 0.75))
    return np.array([x1 + x2, y1 + y2]) / 2, 1.25 * size


def shown(points: Array, centre: Array, size: Array, image: tuple[int, int]) -> Array:
    """Which points the camera of a crop of 192 x 256 sees strictly inside the image."""
    crop = 5000 * points[:, :2] / (points[:, 2:] + 1e-4) + (96, 128)
    pixels = centre + (crop / (192, 256) - 0.5) * size
    return np.asarray(((pixels > 0) & (pixels < image)).all(1))


def expected(
    mine: Array, mesh: Array, centre: Array, size: Array, image: tuple[int, int]
) -> dict[str, float]:
    skeleton = np.asarray(model_of("smplx").joint_regressor.toarray(), np.float64) @ mesh
    body = np.asarray(load_array("smplx_to_j14", roots=[standin_dir()]), np.float64) @ mesh
    points = {"vertices": mesh, "body": body}
    points |= {side: hand(skeleton, mesh, side) for side in ("left", "right")}
    seen = {name: shown(own, centre, size, image) for name, own in points.items()}
    return measure_one(mine, mesh, standin_dir(), seen)


def rows(meshes: dict[str, Array], **columns: Any) -> list[dict[str, Any]]:
    bent = {key: mesh + 0.05 * np.sin(7 * mesh[:, [1, 2, 0]]) for key, mesh in meshes.items()}
    return [{"key": key, "vertices": np.float32(mesh), **columns} for key, mesh in bent.items()]


@pytest.mark.parametrize("given", [False, True])
def test_only_what_the_test_camera_sees_counts(
    given: bool, ubody: Oracle, meshes: dict[str, Array], tmp_path: Path
) -> None:
    """With the crop of the record's box, and with one that a prediction names: it shows half of a person."""
    centre, size = np.array([2.0, 30.0]), np.array([45.0, 60.0])
    scale = (384, 512) / size
    affine = np.column_stack([np.diag(scale), np.array([192, 256]) - scale * centre])
    given_columns = {"crop_affine": np.float32(affine)} if given else {}
    protocol = sampled(get_protocol("ubody"))
    predicted = rows(meshes, **given_columns)
    result = ubody.bench(protocol, predicted, tmp_path)
    assert any("from the record's box" in note for note in result.notes) is not given
    found, partly = people(result), 0
    for row in predicted:
        own = ubody.people[row["key"]].columns
        image = (own["width"], own["height"])
        crop = (centre, size) if given else crop_box(own["bbox_xywh"], *image)
        mine = np.asarray(row["vertices"], np.float64)
        truth = expected(mine, meshes[row["key"]], *crop, image)
        partly += truth["pve_all"] != measure_one(mine, meshes[row["key"]], standin_dir())["pve_all"]
        for metric in protocol.metrics:
            value = found[row["key"]][metric]
            if np.isnan(truth[metric]):
                assert value is None, metric
            else:
                assert value == pytest.approx(truth[metric], abs=0.02), metric
    assert partly
    hands = [person["pve_hand"] for person in found.values() if person["pve_hand"] is not None]
    assert values(result)["pve_hand"] == pytest.approx(np.mean(hands))


@pytest.mark.parametrize("every", [2, 5])
def test_every_nth_annotation_of_a_scene_is_measured(
    every: int, test_sets: TestSets, ubody: Oracle, meshes: dict[str, Array], tmp_path: Path
) -> None:
    """Counted from 1 within each scene before anybody is left out."""
    wanted = set()
    for file in (test_sets.root / "raw/ubody/annotations").glob("*/keypoint_annotation.json"):
        marks = json.loads(file.read_text())["annotations"]
        wanted |= {str(mark["id"]) for number, mark in enumerate(marks, 1) if number % every == 0}
    kept = {key for key, own in ubody.people.items() if own.source_id in wanted}
    assert 0 < len(kept) < len(ubody.people)
    result = ubody.bench(sampled(get_protocol("ubody"), every), rows(meshes), tmp_path)
    assert set(people(result)) == kept
    assert not any("of nobody" in note for note in result.notes), "the others are in the set, if not measured"
