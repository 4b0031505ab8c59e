"""What EgoBody's release has for every view: lists of recordings, calibrations and fitted bodies.

Bodies are those of a gendered SMPL-X model in the frame of the master Kinect's colour camera, metres and
radians. Their hands are 12 PCA coefficients about the mean hand of the gender's own model.
"""

from __future__ import annotations

import csv
import io
import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.transform import Rotation

from hmtools.core.atomic import write_text
from hmtools.core.errors import UsageError
from hmtools.synth.actors import Actor, Posed, make_actors, pose_actor

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hmtools.bodies.model import Gender

    Array = NDArray[np.float64]

__all__ = [
    "RECORDINGS",
    "SPLITS",
    "Person",
    "Recording",
    "make_people",
    "write_body",
    "write_calibrations",
    "write_lists",
]

SPLITS = ("train", "val", "test")
"""Official splits, in the order of the columns of ``data_splits.csv``."""

RECORDINGS: Mapping[str, Sequence[tuple[str, str]]] = {
    "train": (("recording_20260907_S02_S01_01", "loft_west"), ("recording_20260910_S04_S03_02", "library")),
    "val": (("recording_20260912_S06_S05_01", "kitchen"),),
    "test": (("recording_20260918_S08_S07_01", "studio"), ("recording_20260918_S07_S08_02", "studio")),
}
"""Split -> names and scenes of its recordings; not equally many, so the columns of the list are ragged."""

_COEFFICIENTS = 12  # of a hand
_EMBEDDING = 32  # numbers of the pose prior, which say nothing that the pose does not
_WHO = ("interactee", "camera_wearer")
_HANDS = ("left_hand_pose", "right_hand_pose")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One recording of two people.

    Attributes:
        name: ``recording_YYYYMMDD_S<wearer>_S<interactee>_NN``.
        scene: name of the room.
        split: official split.
        interactee: 0 or 1, the body that the wearer of the camera sees.
        start: first frame of the release.
        end: last frame of the release, inclusive.
        genders: of body 0 and of body 1.
    """

    name: str
    scene: str
    split: str
    interactee: int
    start: int
    end: int
    genders: tuple[Gender, Gender] = ("male", "female")


def write_lists(root: Path, recordings: Sequence[Recording]) -> None:
    """Write ``data_splits.csv``, whose columns are of different lengths, and ``data_info_release.csv``.

    Args:
        root: the release's folder.
        recordings: all that it has.
    """
    names = [[found.name for found in recordings if found.split == split] for split in SPLITS]
    _write_csv(root / "data_splits.csv", [SPLITS, *zip_longest(*names, fillvalue="")])
    head = ("recording_name", "scene_name", "body_idx_0", "body_idx_1", "body_idx_fpv")
    rows: list[Sequence[Any]] = [(*head, "start_frame", "end_frame")]
    for found in sorted(recordings, key=lambda recording: recording.name):
        bodies = [f"{number} {gender}" for number, gender in enumerate(found.genders)]
        rows.append(
            (found.name, found.scene, *bodies, bodies[found.interactee], found.start, found.end),
        )
    _write_csv(root / "data_info_release.csv", rows)


def _write_csv(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text(path, text.getvalue())


def write_calibrations(folder: Path, rng: np.random.Generator, scene: str, room_to_kinect: Array) -> Array:
    """Write a recording's calibrations, each ``{"trans": 4x4}`` in metres.

    Args:
        folder: of the recording, or ``cal_trans`` in it.
        rng: where the other Kinects stand, and where the HoloLens' world began.
        scene: name of the room.
        room_to_kinect: (4, 4) from the room, y up, to the master Kinect.

    Returns:
        (4, 4) from the HoloLens' world, y up, to the master Kinect, exactly as its file says.
    """
    (folder / "kinect12_to_world").mkdir(parents=True)
    for number in (11, 13, 14, 15):
        _write_transform(folder / f"kinect_{number}to12_color.json", _anywhere(rng))
    _write_transform(folder / "kinect12_to_world" / f"{scene}.json", np.linalg.inv(room_to_kinect))
    return _write_transform(folder / "holo_to_kinect12.json", room_to_kinect @ _anywhere(rng))


def _anywhere(rng: np.random.Generator) -> Array:
    """(4, 4) turn about y and step."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("y", rng.uniform(0.5, 5.5)).as_matrix()
    matrix[:3, 3] = rng.uniform(-1.5, 1.5, 3)
    return matrix


