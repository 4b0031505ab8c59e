from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import pytest
from typer.testing import Result

from hmtools.cli import complete
from hmtools.humandata.predictions import prediction_facts
from hmtools.infer.chosen import MIN_SIZE
from hmtools.infer.detectors.base import DetectorOptions
from hmtools.infer.tracker import MAX_LOST
from tests.bench.testset_shards import TestSets, shared_test_sets
from tests.infer.tiny_weights import write_tiny

Run: TypeAlias = Callable[..., Result]


@pytest.fixture(scope="session")
def test_sets(tmp_path_factory: pytest.TempPathFactory) -> TestSets:
    return shared_test_sets(tmp_path_factory)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Weights in the checkpoints folder of a fresh working directory."""
    (tmp_path / "checkpoints").mkdir()
    return write_tiny(tmp_path / "checkpoints/tiny.safetensors")


def test_shards_are_predicted_and_measured(run: Run, test_sets: TestSets, tiny: Path, tmp_path: Path) -> None:
    root = tmp_path / "shards"
    for name in ("ehf", "pw3d"):
        shutil.copytree(test_sets[name].path, root / name / "test")
    shown = run("infer", "tiny", "ehf/test", "--gpus", 0, "--batch-size", 3).stdout
    assert "ehf/test: tiny, boxes x 1.2 (protocol smplerx@1 of EHF), STAND-IN body, not SMPL-X" in shown
    out = tmp_path / "runs/infer/tiny"
    assert {path.name for path in (out / "ehf/test").iterdir()} == {".job", "predictions", "predictions.json"}
    assert "already done" in run("infer", "tiny", root / "ehf", "--gpus", 0).stdout
    facts = json.loads(run("infer", "tiny", "ehf", "--gpus", 0, "--json", "--out", "elsewhere").stdout)
    assert (facts["ehf/test"]["ok"], facts["ehf/test"]["predicted"]) == (True, 4)
    assert facts["ehf/test"]["out"] == str(tmp_path / "elsewhere/ehf/test")

    # What is not there yet is predicted, and two sets of five make a partial mean.
    stamp = (out / "ehf/test/predictions.json").stat().st_mtime_ns
    result = run("bench", "--testset", "all", "--model", "tiny")
    assert (out / "ehf/test/predictions.json").stat().st_mtime_ns == stamp
    assert (out / "pw3d/test/predictions.json").is_file()
    assert "ehf by smplerx@1: 4 ok" in result.stdout
    assert "3dpw by smplerx@1: 5 ok" in result.stdout
    assert result.stderr.count("left out: ") == 3
    assert (tmp_path / "runs/bench/tiny/mpe/report.parquet").is_file()
    assert "no prediction" not in result.stdout

    # Predictions of other weights under the same name, or of other shards, may have cost days: they stay.
    write_tiny(tiny, seed=1)
    said = run("bench", "--testset", "EHF", "--model", "tiny", code=2).stderr
    assert f"{out}/ehf/test: the predictions there are of other weights than {tiny}" in said
    assert f"  hmtools infer tiny {root}/ehf/test --overwrite\n" in said
    write_tiny(tiny)
    other = tmp_path / "other/ehf/test"
    shutil.copytree(root / "ehf/test", other)
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["files"][0]["sha256"] = "0" * 64
    (other / "manifest.json").write_text(json.dumps(manifest))
    said = run("bench", "--testset", "all", "--model", "tiny", "--shards", "other", code=2).stderr
    assert f"are of {root}/ehf/test, not of {other}. Give --shards {root}/ehf/test, or move them" in said
    (root / "ehf/test/manifest.json").write_text(json.dumps(manifest))  # as after `hmtools derive`
    said = run("bench", "--testset", "EHF", "--model", "tiny", code=2).stderr
    assert f"are of {root}/ehf/test as it was before it was converted or derived anew" in said
    assert (out / "ehf/test/predictions.json").stat().st_mtime_ns == stamp

    # Measured against shards they were not made on, or drawn over their pictures, they say so.
    asked = ("bench", "--testset", "EHF", "--predictions", out, "--shards", "other", "--json")
    result = run(*asked)
    assert f"were made on {root}/ehf/test, not on {other}; --shards {root}/ehf/test takes" in result.stderr
    assert "predicted on other shards than these" in json.loads(result.stdout)[0]["note"]
    said = run("render", "overlay", out / "ehf/test", "--shards", "other", "--size", 64).stderr
    assert f"were made on {root}/ehf/test, not on {other}" in said
    assert [file.suffix for file in (out / "ehf/test/render").iterdir()] == [".png"] * 4
    said = run("render", "overlay", out / "ehf/test", code=2).stderr
    assert f"these were predicted on shards: add --shards {root}/ehf/test\n" in said
    said = run("render", "overlay", out / "ehf/test/predictions", code=2).stderr
    assert "these were predicted on shards" in said


def test_bench_takes_the_newest_run_and_says_which(
    run: Run, test_sets: TestSets, tiny: Path, tmp_path: Path
) -> None:
    shutil.copytree(test_sets["ehf"].path, tmp_path / "shards/ehf/test")
    folder = tmp_path / "runs/train/mine"
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text("{}")
    shutil.move(tiny, folder / "final.safetensors")
    os.utime(folder / "final.safetensors", (1e9, 1e9))
    said = run("bench", "--testset", "EHF").stderr
    assert f"measuring the newest finished run: training run {folder}, of 2001-09-" in said
    said = run("bench", "--testset", "EHF").stderr
    assert f"measuring the newest finished run: predictions {tmp_path / 'runs/infer/mine'}" in said
    assert (tmp_path / "runs/bench/mine/ehf/report.parquet").is_file()
    assert complete.model_words("runs/tr") == ["runs/train/mine"]
    os.utime(folder / "final.safetensors")  # trained on
    assert "finished run: training run" in run("bench", "--testset", "EHF").stderr
    shutil.rmtree(tmp_path / "runs")
    for name in ("smpler_x_b32", "smpler_x_h32"):
        (tmp_path / f"checkpoints/{name}.pth.tar").write_bytes(b"nothing")
    said = run("bench", "--testset", "EHF", code=2).stderr  # which of the two is told, and then what is wrong
    assert f"measuring official weights: {tmp_path / 'checkpoints/smpler_x_h32.pth.tar'}" in said
    both = run("bench", "--testset", "EHF", "--model", "x", "--predictions", "y", code=2).stderr
    assert "one of them predicts; give one" in both


def test_photographs_are_predicted(run: Run, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    picture = np.random.default_rng(0).integers(0, 256, (160, 120, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "photos/one.png"), picture)
    asked = ("infer", "tiny", "photos", "--gpus", 0, "--detector", "whole", "--allow-standin")
    shown = run(*asked).stdout
    assert "1 person in 1 frame of 1 source (detector whole" in shown
    folder = tmp_path / "runs/infer/tiny/media/photos"
    following = f"hmtools render overlay {folder} --media photos"
    assert f"next: {following}; hmtools export {folder} --to tracks\n" in shown
    assert f"{folder}/render/one_overlay.png" in run(*following.split()[1:]).stdout
    assert f"{folder}/export/tracks: 1 file\n" in run("export", folder, "--to", "tracks").stdout
    assert "STAND-IN body, not SMPL-X" in shown
    facts = prediction_facts(tmp_path / "runs/infer/tiny/media/photos")
    assert (facts["model"], facts["standin"]) == ("tiny", True)
    assert "is there already" in run(*asked, code=2).stderr
    found = json.loads(run(*asked, "--json", "--biggest", "--batch-size", 2, "--out", "mine").stdout)
    assert (found["people"], found["path"]) == (1, "mine/predictions.parquet")

    # The demo's smallest box is told, and given ones have none.
    (tmp_path / "boxes.json").write_text('[{"bbox_xywh": [10, 10, 20, 60, 0.4]}]')
    given = ("infer", "tiny", "photos", "--gpus", 0, "--allow-standin", "--boxes", "boxes.json", "--json")
    assert json.loads(run(*given, "--out", "a").stdout)["people"] == 1
    limits = {("--min-size", "30x30"): "box_below_min_size", ("--confidence", 0.5): "box_unsure"}
    for number, (flags, reason) in enumerate(limits.items()):
        result = run(*given, *flags, "--out", number)
        assert json.loads(result.stdout)["skipped"] == {reason: 1}
        assert ("narrower than 30 or lower than 30 pixels" in result.stderr) == (number == 0)
    (tmp_path / "boxes.json").write_text("{")
    assert "boxes.json: no JSON" in run(*given, "--out", "b", code=2).stderr
    told = " ".join(run("infer", "--help").stdout.split())
    assert f"gets a new id. [default: {MAX_LOST}]" in told
    assert f"[default: {MIN_SIZE[0]:g}x{MIN_SIZE[1]:g} as in" in told
    assert f"0 to 1. [default: {DetectorOptions().confidence}; none for --boxes]" in told


def test_wishes_that_have_no_effect_are_refused(run: Run, test_sets: TestSets, tmp_path: Path) -> None:
    shards = test_sets["ehf"].path
    (tmp_path / "photos").mkdir()
    cases = {
        ("tiny", shards, "--stride", 2): "--stride: is about images and videos",
        ("tiny", "photos", "--workers", 0): "--workers: is about shards",
        ("tiny", shards, "--confidence", 0): "--confidence: is about images and videos",
        ("tiny", "photos", "--person-class", 0): "--detector-model, which is not given",
        ("tiny", "photos", "--no-track", "--max-lost", 3): "--no-track makes none",
        ("tiny", "photos", "--min-size", "20"): "expected width x height in pixels, e.g. 20x60, found '20'",
        ("tiny", "photos", "--gpus", 2): "images and videos are predicted on one GPU",
        ("tiny", shards, "photos"): "shards are predicted by themselves",
        ("tiny", "nowhere"): "nowhere: no such file or folder, here or below shards_root",
        ("tiny", shards, "--batch-size", "many"): "expected auto or a number from 1 on, found 'many'",
        ("tiny", shards, "--precision", "fp23"): "found 'fp23'; did you mean 'fp32'",
        ("tiny", shards): "no weights of this name",
    }
    for arguments, said in cases.items():
        assert said in run("infer", *arguments, code=2).stderr
    assert complete.precisions("b") == ["bf16"]
    assert {"auto", "given", "hog"} <= set(complete.detectors(""))
