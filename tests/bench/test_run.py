from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from hmtools.bench.bodies import bodies_of
from hmtools.bench.compare import Comparison, Span
from hmtools.bench.protocols.base import Protocol
from hmtools.bench.protocols.registry import get_protocol
from hmtools.bench.run import BenchResult, bench, chosen_rows, mean_primary_error, open_testset
from hmtools.core.errors import LayoutError, UsageError
from hmtools.shards.reader import Shards
from tests.bench.testset_shards import FromTruth, TestSets, predicted, sampled

FIVE = {"agora": "agora", "egobody": "egobody_egocentric", "ubody": "ubody", "ehf": "ehf"}


def run(
    shards: Shards,
    protocol: type[Protocol],
    out: Path,
    change: Callable[[str, torch.Tensor], torch.Tensor | None] = lambda key, mesh: mesh,
    **options: Any,
) -> BenchResult:
    return bench([shards], FromTruth(shards, protocol, change), protocol, out, **options)


def values(result: BenchResult, subset: str = "all") -> dict[str, Any]:
    return {row["metric"]: row["value"] for row in result.rows if row["subset"] == subset}


def people(result: BenchResult) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(result.per_sample).to_pylist()
    return rows


@pytest.mark.parametrize("testset", FIVE)
def test_the_truth_predicts_itself(testset: str, test_sets: TestSets, tmp_path: Path) -> None:
    protocol, shards = sampled(get_protocol(testset)), test_sets[FIVE[testset]]
    result = run(shards, protocol, tmp_path)
    assert dict(result.statuses) == {"ok": len(shards)}
    found = values(result)
    assert set(found) == set(protocol.metrics)
    for metric, value in found.items():
        assert value == pytest.approx(0, abs=1e-3 if metric.startswith("pa_") else 0), metric
    assert result.facts.standin
    assert result.facts.rows == "derived", "a miniature is not the official set"
    assert "stand-in" in result.facts.note
    assert [row["key"] for row in people(result)] == [shards.row(row)["key"] for row in range(len(shards))]


@pytest.mark.parametrize("protocol", ["spin", "wham", "3dpw-official"])
def test_smpl_predictions_of_3dpw(protocol: str, test_sets: TestSets, tmp_path: Path) -> None:
    shards, kind = test_sets["pw3d"], get_protocol("3dpw", protocol)
    result = bench([shards], _Parameters(shards, kind), kind, tmp_path)
    best = {"pck50": 100, "auc": 100}
    for metric, value in values(result).items():
        assert value is None or value == pytest.approx(best.get(metric, 0), abs=1e-3), metric
    seen = [shards.row(row)["keypoints2d_original"] is not None for row in range(len(shards))]
    assert result.statuses["ok"] == (sum(seen) if protocol == "3dpw-official" else len(shards))
    notes = {row["note"] for row in people(result) if row["status"] == "excluded"}
    assert notes == ({"no 2D keypoint"} if protocol == "3dpw-official" else set())


class _Parameters(FromTruth):
    """Predicts the record's SMPL parameters, and its gender."""

    def get(self, keys: Any) -> Any:
        rows = {self.shards.row(row)["key"]: self.shards.row(row) for row in range(len(self.shards))}
        names = [f"smpl_{name}" for name in ("global_orient", "body_pose", "betas", "transl")]
        smpl = {name: np.stack([rows[key][name] for key in keys]) for name in names}
        return predicted(np.ones(len(keys), bool), smpl=smpl, gender=[rows[key]["gender"] for key in keys])


def test_a_known_error_comes_out_as_it_went_in(test_sets: TestSets, tmp_path: Path) -> None:
    shards, protocol = test_sets["ehf"], get_protocol("ehf")
    moved = run(shards, protocol, tmp_path / "moved", lambda key, mesh: mesh + torch.tensor([0.1, 0.2, 2.0]))
    assert values(moved)["pve_all"] == pytest.approx(0, abs=1e-3), "a shift is no error"
    first = shards.row(0)["key"]

    def longer(key: str, mesh: torch.Tensor) -> torch.Tensor:
        return mesh if key != first else 1.1 * mesh

    result = run(shards, protocol, tmp_path / "scaled", longer)
    mesh = torch.tensor(np.array(shards.mesh(0)))
    pelvis = people(result)[0]["pve_all"]
    assert pelvis > 10
    assert values(result)["pve_all"] == pytest.approx(pelvis / len(shards), rel=1e-5)
    assert values(result)["pa_pve_all"] == pytest.approx(0, abs=1e-3)
    assert mesh.shape == (10475, 3)


