"""Processes that meet, and what keeps them from it."""

from __future__ import annotations

import contextlib
import socket

import pytest
import torch

from hmtools.core.errors import UsageError
from hmtools.train import world as world_module
from hmtools.train.launch_local import environment
from hmtools.train.world import World, joined


def test_without_a_launcher_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment(0, 1, 0, "", 1):
        monkeypatch.delenv(name, raising=False)
    with joined("cpu") as world:
        assert (world.rank, world.size, world.first) == (0, 1, True)
        assert world.sum([1, torch.tensor(0.5)]) == [1.0, 0.5]


def test_half_a_launcher_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UsageError, match="RANK set but not WORLD_SIZE"), joined("cpu"):
        pass


def test_a_port_that_is_taken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        for name, value in environment(0, 2, 0, "127.0.0.1", port).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(UsageError, match=f"127.0.0.1 port {port}: that port is taken"), joined("cpu"):
            pass


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name, value in environment(1, 2, 1, "127.0.0.1", 1).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="process 1 of this node needs a GPU"), joined("cuda"):
        pass


@pytest.mark.parametrize("fails", [False, True])
def test_after_an_error_nobody_waits_for_the_others(fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[str] = []
    monkeypatch.setattr(world_module, "_meet", lambda _: None)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: left.append("left"))
    for name, value in environment(0, 2, 0, "127.0.0.1", 1).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="a bug") if fails else contextlib.nullcontext(), joined("cpu"):
        if fails:
            raise ValueError("a bug")
    assert left == ([] if fails else ["left"])


def test_a_world_says_who_writes() -> None:
    assert not World(1, 2, 1, torch.device("cpu")).first
