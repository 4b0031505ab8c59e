"""Reads a converted split: rows by number, images by one ``pread``, queries, tracks.

``hmtools.open(path)`` returns :class:`Shards`. Opening reads the manifest and maps the index; nothing is
copied, and a row costs microseconds however many there are.
"""

from __future__ import annotations

import operator
import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hmtools.core.errors import SchemaError
from hmtools.core.image import ImageError, decode_rgb
from hmtools.geometry.crop import compose_affine, image_op_affine, invert_affine, undo_image_op
from hmtools.humandata.manifest import MANIFEST, Manifest, read_manifest
from hmtools.shards.index import INDEX, TRACKS, is_part, iter_batches
from hmtools.shards.query import select_rows
from hmtools.shards.rows import RowFile
from hmtools.shards.sidecar import MeshFile, mesh_path

__all__ = ["Sample", "Shards", "find_splits", "find_unfinished", "open_shards"]

_HANDLES = 64  # open tar files per process


@dataclass(frozen=True, slots=True)
class Sample:
    """One record with its image.

    Attributes:
        record: column → value: float32 arrays (read-only views), Python scalars, None for null. Coordinates
            are upright original pixels.
        image: RGB uint8 (H, W, 3), upright; None when the split was converted without images.
        affine: float64 (2, 3), upright original pixel centres → pixel centres of ``image``.
    """

    record: dict[str, Any]
    image: npt.NDArray[np.uint8] | None
    affine: npt.NDArray[np.float64]


