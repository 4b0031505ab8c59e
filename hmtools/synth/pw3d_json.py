"""The json beside 3DPW's pickles, as another project prepared it, and its SMPL-X fits.

``3DPW_<split>.json`` is COCO style, with parameters in the camera frame of an image;
``3DPW_<split>_SMPLX_NeuralAnnot.json`` has a neutral SMPL-X body by annotation id, without hands and face,
in the same frame. Nothing is moved by a formula here: a turned body is posed, and then put where its joints
have to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.transform import Rotation

from hmtools.core.atomic import write_json
from hmtools.synth.actors import Actor, pose_actor
from hmtools.synth.pw3d_sequence import grown

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hmtools.synth.cameras import Camera
    from hmtools.synth.pw3d_sequence import Filmed

    Array = NDArray[np.float64]

__all__ = ["Listed", "list_people", "write_listed"]

_DIGITS = 7
_BOX = 1.05


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Listed:
    """What the two files say of one sequence.

    Attributes:
        images: rows of ``images``, in the order of the sequence.
        annotations: (image, person) -> row of ``annotations``, of the people that are listed.
        fitted: for each person the SMPL-X body over all images, camera frame.
    """

    images: Sequence[dict[str, Any]]
    annotations: dict[tuple[int, int], dict[str, Any]]
    fitted: Sequence[Actor]


def list_people(seeds: Sequence[int], ids: list[int], filmed: Filmed, listed: NDArray[np.bool_]) -> Listed:
    """Describe the people of one sequence.

    Args:
        seeds: source of the shapes of the SMPL-X bodies.
        ids: numbers for images and annotations; those used are taken off the end.
        filmed: the sequence of P people and N images.
        listed: (P, N) who is in the json at all.
    """
    people = list(zip(filmed.actors, filmed.near, strict=True))
    moved = [_in_camera(actor, filmed.camera, near) for actor, near in people]
    images = [_image_row(ids.pop(), filmed, frame) for frame in range(len(filmed.rows))]
    annotations = {}
    for frame, image in enumerate(images):
        for person in np.flatnonzero(listed[:, frame]).tolist():
            annotations[frame, person] = {
                "id": ids.pop(),
                "image_id": image["id"],
                "iscrowd": 0,
                "category_id": 1,
                "bbox": _box(filmed.pixels[person, frame]),
                "smpl_param": _parameters(moved[person], frame),
                "openpose_result": filmed.points[person, frame].T.tolist(),
                "fitted_3d_pose": filmed.near[person, frame, :24].round(_DIGITS).tolist(),
            }
    rng = np.random.default_rng(seeds)
    fitted = [_fitted(rng, actor, near) for actor, near in zip(moved, filmed.near, strict=True)]
    return Listed(images=images, annotations=annotations, fitted=fitted)


def write_listed(root: Path, split: str, sequences: Sequence[Listed]) -> None:
    """Write both files of a split; people stand in reverse order, their fits do not."""
    fits = {}
    for sequence in sequences:
        for (frame, person), row in sequence.annotations.items():
            actor = sequence.fitted[person]
            parts = {
                "root_pose": actor.pose["global_orient"][frame],
                "body_pose": actor.pose["body_pose"][frame],
                "shape": actor.betas,
                "trans": actor.transl[frame],
            }
            fits[str(row["id"])] = {key: values.tolist() for key, values in parts.items()}
    rows = [row for sequence in sequences for row in sequence.annotations.values()]
    images = [row for sequence in sequences for row in sequence.images]
    write_json(
        root / f"3DPW_{split}.json",
        {
            "images": images[::-1],
            "annotations": rows[::-1],
            "categories": [{"supercategory": "person", "id": 1, "name": "person"}],
        },
    )
    write_json(root / f"3DPW_{split}_SMPLX_NeuralAnnot.json", fits)


def _in_camera(actor: Actor, camera: Camera, joints: Array) -> Actor:
    """The SMPL actor with a root and a translation that put the joints where the camera has them."""
    turns = Rotation.from_matrix(camera.world_to_cam[:, :3, :3])
    root = (turns * Rotation.from_rotvec(actor.pose["global_orient"])).as_rotvec()
    pose = {"global_orient": root, "body_pose": actor.pose["body_pose"]}
    return _put(replace(actor, pose=pose), joints)


def _put(actor: Actor, joints: Array) -> Actor:
    """The actor with rounded numbers, whose pelvis is that of joints (N, K, 3)."""
    pose = {name: values.round(_DIGITS) for name, values in actor.pose.items()}
    still = replace(actor, pose=pose, betas=actor.betas.round(_DIGITS), transl=np.zeros((len(joints), 3)))
    pelvis = pose_actor(still, vertices=False).joints[:, 0]
    return replace(still, transl=(joints[:, 0] - pelvis).round(_DIGITS))


def _fitted(rng: np.random.Generator, actor: Actor, joints: Array) -> Actor:
    """A neutral SMPL-X body in the pose of the SMPL actor, who is in the camera frame already."""
    smplx = Actor(
        family="smplx",
        gender="neutral",
        betas=np.clip(rng.normal(0, 1, 10), -2, 2),
        pose={"global_orient": actor.pose["global_orient"], "body_pose": actor.pose["body_pose"][:, :63]},
        expression=np.zeros((len(joints), 10)),
        transl=actor.transl,
    )
    return _put(smplx, joints)


def _image_row(number: int, filmed: Filmed, frame: int) -> dict[str, Any]:
    camera = filmed.camera
    return {
        "id": number,
        "file_name": f"image_{frame:05d}.jpg",
        "sequence": filmed.name,
        "width": camera.width,
        "height": camera.height,
        "cam_param": {
            "focal": camera.focal_length.tolist(),
            "princpt": camera.principal_point.tolist(),
        },
    }


def _parameters(actor: Actor, frame: int) -> dict[str, Any]:
    pose = np.concatenate([actor.pose["global_orient"][frame], actor.pose["body_pose"][frame]])
    return {
        "pose": pose.tolist(),
        "shape": actor.betas.tolist(),
        "trans": actor.transl[frame].tolist(),
        "gender": actor.gender,
    }


def _box(pixels: Array) -> list[float]:
    """Extent of the 24 joints, hardly grown: another box than one 1.2 times as large."""
    low, high = grown(pixels[:24], _BOX)
    return [round(number, 3) for number in [*low.tolist(), *(high - low).tolist()]]