def _write_transform(path: Path, matrix: NDArray[Any]) -> Array:
    written: Array = matrix.round(9).astype(np.float64)
    write_text(path, json.dumps({"trans": written.tolist()}))
    return written


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Person:
    """One of the two people of a recording, in the frame of the master Kinect, metres.

    Attributes:
        who: ``interactee`` or ``camera_wearer``, as the folders say it.
        body: 0 or 1.
        pelvis: (3,) about which the person moves.
        actor: with the numbers of the files, T moments; its translation is that of the pelvis from its place.
        hands: hand -> (T, 12) coefficients that made the actor's hands.
    """

    who: str
    body: int
    pelvis: Array
    actor: Actor
    hands: Mapping[str, NDArray[np.float32]]

    def pose(self, moment: int) -> Posed:
        """The body at one moment as if its translation were 0."""
        one = slice(moment, moment + 1)
        actor = self.actor
        pose = {name: values[one] for name, values in actor.pose.items()}
        still = replace(actor, pose=pose, expression=actor.expression[one], transl=np.zeros((1, 3)))
        return pose_actor(still)

    def transl(self, moment: int, rest_pelvis: Array) -> NDArray[np.float32]:
        """(3,) translation at one moment, as its file has it.

        Args:
            moment: index into the actor's moments.
            rest_pelvis: (3,) of a body without a translation, however it is turned.
        """
        found: Array = self.pelvis + self.actor.transl[moment] - rest_pelvis
        return found.astype(np.float32)


def make_people(
    rng: np.random.Generator,
    recording: Recording,
    places: Array,
    room_to_kinect: Array,
    moments: int,
    fps: float,
) -> tuple[Person, Person]:
    """Interactee and wearer, who face each other.

    Args:
        rng: source of everything.
        recording: says who is who.
        places: (2, 3) pelvis of the interactee and of the wearer in the room, y up.
        room_to_kinect: (4, 4).
        moments: T, how long they move.
        fps: moments per second.
    """
    bodies = recording.interactee, 1 - recording.interactee
    genders = [recording.genders[body] for body in bodies]
    room = Rotation.from_matrix(room_to_kinect[:3, :3])
    found = []
    for at, actor in enumerate(make_actors(rng, 2, moments, genders=genders, fps=fps, spacing=0.01)):
        x, _, z = places[1 - at] - places[at]
        turn = room * Rotation.from_euler("y", np.arctan2(x, z))  # the actor was made y up and facing +z
        orient = (turn * Rotation.from_rotvec(actor.pose["global_orient"])).as_rotvec()
        turned = replace(actor, pose={**actor.pose, "global_orient": orient}, transl=turn.apply(actor.transl))
        fitted, hands = _fitted(turned)
        pelvis = room.apply(places[at]) + room_to_kinect[:3, 3]
        found.append(Person(who=_WHO[at], body=bodies[at], pelvis=pelvis, actor=fitted, hands=hands))
    return found[0], found[1]


def _fitted(actor: Actor) -> tuple[Actor, Mapping[str, NDArray[np.float32]]]:
    """The actor with float32 numbers and hands of 12 coefficients of the gender's model; the coefficients."""
    from hmtools.bodies.assets import load_model, standin_dir

    model = load_model("smplx", actor.gender, roots=(standin_dir(),))
    if model.hand_mean is None or model.hand_components is None:
        raise UsageError(f"{model.path} has no hands; make the stand-in body again")
    pose = {name: _single(values) for name, values in actor.pose.items()}
    coefficients = {}
    for row, name in enumerate(_HANDS):
        mean = np.asarray(model.hand_mean[row], np.float64)
        basis = np.asarray(model.hand_components[row][:_COEFFICIENTS], np.float64)
        coefficients[name] = ((actor.pose[name] - mean) @ np.linalg.pinv(basis)).astype(np.float32)
        pose[name] = coefficients[name].astype(np.float64) @ basis + mean
    fitted = replace(actor, pose=pose, betas=_single(actor.betas), expression=_single(actor.expression))
    return fitted, coefficients


def _single(values: Array) -> Array:
    found: Array = values.astype(np.float32).astype(np.float64)
    return found


def write_body(
    root: Path, recording: Recording, person: Person, frame: int, moment: int, rest_pelvis: Array
) -> None:
    """Write one body of one frame.

    Args:
        root: the release's folder.
        recording: of the person.
        person: who.
        frame: number of the frame in the release.
        moment: index into the actor's moments.
        rest_pelvis: (3,) of a body without a translation.
    """
    actor = person.actor
    found = {name: person.hands.get(name, values)[moment] for name, values in actor.pose.items()}
    found |= {"transl": person.transl(moment, rest_pelvis), "betas": actor.betas}
    found |= {
        "expression": actor.expression[moment],
        "pose_embedding": np.sin(moment + np.arange(_EMBEDDING)),
    }
    found |= {"camera_rotation": np.eye(3), "camera_translation": np.zeros(3)}
    parameters: dict[str, Any] = {name: value[None].astype(np.float32) for name, value in found.items()}
    folder = root / f"smplx_{person.who}_{recording.split}" / recording.name / f"body_idx_{person.body}"
    path = folder / "results" / f"frame_{frame:05d}" / "000.pkl"
    path.parent.mkdir(parents=True)
    # The release is older than NumPy 2, which named these modules anew; in this protocol a name is a line.
    data = pickle.dumps({**parameters, "gender": actor.gender}, protocol=2)
    path.write_bytes(data.replace(b"cnumpy._core.", b"cnumpy.core."))
