"""Converted miniatures of the test sets, made once for all processes, and predictions of their truth."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from filelock import FileLock

from hmtools.bench.bodies import bodies_of
from hmtools.bench.protocols.base import Protocol
from hmtools.bench.truth import target_meshes
from hmtools.convert.run import convert
from hmtools.shards.reader import Shards
from hmtools.synth import make_miniature

if TYPE_CHECKING:
    from hmtools.bench.source import Predicted

__all__ = ["SPLITS", "FromTruth", "TestSets", "predicted", "sampled", "shared_test_sets"]

SPLITS = {
    "agora": "validation",
    "egobody_egocentric": "test",
    "ehf": "test",
    "pw3d": "test",
    "ubody": "intra_test",
}
"""Dataset -> the split that is tested on."""

Change = Callable[[str, torch.Tensor], torch.Tensor | None]


@dataclass(frozen=True)
class TestSets:
    """Shards of miniatures below one folder; each is converted when it is first asked for."""

    __test__ = False
    root: Path

    def __getitem__(self, name: str) -> Shards:
        split = SPLITS[name]
        with FileLock(self.root / f"{name}.lock"):
            if not (self.root / "shards" / name / split / "manifest.json").exists():
                raw = self.root / "raw" / name
                people = 1 if name in ("ehf", "egobody_egocentric") else 2
                variant = "720p" if name == "agora" else None  # its other images take ten seconds
                make_miniature(name, raw, 4, people, 7, (160, 120), [split], variant=variant)
                every = 1 if name == "ubody" else None
                convert(
                    name,
                    root=raw,
                    out=self.root / "shards",
                    splits=[split],
                    workers=0,
                    every=every,
                    progress=False,
                )
        return Shards(self.root / "shards" / name / split)


def shared_test_sets(factory: pytest.TempPathFactory) -> TestSets:
    """The test sets of this run, whichever process asks."""
    base = factory.getbasetemp()
    root = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "bench-test-sets"
    root.mkdir(exist_ok=True)
    return TestSets(root)


def sampled(protocol: type[Protocol], every: int = 1) -> type[Protocol]:
    """The protocol with another interval: of hundred, nothing of a miniature is left."""
    return type(protocol.__name__, (protocol,), {"every": every})


@dataclass
class FromTruth:
    """A source that predicts the very meshes of the truth, but for what ``change`` does to them.

    ``change`` gets a key and its (V, 3) mesh; None leaves the person without a prediction.
    """

    shards: Shards
    protocol: type[Protocol]
    change: Change = lambda key, mesh: mesh
    facts: Mapping[str, Any] = field(default_factory=lambda: {"model": "truth", "standin": True})
    counts: Mapping[str, int] = field(default_factory=dict)
    examples: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sha256: str = "0" * 64

    def get(self, keys: Sequence[str]) -> Predicted:
        place = {self.shards.row(row)["key"]: row for row in range(len(self.shards))}
        rows = [place[key] for key in keys]
        meshes = [self.change(key, mesh) for key, mesh in zip(keys, self._truth(rows), strict=True)]
        there = np.array([mesh is not None for mesh in meshes])
        blank = torch.full_like(self._truth(rows[:1])[0], torch.nan)
        vertices = [blank if mesh is None else mesh for mesh in meshes]
        return predicted(there, vertices=torch.stack(vertices).numpy())

    def _truth(self, rows: Sequence[int]) -> torch.Tensor:
        bodies = bodies_of([self.shards.manifest], {self.protocol.truth.family})
        return target_meshes(self.shards, rows, self.protocol.truth, bodies).posed.vertices

    def in_image(self, image_path: str, size: tuple[int, int] | None = None) -> Predicted:
        """Everybody in the image, in reverse, with the labelled joints."""
        rows = [r for r in range(len(self.shards)) if self.shards.row(r)["image_path"] == image_path][::-1]
        kept = [
            (row, self.change(self.shards.row(row)["key"], mesh))
            for row, mesh in zip(rows, self._truth(rows), strict=True)
        ]
        meshes = {row: mesh for row, mesh in kept if mesh is not None}
        if not meshes:
            return predicted(np.zeros(0, bool))
        joints = {
            d: np.stack([self.shards.row(row)[f"keypoints{d}_original"] for row in meshes])
            for d in ("2d", "3d")
        }
        return predicted(
            np.ones(len(meshes), bool),
            vertices=torch.stack(list(meshes.values())).numpy(),
            joints2d=joints["2d"],
            joints3d=joints["3d"],
        )


def predicted(found: np.ndarray, **columns: Any) -> Predicted:
    """A batch of predictions that has these columns and no others."""
    from hmtools.bench.source import Predicted

    names = ("vertices", "virtual_transl", "crop_affine", "joints2d", "joints3d", "gender")
    empty = dict.fromkeys(names)
    return Predicted(**{"found": found, "smplx": {}, "smpl": {}, **empty, **columns})
