"""``index.arrow`` and ``tracks.arrow``: what makes the parts of a split one table.

The index is the part tables concatenated in file-name order plus ``part_row``; it is streamed, 256 rows at a
time, so its memory does not depend on the number of records.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from hmtools.core.atomic import AtomicFile
from hmtools.core.errors import SchemaError
from hmtools.humandata.schema import TRACKS_SCHEMA, index_schema
from hmtools.shards.writer import PARTS_GLOB, write_table

__all__ = ["IndexFacts", "is_part", "iter_batches", "part_tables", "write_index"]

INDEX, TRACKS = "index.arrow", "tracks.arrow"
_PART = re.compile(r".+-u\d+-\d{3}\.arrow")  # a glob alone finds sidecars such as ….features-a1b.arrow


@dataclass(slots=True)
class IndexFacts:
    """What :func:`write_index` wrote: checksums, row counts, and the keys that occur twice."""

    index_sha256: str
    tracks_sha256: str
    rows: int
    tracks: int
    duplicates: list[str] = field(default_factory=list)


def part_tables(folder: Path) -> list[Path]:
    """The part tables of a split (not its sidecars) in row order."""
    return sorted(path for path in folder.glob(PARTS_GLOB) if is_part(path.name))


def is_part(name: str) -> bool:
    """Whether a file of that name is a part table, and no sidecar, index or tar."""
    return _PART.fullmatch(name) is not None


def iter_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Record batches of one Arrow file, memory-mapped.

    Raises:
        SchemaError: if it is not a complete Arrow file.
    """
    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number)
    except (OSError, pa.ArrowException) as error:
        raise SchemaError(f"{path}: not a complete Arrow file ({error}); copy or convert it again") from error


def write_index(folder: Path, parts: Sequence[Path], schema: pa.Schema) -> IndexFacts:
    """Write ``index.arrow`` and ``tracks.arrow`` of ``folder`` from its parts.

    Args:
        folder: folder of the split.
        parts: part tables in row order.
        schema: record schema that every part must have.

    Raises:
        SchemaError: if a part is missing, damaged or has another schema.
    """
    whole = index_schema(schema)
    keys, tracks, rows = _KeyCheck(), _Tracks(), 0
    with AtomicFile(folder / INDEX) as file, pa.ipc.new_file(file, whole) as writer:
        for part in parts:
            part_row = 0
            for batch in iter_batches(part):
                if not batch.schema.equals(schema, check_metadata=True):
                    raise SchemaError(f"{part}: schema differs from that of the split; convert it again")
                numbers = pa.array(np.arange(part_row, part_row + len(batch), dtype=np.int32))
                writer.write_batch(pa.RecordBatch.from_arrays([*batch.columns, numbers], schema=whole))
                keys.add(batch.column("key").to_pylist())
                tracks.add(batch, rows)
                part_row, rows = part_row + len(batch), rows + len(batch)
    table = tracks.batch()
    sha256 = write_table(folder / TRACKS, TRACKS_SCHEMA, [table])
    return IndexFacts(file.sha256, sha256, rows, table.num_rows, keys.duplicates(parts))


class _KeyCheck:
    """Finds duplicate keys among millions in 8 bytes a key."""

    def __init__(self) -> None:
        self._hashes: list[np.ndarray[tuple[int], np.dtype[np.uint64]]] = []

    def add(self, keys: Iterable[str]) -> None:
        digests = b"".join(blake2b(key.encode(), digest_size=8).digest() for key in keys)
        self._hashes.append(np.frombuffer(digests, np.uint64))

    def duplicates(self, parts: Sequence[Path]) -> list[str]:
        if not self._hashes:
            return []
        values, counts = np.unique(np.concatenate(self._hashes), return_counts=True)
        suspects = set(values[counts > 1].tolist())
        if not suspects:
            return []
        # Equal hashes are only a suspicion: read the keys behind them once more and compare those.
        seen: set[str] = set()
        twice: set[str] = set()
        for part in parts:
            for batch in iter_batches(part):
                for key in batch.column("key").to_pylist():
                    digest = blake2b(key.encode(), digest_size=8).digest()
                    if int.from_bytes(digest, "little") in suspects:
                        (twice if key in seen else seen).add(key)
        return sorted(twice)


class _Tracks:
    """Collects (sequence, track_id) → rows and splits them at gaps."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[list[int], list[int], float | None]] = {}

    def add(self, batch: pa.RecordBatch, first_row: int) -> None:
        ids = batch.column("track_id")
        if ids.null_count == len(ids):
            return
        columns = (batch.column(name).to_pylist() for name in ("sequence", "track_id", "frame", "fps"))
        for row, (sequence, track, frame, fps) in enumerate(zip(*columns, strict=True), first_row):
            if track is not None:
                rows, frames, _ = self._found.setdefault((sequence, track), ([], [], fps))
                rows.append(row)
                frames.append(frame)

    def batch(self) -> pa.RecordBatch:
        out = []
        for (sequence, track), (rows, frames, fps) in self._found.items():
            steps = np.diff(frames)
            # Labels that repeat a frame, or go back, cut a track as a gap does.
            ascending = steps[steps > 0]
            step = int(ascending.min()) if len(ascending) else 1
            cuts = [0, *(np.flatnonzero(steps != step) + 1).tolist(), len(rows)]
            for segment, (start, end) in enumerate(pairwise(cuts)):
                out.append(
                    {
                        "track_id": track,
                        "sequence": sequence,
                        "segment": segment,
                        "rows": rows[start:end],
                        "frames": frames[start:end],
                        "fps": fps,
                        "step": step,
                    }
                )
        return pa.RecordBatch.from_pylist(out, schema=TRACKS_SCHEMA)
