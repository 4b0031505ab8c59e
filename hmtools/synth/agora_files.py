"""Files of AGORA: data frames, fits of single scans, and the lists that OSX makes of them.

All points are those of a whole picture of 3840 x 2160 pixels, whichever pictures lie beside the files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from hmtools.core.atomic import write_bytes, write_json
from hmtools.synth.agora_scene import Scan, Shot
from hmtools.synth.old_pickles import Made, cuda_tensor, old_frame, old_pickle

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hmtools.bodies.model import Family, Gender
    from hmtools.synth.agora_scene import Person
    from hmtools.synth.cameras import View

    Array = NDArray[np.float64]

__all__ = [
    "BOXES",
    "JOINTS",
    "Picture",
    "box",
    "gt_path",
    "label_boxes",
    "write_fit",
    "write_frame",
    "write_lists",
]

JOINTS: Mapping[Family, int] = {"smplx": 127, "smpl": 45}
"""Joints that the release lists, of each family."""
BOXES: Mapping[str, Sequence[int]] = {
    "bbox": range(127),
    "lhand_bbox": (*range(25, 40), *range(66, 71)),
    "rhand_bbox": (*range(40, 55), *range(71, 76)),
    "face_bbox": range(76, 127),
}
"""Box of the lists -> the joints that it holds."""

_GROW = 1.2
_AGES, _ETHNICITIES = ("31-50", "50+", "18-30"), ("European", "Asian", "African")
_ADDED = "gt_joints_2d", "gt_joints_3d", "gt_verts"
_HANDS = {"left_hand_pose": 0, "right_hand_pose": 1}
_OTHER_NAMES = {"global_orient": "root_pose", "transl": "translation"}
_CELLS: Mapping[str, Callable[[Person], Any]] = {
    "X": lambda person: person.place[0],
    "Y": lambda person: person.place[1],
    "Z": lambda person: person.place[2],
    "Yaw": lambda person: person.yaw,
    "gender": lambda person: person.scan.gender,
    "kid": lambda person: np.bool_(person.scan.kid),
    "age": lambda person: "kid" if person.scan.kid else _AGES[person.scan.number % 3],
    "ethnicity": lambda person: _ETHNICITIES[person.scan.number % 3],
    "occlusion": lambda person: person.occlusion,
    "isValid": lambda person: person.valid,
    "gt_path_smplx": lambda person: gt_path(person.scan, "smplx", ".obj"),
    "gt_path_smpl": lambda person: gt_path(person.scan, "smpl", ".obj"),
}
"""Column of a data frame -> what it says of a person; a cell is the list of an image's people."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """One image of the release.

    Attributes:
        name: of the picture of 3840 x 2160 pixels, without folder.
        folder: below the folder of a resolution.
        shot: what it shows.
    """

    name: str
    folder: str
    shot: Shot

    def file(self, resolution: str) -> str:
        """Path of the picture of a resolution (``3840x2160``, ``1280x720``)."""
        stem = self.name.removesuffix(".png")
        full = resolution == "3840x2160"
        return f"{resolution}/{self.folder}/{stem if full else f'{stem}_{resolution}'}.png"


def gt_path(scan: Scan, family: str, suffix: str) -> str:
    """Path of a scan's fit below the root."""
    return f"{family}_gt/{scan.path}{suffix}"


def box(points: Array) -> list[float]:
    """Extent of points (K, 2), times 1.2 about its centre, as xywh."""
    low, high = points.min(axis=0), points.max(axis=0)
    size = _GROW * (high - low)
    return [*((low + high - size) / 2).tolist(), *size.tolist()]


def label_boxes(view: View) -> dict[str, list[float]]:
    """Every box of an SMPL-X person."""
    return {name: box(view.joints2d[list(joints)]) for name, joints in BOXES.items()}


