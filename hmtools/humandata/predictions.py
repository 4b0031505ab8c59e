"""``predictions.parquet``: one row is one predicted person.

Columns have the names, units and frames of the record: metres, radians, OpenCV camera frame, absolute hands,
upright pixels. Rows of converted images have their ``key``; those of free media have ``source``, ``frame``
and ``track_id`` in its place. Missing is null, never zeros.

Meshes are too large for a table: they lie beside it, ``<name>.mesh.arrow``, one row (``row``, ``key``,
``vertices``) for every row of the table that has one.

File metadata (JSON under ``hmtools``): ``schema_version``, ``model``, ``checkpoint_sha256``, ``body_sha256``,
``standin``, ``versions``, and whatever else the writer wants said.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hmtools.core.errors import LayoutError, SchemaError, nearest
from hmtools.humandata.arrow_cells import column_values
from hmtools.humandata.keypoints import convention
from hmtools.humandata.parquet import ROW_GROUP, RowWriter
from hmtools.humandata.prediction_meshes import PredictionMeshWriter, prediction_mesh_path
from hmtools.humandata.record import Column, columns
from hmtools.humandata.schema import SCHEMA_VERSION, RecordSpec, cell_shape
from hmtools.humandata.table import fixed_size_lists

__all__ = [
    "FACTS",
    "PREDICTED_FAMILIES",
    "PREDICTIONS",
    "PREDICTION_COLUMNS",
    "PredictionSpec",
    "PredictionWriter",
    "iter_predictions",
    "prediction_facts",
    "prediction_files",
    "predictions_schema",
    "tables_in",
]

PREDICTED_FAMILIES = ("smplx", "smpl")
"""Body-model families that predictions may hold."""

FACTS = ("model", "checkpoint_sha256", "body_sha256", "standin", "versions")
"""What a file says of itself; null where its writer did not know."""

PREDICTIONS = "predictions"
"""Folder of the tables of a split, ``<dataset>/<split>/predictions/``, as ``hmtools infer`` writes them."""

_PIXELS = "upright original pixels, pixel centres at integers"
_CAMERA = "OpenCV camera (x right, y down, z forward)"
_BODY = tuple(
    column for column in columns() if column.name.startswith(tuple(f"{f}_" for f in PREDICTED_FAMILIES))
)
PREDICTION_COLUMNS: tuple[Column, ...] = (
    *(
        Column(*entry)
        for entry in (
            ("key", "str", "key of the record; null for free media"),
            ("source", "str", "image, video or camera of free media; null where key says it"),
            ("frame", "i32", "0-based frame of source"),
            ("track_id", "str", "identity over time within source"),
            ("dataset", "str", "dataset of the record"),
            ("split", "str", "official split name of the record"),
            ("image_path", "str", "image or video file, relative to the download's root"),
            ("height", "i32", "height of the upright image", "px"),
            ("width", "i32", "width of the upright image", "px"),
            ("bbox_xywh", "f32[5]", "box that was the input x, y, w, h, confidence", "px", _PIXELS),
            ("score", "f32", "confidence of the prediction, 0 to 1"),
        )
    ),
    *_BODY,
    *(
        Column(*entry)
        for entry in (
            ("gender", "str", "gender of the model the numbers belong to; null = neutral"),
            ("kid", "f32", "weight of the kid template (AGORA's 11th number); null = adult"),
            ("focal_length", "f32[2]", "fx, fy of the whole image", "px", _PIXELS),
            ("principal_point", "f32[2]", "cx, cy of the whole image", "px", _PIXELS),
            ("virtual_transl", "f32[3]", "translation in the virtual camera of the crop", "m", _CAMERA),
            ("crop_affine", "f32[2,3]", "upright pixels to pixels of the network's crop", "px", _PIXELS),
            ("joints2d", "f32[J2,3]", "joints x, y, confidence", "px", _PIXELS),
            ("joints3d", "f32[J3,4]", "joints x, y, z, confidence", "m", _CAMERA),
        )
    ),
)
"""Every column of the table, in order. One that the writer cannot fill has Arrow type null."""


@dataclass(frozen=True)
class PredictionSpec:
    """What a table of predictions stores.

    Attributes:
        bodies: families with parameters, of ``smplx`` and ``smpl``.
        joints2d: convention of ``joints2d``, or None without.
        joints3d: convention of ``joints3d``, or None without.
        widths: (column, length) of ``*_betas`` and ``*_expression`` where it is not 10 (at most 16).
        mesh: (family, number of vertices) of the meshes beside the table, or None without.

    Raises:
        SchemaError: for a family or a sized column that does not exist.
    """

    bodies: tuple[str, ...] = ()
    joints2d: str | None = None
    joints3d: str | None = None
    widths: tuple[tuple[str, int], ...] = ()
    mesh: tuple[str, int] | None = None

    def __post_init__(self) -> None:
        families = [*self.bodies, *([self.mesh[0]] if self.mesh else [])]
        sized = [column.name for column in _BODY if "B16" in column.cell]
        named = [(n, PREDICTED_FAMILIES) for n in families] + [(n, sized) for n, _ in self.widths]
        for name, known in named:
            if name not in known:
                raise SchemaError(
                    f"predictions: {name!r} is none of {', '.join(known)}{nearest(name, known)}"
                )


def predictions_schema(spec: PredictionSpec) -> pa.Schema:
    """Arrow schema of a table of predictions; unit, frame and convention stand in the field metadata.

    Body columns have exactly the types of the record's.

    Raises:
        SchemaError: for a width beyond 16.
        UsageError: for a convention that does not exist.
    """
    return pa.schema([_field(column, spec) for column in PREDICTION_COLUMNS])


def _shape(column: Column, spec: PredictionSpec) -> tuple[int, ...] | None:
    """Shape of an array cell, None of a scalar, (0,) of a column that is not there."""
    for name in ("joints2d", "joints3d"):
        if column.name == name:
            joints: str | None = getattr(spec, name)
            return (convention(joints).count, 3 if name == "joints2d" else 4) if joints else (0,)
    family = column.name.partition("_")[0]
    if column in _BODY and family not in spec.bodies:
        return (0,)
    return cell_shape(column, RecordSpec("predictions", "", widths=spec.widths))


_SCALARS = {"str": pa.string(), "i32": pa.int32(), "f32": pa.float32()}


def _field(column: Column, spec: PredictionSpec) -> pa.Field:
    joints = {"joints2d": spec.joints2d, "joints3d": spec.joints3d}.get(column.name)
    facts = {"unit": column.unit, "frame": column.frame, "convention": joints}
    metadata = {key: value for key, value in facts.items() if value}
    return pa.field(column.name, _arrow_type(column, spec), metadata=metadata or None)


def _arrow_type(column: Column, spec: PredictionSpec) -> pa.DataType:
    shape = _shape(column, spec)
    if shape is None:
        return _SCALARS[column.cell]
    if shape == (0,):
        return pa.null()
    kind = pa.float32()
    for size in reversed(shape):
        kind = pa.list_(kind, size)
    return kind


class PredictionWriter:
    """Context manager that writes a table of predictions, and its meshes, in bounded memory.

    Files appear under their names when the block ends well, meshes first; not at all otherwise.

    Args:
        path: of the table, ``*.parquet``.
        spec: what it stores.
        facts: what the file says of itself: :data:`FACTS`, and more if wanted; JSON.

    Raises:
        SchemaError: if ``model`` is missing in ``facts``, or they are no JSON.
    """

    def __init__(self, path: Path, spec: PredictionSpec, facts: Mapping[str, Any]) -> None:
        if not isinstance(facts.get("model"), str) or not facts["model"]:
            raise SchemaError(f"{path}: facts must name the model, found {facts.get('model')!r}")
        self.path, self.spec = path, spec
        stated = {"schema_version": SCHEMA_VERSION, **dict.fromkeys(FACTS), **facts}
        try:
            text = json.dumps(stated, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise SchemaError(f"{path}: facts must be JSON: {error}") from error
        schema = predictions_schema(spec)
        self._shapes = {column.name: _shape(column, spec) for column in PREDICTION_COLUMNS}
        self._table = RowWriter(path, schema.with_metadata({b"hmtools": text.encode()}), self._cells)
        self._meshes = None
        if spec.mesh is not None:
            try:
                self._meshes = PredictionMeshWriter(prediction_mesh_path(path), *spec.mesh)
            except BaseException:
                self._table.close(commit=False)
                raise

    @property
    def rows(self) -> int:
        """Rows written so far."""
        return self._table.rows

    @property
    def sha256(self) -> str:
        """Hex digest of the table, once the block has ended."""
        return self._table.sha256

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows: column name -> cell (None or left out: null), and ``vertices`` (V, 3) for the mesh.

        Arrays are anything ``numpy.asarray(..., float32)`` takes, on the CPU. NaN is stored as it is: what is
        not known is None.

        Raises:
            SchemaError: naming row and column: an unknown one, or a cell of the wrong shape or type.
        """
        for row in rows:
            number = self._table.rows
            self._table.write([{name: cell for name, cell in row.items() if name != "vertices"}])
            mesh = row.get("vertices")
            if mesh is not None:
                if self._meshes is None:
                    raise SchemaError(f"{self.path}: row {number} has vertices, its PredictionSpec no mesh")
                self._meshes.add(number, row.get("key"), mesh)

    def _cells(self, field: pa.Field, cells: list[Any]) -> pa.Array:
        shape = self._shapes[field.name]
        if shape is None:
            return pa.array(cells, field.type)
        values = np.zeros((len(cells), *shape), np.float32)
        for row, cell in enumerate(cells):
            if cell is not None:
                found = np.asarray(cell, np.float32)
                if found.shape != shape:
                    raise ValueError(f"expected shape {shape}, found {found.shape}")
                values[row] = found
        return fixed_size_lists(values, np.array([cell is None for cell in cells], bool))

    def __enter__(self) -> PredictionWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        whole = False
        try:
            if kind is None:
                self._table.flush()  # what does not fit is found before the meshes get their name
            whole = kind is None
        finally:
            try:
                if self._meshes is not None:
                    self._meshes.close(commit=whole)
            except BaseException:
                whole = False
                raise
            finally:
                self._table.close(commit=whole)


