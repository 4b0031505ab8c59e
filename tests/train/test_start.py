"""What is found out before a training holds GPUs, and what its processes are told."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hmtools.core.errors import UsageError
from hmtools.core.settings import load_settings
from hmtools.train import start as module
from hmtools.train.options import TrainOptions
from hmtools.train.plan import TrainPlan, make_plan
from hmtools.train.recipe import Recipe
from hmtools.train.recipe_files import load_training
from hmtools.train.start import file_system, run_options, start


def asked(shards: Path, out: Path, *changes: str) -> tuple[Recipe, TrainPlan, TrainOptions]:
    recipe = load_training("smplerx/tiny/demo", changes)
    options = TrainOptions(out=out, shards=shards, settings=load_settings(), device="cpu")
    return recipe, make_plan(recipe, shards=shards, gpus=1), options


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("validate.metric=pve_al", "ehf/test has no pve_al"),
        ("batch.global_batch=400", "an epoch has 28 records, fewer than the global batch of 400"),
        ("data.sets.mscoco.query=width < 0", "none of its 28 records is left"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_written(
    change: str, said: str, small_shards: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        start(*asked(small_shards, tmp_path / "run", change))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("gpus", "there", "said"),
    [
        (1, 0, "this machine has no usable GPU .*: --procs 1; on a cluster: --engine slurm or ray"),
        (2, 0, "this machine has no usable GPU"),
        (16, 3, "planned for 16 GPUs, this machine has 3; run it with --gpus 2 "),
    ],
)
def test_gpus_that_are_not_there_are_never_replaced_by_the_cpu(
    gpus: int, there: int, said: str, small_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    batch = f"batch.global_batch={16 * gpus}", "batch.micro_batch=16"
    recipe, _, options = asked(small_shards, tmp_path / "run", *batch)
    found = make_plan(recipe, shards=small_shards, gpus=gpus)
    with pytest.raises(UsageError, match=said):
        start(recipe, found, replace(options, device="cuda"))
    assert not (tmp_path / "run").exists()


def test_the_cpu_is_told_where_nobody_asked_for_it(
    small_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    recipe, found, options = asked(small_shards, tmp_path / "run", "batch.global_batch=400")
    with pytest.raises(UsageError, match="fewer than the global batch"):  # found out later
        start(recipe, found, replace(options, device="auto"))
    assert "no usable GPU here: training on the CPU" in caplog.text


def test_processes_elsewhere_find_everything(
    small_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.safetensors").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "file_system", lambda _: "nfs4")
    _, plan, options = asked(small_shards, Path("run"), "model.init=mine.safetensors")
    told = run_options(plan, options)
    assert told.weights == str(tmp_path / "mine.safetensors")
    assert told.block
    _, plan, options = asked(small_shards, Path("run"), "data.strategy=balance-smplerx")
    assert not run_options(plan, options).block  # it would be refused
    assert told.staging is not None
    assert told.staging.endswith(f"hmtools-index-{os.getuid()}")  # a node is shared


def test_a_file_system_is_that_of_what_a_link_leads_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (tmp_path / "data").symlink_to(store)
    mounts: Any = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/ {store.resolve()} nfs4 rw 0 0\n")
    monkeypatch.setattr(module, "_MOUNTS", mounts)
    assert file_system(tmp_path / "data" / "shards") == "nfs4"
    assert file_system(tmp_path / "other") == "ext4"
