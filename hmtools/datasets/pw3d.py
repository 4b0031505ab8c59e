"""3DPW (3D Poses in the Wild): sequences of people outdoors with SMPL bodies in a world frame.

``sequenceFiles/<split>/<seq>.pkl`` (:mod:`hmtools.datasets.pw3d_sequences`); row i of a per-image array is
that of ``image_%05d.jpg`` % i:

| source field | column, or why not |
| --- | --- |
| sequence | sequence; must be the file's name |
| genders | gender; they say how many people there are: person, track_id ``<seq>_<person>`` |
| betas | smpl_betas, the first 10 |
| betas_clothed | meta.betas_clothed: whether there are any; not a column: the body with its clothes |
| v_template_clothed, texture_maps | not a column: clothes |
| poses | smpl_global_orient, turned into the camera frame; smpl_body_pose |
| trans | smpl_transl, moved into the camera frame about the pelvis of the rest body |
| poses_60Hz, trans_60Hz | not a column: there are no images of them |
| img_frame_ids | meta.frame_60hz |
| jointPositions | keypoints3d_original, R x + t; bbox_xywh without a json: their extent x 1.2 in the image |
| poses2d | keypoints2d_original, transposed; null when no point was found |
| cam_poses | world_to_cam |
| cam_intrinsics | focal_length, principal_point |
| campose_valid | 0 leaves the person out (invalid_camera); in a published row: valid_smpl ... false |

``3DPW_<split>.json`` (:mod:`hmtools.datasets.pw3d_published`), optional: the rows others train and evaluate
on. With it the people and boxes are its own, and who is not in it is left out (not_published); without it
they are all whose camera is valid, and the manifest says ``rows: derived``.

| source field | column, or why not |
| --- | --- |
| images[].id | joins annotations[].image_id |
| images[].file_name | frame |
| images[].sequence | sequence |
| images[].width, images[].height | not read: the images say it |
| images[].cam_param.focal, images[].cam_param.princpt | not read: those of cam_intrinsics |
| annotations[].id | source_id, else ``<seq>/image_<i>_<person>``; joins the NeuralAnnot fit |
| annotations[] (position) | source_index; without the json the frame, so that intervals keep everybody |
| annotations[].image_id | joins the image |
| annotations[].bbox | bbox_xywh, confidence 1 |
| annotations[].smpl_param.pose | tells which person of the sequence file it is |
| annotations[].smpl_param.shape, annotations[].smpl_param.trans | not read: those of that person |
| annotations[].smpl_param.gender | not read, likewise |
| annotations[].openpose_result | not read: poses2d |
| annotations[].fitted_3d_pose | not a column: jointPositions are kept |
| annotations[].iscrowd, annotations[].category_id | not a column: no consumer needs them |

``3DPW_<split>_SMPLX_NeuralAnnot.json`` (:mod:`hmtools.datasets.neural_annot`), for ``body=smplx``: neutral
SMPL-X without hands and face, in the camera frame, instead of the SMPL bodies:

| source field | column, or why not |
| --- | --- |
| {id} | joins the annotation; a person without has ``valid_smplx`` false and no body |
| {id}.root_pose | smplx_global_orient |
| {id}.body_pose | smplx_body_pose |
| {id}.shape | smplx_betas, of the neutral model |
| {id}.trans | smplx_transl |
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from hmtools.core.errors import HmtoolsError, LayoutError
from hmtools.datasets.base import Dataset, Option, Rejected, Source, World
from hmtools.datasets.neural_annot import FitUnit, plan_fits, read_fits
from hmtools.datasets.pw3d_frames import Frames, plan_frames
from hmtools.datasets.pw3d_people import People
from hmtools.datasets.pw3d_published import scan_published
from hmtools.datasets.pw3d_sequences import read_recording, up_axis
from hmtools.datasets.registry import register
from hmtools.engine.job import Unit
from hmtools.humandata.record import Record
from hmtools.humandata.schema import RecordSpec

__all__ = ["Pw3d"]

log = logging.getLogger(__name__)

_PAGE = "https://virtualhumans.mpi-inf.mpg.de/3DPW/ (accept the licence: imageFiles.zip, sequenceFiles.zip)"
_JSON_PAGE = "https://github.com/mks0601/I2L-MeshNet_RELEASE (data/PW3D)"
_FITS_PAGE = "https://github.com/mks0601/NeuralAnnot_RELEASE"


@register
class Pw3d(Dataset):
    """3DPW: SMPL bodies of people outdoors, per image of a video."""

    name = "pw3d"
    aliases = ("3dpw",)
    title = "3DPW (3D Poses in the Wild)"
    homepage = "https://virtualhumans.mpi-inf.mpg.de/3DPW/"
    licence = "3DPW licence: non-commercial research, to be accepted on the site"
    commercial_use = False
    citation = (
        "von Marcard et al., Recovering Accurate 3D Human Pose in The Wild Using IMUs and a Moving Camera, "
        "ECCV 2018"
    )
    folders = ("3DPW", "pw3d", "PW3D", "3dpw")
    layout = """