def tables_in(folder: Path) -> list[Path]:
    """The tables of a folder by name: its own, else those of the split or of the splits that it holds."""
    patterns = ("*.parquet", f"{PREDICTIONS}/*.parquet", f"*/{PREDICTIONS}/*.parquet")
    return next((found for pattern in patterns if (found := sorted(folder.glob(pattern)))), [])


def prediction_files(path: Path) -> list[Path]:
    """The tables of a file, or of a folder (:func:`tables_in`).

    Raises:
        LayoutError: if there is none.
    """
    if path.is_file():
        return [path]
    found = tables_in(path) if path.is_dir() else []
    if not found:
        what = "no *.parquet in it" if path.is_dir() else "no such file or folder"
        raise LayoutError(f"{path}: {what}; expected predictions, a parquet file or a folder of them")
    return found


def open_table(path: Path) -> pq.ParquetFile:
    """A parquet file of predictions; data is read batch by batch.

    Raises:
        LayoutError: if it is no parquet file.
        SchemaError: if it is of another schema version.
    """
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise LayoutError(f"{path}: no parquet file ({error})") from error
    version = _stated(path, file).get("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        raise SchemaError(
            f"{path}: schema version {version}, this hmtools reads {SCHEMA_VERSION}; predict again or update"
        )
    return file


