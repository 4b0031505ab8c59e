"""The network of SMPLer-X (Cai et al. 2023), its weights named as the published ones less ``module.``."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hmtools.bodies.layers import BodyLayer
from hmtools.core.errors import UsageError
from hmtools.models.sizes import Size
from hmtools.models.smplerx.body import RelativeHandsBody, project
from hmtools.models.smplerx.heads import (
    BodyRegressor,
    BoxNet,
    FaceRegressor,
    HandRegressor,
    HandRoiNet,
    PositionNet,
    begin_upright,
    camera_translation,
    initialise,
)
from hmtools.models.smplerx.joint_sets import BODY_JOINTS, HAND_JOINTS, POSE_PARTS
from hmtools.models.smplerx.outputs import Forward, Prediction, Raw, prediction
from hmtools.models.smplerx.readout import restore_boxes, rotations_from_6d
from hmtools.models.smplerx.units import (
    BODY_DEPTH_CELLS,
    BOX_EXTENSION,
    HAND_CELLS,
    IMAGE_SIZE,
    SUBSAMPLING,
)
from hmtools.models.vit import Attention, ViT

__all__ = ["TASK_TOKENS", "SmplerX"]

_SHAPE, _CAMERA, _EXPRESSION, _JAW, _POSE = 0, 1, 2, 3, 6  # places among the task tokens; 4 and 5 are unused
TASK_TOKENS = _POSE + BODY_JOINTS
"""Task tokens of the encoder: 31."""
_SLACK = 1e-4  # beyond [0, 1], for rounding


class SmplerX(nn.Module):
    """SMPLer-X.

    New weights are drawn as published; load others with ``load_state_dict``. Weights are float32; for speed
    run it under ``torch.autocast``: coordinates, rotations and the body model stay in float32 there.

    Args:
        size: of the encoder; all heads follow from it.
        body: neutral SMPL-X. It is not in the state dict and has no parameters. None makes a network that
            only holds weights.
        image_size: height and width of the network image, multiples of 16; the crop has twice that.
        checkpoint: recompute the encoder's blocks in the backward pass to save memory.
        attention: how the encoder's attention is computed.
    """

    def __init__(
        self,
        size: Size,
        body: BodyLayer | None,
        *,
        image_size: tuple[int, int] = IMAGE_SIZE,
        checkpoint: bool = False,
        attention: Attention = "sdpa",
    ) -> None:
        super().__init__()
        self.size, self.image_size = size, image_size
        width = size.width
        self.encoder = ViT(
            size, image_size=image_size, task_tokens=TASK_TOKENS, checkpoint=checkpoint, attention=attention
        )
        self.body_position_net = PositionNet(width, BODY_JOINTS, BODY_DEPTH_CELLS)
        self.body_regressor = BodyRegressor(width, size.pose_features, normalised=size.from_scratch)
        self.box_net = BoxNet(width, size.box_features)
        self.hand_roi_net = HandRoiNet(width)
        self.hand_position_net = PositionNet(width, HAND_JOINTS, HAND_CELLS)
        self.hand_regressor = HandRegressor(width, size.pose_features)
        self.face_regressor = FaceRegressor(width)
        for head in self.heads():
            initialise(head, from_scratch=size.from_scratch)
        if size.from_scratch:
            begin_upright(self.body_regressor, self.hand_regressor, self.face_regressor)
        self.body = None if body is None else RelativeHandsBody(body)

    def heads(self) -> tuple[nn.Module, ...]:
        """Everything with weights but the encoder."""
        return tuple(module for name, module in self.named_children() if name not in ("encoder", "body"))

    @property
    def crop_size(self) -> tuple[int, int]:
        """Height and width of the crops it takes, pixels."""
        return self.image_size[0] * SUBSAMPLING, self.image_size[1] * SUBSAMPLING

    def forward(self, crop: Float[Tensor, "b 3 h w"], *, vertices: bool = False) -> Forward:
        """One pass.

        Args:
            crop: (B, 3, 512, 384) RGB in [0, 1], float32, no mean or standard deviation taken off.
            vertices: whether the mesh is wanted.

        Returns:
            All that losses and predictions are made of.

        Raises:
            UsageError: for crops of another shape, type or (in eval mode, as looking stalls a GPU) range, or
                a network without a body model.
        """
        self._check(crop)
        features, tokens = self.encoder(crop[..., ::SUBSAMPLING, ::SUBSAMPLING])
        heatmap, joints = self.body_position_net(features)
        numbers = self.body_regressor(tokens[:, _POSE:], tokens[:, _SHAPE], tokens[:, _CAMERA], joints)
        centers, sizes = self.box_net(features, heatmap)
        boxes = torch.stack(
            [
                restore_boxes(centers[:, part], sizes[:, part], extension)
                for part, extension in enumerate(BOX_EXTENSION.values())
            ],
            dim=1,
        ).detach()
        hands = self.hand_roi_net(features, boxes[:, 0], boxes[:, 1])
        _, hand_joints = self.hand_position_net(hands)
        expression, jaw_6d = self.face_regressor(tokens[:, _EXPRESSION], tokens[:, _JAW])
        raw = Raw(
            root_6d=numbers.root_6d,
            body_6d=numbers.body_6d,
            hand_6d=self.hand_regressor(hands, hand_joints),
            jaw_6d=jaw_6d,
            hand_joints=hand_joints,
            camera=numbers.camera,
        )
        left, right = hand_joints.unflatten(0, (2, -1))
        return Forward(
            raw=raw,
            body_joints=joints,
            left_hand_joints=_mirrored_joints(left),
            right_hand_joints=right,
            box_centers=centers,
            box_sizes=sizes,
            boxes_xyxy=boxes,
            betas=numbers.betas,
            expression=expression,
            **self._posed(raw, numbers.betas, expression, vertices),
        )

    def predict(self, crop: Float[Tensor, "b 3 h w"], *, vertices: bool = True) -> Prediction:
        """One pass without gradients, as a prediction; put the network in eval mode before.

        Args:
            crop: as for :meth:`forward`.
            vertices: whether the mesh is wanted.

        Raises:
            UsageError: as :meth:`forward`, and in training mode.
        """
        if self.training:
            raise UsageError(
                "the network is in training mode, predictions would be random; call eval() first"
            )
        with torch.no_grad():
            return prediction(self(crop, vertices=vertices))

    def _posed(self, raw: Raw, betas: Tensor, expression: Tensor, vertices: bool) -> dict[str, Any]:
        """What of :class:`Forward` the body model makes of the heads' numbers."""
        body = self._body()
        pose = _pose(raw)
        transl = camera_translation(raw.camera, self.image_size)
        posed = body(pose, betas, expression, vertices=vertices)
        projected = project(posed.joints_144, transl, self.image_size)
        return {
            "pose": pose,
            "transl": transl,
            "joints": posed.joints,
            "joints_144": posed.joints_144,
            "projected": projected[:, body.rows],
            "projected_144": projected,
            "vertices": posed.vertices,
        }

    def _body(self) -> RelativeHandsBody:
        if self.body is None:
            raise UsageError(
                "this SMPLer-X was made without a body model, for its weights alone; give it one"
            )
        return self.body

    def _check(self, crop: Tensor) -> None:
        self._body()
        height, width = self.crop_size
        wanted = f"crop: expected float32 of shape (B, 3, {height}, {width}), RGB in [0, 1], B at least 1"
        dtype = self.encoder.pos_embed.dtype
        if dtype in (torch.bfloat16, torch.float16):
            raise UsageError(
                f"{wanted}; the weights are {dtype}: keep them float32, run under torch.autocast"
            )
        if (
            crop.dim() != 4
            or crop.shape[1:] != (3, height, width)
            or crop.shape[0] == 0
            or crop.dtype != dtype
        ):
            raise UsageError(f"{wanted}; got {crop.dtype} {tuple(crop.shape)}")
        if self.training or crop.is_meta or torch.compiler.is_compiling():
            return
        low, high = (float(x) for x in crop.detach().aminmax())
        if not (low >= -_SLACK and high <= 1 + _SLACK):
            raise UsageError(
                f"{wanted}; got numbers from {low:g} to {high:g}: divide 0..255 by 255, and take off no mean"
            )


def _pose(raw: Raw) -> Tensor:
    """(B, 159) axis-angle of all parts, in the order of the pose; left hands are mirrored back."""
    batch = raw.root_6d.shape[0]
    left, right = raw.hand_6d.reshape(2, batch, -1)
    numbers = torch.cat([raw.root_6d, raw.body_6d, left, right, raw.jaw_6d], dim=1)
    pose = rotations_from_6d(numbers.reshape(batch, -1, 6)).flatten(1)
    columns = POSE_PARTS["left_hand"]
    mirrored = pose[:, columns].reshape(batch, -1, 3)
    mirrored = torch.cat([mirrored[..., :1], -mirrored[..., 1:]], dim=-1).flatten(1)
    return torch.cat([pose[:, : columns.start], mirrored, pose[:, columns.stop :]], dim=1)


def _mirrored_joints(joints: Tensor) -> Tensor:
    """Hand joints (B, 20, 3) in cells, mirrored along x."""
    return torch.cat([HAND_CELLS - 1 - joints[..., :1], joints[..., 1:]], dim=-1)
