"""``per_sample.parquet`` as arrays: one row is one person that was measured, or should have been.

The columns that tables and charts need are held whole, about 250 bytes a sample; errors per joint are read
batch by batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmtools.core.errors import LayoutError, SchemaError
from hmtools.humandata.reports import JOINT_ERRORS, METRICS

__all__ = ["JOINT_ERRORS", "JointErrors", "Samples", "joint_errors", "read_samples"]


_TEXTS = ("key", "image_path", "sequence", "subset", "status", "note")
_ROWS_AT_ONCE = 8192


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """N samples of one test set; null texts are empty strings.

    Attributes:
        key: (N,) record keys.
        image_path: (N,) as in the download.
        sequence: (N,) names.
        subset: (N,) names of the protocol's own subsets.
        status: (N,) ok, missing, invalid or excluded.
        note: (N,) remarks.
        bbox_xywh: (N, 5) x, y, w, h, conf, upright original pixels; NaN where null.
        occlusion: (N,) occluded share, 0 to 1; NaN where null.
        metrics: name -> (N,) in the metric's unit, NaN without a value; without those that the protocol
            does not define.
    """

    key: NDArray[np.object_]
    image_path: NDArray[np.object_]
    sequence: NDArray[np.object_]
    subset: NDArray[np.object_]
    status: NDArray[np.object_]
    note: NDArray[np.object_]
    bbox_xywh: NDArray[np.float32]
    occlusion: NDArray[np.float32]
    metrics: dict[str, NDArray[np.float32]]

    def __len__(self) -> int:
        return len(self.key)

    def take(self, rows: NDArray[Any]) -> Samples:
        """The samples that a mask or numbers of rows choose."""
        plain = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "metrics"}
        return Samples(**plain, metrics={name: column[rows] for name, column in self.metrics.items()})


@dataclass(frozen=True, slots=True)
class JointErrors:
    """Mean error of every joint.

    Attributes:
        names: of the J joints.
        mean: (J,) mm; NaN for a joint without any value.
        n: (J,) samples with a value.
    """

    names: tuple[str, ...]
    mean: NDArray[np.float64]
    n: NDArray[np.int64]


def read_samples(path: Path, *, protocol: str, testset: str) -> Samples:
    """Read the samples of one test set.

    Args:
        path: ``per_sample.parquet``.
        protocol: full id of the protocol.
        testset: name of the test set.

    Raises:
        LayoutError: if the file is not there or is no parquet file.
        SchemaError: if it lacks a column.
    """
    import pyarrow as pa

    file = _open(path)
    schema = file.schema_arrow
    plain = [*_TEXTS, "bbox_xywh", "occlusion"]
    lacking = [name for name in ("protocol", "testset", *plain) if name not in schema.names]
    if lacking:
        raise SchemaError(f"{path}: lacks the columns {', '.join(lacking)}; is it a table of samples?")
    metrics = [n for n in METRICS if n in schema.names and not pa.types.is_null(schema.field(n).type)]
    table = pa.Table.from_batches(
        list(_batches(file, [*plain, *metrics], protocol, testset)),
        schema=pa.schema([schema.field(name) for name in (*plain, *metrics)]),
    )
    return Samples(
        **{name: _texts(table.column(name)) for name in _TEXTS},
        bbox_xywh=_boxes(table.column("bbox_xywh")),
        occlusion=_floats(table.column("occlusion")),
        metrics={name: _floats(table.column(name)) for name in metrics},
    )


def joint_errors(path: Path, *, protocol: str, testset: str) -> JointErrors | None:
    """Mean error of every joint over the samples that count; None where the table has none.

    Args:
        path: ``per_sample.parquet``.
        protocol: full id of the protocol.
        testset: name of the test set.

    Raises:
        LayoutError: if the file is not there or is no parquet file.
        SchemaError: if rows have different numbers of joints, or more than have names.
    """
    import pyarrow as pa

    file = _open(path)
    schema = file.schema_arrow
    if JOINT_ERRORS not in schema.names or pa.types.is_null(schema.field(JOINT_ERRORS).type):
        return None
    names = _joint_names(schema.field(JOINT_ERRORS))
    total, n = np.zeros(len(names)), np.zeros(len(names), np.int64)
    for batch in _batches(file, [JOINT_ERRORS, "status"], protocol, testset):
        column = batch.column(JOINT_ERRORS).filter(pa.compute.not_equal(batch.column("status"), "excluded"))
        lengths = set(pa.compute.list_value_length(column.drop_null()).to_pylist())
        if not lengths:
            continue
        if not names and len(lengths) == 1:
            names = tuple(f"joint {i}" for i in range(lengths.copy().pop()))
            total, n = np.zeros(len(names)), np.zeros(len(names), np.int64)
        if lengths != {len(names)}:
            raise SchemaError(
                f"{path}: {JOINT_ERRORS}: expected {len(names)} joints in every row, found {sorted(lengths)}"
            )
        values = np.asarray(column.drop_null().flatten(), np.float64).reshape(-1, len(names))
        there = np.isfinite(values)
        total += np.where(there, values, 0).sum(axis=0)
        n += there.sum(axis=0)
    if not n.any():
        return None
    return JointErrors(names, np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0), n)


def _joint_names(field: Any) -> tuple[str, ...]:
    text = ((field.metadata or {}).get(b"names") or b"").decode()
    return tuple(text.split(",")) if text else ()


def _open(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except FileNotFoundError as error:
        raise LayoutError(f"{path}: no such file; `hmtools bench` writes it beside report.parquet") from error
    except pa.ArrowInvalid as error:
        raise LayoutError(f"{path}: no parquet file ({error})") from error


def _batches(file: Any, columns: list[str], protocol: str, testset: str) -> Iterator[Any]:
    """Record batches of the rows of one test set."""
    from pyarrow import compute

    wanted = dict.fromkeys([*columns, "protocol", "testset"])
    for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=list(wanted)):
        ours = compute.and_(
            compute.equal(batch.column("protocol"), protocol), compute.equal(batch.column("testset"), testset)
        )
        yield batch.filter(ours).select(columns)


def _texts(column: Any) -> NDArray[np.object_]:
    return np.array(["" if text is None else str(text) for text in column.to_pylist()], np.object_)


def _floats(column: Any) -> NDArray[np.float32]:
    import pyarrow as pa

    values = column.cast(pa.float32()).to_numpy()  # null becomes NaN
    return np.where(np.isfinite(values), values, np.float32(np.nan))


def _boxes(column: Any) -> NDArray[np.float32]:
    boxes = np.full((len(column), 5), np.nan, np.float32)
    there = ~np.asarray(column.is_null())
    values = column.drop_null().combine_chunks()
    if len(values):
        boxes[there] = np.asarray(values.flatten(), np.float32).reshape(-1, 5)
    return boxes
