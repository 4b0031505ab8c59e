"""EgoBody's HoloLens view: two calibrated cameras between a gendered body and its picture.

That hands are in the basis of their own gender is proven in ``tests/datasets/test_egobody_egocentric.py``:
all genders of the stand-in have the same hands.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.bodies import derive, pending
from hmtools.datasets import egobody_egocentric, egobody_hololens, egobody_view
from hmtools.datasets.egobody_egocentric import EgoBodyEgocentric
from hmtools.datasets.egobody_hololens import Detections, PvCamera, PvFrame
from hmtools.datasets.egobody_release import Recording, fit_folder, read_recordings
from hmtools.humandata.record import Record
from tests.round_trip.case import Case, Mutation, changed

__all__ = ["CASE"]


def _frame(change: Callable[[PvCamera, PvFrame], PvFrame]) -> Mutation:
    """Another camera in each frame."""

    def mutate(monkeypatch: pytest.MonkeyPatch) -> None:
        at = PvCamera.at
        monkeypatch.setattr(PvCamera, "at", lambda self, timestamp: change(self, at(self, timestamp)))

    return mutate


def _first_focal(camera: PvCamera, frame: PvFrame) -> PvFrame:
    first = next(iter(camera.lines.values()))
    return replace(frame, focal_length=np.array([float(word) for word in first.split(",")[:2]]))


def _cameras_by_position(monkeypatch: pytest.MonkeyPatch) -> None:
    """The n-th line of the file for the n-th frame that asks."""
    at, asked = PvCamera.at, [0]

    def following(self: PvCamera, timestamp: int) -> PvFrame:
        asked[0] += 1
        return at(self, list(self.lines)[(asked[0] - 1) % len(self.lines)])

    monkeypatch.setattr(PvCamera, "at", following)


def _opengl_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egobody_hololens, "_OPENGL_TO_OPENCV", np.eye(3))


def _axes_flipped_in_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the right instead of the left."""
    flip = np.diag([1.0, -1.0, -1.0])
    mutate = _frame(
        lambda camera, frame: replace(
            frame,
            world_to_cam=np.column_stack(
                [flip @ frame.world_to_cam[:, :3] @ flip, flip @ frame.world_to_cam[:, 3]]
            ),
        )
    )
    mutate(monkeypatch)


def _pose_not_inverted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egobody_hololens, "invert_extrinsics", lambda matrix: matrix)


def _calibration_not_inverted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egobody_view, "invert_extrinsics", lambda matrix: matrix)


def _calibration_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egobody_view, "compose_extrinsics", lambda outer, inner: outer)


def _without_pelvis(record: Record) -> None:
    """A translation moved as if the body turned about the origin: what the wait is for."""
    record.smplx_transl = json.loads(record.meta or "")["pending"]["smplx_transl"]["moved"]


def _hand_mean_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def flat(*arguments: Any, flat_hand_mean: bool) -> None:
        pending.hold_hand_pca(*arguments, flat_hand_mean=not flat_hand_mean)

    monkeypatch.setattr(egobody_view, "hold_hand_pca", flat)


def _hands_swapped(monkeypatch: pytest.MonkeyPatch) -> None:
    def swapped(record: Record, family: Any, side: str, coefficients: Any, **more: Any) -> None:
        pending.hold_hand_pca(record, family, "left" if side == "right" else "right", coefficients, **more)

    monkeypatch.setattr(egobody_view, "hold_hand_pca", swapped)


def _wearer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The body of the other person."""

    def other(root: Path, who: str, split: str, recording: str, index: int) -> Path:
        return fit_folder(root, "camera_wearer", split, recording, 1 - index)

    for module in (egobody_egocentric, egobody_view):
        monkeypatch.setattr(module, "fit_folder", other)


def _range(change: Callable[[Recording], Recording]) -> Mutation:
    def mutate(monkeypatch: pytest.MonkeyPatch) -> None:
        def other(root: Path, split: str) -> tuple[list[Recording], list[str]]:
            recordings, unknown = read_recordings(root, split)
            return [change(recording) for recording in recordings], unknown

        monkeypatch.setattr(egobody_egocentric, "read_recordings", other)

    return mutate


def _joints_of_other_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names sorted, joints as they lie in the file: two lists taken for parallel."""
    real = egobody_hololens.read_detections

    def unsorted(path: Path) -> Detections:
        found = real(path)
        with np.load(path) as arrays:
            return replace(found, keypoints=arrays["keypoints"])

    monkeypatch.setattr(egobody_view, "read_detections", unsorted)


def _certain(record: Record) -> None:
    record.keypoints2d_original = np.column_stack([record.keypoints2d_original[:, :2], np.ones(25)])


def _mirrored(record: Record) -> None:
    """As the release draws gaze, for the picture alone."""
    record.keypoints2d_original = record.keypoints2d_original * [-1, 1, 1] + [record.width or 0, 0, 0]


def _set(name: str, value: Any) -> Mutation:
    def change(record: Record) -> None:
        setattr(record, name, value)

    return changed(EgoBodyEgocentric, change)


def _next_frame(record: Record) -> None:
    record.frame = (record.frame or 0) + 1


def _boxes_not_padded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derive, "BOX_PADDING", dict.fromkeys(derive.BOX_PADDING, 1.0))


def _eyes_straight(record: Record) -> None:
    record.smplx_leye_pose = record.smplx_reye_pose = None


_changed = partial(changed, EgoBodyEgocentric)

CASE = Case(
    synth={"frames": 7, "people": 1, "size": (320, 240), "splits": ("train", "val")},
    mutations={
        "focal length of the first line for all": _frame(_first_focal),
        "cameras by position instead of timestamp": _cameras_by_position,
        "axes left as OpenGL's": _opengl_axes,
        "axes flipped in the world too": _axes_flipped_in_the_world,
        "pose of the HoloLens not inverted": _pose_not_inverted,
        "calibration not inverted": _calibration_not_inverted,
        "calibration left out": _calibration_left_out,
        "body turned without its pelvis": _changed(_without_pelvis),
        "mean hand left out": _hand_mean_left_out,
        "hands swapped": _hands_swapped,
        "gender of nobody": _set("gender", "neutral"),
        "fits of the wearer": _wearer,
        "frames outside the range kept": _range(lambda r: replace(r, start=0, end=10**8)),
        "first frame of the range left out": _range(lambda r: replace(r, start=r.start + 1)),
        "last frame of the range left out": _range(lambda r: replace(r, end=r.end - 1)),
        "joints of other rows": _joints_of_other_rows,
        "confidence 1 throughout": _changed(_certain),
        "joints mirrored": _changed(_mirrored),
        "eyes straight": _changed(_eyes_straight),
        "boxes not padded": _boxes_not_padded,
        "frame counted from another": _changed(_next_frame),
        "nobody tracked": _set("track_id", None),
    },
)
