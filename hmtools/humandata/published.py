"""The published contracts, ``schemas/*.json``, made from the code that reads and writes shards.

``python -m hmtools.humandata.published DIR`` writes them; a test fails when they differ from the code. The
tables of ``record.json`` depend on what a set declares, so an example set shows the Arrow types;
``manifest.json`` is a JSON Schema.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pyarrow as pa

from hmtools.core.atomic import write_text
from hmtools.core.errors import UsageError
from hmtools.humandata.manifest import Manifest, spec_json
from hmtools.humandata.prediction_meshes import PREDICTION_MESH_COLUMNS, prediction_mesh_schema
from hmtools.humandata.predictions import (
    FACTS,
    PREDICTED_FAMILIES,
    PREDICTION_COLUMNS,
    PredictionSpec,
    predictions_schema,
)
from hmtools.humandata.record import FAMILIES, Column, columns
from hmtools.humandata.reports import (
    JOINT_ERRORS,
    METRICS,
    REPORT_COLUMNS,
    SAMPLE_COLUMNS,
    STATUSES,
    per_sample_schema,
    report_schema,
)
from hmtools.humandata.schema import (
    MESH_COLUMNS,
    MOTION_COLUMNS,
    SCHEMA_VERSION,
    TRACKS_COLUMNS,
    TRACKS_SCHEMA,
    RecordSpec,
    column_conventions,
    mesh_schema,
    motion_schema,
    record_schema,
)

__all__ = ["EXAMPLE", "EXAMPLE_PREDICTIONS", "contracts", "write_contracts"]

EXAMPLE = RecordSpec(
    dataset="example",
    split="train",
    keypoints2d="coco_17",
    keypoints3d="h36m_17",
    bodies=FAMILIES,
    widths=(("smplx_betas", 16),),
)
"""A set that fills every column: the Arrow types of ``record.json`` are those of its tables."""

EXAMPLE_PREDICTIONS = PredictionSpec(
    bodies=PREDICTED_FAMILIES, joints2d="smplx_144", joints3d="smplx_144", mesh=("smplx", 10475)
)
"""Predictions that fill every column."""

_MESH_EXAMPLE = ("smplx", 10475)
_CELLS = {
    "str": "UTF-8 text",
    "bool": "true or false",
    "i32": "32-bit integer",
    "i64": "64-bit integer",
    "f32": "32-bit float",
    "f64": "64-bit float",
    "enum:a|b": "one of the words a, b; dictionary-encoded",
    "f32[5]": "array of that shape, fixed-size lists, row-major",
    "f32[K2,3]": "K2 (K3): number of joints of the set's 2D (3D) source convention",
    "f32[B16]": "length declared by the set, 1 to 16, 10 unless said otherwise",
    "f32[J2,3]": "J2 (J3): number of joints of the convention of joints2d (joints3d)",
    "f32[*]": "length differs from row to row",
    "f32[T,3]": "T: length of the run or clip in the row",
}
_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


def contracts() -> dict[str, dict[str, Any]]:
    """File name → content of every published contract."""
    conventions = column_conventions(EXAMPLE)
    record = _table("One person in one image.", columns(), record_schema(EXAMPLE))
    for column, entry in zip(columns(), record["columns"], strict=True):
        entry["convention"] = conventions.get(column.name, "")
    record["example"] = {"dataset": EXAMPLE.dataset, "split": EXAMPLE.split, **spec_json(EXAMPLE)}
    record["absent"] = "a column that a set cannot fill has Arrow type null; its place stays"
    tracks = _table("One gap-free run of one person over rows of the index.", TRACKS_COLUMNS, TRACKS_SCHEMA)
    motion = _table("One clip of T frames.", MOTION_COLUMNS, motion_schema())
    mesh = _table("The mesh of one row of the part beside it.", MESH_COLUMNS, mesh_schema(*_MESH_EXAMPLE))
    mesh["cells"] = _CELLS | {"f32[V,3]": "V: vertices of the family's mesh"}
    mesh["example"] = dict(zip(("family", "vertices"), _MESH_EXAMPLE, strict=True))
    return {
        "record.json": record,
        "mesh.json": mesh,
        "tracks.json": tracks,
        "motion.json": motion,
        "predictions.json": _predictions(),
        "per_sample.json": _per_sample(),
        "report.json": _table("One figure.", REPORT_COLUMNS, report_schema(), "hmtools bench"),
        "manifest.json": _manifest_schema(),
    }


def _predictions() -> dict[str, Any]:
    spec, writer = EXAMPLE_PREDICTIONS, "whoever predicts"
    schema = predictions_schema(spec)
    table = _table("One predicted person.", PREDICTION_COLUMNS, schema, writer)
    for entry, field in zip(table["columns"], schema, strict=True):
        entry["convention"] = (field.metadata or {}).get(b"convention", b"").decode()
    family, vertices = spec.mesh or _MESH_EXAMPLE
    meshes = _table(
        "The mesh of one row of the table.",
        PREDICTION_MESH_COLUMNS,
        prediction_mesh_schema(family, vertices),
        writer,
    )
    table["cells"] = _CELLS | {"f32[V,3]": "V: vertices of the family's mesh"}
    table["metadata"] = {"key": "hmtools", "format": "JSON", "entries": ["schema_version", *FACTS]}
    table["meshes"] = {"file": "<name>.mesh.arrow beside <name>.parquet", "columns": meshes["columns"]}
    table["example"] = {"bodies": list(spec.bodies), "joints2d": spec.joints2d, "joints3d": spec.joints3d}
    table["example"] |= {"mesh": {"family": family, "vertices": vertices}}
    table["absent"] = "a column that the writer cannot fill has Arrow type null; its place stays"
    return table


def _per_sample() -> dict[str, Any]:
    schema = per_sample_schema(METRICS, ("pelvis",))
    table = _table("One person of a test set.", SAMPLE_COLUMNS, schema, "hmtools bench")
    for entry in table["columns"]:
        metric = METRICS.get(entry["name"])
        if metric is not None:
            entry |= {"title": metric.title, "better": metric.better}
    table["statuses"] = list(STATUSES)
    table["metadata"] = {f"field {JOINT_ERRORS}": "names of the joints, separated by commas"}
    table["absent"] = "a metric that no protocol of the file defines has Arrow type null; its place stays"
    return table


def _table(row: str, listed: tuple[Column, ...], schema: pa.Schema, writer: str = "") -> dict[str, Any]:
    entries = [
        {
            "name": column.name,
            "cell": column.cell,
            "arrow": str(field.type),
            "unit": column.unit,
            "frame": column.frame,
            "doc": column.doc,
            "filled_by": writer or ("common code" if column.common else "the dataset's reader"),
        }
        for column, field in zip(listed, schema, strict=True)
    ]
    return {"schema_version": SCHEMA_VERSION, "row": row, "cells": _CELLS, "columns": entries}


def _manifest_schema() -> dict[str, Any]:
    hints, docs = get_type_hints(Manifest), _attribute_docs(Manifest)
    properties = {
        field.name: {"description": docs[field.name], **_json_type(hints[field.name])}
        for field in fields(Manifest)
    }
    properties["schema_version"]["const"] = SCHEMA_VERSION
    spec = spec_json(EXAMPLE)
    properties["spec"] |= {"required": list(spec), "examples": [spec]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "manifest.json of a converted split",
        "schema_version": SCHEMA_VERSION,
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _json_type(hint: Any) -> dict[str, Any]:
    """JSON Schema of an annotation made of scalars, ``list``, ``dict[str, …]`` and ``| None``."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return {}
    if origin in (Union, UnionType):
        kinds = [_json_type(kind) for kind in inner]
        if all(list(kind) == ["type"] for kind in kinds):
            return {"type": [kind["type"] for kind in kinds]}
        return {"anyOf": kinds}
    if origin is list:
        return {"type": "array", "items": _json_type(inner[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _json_type(inner[1])}
    return {"type": _JSON_TYPES[hint]}


def _attribute_docs(kind: type) -> dict[str, str]:
    """Name → text of the ``Attributes:`` section of a class docstring."""
    section = (inspect.getdoc(kind) or "").partition("Attributes:\n")[2]  # 3.13 dedents, 3.11 does not
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.replace("``", "").split()) for name, text in entries}


def write_contracts(folder: Path) -> list[Path]:
    """Write every contract into an existing folder and return the paths.

    Raises:
        UsageError: if ``folder`` does not exist.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; name the one that holds the published schemas")
    written = []
    for name, content in contracts().items():
        write_text(folder / name, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        written.append(folder / name)
    return written


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m hmtools.humandata.published DIR")
    try:
        sys.stdout.writelines(f"{path}\n" for path in write_contracts(Path(sys.argv[1])))
    except UsageError as error:
        raise SystemExit(str(error)) from None
