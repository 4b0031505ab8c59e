"""The body model as SMPLer-X calls it: 159 pose numbers with hands relative to the mean hand.

This is the one place where the mean hand is added, so that the layer gets the absolute hands it takes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hmtools.bodies.layers import BodyLayer
from hmtools.bodies.params import BodyParams
from hmtools.core.errors import AssetError
from hmtools.models.smplerx.joint_sets import (
    JOINT_PARTS,
    PART_ROOTS,
    PELVIS,
    POSE_PARTS,
    SUPERVISED_ROWS,
)
from hmtools.models.smplerx.readout import full_precision
from hmtools.models.smplerx.units import CELL, FOCAL_LENGTH, IMAGE_SIZE

__all__ = ["PosedBody", "RelativeHandsBody", "part_aligned", "project", "root_aligned"]

_NEAR = 1e-4  # added to the depth before the division, as in the published projection


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PosedBody:
    """Bodies as the body model gives them: metres, no translation.

    Attributes:
        joints: (B, 137, 3) of ``smplerx_137``.
        joints_144: (B, 144, 3) of ``smplx_144``.
        vertices: (B, 10475, 3), or None when not asked for.
    """

    joints: Float[Tensor, "b 137 3"]
    joints_144: Float[Tensor, "b 144 3"]
    vertices: Float[Tensor, "b v 3"] | None


class RelativeHandsBody(nn.Module):
    """SMPL-X with hands relative to its mean hand, eyes straight ahead.

    It has no parameters, and none of its buffers is in a state dict: weights are the network's alone, and a
    checkpoint never holds a licensed model. The buffers of ``layer`` are marked so in place; they move with
    the network from device to device.

    Args:
        layer: SMPL-X, in float32; ``surface=False`` is enough where no mesh is wanted.

    Raises:
        AssetError: if the model has no mean hand, i.e. is no SMPL-X.
    """

    hand_means: Tensor
    rows: Tensor

    def __init__(self, layer: BodyLayer) -> None:
        super().__init__()
        if layer.family != "smplx" or layer.model.hand_mean is None:
            raise AssetError(f"SMPLer-X needs an SMPL-X model with hands, got {layer.model.path}")
        self.layer = layer
        for module in layer.modules():
            for name, buffer in list(module.named_buffers(recurse=False)):
                module.register_buffer(name, buffer, persistent=False)
        like = layer.joints.template
        means = torch.tensor(layer.model.hand_mean, dtype=like.dtype, device=like.device)
        self.register_buffer("hand_means", means, persistent=False)
        rows = torch.tensor(SUPERVISED_ROWS, device=like.device)
        self.register_buffer("rows", rows, persistent=False)

    @full_precision
    def forward(
        self,
        pose: Float[Tensor, "b 159"],
        betas: Float[Tensor, "b 10"],
        expression: Float[Tensor, "b 10"],
        *,
        vertices: bool = False,
    ) -> PosedBody:
        """Pose a batch.

        Args:
            pose: (B, 159) axis-angle, radians, columns as in ``joint_sets.POSE_PARTS``, hands relative.
            betas: (B, 10).
            expression: (B, 10).
            vertices: whether the mesh is wanted too.

        Returns:
            Joints and mesh, metres, turned about the pelvis and not translated.
        """
        parts = {name: pose[:, columns] for name, columns in POSE_PARTS.items()}
        output = self.layer(
            BodyParams(
                global_orient=parts["root"],
                body_pose=parts["body"],
                left_hand_pose=parts["left_hand"] + self.hand_means[0],
                right_hand_pose=parts["right_hand"] + self.hand_means[1],
                jaw_pose=parts["jaw"],
                betas=betas,
                expression=expression,
            ),
            vertices=vertices,
        )
        return PosedBody(
            joints=output.joints[:, self.rows], joints_144=output.joints, vertices=output.vertices
        )


def project(
    joints: Float[Tensor, "b j 3"], transl: Float[Tensor, "b 3"], image_size: tuple[int, int] = IMAGE_SIZE
) -> Float[Tensor, "b j 2"]:
    """Project through the virtual camera of the crop.

    Args:
        joints: (B, J, 3) metres.
        transl: (B, 3) metres, added first.
        image_size: height and width of the network image, pixels; the principal point is its middle.

    Returns:
        (B, J, 2) x, y in cells of the body.
    """
    x, y, z = (joints + transl[:, None]).unbind(-1)
    height, width = image_size
    depth = z + _NEAR
    pixels = [x / depth * FOCAL_LENGTH + width / 2, y / depth * FOCAL_LENGTH + height / 2]
    return torch.stack(pixels, dim=-1) / CELL


def root_aligned(joints: Float[Tensor, "b 137 3"]) -> Float[Tensor, "b 137 3"]:
    """The 137 joints as seen from the pelvis (``wo ra`` of SMPLer-X)."""
    return joints - joints[:, PELVIS : PELVIS + 1]


def part_aligned(joints: Float[Tensor, "b 137 3"]) -> Float[Tensor, "b 137 3"]:
    """The 137 joints with hands seen from their wrist, face from the neck, the rest from the pelvis."""
    joints = root_aligned(joints)
    roots = {name: joints[:, row : row + 1] for name, row in PART_ROOTS.items()}
    return torch.cat(
        [
            joints[:, rows] - roots[name] if name in roots else joints[:, rows]
            for name, rows in JOINT_PARTS.items()
        ],
        dim=1,
    )
