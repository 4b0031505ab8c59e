"""Processes on one machine: how they share it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from hmtools.engine.local import usable_cores
from hmtools.engine.worker import ONE_THREAD
from hmtools.train import launch_local
from hmtools.train.launch_local import run_local


def write_threads(folder: str, level: int) -> tuple[int, int, float]:
    """A process of a training that only says how many threads torch takes in it."""
    Path(folder, os.environ["RANK"]).write_text(str(torch.get_num_threads()))
    return 1, 1, 0.0


def test_processes_share_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ONE_THREAD:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(launch_local, "_entry", write_threads)
    assert run_local(tmp_path, 2).finished
    assert [int((tmp_path / rank).read_text()) for rank in "01"] == 2 * [max(1, usable_cores() // 2)]
    assert not set(ONE_THREAD) & set(os.environ)
