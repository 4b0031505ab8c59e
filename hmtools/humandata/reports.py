"""What ``hmtools bench`` writes: a table of samples and a table of results, and the names of all metrics.

``per_sample.parquet`` is wide: a row is a person that was measured, or should have been, and every metric is
a column. ``report.parquet`` is long: a row is one figure. ``per_sample.json`` and ``report.json`` of the
published contracts are made from here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from hmtools.core.errors import SchemaError, nearest
from hmtools.humandata.parquet import RowWriter
from hmtools.humandata.record import Column
from hmtools.humandata.table import fixed_size_lists

__all__ = [
    "JOINT_ERRORS",
    "METRICS",
    "REPORT_COLUMNS",
    "SAMPLE_COLUMNS",
    "STATUSES",
    "Metric",
    "SampleWriter",
    "per_sample_schema",
    "report_schema",
    "write_report",
]

JOINT_ERRORS = "joint_errors"
"""Column of the errors joint by joint; its field metadata has the ``names``, separated by commas."""

STATUSES = ("ok", "missing", "invalid", "excluded")
"""Measured; without a prediction; with one that is no finite body; left out by the protocol."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One column of errors.

    Attributes:
        unit: of its values.
        title: for people.
        doc: what is measured, after which alignment.
        better: which values are good.
    """

    unit: str
    title: str
    doc: str
    better: Literal["lower", "higher"] = "lower"


_PARTS = {
    "all": ("", "the whole mesh, pelvises together"),
    "lhand": (" left hand", "the left hand, left wrists together"),
    "rhand": (" right hand", "the right hand, right wrists together"),
    "hand": (" hands", "both hands: mean of left and right, or of the one that counts"),
    "face": (" face", "the face, necks together"),
}
_JOINTS = {
    "body": (" body", "the body, roots together"),
    "lhand": (" left hand", "the left hand, left wrists together"),
    "rhand": (" right hand", "the right hand, right wrists together"),
    "hand": _PARTS["hand"],
}


def _distances(name: str, title: str, points: str, parts: Mapping[str, tuple[str, str]]) -> dict[str, Metric]:
    """Of every part: the mean distance after a shift, and after a similarity."""
    plain = {f"{name}_{part}": (title + suffix, doc) for part, (suffix, doc) in parts.items()}
    found = {
        key: Metric("mm", shown, f"mean distance of {points} of {doc}") for key, (shown, doc) in plain.items()
    }
    aligned = {
        f"pa_{name}_{part}": Metric(
            "mm",
            f"PA-{title}{suffix}",
            f"mean distance of {points} of {doc.partition(',')[0].partition(':')[0]} after a Procrustes "
            "alignment with scale",
        )
        for part, (suffix, doc) in parts.items()
    }
    return found | aligned


METRICS: Mapping[str, Metric] = {
    **_distances("pve", "PVE", "the vertices", _PARTS),
    **_distances("mpjpe", "MPJPE", "the joints", _JOINTS),
    "pve_body": Metric(
        "mm", "PVE body", "mean distance of the vertices of the body without head and hands, hips together"
    ),
    "mpjpe_face": Metric("mm", "MPJPE face", "mean distance of the joints of the face, necks together"),
    "accel": Metric(
        "mm/s^2", "acceleration", "length of the predicted joints' acceleration, mean over joints"
    ),
    "accel_error": Metric(
        "mm/s^2", "acceleration error", "length of the difference of accelerations, mean over joints"
    ),
    "pck50": Metric("%", "PCK at 50 mm", "share of joints that are at most 50 mm off", "higher"),
    "auc": Metric("%", "AUC", "area below the curve of PCK over the protocol's thresholds", "higher"),
    "orientation": Metric("deg", "orientation error", "angle between true and predicted root orientation"),
}
"""Name of the column -> metric, in the order of tables."""

_NAMED = tuple(
    Column(*entry)
    for entry in (
        ("protocol", "str", "id of the protocol, name@version"),
        ("testset", "str", "agora, egobody, ubody, 3dpw, ehf ..."),
        ("dataset", "str", "dataset of the shards"),
        ("split", "str", "official split name"),
        ("subset", "str", "subset of the protocol; null where it has none"),
        ("key", "str", "key of the record"),
        ("image_path", "str", "image or video file, relative to the download's root"),
        ("sequence", "str", "sequence; for stills the official split folder"),
        ("frame", "i32", "0-based position in the source video or list"),
        ("person", "i32", "index of the person in the image before any filter"),
        ("bbox_xywh", "f32[5]", "body box of the record x, y, w, h, confidence", "px", "upright pixels"),
        ("occlusion", "f32", "occluded share of the person, 0 to 1"),
        ("status", "str", f"{', '.join(STATUSES)}"),
        ("note", "str", "why there is no error, or a remark"),
    )
)

SAMPLE_COLUMNS: tuple[Column, ...] = (
    *_NAMED,
    *(Column(name, "f32", metric.doc, metric.unit) for name, metric in METRICS.items()),
    Column(JOINT_ERRORS, "f32[*]", "distance of every joint the primary error is of; NaN: not counted", "mm"),
)
"""``per_sample.parquet``: one row is one person of a test set. A metric that the protocol does not define has
Arrow type null; one that is not defined for a person (a hand nobody sees) is null in that row."""

REPORT_COLUMNS: tuple[Column, ...] = tuple(
    Column(*entry)
    for entry in (
        ("protocol", "str", "id of the protocol, name@version"),
        ("testset", "str", "agora, egobody, ubody, 3dpw, ehf ...; mpe for the mean primary error"),
        ("split", "str", "official split name"),
        ("subset", "str", "which samples: all, or the name of a part of them"),
        ("metric", "str", "column of per_sample, or a figure that is no mean over samples (f1, nmve ...)"),
        ("unit", "str", "unit of value, ci95_low, ci95_high and published"),
        ("value", "f64", "the figure; null where no sample has one", "as unit says"),
        ("n", "i64", "samples that the figure is of"),
        ("n_missing", "i64", "samples of the subset without a usable prediction"),
        ("ci95_low", "f64", "low end of the 95 % interval of the mean", "as unit says"),
        ("ci95_high", "f64", "high end of it", "as unit says"),
        ("primary", "bool", "whether the test set is ranked by this metric"),
        ("standin", "bool", "measured with the licence-free stand-in body: no result about people"),
        ("rows", "str", "official, or derived: the shards are not the set that others report on"),
        ("image_mode", "str", "full, crop or none: which images the shards hold"),
        ("model", "str", "name of the weights, or of the predictions' maker"),
        ("predictions_sha256", "str", "of the predictions"),
        ("shards_sha256", "str", "of the shards"),
        ("published", "f64", "published figure of the same protocol and official rows", "as unit says"),
        ("note", "str", "remarks"),
    )
)
"""``report.parquet``: one row is one figure."""

_ARROW = {
    "str": pa.string(),
    "bool": pa.bool_(),
    "i32": pa.int32(),
    "i64": pa.int64(),
    "f32": pa.float32(),
    "f64": pa.float64(),
    "f32[5]": pa.list_(pa.float32(), 5),
    "f32[*]": pa.list_(pa.float32()),
}


def per_sample_schema(metrics: Collection[str] = (), joints: Sequence[str] = ()) -> pa.Schema:
    """Arrow schema of ``per_sample.parquet``; units stand in the field metadata.

    Args:
        metrics: columns that the protocols define, of :data:`METRICS`; the others have Arrow type null.
        joints: names of the joints of ``joint_errors``, written to its metadata; empty: null column.

    Raises:
        SchemaError: for a metric that does not exist, or a joint with a comma in its name.
    """
    for name in metrics:
        if name not in METRICS:
            raise SchemaError(f"per_sample: no metric {name!r}{nearest(name, METRICS)}")
    if any("," in name for name in joints):
        raise SchemaError(f"{JOINT_ERRORS}: names of joints have no comma, found {', '.join(joints)}")
    there = {column.name for column in _NAMED} | set(metrics) | ({JOINT_ERRORS} if joints else set())
    facts = {JOINT_ERRORS: {"names": ",".join(joints)}} if joints else {}
    return pa.schema([_field(c, c.name in there, facts.get(c.name, {})) for c in SAMPLE_COLUMNS])


def report_schema() -> pa.Schema:
    """Arrow schema of ``report.parquet``."""
    return pa.schema([_field(column, True, {}) for column in REPORT_COLUMNS])


def _field(column: Column, there: bool, facts: Mapping[str, str]) -> pa.Field:
    stated = {"unit": column.unit, "frame": column.frame, **facts}
    metadata = {key: value for key, value in stated.items() if value}
    return pa.field(column.name, _ARROW[column.cell] if there else pa.null(), metadata=metadata or None)


class SampleWriter(RowWriter):
    """Context manager that writes ``per_sample.parquet``, :meth:`write` after :meth:`write`.

    Args:
        path: of the file; it appears when the block ends well.
        metrics: columns that the protocols define.
        joints: names of the joints of ``joint_errors``.

    Raises:
        SchemaError: for rows that do not fit: an unknown column or status, a metric the table was opened
            without, ``joint_errors`` of another length.
    """

    def __init__(self, path: Path, metrics: Collection[str], joints: Sequence[str] = ()) -> None:
        self._joints = len(joints)
        super().__init__(path, per_sample_schema(metrics, joints), self._cells)

    def _cells(self, field: pa.Field, cells: list[Any]) -> pa.Array:
        if field.name == "status" and not set(cells) <= set(STATUSES):
            found = next(cell for cell in cells if cell not in STATUSES)
            raise ValueError(f"expected one of {', '.join(STATUSES)}, found {found!r}")
        if field.name == "bbox_xywh":
            return _boxes(cells)
        if field.name == JOINT_ERRORS:
            wrong = [len(cell) for cell in cells if cell is not None and len(cell) != self._joints]
            if wrong:
                raise ValueError(f"expected {self._joints} joints, found {wrong[0]}")
        if pa.types.is_float32(field.type):
            return _errors(cells)
        return pa.array(cells, field.type)


def _errors(cells: list[Any]) -> pa.Array:
    """Float32 column; NaN (not defined) becomes null, infinite is refused."""
    with np.errstate(over="ignore"):
        values = np.array([np.nan if cell is None else float(cell) for cell in cells], np.float32)
    if np.isinf(values).any():
        raise ValueError("an infinite value; a prediction that is no number has status invalid and no error")
    return pa.array(values, mask=np.isnan(values))


def _boxes(cells: list[Any]) -> pa.Array:
    boxes = np.zeros((len(cells), 5), np.float32)
    for row, cell in enumerate(cells):
        if cell is not None:
            found = np.asarray(cell, np.float32)
            if found.shape != (5,):
                raise ValueError(f"expected shape (5,), found {found.shape}")
            boxes[row] = found
    return fixed_size_lists(boxes, np.array([cell is None for cell in cells], bool))


def write_report(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    """Write ``report.parquet`` atomically; return its sha256.

    Raises:
        SchemaError: for an unknown column or a cell that does not fit.
    """
    with RowWriter(path, report_schema(), lambda field, cells: pa.array(cells, field.type)) as file:
        file.write(rows)
    return file.sha256
