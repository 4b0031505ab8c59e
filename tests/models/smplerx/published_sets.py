"""The people of the golden files as records have them: one of each own loader, six of a HumanData file."""

from __future__ import annotations

from typing import Any

import numpy as np

from hmtools.bodies.camera import transform_to_camera
from hmtools.bodies.mixed import BodyLayers
from hmtools.bodies.params import BodyParams
from hmtools.humandata.keypoints import mapping
from hmtools.models.smplerx.target_body import mean_hands
from hmtools.models.smplerx.target_input import TargetInput
from tests.models.smplerx.target_people import arrays, by_name, drawn, person

# What the figures call them: (rule, prefix of the fit, prefix of its camera).
SETS = {
    "MSCOCO": ("mscoco", "in.smplx_param.smplx_param.", "in.smplx_param.cam_param."),
    "MSCOCO_nofit": ("mscoco", "in.smplx_param.smplx_param.", "in.smplx_param.cam_param."),
    "UBody_Part": ("ubody", "in.smplx_param.smplx_param.", "in.smplx_param.cam_param."),
    "MPII": ("mpii", "in.smplx_param.smplx_param.", "in.smplx_param.cam_param."),
    "Human36M": ("human36m", "in.smplx_param.", "in.cam_param."),
}
_BODY = {
    "root_pose": "smplx_global_orient",
    "body_pose": "smplx_body_pose",
    "jaw_pose": "smplx_jaw_pose",
    "shape": "smplx_betas",
    "expr": "smplx_expression",
    "trans": "smplx_transl",
    "lhand_pose": "smplx_left_hand_pose",
    "rhand_pose": "smplx_right_hand_pose",
    "lhand_valid": "valid_lhand",
    "rhand_valid": "valid_rhand",
    "face_valid": "valid_face",
}
_MPII = [
    *("R_Ankle", "R_Knee", "R_Hip", "L_Hip", "L_Knee", "L_Ankle", "Pelvis", "Thorax", "Neck", "Head_top"),
    *("R_Wrist", "R_Elbow", "R_Shoulder", "L_Shoulder", "L_Elbow", "L_Wrist"),
]


def _boxes(name: str) -> dict[str, Any]:
    data = arrays("datasets.npz")
    boxes = {side: data.get(f"{name}/in.{side}_bbox") for side in ("lhand", "rhand")}
    return {
        f"{side}_bbox_xywh": [box[0], box[1], box[2] - box[0], box[3] - box[1], 1]
        for side, box in boxes.items()
        if box is not None
    }


def _absolute(columns: dict[str, Any], smplx: BodyLayers) -> dict[str, Any]:
    """The figures have hands relative to the mean hand, records absolute ones."""
    means = mean_hands(smplx).numpy()
    for side, mean in zip(("left", "right"), means, strict=True):
        if f"smplx_{side}_hand_pose" in columns:
            columns[f"smplx_{side}_hand_pose"] = columns[f"smplx_{side}_hand_pose"].reshape(-1) + mean
    return columns


def own_loader(name: str, seed: int, smplx: BodyLayers) -> TargetInput:
    """The person of MSCOCO, UBody, MPII or Human3.6M."""
    data = {
        key.removeprefix(f"{name}/"): value
        for key, value in arrays("datasets.npz").items()
        if key.startswith(f"{name}/")
    }
    rule, body, camera = SETS[name]
    columns = {column: data[body + key] for key, column in _BODY.items() if body + key in data}
    columns = _absolute(columns, smplx) | _boxes(name)
    if camera + "focal" in data:
        columns |= {"focal_length": data[camera + "focal"], "principal_point": data[camera + "princpt"]}
    if "in.joint_img" in data and name != "Human36M":
        names = _MPII if name == "MPII" else arrays("preprocess.npz")["db_coord/ubody_names"]
        columns["keypoints2d_137"] = by_name(names, data["in.joint_img"][:, :2], data["in.joint_valid"])
    if name == "Human36M":
        pelvis = smplx.rest_pelvis(BodyParams.of({"betas": columns["smplx_betas"][None]}))[0].numpy()
        world = np.column_stack([data["in.cam_param.R"], data["in.cam_param.t"] / 1000])
        columns["smplx_global_orient"], columns["smplx_transl"] = transform_to_camera(
            columns["smplx_global_orient"], columns["smplx_transl"], pelvis, world
        )
    return drawn(person(rule, **columns), seed, data["in.bbox"])


def pw3d(seed: int) -> TargetInput:
    """The person of 3DPW: a man, as his mesh in the figures shows."""
    data = {key[5:]: value for key, value in arrays("datasets.npz").items() if key.startswith("PW3D/")}
    pose = data["in.smpl_param.pose"]
    columns = {
        "smpl_global_orient": pose[:3],
        "smpl_body_pose": pose[3:],
        "smpl_betas": data["in.smpl_param.shape"],
        "smpl_transl": data["in.smpl_param.trans"],
        "focal_length": data["in.cam_param.focal"],
        "principal_point": data["in.cam_param.princpt"],
    }
    return drawn(person("pw3d", gender=("male",), **columns), seed, data["in.bbox"])


def agora(name: str, seed: int, smplx: BodyLayers) -> TargetInput:
    """The adult of ``AGORA_4k`` or the child of ``AGORA_720_kid``."""
    data, names = arrays("datasets.npz"), arrays("preprocess.npz")["db_coord/agora_names"]
    crop = data[f"{name}/in.img2bb_trans_from_orig"]
    pixels = data["AGORA/in_joints_2d"]
    pixels = pixels / 3 if "720" in name else pixels @ crop[:, :2].T + crop[:, 2]
    joints = data["AGORA/in_joints_3d"]
    parts = (
        "global_orient",
        "body_pose",
        "left_hand_pose",
        "right_hand_pose",
        "jaw_pose",
        "expression",
        "transl",
    )
    columns = {f"smplx_{part}": data[f"AGORA/in_param_{part}"][0] for part in parts}
    columns["smplx_betas"] = data["AGORA/in_param_betas"][0, :10]
    if "kid" not in name:
        columns["betas_neutral"] = data["AGORA/in_param_betas_neutral"][0]
    columns = _absolute(columns, smplx) | _boxes(name)
    columns["keypoints2d_137"] = by_name(names, pixels, np.ones(len(names)))
    columns["keypoints3d_137"] = by_name(names, joints, np.ones(len(names)))
    return drawn(person("agora", **columns), seed, data[f"{name}/in.bbox"])


def humandata(file: str, rule: str, index: int, boxes: np.ndarray, smplx: BodyLayers) -> TargetInput:
    """A person of a toy HumanData file; the augmentation of seed ``index``."""
    data = arrays(f"{file}.npz")
    columns: dict[str, Any] = {}
    for dimension in ("2d", "3d"):
        key = f"keypoints{dimension}_smplx"
        if key in data:
            joints = np.zeros((144, data[key].shape[2]), np.float32)
            joints[data[f"{key}_mask"] > 0] = data[key][index]
            columns[f"keypoints{dimension}_137"] = mapping("smplx_144", "smplerx_137").apply(joints)
    family = "smplx" if "smplx" in data else "smpl"
    for name, values in data[family].item().items():
        if "eye" not in name:
            columns[f"{family}_{name}"] = values[index].reshape(-1)
    for part in ("lhand", "rhand", "face"):
        columns[f"{part}_bbox_xywh"] = data[f"{part}_bbox_xywh"][index]
    return drawn(person(rule, **_absolute(columns, smplx)), index, boxes[index])
