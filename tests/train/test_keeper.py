"""Validations that a kill cut off are made up for; all processes go on from the same checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from hmtools.train import keeper as module
from hmtools.train.checkpoints import Checkpoints
from hmtools.train.keeper import Keeper
from hmtools.train.log import read_log
from hmtools.train.run_folder import RunFolder
from hmtools.train.validate import validate
from hmtools.train.worker import run_worker
from hmtools.train.world import World
from tests.train.small_runs import prepare, small_recipe

VALIDATES = ("validate.sets=[{'dataset': 'ehf', 'split': 'test'}]", "validate.every=2", "validate.limit=1")


def alone(folder: Path, shards: Path) -> RunFolder:
    recipe = small_recipe(*VALIDATES, steps=2)
    prepare(folder, shards, recipe, processes=1, accumulation=2, validation=("ehf/test",))
    return RunFolder(folder)


def test_a_validation_that_was_cut_off_is_made_up_for_once(
    tmp_path: Path, small_shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = alone(tmp_path / "run", small_shards)
    calls = []

    def killed(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return validate(*arguments)

    monkeypatch.setattr(module, "validate", killed)
    with pytest.raises(KeyboardInterrupt):
        run_worker(run.path)
    assert not run.finished
    ending = run_worker(run.path)
    assert ending.finished
    assert 0 < ending.best < float("inf")
    assert run.best.is_file()
    assert [row["step"] for row in read_log(run.log) if "validation/mean" in row] == [2]
    run.final.unlink()
    run.final.with_suffix(".json").unlink()
    assert run_worker(run.path).best == ending.best
    assert len(calls) == 2


class _SecondOfTwo(World):
    """The second process; the first one found the checkpoint of step 7."""

    def sum(self, values: Sequence[float | torch.Tensor]) -> list[float]:
        assert list(values) == [0]
        return [7.0]


@pytest.mark.parametrize("seen", [(), (5,), (5, 7), (5, 7, 9)])
def test_all_go_on_from_the_checkpoint_that_the_first_one_found(
    tmp_path: Path, seen: tuple[int, ...]
) -> None:
    checkpoints = Checkpoints(tmp_path, keep=9)
    for step in sorted({*seen, 7}):
        checkpoints.save(step, {"weights": {"a": torch.tensor(float(step))}}, {})
    checkpoints.wait()
    keeper = object.__new__(Keeper)
    keeper._world, keeper._checkpoints = _SecondOfTwo(1, 2, 1, torch.device("cpu")), checkpoints
    own = None if not seen else checkpoints.at(max(seen))  # what a network store shows
    found = keeper._agreed(own)
    assert found is not None
    assert found.step == 7
