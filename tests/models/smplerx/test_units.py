from __future__ import annotations

import torch

from hmtools.models.smplerx.units import BOX_EXTENSION, body_to_hand_box, hand_box_to_body


def test_hand_cells_in_figures() -> None:
    box = torch.tensor([[48.0, 32.0, 112.0, 64.0]])  # 4 x 2 cells, its corner at (3, 2)
    joints = torch.tensor([[[0.0, 0.0, 7.0], [16.0, 8.0, 1.0]]])
    moved = hand_box_to_body(joints, box)
    assert moved.tolist() == [[[3, 2, 7], [7, 3, 1]]]
    assert body_to_hand_box(moved, box).tolist() == joints.tolist()
    assert body_to_hand_box(moved[..., :2], box).tolist() == joints[..., :2].tolist()


def test_boxes_of_each_sample() -> None:
    generator = torch.Generator().manual_seed(0)
    joints = torch.randn(5, 20, 3, generator=generator)
    boxes = 50 * torch.randn(5, 4, generator=generator)
    back = body_to_hand_box(hand_box_to_body(joints, boxes), boxes)
    torch.testing.assert_close(back, joints, atol=1e-3, rtol=1e-4)


def test_order_of_boxes() -> None:
    assert list(BOX_EXTENSION) == ["left_hand", "right_hand", "face"]
