"""AGORA: rendered scenes of 5 to 15 textured scans of people, with SMPL-X (or SMPL) fits.

A row of a dataframe (``train_0_withjv.pkl`` ...) is an image, its cells are lists with an entry per person:

| source field | column, or why not |
| --- | --- |
| imgPath | image_path, source_frame (stem), source_id; its words choose the camera |
| (row) | frame, counted through the dataframes of one image folder |
| (entry of the lists) | person, source_id ``<stem>_personId_<person>``; counted on in source_index |
| camX, camY, camZ, camYaw | world_to_cam, where the name of the image has no camera |
| X, Y, Z, Yaw | world_to_cam: from the frame of the person's own fit to the camera |
| gender | meta.gender; gender is that of the model: neutral for girls, and for every SMPL |
| kid | meta.kid; chooses the model |
| age, ethnicity | meta |
| occlusion | occlusion, 1 for 100 %; null outside 0 to 100 |
| isValid | false leaves the person out (not_valid), else valid_smplx, valid_smpl |
| gt_path_smplx, gt_path_smpl | the fit that is read, meta.gt_path |
| gt_joints_2d | keypoints2d_original; bbox, lhand, rhand and face boxes are their extents x 1.2 |
| gt_joints_3d | keypoints3d_original |
| gt_verts | mesh, of the validation split; not a column in train: the fit gives it |

``smplx_gt/<set>/<scan>.pkl``, and ``smpl_gt`` with the option ``body=smpl``:

| source field | column, or why not |
| --- | --- |
| global_orient, root_pose | smplx_global_orient, turned into the camera |
| transl, translation | smplx_transl, moved into the camera about the pelvis of the rest body |
| body_pose | smplx_body_pose |
| left_hand_pose | smplx_left_hand_pose, the mean hand added |
| right_hand_pose | smplx_right_hand_pose, the mean hand added |
| jaw_pose | smplx_jaw_pose |
| leye_pose | smplx_leye_pose |
| reye_pose | smplx_reye_pose |
| expression | smplx_expression |
| betas 0-9 | smplx_betas |
| betas 10 | kid |
| betas of smplx_gt_neutral_gender/ | betas_neutral, of adults; without that folder it is derived |

``AGORA_<split>.json`` (OSX, Hand4Whole), read where there are no dataframes, names files with the same
numbers. It does not say where people stand: the root of a fit in ``smplx_gt`` stays null then.

| source field | column, or why not |
| --- | --- |
| images[].id | joins annotations[].image_id |
| images[].file_name_3840x2160 | image_path, as imgPath with its folder |
| images[].file_name_1280x720 | not read: it follows from the other |
| annotations[].id | meta.id |
| annotations[].image_id | joins the image |
| annotations[].smplx_joints_2d_path, annotations[].smpl_joints_2d_path | keypoints2d_original |
| annotations[].smplx_joints_3d_path, annotations[].smpl_joints_3d_path | keypoints3d_original |
| annotations[].smplx_verts_path, annotations[].smpl_verts_path | mesh, of the validation split |
| annotations[].smplx_param_path, annotations[].smpl_param_path | the fit that is read, meta.gt_path |
| annotations[].gender, annotations[].kid, annotations[].age, annotations[].ethnicity | as above |
| annotations[].occlusion, annotations[].is_valid | as above |
| annotations[].bbox | bbox_xywh, confidence 1 |
| annotations[].lhand_bbox, annotations[].rhand_bbox, annotations[].face_bbox | those boxes, likewise |

The test split has no truth; ``AGORA_test_bbox.json`` has detected boxes:

| source field | column, or why not |
| --- | --- |
| {file name} | image_path, source_frame |
| {file name}[] (position) | person |
| {file name}[].bbox | bbox_xywh, confidence 1 |

All published pixels are of the images at 3840 x 2160. For those at 1280 x 720 they are divided by 3, as the
authors do; it is exact for their camera, whose centre is W / 2 and H / 2 in both sizes. Were it counted from
pixel centres, a third of a pixel would come off: less than what is known of any joint.

``<split>_crop`` folders are not read: they hold pictures cut from these for SMPLer-X, and conversion makes
its own. SMPLer-X trains and tests on cuts of the large images: ``resolution=auto`` takes those it finds.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from hmtools.datasets import agora_tree
from hmtools.datasets.agora_boxes import BoxUnit, plan_boxes, read_boxes
from hmtools.datasets.agora_frames import FrameUnit, plan_dataframes, read_dataframe
from hmtools.datasets.agora_json import plan_json, read_json
from hmtools.datasets.agora_person import agora_record
from hmtools.datasets.agora_tree import NO_IMAGES, AgoraFamily, ImageFolder
from hmtools.datasets.base import Dataset, Option, Rejected, Source, World
from hmtools.datasets.registry import register
from hmtools.engine.job import Unit
from hmtools.humandata.record import Record
from hmtools.humandata.schema import RecordSpec

__all__ = ["Agora"]

log = logging.getLogger(__name__)


@register
class Agora(Dataset):
    """AGORA with SMPL-X, or with SMPL."""

    name = "agora"
    title = "AGORA"
    homepage = "https://agora.is.tue.mpg.de"
    licence = "AGORA licence: non-commercial research, registration"
    commercial_use = False
    citation = "Patel et al., AGORA: Avatars in Geography Optimized for Regression Analysis, CVPR 2021"
    folders = ("AGORA", "agora")
    layout = """
