"""What SMPLer-X returns: everything the losses need, and what is left of it for prediction.

Cells, boxes and the two images are those of :mod:`hmtools.models.smplerx.units`. Metres, radians, OpenCV
camera frame (x right, y down, z forward) of the virtual camera of the crop. Hand poses are **relative** to
the body model's mean hand everywhere in this file.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hmtools.models.smplerx.joint_sets import POSE_PARTS
from hmtools.models.smplerx.units import BOX_EXTENSION, SUBSAMPLING, hand_box_to_body

__all__ = ["BOX_PARTS", "Forward", "Prediction", "Raw", "prediction"]

BOX_PARTS: tuple[str, ...] = tuple(BOX_EXTENSION)
"""Order of the boxes: left_hand, right_hand, face."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Raw:
    """Numbers as the heads give them, before any conversion; B images.

    In the rows of 2B hands the left hands of all images come first, **mirrored**, then the right hands.

    Attributes:
        root_6d: (B, 6) root rotation, six numbers in the layout ``interleaved``.
        body_6d: (B, 126) 21 joints, six numbers each.
        hand_6d: (2B, 90) 15 joints, six numbers each.
        jaw_6d: (B, 6).
        hand_joints: (2B, 20, 3) cells of the hand's grid: x, y, z.
        camera: (B, 3) the camera head's numbers; the third goes through a sigmoid.
    """

    root_6d: Float[Tensor, "b 6"]
    body_6d: Float[Tensor, "b 126"]
    hand_6d: Float[Tensor, "b2 90"]
    jaw_6d: Float[Tensor, "b 6"]
    hand_joints: Float[Tensor, "b2 20 3"]
    camera: Float[Tensor, "b 3"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forward:
    """All of one pass over B images: what every loss is a function of.

    Gradients flow through everything but ``boxes_xyxy``, which is detached. Body joints are detached where
    the pose is regressed from them, heat map and centres where box sizes are, hand joints where the hand
    pose is: so each position net learns from its own losses alone.

    Attributes:
        raw: the heads' own numbers.
        body_joints: (B, 25, 3) of the position net, cells of the body: x, y, z.
        left_hand_joints: (B, 20, 3) of the position net, cells of the hand's grid on its box, not mirrored.
        right_hand_joints: (B, 20, 3) likewise.
        box_centers: (B, 3, 2) x, y in cells of the body; parts in the order of :data:`BOX_PARTS`.
        box_sizes: (B, 3, 2) width and height in cells; may come out negative.
        boxes_xyxy: (B, 3, 4) the boxes made square and extended, pixels of the network image. Not clipped.
        pose: (B, 159) axis-angle, radians; columns as in ``joint_sets.POSE_PARTS``; hands relative.
        betas: (B, 10) shape.
        expression: (B, 10).
        transl: (B, 3) metres, from the frame of ``joints`` to the camera.
        joints: (B, 137, 3) metres, of the body model, the 137 of ``smplerx_137``; ``transl`` not added.
        joints_144: (B, 144, 3) the same, all joints of the body model.
        projected: (B, 137, 2) ``joints`` + ``transl`` in the virtual camera, cells of the body.
        projected_144: (B, 144, 2) likewise.
        vertices: (B, 10475, 3) metres, ``transl`` not added; None unless asked for.
    """

    raw: Raw
    body_joints: Float[Tensor, "b 25 3"]
    left_hand_joints: Float[Tensor, "b 20 3"]
    right_hand_joints: Float[Tensor, "b 20 3"]
    box_centers: Float[Tensor, "b 3 2"]
    box_sizes: Float[Tensor, "b 3 2"]
    boxes_xyxy: Float[Tensor, "b 3 4"]
    pose: Float[Tensor, "b 159"]
    betas: Float[Tensor, "b 10"]
    expression: Float[Tensor, "b 10"]
    transl: Float[Tensor, "b 3"]
    joints: Float[Tensor, "b 137 3"]
    joints_144: Float[Tensor, "b 144 3"]
    projected: Float[Tensor, "b 137 2"]
    projected_144: Float[Tensor, "b 144 2"]
    vertices: Float[Tensor, "b v 3"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """What the network says about the persons of B crops, detached.

    Attributes:
        root_pose: (B, 3) axis-angle, radians, camera frame.
        body_pose: (B, 63) 21 joints.
        left_hand_pose: (B, 45) 15 joints, **relative to the mean hand**.
        right_hand_pose: (B, 45) likewise.
        jaw_pose: (B, 3).
        betas: (B, 10).
        expression: (B, 10).
        transl: (B, 3) metres, in the virtual camera of the crop: not that of the full image.
        joints_position_net: (B, 65, 3) body 25, left hand 20, right hand 20, all in cells of the body;
            z of the hands stays in cells of the hand's depth.
        projected: (B, 137, 2) the body model's joints, cells of the body.
        projected_144: (B, 144, 2) likewise, all joints (AGORA's evaluation wants them).
        joints_144: (B, 144, 3) metres, ``transl`` added.
        vertices: (B, 10475, 3) metres, ``transl`` added; None unless asked for.
        boxes_xyxy: (B, 3, 4) left hand, right hand, face: x0, y0, x1, y1, pixels of the *crop*, square and
            extended, not clipped.
    """

    root_pose: Float[Tensor, "b 3"]
    body_pose: Float[Tensor, "b 63"]
    left_hand_pose: Float[Tensor, "b 45"]
    right_hand_pose: Float[Tensor, "b 45"]
    jaw_pose: Float[Tensor, "b 3"]
    betas: Float[Tensor, "b 10"]
    expression: Float[Tensor, "b 10"]
    transl: Float[Tensor, "b 3"]
    joints_position_net: Float[Tensor, "b 65 3"]
    projected: Float[Tensor, "b 137 2"]
    projected_144: Float[Tensor, "b 144 2"]
    joints_144: Float[Tensor, "b 144 3"]
    vertices: Float[Tensor, "b v 3"] | None
    boxes_xyxy: Float[Tensor, "b 3 4"]


def prediction(forward: Forward) -> Prediction:
    """What of a pass is a prediction: hand joints in the body's cells, boxes in the crop's pixels."""
    left, right = forward.boxes_xyxy[:, 0], forward.boxes_xyxy[:, 1]
    found = [
        forward.body_joints,
        hand_box_to_body(forward.left_hand_joints, left),
        hand_box_to_body(forward.right_hand_joints, right),
    ]
    shift = forward.transl[:, None]
    pose = {f"{name}_pose": forward.pose[:, columns].detach() for name, columns in POSE_PARTS.items()}
    return Prediction(
        **pose,
        betas=forward.betas.detach(),
        expression=forward.expression.detach(),
        transl=forward.transl.detach(),
        joints_position_net=torch.cat(found, dim=1).detach(),
        projected=forward.projected.detach(),
        projected_144=forward.projected_144.detach(),
        joints_144=(forward.joints_144 + shift).detach(),
        vertices=None if forward.vertices is None else (forward.vertices + shift).detach(),
        boxes_xyxy=forward.boxes_xyxy * SUBSAMPLING,
    )