def test_missing_and_invalid_people_are_counted_and_listed(test_sets: TestSets, tmp_path: Path) -> None:
    shards, protocol = test_sets["agora"], get_protocol("agora")
    keys = [shards.row(row)["key"] for row in range(len(shards))]

    def change(key: str, mesh: torch.Tensor) -> torch.Tensor | None:
        if key == keys[1]:
            return None
        return torch.where(torch.arange(len(mesh))[:, None] == 5, torch.inf, mesh) if key == keys[2] else mesh

    result = run(shards, protocol, tmp_path, change, batch=2)
    assert dict(result.statuses) == {"ok": len(keys) - 2, "missing": 1, "invalid": 1}
    rows = people(result)
    assert [row["status"] for row in rows[:4]] == ["ok", "missing", "invalid", "ok"]
    assert rows[2]["note"] == "vertices not finite"
    assert all(row["pve_all"] is None for row in rows[1:3])
    row = next(row for row in result.rows if row["metric"] == "pve_all" and row["subset"] == "all")
    assert (row["n"], row["n_missing"]) == (len(keys) - 2, 2)
    assert f"1 of {len(keys)} people have no prediction: left out of the means" in row["note"]


def test_ubody_counts_what_the_image_shows(test_sets: TestSets, tmp_path: Path) -> None:
    shards, protocol = test_sets["ubody"], sampled(get_protocol("ubody"))
    result = run(shards, protocol, tmp_path, lambda key, mesh: mesh * 1.05)
    assert any("from the record's box" in note for note in result.notes)
    elsewhere = np.tile(np.array([[1.0, 0, 1e5], [0, 1.0, 1e5]], np.float32), (len(shards), 1, 1))

    class Elsewhere(FromTruth):
        """Says that the crop was far from where the people are."""

        def get(self, keys: Any) -> Any:
            found = super().get(keys)
            object.__setattr__(found, "crop_affine", elsewhere[: len(keys)])
            return found

    away = Comparison(protocol, Elsewhere(shards, protocol), bodies_of([shards.manifest], {"smplx"}))
    rows = away.rows(shards, Span([0, 1], 0, 2))
    assert [(row["status"], row["note"]) for row in rows] == [
        ("excluded", "nothing of the body is visible")
    ] * 2


def test_the_interval_counts_source_index(test_sets: TestSets) -> None:
    shards = test_sets["ubody"]
    numbers = [shards.row(row)["source_index"] for row in range(len(shards))]
    second = sampled(get_protocol("ubody"), 2)
    assert [numbers[row] for row in chosen_rows(shards, second)] == [n for n in numbers if n % 2 == 0]
    with pytest.raises(UsageError, match=rf"of {len(shards)} records none is one of every 100"):
        chosen_rows(shards, get_protocol("ubody"))


def test_shards_of_another_interval_are_refused(test_sets: TestSets, tmp_path: Path) -> None:
    shards = test_sets["ubody"]
    shutil.copytree(shards.path, tmp_path / "thin")
    manifest = json.loads((tmp_path / "thin/manifest.json").read_text())
    (tmp_path / "thin/manifest.json").write_text(json.dumps({**manifest, "every": 3}))
    with pytest.raises(UsageError, match=r"with --every 3, .* needs every 100th row; convert again"):
        chosen_rows(Shards(tmp_path / "thin"), get_protocol("ubody"))


def test_agora_matches_people_by_their_joints(test_sets: TestSets, tmp_path: Path) -> None:
    shards, protocol = test_sets["agora"], get_protocol("agora", "agora-official")
    result = run(shards, protocol, tmp_path / "all")
    found = values(result)
    assert found["f1"] == 1
    assert {name for name, value in found.items() if value == 0} == set(found) - {"f1"}
    assert {"nmve_body", "nmve_full", "nmje_body", "nmje_full"} <= set(found)
    lost = shards.row(0)["key"]
    fewer = run(shards, protocol, tmp_path / "fewer", lambda key, mesh: None if key == lost else mesh)
    ok = result.statuses["ok"]
    assert values(fewer)["f1"] == round((ok - 1) / (ok - 0.5), 2)
    assert fewer.statuses["missing"] == 1
    assert people(fewer)[0]["note"] == "nobody is matched to this person"
    metrics = [(row["subset"], row["metric"]) for row in fewer.rows]
    assert len(metrics) == len(set(metrics)), "one figure of each kind"


def test_the_mean_primary_error_of_several_sets(test_sets: TestSets, tmp_path: Path) -> None:
    results = [
        run(test_sets["ehf"], get_protocol("ehf"), tmp_path / "ehf", lambda key, mesh: 1.1 * mesh),
        run(test_sets["agora"], get_protocol("agora"), tmp_path / "agora"),
    ]
    row = mean_primary_error(results, tmp_path)
    assert row is not None
    assert row["value"] == pytest.approx(values(results[0])["pve_all"] / 2)
    assert "partial (2/5)" in row["note"]
    assert pq.read_table(tmp_path / "mpe/report.parquet").to_pylist() == [row]


def test_a_test_set_is_found_below_any_of_its_folders(test_sets: TestSets) -> None:
    path = test_sets["ehf"].path
    for root in (path, path.parent, path.parent.parent):
        assert [own.path for own in open_testset(get_protocol("ehf"), root)] == [path]
    test_sets["pw3d"]
    with pytest.raises(
        LayoutError,
        match=r"3DPW \(train and validation splits\): not converted.*`hmtools convert pw3d --sp",
    ):
        open_testset(get_protocol("3dpw", "3dpw-official"), path.parent.parent)
