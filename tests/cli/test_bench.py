from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from typer.testing import Result

from hmtools.humandata.predictions import PredictionSpec, PredictionWriter
from hmtools.infer.model import devices_here
from hmtools.shards.reader import Shards
from tests.bench.testset_shards import TestSets, shared_test_sets

Run: TypeAlias = Callable[..., Result]
NAMES = (
    *(
        "global_orient",
        "body_pose",
        "left_hand_pose",
        "right_hand_pose",
        "jaw_pose",
        "leye_pose",
        "reye_pose",
    ),
    *("expression", "transl"),
)


@pytest.fixture(scope="session")
def test_sets(tmp_path_factory: pytest.TempPathFactory) -> TestSets:
    return shared_test_sets(tmp_path_factory)


def write_truth(shards: Shards, path: Path) -> None:
    """Predictions that say what the records say, in the neutral model."""
    rows: list[dict[str, Any]] = []
    for number in range(len(shards)):
        record = shards.row(number)
        own = {f"smplx_{name}": record[f"smplx_{name}"] for name in NAMES}
        rows.append({"key": record["key"], **own, "smplx_betas": record["betas_neutral"]})
    facts = {"model": "truth", "standin": True}
    with PredictionWriter(path, PredictionSpec(bodies=("smplx",)), facts) as file:
        file.write(rows)


def test_bench_writes_tables_and_tells(run: Run, test_sets: TestSets, tmp_path: Path) -> None:
    shards = test_sets["egobody_egocentric"]
    write_truth(shards, tmp_path / "mine.parquet")
    root = test_sets.root / "shards"
    shown = run("bench", "--testset", "EgoSet", "--predictions", "mine.parquet", "--shards", root).stdout
    out = tmp_path / "runs/bench/mine/egobody"
    assert {path.name for path in out.iterdir()} == {"per_sample.parquet", "report.parquet"}
    assert f"egobody by smplerx@1: {len(shards)} ok" in shown
    assert "not the official set" in shown
    assert "STAND-IN" in shown
    given = run(
        "bench", "--testset", "egobody", "--predictions", "mine.parquet", "--shards", root, "--json",
        "--out", "elsewhere",
    )  # fmt: skip
    rows = {(row["subset"], row["metric"]): row for row in json.loads(given.stdout)}
    assert rows["all", "pve_all"]["value"] == 0
    assert rows["all", "pve_all"]["model"] == "truth"
    assert (tmp_path / "elsewhere/egobody/report.parquet").is_file()


def test_several_sets_from_a_folder_with_what_there_is(run: Run, test_sets: TestSets, tmp_path: Path) -> None:
    shards, _ = test_sets["egobody_egocentric"], test_sets["ehf"]
    (tmp_path / "mine").mkdir()
    write_truth(shards, tmp_path / "mine/egobody.parquet")
    result = run("bench", "--testset", "all", "--predictions", "mine", "--shards", test_sets.root / "shards")
    assert f"egobody by smplerx@1: {len(shards)} ok" in result.stdout
    assert "left out: " in result.stderr
    assert (tmp_path / "runs/bench/mine/egobody/report.parquet").is_file()


def test_bench_without_predictions_says_what_helps(run: Run, test_sets: TestSets) -> None:
    shards = test_sets["ehf"].path
    said = run("bench", "--testset", "EHF", "--shards", shards, code=2).stderr
    assert "nothing to measure on EHF: no finished run below" in said
    assert [line.split()[1] for line in said.splitlines() if line.startswith("  hmtools ")] == [
        "train",
        "weights",
    ]
    assert "say what to measure on: --testset 3DPW" in run("bench", "--device", "cpu", code=2).stderr
    assert "unknown test set 'EFH'; did you mean 'ehf'" in run("bench", "--testset", "EFH", code=2).stderr
    below = run("bench", "--help").stdout
    assert "doctor" in below
    assert "agora-submission" in below


def test_bench_names_shards_and_devices_that_are_not_there(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.parquet").write_bytes(b"")
    ask = ("bench", "--predictions", "mine.parquet")
    said = run(*ask, "--testset", "EHF", code=2).stderr
    assert "run `hmtools convert ehf --split test`, or say where it is with --shards" in said
    assert f"EHF (test split): not converted, or not finished, below {tmp_path / 'shards'}; run" in said
    assert run(*ask, "--testset", "all", code=2).stderr.count("hmtools convert") == 5
    said = run(*ask, "--testset", "EHF", "--device", "nonsense", code=2).stderr
    assert "--device nonsense: not usable here" in said
    assert f"; take {devices_here()}\n" in said


def test_doctor_lists_what_differs(run: Run, test_sets: TestSets, tmp_path: Path) -> None:
    path = test_sets["ehf"].path
    shown = run("bench", "doctor", path, code=1).stdout
    assert f"{path}: ehf by smplerx@1: differs\n  images: expected 100, found 4\n" in shown
    (found,) = json.loads(run("bench", "doctor", path, "--json", code=1).stdout)
    assert (found["ok"], found["rows"]) == (False, "derived")
    shutil.copytree(path, tmp_path / "official")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["counts"] |= {"records": 100, "images": 100}
    manifest["body_model"]["standin"] = False
    (tmp_path / "official/manifest.json").write_text(json.dumps(manifest))
    assert run("bench", "doctor", "official").stdout == "official: ehf by smplerx@1: OK\n"
    assert "no such folder" in run("bench", "doctor", "nowhere", code=2).stderr
