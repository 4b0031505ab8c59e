"""Errors by occlusion, size, sequence and joint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hmtools.bench.samples import JointErrors, Samples, read_samples
from hmtools.bench.slices import MOST_SEQUENCES, by_box_size, by_joint, by_occlusion, by_sequence
from tests.bench.results import sample_rows, write_samples


def samples(tmp_path: Path, testset: str = "agora", count: int = 200, seed: int = 0) -> Samples:
    rows = sample_rows(testset, count, level=50, seed=seed)
    path = write_samples(tmp_path / f"{testset}{seed}.parquet", rows)
    return read_samples(path, protocol="smplerx@1", testset=testset)


def test_groups_partition_the_samples(tmp_path: Path) -> None:
    people = samples(tmp_path)
    for rows in (by_occlusion([people], "pve_all"), by_box_size([people], "pve_all")):
        found = [row.estimates[0] for row in rows]
        assert sum(e.n for e in found if e) == 200
        total = sum(e.mean * e.n for e in found if e)
        assert total == pytest.approx(float(people.metrics["pve_all"].sum(dtype=np.float64)), rel=1e-6)
        assert all(e is None or e.n < 2 or e.low <= e.mean <= e.high for e in found)


def test_sizes_stand_in_order_whichever_run_has_them(tmp_path: Path) -> None:
    people = samples(tmp_path)
    side = people.bbox_xywh[:, 2:4].max(axis=1)
    rows = by_box_size([people.take(side >= 192), None, people], "pve_all")
    assert [row.name for row in rows][:4] == ["< 64 px", "64-128 px", "128-192 px", "192-256 px"]
    assert rows[-1].name == "1024+ px"
    assert rows[0].estimates[0] is None
    assert rows[0].estimates[2] is not None
    assert len(rows[0].estimates) == 3


def test_sequences_worst_first_and_not_too_many(tmp_path: Path) -> None:
    people = samples(tmp_path, "3dpw", 400)
    rows, count = by_sequence([people], "mpjpe_body")
    assert (len(rows), count) == (MOST_SEQUENCES, 37)
    means = [row.estimates[0].mean for row in rows if row.estimates[0]]
    assert means == sorted(means, reverse=True)
    worst = people.metrics["mpjpe_body"][people.sequence == rows[0].name]
    assert means[0] == pytest.approx(float(worst.mean()), rel=1e-5)


def test_one_group_is_no_chart(tmp_path: Path) -> None:
    people = samples(tmp_path, "ehf")
    assert by_sequence([people], "pve_all") == ([], 0)
    assert by_occlusion([people], "pve_all") == []
    assert by_occlusion([None], "pve_all") == []


def test_joints_of_runs_side_by_side() -> None:
    one = JointErrors(("knee", "wrist"), np.array([30.0, 50.0]), np.array([5, 5]))
    other = JointErrors(("wrist", "neck"), np.array([40.0, np.nan]), np.array([3, 0]))
    rows = by_joint([one, other])
    assert [row.name for row in rows] == ["knee", "wrist"]
    assert [e and (e.mean, e.n) for e in rows[1].estimates] == [(50.0, 5), (40.0, 3)]
    assert rows[0].estimates[1] is None
