"""The known world of ``synth`` through the converter and back: everything equal, and every quirk matters.

The miniature was written from facts about the release, the converter likewise, neither from the other. Each
mutation below breaks one rule of the converter; the comparison must notice it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hmtools
from hmtools.convert.run import convert
from hmtools.datasets import coco, mscoco
from hmtools.geometry.crop import Window, apply_affine, crop_window, invert_affine
from hmtools.humandata.record import Record
from hmtools.shards.reader import Shards
from hmtools.synth import make_miniature, read_truth
from hmtools.synth.geometry_image import FRAME_MODULUS, decode_affine, decode_frame
from hmtools.synth.truth import ImageTruth, PersonTruth

SPLITS = ("train2017", "val2017")
BOXES = ("lhand", "rhand", "face")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "MSCOCO"
    make_miniature("mscoco", folder, frames=6, people=3, seed=5, size=(320, 240), splits=SPLITS)
    return folder


def converted(root: Path, out: Path) -> dict[str, Shards]:
    reports = convert("mscoco", root=root, out=out, workers=0, progress=False)
    assert all(report.outcome.ok for report in reports)
    return {split: hmtools.open(out / "mscoco" / split) for split in SPLITS}


def mismatches(root: Path, found: dict[str, Shards], *, pixels: bool = True) -> list[str]:
    """Everything that differs between the truth of the world and the shards made of it.

    Reading positions off pixels takes 0.1 s an image, so mutations of numbers do without.
    """
    truth = read_truth(root)
    images = {(image.split, image.file): image for image in truth.images}
    wrong = []
    for split, shards in found.items():
        wanted = {str(p.annotation_id): p for p in truth.people if p.split == split and p.rejected is None}
        rows = {shards.row(i)["source_id"]: i for i in range(len(shards))}
        if rows.keys() != wanted.keys():
            wrong.append(f"{split}: people {sorted(rows.keys() ^ wanted.keys())}")
        for name in sorted(rows.keys() & wanted.keys()):
            person = wanted[name]
            image = images[split, person.file]
            wrong += [f"{split} {name}: {what}" for what in _person(shards, rows[name], person, image)]
            if pixels:
                wrong += [f"{split} {name}: {what}" for what in _pixels(shards, rows[name], image, root)]
    return wrong


def _person(shards: Shards, index: int, person: PersonTruth, image: ImageTruth) -> Iterator[str]:
    record = shards.row(index)
    if (record["person"], record["frame"], record["image_path"]) != (person.person, image.frame, person.file):
        yield "person, frame or image"
    if (record["width"], record["height"]) != (image.width, image.height):
        yield "size"
    if not np.allclose(record["bbox_xywh"], [*person.bbox_xywh, 1], atol=1e-3):
        yield "bbox"
    joints = person.keypoints2d.copy()
    joints[:, 2] = joints[:, 2] > 0
    if not np.allclose(record["keypoints2d_original"], joints, atol=1e-3):
        yield "keypoints"
    for part in BOXES:
        box = getattr(person, f"{part}_bbox_xywh") if getattr(person, f"{part}_usable") else None
        stored = record[f"{part}_bbox_xywh"]
        if (box is None) != (stored is None) or (box and not np.allclose(stored, [*box, 1], atol=1e-3)):
            yield f"{part} box"
        if record[f"valid_{part}"] != getattr(person, f"{part}_valid"):
            yield f"{part} valid"


def _pixels(shards: Shards, index: int, image: ImageTruth, root: Path) -> Iterator[str]:
    sample = shards[index]
    if (
        shards.manifest.images == "full"
        and shards.image_bytes(sample.record) != (root / image.file).read_bytes()
    ):
        yield "bytes of the image"
    if not image.colour or sample.image is None:
        return
    shown = decode_affine(sample.image, image.width, image.height)  # stored → upright
    height, width = sample.image.shape[:2]
    corners = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], float)
    error = np.abs(apply_affine(shown, corners) - apply_affine(invert_affine(sample.affine), corners)).max()
    if error >= 0.5:
        yield f"pixels are off by {error:.2f} px"
    if decode_frame(sample.image, image.width, image.height) != image.frame % FRAME_MODULUS:
        yield "pixels of another frame"


def test_nothing_is_lost_or_moved(root: Path, tmp_path: Path) -> None:
    found = converted(root, tmp_path)
    assert mismatches(root, found) == []
    assert {shards.manifest.images for shards in found.values()} == {"crop", "full"}
    truth = read_truth(root)
    left_out = sum(person.rejected is not None for person in truth.people)
    counted = [shards.manifest for shards in found.values()]
    assert sum(sum(m.rejected.values()) + sum(m.filtered.values()) for m in counted) == left_out > 0


def test_body_labels_alone_give_the_same_bodies(root: Path, tmp_path: Path) -> None:
    convert(
        "mscoco",
        root=root,
        out=tmp_path,
        workers=0,
        progress=False,
        splits=["val"],
        options={"labels": "body"},
    )
    shards = hmtools.open(tmp_path)
    people = {str(p.annotation_id): p for p in read_truth(root).people}
    assert shards.manifest.spec["keypoints2d"] == "coco_17"
    for index in range(len(shards)):
        row = shards.row(index)
        body = people[row["source_id"]].keypoints2d[:17].copy()
        body[:, 2] = body[:, 2] > 0
        np.testing.assert_allclose(row["keypoints2d_original"], body, atol=1e-3)


def _hands_before_face(monkeypatch: pytest.MonkeyPatch) -> None:
    body, feet, face, left, right = mscoco._PARTS
    monkeypatch.setattr(mscoco, "_PARTS", (body, feet, left, right, face))


def _hands_swapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mscoco, "_BOXES", (("lhand", "righthand"), ("rhand", "lefthand"), ("face", "face")))


def _visible_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def joints(triples: list[float]) -> np.ndarray[Any, Any]:
        found = np.array(triples, np.float32).reshape(-1, 3)
        found[:, 2] = found[:, 2] == 2
        return np.where(found[:, 2:] > 0, found, np.float32(0))

    monkeypatch.setattr(mscoco, "joints", joints)


def _crowds_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco, "_left_out", lambda found, where: None)


def _changed(change: Callable[[Record], None]) -> Callable[[pytest.MonkeyPatch], None]:
    """A mutation that spoils every record after it was read."""

    def mutate(monkeypatch: pytest.MonkeyPatch) -> None:
        read = coco._record

        def spoiled(*arguments: Any) -> Record:
            record = read(*arguments)
            change(record)
            return record

        monkeypatch.setattr(coco, "_record", spoiled)

    return mutate


def _next_frame(record: Record) -> None:
    record.frame = (record.frame or 0) + 1


def _box_from_one(record: Record) -> None:
    record.bbox_xywh = [record.bbox_xywh[0] - 1, *record.bbox_xywh[1:]]


def _person_from_one(record: Record) -> None:
    record.person = (record.person or 0) + 1


def _window_off_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    real = crop_window

    def shifted(*arguments: Any, **options: Any) -> Window | None:
        window = real(*arguments, **options)
        return window and _Shifted(window.x0, window.y0, window.x1, window.y1)

    monkeypatch.setattr("hmtools.convert.unit.crop_window", shifted)


class _Shifted(Window):
    """A window whose affine forgets the half pixel and more."""

    def affine(self, stored: tuple[int, int]) -> np.ndarray[Any, Any]:
        found = super().affine(stored)
        found[0, 2] += 1
        return found


def _no_area_check(monkeypatch: pytest.MonkeyPatch) -> None:
    class Anything(float):
        def __gt__(self, other: object) -> bool:
            return True

    def numbers(values: list[float], count: int) -> list[Anything]:
        return [Anything(value) for value in coco.numbers(values, count)]

    monkeypatch.setattr(mscoco, "numbers", numbers)


MUTATIONS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "face after the hands": _hands_before_face,
    "hand boxes swapped": _hands_swapped,
    "only v = 2 counts": _visible_only,
    "crowds and empty people kept": _crowds_kept,
    "frame off by one": _changed(_next_frame),
    "box counted from 1": _changed(_box_from_one),
    "person counted from 1": _changed(_person_from_one),
    "crop off by one pixel": _window_off_by_one,
    "boxes without area kept": _no_area_check,
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutations_are_noticed(
    name: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    MUTATIONS[name](monkeypatch)
    pixels = name == "crop off by one pixel"
    assert mismatches(root, converted(root, tmp_path), pixels=pixels) != []


def test_every_field_of_the_truth_is_compared() -> None:
    used = {"split", "file", "image_id", "annotation_id", "rejected", "quirks", "num_keypoints", "foot_valid"}
    compared = {"person", "bbox_xywh", "keypoints2d"}
    compared |= {f"{part}_{what}" for part in BOXES for what in ("bbox_xywh", "valid", "usable")}
    assert {item.name for item in dataclasses.fields(PersonTruth)} == used | compared
