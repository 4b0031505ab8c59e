"""What training changes: weights, Adam's moments, their moving average; and the numbers that steps follow.

The learning rate, the random numbers of a step and the order of the data are functions of the step alone
(:func:`learning_rate`, :func:`seed_step`, :mod:`hmtools.train.mixture`), so a checkpoint needs none of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from hmtools.core.errors import CheckpointError
from hmtools.train.parallel import in_pieces, piece_of
from hmtools.train.recipe import OptimSpec

__all__ = ["TrainState", "learning_rate", "seed_step"]

_MOMENTS = ("exp_avg", "exp_avg_sq")


def learning_rate(optim: OptimSpec, step: int, steps: int) -> float:
    """Learning rate of a step: a straight rise, then a half cosine or a constant (SMPLer-X: a half cosine).

    Args:
        optim: what the recipe says.
        step: optimiser steps taken before, from 0.
        steps: of the whole run.
    """
    if step < optim.warmup_steps:
        return optim.lr * (step + 1) / optim.warmup_steps
    if optim.schedule == "constant":
        return optim.lr
    share = (step - optim.warmup_steps) / max(1, steps - optim.warmup_steps)
    return optim.end_lr + 0.5 * (optim.lr - optim.end_lr) * (1 + math.cos(math.pi * min(1.0, share)))


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed torch for one step of one process, so that a resumed run drops the same paths.

    Args:
        seed: of the recipe.
        step: optimiser steps taken before.
        rank: of the process; each draws its own numbers.
    """
    digest = hashlib.sha256(f"{seed}/{step}/{rank}".encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:8], "little") >> 1)


class TrainState:
    """A network on its device, its Adam optimiser and, if wanted, the moving average of its weights.

    Args:
        network: what is trained; where its weights are pieces, so is everything here.
        lr: learning rate of the first step.
        decay: of the moving average, in (0, 1); None = no average.
    """

    def __init__(self, network: nn.Module, *, lr: float, decay: float | None = None) -> None:
        self.network = network
        self.decay = decay
        self.step = 0
        self._swapped = False
        self._named = {name: p for name, p in network.named_parameters() if p.requires_grad}
        pieces = any(in_pieces(parameter) for parameter in self._named.values())
        # Left alone, torch takes whole tensors together on a GPU, and pieces one by one, which is slow.
        self.optimiser = torch.optim.Adam(self._named.values(), lr=lr, foreach=True if pieces else None)
        self.average = {} if decay is None else {n: p.detach().clone() for n, p in self._weights()}

    def parameters(self) -> list[Tensor]:
        """Those that are trained."""
        return list(self._named.values())

    def statistics(self) -> list[Tensor]:
        """Running statistics of BatchNorm, of each process alone without SyncBatchNorm, and their average."""
        trained = {name for name, _ in self.network.named_parameters()}
        found = [
            (name, tensor) for own in (dict(self._weights()), self.average) for name, tensor in own.items()
        ]
        return [tensor for name, tensor in found if name not in trained and tensor.is_floating_point()]

    def update(self, lr: float) -> None:
        """Take one step along the gradients that are there, and drop them."""
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        if self.decay is not None:
            with torch.no_grad():
                for name, tensor in self._weights():
                    kept = self.average[name]
                    if kept.is_floating_point():
                        kept.lerp_(tensor, 1 - self.decay)
                    else:
                        kept.copy_(tensor)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """While the block runs, the network has the moving average of its weights, if there is one."""
        if self.decay is None or self._swapped:
            yield
            return
        own = {name: tensor.clone() for name, tensor in self._weights()}
        self.network.load_state_dict(self.average)
        self._swapped = True
        try:
            yield
        finally:
            self.network.load_state_dict(own)
            self._swapped = False

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """All of it, for a checkpoint: ``weights``, ``optimiser`` and ``average``, each name -> tensor.

        The same names in the same order in all processes.
        """
        moments: dict[str, Tensor] = {}
        for name, parameter in self._named.items():
            state = self.optimiser.state.get(parameter, {})
            moments |= {f"{name}/{moment}": state[moment] for moment in _MOMENTS if moment in state}
        return {"weights": dict(self._weights()), "optimiser": moments, "average": dict(self.average)}

    def restore(self, tensors: Mapping[str, Mapping[str, Tensor]], step: int) -> None:
        """Take over what :meth:`tensors` gave, made whole; all processes do this side by side.

        Raises:
            CheckpointError: if it is of another network or recipe; nothing is usable then.
        """
        weights, moments = tensors["weights"], tensors.get("optimiser", {})
        average = tensors.get("average", {})
        own = dict(self._weights())
        _same("weights", own, weights)
        _same("moving average", self.average, average)
        wanted = {f"{name}/{moment}": p for name, p in self._named.items() for moment in _MOMENTS}
        if step:
            _same("optimiser", wanted, moments)
        self.network.load_state_dict({name: piece_of(weights[name], tensor) for name, tensor in own.items()})
        for name, tensor in self.average.items():
            tensor.copy_(piece_of(average[name], tensor))
        for name, parameter in self._named.items() if step else ():
            self.optimiser.state[parameter] = {
                "step": torch.tensor(float(step)),
                **{moment: piece_of(moments[f"{name}/{moment}"], parameter) for moment in _MOMENTS},
            }
        self.step = step

    def _weights(self) -> Iterator[tuple[str, Tensor]]:
        return iter(self.network.state_dict().items())


def _same(what: str, here: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Raise unless two sets of tensors have the same names and shapes."""
    wrong = sorted(here.keys() ^ found.keys()) or [
        name for name, tensor in found.items() if tensor.shape != here[name].shape
    ]
    if wrong:
        raise CheckpointError(
            f"{what}: {len(wrong)} tensors are not as this recipe makes them, among them {wrong[0]}; resume "
            "with the recipe that the run was started with, or start a new run with --out"
        )
