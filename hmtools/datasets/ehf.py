"""EHF (Expressive Hands and Faces): a hundred frames of one person with the registered SMPL-X mesh of each.

The truth is the mesh, not parameters: it is kept in a sidecar of the shards, in the camera frame. Both trees
that circulate are read, the official flat folder and ``data/`` with ``EHF.json`` beside the files; NN is the
number of the frame, 01 to 100.

| source field | column, or why not |
| --- | --- |
| NN_img.png, NN_img.jpg | image_path (PNG where both are there, see the option ``format``) |
| NN (of the file names) | source_frame, source_id, frame (NN - 1), source_index without EHF.json |
| NN_align.ply vertex.x, .y, .z | mesh, R x + t; bbox_xywh without EHF.json; its path in meta.mesh |
| NN_align.ply face.vertex_indices | not a column: the faces of SMPL-X |
| NN_2Djnt.json people[].pose_keypoints_2d | keypoints2d_original 0-24, of people[0] |
| NN_2Djnt.json people[].hand_left_keypoints_2d | keypoints2d_original 25-45 |
| NN_2Djnt.json people[].hand_right_keypoints_2d | keypoints2d_original 46-66 |
| NN_2Djnt.json people[].face_keypoints_2d | keypoints2d_original 67-136 |
| NN_2Djnt.json version, other people[] fields | not a column: nothing of the person |
| NN_2Djnt.png, NN_scan.obj | not read: a picture of the joints, the raw scan |
| EHF_camera.txt | world_to_cam, focal_length, principal_point |
| images[].id | joins annotations[].image_id |
| images[].file_name | NN; the file itself is chosen by ``format`` |
| images[].width, images[].height | width, height; without EHF.json those of the image file |
| annotations[].id | not a column: NN names the one person of a frame, in both trees |
| annotations[].image_id | joins the image |
| annotations[] (position) | source_index |
| annotations[].body_bbox | bbox_xywh, confidence 1 |
| annotations[].lefthand_bbox | lhand_bbox_xywh, null unless of some area |
| annotations[].righthand_bbox | rhand_bbox_xywh, likewise |
| annotations[].face_bbox | face_bbox_xywh, likewise |
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from hmtools.core.errors import LayoutError
from hmtools.datasets.base import Dataset, Option, Rejected, Source, World, json_text
from hmtools.datasets.camera_text import TextCamera, read_camera
from hmtools.datasets.coco_values import numbers
from hmtools.datasets.ehf_frames import Frame, find_frames, frame_files, frame_folder, frame_size
from hmtools.datasets.openpose import read_openpose
from hmtools.datasets.ply import PlyError, read_ply
from hmtools.datasets.registry import register
from hmtools.engine.job import Unit
from hmtools.geometry.box import bbox_from_keypoints, clip_xywh, overlaps_image
from hmtools.geometry.projection import project, world_to_camera
from hmtools.humandata.record import Record
from hmtools.humandata.schema import RecordSpec

__all__ = ["FRAMES_PER_UNIT", "Ehf"]

log = logging.getLogger(__name__)

FRAMES_PER_UNIT = 25

_PAGE = "https://smpl-x.is.tue.mpg.de (EHF: Evaluation Dataset; registration)"
_VERTICES = 10475
_SOURCES = {
    "align": Source(("data/NN_align.ply", "NN_align.ply"), _PAGE),
    "img": Source(("data/NN_img.png", "NN_img.png", "NN_img.jpg"), _PAGE),
}
_PART_BOXES = (("lhand", "lefthand_bbox"), ("rhand", "righthand_bbox"), ("face", "face_bbox"))
_BOX_PADDING = 1.2  # of a box made from the mesh


@register
class Ehf(Dataset):
    """EHF: SMPL-X meshes of 100 frames, a test set."""

    name = "ehf"
    title = "EHF (Expressive Hands and Faces)"
    homepage = "https://smpl-x.is.tue.mpg.de"
    licence = "SMPL-X licence: non-commercial research, registration"
    commercial_use = False
    citation = (
        "Pavlakos et al., Expressive Body Capture: 3D Hands, Face, and Body from a Single Image, CVPR 2019"
    )
    folders = ("EHF", "ehf")
    layout = """
EHF/                     the official folder; or EHF/data/ with the same files
  NN_align.ply           NN = 01 ... 100: the mesh
  NN_img.png             or NN_img.jpg
  NN_2Djnt.json          OpenPose joints, optional
  EHF_camera.txt         optional: the published camera is built in
  EHF.json               optional: boxes of SMPLer-X and OSX
