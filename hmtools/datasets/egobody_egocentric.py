"""EgoBody, the HoloLens view: two people meet, one wears the camera, the other (the interactee) is labelled.

The fits are SMPL-X of the interactee's gender with 12 PCA coefficients per hand, in the frame of the master
Kinect's colour camera; a calibration and the HoloLens' own pose bring them into its picture. A frame counts
when it lies in the recording's range, OpenPose found somebody in it, and it has a fit. Boxes follow from the
bodies, so a conversion needs the models: extent of the projected joints x 1.2, hands and head x 1.0, cut at
the image. ``frame`` is the frame id, which all cameras of a recording share.

``data_splits.csv``, ``data_info_release.csv`` (:mod:`hmtools.datasets.egobody_release`):

| source field | column, or why not |
| --- | --- |
| data_splits.train, data_splits.val, data_splits.test | sequence: the recordings of a split |
| data_info.recording_name | sequence, meta.wearer_id, meta.interactee_id |
| data_info.scene_name | meta.scene |
| data_info.body_idx_fpv | meta.body_idx, which fits are read; its gender is not used, see below |
| data_info.body_idx_0, data_info.body_idx_1 | not read: the interactee is named by body_idx_fpv |
| data_info.start_frame, data_info.end_frame | frames outside are left out (outside_range); both are inside |

``egocentric_color/<REC>/<date>/`` (:mod:`hmtools.datasets.egobody_hololens`) and ``calibrations/<REC>/``:

| source field | column, or why not |
| --- | --- |
| keypoints.imgname | image_path; its frame id: frame, source_frame; its timestamp: meta.timestamp |
| keypoints.keypoints | keypoints2d_original, with OpenPose's confidence |
| keypoints.center, keypoints.scale | not read: the box of a detection; boxes are those of the fitted joints |
| keypoints.gender | not read: the fit says it |
| keypoints (position by frame id, in range) | source_index |
| valid_frame.imgname, valid_frame.valid | not read: no published rule uses them |
| pv.cx, pv.cy, pv.width, pv.height | principal_point, width, height |
| pv.timestamp | joins the image; without one the frame is left out (no_camera) |
| pv.fx, pv.fy | focal_length, of that frame |
| pv.pv2world | world_to_cam, inverted and with OpenCV's axes; singular ones are left out (broken_camera) |
| holo_to_kinect12.trans | the fits' way from the Kinect to the HoloLens world |
| kinect_XXto12_color.trans, kinect12_to_world.trans | not read: other views, the mesh of the room |

``smplx_interactee_<split>/<REC>/body_idx_<k>/results/frame_<id>/000.pkl``, or else no_fit:

| source field | column, or why not |
| --- | --- |
| fit.global_orient | smplx_global_orient, turned into the camera frame |
| fit.transl | smplx_transl, moved into the camera frame about the pelvis of the rest body |
| fit.betas | smplx_betas |
| fit.body_pose | smplx_body_pose |
| fit.left_hand_pose, fit.right_hand_pose | smplx_left_hand_pose, smplx_right_hand_pose, the mean added |
| fit.jaw_pose, fit.leye_pose, fit.reye_pose | smplx_jaw_pose, smplx_leye_pose, smplx_reye_pose |
| fit.expression | smplx_expression |
| fit.gender | gender; where the list of recordings says another, that one is meta.listed_gender |
| fit.pose_embedding | not a column: VPoser's code of body_pose |
| fit.camera_rotation, fit.camera_translation | not a column: unused, the fit is in the Kinect's frame |

Fits of the camera wearer are not read, who is not in the picture, nor those of SMPL beside them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from hmtools.core.errors import AssetError, CountedError, LayoutError, UnsafeFileError
from hmtools.datasets.base import Dataset, Rejected, Source, World
from hmtools.datasets.egobody_hololens import COLOUR, find_view, read_detections
from hmtools.datasets.egobody_release import (
    CALIBRATIONS,
    INFO,
    INTERACTEE,
    SPLITS,
    Recording,
    count_fits,
    fit_folder,
    read_recordings,
)
from hmtools.datasets.egobody_view import View
from hmtools.datasets.registry import register
from hmtools.engine.job import Unit
from hmtools.humandata.record import Record
from hmtools.humandata.schema import RecordSpec

__all__ = ["FRAMES_PER_UNIT", "EgoBodyEgocentric"]

log = logging.getLogger(__name__)

FRAMES_PER_UNIT = 512
"""Detections of a unit, at most; a recording has up to some thousand."""

_PAGE = "https://egobody.inf.ethz.ch (sign the licence agreement, then its download page)"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    """Payload of a unit: rows ``first`` to ``last`` of a recording's detections.

    ``source_index`` counts the frames in range of the split before them; ``fits`` those of the recording, so
    that a plan tells when some come or vanish; ``lost`` are recordings without their files.
    """

    split: str
    recording: Recording
    first: int
    last: int
    source_index: int
    fits: int
    lost: tuple[Rejected, ...] = ()


@register
class EgoBodyEgocentric(Dataset):
    """EgoBody's interactees, seen by a HoloLens: gendered SMPL-X in a calibrated, moving camera."""

    name = "egobody_egocentric"
    aliases = ("egobody",)
    title = "EgoBody, HoloLens view (EgoSet)"
    homepage = "https://egobody.inf.ethz.ch"
    licence = "EgoBody licence: non-commercial research, signed agreement"
    commercial_use = False
    citation = (
        "Zhang et al., EgoBody: Human Body Shape and Motion of Interacting People from Head-Mounted Devices, "
        "ECCV 2022"
    )
    folders = ("EgoBody", "egobody")
    layout = """
EgoBody/
  data_splits.csv  data_info_release.csv
  calibrations/<REC>/cal_trans/holo_to_kinect12.json       or calibrations/<REC>/holo_to_kinect12.json
  egocentric_color/<REC>/<date>/PV/<timestamp>_frame_XXXXX.jpg
  egocentric_color/<REC>/<date>/{keypoints.npz, <date>_pv.txt}
  smplx_interactee_{train,val,test}/<REC>/body_idx_{0,1}/results/frame_XXXXX/000.pkl
                           <REC> = recording_YYYYMMDD_S<wearer>_S<interactee>_NN
"""
    splits: ClassVar[Mapping[str, str]] = {"train": "train", "val": "val", "test": "test"}
    boxes_from_bodies = True
    box_ratio = 1.0  # derived boxes are 1.2 times the extent of the joints already
    body = "SMPL-X, gendered"
    official_counts: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "train": {"images": 90_124, "records": 90_124},
        "val": {"images": 23_332, "records": 23_332},
        "test": {"images": 62_155, "records": 62_155},
    }
    world = World(scope="sequence", up="+y", metric=True)

    def sources(self, split: str) -> Sequence[Source]:
        """The two lists, and the folders of calibrations, images and fits."""
        paths = (SPLITS, INFO, CALIBRATIONS, COLOUR, f"smplx_interactee_{split}")
        return [Source((path,), _PAGE) for path in paths]

    def inputs(self, root: Path, split: str) -> list[Path]:
        """The lists and each recording's detections, camera and calibration; fits are too many to look at."""
        views = (find_view(root, recording.name)[0] for recording in read_recordings(root, split)[0])
        found = [path for view in views if view for path in (view.detections, view.pv, view.calibration)]
        return [*super().inputs(root, split), *found]

    def spec(self, root: Path, split: str) -> RecordSpec:
        """OpenPose's body joints, SMPL-X bodies."""
        return RecordSpec(self.stored_as, split, "openpose_25", bodies=("smplx",))

    def plan(self, root: Path, split: str) -> list[Unit]:
        """Per recording one unit per 512 detections; recordings without their files are lost in the first."""
        recordings, unknown = read_recordings(root, split)
        lost = [_lost(name, f"no row in {INFO}") for name in unknown]
        units: list[Unit] = []
        for recording in recordings:
            view, missing = find_view(root, recording.name)
            folder = fit_folder(root, INTERACTEE, split, recording.name, recording.interactee)
            fits = count_fits(folder)
            if view is None or not fits:
                missing += [] if fits else [f"{folder.relative_to(root).as_posix()}/frame_*"]
                lost.append(_lost(recording.name, f"no {', no '.join(missing)}"))
                continue
            try:
                frames = read_detections(view.detections).frames.tolist()
            except (AssetError, LayoutError, UnsafeFileError) as error:
                lost.append(_lost(recording.name, str(error)))
                continue
            units += _units(units, split, recording, frames, fits)
        if not units:
            why = "".join(f"\n  {one.source}: {one.detail}" for one in lost[:5])
            raise LayoutError(f"{root / SPLITS}: no recording of {split} has its files and a detection{why}")
        if lost:
            log.warning(
                "%s: %d recordings of %s are incomplete and left out, e.g. %s: %s",
                *(self.title, len(lost), split, lost[0].source, lost[0].detail),
            )
        first = replace(units[0].payload, lost=tuple(lost))
        return [replace(units[0], payload=first), *units[1:]]

    def read(self, root: Path, unit: Unit) -> Iterator[Record | Rejected]:
        """The interactee of each frame that the published rules keep."""
        segment: _Segment = unit.payload
        yield from segment.lost
        view = View.open(root, segment.split, segment.recording)
        source_index = segment.source_index
        for row in range(segment.first, segment.last):
            image, frame = view.detections.images[row], int(view.detections.frames[row])
            if frame >= 0 and not segment.recording.start <= frame <= segment.recording.end:
                yield Rejected("outside_range", image, by_rule=True)
                continue
            try:
                yield view.record(row, source_index)
            except FileNotFoundError as error:
                yield Rejected("no_fit", image, f"no {error}", by_rule=True)
            except CountedError as error:
                yield Rejected(error.reason, image, error.detail)
            source_index += frame >= 0


def _lost(recording: str, problem: str) -> Rejected:
    return Rejected("recording_incomplete", recording, problem, sequence=recording)


def _units(
    before: Sequence[Unit], split: str, recording: Recording, frames: Sequence[int], fits: int
) -> list[Unit]:
    """The units of a recording that come after those ``before``."""
    units: list[Unit] = []
    done = before[-1].payload.source_index + before[-1].expected if before else 0
    for first in range(0, len(frames), FRAMES_PER_UNIT):
        block = frames[first : first + FRAMES_PER_UNIT]
        inside = sum(recording.start <= frame <= recording.end for frame in block)
        units.append(
            Unit(
                index=len(before) + len(units),
                name=f"{recording.name} frames {block[0]}-{block[-1]}",
                payload=_Segment(
                    split=split,
                    recording=recording,
                    first=first,
                    last=first + len(block),
                    source_index=done,
                    fits=fits,
                ),
                expected=inside,
                images=inside,
                sequences=(recording.name,),
            )
        )
        done += inside
    return units
