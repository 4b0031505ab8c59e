from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hmtools.core.errors import SchemaError
from hmtools.humandata.reports import (
    METRICS,
    STATUSES,
    SampleWriter,
    per_sample_schema,
    report_schema,
    write_report,
)


def test_metrics_have_words_and_units() -> None:
    assert {metric.unit for metric in METRICS.values()} == {"mm", "mm/s^2", "%", "deg"}
    assert {name for name, metric in METRICS.items() if metric.better == "higher"} == {"pck50", "auc"}
    assert all(metric.doc and metric.title for metric in METRICS.values())
    assert len({metric.title for metric in METRICS.values()}) == len(METRICS)
    assert "Procrustes" in METRICS["pa_pve_hand"].doc
    assert "Procrustes" not in METRICS["pve_hand"].doc


def test_a_metric_that_is_not_defined_is_a_null_column() -> None:
    schema = per_sample_schema(["pve_all"], ["pelvis", "neck"])
    assert schema.field("pve_all").type == pa.float32()
    assert schema.field("auc").type == pa.null()
    assert schema.field("pve_all").metadata == {b"unit": b"mm"}
    assert schema.field("joint_errors").metadata[b"names"] == b"pelvis,neck"
    assert per_sample_schema().field("joint_errors").type == pa.null()
    assert schema.names == per_sample_schema().names
    with pytest.raises(SchemaError, match="did you mean 'pve_all'"):
        per_sample_schema(["pve_al"])
    with pytest.raises(SchemaError, match="no comma"):
        per_sample_schema(joints=["a,b"])


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with SampleWriter(path / "s.parquet", ["pve_all", "auc"], ["a", "b"]) as writer:
        writer.write(rows)
    return path / "s.parquet"


def test_samples_come_back(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"status": "ok", "pve_all": np.float32(3.5), "auc": np.nan, "joint_errors": np.array([1, np.nan])},
        {"status": "missing", "bbox_xywh": [1, 2, 3, 4, 1]},
    ]
    table = pq.read_table(write(tmp_path, rows))
    assert table.column("pve_all").to_pylist() == [3.5, None]
    assert table.column("auc").to_pylist() == [None, None], "not defined is null"
    first, second = table.column("joint_errors").to_pylist()
    assert first[0] == 1
    assert np.isnan(first[1])
    assert second is None
    assert table.column("bbox_xywh").to_pylist() == [None, [1, 2, 3, 4, 1]]


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"status": "fine"}, f"status.*{STATUSES[0]}.*'fine'"),
        ({"status": "ok", "joint_errors": [1.0]}, "expected 2 joints, found 1"),
        ({"status": "ok", "pve_all": float("inf")}, "infinite"),
        ({"status": "ok", "pve_all": 1e300}, "infinite"),
        ({"status": "ok", "bbox_xywh": [1, 2, 3, 4]}, r"\(5,\)"),
        ({"status": "ok", "pve_face": 1.0}, "opened without this column"),
        ({"status": "ok", "pve": 1.0}, "no column 'pve'"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, row: dict[str, Any], error: str) -> None:
    with pytest.raises(SchemaError, match=error):
        write(tmp_path, [row])
    assert list(tmp_path.iterdir()) == []


def test_reports(tmp_path: Path) -> None:
    row = dict.fromkeys(report_schema().names) | {"metric": "pve_all", "value": 1.0, "n": 3}
    write_report(tmp_path / "r.parquet", [row])
    table = pq.read_table(tmp_path / "r.parquet")
    assert table.schema.names == report_schema().names
    assert table.to_pylist() == [row]
    with pytest.raises(SchemaError, match="column n"):
        write_report(tmp_path / "r.parquet", [{"n": "three"}])
    assert pq.read_table(tmp_path / "r.parquet").num_rows == 1, "the old one stays"
