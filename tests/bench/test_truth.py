from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import pytest
import torch

from hmtools.bench.bodies import BenchBodies, bodies_of, check_prediction_body
from hmtools.bench.protocols.base import TruthRule
from hmtools.bench.protocols.registry import get_protocol
from hmtools.bench.truth import absent_fields, require_fields, target_meshes
from hmtools.bodies.layers import BodyLayer
from hmtools.bodies.params import BodyParams
from hmtools.core.errors import UsageError
from hmtools.shards.reader import Shards
from tests.bench.testset_shards import TestSets


def models(shards: Shards, *families: str) -> BenchBodies:
    return bodies_of([shards.manifest], families or {"smplx"})


def posed(layer: BodyLayer, **values: Any) -> torch.Tensor:
    """The mesh of one body in float64, by the layer itself."""
    parts = {name: torch.tensor(np.array(value), dtype=torch.float32)[None] for name, value in values.items()}
    mesh: torch.Tensor = layer(BodyParams(**parts)).vertices[0]
    return mesh


class Changed(Shards):
    """A split of which row ``only``, or every one, is changed as it is read."""

    def __init__(self, shards: Shards, only: int | None = None, **changes: Any) -> None:
        super().__init__(shards.path)
        self._only, self._changes = only, changes

    def row(self, index: SupportsIndex) -> dict[str, Any]:
        own = super().row(index)
        return own | self._changes if self._only in (None, index) else own


def test_a_published_mesh_is_the_truth_as_it_is(test_sets: TestSets) -> None:
    shards = test_sets["ehf"]
    found = target_meshes(shards, [2, 0], TruthRule(source="mesh"), models(shards))
    assert found.known.all()
    assert found.reasons == ("", "")
    for mesh, row in zip(found.posed.vertices, (2, 0), strict=True):
        np.testing.assert_array_equal(mesh.numpy(), shards.mesh(row))


def test_egobody_is_the_neutral_body_with_the_refitted_shape_and_no_gaze(test_sets: TestSets) -> None:
    shards = test_sets["egobody_egocentric"]
    bodies = models(shards)
    record = shards.row(0)
    assert record["gender"] != "neutral"
    found = target_meshes(shards, [0], get_protocol("egobody").truth, bodies)
    names = ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose", "expression")
    values = {name: record[f"smplx_{name}"] for name in (*names, "transl")}
    expected = posed(bodies.layers("smplx").layer("neutral"), betas=record["betas_neutral"], **values)
    assert (found.posed.vertices[0] - expected).abs().max() < 1e-6
    gaze = posed(
        bodies.layers("smplx").layer("neutral"),
        betas=record["betas_neutral"],
        leye_pose=record["smplx_leye_pose"],
        **values,
    )
    assert (gaze - expected).abs().max() > 1e-4, "the miniature looks somewhere"


def test_3dpw_is_the_gendered_smpl_body(test_sets: TestSets) -> None:
    shards = test_sets["pw3d"]
    bodies = models(shards, "smpl")
    rows = list(range(len(shards)))
    genders = [shards.row(row)["gender"] for row in rows]
    assert len(set(genders)) > 1
    found = target_meshes(shards, rows, get_protocol("3dpw", "3dpw-official").truth, bodies)
    for row, gender in zip(rows, genders, strict=True):
        record = shards.row(row)
        values = {name: record[f"smpl_{name}"] for name in ("global_orient", "body_pose", "betas", "transl")}
        expected = posed(bodies.layers("smpl").layer(gender), **values)
        assert (found.posed.vertices[row] - expected).abs().max() < 1e-6
    joints = np.stack([shards.row(row)["keypoints3d_smpl"][:24, :3] for row in rows])
    assert found.posed.joints is not None
    np.testing.assert_allclose(found.posed.joints[:, :24].numpy(), joints, atol=1e-5)


def test_a_broken_shape_becomes_the_mean_shape(test_sets: TestSets) -> None:
    shards, rule = test_sets["ubody"], get_protocol("ubody").truth
    bodies = models(shards)
    betas = np.array([0, 0, 3.01, *[1.0] * 7], np.float32)

    def mesh(betas: np.ndarray, rule: TruthRule) -> torch.Tensor:
        return target_meshes(Changed(shards, smplx_betas=betas), [0], rule, bodies).posed.vertices[0]

    mean = mesh(np.zeros(10, np.float32), rule)
    assert torch.equal(mesh(betas, rule), mean)
    assert torch.equal(mesh(-betas, rule), mean)
    assert not torch.equal(mesh(np.minimum(betas, 3), rule), mean), "three itself is no fault"
    assert not torch.equal(mesh(betas, replace(rule, max_beta=None)), mean)