def _stated(path: Path, file: pq.ParquetFile) -> dict[str, Any]:
    text = (file.schema_arrow.metadata or {}).get(b"hmtools")
    try:
        found = {} if text is None else json.loads(text)
    except ValueError as error:
        raise SchemaError(f"{path}: its metadata 'hmtools' is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise SchemaError(f"{path}: its metadata 'hmtools' must be a JSON object, found {str(text)[:80]}")
    return found


def prediction_facts(path: Path) -> dict[str, Any]:
    """What predictions say of themselves; every one of :data:`FACTS` is there, None where not known.

    Args:
        path: a file, or a folder of files that must agree.

    Raises:
        LayoutError: if there is none, or one is no parquet file.
        SchemaError: if the files of a folder are of different models, checkpoints or bodies.
    """
    files = prediction_files(path)
    first: dict[str, Any] | None = None
    for file in files:
        found = {**dict.fromkeys(FACTS), **_stated(file, open_table(file))}
        first = first or found
        for name in ("model", "checkpoint_sha256", "body_sha256", "standin"):
            if found[name] != first[name]:
                raise SchemaError(
                    f"{path}: predictions of different models in one folder: {name} is {first[name]!r} in "
                    f"{files[0].name} and {found[name]!r} in {file.name}; name one file, or a folder of one "
                    "model"
                )
    return first or {}


def iter_predictions(
    path: Path, names: Sequence[str] | None = None, *, rows: int = ROW_GROUP
) -> Iterator[dict[str, Any]]:
    """Predictions batch by batch, as arrays.

    Texts are object arrays with None where null; numbers and arrays are float32 (n, ...) with NaN where null,
    integers int64 with -1. A column that is null throughout the batch, or that the file lacks, is None.

    Args:
        path: a file, or a folder whose files are read by name.
        names: columns to read; default all.
        rows: of a batch, at most.

    Raises:
        LayoutError: if there is no file, or one is no parquet file.
        SchemaError: for an unknown name, or cells that are of no use for their column.
    """
    known = {column.name: column for column in PREDICTION_COLUMNS}
    wanted = list(known) if names is None else list(names)
    for name in wanted:
        if name not in known:
            raise SchemaError(f"predictions: no column {name!r}{nearest(name, known)}")
    for file in prediction_files(path):
        table = open_table(file)
        there = [name for name in wanted if name in table.schema_arrow.names]
        for batch in table.iter_batches(batch_size=rows, columns=there):
            found = {name: column_values(batch.column(name), f"{file}: {name}") for name in there}
            yield {name: found.get(name) for name in wanted}
