"""AGORA: people placed in Unreal's scenes, seen by cameras that the name of an image tells."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hmtools.bodies.camera import transform_to_camera
from hmtools.datasets import agora, agora_camera, agora_fits, agora_frames, agora_person, agora_tree
from hmtools.datasets.agora_camera import SceneCamera, person_to_camera, scene_camera
from hmtools.humandata.record import Record
from tests.round_trip.case import Case, Mutation, changed

__all__ = ["CASE"]


def _cameras(change: Callable[[SceneCamera], SceneCamera]) -> Mutation:
    def mutate(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(agora_frames, "scene_camera", lambda *given: change(scene_camera(*given)))

    return mutate


def _places(change: Callable[[Any, Any, float], tuple[Any, Any, float]]) -> Mutation:
    def mutate(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            agora_frames, "person_to_camera", lambda *given: person_to_camera(*change(*given))
        )

    return mutate


def _axes(x: float, y: float, z: float) -> Mutation:
    """Of Unreal, read with other signs."""

    def mutate(monkeypatch: pytest.MonkeyPatch) -> None:
        opencv = agora_camera._opencv
        monkeypatch.setattr(agora_camera, "_opencv", lambda place: opencv(np.array([x, y, z]) * place))

    return mutate


def _without_half_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The frame of a fit taken for OpenCV's."""

    def made(*given: Any) -> np.ndarray[Any, Any]:
        matrix = person_to_camera(*given)
        return np.column_stack([matrix[:, :3] @ np.diag([1.0, -1.0, -1.0]), matrix[:, 3]])

    monkeypatch.setattr(agora_frames, "person_to_camera", made)


def _without_pelvis(monkeypatch: pytest.MonkeyPatch) -> None:
    def hold(record: Record, family: str, orient: Any, transl: Any, matrix: Any) -> None:
        moved = transform_to_camera(orient, transl, np.zeros(3), matrix)
        record.smplx_global_orient, record.smplx_transl = moved

    monkeypatch.setattr(agora_person, "hold_in_world", hold)


def _left_in_the_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    def hold(record: Record, family: str, orient: Any, transl: Any, matrix: Any) -> None:
        record.smplx_global_orient, record.smplx_transl = orient, transl

    monkeypatch.setattr(agora_person, "hold_in_world", hold)


def _hands_relative(monkeypatch: pytest.MonkeyPatch) -> None:
    def hold(record: Record, family: str, side: str, relative: Any) -> None:
        setattr(record, f"{family}_{side}_hand_pose", relative)

    monkeypatch.setattr(agora_person, "hold_hand", hold)


def _pixels_of_the_large_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agora_person, "LABEL_SIZE", (1280, 720))


def _invalid_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    flag = agora_frames._flag
    monkeypatch.setattr(agora_frames, "_flag", lambda value, name: name == "isValid" or flag(value, name))


def _own_gender(record: Record) -> None:
    record.gender = json.loads(record.meta or "{}")["gender"]


def _no_kids(record: Record) -> None:
    record.kid = None


def _fits_of_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(folder: Any, name: str) -> Any:
        path = agora_fits.find_fit(folder, name)
        others = sorted(folder.rglob("*.pkl"))
        return others[others.index(path) - 1]

    monkeypatch.setattr(agora_frames, "find_fit", found)


def _percent(record: Record) -> None:
    record.occlusion = 100 * (record.occlusion or 0)


def _frame_from_one(record: Record) -> None:
    record.frame = (record.frame or 0) + 1


def _dataframe_for_sequence(record: Record) -> None:
    record.sequence = f"{record.sequence}_0"


def _rows_miscounted(monkeypatch: pytest.MonkeyPatch) -> None:
    count = agora_frames.count_rows
    monkeypatch.setattr(agora_frames, "count_rows", lambda path: (count(path)[0] + 1, 0))


def _person_from_one(record: Record) -> None:
    record.person = (record.person or 0) + 1


def _hand_boxes_swapped(record: Record) -> None:
    record.lhand_bbox_xywh, record.rhand_bbox_xywh = record.rhand_bbox_xywh, record.lhand_bbox_xywh


def _boxes_not_padded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agora_person, "_BOX_PADDING", 1.0)


def _centimetres(record: Record) -> None:
    record.keypoints3d_original = 100 * np.asarray(record.keypoints3d_original)


def _without_mesh(record: Record) -> None:
    record.mesh = None


def _mesh_of_the_fit(record: Record) -> None:
    camera = np.asarray(record.world_to_cam, np.float64)
    record.mesh = (np.asarray(record.mesh) - camera[:, 3]) @ camera[:, :3]


def _name_of_the_large_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agora_tree.ImageFolder, "path", lambda self, image: f"{self.folder}/{image}")


CASE = Case(
    synth={"frames": 3, "people": 2, "size": (1280, 720), "splits": ("validation", "train")},
    mutations={
        "pelvis left out": _without_pelvis,
        "body left in the frame of its fit": _left_in_the_scene,
        "frame of the fit taken for OpenCV's": _without_half_turn,
        "yaw of the person the other way": _places(lambda camera, place, yaw: (camera, place, -yaw)),
        "yaw of the person without 90 degrees": _places(lambda camera, place, yaw: (camera, place, yaw + 90)),
        "yaw of the camera the other way": _cameras(lambda camera: replace(camera, yaw=-camera.yaw)),
        "pitch left out": _cameras(lambda camera: replace(camera, pitch=0.0)),
        "pitch of ag2 as in the release script": _cameras(
            lambda camera: replace(camera, pitch=0.0 if camera.pitch == 15 else camera.pitch)
        ),
        "ground left out": _cameras(lambda camera: replace(camera, ground=(0.0, 0.0, 0.0))),
        "x of Unreal mirrored": _axes(-1, 1, 1),
        "y of Unreal mirrored": _axes(1, -1, 1),
        "z of Unreal mirrored": _axes(1, 1, -1),
        "scenes in millimetres": _axes(0.1, 0.1, 0.1),
        "pixels of the images at 4K": _pixels_of_the_large_images,
        "hands left relative to the mean hand": _hands_relative,
        "kid template left out": changed(agora.Agora, _no_kids),
        "girls of the female model": changed(agora.Agora, _own_gender),
        "fits of other people": _fits_of_neighbours,
        "invalid people kept": _invalid_kept,
        "occlusion in percent": changed(agora.Agora, _percent),
        "frame counted from 1": changed(agora.Agora, _frame_from_one),
        "rows of the dataframe before miscounted": _rows_miscounted,
        "sequence by dataframe": changed(agora.Agora, _dataframe_for_sequence),
        "person counted from 1": changed(agora.Agora, _person_from_one),
        "hand boxes swapped": changed(agora.Agora, _hand_boxes_swapped),
        "boxes not padded": _boxes_not_padded,
        "joints in centimetres": changed(agora.Agora, _centimetres),
        "mesh left out": changed(agora.Agora, _without_mesh),
        "mesh in the frame of its fit": changed(agora.Agora, _mesh_of_the_fit),
        "names without _1280x720": _name_of_the_large_image,
    },
)
