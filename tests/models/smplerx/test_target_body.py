from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from hmtools.bodies.camera import transform_to_camera
from hmtools.bodies.mixed import BodyLayers
from hmtools.bodies.params import BodyParams
from hmtools.core.errors import UsageError
from hmtools.geometry.rotation import axis_angle_to_matrix
from hmtools.humandata.keypoints import flip_permutation
from hmtools.models.smplerx.target_body import mean_hands, smpl_joints
from hmtools.models.smplerx.target_image import smpl_image
from hmtools.models.smplerx.target_input import TargetInput, posing_gender
from hmtools.models.smplerx.target_joints import Augmentation
from hmtools.models.smplerx.targets import TargetMaker
from tests.models.smplerx.target_people import arrays, augmented, person, row

CASES: dict[str, dict[str, Any]] = {
    "K": {},
    "KRt_flip_rot": {"flip": True, "rotation": 15},
    "none_flip": {"flip": True, "rotation": -15},
    "no_lhand": {"flip": True, "rotation": 10},
    "no_face": {},
    "big_shape": {},
    "male": {},
}
CAMERA = {"focal_length": [500.0, 510.0], "principal_point": [160.0, 120.0]}


def _layers(golden: Path, family: Any = "smplx") -> BodyLayers:
    return BodyLayers(family, roots=[golden], surface=family == "smpl")


def _input(name: str) -> np.ndarray:
    found: np.ndarray = arrays("preprocess.npz")[f"model_output/{name}"]
    return found


def _person(case: str, layers: BodyLayers) -> TargetInput:
    gender: Any = "male" if case == "male" else "neutral"
    means = np.asarray(layers.layer(gender).model.hand_mean)
    columns: dict[str, Any] = {
        "smplx_global_orient": _input("in_root_pose"),
        "smplx_body_pose": _input("in_body_pose"),
        "smplx_left_hand_pose": _input("in_lhand_pose") + means[0],
        "smplx_right_hand_pose": _input("in_rhand_pose") + means[1],
        "smplx_jaw_pose": _input("in_jaw_pose"),
        "smplx_betas": [3.01, *[0.5] * 9] if case == "big_shape" else _input("in_shape"),
        "smplx_expression": _input("in_expr"),
        "smplx_transl": _input("in_trans"),
        "gender": (gender,),
        **CAMERA,
    }
    if case == "none_flip":
        del columns["focal_length"]
        pixels = _input("in_joint_img")[:, :2]
        columns["keypoints2d_137"] = np.column_stack([pixels, np.ones(137)])
    if case == "no_lhand":
        columns["valid_lhand"] = False
    if case == "no_face":
        columns["valid_face"] = False
    if case == "KRt_flip_rot":
        shaped = {"betas": columns["smplx_betas"], "expression": columns["smplx_expression"]}
        params = BodyParams(**{name: torch.as_tensor(value)[None] for name, value in shaped.items()})
        orient, transl = transform_to_camera(
            columns["smplx_global_orient"],
            columns["smplx_transl"],
            layers.rest_pelvis(params)[0].numpy(),
            np.column_stack([_input("R"), _input("t")]),
        )
        columns |= {"smplx_global_orient": orient, "smplx_transl": transl}
    options = {"flip": False, "rotation": 0, **CASES[case]}
    return augmented(
        person("mscoco", **columns), _input("trans2bb"), options["flip"], options["rotation"], mirrored=True
    )


def _turned(pose: Tensor) -> Tensor:
    return axis_angle_to_matrix(pose.reshape(-1, 3))


