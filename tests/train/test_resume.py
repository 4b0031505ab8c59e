"""A training never loses work: killed, stopped or failed processes, and what a rerun goes on with."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from hmtools.core.errors import HmtoolsError
from hmtools.train.checkpoints import Checkpoints
from hmtools.train.loader import positions_of
from hmtools.train.log import read_log
from hmtools.train.run_folder import RunFolder
from tests.train.small_runs import prepare, run_local, taken

STEPS = 20


def test_half_the_processes_go_on_in_the_same_order() -> None:
    """16 processes take 3 steps of 64, then 8 take the rest: every position once, in order."""
    common = {"batch": 4, "global_batch": 64}
    many = [positions_of(640, cursor=0, rank=rank, world=16, **common)[:3] for rank in range(16)]
    few = [positions_of(640, cursor=3 * 64, rank=rank, world=8, **common) for rank in range(8)]
    order = [
        int(p) for ranks in (many, few) for turn in zip(*ranks, strict=True) for own in turn for p in own
    ]
    assert order == list(range(640))


def test_a_killed_process_costs_the_steps_since_the_last_checkpoint(
    tmp_path: Path, small_shards: Path
) -> None:
    folder = prepare(tmp_path / "run", small_shards)
    with pytest.raises(HmtoolsError, match="ended with -9"):
        run_local(folder, do="kill", rank=1, step=13)
    first = taken(folder)
    begun = Checkpoints(RunFolder(folder).checkpoints).paths()[0]
    assert begun.name in ("step-000000007", "step-000000010")  # it may have been killed while it wrote
    assert run_local(folder).finished
    again = taken(folder)
    assert sorted(again) == [(step, rank) for step in range(1, STEPS + 1) for rank in (0, 1)]
    assert {at: again[at] for at in first} == first
    assert [row["step"] for row in read_log(RunFolder(folder).log)] == list(range(1, STEPS + 1))


@pytest.mark.slow
def test_runs_killed_anywhere_take_the_steps_of_one_that_was_not(tmp_path: Path, small_shards: Path) -> None:
    whole = prepare(tmp_path / "whole" / "run", small_shards)
    assert run_local(whole).finished
    draw = random.Random(9)
    for turn in range(3):
        folder = prepare(tmp_path / f"killed-{turn}" / "run", small_shards)
        with pytest.raises(HmtoolsError, match="ended with -9"):
            run_local(folder, do="kill", rank=draw.randrange(2), step=draw.randrange(6, STEPS))
        assert run_local(folder).finished
        assert taken(folder) == taken(whole)
        assert RunFolder(folder).final.read_bytes() == RunFolder(whole).final.read_bytes()
        losses = [[row["loss"] for row in read_log(RunFolder(path).log)] for path in (folder, whole)]
        assert losses[0] == losses[1]


@pytest.mark.slow
@pytest.mark.parametrize("signal", ["term", "usr1", "usr2"])
def test_a_process_that_is_told_to_stop_stops_all_after_the_same_step(
    signal: str, tmp_path: Path, small_shards: Path
) -> None:
    folder = prepare(tmp_path / "run", small_shards)
    ending = run_local(folder, do=signal, rank=1, step=8)
    assert (ending.step, ending.finished) == (9, False)
    assert Checkpoints(RunFolder(folder).checkpoints).paths()[0].name == "step-000000009"
    assert max(taken(folder)) == (9, 1)
    begun = taken(folder)
    assert run_local(folder).finished
    assert taken(folder).items() > begun.items()


@pytest.mark.slow
def test_a_process_that_fails_ends_all_with_its_traceback(tmp_path: Path, small_shards: Path) -> None:
    folder = prepare(tmp_path / "run", small_shards)
    with pytest.raises(HmtoolsError, match=r"process 1 .*goes on from the newest checkpoint") as caught:
        run_local(folder, do="raise", rank=1, step=2)
    assert "ValueError: a bug of this rank" in str(caught.value)
    assert "small_runs.py" in str(caught.value)


def test_a_loss_that_is_not_finite_stops_and_leaves_the_keys(tmp_path: Path, small_shards: Path) -> None:
    folder = prepare(tmp_path / "run", small_shards)
    with pytest.raises(HmtoolsError, match=r"step 2: not finite: .*smplx_pose") as caught:
        run_local(folder, do="spoil", rank=1, step=2)
    assert caught.value.exit_code == 1
    for rank in (0, 1):  # nobody can tell from the sum whose records they are
        left = json.loads((folder / f"not-finite-000000002-rank{rank:04d}.json").read_text())
        assert len(left["keys"]) == 2
    assert max(taken(folder)) == (1, 1)