"""
    splits: ClassVar[Mapping[str, str]] = {"test": "test"}
    options: ClassVar[Mapping[str, Option]] = {
        "format": Option(
            "auto", "which of two equal images to take; auto: PNG when present", ("auto", "png", "jpg")
        ),
        "camera": Option(
            "auto", "EHF_camera.txt when present (auto), or the published numbers", ("auto", "published")
        ),
    }
    body = "SMPL-X mesh"
    official_counts: ClassVar[Mapping[str, Mapping[str, int]]] = {"test": {"images": 100, "records": 100}}
    world = World(scope="sequence", up="+y", metric=True)

    def sources(self, split: str) -> Sequence[Source]:
        """Meshes and images, of any frame."""
        return list(_SOURCES.values())

    def missing(self, root: Path, split: str) -> list[Source]:
        """The kinds of file of which there is not one."""
        kinds = {found["kind"] for found in frame_files(frame_folder(root))}
        return [source for kind, source in _SOURCES.items() if kind not in kinds]

    def inputs(self, root: Path, split: str) -> list[Path]:
        """Every mesh, json and camera file."""
        found = (path for path in frame_folder(root).iterdir() if path.suffix in (".ply", ".json", ".txt"))
        return sorted(path for path in found if path.is_file() and not path.name.startswith("."))

    def spec(self, root: Path, split: str) -> RecordSpec:
        """OpenPose joints, and what follows from a mesh of SMPL-X."""
        return RecordSpec(self.stored_as, split, "openpose_137", bodies=("smplx",))

    def plan(self, root: Path, split: str) -> list[Unit]:
        """One unit per 25 frames."""
        folder = frame_folder(root)
        camera, source = self._camera(folder)
        if not camera.agrees(_published()):
            log.warning("%s: %s is not the published camera; it is used all the same", folder, source)
        frames, rejected = find_frames(folder)
        if not frames:
            why = "".join(f"; {row.source} {row.detail}" for row in rejected[:3])
            raise LayoutError(f"{self.title}: no frames NN_align.ply in {folder}{why}")
        cuts = range(0, len(frames), FRAMES_PER_UNIT)
        blocks = [frames[cut : cut + FRAMES_PER_UNIT] for cut in cuts]
        return [
            Unit(
                index=number,
                name=f"frames {block[0].name}-{block[-1].name}",
                payload=(() if number else tuple(rejected), tuple(block)),
                expected=len(block),
                images=len(block),
                sequences=(split,),
            )
            for number, block in enumerate(blocks)
        ]

    def read(self, root: Path, unit: Unit) -> Iterator[Record | Rejected]:
        """The person of each frame whose mesh is sound."""
        rejected, frames = unit.payload
        yield from rejected
        folder = frame_folder(root)
        camera, source = self._camera(folder)
        for frame in frames:
            where = f"frame {frame.name}"
            try:
                with np.errstate(over="ignore", invalid="ignore"):  # rejected as not finite
                    record = self._record(root, folder, frame, camera, source)
                yield record
            except (FileNotFoundError, IsADirectoryError):
                yield Rejected("mesh_missing", where, f"{frame.name}_align.ply: no such file")
            except PlyError as error:
                yield Rejected(error.reason, where, error.detail)
            except KeyError as error:
                yield Rejected("broken_row", where, f"has no {error}")
            except (TypeError, ValueError, OverflowError, RecursionError) as error:
                yield Rejected("broken_row", where, str(error))

    def _camera(self, folder: Path) -> tuple[TextCamera, str]:
        path = folder / "EHF_camera.txt"
        if self.chosen["camera"] == "published" or not path.is_file():
            return _published(), "published"
        try:
            return read_camera(path), path.name
        except LayoutError as error:
            raise LayoutError(f"{error}; --option camera=published takes the published numbers") from error

    def _record(self, root: Path, folder: Path, frame: Frame, camera: TextCamera, source: str) -> Record:
        mesh_file = folder / f"{frame.name}_align.ply"
        vertices = read_ply(mesh_file).vertices
        if len(vertices) != _VERTICES:
            raise PlyError("mesh_other", f"{len(vertices)} vertices, expected the {_VERTICES} of SMPL-X")
        mesh = world_to_camera(vertices, camera.world_to_cam)
        formats = {"auto": ("png", "jpg")}.get(self.chosen["format"], (self.chosen["format"],))
        images = [folder / f"{frame.name}_img.{ending}" for ending in formats]
        image = next((path for path in images if path.is_file()), images[0])
        width, height = frame_size(frame, image)
        record = Record(
            sequence="test",
            frame=int(frame.name) - 1,
            source_frame=frame.name,
            person=0,
            source_id=frame.name,
            source_index=frame.source_index,
            image_path=image.relative_to(root).as_posix(),
            image_op="none",
            height=height,
            width=width,
            keypoints2d_original=read_openpose(folder / f"{frame.name}_2Djnt.json"),
            gender="neutral",
            focal_length=camera.focal_length,
            principal_point=camera.principal_point,
            camera_model="pinhole",
            camera_kind="real",
            world_to_cam=camera.world_to_cam,
            valid_smplx=False,
            valid_keypoints3d=True,
            mesh=mesh,
        )
        _add_boxes(record, frame, camera)
        boxes = "mesh" if frame.annotation is None else "EHF.json"
        relative = mesh_file.relative_to(root).as_posix()
        record.meta = json_text({"mesh": relative, "boxes": boxes, "camera": source})
        return record


@cache
def _published() -> TextCamera:
    """The numbers in the code of everyone who evaluates on EHF."""
    return TextCamera.of(
        rotation=[-2.98747896, 0.01172457, -0.05704687],
        translation=[-0.03609917, 0.43416458, 2.37101226],
        focal=[1498.224],
        principal=[790.263706, 578.90334],
    )


def _add_boxes(record: Record, frame: Frame, camera: TextCamera) -> None:
    if frame.annotation is not None:
        record.bbox_xywh = [*numbers(frame.annotation["body_bbox"], 4), 1.0]
        for column, field in _PART_BOXES:
            box = frame.annotation.get(field)
            if box is not None and min(numbers(box, 4)[2:]) > 0:
                setattr(record, f"{column}_bbox_xywh", [*numbers(box, 4), 1.0])
        return
    pixels = project(record.mesh, camera.focal_length, camera.principal_point, behind="nan")
    box = bbox_from_keypoints(np.column_stack([pixels, np.ones(len(pixels))]), padding=_BOX_PADDING)[:4]
    width, height = record.width or 0, record.height or 0
    if np.isfinite(box).all() and overlaps_image(box, width, height):
        record.bbox_xywh = [*clip_xywh(box, width, height), 1.0]
