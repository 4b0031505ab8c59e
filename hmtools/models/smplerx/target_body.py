"""Where the joints of the fitted bodies are: SMPL-X for all, SMPL for the sets that want its own joints."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hmtools.bodies.mixed import BodyLayers
from hmtools.bodies.params import BodyParams
from hmtools.core.errors import AssetError, UsageError
from hmtools.geometry.projection import project
from hmtools.humandata.keypoints import convention
from hmtools.models.smplerx.joint_sets import JOINT_PARTS, SUPERVISED, SUPERVISED_ROWS
from hmtools.models.smplerx.target_input import TargetInput
from hmtools.models.smplerx.target_joints import picked
from hmtools.models.smplerx.target_parameters import Parameters, column

__all__ = ["SMPL_JOINTS", "fit_joints", "joints_known", "mean_hands", "pixels_of", "smpl_joints"]

SMPL_JOINTS = 24
"""SMPL's skeleton, without the picked vertices."""


def mean_hands(layers: BodyLayers) -> Float[Tensor, "2 45"]:
    """Mean left and right hand of the neutral SMPL-X model, radians, float64.

    Raises:
        AssetError: if the model has no hands.
    """
    model = layers.layer("neutral").model
    if model.hand_mean is None:
        raise AssetError(f"SMPLer-X needs an SMPL-X model with hands, got {model.path}")
    return torch.tensor(model.hand_mean, dtype=torch.float64)


def fit_joints(
    people: TargetInput, found: Parameters, hands: Float[Tensor, "2 45"], layers: BodyLayers
) -> Float[Tensor, "b 137 3"]:
    """(B, 137, 3) joints of the bodies in metres, camera frame, translation included; the eyes look ahead.

    A person without a body is posed like everybody else, from zeros: a batch has one shape.
    """
    params = BodyParams(
        global_orient=found.global_orient,
        body_pose=found.body_pose,
        left_hand_pose=found.left_hand_pose + hands[0],
        right_hand_pose=found.right_hand_pose + hands[1],
        jaw_pose=found.jaw_pose,
        betas=found.betas,
        expression=found.expression,
        transl=found.transl,
        kid=None if people.kid is None else people.kid.nan_to_num(nan=0.0),
    )
    output = layers(params, people.smplx_gender, vertices=False, check=False)
    return picked(output.joints, SUPERVISED_ROWS)


def joints_known(people: TargetInput, found: Parameters) -> Bool[Tensor, "b 137"]:
    """Which of the 137 joints of the fit may supervise, before any augmentation."""
    parts = {
        "body": found.body_known,
        "left_hand": found.left_known,
        "right_hand": found.right_known,
        "face": found.face_known,
    }
    each = [parts[name][:, None].expand(-1, span.stop - span.start) for name, span in JOINT_PARTS.items()]
    names = convention(SUPERVISED).names
    loose = {rule: [name in rule.invalid_joints for name in names] for rule in set(people.rules)}
    known = torch.cat(each, dim=1)
    return known & ~torch.tensor([loose[rule] for rule in people.rules]).to(known.device, non_blocking=True)


def pixels_of(people: TargetInput, joints: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n 2"]:
    """(B, N, 2) upright original pixels of joints in the camera frame; NaN where there is no pixel."""
    focal, centre = people.focal_length[:, None], people.principal_point[:, None]
    pixels: Tensor = project(joints, focal, centre, behind="nan")
    return pixels


def smpl_joints(
    people: TargetInput, layers: BodyLayers | None, *, published: bool
) -> tuple[Float[Tensor, "b 24 3"], Bool[Tensor, " b"]]:
    """Joints of the SMPL fits of the people whose rule wants them, zeros for the others.

    Args:
        people: the batch.
        layers: SMPL; only needed if a rule says ``smpl``.
        published: regress them from the posed mesh with the neutral model's regressor, whatever the gender,
            as SMPLer-X does; else they are the skeleton's. Of the joints that SMPL shares with SMPL-X by
            name, regressed ones are up to a millimetre off the skeleton.

    Returns:
        (B, 24, 3) metres, camera frame, and (B,) whether they are known.

    Raises:
        UsageError: if they are wanted and there are no layers, or published ones and the layers have no mesh.
    """
    like = people.smplx_global_orient
    joints = like.new_zeros((len(like), SMPL_JOINTS, 3))
    wanted = [i for i, rule in enumerate(people.rules) if "smpl" in (rule.joints2d, rule.smplx_joints2d)]
    known = torch.zeros_like(people.valid_smpl)
    if not wanted:
        return joints, known
    if layers is None:
        raise UsageError("a target rule wants SMPL joints: pass the SMPL layers (smpl=BodyLayers('smpl'))")
    widths = {"global_orient": 3, "body_pose": 69, "betas": 10, "transl": 3}
    rows = torch.tensor(wanted).to(like.device, non_blocking=True)
    own = {name: column(people, f"smpl_{name}", width)[rows] for name, width in widths.items()}
    usable = people.valid_smpl[rows] & torch.stack([v.isfinite().all(-1) for v in own.values()]).all(0)
    params = BodyParams(**{k: v.nan_to_num(0.0, 0.0, 0.0) for k, v in own.items()})
    posed = layers(params, [people.gender[i] for i in wanted], vertices=published, check=False)
    found = posed.joints[:, :SMPL_JOINTS]
    if published and posed.vertices is not None:
        regressor = layers.layer("neutral").model.joint_regressor
        found = torch.as_tensor(regressor.toarray()).to(found) @ posed.vertices
    return joints.index_copy(0, rows, found), known.index_copy(0, rows, usable)
