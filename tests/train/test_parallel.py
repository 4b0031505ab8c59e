"""Training in pieces (FSDP2) is training with a whole network in each process (DDP), to the last bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.multiprocessing.spawn import start_processes

from hmtools.core.errors import HmtoolsError
from hmtools.models.weight_cards import card_path
from hmtools.train.checkpoints import Checkpoints, read_state
from hmtools.train.launch_local import environment, free_port
from hmtools.train.log import read_log
from hmtools.train.recipe import Recipe
from hmtools.train.run_folder import RunFolder
from tests.train.small_runs import prepare, run_local, small_recipe, taken
from tests.train.toy_worlds import HALF, STEPS, main

TOGETHER = pytest.mark.xdist_group("toy-worlds")  # they share two processes
WAYS = ("ddp", "fsdp", "ddp-fsdp", "fsdp-ddp")


def close(value: Any) -> Any:
    return pytest.approx(value, rel=1e-6)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes did, in every way: two passes a step, clipped, with a moving average."""
    base = tmp_path_factory.mktemp("toys")
    port = free_port()
    worlds = [environment(rank, 2, rank, "127.0.0.1", port) for rank in (0, 1)]
    start_processes(main, (worlds, str(base)), nprocs=2)  # type: ignore[no-untyped-call]
    return base


@pytest.fixture(scope="module")
def found(base: Path) -> list[dict[str, Any]]:
    return [json.loads((base / f"{rank}.json").read_text()) for rank in (0, 1)]


@TOGETHER
def test_the_same_steps_also_across_a_resume(found: list[dict[str, Any]]) -> None:
    for own in found:
        whole = own["ddp"]["steps"]
        assert any(step["norm"] > 0.5 for step in whole)
        for way in WAYS:
            steps = whole if way in ("ddp", "fsdp") else whole[HALF:]
            assert [step["keys"] for step in own[way]["steps"]] == [step["keys"] for step in steps]
            for term in ("loss", "norm"):
                assert [step[term] for step in own[way]["steps"]] == close([step[term] for step in steps])


@TOGETHER
def test_a_process_holds_its_pieces(found: list[dict[str, Any]]) -> None:
    numbers = found[0]["ddp"]["held"]
    assert numbers == found[1]["ddp"]["held"]
    assert numbers["moments"] == 2 * numbers["weights"]
    assert [found[0][way]["together"] for way in WAYS] == [0, 4, 4, 0]  # three blocks and the rest
    for way in ("fsdp", "ddp-fsdp"):
        pieces = [own[way]["held"] for own in found]
        assert {name: sum(held[name] for held in pieces) for name in numbers} == numbers
        assert all(held["weights"] < 0.7 * numbers["weights"] for held in pieces)


@TOGETHER
def test_checkpoints_are_whole(base: Path) -> None:
    whole, pieces = (read_state(base / way / f"step-{STEPS:09d}") for way in ("ddp", "fsdp"))
    assert pieces.tensors.keys() == whole.tensors.keys() == {"weights", "optimiser", "average"}
    for stem, tensors in whole.tensors.items():
        assert pieces.tensors[stem].keys() == tensors.keys()
        for name, tensor in tensors.items():
            torch.testing.assert_close(pieces.tensors[stem][name], tensor, rtol=1e-4, atol=1e-6)


@TOGETHER
def test_one_process_alone_has_the_whole_average(found: list[dict[str, Any]]) -> None:
    assert [found[0][way]["predicted"] for way in WAYS] == [[]] * 4
    for way in WAYS:
        assert found[1][way]["predicted"] == pytest.approx(found[1]["ddp"]["predicted"], rel=1e-4)


def recipe(way: str, *changes: str, steps: int) -> Recipe:
    return small_recipe(f"run.parallel={way}", "optim.ema=0.5", *changes, steps=steps)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_smplerx_trains_in_pieces(precision: str, tmp_path: Path, small_shards: Path) -> None:
    changes = (
        "batch.global_batch=8", "model.activation_checkpointing=true", f"run.precision={precision}",
        'validate.sets=[{"dataset": "ehf", "split": "test"}]', "validate.every=5",
    )  # fmt: skip
    runs = [
        prepare(tmp_path / way / "run", small_shards, recipe(way, *changes, steps=10), accumulation=2,
                validation=("ehf/test",))
        for way in ("ddp", "fsdp")
    ]  # fmt: skip
    endings = [run_local(run) for run in runs]
    assert all(ending.finished for ending in endings)
    assert endings[1].best == pytest.approx(endings[0].best, rel=1e-4)
    whole, pieces = (taken(run) for run in runs)
    assert len(whole) == 20
    assert whole.keys() == pieces.keys()
    for at, (loss, keys) in whole.items():
        assert pieces[at][1] == keys
        assert float.fromhex(pieces[at][0]) == close(float.fromhex(loss)), at
    for name in ("final", "best"):
        cards = [json.loads(card_path(getattr(RunFolder(run), name)).read_text()) for run in runs]
        assert [card["step"] for card in cards] == [cards[0]["step"]] * 2
        before, after = (load_file(getattr(RunFolder(run), name)) for run in runs)
        assert before.keys() == after.keys()
        assert all(after[key].shape == tensor.shape for key, tensor in before.items())


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_bit(tmp_path: Path, small_shards: Path) -> None:
    runs = [
        prepare(tmp_path / name / "run", small_shards, recipe("fsdp", "optim.clip_norm=1", steps=12))
        for name in ("whole", "killed")
    ]
    assert run_local(runs[0]).finished
    with pytest.raises(HmtoolsError, match="ended with -9"):
        run_local(runs[1], do="kill", rank=1, step=8)
    assert run_local(runs[1]).finished
    assert taken(runs[1]) == taken(runs[0])
    assert RunFolder(runs[1]).final.read_bytes() == RunFolder(runs[0]).final.read_bytes()


@pytest.mark.slow
def test_a_run_may_change_its_way_and_its_processes(tmp_path: Path, small_shards: Path) -> None:
    whole, changing = (tmp_path / name / "run" for name in ("whole", "changing"))
    assert run_local(prepare(whole, small_shards, recipe("ddp", steps=12))).finished
    for way, step in (("ddp", 3), ("fsdp", 6)):
        prepare(changing, small_shards, recipe(way, steps=12))
        assert run_local(changing, do="term", rank=1, step=step).step == step + 1
    assert Checkpoints(RunFolder(changing).checkpoints).paths()[0].name == "step-000000007"
    prepare(changing, small_shards, recipe("fsdp", steps=12), processes=1, accumulation=2)
    assert run_local(changing).finished
    losses = [[row["loss"] for row in read_log(RunFolder(run).log)] for run in (whole, changing)]
    assert losses[1][:8] == close(losses[0][:8])
    assert len(losses[1]) == 12
