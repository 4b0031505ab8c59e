"""Parquet files that are whole or absent, written in row groups that fit in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hmtools.core.atomic import AtomicFile
from hmtools.core.errors import SchemaError, nearest

__all__ = ["ROW_GROUP", "RowWriter"]

ROW_GROUP = 1024
"""Rows of a row group, at most: what a writer keeps and a reader gets at once."""


class RowWriter:
    """Context manager that writes rows, given as dicts, to a parquet file.

    The file appears under its name when the block ends well, and not at all otherwise. ``sha256`` is that of
    the file, once written; ``rows`` counts what was given.

    Args:
        path: of the file.
        schema: of the table.
        to_array: makes the Arrow array of a column from its cells (None where missing); raises TypeError,
            ValueError, OverflowError or an Arrow error for what does not fit.

    Raises:
        SchemaError: by :meth:`write`, naming row and column: an unknown column, or a cell that does not fit.
    """

    def __init__(
        self, path: Path, schema: pa.Schema, to_array: Callable[[pa.Field, list[Any]], pa.Array]
    ) -> None:
        self.path, self.schema, self.rows = path, schema, 0
        self._to_array = to_array
        self._known = frozenset(schema.names)
        self._pending: list[Mapping[str, Any]] = []
        self._file = AtomicFile(path)
        try:
            self._table = pq.ParquetWriter(self._file, schema, compression="zstd")
        except BaseException:
            self._file.discard()
            raise

    @property
    def sha256(self) -> str:
        """Hex digest of what is written so far."""
        return self._file.sha256

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows; a column that a row does not name is null in it."""
        for row in rows:
            if not self._known.issuperset(row):
                unknown = next(name for name in row if name not in self._known)
                raise SchemaError(
                    f"{self.path}: row {self.rows}: no column {unknown!r}{nearest(unknown, self._known)}"
                )
            self._pending.append(row)
            self.rows += 1
            if len(self._pending) == ROW_GROUP:
                self.flush()

    def flush(self) -> None:
        """Write the rows that wait for a full row group."""
        if not self._pending:
            return
        arrays = [self._array(field) for field in self.schema]
        self._table.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self.schema))
        self._pending = []

    def _array(self, field: pa.Field) -> pa.Array:
        cells = [row.get(field.name) for row in self._pending]
        try:
            if pa.types.is_null(field.type):
                return _nulls(cells)
            return self._to_array(field, cells)
        except (TypeError, ValueError, OverflowError, pa.ArrowException) as error:
            start = self.rows - len(cells)
            raise SchemaError(
                f"{self.path}: column {field.name} of rows {start} to {self.rows - 1}: {error}"
            ) from error

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(commit=kind is None)

    def close(self, *, commit: bool) -> None:
        """Finish the file, or with ``commit`` False drop it."""
        whole = False
        try:
            try:
                if commit:
                    self.flush()
            finally:
                self._table.close()  # before the file: it writes its footer, now or when it is collected
            whole = commit
        finally:
            if not whole:
                self._file.discard()
        if whole:
            self._file.commit()


def _nulls(cells: Sequence[Any]) -> pa.Array:
    value = next((cell for cell in cells if cell is not None), None)
    if value is not None:
        raise ValueError(f"the table was opened without this column, found {value!r:.80}")
    return pa.nulls(len(cells))
