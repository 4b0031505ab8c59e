"""MS COCO 2017 people with COCO-WholeBody labels and, for train, the SMPL-X fits of NeuralAnnot.

Besides the COCO fields that :mod:`hmtools.datasets.coco` describes:

| source field | column, or why not |
| --- | --- |
| annotations[].foot_kpts | keypoints2d_original 17-22 |
| annotations[].face_kpts | keypoints2d_original 23-90 |
| annotations[].lefthand_kpts | keypoints2d_original 91-111 |
| annotations[].righthand_kpts | keypoints2d_original 112-132 |
| annotations[].lefthand_box | lhand_bbox_xywh, null unless valid and of some area |
| annotations[].righthand_box | rhand_bbox_xywh, likewise |
| annotations[].face_box | face_bbox_xywh, likewise |
| annotations[].lefthand_valid | valid_lhand |
| annotations[].righthand_valid | valid_rhand |
| annotations[].face_valid | valid_face |
| annotations[].foot_valid | not a column: invalid feet have v = 0 |

The parts stand in the official order of the 133 joints: body, feet, face, left hand, right hand. All of it is
2D: nothing is metric, so ``valid_keypoints3d`` is false.

NeuralAnnot's json (:mod:`hmtools.datasets.neural_annot`), keyed by annotation id; not every person has a fit:

| source field | column, or why not |
| --- | --- |
| {id} | joins the annotation; a person without has ``valid_smplx`` false and no body |
| {id}.smplx_param.root_pose | smplx_global_orient |
| {id}.smplx_param.body_pose | smplx_body_pose |
| {id}.smplx_param.lhand_pose | smplx_left_hand_pose, the mean hand added |
| {id}.smplx_param.rhand_pose | smplx_right_hand_pose, the mean hand added |
| {id}.smplx_param.jaw_pose | smplx_jaw_pose |
| {id}.smplx_param.shape | smplx_betas, of the neutral model |
| {id}.smplx_param.expr | smplx_expression |
| {id}.smplx_param.trans | smplx_transl; valid_transl false, its depth is that of an assumed focal length |
| {id}.smplx_param.lhand_valid | valid_lhand; the annotation's where it is absent |
| {id}.smplx_param.rhand_valid | valid_rhand, likewise |
| {id}.smplx_param.face_valid | valid_face, likewise |
| {id}.cam_param.focal | focal_length, the person's own; camera_kind virtual |
| {id}.cam_param.princpt | principal_point, likewise |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar

from hmtools.core.errors import LayoutError
from hmtools.datasets.base import Dataset, Option, Rejected, Source
from hmtools.datasets.coco import Person, coco_meta, plan_coco, points, read_coco
from hmtools.datasets.coco_wholebody import part_boxes, wholebody_joints
from hmtools.datasets.neural_annot import FitUnit, plan_fits, read_fits
from hmtools.datasets.registry import register
from hmtools.engine.job import Unit
from hmtools.humandata.record import Record
from hmtools.humandata.schema import RecordSpec

__all__ = ["MsCoco"]

_COCO_PAGE = "https://cocodataset.org/#download"
_WHOLEBODY_PAGE = "https://github.com/jin-s13/COCO-WholeBody#download"
_FITS_PAGE = "https://github.com/mks0601/NeuralAnnot_RELEASE"


@register
class MsCoco(Dataset):
    """MS COCO 2017, body (17) or whole-body (133) keypoints, SMPL-X fits where they are."""

    name = "mscoco"
    aliases = ("coco2017",)
    title = "MS COCO 2017 + COCO-WholeBody + NeuralAnnot"
    homepage = "https://cocodataset.org"
    licence = (
        "COCO annotations CC BY 4.0; COCO-WholeBody CC BY-NC 4.0, research only; NeuralAnnot research only; "
        "images by Flickr's terms"
    )
    commercial_use = False
    citation = (
        "Lin et al., Microsoft COCO, ECCV 2014; Jin et al., Whole-Body Human Pose Estimation, ECCV 2020; "
        "Moon et al., NeuralAnnot, CVPR Workshops 2022"
    )
    folders = ("mscoco", "MSCOCO", "coco", "COCO")
    layout = """
MSCOCO/
  images/train2017/000000XXXXXX.jpg    or train2017/ directly (train2017.zip)
  images/val2017/000000XXXXXX.jpg      or val2017/ directly (val2017.zip)
  annotations/coco_wholebody_train_v1.0.json     coco_wholebody_val_v1.0.json
  annotations/person_keypoints_train2017.json    person_keypoints_val2017.json
                                       (annotations_trainval2017.zip; either kind of json is enough)
  annotations/MSCOCO_train_SMPLX_all_NeuralAnnot.json    or MSCOCO_train_SMPLX.json
                                       (optional, for train: SMPL-X fits of body, hands and face,
                                       from github.com/mks0601/NeuralAnnot_RELEASE)
