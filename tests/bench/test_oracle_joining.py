"""Predictions out of order, lost, twice there, of nobody, broken, in other units or of two models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.bench.protocols.registry import get_protocol
from hmtools.bench.run import bench
from hmtools.bench.source import open_predictions
from hmtools.core.errors import HmtoolsError, LayoutError, SchemaError, UsageError
from hmtools.humandata.predictions import PredictionSpec, PredictionWriter
from tests.bench.oracle import FACTS, Array, Oracle, Row, changed, oracle, people, values, write
from tests.bench.testset_shards import TestSets

EHF = get_protocol("ehf")


@pytest.fixture(scope="module")
def ehf(test_sets: TestSets) -> Oracle:
    return oracle(test_sets, "ehf")


def growing(truth: Oracle) -> list[Row]:
    """Everybody's mesh, each by another per cent too large."""
    return [
        {**row, "vertices": (1 + number / 100) * row["vertices"]}
        for number, row in enumerate(truth.rows(), 1)
    ]


def test_order_is_nothing_and_the_first_of_two_counts(ehf: Oracle, tmp_path: Path) -> None:
    rows = growing(ehf)
    plain = ehf.bench(EHF, rows, tmp_path / "plain")
    again = [{**row, "vertices": 2 * row["vertices"]} for row in rows]
    nobody = {**rows[0], "key": "ehf/test/test/009999_0"}
    mixed = ehf.bench(EHF, [nobody, *rows[::-1], *again], tmp_path / "mixed")
    assert values(mixed) == values(plain)
    assert people(mixed) == people(plain)
    assert {row["n"] for row in mixed.rows if row["subset"] == "all"} == {len(rows)}
    assert f"{len(rows)} predictions ignored: another one is of the same person" in mixed.notes
    assert "1 predictions ignored: of nobody in the test set" in mixed.notes


@pytest.mark.parametrize(
    ("broken", "status"),
    [
        pytest.param(None, "missing", id="left out"),
        pytest.param(np.nan, "invalid", id="nan"),
        pytest.param(-np.inf, "invalid", id="infinite"),
        pytest.param(1e25, "invalid", id="finite, but its error is not"),
    ],
)
def test_the_others_mean_is_the_mean(broken: float | None, status: str, ehf: Oracle, tmp_path: Path) -> None:
    """Who has no error is counted and listed, and moves no mean."""
    rows = growing(ehf)
    every = people(ehf.bench(EHF, rows, tmp_path / "all"))
    lost = rows[1]["key"]
    if broken is None:
        del rows[1]
    else:
        rows[1]["vertices"] = rows[1]["vertices"].copy()
        rows[1]["vertices"][7000, 1] = broken
    result = ehf.bench(EHF, rows, tmp_path / "some")
    assert dict(result.statuses) == {"ok": len(every) - 1, status: 1}
    person = people(result)[lost]
    assert person["status"] == status
    assert all(person[metric] is None for metric in EHF.metrics)
    for row in result.rows:
        if row["subset"] == "all":
            kept = [own[row["metric"]] for key, own in every.items() if key != lost]
            assert row["value"] == pytest.approx(np.mean(kept), abs=1e-3)
            assert (row["n"], row["n_missing"]) == (len(kept), 1)
    assert any(f"1 of {len(every)} people" in note for note in result.notes)


def parameters(truth: Oracle, **columns: Any) -> list[Row]:
    own = {
        "smplx_global_orient": [3.0, 0, 0],
        "smplx_body_pose": np.zeros(63),
        "smplx_betas": np.zeros(10),
        "smplx_transl": [0, 0, 3.0],
        **columns,
    }
    return [{"key": key, **own} for key in truth.people]


def test_a_parameter_that_is_not_finite_is_invalid(ehf: Oracle, tmp_path: Path) -> None:
    rows = parameters(ehf)
    rows[2] = {**rows[2], "smplx_betas": np.full(10, np.nan)}
    rows[3] = {**rows[3], "smplx_betas": np.full(10, 3e38)}
    result = ehf.bench(EHF, rows, tmp_path)
    assert dict(result.statuses) == {"ok": 2, "invalid": 2}
    assert [own["status"] for own in people(result).values()] == ["ok", "ok", "invalid", "invalid"]


Make = Callable[[Oracle, Path], None]


def meshes(change: Callable[[Array], Array], **facts: Any) -> Make:
    def make(truth: Oracle, path: Path) -> None:
        write(path / "p.parquet", changed(truth.rows(), change), {**FACTS, **facts})

    return make


def posed(**columns: Any) -> Make:
    def make(truth: Oracle, path: Path) -> None:
        write(path / "p.parquet", parameters(truth, **columns))

    return make


def two_models(truth: Oracle, path: Path) -> None:
    for name in ("a", "b"):
        write(path / f"{name}.parquet", truth.rows(), {**FACTS, "model": name})


def two_families(truth: Oracle, path: Path) -> None:
    write(path / "a.parquet", truth.rows()[:2])
    write(path / "b.parquet", [{**row, "vertices": row["vertices"][:6890]} for row in truth.rows()[2:]])


def other_count(truth: Oracle, path: Path) -> None:
    path.mkdir()
    with PredictionWriter(path / "p.parquet", PredictionSpec(mesh=("smplx", 10474)), FACTS) as file:
        file.write([{**row, "vertices": row["vertices"][1:]} for row in truth.rows()])


def nothing(truth: Oracle, path: Path) -> None:
    write(path / "p.parquet", [])


def strangers(truth: Oracle, path: Path) -> None:
    rows = [
        {**row, "key": f"agora/test/a/{n:06d}_0", "image_path": None} for n, row in enumerate(truth.rows())
    ]
    write(path / "p.parquet", rows)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (meshes(lambda mesh: 1000 * mesh), SchemaError, r"vertices is in metres.*millimetres \(x1000\)"),
        (meshes(lambda mesh: 100 * mesh), SchemaError, r"vertices is in metres.*centimetres \(x100\)"),
        (posed(smplx_transl=[0, 0, 3000.0]), SchemaError, r"smplx_transl is in metres.*millimetres"),
        (posed(smplx_global_orient=[172.0, 0, 0]), SchemaError, "degrees"),
        (two_models, SchemaError, "different models in one folder: model is 'a'.*'b'"),
        (two_families, SchemaError, "predictions of different kinds together: the body is smplx.*smpl "),
        (other_count, SchemaError, "a mesh of 10474 vertices.*10475"),
        (nothing, UsageError, "no predictions: the file or folder is empty"),
        (strangers, UsageError, "none of 4 predictions is of these shards: found agora/test"),
        (
            meshes(lambda mesh: mesh, standin=False),
            UsageError,
            "of a licensed body, the shards of the stand-in",
        ),
        (
            meshes(lambda mesh: mesh[:6890]),
            UsageError,
            "measures smplx meshes of 10475 vertices.*have 6890, which are of smpl",
        ),
        (lambda truth, path: path.mkdir(), LayoutError, "no predictions in it"),
        (lambda truth, path: None, LayoutError, "no such file or folder"),
    ],
)
def test_what_is_wrong_is_named(
    make: Make, error: type[HmtoolsError], words: str, ehf: Oracle, tmp_path: Path
) -> None:
    make(ehf, tmp_path / "predictions")
    with pytest.raises(error, match=words):
        bench([ehf.shards], open_predictions(tmp_path / "predictions", [ehf.shards]), EHF, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.parquet")) if (tmp_path / "out").exists() else True
