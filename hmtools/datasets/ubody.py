"""UBody: upper bodies in videos of 15 scenes, whole-body keypoints and SMPL-X fits.

``annotations/<Scene>/keypoint_annotation.json`` (:mod:`hmtools.datasets.ubody_people`):

| source field | column, or why not |
| --- | --- |
| images[].file_name | sequence ``<Scene>/<folders>``; source_frame; frame, that number - 1; image_path |
| images[].height, images[].width | height, width |
| images[].id | joins annotations[].image_id; meta.image_id |
| annotations[].id | source_id, meta.ann_id; joins the fit |
| annotations[] (position) | source_index: counted from 1 within its scene, over all rows |
| annotations[].image_id | joins the image; person is the place among the rows of the frame |
| annotations[].bbox | bbox_xywh as it is, confidence 1; track_id |
| annotations[].iscrowd | 1 leaves the person out (crowd) |
| annotations[].num_keypoints | 0 leaves the person out (no_keypoints) |
| annotations[].valid_label | 0 leaves the person out (invalid_label), as in the reference; meta.valid_label |
| annotations[].keypoints | keypoints2d_original 0-16, confidence 1 where v > 0 |
| annotations[].foot_kpts | keypoints2d_original 17-22 |
| annotations[].face_kpts | keypoints2d_original 23-90 |
| annotations[].lefthand_kpts | keypoints2d_original 91-111 |
| annotations[].righthand_kpts | keypoints2d_original 112-132 |
| annotations[].lefthand_box | lhand_bbox_xywh as it is, confidence lefthand_valid; null without area |
| annotations[].righthand_box | rhand_bbox_xywh, likewise |
| annotations[].face_box | face_bbox_xywh, likewise |
| annotations[].lefthand_valid | valid_lhand where the fit does not say; meta.lefthand_valid |
| annotations[].righthand_valid | valid_rhand, likewise; meta.righthand_valid |
| annotations[].face_valid | valid_face, likewise |
| annotations[].area, annotations[].category_id | not a column: no consumer needs them |

Boxes are those of the release, x, y, w, h (unverified for those of hands: planning warns when the points of
hands say otherwise). That hands are shrunk by 0.65, and that the face is the extent of its points
grown by 1.2, is what OSX does in training.

The release has no identities. ``track_id`` is made here (:mod:`hmtools.datasets.box_tracks`): boxes that
overlap by half in neighbouring frames of a video are one person, before anybody is left out.

``annotations/<Scene>/smplx_annotation.json`` (:mod:`hmtools.datasets.neural_annot`), keyed by annotation id:

| source field | column, or why not |
| --- | --- |
| {id} | joins the annotation; a person without is left out (no_fit), as in the reference |
| {id}.smplx_param.root_pose | smplx_global_orient |
| {id}.smplx_param.body_pose | smplx_body_pose |
| {id}.smplx_param.lhand_pose | smplx_left_hand_pose, the mean hand added |
| {id}.smplx_param.rhand_pose | smplx_right_hand_pose, the mean hand added |
| {id}.smplx_param.jaw_pose | smplx_jaw_pose |
| {id}.smplx_param.shape | smplx_betas, of the neutral model |
| {id}.smplx_param.expr | smplx_expression |
| {id}.smplx_param.trans | smplx_transl; valid_transl false, its depth is that of an assumed focal length |
| {id}.smplx_param.lhand_valid | valid_lhand |
| {id}.smplx_param.rhand_valid | valid_rhand |
| {id}.smplx_param.face_valid | valid_face |
| {id}.cam_param.focal | focal_length, the person's own; camera_kind virtual |
| {id}.cam_param.princpt | principal_point, likewise |

The fits are of whole bodies although legs are rarely in the picture: do not trust joints outside of it.

``splits/{intra,inter}_scene_test_list.npy``:

| source field | column, or why not |
| --- | --- |
| names of videos | split; what follows ``_Trim`` in the folder of a video is cut before comparing |
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from hmtools.core.errors import LayoutError
from hmtools.datasets.base import Dataset, Option, Rejected, Source
from hmtools.datasets.neural_annot import FitUnit, plan_fits, read_fits
from hmtools.datasets.registry import register
from hmtools.datasets.ubody_frames import with_sources
from hmtools.datasets.ubody_people import hands_in_corners, read_videos
from hmtools.datasets.ubody_scenes import Scene, VideoUnit, pack_videos, read_test_list, scan_scene
from hmtools.engine.job import Unit
from hmtools.humandata.record import Record
from hmtools.humandata.schema import RecordSpec

__all__ = ["UBody"]

log = logging.getLogger(__name__)

_PAGE = "https://osx-ubody.github.io (fill in the form; you get links to videos, annotations and splits)"
_LABELS, _FITS = "keypoint_annotation.json", "smplx_annotation.json"
_SCENES = frozenset(
    {"ConductMusic", "Entertainment", "Fitness", "Interview", "LiveVlog", "Magic_show", "Movie", "Olympic"}
    | {"Online_class", "SignLanguage", "Singing", "Speech", "TVShow", "TalkShow", "VideoConference"}
)


@register
class UBody(Dataset):
    """UBody: SMPL-X fits of upper bodies, per frame of a video at 30 fps."""

    name = "ubody"
    title = "UBody (OSX)"
    homepage = "https://osx-ubody.github.io"
    licence = "UBody licence: non-commercial research, by form"
    commercial_use = False
    citation = (
        "Lin et al., One-Stage 3D Whole-Body Mesh Recovery with Component Aware Transformer, CVPR 2023 (OSX)"
    )
    folders = ("UBody", "ubody", "UBODY")
    layout = """
