from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hmtools.core.errors import LayoutError, SchemaError, UsageError
from hmtools.humandata.parquet import ROW_GROUP
from hmtools.humandata.prediction_meshes import prediction_mesh_path
from hmtools.humandata.predictions import (
    FACTS,
    PREDICTION_COLUMNS,
    PredictionSpec,
    PredictionWriter,
    iter_predictions,
    prediction_facts,
    predictions_schema,
)
from hmtools.humandata.record import columns
from hmtools.humandata.schema import RecordSpec, record_schema

SPEC = PredictionSpec(("smplx",), "smplx_144", "coco_17", (("smplx_betas", 16),), ("smplx", 4))
FACTS_OF_ONE = {"model": "h32", "checkpoint_sha256": "ab", "standin": False, "versions": {"hmtools": "1"}}


def write(path: Path, rows: list[dict[str, Any]], spec: PredictionSpec = SPEC, **facts: Any) -> Path:
    with PredictionWriter(path, spec, {**FACTS_OF_ONE, **facts}) as writer:
        writer.write(rows)
    return path


def test_body_columns_are_those_of_the_record() -> None:
    spec = PredictionSpec(("smplx", "smpl"), widths=(("smpl_betas", 12),))
    ours = predictions_schema(spec)
    record = record_schema(RecordSpec("a", "b", bodies=("smplx", "smpl"), widths=(("smpl_betas", 12),)))
    bodies = [c.name for c in columns() if c.name.startswith(("smplx_", "smpl_"))]
    assert [name for name in ours.names if name in bodies] == bodies
    assert all(ours.field(name).equals(record.field(name), check_metadata=True) for name in bodies)
    assert ours.names == [column.name for column in PREDICTION_COLUMNS]


def test_what_is_not_predicted_is_a_null_column() -> None:
    schema = predictions_schema(PredictionSpec(("smpl",), joints3d="smpl_24"))
    assert schema.field("smplx_body_pose").type == pa.null()
    assert schema.field("joints2d").type == pa.null()
    assert schema.field("joints3d").metadata[b"convention"] == b"smpl_24"
    assert str(schema.field("joints3d").type).count("24") == 1


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"bodies": ("smlpx",)}, "smplx"),
        ({"widths": (("betas", 3),)}, "betas"),
        ({"mesh": ("mano", 778)}, "mano"),
    ],
)
def test_a_spec_of_unknown_things(values: dict[str, Any], error: str) -> None:
    with pytest.raises(SchemaError, match=error):
        PredictionSpec(**values)
    with pytest.raises(UsageError):
        predictions_schema(PredictionSpec(joints2d="nobody"))


