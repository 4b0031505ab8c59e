"""Records and finished splits made by hand, without any converter.

Images are position-coded: R = x, G = y (upright pixels), B = 40 x frame, so a colour says where a pixel came
from. ``full`` stores frames as their file has them, odd ones as JPEG and even ones as PNG; ``crop`` stores
one 48 x 40 JPEG window per person.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from hmtools.core.image import encode_jpeg, encode_png
from hmtools.geometry.crop import image_op_affine, undo_image_op
from hmtools.humandata.keys import key_encode
from hmtools.humandata.manifest import Manifest, spec_json, write_manifest
from hmtools.humandata.record import Record, columns
from hmtools.humandata.schema import RecordSpec, cell_shape, record_schema
from hmtools.humandata.table import normalise
from hmtools.shards.index import INDEX, TRACKS, part_tables, write_index
from hmtools.shards.writer import PartWriter

SPEC = RecordSpec(
    "mini",
    "val",
    keypoints2d="coco_17",
    keypoints3d="coco_17",
    bodies=("smplx",),
    widths=(("smplx_betas", 11),),
)
WIDTH, HEIGHT = 96, 64  # of the upright image
CROP = (48, 40)  # width, height
INVERSE = {"none": "none", "hflip": "hflip", "rot90cw": "rot90ccw", "rot90ccw": "rot90cw"}


def coded_image(frame: int) -> npt.NDArray[np.uint8]:
    """The upright image of a frame, (64, 96, 3)."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x, y, np.full_like(x, 40 * frame % 256)], axis=-1).astype(np.uint8)


def _record(frame: int, person: int = 0, *, sequence: str = "seq/a", **cells: Any) -> Record:
    """A normalised record with every array of SPEC filled from (frame, person); ``cells`` replace fields."""
    rng = np.random.default_rng([frame, person, len(sequence)])
    record = Record(
        key=key_encode(SPEC.dataset, SPEC.split, sequence, frame, person),
        dataset=SPEC.dataset,
        split=SPEC.split,
        sequence=sequence,
        frame=frame,
        source_frame=f"{frame}.ä",
        fps=29.97,
        person=person,
        source_id="",
        source_index=3 * frame + person,
        image_path=f"{sequence}/{frame:06d}.png",
        image_op="none",
        height=HEIGHT,
        width=WIDTH,
        gender=("neutral", "female", "male")[person % 3],
        camera_model="opencv5",
        camera_kind="virtual",
        valid_smplx=bool(person % 2),
        occlusion=0.1 * person,
        meta='{"note":"ünï","n":1}',
    )
    for column in columns():
        shape = cell_shape(column, SPEC)
        if shape is None or SPEC.absent(column.name) or column.name == "image_affine":
            continue
        size = (3 + person,) if shape == (-1,) else shape
        values = rng.random(size) < 0.5 if column.cell.startswith("bool") else rng.normal(size=size)
        setattr(record, column.name, values)
    record.bbox_xywh = [10 + person, 8, 20, 24, 1]
    if person % 2:
        record.lhand_bbox_xywh = record.pose_valid = record.distortion = None
    for name, value in cells.items():
        setattr(record, name, value)
    return normalise(record, SPEC)


def _store(writer: PartWriter, records: Sequence[Record], images: str) -> None:
    people = [replace(record) for record in records]  # writing notes in a record where its image lies
    frame, operation = people[0].frame or 0, people[0].image_op or "none"
    upright = coded_image(frame)
    if images == "none":
        writer.add(people, None, "")
    elif images == "full":
        if operation != "none":
            for person in people:
                person.image_affine = image_op_affine(operation, WIDTH, HEIGHT).astype(np.float32)
        stored = undo_image_op(upright, INVERSE[operation])
        encode, extension = (encode_jpeg, "jpg") if frame % 2 else (encode_png, "png")
        writer.add(people, encode(stored), extension)
    else:
        for person in people:
            x, y = 5 + 3 * (person.person or 0), 2 + frame % 8
            person.image_affine = np.array([[1, 0, -x], [0, 1, -y]], np.float32)
            writer.add([person], encode_jpeg(upright[y : y + CROP[1], x : x + CROP[0]]), "jpg")


def _split(
    out: Path,
    frames: Sequence[Sequence[Record]],
    *,
    images: str = "crop",
    units: int = 1,
    lost: Sequence[int] = (),
) -> Path:
    """Write a finished split of SPEC below ``out``, return its folder; frames in ``lost`` have no image."""
    folder = out / SPEC.dataset / SPEC.split
    folder.mkdir(parents=True)
    files, policy = [], {"full": images == "full", "images": images != "none"}
    for unit in range(units):
        with PartWriter(folder, SPEC, f"u{unit:05d}", **policy) as writer:
            for people in frames[unit * len(frames) // units : (unit + 1) * len(frames) // units]:
                _store(writer, people, "none" if people[0].frame in lost else images)
        files += [asdict(file) for file in writer.files]
    facts = write_index(folder, part_tables(folder), record_schema(SPEC))
    files += [
        {"name": name, "sha256": sha256, "nbytes": (folder / name).stat().st_size, "rows": rows}
        for name, sha256, rows in (
            (INDEX, facts.index_sha256, facts.rows),
            (TRACKS, facts.tracks_sha256, facts.tracks),
        )
    ]
    write_manifest(folder, _manifest(images, facts.rows, files))
    return folder


def _manifest(images: str, rows: int, files: list[dict[str, Any]]) -> Manifest:
    return Manifest(
        dataset=SPEC.dataset,
        split=SPEC.split,
        role="val",
        card={},
        spec=spec_json(SPEC),
        converter={},
        options={},
        every=1,
        images=images,
        world={"scope": "none", "up": None, "metric": False},
        counts={"records": rows},
        rejected={},
        rejected_examples=[],
        filtered={},
        health={},
        files=files,
        created="2026-01-01T00:00:00+00:00",
        command="",
    )


def _open_descriptors() -> dict[str, str]:
    """Descriptor → target of what this process has open."""

    def targets() -> Iterator[tuple[str, str]]:
        for link in Path("/proc/self/fd").iterdir():
            try:
                yield link.name, str(link.readlink())
            except FileNotFoundError:  # the descriptor of the listing itself
                continue

    return dict(targets())


@pytest.fixture(scope="module", autouse=True)
def quick_disk() -> Iterator[None]:
    """Nothing here survives the test, and syncing thousands of small files would take most of its time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def spec() -> RecordSpec:
    """What the synthetic splits store."""
    return SPEC


@pytest.fixture(scope="session")
def make_record() -> Callable[..., Record]:
    """``(frame, person=0, *, sequence="seq/a", **cells) -> Record``, normalised."""
    return _record


@pytest.fixture(scope="session")
def make_split() -> Callable[..., Path]:
    """``(out, frames, *, images="crop", units=1, lost=()) -> folder`` of a finished split."""
    return _split


@pytest.fixture(scope="session")
def upright_image() -> Callable[[int], npt.NDArray[np.uint8]]:
    """``frame -> image``: the position-coded upright image (64, 96, 3)."""
    return coded_image


@pytest.fixture(scope="session")
def open_descriptors() -> Callable[[], dict[str, str]]:
    """``() -> {descriptor: target}`` of this process."""
    return _open_descriptors
