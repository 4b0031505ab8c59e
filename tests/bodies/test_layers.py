"""Layers against the smplx package, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import smplx
import torch

from hmtools.bodies.assets import load_array, load_model
from hmtools.bodies.layers import NATIVE_JOINTS, BodyLayer
from hmtools.bodies.model import FAMILIES, GENDERS, JOINTS, VERTICES, Family, Gender
from hmtools.bodies.params import BodyParams
from hmtools.core.errors import AssetError, UsageError
from hmtools.humandata.keypoints import convention
from tests.bodies.bodies import random_body

TOLERANCE = 1e-6  # metres
REAL_FORMAT = {"smpl": "pkl", "smplh": "pkl", "smplx": "npz"}


@cache
def layer(
    golden: Path,
    family: Family,
    gender: Gender = "neutral",
    *,
    kid: bool = False,
    dtype: torch.dtype = torch.float32,
) -> BodyLayer:
    template = load_array(f"{family}_kid_template", roots=(golden,)) if kid else None
    return BodyLayer(load_model(family, gender, roots=(golden,)), kid_template=template, dtype=dtype)


def reference(golden: Path, family: Family, gender: Gender, batch: int, **kwargs: Any) -> Any:
    return smplx.create(
        str(golden), model_type=family, gender=gender, use_pca=False, flat_hand_mean=True,
        use_face_contour=True, batch_size=batch, ext=REAL_FORMAT[family], **kwargs,
    )  # fmt: skip


@pytest.mark.parametrize("gender", GENDERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_equals_the_smplx_package(golden: Path, family: Family, gender: Gender) -> None:
    params = random_body(family, 4, dtype=torch.float32)
    with torch.no_grad():
        theirs = reference(golden, family, gender, 4)(**params.given())
        ours = layer(golden, family, gender)(params)
    assert ours.vertices is not None
    assert ours.vertices.shape == (4, VERTICES[family], 3)
    assert (ours.vertices - theirs.vertices).abs().max() <= TOLERANCE
    assert ours.joints.shape == theirs.joints.shape
    assert (ours.joints - theirs.joints).abs().max() <= TOLERANCE


@pytest.mark.parametrize("family", ["smpl", "smplx"])
def test_kids_equal_the_smplx_package(golden: Path, family: Family) -> None:
    params = random_body(family, 3, seed=1, dtype=torch.float32)
    weights = torch.tensor([0.0, 0.5, 1.0])
    template = golden / family / f"{family}_kid_template.npy"
    assert params.betas is not None
    with torch.no_grad():
        theirs = reference(golden, family, "male", 3, age="kid", kid_template_path=str(template))(
            **params.given() | {"betas": torch.cat([params.betas, weights[:, None]], dim=1)}
        )
        ours = layer(golden, family, "male", kid=True)(replace(params, kid=weights))
    assert (ours.vertices - theirs.vertices).abs().max() <= TOLERANCE
    assert (ours.joints - theirs.joints).abs().max() <= TOLERANCE


@pytest.mark.parametrize("heading", [-1.5, -0.65, -0.2, 0.0, 0.3, 0.7, 1.5])
def test_jaw_contour_slides_as_in_the_smplx_package(golden: Path, heading: float) -> None:
    params = BodyParams(body_pose=torch.zeros(1, 63))
    assert params.body_pose is not None
    params.body_pose[0, 3 * 11 + 1] = heading  # the neck about y
    with torch.no_grad():
        theirs = reference(golden, "smplx", "neutral", 1)(body_pose=params.body_pose)
        ours = layer(golden, "smplx")(params)
    assert (ours.joints[:, 127:] - theirs.joints[:, 127:]).abs().max() <= TOLERANCE


@pytest.mark.parametrize("family", FAMILIES)
def test_joints_alone_are_the_same_joints(golden: Path, family: Family) -> None:
    body = layer(golden, family, dtype=torch.float64)
    params = random_body(family, 5)
    with torch.no_grad():
        whole, alone = body(params), body(params, vertices=False)
    assert alone.vertices is None
    assert (whole.joints - alone.joints).abs().max() < 1e-12
    assert whole.joints.shape[1] == convention(NATIVE_JOINTS[family]).count
    assert whole.convention == NATIVE_JOINTS[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_takes_axis_angle_in_two_shapes_and_matrices(golden: Path, family: Family) -> None:
    body = layer(golden, family, dtype=torch.float64)
    flat = random_body(family, 2)
    parts = {n: v for n, v in flat.given().items() if n.endswith(("pose", "orient"))}
    rotations = body.rotations(flat)
    assert rotations.shape == (2, JOINTS[family], 3, 3)
    split = replace(flat, **{name: v.reshape(2, -1, 3) for name, v in parts.items()})
    start, matrices = 0, {}
    from hmtools.bodies.params import pose_slices

    for name, where in pose_slices(family).items():
        matrices[name], start = rotations[:, where], where.stop
    assert start == JOINTS[family]
    with torch.no_grad():
        expected = body(flat).joints
        assert torch.equal(body(split).joints, expected)
        assert (body(replace(flat, **matrices)).joints - expected).abs().max() < 1e-12


def test_nothing_given_is_the_template(golden: Path) -> None:
    body = layer(golden, "smplx", dtype=torch.float64)
    with torch.no_grad():
        output = body(BodyParams())
    assert output.vertices is not None
    assert np.allclose(output.vertices[0], body.model.v_template, atol=1e-12)


def test_fewer_betas_are_zeros_behind_them(golden: Path) -> None:
    body = layer(golden, "smplx", dtype=torch.float64)
    four, ten = torch.ones(1, 4, dtype=torch.float64), torch.zeros(1, 10, dtype=torch.float64)
    ten[:, :4] = 1
    assert torch.equal(body.rest_vertices(BodyParams(betas=four)), body.rest_vertices(BodyParams(betas=ten)))


def test_gradients_reach_every_parameter(golden: Path) -> None:
    params = random_body("smplx", 2)
    params = replace(params, **{name: v.requires_grad_() for name, v in params.given().items()})
    layer(golden, "smplx", dtype=torch.float64)(params, vertices=False).joints.square().sum().backward()
    for name, value in params.given().items():
        assert value.grad is not None, name
        assert torch.isfinite(value.grad).all(), name
        assert value.grad.abs().sum() > 0, name


@pytest.mark.parametrize("family", FAMILIES)
def test_rest_pelvis_is_that_of_the_posed_output(golden: Path, family: Family) -> None:
    body = layer(golden, family, dtype=torch.float64)
    params = random_body(family, 3)
    output = body(params)
    assert torch.allclose(body.rest_pelvis(params), output.rest_pelvis)
    # The root turns about it: it is where the posed pelvis is, before transl.
    assert torch.allclose(output.joints[:, 0], output.rest_pelvis + params.transl)


REFUSED: dict[str, tuple[Family, dict[str, Any], str]] = {
    "betas too long": ("smpl", {"betas": torch.zeros(1, 16)}, r"betas: .* has 10 components, found 16"),
    "no jaw": ("smpl", {"jaw_pose": torch.zeros(1, 3)}, "smpl has no jaw_pose"),
    "no expression": ("smplh", {"expression": torch.zeros(1, 10)}, "smplh has no expression"),
    "SMPL pose for SMPL-X": (
        "smplx",
        {"body_pose": torch.zeros(1, 69)},
        r"body_pose: expected shape .*63.* found \(1, 69\)",
    ),
    "transl of a camera": (
        "smpl",
        {"transl": torch.zeros(1, 4)},
        r"transl: expected shape \(B, 3\), found \(1, 4\)",
    ),
    "no batch": ("smpl", {"betas": torch.zeros(10)}, r"betas: expected shape \(B, count\), found \(10,\)"),
    "nobody": ("smpl", {"betas": torch.zeros(0, 10)}, "one body or more, found a batch of none"),
    "two lengths": ("smpl", {"betas": torch.zeros(2, 10), "transl": torch.zeros(3, 3)}, "one length"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(golden: Path, case: str) -> None:
    family, values, message = REFUSED[case]
    with pytest.raises(UsageError, match=message):
        layer(golden, family)(BodyParams(**values))


def test_kid_needs_its_template(golden: Path) -> None:
    with pytest.raises(AssetError, match=r"smplx_kid_template\.npy"):
        layer(golden, "smplx")(BodyParams(kid=torch.ones(1)))
