"""Animated people: the file is played again, by the rules of glTF, and compared with the body model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hmtools.infer.outputs.bodies import genders_of, parameters, vertices_of
from hmtools.infer.outputs.export import export_predictions
from hmtools.infer.outputs.gltf import strongest_weights
from tests.infer.outputs.glb_reader import Glb
from tests.infer.outputs.predicted import person, standin_bodies, track_of, write_table

FRAMES = (10, 11, 14)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    betas = person(0)["smplx_betas"]
    rows = [person(i, frame=frame, smplx_betas=betas, kid=0.6) for i, frame in enumerate(FRAMES)]
    rows[2]["smplx_global_orient"] = [-np.pi, 0, 0]  # the same heading, from the other side of half a turn
    return write_table(tmp_path_factory.mktemp("gltf") / "p.parquet", rows)


@pytest.fixture(scope="module")
def played(table: Path) -> Glb:
    (file,) = export_predictions(table, "gltf", table.parent, fps=25).files
    assert file.name == "clip_1.glb"
    return Glb(file.read_bytes())


def test_what_is_played_is_the_body(table: Path, played: Glb) -> None:
    track = track_of(table)
    seen = vertices_of(
        standin_bodies(table), parameters(track.columns, "smplx"), genders_of(track.columns, 3)
    )
    for key in range(3):
        off = np.linalg.norm(played.played(key) - seen[key] * [1, -1, -1], axis=1)
        assert off.mean() < 0.003, "pose corrections are what a skin cannot say"
        assert off.max() < 0.05
    np.testing.assert_allclose(played.played(None), played.played(0), atol=1e-5)


def test_the_clip_has_the_times_and_no_long_way_round(played: Glb) -> None:
    np.testing.assert_allclose(played.times(), (np.array(FRAMES) - 10) / 25, atol=1e-6)
    clip = played.described["animations"][0]
    turned = set()
    for channel in clip["channels"]:
        keys = played.array(clip["samplers"][channel["sampler"]]["output"]).astype(np.float64)
        if channel["target"]["path"] == "rotation":
            np.testing.assert_allclose(np.linalg.norm(keys, axis=1), 1, atol=1e-6)
            assert ((keys[1:] * keys[:-1]).sum(axis=1) > 0).all()
            turned.add(played.described["nodes"][channel["target"]["node"]]["name"])
    assert {"pelvis", "left_knee", "right_wrist", "left_index_1"} <= turned
    assert not turned & {"left_eyeball", "jaw"}, "what never moves has no channel"
    names = [node["name"] for node in played.described["nodes"]]
    assert len(set(names)) == 56


def test_of_many_joints_the_strongest_four() -> None:
    weights = np.array([[0.1, 0.3, 0.05, 0.25, 0.2, 0.1], [0, 0, 0, 1, 0, 0]])
    joints, kept = strongest_weights(weights)
    assert joints[0].tolist() == [1, 3, 4, 0]
    np.testing.assert_allclose(kept[0], np.array([0.3, 0.25, 0.2, 0.1]) / 0.85, rtol=1e-6)
    assert (joints[1].tolist(), kept[1].tolist()) == ([3, 0, 0, 0], [1, 0, 0, 0])
