"""3DPW with the json of published rows: people of a world before a moving camera, in pickles of Python 2.

What only the other trees can show, without the json and with SMPL-X fits, is in
``tests/round_trip/test_pw3d_trees.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hmtools.datasets import pw3d_people, pw3d_sequences
from hmtools.datasets.base import Rejected
from hmtools.datasets.pw3d import Pw3d
from hmtools.datasets.pw3d_frames import image_size
from hmtools.datasets.pw3d_people import joint_box
from hmtools.datasets.pw3d_published import Row
from hmtools.datasets.pw3d_sequences import Recording
from hmtools.humandata.record import Record
from tests.round_trip.case import Case, Mutation, changed

__all__ = ["CASE", "other_recording"]


def other_recording(change: Any) -> Mutation:
    """Every sequence file is read as another: ``change`` gets the dictionary and returns one."""

    def mutate(monkeypatch: pytest.MonkeyPatch) -> None:
        read = pw3d_sequences._recording
        monkeypatch.setattr(pw3d_sequences, "_recording", lambda data, name: read(change(dict(data)), name))

    return mutate


def _held(orient: bool, place: Any) -> Mutation:
    """Bodies moved in another way: ``place`` makes the translation of rotation, shift and translation."""

    def hold(record: Record, family: str, root: Any, transl: Any, camera: Any) -> None:
        rotation, shift = np.asarray(camera)[:3, :3], np.asarray(camera)[:3, 3]
        turned = (Rotation.from_matrix(rotation) * Rotation.from_rotvec(root)).as_rotvec()
        record.smpl_global_orient = turned if orient else root
        record.smpl_transl = place(rotation, shift, np.asarray(transl))

    return lambda monkeypatch: monkeypatch.setattr(pw3d_people, "hold_in_world", hold)


def _joints_in_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pw3d_people, "world_to_camera", lambda points, camera: points)


def _neutral(record: Record) -> None:
    record.gender = "neutral"


def _genders_swapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pw3d_sequences, "_GENDERS", {"m": "female", "f": "male"})


def _last_betas(data: dict[str, Any]) -> dict[str, Any]:
    return data | {"betas": [np.asarray(betas)[-10:] for betas in data["betas"]]}


def _dense_rows(data: dict[str, Any]) -> dict[str, Any]:
    count = len(data["cam_poses"])
    return data | {name: [rows[:count] for rows in data[f"{name}_60Hz"]] for name in ("poses", "trans")}


def _camera_of_the_next_image(data: dict[str, Any]) -> dict[str, Any]:
    return data | {"cam_poses": np.roll(data["cam_poses"], -1, axis=0)}


def _camera_to_world(data: dict[str, Any]) -> dict[str, Any]:
    return data | {"cam_poses": np.linalg.inv(data["cam_poses"])}


def _points_not_transposed(data: dict[str, Any]) -> dict[str, Any]:
    # As if the file had (N, 18, 3): the reader turns them, so they are turned the other way before.
    rows = [np.asarray(points).reshape(-1, 18, 3).transpose(0, 2, 1) for points in data["poses2d"]]
    return data | {"poses2d": rows}


def _zeros_for_missing_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pw3d_people, "_seen", lambda points: points)


def _people_in_file_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def match(rows: Sequence[Row], recording: Recording, file: str) -> tuple[dict[int, Row], list[Rejected]]:
        return dict(enumerate(rows)), []

    monkeypatch.setattr(pw3d_people, "match_rows", match)


def _box_of_joints(record: Record) -> None:
    record.bbox_xywh = joint_box(record)


def _json_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    find = Pw3d._find

    def found(self: Pw3d, root: Path, split: str, kind: str) -> Path | None:
        return None if kind == "rows" else find(self, root, split, kind)

    monkeypatch.setattr(Pw3d, "_find", found)


def _upright_taken_as_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    def size(folder: Path, recording: Recording) -> tuple[int, int]:
        width, height = image_size(folder, recording)
        return height, width

    monkeypatch.setattr(pw3d_people, "image_size", size)


def _frame_from_one(record: Record) -> None:
    record.frame = (record.frame or 0) + 1


def _image_of_the_next_frame(record: Record) -> None:
    record.image_path = f"imageFiles/{record.sequence}/image_{(record.frame or 0) + 1:05d}.jpg"


def _one_track_for_all(record: Record) -> None:
    record.track_id = record.sequence


def _focal_swapped(record: Record) -> None:
    record.focal_length = record.focal_length[::-1]


def _at_60_hz(record: Record) -> None:
    record.fps = 60.0


CASE = Case(
    synth={"frames": 4, "people": 2, "size": (240, 320), "splits": ("test", "train"), "variant": "osx"},
    mutations={
        "pelvis left out": _held(True, lambda rotation, shift, transl: rotation @ transl + shift),
        "translation left in the world": _held(True, lambda rotation, shift, transl: transl),
        "translation of the camera left out": _held(True, lambda rotation, shift, transl: rotation @ transl),
        "root left in the world": _held(False, lambda rotation, shift, transl: rotation @ transl + shift),
        "joints left in the world": _joints_in_the_world,
        "camera of the next image": other_recording(_camera_of_the_next_image),
        "camera to world": other_recording(_camera_to_world),
        "focal lengths swapped": changed(Pw3d, _focal_swapped),
        "gender ignored": changed(Pw3d, _neutral),
        "genders swapped": _genders_swapped,
        "last betas of 300": other_recording(_last_betas),
        "first rows of the 60 Hz arrays": other_recording(_dense_rows),
        "points not transposed": other_recording(_points_not_transposed),
        "zeros for points that are missing": _zeros_for_missing_points,
        "people in the order of the json": _people_in_file_order,
        "boxes of the json ignored": changed(Pw3d, _box_of_joints),
        "json ignored": _json_ignored,
        "upright images taken as wide": _upright_taken_as_wide,
        "frame counted from 1": changed(Pw3d, _frame_from_one),
        "image of the next frame": changed(Pw3d, _image_of_the_next_frame),
        "one track for all": changed(Pw3d, _one_track_for_all),
        "60 frames per second": changed(Pw3d, _at_60_hz),
    },
)
