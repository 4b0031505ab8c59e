"""Joints of a mesh without parameters, and how the deriver uses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hmtools.bodies.assets import load_model
from hmtools.bodies.derive import Deriver
from hmtools.bodies.layers import BodyLayer
from hmtools.bodies.mesh_joints import mesh_joints
from hmtools.bodies.model import Family
from hmtools.bodies.params import BodyParams
from hmtools.core.errors import GeometryError
from hmtools.geometry.projection import project
from hmtools.humandata.keypoints import convention
from hmtools.humandata.record import Record
from tests.bodies.bodies import random_body

FOCAL, CENTRE, SIZE = (900.0, 900.0), (500.0, 380.0), (1000, 760)
CONTOUR = slice(127, 144)


def body(golden: Path, family: Family = "smplx", **params: Any) -> Any:
    layer = BodyLayer(load_model(family, "neutral", roots=(golden,)), dtype=torch.float64)
    values = {name: torch.as_tensor(value, dtype=torch.float64)[None] for name, value in params.items()}
    with torch.no_grad():
        return layer(BodyParams(**{"betas": torch.zeros(1, 10, dtype=torch.float64), **values}))


@pytest.mark.parametrize(("family", "known"), [("smplx", 127), ("smpl", 45), ("smplh", 73)])
def test_a_rest_body_gives_the_joints_of_its_parameters(golden: Path, family: Family, known: int) -> None:
    """Without a pose, regressed and kinematic joints are the same."""
    output = body(golden, family, betas=np.linspace(-2, 2, 10), transl=[0.3, -0.2, 4.0])
    joints, found = mesh_joints(load_model(family, "neutral", roots=(golden,)), output.vertices[0].numpy())
    assert joints.shape == output.joints[0].shape
    assert found.tolist() == [True] * known + [False] * (len(joints) - known)
    assert np.abs(joints[:known] - output.joints[0, :known].numpy()).max() < 1e-5
    assert not joints[known:].any()


def test_what_lies_on_the_surface_is_exact_in_any_pose(golden: Path) -> None:
    params = random_body("smplx", 1, 3)
    layer = BodyLayer(load_model("smplx", "neutral", roots=(golden,)), dtype=torch.float64)
    with torch.no_grad():
        output = layer(BodyParams.of({k: v.double() for k, v in params.given().items()}, dtype=torch.float64))
    joints, _ = mesh_joints(layer.model, output.vertices[0].numpy())
    assert np.abs(joints[55:127] - output.joints[0, 55:127].numpy()).max() < 1e-9
    regressed = layer.model.joint_regressor.toarray() @ output.vertices[0].numpy()
    assert np.abs(joints[:55] - regressed).max() < 1e-12


def test_joints_move_with_the_mesh(golden: Path) -> None:
    model = load_model("smplx", "neutral", roots=(golden,))
    mesh = np.asarray(model.v_template, np.float64)
    turn = np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]])
    there, known = mesh_joints(model, mesh @ turn.T + [1, 2, 3])
    weights = np.asarray(model.joint_regressor.sum(axis=1)).ravel()
    moved = mesh_joints(model, mesh)[0] @ turn.T + [1, 2, 3]
    assert np.allclose(weights, 1, atol=1e-6), "rows of a regressor that sum to one"
    assert np.abs(there - moved)[known].max() < 1e-5


def test_a_mesh_of_another_body(golden: Path) -> None:
    with pytest.raises(GeometryError, match="6890 vertices, expected 10475"):
        mesh_joints(load_model("smplx", "neutral", roots=(golden,)), np.zeros((6890, 3)))


def record(golden: Path, **changes: Any) -> Record:
    """A person of whom there is a mesh and no parameter."""
    output = body(golden, transl=[0.1, -0.1, 4.0])
    values: dict[str, Any] = {
        "mesh": output.vertices[0].numpy().astype(np.float32),
        "gender": "neutral",
        "valid_smplx": False,
        "width": SIZE[0],
        "height": SIZE[1],
        "focal_length": np.array(FOCAL, np.float32),
        "principal_point": np.array(CENTRE, np.float32),
        "camera_model": "pinhole",
    }
    return Record(**(values | changes))


def test_derived_cells(golden: Path) -> None:
    person = record(golden)
    Deriver((golden,)).fill([person])
    model = load_model("smplx", "neutral", roots=(golden,))
    joints, known = mesh_joints(model, person.mesh)
    found = person.keypoints3d_smplx
    assert found.dtype == np.float32
    assert np.array_equal(found, np.column_stack([joints, known]).astype(np.float32))
    pixels = person.keypoints2d_smplx
    assert np.allclose(pixels[:127, :2], project(joints[:127], FOCAL, CENTRE), atol=1e-3)
    assert (pixels[:127, 2] == 1).all()
    assert not pixels[CONTOUR].any()
    assert not found[CONTOUR].any()
    names = convention("smplx_144").names
    assert all("contour" in name for name in names[CONTOUR])
    for box in ("bbox_xywh", "lhand_bbox_xywh", "rhand_bbox_xywh", "face_bbox_xywh"):
        assert getattr(person, box)[2:4].min() > 0
    assert person.keypoints3d_smpl is None
    assert person.betas_neutral is None


def test_what_is_there_stays(golden: Path) -> None:
    box = np.array([1, 2, 3, 4, 1], np.float32)
    joints = np.full((144, 4), 7, np.float32)
    person = record(golden, bbox_xywh=box, keypoints3d_smplx=joints)
    Deriver((golden,)).fill([person])
    assert person.bbox_xywh is box
    assert person.keypoints3d_smplx is joints
    assert person.keypoints2d_smplx is not None


def test_parameters_come_before_the_mesh(golden: Path) -> None:
    """They know the jaw contour too."""
    values = {f"smplx_{k}": v[0].numpy() for k, v in random_body("smplx", 1, 0).given().items()}
    values["smplx_transl"] = np.array([0.1, -0.2, 4.0], np.float32)
    with_mesh, without = (
        record(golden, **values, valid_smplx=True),
        record(golden, **values, valid_smplx=None),
    )
    without.mesh = None
    Deriver((golden,)).fill([with_mesh, without])
    assert np.array_equal(with_mesh.keypoints3d_smplx, without.keypoints3d_smplx)
    assert (with_mesh.keypoints3d_smplx[CONTOUR, 3] == 1).all()
    invalid = record(golden, **values)
    Deriver((golden,)).fill([invalid])
    assert (invalid.keypoints3d_smplx[CONTOUR, 3] == 0).all(), "parameters that may not supervise"


def test_meshes_of_two_families_say_nothing(golden: Path) -> None:
    person = record(golden, mesh=np.ones((6890, 3), np.float32))
    Deriver((golden,)).fill([person])
    assert person.keypoints3d_smpl is None
    assert person.keypoints3d_smplx is None


def test_missing_models_are_noted(golden: Path, tmp_path: Path) -> None:
    derive = Deriver((tmp_path,))
    people = [record(golden), record(golden)]
    derive.fill(people)
    assert list(derive.needs) == ["smplx_neutral"]
    assert people[0].keypoints3d_smplx is None


def test_a_missing_gender_leaves_the_others(golden: Path, tmp_path: Path) -> None:
    (tmp_path / "SMPLX_NEUTRAL.npz").symlink_to(golden / "smplx/SMPLX_NEUTRAL.npz")
    derive = Deriver((tmp_path,))
    female, neutral = record(golden, gender="female"), record(golden)
    derive.fill([female, neutral])
    assert list(derive.needs) == ["smplx_female"]
    assert female.keypoints3d_smplx is None
    assert neutral.keypoints3d_smplx is not None
