"""The learning rate, the seeds of steps, and a state that is restored to the bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hmtools.core.errors import CheckpointError
from hmtools.train.recipe import OptimSpec
from hmtools.train.state import TrainState, learning_rate, seed_step


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


def take(state: TrainState, steps: int) -> list[Tensor]:
    found = []
    for _ in range(steps):
        torch.manual_seed(state.step)
        loss = state.network(torch.rand(6, 4)).square().sum()
        loss.backward()
        state.update(0.1)
        found.append(loss.detach())
    return found


class TestLearningRate:
    def test_is_torchs_cosine(self) -> None:
        optim = OptimSpec(lr=1e-3, end_lr=1e-5)
        parameter = nn.Parameter(torch.zeros(1))
        torchs = torch.optim.SGD([parameter], lr=1e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(torchs, T_max=50, eta_min=1e-5)
        for step in range(51):
            assert learning_rate(optim, step, 50) == pytest.approx(torchs.param_groups[0]["lr"], rel=1e-9)
            torchs.step()
            schedule.step()

    def test_rises_first(self) -> None:
        optim = OptimSpec(lr=1.0, end_lr=0.0, warmup_steps=4)
        assert [learning_rate(optim, step, 8) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
        assert learning_rate(optim, 6, 8) == pytest.approx(0.5)

    def test_may_stay(self) -> None:
        optim = OptimSpec(lr=2.0, schedule="constant")
        assert {learning_rate(optim, step, 9) for step in range(12)} == {2.0}


def test_every_step_and_rank_draws_its_own_numbers() -> None:
    drawn = []
    for seed, step, rank in [(1, 0, 0), (1, 1, 0), (1, 0, 1), (2, 0, 0)]:
        seed_step(seed, step, rank)
        drawn.append(float(torch.rand(1)))
    assert len(set(drawn)) == 4
    seed_step(1, 0, 0)
    assert float(torch.rand(1)) == drawn[0]


@pytest.mark.parametrize("decay", [None, 0.9])
def test_a_restored_state_goes_on_to_the_bit(decay: float | None) -> None:
    straight = TrainState(network(), lr=0.1, decay=decay)
    losses = take(straight, 3)
    saved = {stem: {n: t.clone() for n, t in own.items()} for stem, own in straight.tensors().items()}
    losses += take(straight, 3)

    resumed = TrainState(network(), lr=0.1, decay=decay)
    resumed.restore(saved, 3)
    assert torch.equal(torch.stack(take(resumed, 3)), torch.stack(losses[3:]))
    for stem, own in straight.tensors().items():
        assert all(torch.equal(tensor, resumed.tensors()[stem][name]) for name, tensor in own.items()), stem
    assert resumed.step == 6


def test_the_average_follows_the_weights() -> None:
    state = TrainState(network(), lr=0.1, decay=0.5)
    before = {name: tensor.clone() for name, tensor in state.network.state_dict().items()}
    take(state, 1)
    now = {name: tensor.clone() for name, tensor in state.network.state_dict().items()}
    with state.averaged():
        for name, tensor in state.network.state_dict().items():
            wanted = (before[name] + now[name]) / 2 if tensor.is_floating_point() else now[name]
            torch.testing.assert_close(tensor, wanted)
    assert all(torch.equal(tensor, now[name]) for name, tensor in state.network.state_dict().items())


@pytest.mark.parametrize("lost", ["weights", "optimiser", "average"])
def test_a_state_of_another_network_is_refused(lost: str) -> None:
    state = TrainState(network(), lr=0.1, decay=0.9)
    take(state, 1)
    saved = state.tensors()
    saved[lost].popitem()
    with pytest.raises(CheckpointError, match="not as this recipe makes them"):
        TrainState(network(), lr=0.1, decay=0.9).restore(saved, 1)


def test_statistics_are_those_of_batchnorm() -> None:
    assert len(TrainState(network(), lr=0.1).statistics()) == 2
    assert len(TrainState(network(), lr=0.1, decay=0.9).statistics()) == 4  # and their average
