"""Motions as AMASS has them, for programs that read that.

SMPL-X becomes ``<name>_stageii.npz`` with the keys of AMASS's SMPL-X files: ``gender``,
``surface_model_type``, ``mocap_frame_rate``, ``trans`` (T, 3), ``poses`` (T, 165), ``betas`` (16,),
``num_betas``, ``root_orient`` (T, 3), ``pose_body`` (T, 63), ``pose_hand`` (T, 90), ``pose_jaw`` (T, 3),
``pose_eye`` (T, 6). SMPL becomes ``<name>_poses.npz`` with those of its SMPL+H files: ``gender``,
``mocap_framerate``, ``trans``, ``poses`` (T, 156), ``betas`` (16,), ``dmpls`` (T, 8), all float64; hands and
soft tissue are zeros there, and the shape stays one of SMPL, which is a little another body with SMPL+H.
Beside them stand ``frame_ids`` (T,), for SMPL-X ``expression`` (T, E) and of children ``kid``, the weight of
the kid template, which AMASS does not have: programs that do not know it show an adult.

AMASS has one shape for a motion, a fixed rate and a world whose z is up. So the shape is the mean one and
``trans`` keeps the pelvis where it was seen; a track with gaps becomes several files; and the camera is held
to look along +y of a level world: ``(x, y, z) -> (x, z, -y)``, whatever its tilt was.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmtools.bodies.camera import transform_to_camera
from hmtools.bodies.mixed import BodyLayers
from hmtools.bodies.params import pose_slices
from hmtools.infer.outputs.bodies import genders_of, is_whole, parameters, rest_pelvis
from hmtools.infer.outputs.scenes import Track
from hmtools.infer.outputs.tracks import full_pose

__all__ = ["Z_UP", "amass_files"]

Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0]])
"""(3, 4) camera frame to AMASS's world."""

_BETAS = 16


def amass_files(
    track: Track, bodies: BodyLayers, fps: float
) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
    """The motions of a person.

    Args:
        track: with the columns of its body; frames without a whole pose count as gaps.
        bodies: of its family.
        fps: frames of the source a second.

    Yields:
        File name and what the file holds, a pair for each run without gaps.
    """
    whole = np.flatnonzero(is_whole(track.columns, bodies.family, len(track.frames)))
    step = track.scene.step
    runs = np.split(whole, 1 + np.flatnonzero(np.diff(track.frames[whole]) != step))
    runs = [run for run in runs if len(run)]
    for run in runs:
        piece = Track(
            scene=track.scene,
            label=track.label if len(runs) == 1 else f"{track.label}_f{track.frames[run[0]]:06d}",
            track_id=track.track_id,
            frames=track.frames[run],
            columns={name: None if v is None else v[run] for name, v in track.columns.items()},
        )
        ending = "stageii" if bodies.family == "smplx" else "poses"
        yield f"{piece.label}_{ending}.npz", _arrays(piece, bodies, fps / step)


def _arrays(track: Track, bodies: BodyLayers, rate: float) -> dict[str, NDArray[Any]]:
    count, family = len(track.frames), bodies.family
    values, genders = parameters(track.columns, family), genders_of(track.columns, count)
    poses = np.nan_to_num(full_pose(track.columns, family, count).astype(np.float64))
    pelvis = rest_pelvis(bodies, values, genders)
    betas = values.get("betas", np.zeros((1, _BETAS), np.float32)).mean(axis=0, dtype=np.float64)
    mean = {**values, "betas": np.tile(betas.astype(np.float32), (count, 1))}
    mean["kid"] = np.full(count, values["kid"].mean(), np.float32)
    of_mean = rest_pelvis(bodies, mean, [genders[0]] * count)
    root, seen = transform_to_camera(poses[:, :3], values["transl"], pelvis, Z_UP)
    trans = seen + pelvis - of_mean
    poses[:, :3] = root
    shape = np.zeros(max(_BETAS, len(betas)))
    shape[: len(betas)] = betas
    found: dict[str, Any] = {"gender": genders[0], "trans": trans, "betas": shape, "frame_ids": track.frames}
    found |= {"kid": values["kid"].mean(dtype=np.float64)} if values["kid"].any() else {}
    if family == "smplx":
        found |= _smplx(poses, rate) | {"num_betas": len(shape)}
        found |= {"expression": values["expression"]} if "expression" in values else {}
    else:
        hands = np.zeros((count, 90))  # SMPL's joints 22 and 23 are the hands as a whole, SMPL+H has fingers
        found |= {"mocap_framerate": rate, "poses": np.concatenate([poses[:, :66], hands], axis=1)}
        found |= {"dmpls": np.zeros((count, 8))}
    return {name: np.asarray(value) for name, value in found.items()}


def _smplx(poses: NDArray[np.float64], rate: float) -> dict[str, Any]:
    part = {name: poses[:, 3 * s.start : 3 * s.stop] for name, s in pose_slices("smplx").items()}
    return {
        "surface_model_type": "smplx",
        "mocap_frame_rate": rate,
        "poses": poses,
        "root_orient": part["global_orient"],
        "pose_body": part["body_pose"],
        "pose_hand": np.concatenate([part["left_hand_pose"], part["right_hand_pose"]], axis=1),
        "pose_jaw": part["jaw_pose"],
        "pose_eye": np.concatenate([part["leye_pose"], part["reye_pose"]], axis=1),
    }
