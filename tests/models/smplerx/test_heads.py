from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from hmtools.models.smplerx.heads import (
    BoxNet,
    HandRegressor,
    HandRoiNet,
    PositionNet,
    camera_translation,
    initialise,
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_camera() -> None:
    found = camera_translation(torch.tensor([[0.2, -0.3, 0.0], [0.0, 0.0, 100.0]]))
    expected = torch.tensor([[0.2, -0.3, 56.3819 / 2], [0.0, 0.0, 56.3819]])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    # At that depth a square of 2.5 m has the area of the picture.
    side = 2.5 * 5000 / camera_translation(torch.tensor([[0.0, 0, 100]]), (128, 96))[0, 2].item()
    assert side == pytest.approx(math.sqrt(128 * 96), rel=1e-5)


def test_channels_of_a_volume_are_joint_by_joint_then_depth() -> None:
    net = PositionNet(4, joints=3, depth=5)
    nn.init.zeros_(net.conv[0].weight)  # type: ignore[arg-type]
    bias = torch.zeros(3, 5)
    bias[0, 4] = bias[1, 2] = bias[2, 0] = 1000
    net.conv[0].bias = nn.Parameter(bias.flatten())
    heatmap, joints = net(torch.randn(1, 4, 7, 6))
    assert heatmap.shape == (1, 3, 5, 7, 6)
    torch.testing.assert_close(joints[0], torch.tensor([[2.5, 3, 4], [2.5, 3, 2], [2.5, 3, 0]]))


def test_box_centers_are_in_cells_and_sizes_part_by_part() -> None:
    net = BoxNet(8, 16).eval()
    for part, sizes in enumerate((net.lhand_size, net.rhand_size, net.face_size)):
        nn.init.zeros_(sizes[2].weight)  # type: ignore[arg-type]
        sizes[2].bias = nn.Parameter(torch.tensor([part + 1.0, part + 10.0]))
    nn.init.zeros_(net.bbox_center[0].weight)  # type: ignore[arg-type]
    boxes = net(torch.randn(2, 8, 16, 12), torch.rand(2, 25, 16, 16, 12))
    # No preference: the middle of a grid eight times finer.
    torch.testing.assert_close(boxes.centers, torch.tensor([95 / 2 / 8, 127 / 2 / 8]).expand(2, 3, 2))
    assert boxes.sizes[1].tolist() == [[1, 10], [2, 11], [3, 12]]


def test_left_hands_come_first_and_mirrored() -> None:
    net = HandRoiNet(8).eval()
    net.conv = nn.Sequential(nn.Identity())
    features = torch.randn(2, 8, 16, 12)
    left, right = torch.tensor([[30.0, 40, 90, 100]] * 2), torch.tensor([[80.0, 90, 140, 130]] * 2)
    hands, swapped = net(features, left, right), net(features, right, left)
    assert hands.shape == (4, 2, 16, 16)
    torch.testing.assert_close(hands[:2], swapped[2:].flip(-1))
    torch.testing.assert_close(hands[2:], swapped[:2].flip(-1))
    assert not torch.allclose(hands[:2], hands[:2].flip(-1))


def test_hand_boxes_are_pixels_of_the_network_image() -> None:
    net = HandRoiNet(4)
    net.conv = nn.Sequential(nn.Identity())
    ramp = torch.arange(48.0).expand(1, 1, 64, 48)  # on the map four times finer than the cells
    net.deconv = nn.Sequential(nn.Identity())
    box = torch.tensor([[64.0, 64, 128, 128]])  # 16 to 32 there: bins of one, with one sample in the middle
    _, right = net(ramp, box, box)
    torch.testing.assert_close(right[0], torch.arange(16.5, 32).expand(16, 16))


def test_hand_features_are_sampled_where_the_joints_are() -> None:
    net = HandRegressor(4, 512).eval()
    features, joints = torch.randn(1, 4, 16, 16), torch.full((1, 20, 3), 5.0)
    with torch.no_grad():
        before = net(features, joints)
        elsewhere = features.clone()
        elsewhere[..., 8:, 8:] += 1
        torch.testing.assert_close(net(elsewhere, joints), before)
        elsewhere[..., 5, 5] += 1
        assert not torch.allclose(net(elsewhere, joints), before)
        assert not torch.allclose(net(features, joints + torch.tensor([0.0, 0, 1])), before)


def test_new_weights() -> None:
    net = BoxNet(64, 256)
    initialise(net)
    assert net.deconv[0].weight.std().item() == pytest.approx(0.001, rel=0.02)  # type: ignore[operator]
    assert net.lhand_size[0].weight.std().item() == pytest.approx(0.01, rel=0.02)  # type: ignore[operator]
    assert not any(bool(p.any()) for name, p in net.named_parameters() if name.endswith("bias"))
    assert bool(torch.as_tensor(net.deconv[1].weight == 1).all())
    initialise(net, from_scratch=True)  # by how many channels convolutions have
    assert net.deconv[0].weight.std().item() > 0.005  # type: ignore[operator]
    assert net.lhand_size[0].weight.std().item() == pytest.approx(0.01, rel=0.02)  # type: ignore[operator]
