from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from hmtools.bodies.assets import load_model
from hmtools.bodies.hands import absolute_hand
from hmtools.bodies.layers import BodyLayer
from hmtools.bodies.params import BodyParams
from hmtools.core.errors import AssetError
from hmtools.humandata.keypoints import convention
from hmtools.models.smplerx.body import RelativeHandsBody, part_aligned, project, root_aligned
from hmtools.models.smplerx.joint_sets import SUPERVISED
from tests.models.smplerx.networks import figures, inputs


def test_published_mesh_of_the_targets(body: BodyLayer) -> None:
    targets, stored = inputs.pose_targets(1, 1, 2), figures("forward_vits")
    posed = RelativeHandsBody(body)(
        targets["smplx_pose"], targets["smplx_shape"], targets["smplx_expr"], vertices=True
    )
    mesh = posed.vertices + targets["smplx_cam_trans"][:, None]
    expected = stored["posed/out_smplx_mesh_cam_pseudo_gt_sub"]
    np.testing.assert_allclose(mesh[:, ::25].numpy(), expected, atol=1e-4)
    np.testing.assert_allclose(
        inputs.stats(mesh), stored["posed/out_smplx_mesh_cam_pseudo_gt_stats"], atol=1e-4, rtol=1e-5
    )


def test_hands_are_relative_to_the_mean(body: BodyLayer) -> None:
    pose, zeros = torch.zeros(1, 159), torch.zeros(1, 10)
    pose[:, 66:111] = 0.1
    found = RelativeHandsBody(body)(pose, zeros, zeros)
    left = torch.tensor(absolute_hand(np.full((1, 45), 0.1), body.model, "left"), dtype=torch.float32)
    right = torch.tensor(absolute_hand(np.zeros((1, 45)), body.model, "right"), dtype=torch.float32)
    expected = body(BodyParams(left_hand_pose=left, right_hand_pose=right))
    torch.testing.assert_close(found.joints_144, expected.joints, atol=1e-6, rtol=0)
    assert found.vertices is None


def test_it_is_no_part_of_the_weights(body: BodyLayer) -> None:
    module = RelativeHandsBody(body)
    assert not module.state_dict()
    assert not list(module.parameters())
    assert not copy.deepcopy(module).double().state_dict()
    assert module.double().layer.joints.template.dtype == torch.float64
    assert {buffer.device.type for buffer in module.to("meta").buffers()} == {"meta"}


def test_another_family_is_refused(golden: Path) -> None:
    with pytest.raises(AssetError, match="needs an SMPL-X model"):
        RelativeHandsBody(BodyLayer(load_model("smpl", "neutral", roots=[golden])))


def test_projection_in_figures() -> None:
    joints, transl = torch.tensor([[[0.1, -0.2, 1.0], [0.0, 0.0, 0.0]]]), torch.tensor([[0.0, 0.3, 24.0]])
    first = [(0.1 / 25.0001 * 5000 + 96) / 16, (0.1 / 25.0001 * 5000 + 128) / 16]
    second = [6.0, (0.3 / 24.0001 * 5000 + 128) / 16]
    torch.testing.assert_close(project(joints, transl), torch.tensor([[first, second]]))
    near = project(torch.zeros(1, 1, 3), torch.tensor([[0.1, 0.2, 1.0]]))  # divided by 1.0001
    torch.testing.assert_close(near, torch.tensor([[[37.246876, 70.493752]]]), atol=1e-4, rtol=0)
    small = project(joints, transl, (128, 96))
    torch.testing.assert_close(small, project(joints, transl) - torch.tensor([3.0, 4.0]))


def test_alignment() -> None:
    joints = torch.randn(2, 137, 3, generator=torch.Generator().manual_seed(0))
    at = convention(SUPERVISED).index
    torch.testing.assert_close(root_aligned(joints), joints - joints[:, at("Pelvis")][:, None])
    aligned = part_aligned(joints)
    for joint, root in (
        ("L_Knee", "Pelvis"),
        ("Pelvis", "Pelvis"),
        ("L_Wrist", "Pelvis"),
        ("Nose", "Pelvis"),
        ("L_Thumb_1", "L_Wrist"),
        ("L_Pinky_4", "L_Wrist"),
        ("R_Thumb_1", "R_Wrist"),
        ("R_Pinky_4", "R_Wrist"),
        ("Face_1", "Neck"),
        ("Face_72", "Neck"),
    ):
        expected = joints[:, at(joint)] - joints[:, at(root)]
        torch.testing.assert_close(aligned[:, at(joint)], expected, atol=1e-6, rtol=0)
