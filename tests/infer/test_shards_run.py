from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

from hmtools.bench.predicted_on import CLOSING, read_closing
from hmtools.core.errors import CheckpointError, LayoutError, UsageError
from hmtools.core.settings import Settings, load_settings
from hmtools.infer.shards_run import infer_shards, infer_tasks, is_current, worker_choice
from tests.bench.testset_shards import TestSets


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"runs_root": tmp_path / "runs", "body_models": tmp_path / "none"})


@pytest.mark.parametrize(
    ("engine", "gpus", "workers", "there", "wanted"),
    [
        ("local", None, None, 0, (False, 0)),
        ("local", None, None, 2, (True, 2)),
        ("local", 1, 8, 2, (True, 1)),
        ("local", None, 0, 2, (True, 0)),
        ("local", 0, 4, 2, (False, 4)),
        ("ray", None, None, 0, (True, None)),
        ("slurm", 8, None, 0, (True, 8)),
        ("ray", 0, 3, 0, (False, 3)),
        ("slurm", None, 0, 0, (False, 0)),
    ],
)
def test_who_works(
    engine: str,
    gpus: int | None,
    workers: int | None,
    there: int,
    wanted: tuple[bool, int | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    assert worker_choice(engine, gpus, workers) == wanted


def test_gpus_that_are_not_there_are_refused() -> None:
    with pytest.raises(UsageError, match="--gpus 9: torch sees 0 on this machine"):
        worker_choice("local", 9, None)
    with pytest.raises(UsageError, match=r"--gpus -1: expected 0"):
        worker_choice("ray", -1, None)


def test_every_split_below_a_folder_is_predicted_once(
    test_sets: TestSets, tiny: Path, settings: Settings, tmp_path: Path
) -> None:
    root = tmp_path / "shards"
    shutil.copytree(test_sets["pw3d"].path, root / "pw3d/test")
    shutil.copytree(test_sets["ehf"].path, root / "ehf/test")
    reports = infer_shards(tiny, root, gpus=0, settings=settings, progress=False)
    assert [(report.split, report.outcome.count("records")) for report in reports] == [
        ("ehf/test", 4),
        ("pw3d/test", 5),
    ]
    out = settings.runs_root / "infer" / "tiny"
    assert [report.task.out for report in reports] == [out / "ehf/test", out / "pw3d/test"]
    assert "hmtools" in str((reports[0].closing or {})["command"])
    again = infer_shards(tiny, root / "pw3d", gpus=0, settings=settings, progress=False)
    assert [report.outcome.skipped for report in again] == [2]
    task = again[0].task
    closing = read_closing(task.out)
    assert is_current(task, closing)
    assert is_current(dataclasses.replace(task, batch=1, precision="bf16"), closing)
    assert not is_current(dataclasses.replace(task, checkpoint_sha256="0"), closing)
    manifest = root / "pw3d/test/manifest.json"
    changed = json.loads(manifest.read_text())
    changed["files"][0]["sha256"] = "0" * 64
    manifest.write_text(json.dumps(changed))
    assert not is_current(task, closing)
    (task.out / CLOSING).write_text("{}")
    assert read_closing(task.out) is None
    assert not is_current(task, None)


def test_wrong_wishes_end_before_any_work(
    test_sets: TestSets, tiny: Path, settings: Settings, tmp_path: Path
) -> None:
    shards = test_sets["pw3d"].path
    with pytest.raises(LayoutError, match="no such folder; expected a converted split"):
        infer_shards(tiny, tmp_path / "nowhere", settings=settings)
    with pytest.raises(CheckpointError, match="no weights of this name"):
        infer_tasks("nonsense", [shards], settings=settings)
    with pytest.raises(UsageError, match="--batch-size 0"):
        infer_tasks(tiny, [shards], batch=0, settings=settings)
    assert not settings.runs_root.exists()
