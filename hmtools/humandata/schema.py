"""THE Arrow schemas: record, mesh sidecar, tracks and motion.

``record_schema(spec)`` is a function of what a set declares (:class:`RecordSpec`): its source conventions,
body families and widths. Every table has every column of :class:`~hmtools.humandata.record.Record` in the
same order; a column that a set cannot fill has Arrow type ``null`` and costs nothing. Tables of different
sets are never concatenated.

Parts, index and tracks hold no time, host, absolute path or version: those stand in the manifest only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import pyarrow as pa

from hmtools.core.errors import SchemaError, nearest
from hmtools.humandata.keypoints import convention
from hmtools.humandata.record import FAMILIES, Column, columns

__all__ = [
    "BATCH_ROWS",
    "MESH_BATCH_ROWS",
    "MESH_COLUMNS",
    "MOTION_COLUMNS",
    "SCHEMA_VERSION",
    "TRACKS_COLUMNS",
    "TRACKS_SCHEMA",
    "RecordSpec",
    "cell_shape",
    "column_conventions",
    "index_schema",
    "mesh_schema",
    "motion_schema",
    "record_schema",
]

SCHEMA_VERSION = 1
BATCH_ROWS = 256
"""Rows of a record batch, at most: the unit of memory of every reader and writer."""
MESH_BATCH_ROWS = 32
"""The same of a mesh sidecar: four megabytes of SMPL-X meshes."""

_SCALARS = {"str": pa.string(), "bool": pa.bool_(), "i32": pa.int32(), "i64": pa.int64(), "f32": pa.float32()}
_NEEDS_A_BODY = (
    "gender",
    "kid",
    "betas_neutral",
    "valid_betas",
    "valid_global_orient",
    "valid_transl",
    "pose_valid",
)
_ARRAY = re.compile(r"(f32|bool)\[([^\]]+)\]")


@dataclass(frozen=True)
class RecordSpec:
    """What one split of one set stores.

    Attributes:
        keypoints2d: convention of ``keypoints2d_original``, or None when the set has none.
        keypoints3d: convention of ``keypoints3d_original``, or None.
        bodies: families with parameters, of ``smplx``, ``smpl``, ``smplh``.
        widths: (column, length) of ``*_betas`` and ``*_expression`` where it is not 10 (at most 16).

    Raises:
        SchemaError: for a family or a sized column that does not exist.
    """

    dataset: str
    split: str
    keypoints2d: str | None = None
    keypoints3d: str | None = None
    bodies: tuple[str, ...] = ()
    widths: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        sized = [column.name for column in columns() if "B16" in column.cell]
        for name, known in [(n, FAMILIES) for n in self.bodies] + [(n, sized) for n, _ in self.widths]:
            if name not in known:
                raise SchemaError(
                    f"{self.dataset}: {name!r} is none of {', '.join(known)}{nearest(name, known)}"
                )

    def absent(self, name: str) -> bool:
        """Whether this set cannot fill column ``name``."""
        if name == "keypoints2d_original":
            return self.keypoints2d is None
        if name == "keypoints3d_original":
            return self.keypoints3d is None
        if name in _NEEDS_A_BODY:
            return not self.bodies
        family = next((f for f in FAMILIES if name.startswith(f + "_") or name.endswith("_" + f)), None)
        return family is not None and family not in self.bodies


def column_conventions(spec: RecordSpec) -> dict[str, str]:
    """Keypoint column → name of its convention."""
    named = {
        "keypoints2d_original": spec.keypoints2d,
        "keypoints3d_original": spec.keypoints3d,
        "keypoints2d_smplx": "smplx_144",
        "keypoints3d_smplx": "smplx_144",
        "keypoints2d_smpl": "smpl_45",
        "keypoints3d_smpl": "smpl_45",
    }
    return {name: value for name, value in named.items() if value and not spec.absent(name)}


def cell_shape(column: Column, spec: RecordSpec) -> tuple[int, ...] | None:
    """Shape of an array cell ((-1,) = variable length), or None for a scalar."""
    found = _ARRAY.fullmatch(column.cell)
    if found is None:
        return None
    return tuple(_dimension(size, column, spec) for size in found[2].split(","))


def _dimension(size: str, column: Column, spec: RecordSpec) -> int:
    if size == "*":
        return -1
    if size == "B16":
        width = dict(spec.widths).get(column.name, 10)
        if not 0 < width <= 16:
            raise SchemaError(f"{column.name} of {spec.dataset}: width must be 1 to 16, found {width}")
        return width
    if size in ("K2", "K3"):
        name = spec.keypoints2d if size == "K2" else spec.keypoints3d
        return convention(name).count if name else 0
    return int(size)


def _arrow_type(column: Column, spec: RecordSpec) -> pa.DataType:
    if spec.absent(column.name):
        return pa.null()
    if column.cell.startswith("enum:") or column.name in ("dataset", "split"):
        return pa.dictionary(pa.int8(), pa.string())
    shape = cell_shape(column, spec)
    if shape is None:
        return _SCALARS[column.cell]
    kind = _SCALARS[column.cell.partition("[")[0]]
    if shape == (-1,):
        return pa.list_(kind)
    for size in reversed(shape):
        kind = pa.list_(kind, size)
    return kind


def _field(column: Column, spec: RecordSpec, conventions: Mapping[str, str]) -> pa.Field:
    facts = {"unit": column.unit, "frame": column.frame, "convention": conventions.get(column.name, "")}
    metadata = {key: value for key, value in facts.items() if value}
    return pa.field(column.name, _arrow_type(column, spec), metadata=metadata or None)


@lru_cache(maxsize=64)
def record_schema(spec: RecordSpec) -> pa.Schema:
    """Arrow schema of the parts of one split; unit, frame and convention stand in the field metadata."""
    conventions = column_conventions(spec)
    return pa.schema([_field(column, spec, conventions) for column in columns()])


def index_schema(parts: pa.Schema) -> pa.Schema:
    """Schema of ``index.arrow``: that of the parts plus ``part_row`` (row inside its part)."""
    return parts.append(pa.field("part_row", pa.int32(), metadata={"unit": "row of the part file"}))


MESH_COLUMNS: tuple[Column, ...] = (
    Column("part_row", "i32", "row of the part file that the mesh belongs to, ascending", common=True),
    Column(
        "vertices",
        "f32[V,3]",
        "vertices of the body; V and the family named in the field's metadata are one throughout a file",
        "m",
        "OpenCV camera (x right, y down, z forward)",
    ),
)
"""``<part>.mesh.arrow``: one row is the mesh of one row of the part; rows without a mesh have none."""


def mesh_schema(family: str, vertices: int) -> pa.Schema:
    """Arrow schema of a mesh sidecar; unit, frame and body family stand in the field metadata.

    Args:
        family: whose topology it is, of ``smplx``, ``smpl``, ``smplh``.
        vertices: V, vertices of each mesh.
    """
    row, mesh = MESH_COLUMNS
    kind = pa.list_(pa.list_(pa.float32(), 3), vertices)
    metadata = {"unit": mesh.unit, "frame": mesh.frame, "family": family}
    return pa.schema(
        [pa.field(row.name, pa.int32(), nullable=False), pa.field(mesh.name, kind, False, metadata)]
    )


TRACKS_COLUMNS: tuple[Column, ...] = tuple(
    replace(column, common=True)
    for column in (
        Column("track_id", "str", "identity over time, as in the record"),
        Column("sequence", "str", "sequence of the track"),
        Column("segment", "i32", "0, 1, … within the track; a gap starts a new one"),
        Column("rows", "i64[T]", "rows of index.arrow"),
        Column("frames", "i32[T]", "frames of the source video, ascending"),
        Column("fps", "f32", "frame rate of the source", "1/s"),
        Column("step", "i32", "source frames from one row to the next"),
    )
)
"""``tracks.arrow``: one row is one gap-free run of one person over T rows of the index."""

_BODY_FRAME = "as frame_of_reference says"
MOTION_COLUMNS: tuple[Column, ...] = (
    Column(
        "key", "str", "dataset/split/sequence of the clip, percent-encoded as record keys are", common=True
    ),
    Column("dataset", "str", "dataset name", common=True),
    Column("split", "str", "official split name", common=True),
    Column("sequence", "str", "sequence of the clip"),
    Column("subject", "str", "the release's own name of the person; null when unknown"),
    Column("fps", "f32", "frame rate", "1/s"),
    Column("frame_of_reference", "str", "world or camera: what global_orient and transl refer to"),
    Column("up_axis", "str", "axis of the world that points up, e.g. +z; null in camera frame"),
    Column("family", "str", "smpl, smplh or smplx"),
    Column("gender", "str", "gender of the model the numbers belong to"),
    Column("betas", "f32[*]", "shape, one per clip"),
    Column("frames", "i32[T]", "frame of the source video or capture"),
    Column("global_orient", "f32[T,3]", "root orientation, axis-angle", "rad", _BODY_FRAME),
    Column("body_pose", "f32[T,*]", "body pose, axis-angle; 63 numbers (smplx, smplh) or 69 (smpl)", "rad"),
    Column("transl", "f32[T,3]", "translation", "m", _BODY_FRAME),
    Column("left_hand_pose", "f32[T,45]", "left hand, absolute, axis-angle; null when unknown", "rad"),
    Column("right_hand_pose", "f32[T,45]", "right hand, absolute, axis-angle; null when unknown", "rad"),
    Column("jaw_pose", "f32[T,3]", "jaw, axis-angle; null when unknown", "rad"),
    Column("expression", "f32[T,*]", "expression; null when unknown"),
)
"""``motion``: one row is one clip of T frames. World-frame bodies live only here."""


def _list_type(cell: str) -> pa.DataType:
    """Arrow type of a scalar or of lists whose length T or * may differ from row to row."""
    kind, _, dims = cell.partition("[")
    arrow: Any = _SCALARS[kind]
    for size in reversed(dims.rstrip("]").split(",") if dims else ()):
        arrow = pa.list_(arrow) if size in ("T", "*") else pa.list_(arrow, int(size))
    return arrow


def _list_schema(listed: tuple[Column, ...]) -> pa.Schema:
    facts = [{"doc": column.doc, "unit": column.unit, "frame": column.frame} for column in listed]
    return pa.schema(
        [
            pa.field(column.name, _list_type(column.cell), metadata={k: v for k, v in fact.items() if v})
            for column, fact in zip(listed, facts, strict=True)
        ]
    )


TRACKS_SCHEMA = _list_schema(TRACKS_COLUMNS)
"""Arrow schema of ``tracks.arrow``."""


def motion_schema() -> pa.Schema:
    """Arrow schema of motion clips (AMASS, tracks for video models)."""
    return _list_schema(MOTION_COLUMNS)
