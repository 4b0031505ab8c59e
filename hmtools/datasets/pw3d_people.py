"""The people of some frames of 3DPW as records: the published ones, or all whose camera is valid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hmtools.bodies.pending import hold_in_world
from hmtools.core.errors import GeometryError
from hmtools.datasets.base import Rejected, json_text
from hmtools.datasets.pw3d_frames import Frames, image_name, image_size
from hmtools.datasets.pw3d_published import Row, match_rows, read_rows
from hmtools.datasets.pw3d_sequences import Recording, Subject, read_recording
from hmtools.geometry.box import bbox_from_keypoints, clip_xywh, overlaps_image
from hmtools.geometry.projection import project, world_to_camera
from hmtools.humandata.record import Record

__all__ = ["BOX_PADDING", "People", "joint_box"]

BOX_PADDING = 1.2
"""A box made from joints -> its size over their extent."""

_FPS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """Where one sequence lies, and what is wanted of it.

    Attributes:
        root: the download.
        file: the sequence file.
        images: the folder of its images, below ``root``.
        published: ``3DPW_<split>.json``, or None: everybody whose camera is valid.
        smpl: store the SMPL bodies; another body is added by whoever asks for none.
    """

    root: Path
    file: Path
    images: Path
    published: Path | None
    smpl: bool

    def read(self, part: Frames) -> Iterator[Record | Rejected]:
        """The people of some frames, by frame and person.

        Raises:
            HmtoolsError: if the sequence file cannot be read.
        """
        for position, reason, problem in part.strays:
            yield Rejected(reason, f"{self._labels} annotations[{position}]", problem)
        recording = read_recording(self.file)
        size = image_size(self.images, recording)
        frames = range(part.first, len(recording) if part.last is None else min(part.last, len(recording)))
        rows: dict[int, list[Row]] = {}
        if self.published is not None and part.rows is not None:
            for found in read_rows(self.published, part.rows):
                if isinstance(found, Rejected):
                    yield found
                else:
                    rows.setdefault(found.frame, []).append(found)
        for frame in sorted({*frames, *rows}):
            chosen, lost = match_rows(rows.get(frame, []), recording, self._labels)
            yield from lost
            if frame in frames:
                yield from self._frame(recording, frame, size, chosen)

    @property
    def _labels(self) -> str:
        return self.published.name if self.published else ""

    def _frame(
        self, recording: Recording, frame: int, size: tuple[int, int], chosen: Mapping[int, Row]
    ) -> Iterator[Record | Rejected]:
        for number, person in enumerate(recording.people):
            row = chosen.get(number)
            where = f"{self.file.stem}/{image_name(frame)} person {number}"
            if isinstance(person, str):
                yield Rejected("broken_person", where, person)
            elif row is None and not person.valid_camera[frame]:
                yield Rejected("invalid_camera", where, by_rule=True)
            elif row is None and self.published is not None:
                yield Rejected("not_published", where, by_rule=True)
            else:
                try:
                    record = self._record(recording, person, frame, number, row)
                    record.width, record.height = size
                    record.bbox_xywh = [*row.bbox_xywh, 1.0] if row else joint_box(record)
                    yield record
                except (GeometryError, ValueError) as error:
                    yield Rejected("broken_row", where, str(error))

    @np.errstate(over="ignore", invalid="ignore")  # rejected as not finite
    def _record(
        self, recording: Recording, person: Subject, frame: int, number: int, row: Row | None
    ) -> Record:
        sequence, valid = self.file.stem, bool(person.valid_camera[frame])
        image = self.images / image_name(frame)
        joints = world_to_camera(person.joints[frame], recording.world_to_cam[frame])
        meta: dict[str, Any] = {"sequence": sequence, "betas_clothed": person.clothed}
        if recording.frames_60hz is not None:
            meta["frame_60hz"] = int(recording.frames_60hz[frame])
        record = Record(
            sequence=sequence,
            frame=frame,
            source_frame=image.stem,
            fps=_FPS,
            person=number,
            source_id=row.source_id if row else f"{sequence}/{image.stem}_{number}",
            track_id=f"{sequence}_{number}",
            source_index=row.source_index if row else frame,
            image_path=image.relative_to(self.root).as_posix(),
            image_op="none",
            keypoints2d_original=_seen(person.points[frame]),
            keypoints3d_original=np.column_stack([joints, np.ones(len(joints))]),
            focal_length=recording.focal_length,
            principal_point=recording.principal_point,
            camera_model="pinhole",
            camera_kind="real",
            world_to_cam=recording.world_to_cam[frame],
            valid_keypoints3d=valid,
            meta=json_text(meta),
        )
        if self.smpl:
            _put_smpl(record, person, frame)
        else:  # NeuralAnnot fitted the body alone
            record.valid_lhand = record.valid_rhand = record.valid_face = False
        return record


def _put_smpl(record: Record, person: Subject, frame: int) -> None:
    record.gender = person.gender
    record.smpl_body_pose, record.smpl_betas = person.poses[frame, 3:], person.betas
    hold_in_world(record, "smpl", person.poses[frame, :3], person.transl[frame], record.world_to_cam)
    valid = record.valid_keypoints3d
    record.valid_smpl = record.valid_global_orient = record.valid_transl = valid
    record.valid_betas = True


def _seen(points: Any) -> Any:
    """(18, 3) of which points that were not found have no place; None when none was found."""
    found = points[:, 2] > 0
    return np.where(found[:, None], points, 0.0) if found.any() else None


@np.errstate(over="ignore", invalid="ignore")  # what comes of huge numbers is not finite
def joint_box(record: Record) -> Any:
    """The extent of the 24 joints in the image x 1.2, cut at its border.

    They are in the file, so that the box is the same with and without body models.

    Args:
        record: with its size, camera and ``keypoints3d_original``.

    Returns:
        (5,) ``[x, y, w, h, 1]``, pixels; uncut if it lies outside the image; None if no joint is before the
        camera.
    """
    pixels = project(
        record.keypoints3d_original[:, :3], record.focal_length, record.principal_point, behind="nan"
    )
    box = bbox_from_keypoints(np.column_stack([pixels, np.ones(len(pixels))]), padding=BOX_PADDING)[:4]
    width, height = record.width or 0, record.height or 0
    if not np.isfinite(box).all():
        return None
    return [*(clip_xywh(box, width, height) if overlaps_image(box, width, height) else box), 1.0]
