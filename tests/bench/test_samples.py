"""Tables of samples as arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hmtools.bench.samples import joint_errors, read_samples
from hmtools.core.errors import LayoutError, SchemaError
from tests.bench.results import JOINTS, sample_rows, write_samples


def test_rows_of_one_test_set(tmp_path: Path) -> None:
    ehf, ubody = (sample_rows(name, 9, level=50, seed=0, missing=1) for name in ("ehf", "ubody"))
    ehf[3]["bbox_xywh"] = None
    path = write_samples(tmp_path / "p.parquet", [*ehf, *ubody])
    found = read_samples(path, protocol="smplerx@1", testset="ehf")
    assert found.key.tolist() == [row["key"] for row in ehf]
    assert "mpjpe_body" not in found.metrics  # the protocol does not define it
    assert np.isnan(found.metrics["pve_all"][0])
    assert found.metrics["pve_all"][1:].tolist() == [np.float32(row["pve_all"]) for row in ehf[1:]]
    assert np.isnan(found.bbox_xywh[3]).all()
    assert found.bbox_xywh[4].tolist() == np.array(ehf[4]["bbox_xywh"], np.float32).tolist()
    assert found.take(np.array([2])).key.tolist() == [ehf[2]["key"]]


def test_errors_of_joints(tmp_path: Path) -> None:
    people = sample_rows("ehf", 9, level=50, seed=0, missing=1)
    people[5]["joint_errors"] = people[5]["joint_errors"].copy()
    people[5]["joint_errors"][2] = np.nan
    people[8] |= {"status": "excluded", "joint_errors": np.full(len(JOINTS), 1e6)}
    found = joint_errors(write_samples(tmp_path / "p.parquet", people), protocol="smplerx@1", testset="ehf")
    assert found is not None
    assert found.names == JOINTS
    table = np.stack([person["joint_errors"] for person in people[1:8]])
    np.testing.assert_allclose(found.mean, np.nanmean(table, axis=0), rtol=1e-6)
    assert found.n.tolist() == [7, 7, 6] + [7] * 11
    assert joint_errors(tmp_path / "p.parquet", protocol="smplerx@1", testset="ubody") is None


def test_what_is_no_table_of_samples(tmp_path: Path) -> None:
    asked = {"protocol": "smplerx@1", "testset": "ehf"}
    with pytest.raises(LayoutError, match="no such file"):
        read_samples(tmp_path / "none.parquet", **asked)
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(LayoutError, match="no parquet file"):
        read_samples(tmp_path / "text.parquet", **asked)
    pq.write_table(pa.table({"key": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(SchemaError, match="lacks the columns protocol, testset"):
        read_samples(tmp_path / "other.parquet", **asked)
