"""Tables of predictions as files for other programs, people and frames as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmtools.core.atomic import write_bytes
from hmtools.core.errors import LayoutError, UsageError, nearest
from hmtools.core.settings import Settings
from hmtools.humandata.predictions import prediction_facts
from hmtools.infer.outputs.amass import amass_files
from hmtools.infer.outputs.bodies import (
    bodies_of_predictions,
    body_columns,
    family_of,
    genders_of,
    is_whole,
    parameters,
    vertices_of,
)
from hmtools.infer.outputs.gltf import animated_glb
from hmtools.infer.outputs.meshes import MESH_FORMATS
from hmtools.infer.outputs.scenes import PeopleIndex, Scene, Track, frames, scan, tracks
from hmtools.infer.outputs.tracks import TRACK_COLUMNS, track_arrays, write_npz

__all__ = ["DEFAULT_FPS", "EXPORTS", "Exported", "export_predictions", "frame_rate"]

DEFAULT_FPS = 30.0
"""Frames a second where neither the user nor the table says."""

EXPORTS: Mapping[str, str] = {
    "tracks": "one .npz per person: pose, betas, trans, expression, camera, frame_ids",
    "amass": "one .npz per person as AMASS has them, z up",
    "ply": "one binary .ply per person and frame, camera frame",
    "obj": "one .obj per person and frame, camera frame",
    "glb": "one .glb per person and frame, y up",
    "gltf": "one animated .glb per person: skeleton, skin and a clip, y up",
}
"""Kind -> what it is."""


@dataclass(slots=True)
class Exported:
    """What became of a table.

    Attributes:
        files: written, in this order.
        left_out: reason -> how many rows.
        notes: what a user should know.
    """

    files: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def frame_rate(facts: Mapping[str, Any], scene: Scene) -> float | None:
    """Frames a second of a scene's source, by the table's fact ``fps``: a number, or source -> number."""
    said = facts.get("fps")
    if isinstance(said, Mapping):
        said = said.get(scene.source or scene.name)
    return float(said) if isinstance(said, int | float) and np.isfinite(said) and said > 0 else None


def export_predictions(
    path: Path,
    kind: str,
    out: Path,
    *,
    fps: float | None = None,
    biggest: bool = False,
    settings: Settings | None = None,
    advance: Callable[[int], None] = lambda rows: None,
) -> Exported:
    """Write a table of predictions as files of another kind; each file is whole or absent.

    Args:
        path: table, or folder of tables.
        kind: a key of :data:`EXPORTS`.
        out: folder, made if need be; files of the same names are replaced.
        fps: frames of the source a second, for ``amass`` and ``gltf``; default: what the table says, else 30.
        biggest: only the person of each scene whose boxes cover most.
        settings: where body models are looked for; default: loaded.
        advance: told how many more rows of the table are done.

    Raises:
        UsageError: for an unknown kind, a rate that is none, a table without rows or of another body.
        LayoutError: if there is no table, or ``out`` is a file.
        SchemaError: for a table without bodies, or tracks with two rows of a frame.
        AssetError: for bodies whose model is not here.
        OSError: as the file system raises it, a full disk above all; files written before stay.
    """
    if kind not in EXPORTS:
        raise UsageError(f"--to {kind}: expected {', '.join(EXPORTS)}{nearest(kind, EXPORTS)}")
    if fps is not None and not (np.isfinite(fps) and fps > 0):
        raise UsageError(f"--fps: expected frames a second above 0, got {fps}")
    if out.exists() and not out.is_dir():
        raise LayoutError(f"--out {out}: is a file; expected a folder")
    index, family = scan(path), family_of(path)
    kept = index.biggest() if biggest else None
    done = Exported()
    out.mkdir(parents=True, exist_ok=True)
    work = _Work(index, kept, family, out, done, advance)
    if kind == "tracks":
        work.tracks()
    elif kind in MESH_FORMATS:
        work.meshes(kind, settings)
    else:
        work.motions(kind, fps, settings)
    return done


@dataclass(frozen=True, slots=True)
class _Work:
    """One export under way."""

    index: PeopleIndex
    kept: NDArray[np.bool_] | None
    family: Any
    out: Path
    done: Exported
    advance: Callable[[int], None]

    def tracks(self) -> None:
        """Raw numbers need no body model."""
        for track in tracks(self.index, TRACK_COLUMNS, self.kept):
            target = self.out / f"{track.label}.npz"
            write_npz(target, track_arrays(track, self.family))
            self.done.files.append(target)
            self.advance(len(track.frames))

    def motions(self, kind: str, fps: float | None, settings: Settings | None) -> None:
        """Bodies over time, at a rate."""
        bodies = bodies_of_predictions(self.index.path, self.family, settings)
        facts = prediction_facts(self.index.path)
        for track in tracks(self.index, body_columns(self.family), self.kept):
            rate = fps or frame_rate(facts, track.scene)
            if rate is None and len(track.frames) > 1 and not self.done.notes:
                self.done.notes.append(f"no frame rate in the table, {DEFAULT_FPS:g} assumed; --fps says it")
            whole = self._whole(track)
            if whole is None:
                continue
            if kind == "gltf":
                target = self.out / f"{track.label}.glb"
                write_bytes(target, animated_glb(whole, bodies, rate or DEFAULT_FPS))
                self.done.files.append(target)
            else:
                for name, arrays in amass_files(whole, bodies, rate or DEFAULT_FPS):
                    write_npz(self.out / name, arrays)
                    self.done.files.append(self.out / name)
            self.advance(len(track.frames))

    def _whole(self, track: Track) -> Track | None:
        rows = np.flatnonzero(is_whole(track.columns, self.family, len(track.frames)))
        self._lost(len(track.frames) - len(rows))
        if not len(rows):
            return None
        return Track(
            scene=track.scene,
            label=track.label,
            track_id=track.track_id,
            frames=track.frames[rows],
            columns={name: None if v is None else v[rows] for name, v in track.columns.items()},
        )

    def meshes(self, kind: str, settings: Settings | None) -> None:
        """A file per person and frame."""
        bodies = bodies_of_predictions(self.index.path, self.family, settings)
        for label, vertices, gender in self._meshes(bodies):
            faces = np.asarray(bodies.layer(gender).model.faces)
            target = self.out / f"{label}.{kind}"
            write_bytes(target, MESH_FORMATS[kind](vertices, faces))
            self.done.files.append(target)
            self.advance(1)

    def _meshes(self, bodies: Any) -> Iterator[tuple[str, NDArray[np.float32], Any]]:
        for frame in frames(self.index, body_columns(self.family), self.kept):
            rows = np.flatnonzero(is_whole(frame.columns, self.family, len(frame.people)))
            self._lost(len(frame.people) - len(rows))
            if not len(rows):
                continue
            columns = {name: None if v is None else v[rows] for name, v in frame.columns.items()}
            genders = genders_of(columns, len(rows))
            vertices = vertices_of(bodies, parameters(columns, self.family), genders)
            moves = len(frame.scene.frames) > 1
            for row, mesh, gender in zip(rows.tolist(), vertices, genders, strict=True):
                label = frame.labels[row]
                yield f"{label}_{frame.number:06d}" if moves else label, mesh, gender

    def _lost(self, rows: int) -> None:
        if rows:
            self.done.left_out["no finite pose and place"] += rows
