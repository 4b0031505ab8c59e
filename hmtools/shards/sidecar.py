"""Mesh sidecars ``<part>.mesh.arrow``: the (V, 3) vertices of those rows of a part that have a mesh.

A sidecar shares its part's ``part_row``; a row without a mesh is not in it, a part without any has none. It
stays valid when the part's table is written again (by ``hmtools derive``, or from the tars): rows do not
move.

An SMPL-X mesh has 125.7 kB, so the meshes of a full part of 10 000 records have 1.26 GB: the limit of 512 MB
is one of the tar. Batches hold at most 32 meshes (4 MB), which is what a writer keeps; a reader maps the file
and copies nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from hmtools.bodies.model import VERTICES
from hmtools.core.atomic import AtomicFile
from hmtools.core.errors import SchemaError
from hmtools.engine.job import OutFile
from hmtools.humandata.schema import MESH_BATCH_ROWS, RecordSpec, mesh_schema
from hmtools.humandata.table import fixed_size_lists
from hmtools.shards.rows import RowFile

__all__ = ["MESH_SUFFIX", "MeshFile", "MeshWriter", "mesh_array", "mesh_family", "mesh_path", "open_meshes"]

MESH_SUFFIX = ".mesh.arrow"
"""Ending of a mesh sidecar's name, in place of ``.arrow``."""


def mesh_path(part: Path) -> Path:
    """The mesh sidecar of a part table, whether it has one or not."""
    return part.with_name(part.name.removesuffix(".arrow") + MESH_SUFFIX)


def open_meshes(part: Path) -> MeshFile | None:
    """The meshes of a part table, or None when it has no sidecar.

    Raises:
        SchemaError: if the sidecar is damaged.
    """
    path = mesh_path(part)
    return MeshFile(path) if path.is_file() else None


def mesh_family(spec: RecordSpec, vertices: int) -> str:
    """Whose topology a mesh of that many vertices has: the first of the set's families that has as many.

    Raises:
        SchemaError: if none has.
    """
    found = next((name for name in spec.bodies if VERTICES.get(name) == vertices), None)  # type: ignore[call-overload]
    if found is None:
        known = ", ".join(f"{name} {count}" for name, count in VERTICES.items() if name in spec.bodies)
        raise SchemaError(
            f"{spec.dataset} yields a mesh of {vertices} vertices; its RecordSpec allows {known or 'no body'}"
        )
    return found


def mesh_array(mesh: Any, spec: RecordSpec) -> Float[np.ndarray, "v 3"]:
    """A record's mesh as it is stored: float32, one row a vertex, checked against the families of the set.

    What is too large for float32 becomes infinite, as in a column: a defect of the record.

    Raises:
        SchemaError: if it is no (V, 3) array of a family of the set (a bug in the set's file).
    """
    with np.errstate(over="ignore"):
        found = np.ascontiguousarray(mesh, np.float32)
    if found.ndim != 2 or found.shape[1] != 3:
        raise SchemaError(f"mesh: expected shape (V, 3), found {found.shape}")
    mesh_family(spec, len(found))
    return found


class MeshWriter:
    """Writes the sidecar of one part; nothing has its final name before :meth:`commit`.

    Args:
        part: path of the part table.
        spec: what the split stores.
        vertices: V of the part's meshes.
    """

    def __init__(self, part: Path, spec: RecordSpec, vertices: int) -> None:
        self.schema = mesh_schema(mesh_family(spec, vertices), vertices)
        self.vertices, self.rows = vertices, 0
        self._pending: list[tuple[int, Any]] = []
        self.file = AtomicFile(mesh_path(part))
        self._table = pa.ipc.new_file(self.file, self.schema)

    def add(self, part_row: int, mesh: Float[np.ndarray, "v 3"]) -> None:
        """Append the mesh of a row; rows come in ascending order.

        Raises:
            SchemaError: if it has another number of vertices than the meshes before it.
        """
        if len(mesh) != self.vertices:
            raise SchemaError(
                f"{self.file.path.name}: meshes of {self.vertices} and of {len(mesh)} vertices in one part; "
                "a set has one topology"
            )
        self._pending.append((part_row, mesh))
        self.rows += 1
        if len(self._pending) == MESH_BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            rows, meshes = zip(*self._pending, strict=True)
            columns = [pa.array(rows, pa.int32()), fixed_size_lists(np.stack(meshes).astype(np.float32))]
            self._table.write_batch(pa.RecordBatch.from_arrays(columns, schema=self.schema))
            self._pending = []

    def commit(self) -> OutFile:
        """Write what is left and make the file visible."""
        self._flush()
        self._table.close()
        self.file.commit()
        return OutFile(
            name=self.file.path.name, sha256=self.file.sha256, nbytes=self.file.size, rows=self.rows
        )

    def discard(self) -> None:
        """Drop the file unless it is committed."""
        if not self.file.closed:
            self.file.discard()


class MeshFile:
    """Meshes of one part by row, memory-mapped.

    Attributes:
        family: body family whose topology the meshes have.
        vertices: V.
        part_rows: (N,) rows of the part that have a mesh, ascending.

    Raises:
        SchemaError: if the file is missing, damaged or no mesh sidecar.
    """

    def __init__(self, path: Path) -> None:
        self._rows = RowFile(path)
        self.family, self.vertices = _topology(self._rows.schema, path)
        self.part_rows = self._rows.table().column("part_row").to_numpy()
        if len(self.part_rows) and (self.part_rows[0] < 0 or (np.diff(self.part_rows) <= 0).any()):
            raise SchemaError(f"{path}: part_row does not ascend from 0 on; convert the split again")

    def __len__(self) -> int:
        return len(self.part_rows)

    def mesh(self, part_row: int) -> Float[np.ndarray, "v 3"] | None:
        """The mesh of a row of the part, a read-only float32 view on the file; None when it has none.

        Metres, camera frame.
        """
        place = int(np.searchsorted(self.part_rows, part_row))
        if place == len(self.part_rows) or self.part_rows[place] != part_row:
            return None
        found: Any = self._rows.row(place)["vertices"]
        return found  # type: ignore[no-any-return]


def _topology(schema: pa.Schema, path: Path) -> tuple[str, int]:
    """Family and V, after checking that nothing else differs from the published schema."""
    position = schema.get_field_index("vertices")
    field = schema.field(position) if position >= 0 else None
    if field is not None and pa.types.is_fixed_size_list(field.type):
        family = (field.metadata or {}).get(b"family", b"").decode("utf-8", "replace")
        if schema.equals(mesh_schema(family, field.type.list_size), check_metadata=True):
            return family, int(field.type.list_size)
    raise SchemaError(f"{path}: not a mesh sidecar of this version of hmtools; convert the split again")
