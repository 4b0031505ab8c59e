"""From samples to results: means and counts of every subset, the mean primary error, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.bench.aggregate import figure_row, mpe_row, occlusion_bins, report_rows
from hmtools.core.errors import SchemaError, UsageError
from hmtools.humandata.reports import report_schema
from tests.bench.results import SETS, facts, sample_rows, write_samples

Rows = list[dict[str, Any]]


def only(rows: Rows, metric: str, subset: str = "all") -> dict[str, Any]:
    (row,) = [row for row in rows if row["metric"] == metric and row["subset"] == subset]
    return row


def test_means_and_counts(tmp_path: Path) -> None:
    people = sample_rows("ubody", 40, level=50, seed=0, missing=4)
    people[-1] |= {"status": "excluded", "pve_all": 1e6}
    rows = report_rows(write_samples(tmp_path / "p.parquet", people), facts("ubody"))
    assert set(rows[0]) == set(report_schema().names)
    row = only(rows, "pve_all")
    counted = [person["pve_all"] for person in people[:-1] if person["status"] == "ok"]
    assert row["value"] == pytest.approx(np.mean(counted), rel=1e-6)
    assert (row["n"], row["n_missing"], row["primary"], row["unit"]) == (33, 6, True, "mm")
    assert row["ci95_low"] < row["value"] < row["ci95_high"]
    hands = [person["pve_hand"] for person in people[:-1] if "pve_hand" in person]
    assert only(rows, "pve_hand")["n"] == len(hands) < 33
    assert only(rows, "pve_hand")["n_missing"] == 6  # a hand nobody sees is not missing
    visible = only(rows, "pve_all", "hand visible")
    assert (visible["n"], visible["n_missing"]) == (len(hands), 0)


def test_subsets(tmp_path: Path) -> None:
    people = sample_rows("agora", 60, level=50, seed=0)
    for i, person in enumerate(people):
        person["sequence"] = f"s{i % 2}"
        person["subset"] = "kids" if i < 7 else None
    rows = report_rows(write_samples(tmp_path / "p.parquet", people), facts("agora"))
    parts = {row["subset"]: row["n"] for row in rows if row["metric"] == "pve_all"}
    assert parts["kids"] == 7
    assert parts["sequence s0"] == parts["sequence s1"] == 30
    assert sum(n for name, n in parts.items() if name.startswith("occlusion")) == 60
    assert {row["metric"] for row in rows if row["subset"] == "sequence s0"} == {"pve_all"}
    assert len({row["metric"] for row in rows if row["subset"] == "kids"}) > 1
    assert all(row["published"] is None for row in rows if row["subset"] != "all")


def test_a_bin_of_occlusion_holds_its_lower_edge() -> None:
    bins = dict(occlusion_bins(np.array([0.0, 0.1, 0.7, 0.7, 1.0, np.nan], np.float32)))
    assert {name: int(members.sum()) for name, members in bins.items()} == {
        "0-10 %": 1,
        "10-20 %": 1,
        "70-80 %": 2,
        "90-100 %": 1,
    }


@pytest.mark.parametrize(
    ("changes", "published"),
    [
        ({}, 56.8),
        ({"rows": "derived"}, None),
        ({"standin": True}, None),
        ({"protocol": "ehf-other@1"}, None),
        ({"model": "mine"}, None),
    ],
)
def test_published_only_beside_the_same(tmp_path: Path, changes: dict[str, Any], published: object) -> None:
    people = sample_rows("ehf", 5, level=50, seed=0)
    own = facts("ehf", **changes)
    table = write_samples(tmp_path / "p.parquet", [person | {"protocol": own.protocol} for person in people])
    row = only(report_rows(table, own), "pve_all")
    assert row["published"] == published
    assert ("recalled" in row["note"]) is (published is not None)
    assert only(report_rows(table, own), "pve_face")["published"] is None


def test_nothing_to_average_is_said(tmp_path: Path) -> None:
    people = sample_rows("ehf", 5, level=50, seed=0)
    table = write_samples(tmp_path / "p.parquet", people)
    with pytest.raises(UsageError, match=r"no sample of ubody by smplerx@1 .*the table has none"):
        report_rows(table, facts("ubody"))
    with pytest.raises(SchemaError, match="primary metric mpjpe_body has no column"):
        report_rows(table, facts("ehf", primary="mpjpe_body"))
    gone = write_samples(tmp_path / "q.parquet", [person | {"status": "excluded"} for person in people])
    with pytest.raises(UsageError, match="every sample is excluded"):
        report_rows(gone, facts("ehf"))


def test_a_primary_figure_that_is_no_mean_over_samples(tmp_path: Path) -> None:
    people = sample_rows("ubody", 30, level=50, seed=0)
    table = write_samples(tmp_path / "p.parquet", people)
    own = facts("ubody", primary="nmve")
    rows = report_rows(table, own)
    assert not any(row["primary"] or row["subset"].startswith("sequence") for row in rows)
    row = figure_row(own, "nmve", 99.9, unit="mm", n=30, n_missing=0)
    assert (row["primary"], row["value"], row["ci95_low"], row["subset"]) == (True, 99.9, None, "all")


def test_without_any_prediction_there_is_no_value(tmp_path: Path) -> None:
    people = sample_rows("ehf", 4, level=50, seed=0, missing=4)
    row = only(report_rows(write_samples(tmp_path / "p.parquet", people), facts("ehf")), "pve_all")
    assert (row["value"], row["ci95_low"], row["n"], row["n_missing"]) == (None, None, 0, 4)


def primary_row(testset: str, value: float, **changes: Any) -> dict[str, Any]:
    row = {
        "protocol": "smplerx@1", "testset": testset, "subset": "all", "primary": True, "value": value,
        "n": 10, "n_missing": 1, "ci95_low": value - 3, "ci95_high": value + 4, "standin": False,
        "rows": "official", "image_mode": "full", "model": "smplerx-h32", "predictions_sha256": testset,
        "shards_sha256": "s",
    }  # fmt: skip
    return row | changes


FIVE = [primary_row(name, value) for name, value in zip(SETS, (69.5, 59.5, 54.5, 75.0, 56.8), strict=True)]


def test_the_mean_primary_error() -> None:
    other = primary_row("ehf", 999.0, protocol="ehf-other@1")
    row = mpe_row([*FIVE, other, primary_row("ehf", 999.0, subset="kids")])
    assert row is not None
    assert row["value"] == pytest.approx(63.06)
    assert (row["testset"], row["metric"], row["n"], row["n_missing"]) == ("mpe", "mpe", 50, 5)
    assert row["ci95_low"] == pytest.approx(63.06 - 3 / 5**0.5)
    assert row["ci95_high"] == pytest.approx(63.06 + 4 / 5**0.5)
    assert (row["published"], row["note"], row["predictions_sha256"]) == (63.0, "", "")
    assert set(row) == set(report_schema().names)


def test_a_partial_mean_says_so() -> None:
    row = mpe_row(FIVE[:3])
    assert row is not None
    assert row["note"] == "partial (3/5): without 3DPW, EHF"
    assert row["published"] is None
    assert row["value"] == pytest.approx((69.5 + 59.5 + 54.5) / 3)
    assert row["ci95_low"] == pytest.approx(row["value"] - 3 / 3**0.5)
    assert mpe_row([primary_row("kinect", 1.0)]) is None


def test_one_derived_set_makes_the_mean_derived() -> None:
    row = mpe_row([*FIVE[:4], FIVE[4] | {"rows": "derived"}])
    assert row is not None
    assert (row["rows"], row["published"]) == ("derived", None)


@pytest.mark.parametrize(
    ("change", "says"), [({"model": "b"}, "one model, found b, smplerx"), ({"standin": True}, "ehf measured")]
)
def test_what_has_no_mean(change: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        mpe_row([*FIVE[:4], FIVE[4] | change])
