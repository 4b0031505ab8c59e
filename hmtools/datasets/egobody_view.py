"""The interactee of one EgoBody recording, frame by frame, as the HoloLens sees them: their records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from hmtools.bodies.pending import hold_hand_pca, hold_in_world
from hmtools.core.errors import CountedError, LayoutError
from hmtools.datasets.base import json_text
from hmtools.datasets.egobody_hololens import (
    Detections,
    PvCamera,
    PvFrame,
    find_view,
    read_detections,
    read_pv,
)
from hmtools.datasets.egobody_release import (
    INTERACTEE,
    Fit,
    Recording,
    fit_file,
    fit_folder,
    read_calibration,
    read_fit,
)
from hmtools.geometry.projection import compose_extrinsics, invert_extrinsics
from hmtools.humandata.record import Record

__all__ = ["View"]

_FPS = 30.0
_WAITING = ("global_orient", "transl", "left_hand_pose", "right_hand_pose")  # for the camera and the model
_VALID = ("smplx", "keypoints3d", "betas", "face", "lhand", "rhand", "global_orient", "transl")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """All of one recording that its records need.

    Attributes:
        recording: which one.
        fits: folder of the interactee's fits.
        detections: the frames in which somebody was found.
        images: the images that are there, relative to the root.
        camera: of the HoloLens.
        kinect_to_world: (3, 4) float64, master Kinect camera to HoloLens world, metres.
    """

    recording: Recording
    fits: Path
    detections: Detections
    images: frozenset[str]
    camera: PvCamera
    kinect_to_world: Float[np.ndarray, "3 4"]

    @classmethod
    def open(cls, root: Path, split: str, recording: Recording) -> View:
        """Read what is there once per recording.

        Raises:
            AssetError, LayoutError, UnsafeFileError: naming the file that is missing or damaged.
        """
        files, missing = find_view(root, recording.name)
        if files is None:
            raise LayoutError(f"{root}: {', '.join(missing)} was there when the conversion was planned")
        folder = files.folder / "PV"
        return cls(
            recording=recording,
            fits=fit_folder(root, INTERACTEE, split, recording.name, recording.interactee),
            detections=read_detections(files.detections),
            images=frozenset(path.relative_to(root).as_posix() for path in folder.glob("*.jpg")),
            camera=read_pv(files.pv),
            kinect_to_world=invert_extrinsics(read_calibration(files.calibration)),
        )

    def record(self, row: int, source_index: int) -> Record:
        """The record of one detection, its body in the camera frame or waiting for the model.

        Raises:
            FileNotFoundError: if the frame has no fit.
            CountedError: for what else is wrong, with its reason.
        """
        image, frame = self.detections.images[row], int(self.detections.frames[row])
        if frame < 0:
            raise CountedError("broken_row", "expected PV/<timestamp>_frame_<id>.jpg")
        fit = read_fit(fit_file(self.fits, frame))
        if image not in self.images:
            raise CountedError("image_missing", f"{image}: no such file")
        points = self.detections.keypoints[row]
        if not (points[:, 2] >= 0).all():
            raise CountedError("broken_row", "a confidence is negative or NaN")
        timestamp = int(self.detections.timestamps[row])
        camera = self._camera(timestamp)
        recording = self.recording
        record = Record(
            sequence=recording.name,
            frame=frame,
            source_frame=f"{frame:05d}",
            fps=30.0,
            person=0,
            source_id=f"{recording.name}/frame_{frame:05d}",
            track_id="interactee",
            source_index=source_index,
            image_path=image,
            image_op="none",
            height=self.camera.height,
            width=self.camera.width,
            keypoints2d_original=np.where(points[:, 2:] > 0, points, 0),  # not found: no place
            gender=fit.gender,
            focal_length=camera.focal_length,
            principal_point=self.camera.principal_point,
            camera_model="pinhole",
            camera_kind="real",
            world_to_cam=camera.world_to_cam,
            meta=self._meta(timestamp, fit),
        )
        self._add_body(record, fit, camera)
        return record

    def _camera(self, timestamp: int) -> PvFrame:
        try:
            return self.camera.at(timestamp)
        except KeyError as error:
            raise CountedError("no_camera", f"{self.camera.path.name} has no line of {timestamp}") from error
        except ValueError as error:
            raise CountedError("broken_camera", f"{self.camera.path.name} {timestamp}: {error}") from error

    def _meta(self, timestamp: int, fit: Fit) -> str:
        recording = self.recording
        listed = {} if fit.gender == recording.gender else {"listed_gender": recording.gender}
        return json_text(
            {
                "scene": recording.scene,
                "body_idx": recording.interactee,
                "wearer_id": recording.wearer_id,
                "interactee_id": recording.interactee_id,
                "timestamp": str(timestamp),  # of 18 digits: more than a JSON number is sure to hold
                **listed,
            }
        )

    def _add_body(self, record: Record, fit: Fit, camera: PvFrame) -> None:
        parts = fit.parts
        to_camera = compose_extrinsics(camera.world_to_cam, self.kinect_to_world)
        try:
            hold_in_world(record, "smplx", parts["global_orient"], parts["transl"], to_camera)
            hold_hand_pca(record, "smplx", "left", parts["left_hand_pose"], flat_hand_mean=False)
            hold_hand_pca(record, "smplx", "right", parts["right_hand_pose"], flat_hand_mean=False)
        except ValueError as error:
            raise CountedError("broken_fit", str(error)) from error
        for name, values in parts.items():
            if name not in _WAITING:
                setattr(record, f"smplx_{name}", values)
        for name in _VALID:
            setattr(record, f"valid_{name}", True)