UBody/
  videos/<Scene>/<video>.mp4            sub-folders are fine; any of the 15 scenes
  images/<Scene>/<video>/000001.png ...     optional: frames you extracted with `ffmpeg -r 30` win
  annotations/<Scene>/keypoint_annotation.json
  annotations/<Scene>/smplx_annotation.json
  splits/intra_scene_test_list.npy
  splits/inter_scene_test_list.npy
"""
    splits: ClassVar[Mapping[str, str]] = {
        "intra_train": "train",
        "intra_test": "test",
        "inter_train": "train",
        "inter_test": "test",
    }
    options: ClassVar[Mapping[str, Option]] = {
        "frames": Option(
            "auto",
            "where frames come from: extracted images, or videos at 30 fps; auto: images where they are",
            ("auto", "images", "videos"),
        ),
    }
    every: ClassVar[Mapping[str, int]] = {"train": 10, "test": 100}
    box_ratio = 1.25
    body = "SMPL-X fits of body, hands and face, neutral; 2D keypoints"
    official_counts: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "intra_train": {"records": 71_299},
        "inter_train": {"records": 60_971},
    }

    def _list(self, split: str) -> Source:
        return Source((f"splits/{split.partition('_')[0]}_scene_test_list.npy",), _PAGE)

    def sources(self, split: str) -> Sequence[Source]:
        """Pictures, annotations and the list of test videos."""
        return [Source(self._pictures(), _PAGE), Source(("annotations",), _PAGE), self._list(split)]

    def _pictures(self) -> tuple[str, ...]:
        chosen = self.chosen["frames"]
        return ("images", "videos") if chosen == "auto" else (chosen,)

    def spec(self, root: Path, split: str) -> RecordSpec:
        """133 joints and SMPL-X."""
        return RecordSpec(self.stored_as, split, "coco_wholebody_133", bodies=("smplx",))

    def inputs(self, root: Path, split: str) -> list[Path]:
        """The list and the annotations of every scene."""
        scenes = [root / "annotations" / scene for scene in self._scenes(root)[0]]
        return [
            *super().inputs(root, split),
            *(folder / name for folder in scenes for name in (_LABELS, _FITS)),
        ]

    def _scenes(self, root: Path) -> tuple[list[str], list[str]]:
        """Scenes with annotations and pictures, in the order of their sequences, and those that lack any."""
        annotated = {path.parent.name for path in root.glob(f"annotations/*/{_LABELS}")}
        whole = {
            scene
            for scene in annotated
            if (root / "annotations" / scene / _FITS).is_file()
            and any((root / path / scene).is_dir() for path in self._pictures())
        }
        return sorted(whole, key=lambda scene: f"{scene}/"), sorted((_SCENES | annotated) - whole)

    def plan(self, root: Path, split: str) -> list[Unit]:
        """Units of whole videos of one scene, about 512 annotated images each."""
        scenes, missing = self._scenes(root)
        if missing and scenes:
            log.warning("%s: left out, no annotations or no pictures below %s: %s", self.title, root, missing)
        file = root / self._list(split).paths[0]
        tested, known = read_test_list(file), set[str]()
        units: list[Unit] = []
        for scene in scenes:
            found = scan_scene(root / "annotations" / scene / _LABELS, scene)
            known |= {video.name for video in found.videos}
            own = [v for v in found.videos if (v.name in tested) == (self.role(split) == "test")]
            units += self._plan_scene(root, scene, replace(found, videos=tuple(own))) if own else []
        if not units or not (tested & known or missing):
            raise LayoutError(
                f"{self.title}: nothing is left for {split}. {file} names {len(tested)} videos, "
                f"{len(tested & known)} of the {len(known)} that are annotated in "
                f"{', '.join(scenes) or 'no scene'}; not there: {', '.join(missing) or 'nothing'}"
                f"\n\n{self.layout_help()}"
            )
        first: VideoUnit = units[0].payload.people
        if hands_in_corners(root / "annotations" / first.scene / _LABELS, first.videos[0]):
            log.warning(
                "%s: boxes of hands in %s look like corners x1, y1, x2, y2; they are read as x, y, w, h, "
                "which was never verified",
                self.title,
                first.videos[0].sequence,
            )
        return [replace(unit, index=number) for number, unit in enumerate(units)]

    def _plan_scene(self, root: Path, scene: str, found: Scene) -> list[Unit]:
        videos = with_sources(root, scene, found.videos, self.chosen["frames"])
        units = pack_videos(scene, videos, found.strays)
        ids = [np.concatenate([v.people[:, -1] for v in unit.payload.videos]) for unit in units]
        return plan_fits(root / "annotations" / scene / _FITS, units, ids, elsewhere=[found.ids])

    def read(self, root: Path, unit: Unit) -> Iterator[Record | Rejected]:
        """People with a usable label and a fit."""
        payload: FitUnit = unit.payload
        part: VideoUnit = payload.people
        folder = root / "annotations" / part.scene
        people = read_videos(root, folder / _LABELS, part, payload.fits[:, 0].tolist())
        for found in read_fits(folder / _FITS, payload, people):
            if isinstance(found, Rejected) or found.valid_smplx:  # else its fit was counted as broken
                yield found
