"""``hmtools train``: the plan, what is missing, what is handed over, and how a training ends."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hmtools.cli.train import train
from hmtools.core.errors import CheckpointError, HmtoolsError, LayoutError, RecipeError, UsageError
from hmtools.train.ending import Ending
from hmtools.train.options import TrainOptions
from hmtools.train.plan import TrainPlan
from hmtools.train.recipe import Recipe
from tests.train.manifests import pretend_converted
from tests.train.small_runs import small_shards as small_shards

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "run.max_steps=2", "run.log_every=1", "batch.global_batch=2", "batch.micro_batch=2", "validate.limit=1"
]  # fmt: skip


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Recipe, TrainPlan, TrainOptions]]:
    """What is handed over to the start of a training, which does nothing."""
    calls: list[Any] = []
    module = types.ModuleType("hmtools.train.start")
    module.start = lambda *arguments: calls.append(arguments) or Ending(9, 9, math.nan)  # type: ignore[attr-defined, func-returns-value]
    monkeypatch.setitem(sys.modules, "hmtools.train.start", module)
    return calls


def refused(kind: type[HmtoolsError], call: Callable[[], None]) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_plan_of_the_default_needs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    train(gpus=16, plan=True)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "smplerx/h32: SMPLer-X H, 32 sets"
    assert "mscoco/train2017 not converted 149,813 (official) 1 149,813 140,625" in lines
    assert "ubody/intra_train not converted 71,299 (official) at every 10 10 71,299 140,625" in lines
    assert "bedlam/training no converter in this version 951,100 (SMPLer-X) 5 190,220 140,625" in lines
    assert "global batch 256 = 16 gpus x 16 x accumulation 1" in lines
    assert "17,578 steps an epoch, 10 epochs, 175,780 steps" in lines
    kept = "3 are kept, and the last of each epoch"
    assert f"checkpoint of 7.9 GB for 661,827,096 weights, every 1,000 steps; {kept}" in lines
    assert "get them at https://github.com/ViTAE-Transformer/ViTPose (Apache-2.0)" in lines
    assert lines[-1] == "Nothing was started."
    commands = lines[lines.index("convert what is missing:") + 1 : -1]
    assert commands[0] == "hmtools convert mscoco --split train2017"
    assert all(line.startswith("hmtools convert ") for line in commands)
    assert not [line for line in commands if "bedlam" in line]
    assert not list(Path().iterdir())


def test_the_setting_names_the_recipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HMTOOLS_TRAIN_RECIPE", "smplerx/tiny/demo")
    train(plan=True, as_json=True)
    assert json.loads(capsys.readouterr().out)["recipe"] == "smplerx/tiny/demo"
    train("smplerx/published/b5", plan=True)
    shown = capsys.readouterr().out
    assert "(assumed: published is the batch of one gpu, not their number)" in shown
    assert "reproduces faults of the published code: face_eyes, " in shown


def test_a_plan_with_shards(capsys: pytest.CaptureFixture[str]) -> None:
    pretend_converted(Path("shards"), "mscoco/train2017", 2000)
    pretend_converted(Path("other"), "agora/train", 3000)
    train("smplerx/h5", plan=True, allow_missing=True)
    shown = capsys.readouterr().out
    assert "2,000" in shown
    assert "the shares of 4 sets go to those that are there" in shown
    train("smplerx/h5", plan=True, shards=Path("other"))
    assert "  hmtools convert mscoco --split train2017 --out other\n" in capsys.readouterr().out
    train("smplerx/h5", plan=True, shards=Path("other"), init="random", change=["run.epochs=2"], as_json=True)
    facts = json.loads(capsys.readouterr().out)
    rows = {row["set"]: row for row in facts["sets"]}
    assert (rows["agora/train"]["state"], rows["agora/train"]["people"]) == ("converted", 3000)
    assert rows["mscoco/train2017"]["convert"] == "hmtools convert mscoco --split train2017"
    assert (facts["steps"], facts["weights"], facts["weights_problem"]) == (2 * 2929, None, None)


def test_a_start_without_shards_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, started: list[tuple[Recipe, TrainPlan, TrainOptions]]
) -> None:
    pretend_converted(Path("shards"), "agora/train", 3000)
    monkeypatch.setattr(sys, "argv", ["/bin/hmtools", "train", "smplerx/h5", "--gpus", "16", "--break-lock"])
    said = refused(LayoutError, lambda: train("smplerx/h5", gpus=16))
    assert "  hmtools convert mscoco --split train2017\n" in said
    assert "  hmtools train smplerx/h5 --gpus 16 --allow-missing\n" in said
    said = refused(CheckpointError, lambda: train("smplerx/h5", gpus=16, allow_missing=True))
    assert said.endswith("Or start from random weights:\n  hmtools train smplerx/h5 --gpus 16 --init random")
    said = refused(LayoutError, lambda: train("smplerx/h5", shards=Path("none")))
    assert "  hmtools convert mscoco --split train2017 --out none\n" in said
    assert not started


def test_what_is_handed_over(
    started: list[tuple[Recipe, TrainPlan, TrainOptions]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "hmtools")
    for name in ("mscoco/train2017", "ehf/test"):
        pretend_converted(Path("shards"), name, 100)
    train("smplerx/tiny/demo", procs=2, change=["optim.lr=1e-2"], workers=1)
    ((recipe, plan, options),) = started
    assert (recipe.optim.lr, plan.recipe) == (1e-2, recipe)
    assert (plan.batch.gpus, plan.batch.accumulation, options.device) == (2, 1, "cpu")
    assert options.out == Path.cwd() / "runs/train/smplerx-tiny-demo"
    assert (options.shards, options.workers) == (Path.cwd() / "shards", 1)
    assert caplog.messages == ["training on the CPU, in 2 processes"]
    train("smplerx/tiny/demo", gpus=1, out=Path("here"))
    _, plan, options = started[1]
    assert (plan.batch.accumulation, options.out, options.device) == (2, Path("here"), "cuda")
    train("smplerx/tiny/demo", out=Path("here"))
    assert (started[2][1].batch.gpus, started[2][2].device) == (2, "cuda")
    assert len(caplog.messages) == 1


def test_what_cannot_be_meant() -> None:
    assert "did you mean 'smplerx/h32'" in refused(RecipeError, lambda: train("smplerx/h33", plan=True))
    said = refused(UsageError, lambda: train(gpus=12, plan=True))
    assert "nearest: --gpus 8 or --gpus 16" in said
    assert "nearest: --procs 2" in refused(UsageError, lambda: train("smplerx/tiny/demo", procs=3))
    assert "give one" in refused(UsageError, lambda: train(gpus=1, procs=1))
    said = refused(RecipeError, lambda: train(change=["optim.lrr=1"], plan=True))
    assert said == "smplerx/h32: unknown key 'optim.lrr'; did you mean 'lr'?"


def test_a_training_from_its_start_to_its_end(
    small_shards: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["/bin/hmtools", "train", "smplerx/tiny/demo"])
    train("smplerx/tiny/demo", procs=1, change=SMALL, shards=small_shards)
    said, folder = capsys.readouterr().out, Path.cwd() / "runs/train/smplerx-tiny-demo"
    assert said.startswith("smplerx/tiny/demo: finished after 2 steps, best validation ")
    assert f"final weights: {folder}/final.safetensors\nbest weights: {folder}/best.safetensors\n" in said
    train("smplerx/tiny/demo", procs=1, change=SMALL, shards=small_shards)  # at once
    assert capsys.readouterr().out == said
    other = [*SMALL, "optim.lr=0.5"]
    asked: dict[str, Any] = {"procs": 1, "shards": small_shards}
    told = refused(UsageError, lambda: train("smplerx/tiny/demo", change=other, **asked))
    assert "what is asked for differs in optim.lr; " in told
    weights = str(folder / "final.safetensors")
    larger = [*SMALL, "model.size=s", f"model.init={weights!r}"]
    told = refused(CheckpointError, lambda: train("smplerx/tiny/demo", change=larger, out=Path("s"), **asked))
    assert len(told.splitlines()) == 1
    assert "final.safetensors" in told
    for gpus in (None, 1, 2):
        wanted: dict[str, Any] = {"gpus": gpus, "shards": small_shards, "out": Path("g")}
        told = refused(UsageError, partial(train, "smplerx/tiny/demo", **wanted))
        assert told.startswith("this machine has no usable GPU (`hmtools doctor` says why)")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2])
def test_a_training_that_is_stopped_says_how_to_continue(
    number: signal.Signals, small_shards: Path, tmp_path: Path
) -> None:
    changes = [
        part for change in (*SMALL, "run.max_steps=40", "batch.global_batch=4") for part in ("--set", change)
    ]
    command = [sys.executable, "-m", "hmtools", "train", "smplerx/tiny/demo", "--procs", "2", *changes,
               "--shards", str(small_shards), "--out", str(tmp_path / "run")]  # fmt: skip
    environment = dict(os.environ, PYTHONPATH=str(ROOT), PYTHONUNBUFFERED="1")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        log, end = tmp_path / "run" / "log.jsonl", time.monotonic() + 200
        while not log.exists() or not log.read_text():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(number)
        said, _ = process.communicate(timeout=200)
    assert process.returncode == 130
    assert "smplerx/tiny/demo: stopped after step " in said
    assert "\ncontinue: " in said
    assert "--procs 2" in said
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "finished after 40 steps" in done.stdout
    assert "goes on after step" in done.stderr
