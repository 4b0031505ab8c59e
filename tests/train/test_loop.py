"""The loop on a toy network: accumulation, clipping, stopping, and losses that are not finite."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hmtools.train.loop import LossIsNotFiniteError, Step, run_steps
from hmtools.train.state import TrainState
from hmtools.train.world import World
from tests.train.toy_recipe import toy_recipe

WORLD = World(0, 1, 0, torch.device("cpu"))


def batches(size: int, *, since: int = 0) -> Iterator[Any]:
    """Samples 0, 1, 2 ... in batches; sample i is the i-th random pair."""
    start = since
    while True:
        rows = range(start, start + size)
        pairs = torch.stack([torch.rand(4, generator=torch.Generator().manual_seed(row)) for row in rows])
        yield SimpleNamespace(keys=tuple(f"k{row}" for row in rows), pairs=pairs)
        start += size


def run(
    state: TrainState,
    *,
    accumulation: int = 1,
    steps: int = 6,
    stop_at: int = 99,
    factor: float = 1.0,
    **optim: Any,
) -> list[Step]:
    def objective(batch: Any) -> Mapping[str, Tensor]:
        found = state.network(batch.pairs[:, :3])[:, 0]
        return {"near": (found - batch.pairs[:, 3]).abs().mean(), "small": found.square().mean() * factor}

    size = 8 // accumulation
    given = batches(size, since=8 * state.step)
    taken = []
    for step in run_steps(
        state, state.network, objective, given, WORLD, toy_recipe(**optim),
        steps=steps, accumulation=accumulation, stopped=lambda: state.step + 1 >= stop_at,
    ):  # fmt: skip
        taken.append(step)
        if step.stop:
            break
    return taken


def fresh() -> TrainState:
    torch.manual_seed(3)
    return TrainState(nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)), lr=0.05)


def test_a_run_takes_every_step_and_learns() -> None:
    steps = run(fresh(), steps=40)
    assert [step.step for step in steps] == list(range(1, 41))
    assert steps[-1].loss < 0.7 * steps[0].loss
    assert steps[0].keys == tuple(f"k{i}" for i in range(8))
    assert steps[0].loss == pytest.approx(sum(steps[0].losses.values()))
    assert [steps[0].lr, steps[20].lr] == pytest.approx([0.05, 0.025])


@pytest.mark.parametrize("accumulation", [2, 4])
def test_accumulated_passes_make_the_same_step(accumulation: int) -> None:
    whole, parts = fresh(), fresh()
    straight, summed = run(whole), run(parts, accumulation=accumulation)
    for one, other in zip(straight, summed, strict=True):
        assert one.keys == other.keys
        assert one.loss == pytest.approx(other.loss, rel=1e-5)
        assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-4)
    for mine, theirs in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_gradients_are_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    norms = []
    update = TrainState.update

    def seen(self: TrainState, lr: float) -> None:
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        norms.append(math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients)))
        update(self, lr)

    monkeypatch.setattr(TrainState, "update", seen)
    steps = run(fresh(), steps=3, factor=50.0, clip_norm=0.5)
    assert all(step.gradient_norm > 0.6 for step in steps)
    assert all(norm == pytest.approx(0.5, rel=1e-3) for norm in norms)


def test_a_stop_ends_after_the_step_that_saw_it() -> None:
    state = fresh()
    steps = run(state, stop_at=3)
    assert [step.stop for step in steps] == [False, False, True]
    more = run(state, steps=6)
    assert [step.step for step in more] == [4, 5, 6]
    assert more[0].keys[0] == "k24"


def test_a_loss_that_is_not_finite_names_term_and_records_and_changes_nothing() -> None:
    state = fresh()
    run(state, steps=2)
    before = [tensor.clone() for tensor in state.parameters()]
    with pytest.raises(LossIsNotFiniteError, match="step 3: not finite: small") as caught:
        run(state, factor=math.inf)
    assert caught.value.keys == tuple(f"k{i}" for i in range(16, 24))
    assert all(torch.equal(old, new) for old, new in zip(before, state.parameters(), strict=True))