class _Meshes:
    """The mesh sidecars of a split by row of its index, each mapped when a row of its part is asked for."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        rows = {entry["name"]: int(entry["rows"]) for entry in manifest.files}
        self._parts = [folder / name for name in sorted(rows) if is_part(name)]
        self._starts = list(accumulate((rows[part.name] for part in self._parts), initial=0))
        self._folder, self._listed = folder, rows.keys()
        self._open: dict[Path, MeshFile] = {}

    def mesh(self, row: int) -> npt.NDArray[np.float32] | None:
        number = bisect_right(self._starts, row) - 1
        if number == len(self._parts):
            raise SchemaError(
                f"{self._folder / MANIFEST}: lists parts of {self._starts[-1]} rows, the index has row "
                f"{row}; run `hmtools validate`"
            )
        path = mesh_path(self._parts[number])
        if path.name not in self._listed:
            return None
        if path not in self._open:
            self._open[path] = MeshFile(path)
        return self._open[path].mesh(row - self._starts[number])


class Shards:
    """A converted split, or a selection of its rows, as a sequence of :class:`Sample`.

    Pickles and forks safely: files are opened again in every process.
    """

    def __init__(self, path: Path, rows: npt.NDArray[np.int64] | None = None) -> None:
        self.path = path
        self.manifest: Manifest = read_manifest(path)
        self._selected = rows
        self._handles: OrderedDict[str, int] = OrderedDict()
        self._owner = os.getpid()

    @cached_property
    def _file(self) -> RowFile:
        return RowFile(self.path / INDEX)

    @cached_property
    def _meshes(self) -> _Meshes:
        return _Meshes(self.path, self.manifest)

    def __len__(self) -> int:
        return len(self._file) if self._selected is None else len(self._selected)

    def __repr__(self) -> str:
        name = f"{self.manifest.dataset}/{self.manifest.split}"
        return f"<Shards {name}: {len(self)} records, images {self.manifest.images}>"

    def row(self, index: SupportsIndex) -> dict[str, Any]:
        """The record at ``index`` without its image (negative counts from the end).

        Raises:
            IndexError: outside the split.
            TypeError: for a slice.
        """
        return self._file.row(self._number(index))

    def _number(self, index: SupportsIndex) -> int:
        """Row of the whole split."""
        try:
            number = operator.index(index)
        except TypeError as error:
            raise TypeError(
                f"rows are read one by one, by a whole number, not {index!r}; see select() and table"
            ) from error
        size = len(self)
        if not -size <= number < size:
            raise IndexError(f"row {number} of {size}")
        number %= size
        return number if self._selected is None else int(self._selected[number])

    def __getitem__(self, index: SupportsIndex) -> Sample:
        """The record at ``index`` and its decoded upright image."""
        record = self.row(index)
        return self.decode(record, self.image_bytes(record))

    def decode(self, record: dict[str, Any], data: bytes | None) -> Sample:
        """The sample of a record of this split and its encoded image; threads may do this side by side.

        Raises:
            ImageError: for a damaged image.
        """
        stored = record["image_affine"]
        affine = np.eye(2, 3) if stored is None else stored.astype(np.float64)
        if data is None:
            return Sample(record, None, affine)
        try:
            image = decode_rgb(data)
        except ImageError as error:
            place = f"{record['key']} at byte {record['offset']} of {self.path / record['shard']}"
            advice = f"run `hmtools validate {self.path}`"
            raise ImageError(error.reason, f"{error.detail}, {place}; {advice}") from error
        operation = record["image_op"] or "none"
        if self.manifest.images == "full" and operation != "none":
            # Full frames are stored as their file has them: turn the pixels, take the turn off the affine.
            image = undo_image_op(image, operation)
            turned = invert_affine(image_op_affine(operation, image.shape[1], image.shape[0]))
            affine = compose_affine(turned, affine)
        return Sample(record, image, affine)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def image_bytes(self, record: dict[str, Any]) -> bytes | None:
        """The encoded image of a record as the tar holds it; None when it has none.

        Raises:
            SchemaError: if the shard is missing or shorter than the index says.
        """
        shard, offset, size = record["shard"], record["offset"], record["nbytes"]
        if shard is None:
            return None
        data = os.pread(self._handle(shard), size, offset)
        if len(data) != size:
            raise SchemaError(
                f"{self.path / shard}: ends before byte {offset + size}, as the index says it holds "
                f"{record['key']}; run `hmtools validate {self.path}`"
            )
        return data

    def _handle(self, shard: str) -> int:
        if self._owner != os.getpid():  # after a fork: descriptors are shared, so start over with our own
            self._handles, self._owner = OrderedDict(), os.getpid()
        if shard in self._handles:
            self._handles.move_to_end(shard)
            return self._handles[shard]
        if Path(shard).name != shard or not shard.endswith(".tar"):
            raise SchemaError(f"{self.path / INDEX}: shard {shard!r} is not the plain name of a tar; refused")
        try:
            handle = os.open(self.path / shard, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except FileNotFoundError as error:
            raise SchemaError(
                f"{self.path / shard}: missing, but the index names it; copy it again"
            ) from error
        self._handles[shard] = handle
        if len(self._handles) > _HANDLES:
            os.close(self._handles.popitem(last=False)[1])
        return handle

    def close(self) -> None:
        """Close the tar files that are open in this process."""
        if self._owner == os.getpid():
            for handle in self._handles.values():
                os.close(handle)
        self._handles = OrderedDict()

    def __del__(self) -> None:
        if "_handles" in self.__dict__:
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "rows": self._selected}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"], state["rows"])  # type: ignore[misc]

    def mesh(self, index: SupportsIndex) -> npt.NDArray[np.float32] | None:
        """The body mesh of the record at ``index`` (negative counts from the end); None when it has none.

        Returns:
            (V, 3) read-only view on the sidecar of the record's part: metres, camera frame, vertices in the
            order of the body family.

        Raises:
            IndexError, TypeError: as :meth:`row`.
            SchemaError: if a sidecar that the manifest lists is missing or damaged.
        """
        return self._meshes.mesh(self._number(index))

    @property
    def table(self) -> pa.Table:
        """The rows as an Arrow table; zero copy, except that a selection takes its rows."""
        table = self._file.table()
        return table if self._selected is None else table.take(pa.array(self._selected))

    def select(self, query: str) -> Shards:
        """The rows that match a query, e.g. ``'width >= 640 and not sequence ~ "^test" and every=10'``.

        The grammar stands in :mod:`hmtools.shards.query`. Selections can be selected from again.

        Raises:
            UsageError: for a query that does not parse or names an unknown field.
        """
        rows = select_rows(query, self._file.table())  # of all rows: taking a selection's would copy them
        chosen = self._selected
        return Shards(self.path, rows if chosen is None else chosen[np.isin(chosen, rows)])

    @property
    def tracks(self) -> pa.Table:
        """``tracks.arrow``: gap-free runs of one person; ``rows`` number the whole split, not a selection."""
        return pa.Table.from_batches(list(iter_batches(self.path / TRACKS)))


def open_shards(path: str | Path) -> Shards:
    """Open a converted split; a folder that holds exactly one split opens that one.

    Raises:
        LayoutError: if there is none, or several to choose from.
    """
    folder = Path(path)
    splits = find_splits(folder)
    return Shards(splits[0] if len(splits) == 1 else folder)


def find_splits(folder: Path) -> list[Path]:
    """Every finished split at or below ``folder`` (OUT, OUT/<dataset> or OUT/<dataset>/<split>), sorted."""
    return _holders(folder, MANIFEST)


def find_unfinished(folder: Path) -> list[Path]:
    """Every split at or below ``folder`` whose conversion was begun and not finished, sorted."""
    return [path for path in _holders(folder, ".job") if not (path / MANIFEST).is_file()]


def _holders(folder: Path, name: str) -> list[Path]:
    patterns = (name, f"*/{name}", f"*/*/{name}")
    return sorted({path.parent for pattern in patterns for path in folder.glob(pattern)})
