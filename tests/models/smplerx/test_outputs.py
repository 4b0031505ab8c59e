from __future__ import annotations

from dataclasses import fields, replace

import torch

from hmtools.bodies.layers import BodyLayer
from hmtools.models.smplerx.outputs import BOX_PARTS, Prediction, prediction
from hmtools.models.smplerx.units import hand_box_to_body
from tests.models.smplerx.networks import inputs, network


def test_prediction_of_a_pass(body: BodyLayer) -> None:
    net = network("tiny", body, 5, posed=True)
    forward = net(inputs.image(3, 0, 2), vertices=True)
    found = prediction(forward)
    values = {item.name: getattr(found, item.name) for item in fields(Prediction)}
    assert not any(value.requires_grad for value in values.values())
    pose = torch.cat(
        [values[f"{name}_pose"] for name in ("root", "body", "left_hand", "right_hand", "jaw")], 1
    )
    assert torch.equal(pose, forward.pose)
    assert found.vertices is not None
    torch.testing.assert_close(found.vertices, forward.vertices + forward.transl[:, None])
    torch.testing.assert_close(found.joints_144, forward.joints_144 + forward.transl[:, None])
    torch.testing.assert_close(found.boxes_xyxy, 2 * forward.boxes_xyxy)
    for hand, rows in (("left_hand", slice(25, 45)), ("right_hand", slice(45, 65))):
        box = forward.boxes_xyxy[:, BOX_PARTS.index(hand)]
        expected = hand_box_to_body(getattr(forward, f"{hand}_joints"), box)
        torch.testing.assert_close(found.joints_position_net[:, rows], expected)
    assert prediction(replace(forward, vertices=None)).vertices is None
