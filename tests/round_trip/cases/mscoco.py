"""MS COCO: quirks of COCO-WholeBody and of the fits of NeuralAnnot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hmtools.bodies.pending import hold_hand
from hmtools.datasets import coco, coco_wholebody, mscoco, neural_annot
from hmtools.geometry.crop import Window, crop_window
from hmtools.humandata.record import Record
from tests.round_trip.case import Case, changed

__all__ = ["CASE"]


def _hands_before_face(monkeypatch: pytest.MonkeyPatch) -> None:
    body, feet, face, left, right = coco_wholebody._PARTS
    monkeypatch.setattr(coco_wholebody, "_PARTS", (body, feet, left, right, face))


def _hands_swapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        coco_wholebody, "_BOXES", (("lhand", "righthand"), ("rhand", "lefthand"), ("face", "face"))
    )


def _visible_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def joints(triples: list[float]) -> np.ndarray[Any, Any]:
        found = np.array(triples, np.float32).reshape(-1, 3)
        found[:, 2] = found[:, 2] == 2
        return np.where(found[:, 2:] > 0, found, np.float32(0))

    monkeypatch.setattr(coco_wholebody, "joints", joints)


def _crowds_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco, "_left_out", lambda found, where: None)


def _next_frame(record: Record) -> None:
    record.frame = (record.frame or 0) + 1


def _box_from_one(record: Record) -> None:
    record.bbox_xywh = [record.bbox_xywh[0] - 1, *record.bbox_xywh[1:]]


def _person_from_one(record: Record) -> None:
    record.person = (record.person or 0) + 1


class _Shifted(Window):
    """A window whose affine forgets the half pixel and more."""

    def affine(self, stored: tuple[int, int]) -> np.ndarray[Any, Any]:
        found = super().affine(stored)
        found[0, 2] += 1
        return found


def _window_off_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted(*arguments: Any, **options: Any) -> Window | None:
        window = crop_window(*arguments, **options)
        return window and _Shifted(window.x0, window.y0, window.x1, window.y1)

    monkeypatch.setattr("hmtools.convert.unit.crop_window", shifted)


def _no_area_check(monkeypatch: pytest.MonkeyPatch) -> None:
    class Anything(float):
        def __gt__(self, other: object) -> bool:
            return True

    def numbers(values: list[float], count: int) -> list[Anything]:
        return [Anything(value) for value in coco.numbers(values, count)]

    monkeypatch.setattr(coco_wholebody, "numbers", numbers)


def _hands_relative(monkeypatch: pytest.MonkeyPatch) -> None:
    def hold(record: Record, family: str, side: str, relative: Any) -> None:
        setattr(record, f"{family}_{side}_hand_pose", relative)

    monkeypatch.setattr(neural_annot, "hold_hand", hold)


def _fit_hands_swapped(monkeypatch: pytest.MonkeyPatch) -> None:
    hold = hold_hand

    def swapped(record: Record, family: Any, side: str, relative: Any) -> None:
        hold(record, family, "left" if side == "right" else "right", relative)

    monkeypatch.setattr(neural_annot, "hold_hand", swapped)


def _annotation_flags_win(monkeypatch: pytest.MonkeyPatch) -> None:
    put = neural_annot.put_fit
    monkeypatch.setattr(neural_annot, "put_fit", lambda record, fit: put(record, replace(fit, valid={})))


def _fits_of_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    add = neural_annot._add

    def shifted(record: Record, place: Any, *rest: Any) -> Any:
        record.source_id, own = str(int(record.source_id or 0) + 1), record.source_id
        yield from add(record, place, *rest)
        record.source_id = own

    real = neural_annot._of
    monkeypatch.setattr(neural_annot, "_add", shifted)

    def of(fits: Any, ids: Any) -> Any:
        own = real(fits, ids).copy()
        own[:, 1:3] = np.roll(own[:, 1:3], 1, axis=0)  # everybody gets the fit of somebody else
        return own

    monkeypatch.setattr(neural_annot, "_of", of)


def _focal_swapped(record: Record) -> None:
    if record.focal_length is not None:
        record.focal_length = record.focal_length[::-1]


def _moved_by_two_millimetres(record: Record) -> None:
    if record.smplx_transl is not None:
        record.smplx_transl = np.asarray(record.smplx_transl) + np.array([0.002, 0, 0])


CASE = Case(
    synth={"frames": 4, "people": 2, "size": (320, 240), "splits": ("train2017", "val2017")},
    mutations={
        "face after the hands": _hands_before_face,
        "hand boxes swapped": _hands_swapped,
        "only v = 2 counts": _visible_only,
        "crowds and empty people kept": _crowds_kept,
        "frame off by one": changed(mscoco.MsCoco, _next_frame),
        "box counted from 1": changed(mscoco.MsCoco, _box_from_one),
        "person counted from 1": changed(mscoco.MsCoco, _person_from_one),
        "crop off by one pixel": _window_off_by_one,
        "boxes without area kept": _no_area_check,
        "hands left relative to the mean hand": _hands_relative,
        "hands of the fit swapped": _fit_hands_swapped,
        "flags of the annotation win": _annotation_flags_win,
        "fits of other people": _fits_of_neighbours,
        "focal lengths swapped": changed(mscoco.MsCoco, _focal_swapped),
        "bodies off by 2 mm": changed(mscoco.MsCoco, _moved_by_two_millimetres),
    },
    pixels=("crop off by one pixel",),
)
