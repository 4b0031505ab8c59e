"""Checkpoints: whole or absent, kept as promised, damage noticed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hmtools.core.errors import CheckpointError
from hmtools.train import checkpoints as module
from hmtools.train.checkpoints import Checkpoints, read_state


def tensors(value: float) -> dict[str, dict[str, Tensor]]:
    return {
        "weights": {"a": torch.full((3, 2), value), "n": torch.tensor(7)},
        "optimiser": {"a/exp_avg": torch.full((3, 2), -value)},
        "average": {},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints", keep=2)


def save(folder: Checkpoints, *steps: int, spare: frozenset[int] = frozenset()) -> None:
    for step in steps:
        folder.save(step, tensors(float(step)), {"best": 1.5}, spare=spare)
    folder.wait()


def test_what_was_saved_comes_back(folder: Checkpoints) -> None:
    assert folder.latest() is None
    save(folder, 3)
    found = folder.latest()
    assert found is not None
    assert (found.step, found.facts["best"]) == (3, 1.5)
    assert found.tensors["weights"]["a"].tolist() == [[3.0, 3.0]] * 3
    assert found.tensors["weights"]["n"].dtype == torch.int64
    assert found.tensors["optimiser"]["a/exp_avg"][0, 0] == -3
    assert "average" not in found.tensors  # a recipe without one stores no empty file


def test_tensors_are_copied_before_training_goes_on(folder: Checkpoints) -> None:
    state = tensors(1.0)
    folder.save(1, state, {})
    state["weights"]["a"].fill_(9.0)
    folder.wait()
    found = folder.latest()
    assert found is not None
    assert found.tensors["weights"]["a"][0, 0] == 1.0


def test_the_newest_stay_and_those_that_are_spared(folder: Checkpoints) -> None:
    save(folder, 1, 2, 3, 4, 5, spare=frozenset({2}))
    assert [int(path.name.removeprefix("step-")) for path in folder.paths()] == [5, 4, 2]


def test_a_damaged_one_is_passed_over(folder: Checkpoints, caplog: pytest.LogCaptureFixture) -> None:
    save(folder, 1, 2)
    weights = folder.paths()[0] / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    found = folder.latest()
    assert found is not None
    assert found.step == 1
    assert "sha256" in caplog.text


def test_without_a_good_one_nothing_is_trained_anew(folder: Checkpoints) -> None:
    save(folder, 1)
    (folder.paths()[0] / "optimiser.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no checkpoint of this run can be read"):
        folder.latest()


def test_one_that_was_passed_over_takes_no_place(folder: Checkpoints) -> None:
    folder.keep = 1
    save(folder, 10)
    (folder.paths()[0] / "weights.safetensors").unlink()
    save(folder, 6, 7)  # as after a resume from an older one
    assert [path.name for path in folder.paths()] == ["step-000000010", "step-000000007"]
    assert folder.at(7).step == 7


@pytest.mark.parametrize("change", [{"format": 9}, {"sha256": {"../weights.safetensors": "0"}}])
def test_foreign_content_is_refused(folder: Checkpoints, change: dict[str, Any]) -> None:
    save(folder, 1)
    path = folder.paths()[0]
    facts = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps(facts | change))
    with pytest.raises(CheckpointError):
        read_state(path)


def test_half_a_checkpoint_is_none(
    folder: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(folder, 1)

    def full_disk(path: Path, value: Any) -> str:
        raise OSError(28, os.strerror(28), str(path))

    monkeypatch.setattr(module, "write_json", full_disk)
    folder.save(2, tensors(2.0), {})
    with pytest.raises(OSError, match="No space"):
        folder.wait()
    found = folder.latest()
    assert found is not None
    assert found.step == 1
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000000001"]


def test_a_rerun_of_the_same_step_replaces_it_and_sweeps(folder: Checkpoints) -> None:
    save(folder, 1)
    (folder.folder / ".step-000000002.123.tmp").mkdir()
    save(folder, 1)
    assert [path.name for path in folder.folder.iterdir()] == ["step-000000001"]
