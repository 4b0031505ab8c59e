"""EHF: a test set of meshes in a scanner's world."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hmtools.datasets import ehf
from hmtools.humandata.record import Record
from tests.round_trip.case import Case, Mutation, changed

__all__ = ["CASE"]


def _chosen(name: str, value: str) -> Mutation:
    """Convert with another of the set's options than the usual one."""

    def mutate(monkeypatch: pytest.MonkeyPatch) -> None:
        make = ehf.Ehf.__init__

        def made(self: ehf.Ehf, options: Any = None) -> None:
            make(self, options)
            self.chosen[name] = value

        monkeypatch.setattr(ehf.Ehf, "__init__", made)

    return mutate


def _left_in_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ehf, "world_to_camera", lambda vertices, camera: vertices)


def _without_translation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ehf, "world_to_camera", lambda vertices, camera: vertices @ camera[:, :3].T)


def _box_as_large_as_the_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ehf, "_BOX_PADDING", 1.0)


def _vertices_in_another_order(record: Record) -> None:
    record.mesh = np.roll(record.mesh, 1, axis=0)


def _hands_before_body(record: Record) -> None:
    if record.keypoints2d_original is not None:
        points = np.asarray(record.keypoints2d_original)
        record.keypoints2d_original = np.concatenate([points[:25], points[46:67], points[25:46], points[67:]])


def _frame_from_one(record: Record) -> None:
    record.frame = (record.frame or 0) + 1


CASE = Case(
    synth={"frames": 6, "people": 1, "size": (320, 240), "splits": ("test",)},
    mutations={
        "jpg before png": _chosen("format", "jpg"),
        "published camera instead of the file's": _chosen("camera", "published"),
        "mesh left in the world": _left_in_the_world,
        "translation left out": _without_translation,
        "box not padded": _box_as_large_as_the_mesh,
        "vertices in another order": changed(ehf.Ehf, _vertices_in_another_order),
        "right hand before left": changed(ehf.Ehf, _hands_before_body),
        "frame counted from 1": changed(ehf.Ehf, _frame_from_one),
    },
)
