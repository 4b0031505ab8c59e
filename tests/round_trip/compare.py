"""The truth of a miniature against the shards made of it: everything that differs, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from hmtools.bodies.assets import standin_dir
from hmtools.bodies.mixed import BodyLayers
from hmtools.bodies.model import Family, Gender
from hmtools.bodies.params import POSE_PARTS, BodyParams
from hmtools.geometry.crop import apply_affine, invert_affine
from hmtools.geometry.projection import project
from hmtools.humandata.record import columns
from hmtools.humandata.schema import RecordSpec
from hmtools.shards.index import TRACKS, iter_batches
from hmtools.shards.reader import Shards
from hmtools.synth import read_truth
from hmtools.synth.geometry_image import FRAME_MODULUS, decode_affine, decode_frame
from hmtools.synth.truth import ImageTruth, PersonTruth

__all__ = ["METRES", "PIXELS", "mismatches"]

PIXELS, METRES = 0.5, 1e-3
"""What a derived point may be off, in the image and in space."""
_STORED = {"px": 0.01, "m": 1e-4, "": 1e-4, "1/s": 1e-4}  # numbers that are copied, or moved by one formula


def mismatches(root: Path, found: Mapping[str, Shards], *, pixels: bool = True) -> list[str]:
    """Everything that differs between the truth of the world and the shards made of it.

    Reading positions off pixels takes 0.1 s an image, so mutations of numbers do without.
    """
    truth = read_truth(root)
    images = {(image.split, image.file, image.frame): image for image in truth.images}
    wrong = []
    for split, shards in found.items():
        spec = shards.manifest.record_spec()
        wanted = {p.source_id: p for p in truth.people if p.split == split and p.rejected is None}
        rows = {shards.row(i)["source_id"]: i for i in range(len(shards))}
        if rows.keys() != wanted.keys() or len(rows) != len(shards):
            wrong.append(f"{split}: people {sorted(rows.keys() ^ wanted.keys(), key=str)}")
        wrong += [f"{split}: {what}" for what in _tracks(shards, wanted.values())]
        for name in sorted(rows.keys() & wanted.keys()):
            person, index = wanted[name], rows[name]
            record = shards.row(index)
            frame = person.columns.get("video_frame")  # images of a video count by its decoded frames
            image = images[split, person.file, person.columns.get("frame", 0) if frame is None else frame]
            wrong += [f"{split} {name}: {what}" for what in _columns(record, person, spec)]
            wrong += [f"{split} {name}: {what}" for what in _body(shards, index, record, person)]
            if pixels:
                wrong += [f"{split} {name}: {what}" for what in _pixels(shards, index, image, root)]
    return wrong


def _tracks(shards: Shards, people: Iterable[PersonTruth]) -> Iterator[str]:
    """Tracks of the shards that are not those of the truth: who is seen in which frames of which sequence."""
    wanted: dict[tuple[str, str], list[int]] = {}
    told = False
    for person in people:
        told = told or "track_id" in person.columns
        if (track := person.columns.get("track_id")) is not None:
            wanted.setdefault((person.columns["sequence"], track), []).append(person.columns["frame"])
    found: dict[tuple[str, str], list[int]] = {}
    for batch in iter_batches(shards.path / TRACKS):
        for row in batch.to_pylist():
            found.setdefault((row["sequence"], row["track_id"]), []).extend(row["frames"])
            if [shards.row(index)["track_id"] for index in row["rows"]] != [row["track_id"]] * len(
                row["rows"]
            ):
                yield f"rows of track {row['track_id']} are of another"
    if not told:
        return  # the release has no identities: tracks are the converter's own, and proven with it
    for track in sorted(wanted.keys() | found.keys()):
        if sorted(wanted.get(track, [])) != sorted(found.get(track, [])):
            yield f"track {track} has frames {found.get(track)}, not {wanted.get(track)}"


def _columns(record: Mapping[str, Any], person: PersonTruth, spec: RecordSpec) -> Iterator[str]:
    units = {column.name: column.unit for column in columns()}
    for name, wanted in person.columns.items():
        if wanted is False and spec.absent(name):
            continue  # the set has no such column: null is all it can say
        stored = record[name]
        if wanted is None or stored is None:
            if wanted is not stored:
                yield f"{name} is {'missing' if stored is None else 'not null'}"
        elif isinstance(wanted, np.ndarray):
            off = _distance(np.asarray(stored, np.float64), wanted, units[name])
            if not off <= _STORED.get(units[name], 1e-4):
                yield f"{name} is off by {off:.3g} {units[name]}"
        elif isinstance(wanted, float):
            if not np.isclose(stored, wanted, rtol=1e-6, atol=1e-6):
                yield f"{name} is {stored}, not {wanted}"
        elif stored != wanted:
            yield f"{name} is {stored!r}, not {wanted!r}"


def _distance(stored: np.ndarray, wanted: np.ndarray, unit: str) -> float:
    if stored.shape != wanted.shape:
        return float("inf")
    if unit == "rad":  # two rotation vectors may say the same
        turn = Rotation.from_rotvec(stored.reshape(-1, 3)).inv() * Rotation.from_rotvec(wanted.reshape(-1, 3))
        return float(turn.magnitude().max(initial=0))
    return float(np.abs(stored - wanted).max(initial=0))


def _body(shards: Shards, index: int, record: Mapping[str, Any], person: PersonTruth) -> Iterator[str]:
    if person.family == "" or person.joints is None:
        return
    family = cast(Family, person.family)
    if record[f"{family}_global_orient"] is not None:
        vertices: np.ndarray | None = _posed(family, record)
    else:
        vertices = shards.mesh(index)
    if person.vertices is not None:
        off = np.inf if vertices is None else float(np.abs(vertices - person.vertices).max())
        if off > METRES:
            yield f"vertices are off by {1000 * off:.2f} mm"
        mesh = shards.mesh(index) if person.mesh else person.vertices
        off = np.inf if mesh is None else float(np.abs(mesh - person.vertices).max())
        if off > METRES:
            yield f"the stored mesh is off by {1000 * off:.2f} mm"
    joints = record.get(f"keypoints3d_{family}")
    if joints is None:
        yield "no derived joints"
        return
    known = (joints[:, 3] > 0) & np.isfinite(person.joints[: len(joints)]).all(axis=1)
    off = float(np.abs(joints[known, :3] - person.joints[: len(joints)][known]).max())
    if off > METRES or known.sum() < 24:
        yield f"derived joints are off by {1000 * off:.2f} mm, {known.sum()} of them known"
    flat = record[f"keypoints2d_{family}"]
    seen = known & (flat[:, 2] > 0)
    truth = project(
        person.joints[: len(joints)], record["focal_length"], record["principal_point"],
        record["camera_model"], record["distortion"], behind="nan",
    )  # fmt: skip
    off = float(np.abs(flat[seen, :2] - truth[seen]).max(initial=0))
    if off > PIXELS or not seen.any():
        yield f"projected joints are off by {off:.2f} px"


@cache
def _layers(family: Family) -> BodyLayers:
    return BodyLayers(family, roots=(standin_dir(),), dtype=torch.float64)


def _posed(family: Family, record: Mapping[str, Any]) -> np.ndarray:
    names = [*POSE_PARTS[family], "betas", "transl", *(["expression"] if family == "smplx" else [])]
    cells = {name: record[f"{family}_{name}"] for name in names}
    values = {name: np.array(cell, np.float64)[None] for name, cell in cells.items() if cell is not None}
    if record["kid"]:
        values["kid"] = np.array([record["kid"]])
    with torch.inference_mode():
        gender = cast(Gender, record["gender"] or "neutral")
        output = _layers(family)(BodyParams.of(values, dtype=torch.float64), gender)
    mesh: Any = output.vertices
    return np.asarray(mesh[0])


def _pixels(shards: Shards, index: int, image: ImageTruth, root: Path) -> Iterator[str]:
    sample = shards[index]
    if (
        shards.manifest.images == "full"
        and sample.record["video_frame"] is None
        and shards.image_bytes(sample.record) != (root / image.file).read_bytes()
    ):
        yield "bytes of the image"
    if not image.colour or sample.image is None:
        return
    shown = decode_affine(sample.image, image.width, image.height)  # stored → upright
    height, width = sample.image.shape[:2]
    corners = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], float)
    error = np.abs(apply_affine(shown, corners) - apply_affine(invert_affine(sample.affine), corners)).max()
    if error >= PIXELS:
        yield f"pixels are off by {error:.2f} px"
    if decode_frame(sample.image, image.width, image.height) != image.frame % FRAME_MODULUS:
        yield "pixels of another frame"