def test_rows_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    betas = rng.normal(size=(ROW_GROUP + 7, 16)).astype(np.float32)
    affine = rng.normal(size=(2, 3)).astype(np.float32)
    rows: list[dict[str, Any]] = [
        {"key": f"a/b/c/{i:06d}_0", "smplx_betas": betas[i] if i % 2 else None, "frame": i if i % 3 else None}
        for i in range(len(betas))
    ]
    rows[5] |= {"crop_affine": affine, "joints2d": np.full((144, 3), np.nan), "gender": "male"}
    rows[5]["kid"] = 0.75
    rows[9]["vertices"] = np.arange(12.0).reshape(4, 3)
    path = write(tmp_path / "p.parquet", rows)
    first, second = iter_predictions(path)
    assert len(first["key"]) == ROW_GROUP
    assert len(second["key"]) == 7
    assert set(first) == {column.name for column in PREDICTION_COLUMNS}
    assert first["smpl_betas"] is None
    assert second["crop_affine"] is None
    found = np.concatenate([first["smplx_betas"], second["smplx_betas"]])
    assert np.isnan(found[::2]).all()
    assert np.array_equal(found[1::2], betas[1::2])
    assert found.dtype == np.float32
    assert first["frame"][:5].tolist() == [-1, 1, 2, -1, 4]
    assert np.array_equal(first["crop_affine"][5], affine)
    assert np.isnan(first["crop_affine"][4]).all()
    assert first["gender"][5] == "male"
    assert first["gender"][4] is None
    assert first["kid"][5] == 0.75
    assert np.isnan(first["kid"][4])
    table = pq.ParquetFile(path)
    assert table.metadata.num_row_groups == 2
    assert table.read(columns=["joints2d"]).column(0).null_count == len(rows) - 1, "NaN is no null"
    meshes = pa.ipc.open_file(prediction_mesh_path(path)).read_all()
    assert meshes.column("row").to_pylist() == [9]
    assert meshes.column("key").to_pylist() == [rows[9]["key"]]


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "p.parquet", [{"key": "k"}], ratio=1.2)
    facts = prediction_facts(path)
    assert facts["model"] == "h32"
    assert facts["ratio"] == 1.2
    assert facts["body_sha256"] is None
    assert set(FACTS) <= set(facts)


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"smplx_body_pose": np.zeros(69)}, r"smplx_body_pose.*\(63,\).*\(69,\)"),
        ({"smplx_bodypose": np.zeros(63)}, "did you mean 'smplx_body_pose'"),
        ({"smpl_betas": np.zeros(10)}, "opened without this column"),
        ({"vertices": np.zeros((3, 3))}, r"vertices of shape \(4, 3\)"),
        ({"frame": "first"}, "column frame of rows 0 to 0"),
        ({"smplx_transl": "far"}, "smplx_transl"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_left(
    tmp_path: Path, row: dict[str, Any], error: str
) -> None:
    with pytest.raises(SchemaError, match=error):
        write(tmp_path / "p.parquet", [row])
    assert list(tmp_path.iterdir()) == []


def test_meshes_need_a_spec_and_facts_a_model(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="no mesh"):
        write(tmp_path / "p.parquet", [{"vertices": np.zeros((4, 3))}], PredictionSpec())
    for facts in ({}, {"model": ""}, {"model": "a", "b": object()}, {"model": "a", "b": float("nan")}):
        with pytest.raises(SchemaError, match="facts must"):
            PredictionWriter(tmp_path / "p.parquet", SPEC, facts)
    assert list(tmp_path.iterdir()) == []


def test_the_files_of_a_folder_must_agree(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [{"key": "1"}])
    write(tmp_path / "b.parquet", [{"key": "2"}])
    assert [batch["key"].tolist() for batch in iter_predictions(tmp_path, ["key"])] == [["1"], ["2"]]
    write(tmp_path / "b.parquet", [{"key": "2"}], checkpoint_sha256="cd")
    with pytest.raises(SchemaError, match=r"checkpoint_sha256 is 'ab' in a\.parquet and 'cd' in b\.parquet"):
        prediction_facts(tmp_path)


def test_what_is_no_table_of_predictions(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"no \*\.parquet"):
        prediction_facts(tmp_path)
    with pytest.raises(LayoutError, match="no such"):
        prediction_facts(tmp_path / "nowhere")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 but not really PAR1")
    with pytest.raises(LayoutError, match="no parquet file"):
        list(iter_predictions(tmp_path))
    for metadata, error in (
        (json.dumps({"schema_version": 99}), "schema version 99"),
        ("[1]", "JSON object"),
        ("{", "no JSON"),
    ):
        schema = pa.schema([pa.field("key", pa.string())]).with_metadata({"hmtools": metadata})
        pq.write_table(pa.table([["k"]], schema=schema), tmp_path / "a.parquet")
        with pytest.raises(SchemaError, match=error):
            list(iter_predictions(tmp_path))
    with pytest.raises(SchemaError, match="did you mean 'smplx_betas'"):
        next(iter_predictions(tmp_path, ["smplx_beta"]))


def test_tables_of_others_are_read_as_well(tmp_path: Path) -> None:
    """As pandas writes them: lists of doubles, no metadata."""
    table = pa.table({"key": ["a", "b"], "smplx_betas": [[1.5] * 10, None], "other": [1, 2]})
    pq.write_table(table, tmp_path / "p.parquet")
    (batch,) = iter_predictions(tmp_path / "p.parquet")
    assert batch["smplx_betas"][0].tolist() == [1.5] * 10
    assert np.isnan(batch["smplx_betas"][1]).all()
    assert batch["kid"] is None, "as in files that are older than the column"
    assert prediction_facts(tmp_path / "p.parquet")["model"] is None
