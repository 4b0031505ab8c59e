"""Meshes beside a table of predictions, ``<name>.mesh.arrow``: one row for every row that has one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hmtools.core.atomic import AtomicFile
from hmtools.core.errors import SchemaError
from hmtools.humandata.record import Column
from hmtools.humandata.schema import MESH_BATCH_ROWS, mesh_schema
from hmtools.humandata.table import fixed_size_lists

__all__ = [
    "PREDICTION_MESH_COLUMNS",
    "PredictionMeshWriter",
    "prediction_mesh_path",
    "prediction_mesh_schema",
]

PREDICTION_MESH_COLUMNS: tuple[Column, ...] = (
    Column("row", "i64", "row of the table that the mesh belongs to, ascending"),
    Column("key", "str", "its key; null for free media"),
    Column(
        "vertices",
        "f32[V,3]",
        "vertices of the body; V and the family named in the field's metadata are one throughout a file",
        "m",
        "OpenCV camera (x right, y down, z forward)",
    ),
)
"""``<name>.mesh.arrow`` beside ``<name>.parquet``."""


def prediction_mesh_path(path: Path) -> Path:
    """The meshes beside a table of predictions, whether there are any or not."""
    return path.with_name(path.name.removesuffix(".parquet") + ".mesh.arrow")


def prediction_mesh_schema(family: str, vertices: int) -> pa.Schema:
    """Arrow schema of the meshes of a table.

    Args:
        family: whose topology it is, ``smplx`` or ``smpl``.
        vertices: V, vertices of each mesh.
    """
    mesh = mesh_schema(family, vertices).field("vertices")
    return pa.schema([pa.field("row", pa.int64(), nullable=False), pa.field("key", pa.string()), mesh])


class PredictionMeshWriter:
    """Writes the meshes of a table, at most 32 in memory; the file appears with ``close(commit=True)``.

    Args:
        path: of the meshes, see :func:`prediction_mesh_path`.
        family: whose topology it is.
        vertices: V, vertices of each mesh.
    """

    def __init__(self, path: Path, family: str, vertices: int) -> None:
        self._schema = prediction_mesh_schema(family, vertices)
        self._shape = (vertices, 3)
        self._pending: list[tuple[int, str | None, np.ndarray]] = []
        self._file = AtomicFile(path)
        self._writer = pa.ipc.new_file(self._file, self._schema)

    def add(self, row: int, key: str | None, mesh: Any) -> None:
        """Append the mesh of a row: (V, 3) metres, camera frame, stored as float32.

        Raises:
            SchemaError: for another shape.
        """
        found = np.asarray(mesh, np.float32)
        if found.shape != self._shape:
            raise SchemaError(
                f"{self._file.path}: row {row}: expected vertices of shape {self._shape}, found {found.shape}"
            )
        self._pending.append((row, key, found))
        if len(self._pending) == MESH_BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            rows, keys, meshes = zip(*self._pending, strict=True)
            meshes_array = fixed_size_lists(np.stack(meshes))
            arrays = [pa.array(rows, pa.int64()), pa.array(keys, pa.string()), meshes_array]
            self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
            self._pending = []

    def close(self, *, commit: bool) -> None:
        """Finish the file, or with ``commit`` False drop it."""
        whole = False
        try:
            try:
                if commit:
                    self._flush()
            finally:
                self._writer.close()
            whole = commit
        finally:
            if not whole:
                self._file.discard()
        if whole:
            self._file.commit()
