"""Writes the parts of one unit: pairs of ``.tar`` (images, samples) and ``.arrow`` (the record table).

Names are ``<dataset>-<split>-u00012-000.{tar,arrow}``: unit number, then part number inside the unit. A part
ends before its tar would exceed 512 MB, or at 10 000 records; the people of one frame never straddle parts.
Meshes lie in a sidecar beside the table, ``….mesh.arrow``. All files appear under their final names only when
they are whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from hmtools.core.atomic import AtomicFile
from hmtools.engine.job import OutFile
from hmtools.humandata.keys import image_key
from hmtools.humandata.record import Record
from hmtools.humandata.schema import BATCH_ROWS, RecordSpec, record_schema
from hmtools.humandata.table import to_batch
from hmtools.shards.sample import encode_sample
from hmtools.shards.sidecar import MeshWriter, mesh_array
from hmtools.shards.tar import TarWriter

__all__ = ["MAX_PART_BYTES", "MAX_PART_RECORDS", "PARTS_GLOB", "PartWriter", "part_stem", "write_table"]

MAX_PART_BYTES = 512 * 1000 * 1000
MAX_PART_RECORDS = 10_000
PARTS_GLOB = "*-u*-???.arrow"
"""Finds the part tables of a split, in row order once sorted."""


def part_stem(spec: RecordSpec, unit: str, part: int) -> str:
    """File name of a part without its extension; ``unit`` is like ``u00012``."""
    return f"{spec.dataset}-{spec.split}-{unit}-{part:03d}"


class PartWriter:
    """Context manager that writes the parts of one unit; ``files`` lists what it committed.

    Args:
        out: folder of the split.
        spec: what the split stores.
        unit: unit id, e.g. ``u00012``.
        full: samples are frames with all their people (else one person each).
        images: False writes no tar: records keep null ``shard``, ``offset``, ``nbytes``.
    """

    def __init__(self, out: Path, spec: RecordSpec, unit: str, *, full: bool, images: bool = True) -> None:
        self.out, self.spec, self.unit = out, spec, unit
        self.full, self.images = full, images
        self.files: list[OutFile] = []
        self._part = 0
        self._rows = 0
        self._pending: list[Record] = []
        self._arrow: AtomicFile | None = None
        self._table: pa.ipc.RecordBatchFileWriter | None = None
        self._tar: TarWriter | None = None
        self._meshes: MeshWriter | None = None

    def add(self, people: Sequence[Record], image: bytes | None, extension: str) -> None:
        """Append normalised records that share one encoded image (``extension`` is jpg or png).

        ``image`` None stores rows without an image (references, or a gap of a video set).
        """
        members = self._members(people, image, extension) if image is not None and self.images else []
        if self._rows and not self._fits(len(people), members):
            self._finish_part()
        if self._arrow is None:
            self._open_part()
        if self._tar is not None and members:
            offset, *_ = [self._tar.add(name, data) for name, data in members]
            for person in people:
                person.shard, person.offset = self._tar.file.path.name, offset
                person.nbytes = len(members[0][1])
        for row, person in enumerate(people, self._rows):
            if person.mesh is not None:
                self._add_mesh(row, person.mesh)
        self._pending += people
        self._rows += len(people)
        while len(self._pending) >= BATCH_ROWS:
            self._flush(self._pending[:BATCH_ROWS])
            del self._pending[:BATCH_ROWS]

    def _fits(self, people: int, members: Sequence[tuple[str, bytes]]) -> bool:
        small = self._tar is None or self._tar.size_with(members) <= MAX_PART_BYTES
        return small and self._rows + people <= MAX_PART_RECORDS

    def _members(self, people: Sequence[Record], image: bytes, extension: str) -> list[tuple[str, bytes]]:
        """Names and contents of a sample, the image first."""
        first = people[0]
        name = first.key if not self.full else None
        name = name or image_key(
            self.spec.dataset,
            self.spec.split,
            first.sequence or "",
            first.frame if first.frame is not None else -1,
        )
        numbers, text = encode_sample(people, full=self.full)
        return [(f"{name}.{extension}", image), (f"{name}.npz", numbers), (f"{name}.json", text)]

    def _open_part(self) -> None:
        stem = part_stem(self.spec, self.unit, self._part)
        self._arrow = AtomicFile(self.out / f"{stem}.arrow")
        self._table = pa.ipc.new_file(self._arrow, record_schema(self.spec))
        if self.images:
            self._tar = TarWriter(AtomicFile(self.out / f"{stem}.tar"))

    def _add_mesh(self, row: int, mesh: Any) -> None:
        found = mesh_array(mesh, self.spec)
        if self._meshes is None:
            part = self.out / f"{part_stem(self.spec, self.unit, self._part)}.arrow"
            self._meshes = MeshWriter(part, self.spec, len(found))
        self._meshes.add(row, found)

    def _flush(self, records: Sequence[Record]) -> None:
        if self._table is not None and records:
            self._table.write_batch(to_batch(records, self.spec))

    def _finish_part(self) -> None:
        self._flush(self._pending)
        if self._arrow is None or self._table is None:
            return
        self._table.close()
        written = [self._arrow]
        if self._tar is not None:
            self._tar.finish()
            written.insert(0, self._tar.file)
        for file in written:
            file.commit()
            self.files.append(
                OutFile(name=file.path.name, sha256=file.sha256, nbytes=file.size, rows=self._rows)
            )
        if self._meshes is not None:
            self.files.append(self._meshes.commit())
        self._part, self._rows = self._part + 1, 0
        self._pending, self._arrow, self._table, self._tar, self._meshes = [], None, None, None, None

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish_part()
        finally:
            for file in (self._arrow, self._tar.file if self._tar else None):
                if file is not None and not file.closed:
                    file.discard()
            if self._meshes is not None:
                self._meshes.discard()


def write_table(path: Path, schema: pa.Schema, batches: Sequence[pa.RecordBatch]) -> str:
    """Write a small Arrow file atomically; return its sha256."""
    with AtomicFile(path) as file, pa.ipc.new_file(file, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return file.sha256