@pytest.mark.parametrize("case", CASES)
def test_fits_are_the_published_ones(golden: Path, case: str) -> None:
    layers = _layers(golden)
    maker = TargetMaker(layers, reference_faults=["unswapped_masks"])
    targets, masks = (row(values) for values in maker(_person(case, layers)))
    wanted = {
        name: torch.tensor(_input(f"{case}_{name}"))
        for name in ("joint_img", "joint_cam", "joint_trunc", "pose", "shape", "expr")
    }
    known = torch.tensor(_input(f"{case}_coord_valid")) > 0
    rotations = torch.tensor(_input(f"{case}_rotation_valid"))
    assert torch.equal(masks["smplx_joint_valid"][:, 0] > 0, known)
    assert torch.equal(masks["smplx_joint_trunc"], wanted["joint_trunc"] * known[:, None])
    assert torch.equal(masks["smplx_pose_valid"], rotations.repeat_interleave(3))
    torch.testing.assert_close(
        targets["smplx_joint_img"][known], wanted["joint_img"][known], rtol=1e-5, atol=3e-5
    )
    torch.testing.assert_close(
        targets["smplx_joint_cam"][known], wanted["joint_cam"][known], rtol=1e-5, atol=2e-6
    )
    pose = wanted["pose"]
    if case == "male":  # the network's own body has the neutral mean hand
        male = torch.tensor(layers.layer("male").model.hand_mean).float()
        pose[66:156] += (male - mean_hands(layers).float()).flatten()
    torch.testing.assert_close(targets["smplx_pose"][3:], pose[3:], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(_turned(targets["smplx_pose"][:3]), _turned(pose[:3]), rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(targets["smplx_expr"], wanted["expr"])
    assert masks["smplx_expr_valid"] == float(_input(f"{case}_expr_valid"))
    if case == "male":  # betas of another model teach the neutral one nothing
        assert masks["smplx_shape_valid"] == 0
    else:
        torch.testing.assert_close(targets["smplx_shape"], wanted["shape"])
        assert masks["smplx_shape_valid"] == 1


def _smpl_person(case: str, layers: BodyLayers) -> TargetInput:
    """The SMPL pose of both cases: the figures hold it as the second case left it, mirrored and turned."""
    pose = _input("smpl_in_pose").astype(np.float64).reshape(24, 3)
    body = pose[flip_permutation("smpl_24").tolist()] * [1, -1, -1]
    unturned = (Rotation.from_rotvec([0, 0, np.radians(15)]) * Rotation.from_rotvec(pose[0])).as_rotvec()
    root = Rotation.from_rotvec(unturned * [1, -1, -1])
    flip = case == "KRt_flip"
    columns = {
        "smpl_global_orient": root.as_rotvec()
        if flip
        else (Rotation.from_matrix(_input("R")).inv() * root).as_rotvec(),
        "smpl_body_pose": body[1:].reshape(-1),
        "smpl_betas": _input("smpl_in_shape"),
        "smpl_transl": _input("smpl_in_trans"),
    }
    if flip:  # the published move into the camera frame takes the regressed pelvis
        pelvis = smpl_joints(person("pw3d", **columns), layers, published=True)[0][0, 0].numpy()
        columns["smpl_transl"] = columns["smpl_transl"] + _input("R") @ pelvis + _input("t") - pelvis
    return augmented(person("pw3d", **columns, **CAMERA), _input("trans2bb"), flip, 15 * flip, mirrored=True)


@pytest.mark.parametrize("case", ["K", "KRt_flip"])
def test_smpl_joints_are_the_published_ones(golden: Path, case: str) -> None:
    layers = _layers(golden, "smpl")
    people = _smpl_person(case, layers)
    joints, known = smpl_joints(people, layers, published=True)
    assert known.tolist() == [True]
    augmentation = Augmentation(flip=people.flip, rotation=people.rotation, crop_affine=people.crop_affine)
    image, slots = smpl_image(people, joints, known, augmentation, torch.tensor([True]))
    wanted = torch.tensor(_input(f"smpl_{case}_joint_img"))
    torch.testing.assert_close(slots[0, :22], wanted[:22], rtol=1e-5, atol=3e-5)
    assert not slots[0, 22:].any()
    # By name: pelvis, hips, knees, ankles, neck, shoulders, elbows, wrists are rows 0 to 13 of the 137.
    at = [0, 1, 2, 4, 5, 7, 8, 12, 16, 17, 18, 19, 20, 21]
    torch.testing.assert_close(image.cells[0, :14], wanted[at], rtol=1e-5, atol=3e-5)
    seen = torch.tensor(_input(f"smpl_{case}_joint_trunc"))[:, 0] > 0
    assert torch.equal(image.seen[0, :14], seen[at])
    assert image.seen[0, 14:].sum() == seen[15]  # the head, Face_2


def test_the_skeleton_is_near_the_published_smpl_joints(golden: Path) -> None:
    layers = _layers(golden, "smpl")
    people = _smpl_person("K", layers)
    ours, published = (smpl_joints(people, layers, published=flag)[0] for flag in (False, True))
    assert not torch.equal(ours, published)
    assert (
        ours - published
    ).abs().max() < 0.05  # these bodies are random; those of the real models differ less


def test_smpl_joints_need_smpl(golden: Path) -> None:
    with pytest.raises(UsageError, match="SMPL layers"):
        smpl_joints(person("pw3d"), None, published=False)
    joints, known = smpl_joints(person("ubody"), None, published=False)
    assert joints.shape == (1, 24, 3)
    assert not known.any()


def test_bodies_are_posed_with_the_model_of_their_betas() -> None:
    assert posing_gender("male", has_smplx=True, has_betas_neutral=False) == "male"
    assert posing_gender("male", has_smplx=True, has_betas_neutral=True) == "neutral"
    assert posing_gender("male", has_smplx=False, has_betas_neutral=False) == "neutral"
    assert posing_gender(None, has_smplx=True, has_betas_neutral=False) == "neutral"
