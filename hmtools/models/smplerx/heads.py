"""The heads of SMPLer-X. Attribute names are those of the published weights."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hmtools.models.smplerx.joint_sets import BODY_JOINTS, HAND_JOINTS, POSE_PARTS
from hmtools.models.smplerx.readout import full_precision, sample_at, soft_argmax, volume_softmax
from hmtools.models.smplerx.roi_align import roi_align
from hmtools.models.smplerx.units import (
    BODY_DEPTH_CELLS,
    CAMERA_DEPTH,
    CELL,
    FOCAL_LENGTH,
    HAND_CELLS,
    IMAGE_SIZE,
)

__all__ = [
    "BODY_VOLUME_CHANNELS",
    "BodyNumbers",
    "BodyRegressor",
    "BoxNet",
    "Boxes",
    "FaceRegressor",
    "HandRegressor",
    "HandRoiNet",
    "PositionNet",
    "begin_upright",
    "camera_translation",
    "initialise",
]

BODY_VOLUME_CHANNELS = BODY_JOINTS * BODY_DEPTH_CELLS
"""Channels of the body's volume when depth is folded into them."""

_BOX_UPSAMPLING = 8  # three deconvolutions
_ROI_UPSAMPLING = 4  # two


def _deconvolutions(widths: list[int]) -> nn.Sequential:
    """Maps twice as wide and high per step: transposed convolution, batch norm, ReLU."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [
            nn.ConvTranspose2d(before, after, kernel_size=4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def _linear(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(before, after))


def _pointwise(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 1))


def initialise(heads: nn.Module, *, from_scratch: bool = False) -> None:
    """Draw new weights: normal, 0.001 for convolutions, 0.01 for linear layers; biases 0; norms 1, 0.

    Args:
        heads: whose weights are drawn.
        from_scratch: draw convolutions as PyTorch does, by how many channels they have. Nearly zero, as they
            otherwise are, the maps of few channels say nothing for long of where joints and boxes lie.
    """
    for module in heads.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) or (
            from_scratch and isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        ):
            module.reset_parameters()
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, std=0.01 if isinstance(module, nn.Linear) else 0.001)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


@torch.no_grad()
def begin_upright(body: BodyRegressor, hand: HandRegressor, face: FaceRegressor) -> None:
    """Let poses begin with a body at rest that stands upright and faces the camera, as HMR's begin at a mean.

    With biases of 0 they begin as random rotations, worse than none. The body leans back by a third of a
    radian: at the half turn that upright is in the camera's frame, axis-angle would jump between two signs.
    """
    for out in (body.body_pose_out, hand.hand_pose_out, face.jaw_pose_out):
        _six_numbers(out, 0.0)
    _six_numbers(body.root_pose_out, math.pi - 1 / 3)


def _six_numbers(out: nn.Sequential, angle: float) -> None:
    """Biases (6 n) that are turns by an angle about x: the first two columns of the matrix, interleaved."""
    bias: Tensor = out[0].get_parameter("bias")
    turn = torch.tensor([1.0, 0.0, 0.0, math.cos(angle), 0.0, math.sin(angle)])
    bias.copy_(turn.repeat(len(bias) // len(turn)))


class PositionNet(nn.Module):
    """Joints of body or hand from feature maps, by soft-argmax in a volume.

    Args:
        width: C, channels of the features.
        joints: how many joints.
        depth: cells of the volume along z; x and y are those of the features.
    """

    def __init__(self, width: int, joints: int, depth: int) -> None:
        super().__init__()
        self.joints, self.depth = joints, depth
        self.conv = _pointwise(width, joints * depth)

    @full_precision
    def forward(
        self, features: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b j d h w"], Float[Tensor, "b j 3"]]:
        """Softmaxed volumes (B, J, D, H, W) and joints (B, J, 3) x, y, z in cells."""
        logits = self.conv(features).unflatten(1, (self.joints, self.depth))
        heatmap = volume_softmax(logits)
        return heatmap, soft_argmax(heatmap)


class BodyNumbers(NamedTuple):
    """What :class:`BodyRegressor` returns."""

    root_6d: Tensor
    """(B, 6)"""
    body_6d: Tensor
    """(B, 126)"""
    betas: Tensor
    """(B, 10)"""
    camera: Tensor
    """(B, 3)"""


class BodyRegressor(nn.Module):
    """Pose from one token and one position per joint, shape and camera from tokens of their own.

    Args:
        width: C, channels of a token.
        pose_features: of each joint.
        normalised: take positions by how they differ from other people's (BatchNorm without weights). As
            raw cells, which is how the published weights take them, they have large means, and what they
            say of a pose is learnt slowly.
    """

    def __init__(self, width: int, pose_features: int, *, normalised: bool = False) -> None:
        super().__init__()
        self.body_conv = _linear(width, pose_features)
        flat = BODY_JOINTS * (pose_features + 3)
        if normalised:
            self.joint_norm = nn.BatchNorm1d(3 * BODY_JOINTS, affine=False)
        self.normalised = normalised
        body = POSE_PARTS["body"]
        self.root_pose_out = _linear(flat, 6)
        self.body_pose_out = _linear(flat, 2 * (body.stop - body.start))
        self.shape_out = _linear(width, 10)
        self.cam_out = _linear(width, 3)

    @full_precision
    def forward(
        self, pose_tokens: Tensor, shape_token: Tensor, camera_token: Tensor, joints: Tensor
    ) -> BodyNumbers:
        """Regress.

        Args:
            pose_tokens: (B, 25, C).
            shape_token: (B, C).
            camera_token: (B, C).
            joints: (B, 25, 3) cells of the body; no gradient goes to them.
        """
        joints = joints.detach()
        if self.normalised:
            joints = self.joint_norm(joints.flatten(1)).reshape_as(joints)
        features = torch.cat([self.body_conv(pose_tokens), joints], dim=-1).flatten(1)
        return BodyNumbers(
            root_6d=self.root_pose_out(features),
            body_6d=self.body_pose_out(features),
            betas=self.shape_out(shape_token),
            camera=self.cam_out(camera_token),
        )


def camera_translation(
    camera: Float[Tensor, "b 3"], image_size: tuple[int, int] = IMAGE_SIZE
) -> Float[Tensor, "b 3"]:
    """Translation (B, 3), metres, from the camera head's numbers: x and y as they are, depth by a sigmoid.

    The largest depth is the one at which a square of 2.5 m has the area of the network image.
    """
    height, width = image_size
    farthest = math.sqrt(FOCAL_LENGTH**2 * CAMERA_DEPTH**2 / (height * width))
    return torch.cat([camera[:, :2], farthest * camera[:, 2:].sigmoid()], dim=1)


class Boxes(NamedTuple):
    """What :class:`BoxNet` returns; left hand, right hand, face; cells of the body."""

    centers: Tensor
    """(B, 3, 2) x, y."""
    sizes: Tensor
    """(B, 3, 2) width, height."""


class BoxNet(nn.Module):
    """Boxes of hands and face: centres by soft-argmax on a finer grid, sizes from the features there.

    Args:
        width: C, channels of the features.
        fine: channels of the finer maps.
    """

    def __init__(self, width: int, fine: int) -> None:
        super().__init__()
        self.deconv = _deconvolutions([width + BODY_VOLUME_CHANNELS, *3 * [fine]])
        self.bbox_center = _pointwise(fine, 3)
        self.lhand_size, self.rhand_size, self.face_size = (
            nn.Sequential(nn.Linear(fine, fine), nn.ReLU(inplace=True), nn.Linear(fine, 2)) for _ in range(3)
        )

    def forward(self, features: Float[Tensor, "b c h w"], heatmap: Float[Tensor, "b j d h w"]) -> Boxes:
        """Find boxes.

        Args:
            features: (B, C, H, W) of the encoder.
            heatmap: (B, 25, 16, H, W) of the body's position net; no gradient goes to it.
        """
        volume = heatmap.detach().flatten(1, 2).to(features.dtype)
        return self._read(self.deconv(torch.cat([features, volume], dim=1)))

    @full_precision
    def _read(self, features: Tensor) -> Boxes:
        centers = soft_argmax(volume_softmax(self.bbox_center(features)))
        there = sample_at(features, centers.detach())
        nets = (self.lhand_size, self.rhand_size, self.face_size)
        sizes = torch.stack([net(there[:, part]) for part, net in enumerate(nets)], dim=1)
        return Boxes(centers / _BOX_UPSAMPLING, sizes)


class HandRoiNet(nn.Module):
    """Features of both hands, cut from an up-sampled map; left hands are mirrored to look like right ones."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.deconv = _deconvolutions([width, width // 2, width // 4])
        self.conv = _pointwise(width // 4, width)

    def forward(
        self, features: Float[Tensor, "b c h w"], left: Float[Tensor, "b 4"], right: Float[Tensor, "b 4"]
    ) -> Float[Tensor, "b2 c 16 16"]:
        """Cut the hands out.

        Args:
            features: (B, C, H, W) of the encoder.
            left: (B, 4) x0, y0, x1, y1 pixels of the network image; no gradient goes to it.
            right: (B, 4) likewise.

        Returns:
            (2B, C, 16, 16): all left hands, then all right ones.
        """
        fine = self.deconv(features)
        scale = _ROI_UPSAMPLING / CELL
        hands = [roi_align(fine, box * scale, None, HAND_CELLS) for box in (left, right)]
        out: Tensor = self.conv(torch.cat([hands[0].flip(-1), hands[1]]))
        return out


class HandRegressor(nn.Module):
    """Hand pose from the features at the joints and their positions; the same weights for both hands.

    Args:
        width: C, channels of the features.
        pose_features: of each joint.
    """

    def __init__(self, width: int, pose_features: int) -> None:
        super().__init__()
        self.hand_conv = nn.Sequential(
            nn.Conv2d(width, pose_features, 1), nn.BatchNorm2d(pose_features), nn.ReLU(inplace=True)
        )
        hand = POSE_PARTS["left_hand"]
        self.hand_pose_out = _linear(HAND_JOINTS * (pose_features + 3), 2 * (hand.stop - hand.start))

    @full_precision
    def forward(
        self, features: Float[Tensor, "b2 c h w"], joints: Float[Tensor, "b2 20 3"]
    ) -> Float[Tensor, "b2 90"]:
        """15 joints, six numbers each, from maps and joints (cells; no gradient goes to them)."""
        joints = joints.detach()
        there = sample_at(self.hand_conv(features), joints[..., :2])
        out: Tensor = self.hand_pose_out(torch.cat([there, joints], dim=-1).flatten(1))
        return out


class FaceRegressor(nn.Module):
    """Expression and jaw, each from its token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expr_out = _linear(width, 10)
        self.jaw_pose_out = _linear(width, 6)

    @full_precision
    def forward(
        self, expression_token: Float[Tensor, "b c"], jaw_token: Float[Tensor, "b c"]
    ) -> tuple[Float[Tensor, "b 10"], Float[Tensor, "b 6"]]:
        """Expression (B, 10) and the jaw's six numbers (B, 6)."""
        return self.expr_out(expression_token), self.jaw_pose_out(jaw_token)
