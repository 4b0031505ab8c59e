"""3DPW's files read by nothing but the facts about them: what tests of the miniature share."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from hmtools.bodies.model import Gender
from hmtools.core.safe_pickle import load_pickle
from hmtools.synth import PersonTruth, make_miniature, read_truth
from hmtools.synth.actors import Actor, pose_actor

__all__ = [
    "GENDERS",
    "LANDSCAPE",
    "PORTRAIT",
    "intrinsics",
    "made",
    "moved",
    "people",
    "pixels",
    "sequence",
    "smpl",
    "tree",
    "which",
]

PORTRAIT, LANDSCAPE = "courtyard_talking_02", "street_walking_02"
"""The two sequences of test."""
GENDERS: dict[str, Gender] = {"m": "male", "f": "female"}


def made(folder: Path, variant: str, **changes: Any) -> Path:
    arguments = {"frames": 4, "people": 2, "seed": 5, "size": (160, 120), "splits": ["test"], **changes}
    make_miniature("pw3d", folder, variant=variant, **arguments)
    return folder


def sequence(root: Path, name: str, split: str = "test") -> dict[str, Any]:
    found: dict[str, Any] = load_pickle(root / "sequenceFiles" / split / f"{name}.pkl")
    return found


def people(root: Path, split: str = "test") -> list[PersonTruth]:
    return [person for person in read_truth(root).people if person.split == split]


def which(person: PersonTruth) -> tuple[str, int, int]:
    sequence, frame, number = (person.columns[name] for name in ("sequence", "frame", "person"))
    return sequence, frame, number


def smpl(data: dict[str, Any], person: int, pose: Any, transl: Any) -> Any:
    """Vertices (V, 3) and joints (45, 3) of one row of a pickle, or of moved parameters, by the model."""
    actor = Actor(
        family="smpl",
        gender=GENDERS[data["genders"][person]],
        betas=np.asarray(data["betas"][person][:10]),
        pose={"global_orient": np.reshape(pose[:3], (1, 3)), "body_pose": np.reshape(pose[3:], (1, 69))},
        expression=np.zeros((1, 10)),
        transl=np.reshape(transl, (1, 3)),
    )
    posed = pose_actor(actor)
    return posed.vertices[0], posed.joints[0]


def moved(points: Any, matrix: Any) -> Any:
    return np.asarray(points) @ matrix[:3, :3].T + matrix[:3, 3]


def pixels(points: Any, matrix: Any) -> Any:
    """Pixels of points in the camera frame through a 3 x 3 matrix of intrinsics."""
    found = np.asarray(points, float) @ np.asarray(matrix).T
    return found[:, :2] / found[:, 2:]


def intrinsics(person: PersonTruth) -> Any:
    matrix = np.diag([*person.columns["focal_length"], 1.0])
    matrix[:2, 2] = person.columns["principal_point"]
    return matrix


def tree(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
