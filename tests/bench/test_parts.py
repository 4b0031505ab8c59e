"""Where measured joints and vertices come from."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from hmtools.bench.parts import PART_ROWS, AgoraParts, BodyParts, Regressor, load_lsp_14, load_skeleton
from hmtools.bodies.assets import load_array, load_model
from hmtools.core.errors import AssetError, UsageError
from tests.bench.reference import FIGURES


def dense(regressor: Regressor) -> np.ndarray:
    matrix = np.zeros((len(regressor), regressor.vertices), np.float32)
    matrix[:, regressor.ids.numpy()] = regressor.weights.numpy()
    return matrix


def test_hand_joints_are_the_published_ones(golden: Path) -> None:
    rows = dense(BodyParts.load([golden]).joints)
    with np.load(FIGURES) as figures:
        for side in ("left", "right"):
            hand = rows[PART_ROWS[f"{side}_hand"]]
            assert hand.argmax(1).tolist() == figures[f"hand_regressor/{side}_argmax"].tolist()
            np.testing.assert_allclose(hand.sum(1), figures[f"hand_regressor/{side}_rows_sum"], atol=1e-6)


def test_roots_and_body_are_the_rows_of_the_files(golden: Path) -> None:
    rows = dense(BodyParts.load([golden]).joints)
    skeleton = load_model("smplx", "neutral", roots=[golden]).joint_regressor.toarray()
    np.testing.assert_allclose(rows[:2], skeleton[[0, 12]], atol=1e-7)
    np.testing.assert_allclose(rows[PART_ROWS["body"]], load_array("smplx_to_j14", roots=[golden]), atol=1e-7)


def test_far_from_the_origin_nothing_is_lost() -> None:
    """Rows that do not add up to 1 take their share of the distance with them, as in the plain product."""
    rng = np.random.default_rng(0)
    matrix = rng.random((4, 50)) * (rng.random((4, 50)) < 0.5)
    matrix /= matrix.sum(1, keepdims=True)
    matrix[1] *= 1 + 1e-5
    mesh = torch.as_tensor(rng.normal(0, 0.5, (3, 50, 3)) + np.array([0, 0, 25])).float()
    regressor = Regressor.of(matrix)
    expected = torch.as_tensor(matrix) @ mesh.double()
    assert float((regressor(mesh).double() - expected).abs().max()) < 3e-6  # half a step of float32 there
    origin = mesh.mean(1, keepdim=True)
    local = regressor.local((mesh - origin).mT.contiguous(), origin.mT)
    assert float((local.mT.double() + origin.double() - expected).abs().max()) < 5e-7


def test_everything_that_is_missing_is_named_at_once(golden: Path, tmp_path: Path) -> None:
    shutil.copytree(golden / "smplx", tmp_path / "smplx")
    for name in ("SMPLX_to_J14.pkl", "MANO_SMPLX_vertex_ids.pkl"):
        (tmp_path / "smplx" / name).unlink()
    with pytest.raises(AssetError) as raised:
        BodyParts.load([tmp_path])
    text = str(raised.value)
    assert (
        "cannot measure MPJPE and PA-MPJPE of the body: this needs the joint regressor smplx_to_j14" in text
    )
    assert "cannot measure PVE and PA-PVE of the hands: this needs the vertex indices mano" in text
    assert "flame" not in text
    with pytest.raises(AssetError, match="the 14 joints of the common 3DPW protocol"):
        load_lsp_14("smpl", [tmp_path])
    with pytest.raises(AssetError, match="joints of its meshes"):
        load_skeleton("smpl", roots=[tmp_path])
    with pytest.raises(AssetError, match="MVE and NMVE of the body") as raised:
        AgoraParts.load("smplx", [tmp_path])
    assert "MVE of the hands" in str(raised.value)


def test_agora_measures_two_families(golden: Path, tmp_path: Path) -> None:
    shutil.copytree(golden / "smplx", tmp_path / "smplx")
    for family, count in (("smplx", 10475), ("smpl", 6890)):
        np.save(tmp_path / f"body_verts_{family}.npy", np.arange(count - 4010, count))
    parts = AgoraParts.load("smplx", [tmp_path])
    assert parts.body[0] == 6465
    assert parts.hands is not None
    assert parts.hands.tolist() == load_array("mano_smplx_vertex_ids", roots=[golden]).tolist()
    assert parts.face is not None
    assert parts.face.tolist() == load_array("smplx_flame_vertex_ids", roots=[golden]).tolist()
    parts = AgoraParts.load("smpl", [tmp_path])
    assert parts.body[-1] == 6889
    assert parts.hands is parts.face is None
    with pytest.raises(UsageError, match="smplx or smpl meshes, not smplh"):
        AgoraParts.load("smplh", [tmp_path])


def test_human36m_joints_of_two_families_are_the_same_joints(golden: Path) -> None:
    """Each on the rest body of its family; a swapped leg would be 10 cm off."""
    places = []
    for family in ("smpl", "smplx"):
        model = load_model(family, "neutral", roots=[golden])
        mesh = torch.as_tensor(np.array(model.v_template)).float()[None]
        places.append(load_lsp_14(family, [golden])(mesh)[0])
    assert float((places[0] - places[1]).norm(dim=-1).max()) < 0.05
    assert float(places[0][3, 0]) < -0.03 < 0.03 < float(places[0][4, 0]), "right hip, left hip"


def test_another_family_is_refused(golden: Path) -> None:
    with pytest.raises(UsageError, match=r"\(B, 6890, 3\), found \(1, 10475, 3\)"):
        load_skeleton("smpl", roots=[golden])(torch.zeros(1, 10475, 3))
