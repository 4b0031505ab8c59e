"""``predictions.parquet`` of free media, kept part by part while it grows.

Rows go to whole little tables in ``OUT/partial``, every 128 rows or 20 seconds. When all is done they become
``OUT/predictions.parquet``, in one step, and the folder goes. Whatever stops a run, nothing unfinished has
the finished name, and what was predicted before can be read: a folder of tables is predictions, too.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hmtools.core.atomic import AtomicFile
from hmtools.core.errors import UnitError, UsageError
from hmtools.humandata.predictions import PredictionSpec, PredictionWriter

__all__ = ["PARTIAL", "PREDICTIONS", "PartedWriter"]

PREDICTIONS = "predictions.parquet"
"""Name of the finished table in its folder."""
PARTIAL = "partial"
"""Name of the folder with what there is before."""

_ROWS, _EVERY_S = 128, 20.0  # of a part and of a row group: writing 1024 takes 70 MB


class PartedWriter:
    """Rows that are on the disk soon after they are made.

    Args:
        out: folder for the table; it is made.
        spec: what is stored.
        facts: what the table says of itself.
        overwrite: whether a table, or parts of one, may be there; the old table stays until the new one is
            whole.
        clock: seconds that never run backwards.

    Raises:
        UsageError: if there is a table or parts of one, and that is not wanted.
    """

    def __init__(
        self,
        out: Path,
        spec: PredictionSpec,
        facts: Mapping[str, Any],
        *,
        overwrite: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path, self._folder = out / PREDICTIONS, out / PARTIAL
        self._spec, self._facts, self._clock = spec, facts, clock
        for there in (self.path, self._folder):
            if there.exists() and not overwrite:
                raise UsageError(f"{there}: is there already; choose another folder, or say --overwrite")
        if self._folder.exists():
            shutil.rmtree(self._folder)
        self._folder.mkdir(parents=True)
        self._parts: list[Path] = []
        self._pending: list[Mapping[str, Any]] = []
        self._kept = clock()
        self.rows_kept = 0

    @property
    def kept(self) -> str:
        """Where the rows are that outlive whatever happens now, in words."""
        return f"{self.rows_kept} rows are kept in {self._folder}" if self.rows_kept else "no rows were kept"

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows.

        Raises:
            UnitError: if the file system does not take them; what was written before stays.
        """
        self._pending += rows
        while len(self._pending) >= _ROWS:
            self._keep(_ROWS)
        if self._clock() - self._kept >= _EVERY_S:
            self.keep()

    def keep(self) -> None:
        """Bring what waits to the disk.

        Raises:
            UnitError: as :meth:`write`.
        """
        if self._pending:
            self._keep(len(self._pending))

    def _keep(self, count: int) -> None:
        part = self._folder / f"{len(self._parts):06d}.parquet"
        try:
            with PredictionWriter(part, self._spec, self._facts) as writer:
                writer.write(self._pending[:count])
        except OSError as error:
            raise self._refused(error) from error
        self._parts.append(part)
        self.rows_kept += count
        self._pending = self._pending[count:]
        self._kept = self._clock()

    def _refused(self, error: OSError) -> UnitError:
        return UnitError(
            f"{self._folder.parent}: cannot be written: {error.strerror or error}; {self.kept}. Make room or "
            "choose another folder, then run again"
        )

    def finish(self, facts: Mapping[str, Any]) -> Path:
        """Make one table of everything.

        Args:
            facts: what it says of itself in the end.

        Returns:
            Its path.

        Raises:
            UnitError: as :meth:`write`.
        """
        self.keep()
        try:
            if self._parts:
                self._join({**self._facts, **facts})
            else:
                with PredictionWriter(self.path, self._spec, {**self._facts, **facts}):
                    pass
        except OSError as error:
            raise self._refused(error) from error
        shutil.rmtree(self._folder, ignore_errors=True)
        return self.path

    def _join(self, facts: Mapping[str, Any]) -> None:
        schema = pq.read_schema(self._parts[0])
        stated = json.loads(schema.metadata[b"hmtools"]) | facts
        text = json.dumps(stated, sort_keys=True, allow_nan=False)
        schema = schema.with_metadata({**schema.metadata, b"hmtools": text.encode()})
        with AtomicFile(self.path) as file, pq.ParquetWriter(file, schema, compression="zstd") as table:
            waiting = schema.empty_table()
            for part in self._parts:
                added = pq.read_table(part).replace_schema_metadata(schema.metadata)
                waiting = pa.concat_tables([waiting, added])
                while len(waiting) >= _ROWS:  # groups of one size, whatever the parts were
                    table.write_table(waiting.slice(0, _ROWS))
                    waiting = waiting.slice(_ROWS).combine_chunks()
            if len(waiting):
                table.write_table(waiting)

    def discard(self) -> None:
        """Leave nothing behind: for a run that had nothing to say."""
        shutil.rmtree(self._folder, ignore_errors=True)