def test_an_invalid_hand_is_the_mean_hand_and_an_invalid_face_the_neutral_one(test_sets: TestSets) -> None:
    shards, rule = test_sets["ubody"], get_protocol("ubody").truth
    bodies = models(shards)
    means = bodies.hand_means().numpy()

    def mesh(**changes: Any) -> torch.Tensor:
        given = {"valid_lhand": True, "valid_rhand": True, "valid_face": True} | changes
        return target_meshes(Changed(shards, **given), [0], rule, bodies).posed.vertices[0]

    plain = mesh()
    for side, part in (("l", "left"), ("r", "right")):
        row = "lr".index(side)
        unseen = mesh(**{f"valid_{side}hand": False})
        assert torch.equal(unseen, mesh(**{f"smplx_{part}_hand_pose": means[row]}))
        assert torch.equal(unseen, mesh(**{f"smplx_{part}_hand_pose": None}))
        assert not torch.equal(unseen, plain)
    still = {"smplx_jaw_pose": np.zeros(3, np.float32), "smplx_expression": np.zeros(10, np.float32)}
    assert torch.equal(mesh(valid_face=False), mesh(**still))
    assert torch.equal(mesh(smplx_jaw_pose=None), mesh(**still))


def test_a_row_without_truth_says_why_and_costs_the_others_nothing(test_sets: TestSets) -> None:
    shards, rule = test_sets["ubody"], get_protocol("ubody").truth
    bodies = models(shards)

    for value, reason in ((None, "no smplx_betas"), (np.full(10, np.nan), "smplx_betas not finite")):
        found = target_meshes(Changed(shards, 1, smplx_betas=value), [0, 1, 2], rule, bodies)
        assert found.reasons == ("", reason, "")
        assert found.known.tolist() == [True, False, True]
        alone = target_meshes(shards, [0, 2], rule, bodies).posed.vertices
        assert torch.equal(found.posed.vertices[[0, 2]], alone)
        assert not found.posed.vertices[1].any()


def rewritten(shards: Shards, out: Path, **changes: Any) -> Shards:
    """A copy of a split whose manifest says something else."""
    shutil.copytree(shards.path, out)
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps({**manifest, **changes}))
    return Shards(out)


def test_what_is_missing_names_the_command_that_fills_it(test_sets: TestSets, tmp_path: Path) -> None:
    pw3d, ehf = test_sets["pw3d"], test_sets["ehf"]
    require_fields(pw3d, get_protocol("3dpw").truth)
    with pytest.raises(UsageError, match=r"holds smpl bodies, the protocol needs smplx; convert pw3d with"):
        require_fields(pw3d, TruthRule())
    files = [entry for entry in ehf.manifest.files if "mesh" not in entry["name"]]
    bare = rewritten(ehf, tmp_path / "bare", files=files)
    assert absent_fields(bare, TruthRule(source="mesh")) == {"mesh": len(ehf)}
    with pytest.raises(UsageError, match=r"no meshes, which are the truth here; convert ehf test again"):
        require_fields(bare, TruthRule(source="mesh"))
    with pytest.raises(UsageError, match=r"null: smplx_global_orient in 4 of 4 rows.*run `hmtools derive"):
        require_fields(ehf, TruthRule())


def test_bodies_of_two_kinds_are_refused(test_sets: TestSets, tmp_path: Path) -> None:
    shards = test_sets["ehf"]
    facts = shards.manifest.body_model
    assert facts is not None
    licensed = rewritten(shards, tmp_path / "licensed", body_model={**facts, "standin": False})
    with pytest.raises(UsageError, match="converted with two kinds of bodies"):
        bodies_of([shards.manifest, licensed.manifest], {"smplx"})
    other = {**facts["files"], "smplx_neutral": "f" * 64}
    changed = rewritten(shards, tmp_path / "other", body_model={**facts, "files": other})
    with pytest.raises(UsageError, match=r"made with another smplx_neutral than .* has \(ffffffffffff"):
        bodies_of([changed.manifest], {"smplx"})
    bodies = models(shards)
    assert bodies.standin
    with pytest.raises(UsageError, match=r"predictions are of a licensed body, the shards of the stand-in"):
        check_prediction_body({"standin": False}, bodies)
    assert (
        check_prediction_body({"standin": True, "body_sha256": bodies.files["smplx_neutral"]}, bodies) == ""
    )
    assert "none of the shards' models" in check_prediction_body({"body_sha256": "0" * 64}, bodies)