def write_frame(path: Path, pictures: Sequence[Picture], family: Family, *, filtered: bool) -> None:
    """Write a data frame with the joints and vertices of one family.

    Args:
        path: ``…_withjv.pkl``.
        pictures: its rows.
        family: smplx or smpl.
        filtered: rows were taken out of a longer frame, and have kept their labels.
    """
    shots = [picture.shot for picture in pictures]
    own = [shot.rule.camera is None for shot in shots]  # others stand where their rule says
    cameras = np.array([(*shot.camera, shot.yaw) for shot in shots]) * np.array(own)[:, None]
    count = JOINTS[family]
    points: Mapping[str, Callable[[View], Any]] = {
        "gt_joints_2d": lambda view: view.joints2d[:count],
        "gt_joints_3d": lambda view: view.joints[:count].astype(np.float32),
        "gt_verts": lambda view: view.vertices.astype(np.float32),
    }
    columns: dict[str, Any] = {"imgPath": [picture.name for picture in pictures]}
    columns |= {name: cameras[:, axis] for axis, name in enumerate(("camX", "camY", "camZ", "camYaw"))}
    columns |= {name: [[cell(p) for p in shot.people] for shot in shots] for name, cell in _CELLS.items()}
    for name, of in points.items():
        columns[name] = [[of(person.views[family]) for person in shot.people] for shot in shots]
    index = [3 * number + 1 for number in range(len(pictures))] if filtered else None
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, old_pickle(old_frame(columns, index=index, added=_ADDED)))


def write_fit(root: Path, scan: Scan, family: Family, *, refit: Array | None = None) -> None:
    """Write the fit of one scan; the SMPL fits of every other scan have other names for root and shift.

    Args:
        root: of the data set.
        scan: the scan.
        family: smplx or smpl.
        refit: (10,) betas of the fit with the neutral model, which goes into a folder of its own.
    """
    actor = scan.actors[family]
    values = {name: pose.astype(np.float32) for name, pose in actor.pose.items()}
    if family == "smplx":
        for name, side in _HANDS.items():
            values[name] = (actor.pose[name] - hand_mean(actor.gender)[side]).astype(np.float32)
        values["expression"] = actor.expression.astype(np.float32)
    betas = actor.betas if refit is None else refit
    values["betas"] = np.append(betas, [actor.kid] if scan.kid else []).astype(np.float32)[None]
    values["transl"] = actor.transl.astype(np.float32)
    if family == "smpl" and scan.number % 2:
        values = {_OTHER_NAMES.get(name, name): value for name, value in values.items()}
    cells: dict[str, Any] = dict(values)
    if scan.cuda:
        tensors: dict[str, Made] = {name: cuda_tensor(value) for name, value in values.items()}
        cells = dict(tensors)
    path = root / gt_path(scan, family, ".pkl")
    if refit is not None:
        path = root / "smplx_gt_neutral_gender" / f"{scan.path}.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, old_pickle(cells))


@cache
def hand_mean(gender: Gender) -> Array:
    """(2, 45) mean pose of the stand-in's hands, which files leave out."""
    from hmtools.bodies.assets import load_model, standin_dir

    return np.asarray(load_model("smplx", gender, roots=(standin_dir(),)).hand_mean, np.float64)


def write_lists(root: Path, split: str, pictures: Sequence[Picture], first_image: int, first: int) -> None:
    """Write ``AGORA_<split>.json`` and the points that it names.

    Args:
        root: of the data set.
        split: train or validation.
        pictures: the images.
        first_image: id of the first image; ids go on from split to split.
        first: id of the first person.
    """
    images: list[dict[str, Any]] = []
    people: list[dict[str, Any]] = []
    for number, picture in enumerate(pictures):
        names = {f"file_name_{size}": picture.file(size) for size in ("3840x2160", "1280x720")}
        images.append({"id": first_image + number, **names})
        for person in picture.shot.people:
            row = {"id": first + len(people), "image_id": first_image + number}
            people.append({**row, **dict(_annotation(root, row["id"], person))})
    write_json(root / f"AGORA_{split}.json", {"images": images, "annotations": people})


def _annotation(root: Path, number: int, person: Person) -> Iterator[tuple[str, Any]]:
    for family, view in person.views.items():
        count = JOINTS[family]
        points = {
            "joints_2d": view.joints2d[:count],
            "joints_3d": view.joints[:count],
            "verts": view.vertices,
        }
        for name, values in points.items():
            path = f"gt_{name}/{family}/{number}.json"
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(root / path, json.dumps(values.round(6).tolist()).encode())
            yield f"{family}_{name}_path", path
        yield f"{family}_param_path", gt_path(person.scan, family, ".pkl")
    for name in ("gender", "age", "ethnicity", "occlusion"):
        yield name, _CELLS[name](person)
    yield "kid", person.scan.kid
    yield "is_valid", person.valid
    for name, numbers in label_boxes(person.views["smplx"]).items():
        yield name, [round(number, 3) for number in numbers]