"""
    splits: ClassVar[Mapping[str, str]] = {"train2017": "train", "val2017": "val"}
    options: ClassVar[Mapping[str, Option]] = {
        "labels": Option(
            "auto",
            "whole-body (133 joints) or body (17) labels; auto: whole-body when present",
            ("auto", "wholebody", "body"),
        ),
        "bodies": Option("auto", "NeuralAnnot's SMPL-X fits; auto: when present", ("auto", "none")),
    }
    body = "2D keypoints, SMPL-X fits (train)"
    official_counts: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "train2017": {"images": 118_287, "records": 149_813},
        "val2017": {"images": 5_000},
    }

    def _images(self, split: str) -> Source:
        return Source((f"images/{split}", split), _COCO_PAGE)

    def _labels(self, split: str) -> Source:
        wholebody = f"annotations/coco_wholebody_{split.removesuffix('2017')}_v1.0.json"
        body = f"annotations/person_keypoints_{split}.json"
        return {
            "auto": Source((wholebody, body), f"{_WHOLEBODY_PAGE} or {_COCO_PAGE}"),
            "wholebody": Source((wholebody,), _WHOLEBODY_PAGE),
            "body": Source((body,), _COCO_PAGE),
        }[self.chosen["labels"]]

    def _fits(self, split: str) -> Source:
        names = ("MSCOCO_train_SMPLX_all_NeuralAnnot.json", "MSCOCO_train_SMPLX.json")
        wanted = split == "train2017" and self.chosen["bodies"] != "none"
        return Source(tuple(f"annotations/{name}" for name in names if wanted), _FITS_PAGE, optional=True)

    def sources(self, split: str) -> Sequence[Source]:
        """The image folder, one of the two annotation files and, for train, the fits."""
        fits = self._fits(split)
        return [self._images(split), self._labels(split), *([fits] if fits.paths else [])]

    def _find(self, source: Source, root: Path) -> Path:
        found = source.find(root)
        if found is None:
            raise LayoutError(
                f"{self.title}: {root / ' or '.join(source.paths)} is missing, from {source.page}"
            )
        return found

    def _wholebody(self, root: Path, split: str) -> bool:
        return self._find(self._labels(split), root).name.startswith("coco_wholebody")

    def spec(self, root: Path, split: str) -> RecordSpec:
        """133 joints from whole-body labels, else 17; SMPL-X where there are fits."""
        joints2d = "coco_wholebody_133" if self._wholebody(root, split) else "coco_17"
        bodies = ("smplx",) if self._fits(split).find(root) else ()
        return RecordSpec(self.stored_as, split, joints2d, bodies=bodies)

    def plan(self, root: Path, split: str) -> list[Unit]:
        """One unit per 512 annotated images."""
        units = plan_coco(self._find(self._labels(split), root), split)
        fits = self._fits(split).find(root)
        return plan_fits(fits, units, [unit.payload.people[:, -1] for unit in units]) if fits else units

    def read(self, root: Path, unit: Unit) -> Iterator[Record | Rejected]:
        """People with a box and body joints; with whole-body labels also feet, face and hands."""
        fitted = unit.payload if isinstance(unit.payload, FitUnit) else None
        payload = fitted.people if fitted else unit.payload
        split = payload.split
        folder = PurePosixPath(self._find(self._images(split), root).relative_to(root))
        fill = _fill_wholebody if self._wholebody(root, split) else _fill_body
        labels = self._find(self._labels(split), root)
        # joined as paths: an absolute name stays one, and is refused
        people = read_coco(labels, payload, lambda name: str(folder / name), fill)
        return read_fits(self._find(self._fits(split), root), fitted, people) if fitted else people


def _fill_body(found: Person, record: Record) -> None:
    record.keypoints2d_original = points(found.annotation["keypoints"], 17)
    record.valid_keypoints3d = False
    record.meta = coco_meta(found)


def _fill_wholebody(found: Person, record: Record) -> None:
    record.keypoints2d_original = wholebody_joints(found.annotation)
    for column, valid, box in part_boxes(found.annotation):
        setattr(record, f"valid_{column}", valid)
        if valid and box is not None:
            setattr(record, f"{column}_bbox_xywh", [*box, 1.0])
    record.valid_keypoints3d = False
    record.meta = coco_meta(found)