3DPW/                                           or all of it below 3DPW/data/
  imageFiles/<seq>/image_00000.jpg ...          imageFiles.zip
  sequenceFiles/{train,validation,test}/<seq>.pkl     sequenceFiles.zip
  3DPW_{train,validation,test}.json             optional: the rows and boxes of SMPLer-X and OSX
  3DPW_{train,validation,test}_SMPLX_NeuralAnnot.json    only for body=smplx, which needs the json too
"""
    splits: ClassVar[Mapping[str, str]] = {"train": "train", "validation": "val", "test": "test"}
    options: ClassVar[Mapping[str, Option]] = {
        "body": Option("smpl", "SMPL of the sequence files, or SMPL-X of NeuralAnnot", ("smpl", "smplx")),
    }
    body = "SMPL, gendered, world; SMPL-X fits of the body (option)"
    official_counts: ClassVar[Mapping[str, Mapping[str, int]]] = {"test": {"records": 35_515}}
    world = World(scope="sequence", up="+y", metric=True)
    video = True

    def sources(self, split: str) -> Sequence[Source]:
        """Images, sequence files, and the jsons, which must be there for SMPL-X."""
        return list(self._sources(split).values())

    def _sources(self, split: str) -> dict[str, Source]:
        fitted = self.chosen["body"] == "smplx"
        wanted = {
            "images": ("imageFiles", _PAGE, True),
            "sequences": (f"sequenceFiles/{split}", _PAGE, True),
            "rows": (f"3DPW_{split}.json", _JSON_PAGE, fitted),
            **({"fits": (f"3DPW_{split}_SMPLX_NeuralAnnot.json", _FITS_PAGE, True)} if fitted else {}),
        }
        return {
            kind: Source((path, f"data/{path}"), page, optional=not needed)
            for kind, (path, page, needed) in wanted.items()
        }

    def _find(self, root: Path, split: str, kind: str) -> Path | None:
        source = self._sources(split).get(kind)
        return source.find(root) if source else None

    def _need(self, root: Path, split: str, kind: str) -> Path:
        found = self._find(root, split, kind)
        if found is None:
            source = self._sources(split)[kind]
            raise LayoutError(
                f"{self.title}: {root / ' or '.join(source.paths)} is missing, from {source.page}"
            )
        return found

    def spec(self, root: Path, split: str) -> RecordSpec:
        """OpenPose's 18 points, the 24 joints of SMPL, one of the two bodies."""
        return RecordSpec(self.stored_as, split, "pw3d_18", "smpl_24", bodies=(self.chosen["body"],))

    def rows(self, root: Path, split: str) -> str:
        """``official`` with the json."""
        return "official" if self._find(root, split, "rows") else "derived"

    def inputs(self, root: Path, split: str) -> list[Path]:
        """The jsons and every sequence file."""
        folder = self._find(root, split, "sequences")
        return [*super().inputs(root, split), *(sorted(folder.glob("*.pkl")) if folder else [])]

    def plan(self, root: Path, split: str) -> list[Unit]:
        """Units of at most 512 frames of one sequence; of the sequence files only the first is opened."""
        folder = self._need(root, split, "sequences")
        files = sorted(folder.glob("*.pkl"))
        if not files:
            raise LayoutError(f"{self.title}: no <sequence>.pkl in {folder}, from {_PAGE}")
        self._check_world(files[0])
        names = [file.stem for file in files]
        rows = self._find(root, split, "rows")
        published = scan_published(rows, names) if rows else None
        units = plan_frames(split, names, self._need(root, split, "images"), published)
        fits = self._find(root, split, "fits")
        return plan_fits(fits, units, [unit.payload.rows[:, -1] for unit in units]) if fits else units

    def _check_world(self, file: Path) -> None:
        """The manifest says which way is up, as is written about the set; the data may know better."""
        try:
            found = up_axis(read_recording(file))
        except HmtoolsError:
            return  # whoever reads the unit of that file says what is wrong with it
        if found != self.world.up:
            log.warning(
                "%s: people stand along %s; the manifest says up = %s, which was never verified: look before "
                "you use the world",
                file,
                found or "no axis of the world",
                self.world.up,
            )

    def read(self, root: Path, unit: Unit) -> Iterator[Record | Rejected]:
        """The published people, or all whose camera is valid."""
        fitted = unit.payload if isinstance(unit.payload, FitUnit) else None
        part: Frames = fitted.people if fitted else unit.payload
        people = People(
            root=root,
            file=self._need(root, part.split, "sequences") / f"{part.sequence}.pkl",
            images=self._need(root, part.split, "images") / part.sequence,
            published=self._find(root, part.split, "rows"),
            smpl=fitted is None,
        ).read(part)
        return read_fits(self._need(root, part.split, "fits"), fitted, people) if fitted else people