AGORA/                                       or AGORA/data/ with the same
  train_SMPLX/SMPLX/train_{0..9}_withjv.pkl        or SMPLX/ (train_SMPLX.zip)
  validation_SMPLX/SMPLX/*_withjv.pkl              or SMPLX/ (validation_SMPLX.zip)
  smplx_gt/<set>/<scan>.pkl                        (smplx_gt.zip)
  smplx_gt_neutral_gender/<set>/<scan>.pkl         optional: neutral shapes (smplx_gt_neutral_gender.zip)
  3840x2160/{train_0 ... train_9,validation,test}/<image>.png
  1280x720/{train_0 ... train_9,validation,test}/<image>_1280x720.png     either size is enough
  train_SMPL/SMPL/, validation_SMPL/SMPL/, smpl_gt/                 for --option body=smpl
  AGORA_{train,validation}.json, gt_joints_2d/, gt_joints_3d/, gt_verts/    instead of the dataframes
  AGORA_test_bbox.json                             for test: detected boxes
"""
    splits: ClassVar[Mapping[str, str]] = {"train": "train", "validation": "val", "test": "test"}
    options: ClassVar[Mapping[str, Option]] = {
        "resolution": Option(
            "auto", "which images; auto: 3840 x 2160 where a folder has them", ("auto", "4k", "720p")
        ),
        "body": Option(
            "smplx", "gendered SMPL-X fits, or the SMPL fits of the neutral model", ("smplx", "smpl")
        ),
    }
    box_ratio = 1.0  # the boxes have it
    body = "SMPL-X or SMPL fits, SMPL-X meshes (validation)"
    official_counts: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "train": {"images": 14_529},
        "validation": {"images": 1_225},
        "test": {"images": 3_387},
    }
    world = World(scope="person", up="+y", metric=True)

    @property
    def family(self) -> AgoraFamily:
        """Whose fits, joints and meshes."""
        return "smpl" if self.chosen["body"] == "smpl" else "smplx"

    def sources(self, split: str) -> Sequence[Source]:
        """Labels, the image folders, and fits."""
        folders = agora_tree.image_folders(split)
        found = [agora_tree.labels(split, self.family), *(self._images(folder) for folder in folders)]
        if split != "test":
            found.append(agora_tree.fits(self.family))
        return [*found, agora_tree.neutral_fits()] if self._has_neutral(split) else found

    def _images(self, folder: str) -> Source:
        return agora_tree.images(folder, self.chosen["resolution"])

    def _has_neutral(self, split: str) -> bool:
        return split != "test" and self.family == "smplx"

    def missing(self, root: Path, split: str) -> list[Source]:
        """What is not there of labels, fits, and images; one folder of images is enough to begin with."""
        frames = self._dataframes(root, split)
        folders = [agora_tree.folder_of(path, split) for path in frames] or agora_tree.image_folders(split)
        images = [self._images(folder) for folder in dict.fromkeys(folders)]
        if any(agora_tree.find(source, root) for source in images):
            images = []  # plan tells which others are not there
        needed = [agora_tree.labels(split, self.family), *images]
        if frames:
            needed = [agora_tree.fits(self.family), *images]
        elif split != "test" and agora_tree.find(agora_tree.json_labels(split), root):
            needed = images
        elif split != "test":
            needed.append(agora_tree.fits(self.family))
        return [source for source in needed if agora_tree.find(source, root) is None]

    def _dataframes(self, root: Path, split: str) -> list[Path]:
        return [] if split == "test" else agora_tree.find_dataframes(root, split, self.family)

    def inputs(self, root: Path, split: str) -> list[Path]:
        """Dataframes, or the json file; and fits."""
        labels = self._dataframes(root, split)
        if not labels:
            labels = [agora_tree.present(agora_tree.json_labels(split), root)]
        if split == "test":
            return labels
        found = [
            agora_tree.find(source, root)
            for source in (agora_tree.fits(self.family), agora_tree.neutral_fits())
        ]
        folders = found if self._has_neutral(split) else found[:1]
        return [*labels, *sorted(path for folder in folders if folder for path in folder.rglob("*.pkl"))]

    def spec(self, root: Path, split: str) -> RecordSpec:
        """127 joints and SMPL-X, or 45 and SMPL; boxes alone for test."""
        if split == "test":
            return RecordSpec(self.stored_as, split)
        joints = "agora_127" if self.family == "smplx" else "smpl_45"
        return RecordSpec(self.stored_as, split, joints, joints, bodies=(self.family,))

    def plan(self, root: Path, split: str) -> list[Unit]:
        """One unit per dataframe: those of validation are read for it, of train the images are counted."""
        if split == "test":
            images = agora_tree.present(self._images(split), root)
            boxes = agora_tree.present(agora_tree.json_labels(split), root)
            return plan_boxes(boxes, agora_tree.image_folder(root, images))
        mesh, frames = self.role(split) == "val", self._dataframes(root, split)
        find_images = partial(self._find_images, root)
        if frames:
            units = plan_dataframes(root, split, frames, find_images, mesh=mesh)
        else:
            labels = agora_tree.present(agora_tree.json_labels(split), root)
            log.warning(
                "%s does not say where people stand: fits of smplx_gt get no root; dataframes do", labels
            )
            units = plan_json(root, labels, find_images, mesh=mesh)
        if lost := [row for row in units[0].payload.lost if row.reason == NO_IMAGES]:
            names = ", ".join(row.source for row in lost)
            log.warning("%s: no images of %s: left out. %s", self.title, names, lost[0].detail)
        return units

    def _find_images(self, root: Path, folder: str) -> ImageFolder | Rejected:
        """Where the images of a folder are, or what is told of one that is not there."""
        source = self._images(folder)
        found = agora_tree.find(source, root)
        if found is not None:
            return agora_tree.image_folder(root, found)
        detail = f"{' or '.join(source.paths)}: no such folder, from {source.page}"
        return Rejected(NO_IMAGES, folder, detail, sequence=folder)

    def read(self, root: Path, unit: Unit) -> Iterator[Record | Rejected]:
        """Valid people of a unit; of test whoever has a box."""
        payload = unit.payload
        if isinstance(payload, BoxUnit):
            yield from read_boxes(payload)
            return
        neutral = agora_tree.find(agora_tree.neutral_fits(), root) if self.family == "smplx" else None
        if isinstance(payload, FrameUnit):
            fits = agora_tree.present(agora_tree.fits(self.family), root)
            people = read_dataframe(root, payload, self.family, fits, neutral)
        else:
            people = read_json(root, payload, self.family, neutral)
        for found in people:
            if isinstance(found, Rejected):
                yield found
                continue
            try:
                yield agora_record(found, self.family, payload.stored)
            except (KeyError, TypeError, ValueError) as error:
                problem = f"has no {error}" if isinstance(error, KeyError) else str(error)
                yield Rejected("broken_fit", f"{found.image} person {found.person}", problem)
