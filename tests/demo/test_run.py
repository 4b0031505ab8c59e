"""The demo: a world, shards, a check and a page; it never empties a folder that is not its own."""

from __future__ import annotations

import logging
from pathlib import Path

import av
import numpy as np
import pytest

from hmtools.bench.results import read_runs
from hmtools.convert.validate import Problem, Validation
from hmtools.core.errors import HmtoolsError, RecipeError, UsageError
from hmtools.core.image import decode_rgb
from hmtools.core.recipes import load_recipe
from hmtools.demo import run as demo
from hmtools.demo.run import run_demo
from tests.datasets.coco_tree import contents, manifest
from tests.demo.small_demo import RECIPE, small_chain


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "load_recipe", lambda name: RECIPE)
    monkeypatch.setenv("HMTOOLS_WORKERS", "0")


def test_what_it_makes(tmp_path: Path) -> None:
    said: list[str] = []
    done = run_demo("demo/world", tmp_path / "out", said.append)
    made = done.made
    assert [line[:4] for line in said] == ["1/5 ", "2/5 ", "3/5 ", "4/5 ", "5/5 "]
    downloads = ["stand-in body", *["synthetic download"] * 2]
    what = [*downloads, *["shards"] * 3, "validation", *["contact sheet"] * 3]
    assert [item.what for item in made] == what
    assert all(item.where.exists() and item.where.is_absolute() for item in made)
    assert all(item.seconds >= 0 and item.numbers for item in made)
    folders = [item.where for item in made if item.what == "shards"]
    assert [manifest(folder).images for folder in folders] == ["crop", "full", "full"]
    assert manifest(folders[0]).command == f"hmtools demo --out {tmp_path}/out"
    stages = [(stage.name, stage.budget, stage.over) for stage in done.stages]
    assert stages == [("stand-in body", None, False), ("downloads", 0.0, True), ("shards", None, False)]
    taken = sum(item.seconds for item in made if item.what == "synthetic download")
    assert done.stages[1].seconds == pytest.approx(taken)
    assert sum(stage.seconds for stage in done.stages) == pytest.approx(sum(item.seconds for item in made))


def test_planted_defects_are_not_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "hmtools"):
        run_demo("demo/world", tmp_path / "out", lambda line: None)
        logging.getLogger("hmtools.convert.unit").info("told again")
    assert [record.message for record in caplog.records if "convert" in record.name] == ["told again"]
    told = (tmp_path / "out/shards/mscoco").glob("*/.job/logs/*.log")
    assert any("rejected" in file.read_text() for file in told)


def test_again_makes_the_same(tmp_path: Path) -> None:
    run_demo("demo/world", tmp_path / "out", lambda line: None)
    folder = tmp_path / "out/shards/mscoco/val2017"
    before = contents(folder)
    (tmp_path / "out/raw/stray.txt").write_text("left by an older version")
    run_demo("demo/world", tmp_path / "out", lambda line: None)
    assert contents(folder) == before
    assert not (tmp_path / "out/raw/stray.txt").exists()


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_is_not_its_own_stays(tmp_path: Path, what: str) -> None:
    path = tmp_path / "mine"
    if what == "folder":
        (path / "raw").mkdir(parents=True)
        (path / "raw/photo.jpg").write_text("precious")
    else:
        path.write_text("precious")
    with pytest.raises(UsageError, match="give --out a new folder"):
        run_demo("demo/world", path, lambda line: None)
    assert (path / "raw/photo.jpg" if what == "folder" else path).read_text() == "precious"


def test_an_empty_folder_is_fine(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert run_demo("demo/world", tmp_path / "out", lambda line: None).made


def test_shards_that_do_not_validate_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem("sha256", "a.tar", "content differs")
    monkeypatch.setattr(
        demo, "validate_split", lambda folder, workers: Validation(folder, problems=[problem])
    )
    with pytest.raises(HmtoolsError, match=r"do not validate: .*sha256"):
        run_demo("demo/world", tmp_path / "out", lambda line: None)


@pytest.mark.slow
def test_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = load_recipe("demo/world")
    monkeypatch.setattr(demo, "load_recipe", lambda name: small_chain(shipped))
    done = run_demo("demo/world", tmp_path / "out", lambda line: None)
    assert {stage.name: stage.budget for stage in done.stages} == shipped["budgets"]
    assert sum(shipped["budgets"].values()) < 300
    assert all(item.where.exists() for item in done.made)

    (run,) = read_runs([tmp_path / "out/runs/bench"])
    assert run.sources == (tmp_path / "out/runs/bench/report.parquet",)
    assert sorted({row["testset"] for row in run.rows}) == ["3dpw", "ehf", "mpe"]
    assert len(run.samples) == 2
    apart = read_runs([tmp_path / f"out/runs/bench/{name}/report.parquet" for name in ("ehf", "3dpw")])
    assert [row for each in apart for row in each.rows] == [r for r in run.rows if r["testset"] != "mpe"]

    assert done.made[-1].what == "video"
    with av.open(str(done.made[-1].where)) as video:
        drawn = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    folder = tmp_path / "out/raw/pw3d" / shipped["video"]["folder"]
    plain = [decode_rgb(file.read_bytes(), upright=True) for file in sorted(folder.iterdir())]
    assert len(drawn) == len(plain) == 3
    for one, other in zip(drawn, plain, strict=True):
        assert one.shape == other.shape
        assert 0.02 < (np.abs(one - other.astype(float)) > 40).any(axis=2).mean() < 0.6  # bodies over it


def test_unknown_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(RecipeError):
        run_demo("demo/nothing", tmp_path / "out", lambda line: None)
    assert not (tmp_path / "out").exists()
