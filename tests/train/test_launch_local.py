"""Processes on one machine: how they share it, and how they hear of a stop."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import torch

from hmtools.engine.drive import StopSignals
from hmtools.engine.local import usable_cores
from hmtools.engine.worker import ONE_THREAD
from hmtools.train import launch_local
from hmtools.train.launch_local import run_local


def stopped_by_its_launcher(folder: str, level: int) -> tuple[int, int, float]:
    """A process of a training that says how many threads torch takes in it and waits for a stop."""
    Path(folder, os.environ["RANK"]).write_text(str(torch.get_num_threads()))
    with StopSignals() as stop:
        if os.environ["RANK"] == "1":
            os.kill(os.getppid(), signal.SIGTERM)
        while not stop.received:
            time.sleep(0.01)
    return 3, 9, 0.0


def test_processes_share_the_cores_and_stop_with_their_launcher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)]
    for name in ONE_THREAD:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(launch_local, "_entry", stopped_by_its_launcher)
    assert run_local(tmp_path, 2).step == 3
    assert [int((tmp_path / rank).read_text()) for rank in "01"] == 2 * [max(1, usable_cores() // 2)]
    assert not set(ONE_THREAD) & set(os.environ)
    assert handlers == [
        signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
    ]
